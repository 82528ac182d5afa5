/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/fnv.h"

#define FNV32_PRIME UINT32_C(0x01000193)
#define FNV64_PRIME UINT64_C(0x00000100000001b3)

uint32_t fnv32(uint32_t hash, const void *data, size_t size) {
        const uint8_t *bytes = data;

        for (size_t i = 0; i < size; i++)
                hash = (hash ^ bytes[i]) * FNV32_PRIME;
        return hash;
}

uint64_t fnv64(uint64_t hash, const void *data, size_t size) {
        const uint8_t *bytes = data;

        for (size_t i = 0; i < size; i++)
                hash = (hash ^ bytes[i]) * FNV64_PRIME;
        return hash;
}
