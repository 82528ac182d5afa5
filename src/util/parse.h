/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers and sizes from text: the whole string, no leading space, no sign where none is possible.
 * -EINVAL: not a number. -ERANGE: outside of what is allowed. */

#include <stdbool.h>
#include <stdint.h>

int parse_u64(const char *text, uint64_t *ret);
int parse_unsigned(const char *text, unsigned low, unsigned high, unsigned *ret);
int parse_boolean(const char *text, bool *ret);  /* yes/no, true/false, on/off, 1/0, as systemd reads them */
int parse_size(const char *text, uint64_t *ret); /* "64K", "1.5M", "2G", "infinity"; base 1024 */
