/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust/derive.h"

#include <gnutls/crypto.h>

#include "util/macros.h"

int derive_begin(
        struct derivation *derivation, const uint8_t *secret, size_t secret_size, const uint8_t *salt,
        size_t salt_size) {
        const gnutls_datum_t key = { (unsigned char *) secret, (unsigned) secret_size };
        const gnutls_datum_t salted = { (unsigned char *) salt, (unsigned) salt_size };

        return gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &key, &salted, derivation->extracted) < 0 ? -EIO : 0;
}

int derive_next(const struct derivation *derivation, const char *purpose, uint8_t *ret, size_t size) {
        const gnutls_datum_t extracted = { (unsigned char *) derivation->extracted,
                                           sizeof(derivation->extracted) };
        const gnutls_datum_t info = { (unsigned char *) purpose, (unsigned) strlen(purpose) };

        return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &extracted, &info, ret, size) < 0 ? -EIO : 0;
}

void derive_end(struct derivation *derivation) {
        explicit_bzero(derivation, sizeof(*derivation));
}
