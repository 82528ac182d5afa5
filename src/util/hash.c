/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/hash.h"

#include <gnutls/crypto.h>

#include "util/macros.h"

struct sha256 {
        gnutls_hash_hd_t handle;
};

int sha256_new(struct sha256 **ret) {
        _cleanup_free_ struct sha256 *hash = malloc(sizeof(*hash));
        if (!hash)
                return -ENOMEM;

        int r = gnutls_hash_init(&hash->handle, GNUTLS_DIG_SHA256);
        if (r < 0)
                return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;

        *ret = TAKE_PTR(hash);
        return 0;
}

struct sha256 *sha256_free(struct sha256 *hash) {
        if (hash)
                gnutls_hash_deinit(hash->handle, NULL);
        free(hash);
        return NULL;
}

int sha256_update(struct sha256 *hash, const void *data, size_t size) {
        return gnutls_hash(hash->handle, data, size) < 0 ? -EIO : 0;
}

void sha256_finish(struct sha256 *hash, uint8_t ret_digest[static SHA256_SIZE]) {
        gnutls_hash_output(hash->handle, ret_digest);
}
