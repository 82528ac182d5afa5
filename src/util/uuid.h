/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* 128-bit identifiers, and their text form with dashes (RFC 9562). */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define UUID_TEXT_SIZE 37 /* 36 characters and the final NUL */

struct uuid {
        uint8_t bytes[16];
};

#define UUID_NULL ((const struct uuid){ { 0 } })

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b) {
        return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static inline bool uuid_is_null(const struct uuid *id) {
        return uuid_equal(id, &UUID_NULL);
}

/* Sets the version and variant bits, so that 16 arbitrary bytes become a version 4 (random) or 8 (derived)
 * UUID. */
void uuid_set_version(struct uuid *id, unsigned version);

/* Lower case. Returns buffer. */
char *uuid_to_text(const struct uuid *id, char buffer[static UUID_TEXT_SIZE]);

/* Accepts upper and lower case, with the four dashes. -EINVAL otherwise. */
int uuid_from_text(const char *text, struct uuid *ret);
