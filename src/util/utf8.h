/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */

#include <stdbool.h>
#include <stddef.h>

bool utf8_is_valid(const char *text, size_t size);

/* Length of the valid sequence at text (1 to 4), or 0 if the bytes there are not one. */
size_t utf8_sequence(const char *text, size_t size);
