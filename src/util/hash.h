/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SHA-256 (FIPS 180-4), by GnuTLS. */

#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

#define SHA256_SIZE 32

struct sha256;

int sha256_new(struct sha256 **ret); /* -ENOMEM, -EIO */
struct sha256 *sha256_free(struct sha256 *hash);
DEFINE_CLEANUP(struct sha256 *, sha256_free)
int sha256_update(struct sha256 *hash, const void *data, size_t size);
/* The digest of all so far; the object begins anew. */
void sha256_finish(struct sha256 *hash, uint8_t ret_digest[static SHA256_SIZE]);
