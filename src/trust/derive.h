/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Keys out of a secret, one for each purpose, by HKDF-SHA-256 (RFC 5869): what one gives away is of no use
 * to another. */

#include <stddef.h>
#include <stdint.h>

struct derivation {
        uint8_t extracted[32];
};

/* -EIO: the library cannot. The end erases what is between, also after a failure. */
int derive_begin(
        struct derivation *derivation, const uint8_t *secret, size_t secret_size, const uint8_t *salt,
        size_t salt_size);
int derive_next(const struct derivation *derivation, const char *purpose, uint8_t *ret, size_t size);
void derive_end(struct derivation *derivation);
