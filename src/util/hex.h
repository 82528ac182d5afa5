/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Bytes as hexadecimal digits. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value of a digit in either case; -1: it is none. */
int hex_digit(char character);
/* In lower case, without a final NUL. Returns the position behind the last digit. */
char *hex_write(char *position, const uint8_t *data, size_t size);
/* Exactly so many bytes, in either case. */
bool hex_read(const char *text, size_t length, uint8_t *ret, size_t size);
