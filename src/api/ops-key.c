/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an Idempotency-Key may be: a face may say so before it has read the request. */

#include "api/ops.h"

bool ops_key_is_valid(const char *key) {
        size_t n = strlen(key);

        if (n == 0 || n > IDEMPOTENCY_KEY_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (key[i] < 0x20 || key[i] > 0x7e)
                        return false;
        return true;
}
