/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* FNV-1a by Fowler, Noll and Vo (RFC 9923), as a hash that is the same on every node and in every version.
 * It withstands nobody who looks for collisions. */

#include <stddef.h>
#include <stdint.h>

#define FNV32_BEGIN UINT32_C(0x811c9dc5)
#define FNV64_BEGIN UINT64_C(0xcbf29ce484222325)

/* hash: FNV*_BEGIN, or what came out of the data before. */
uint32_t fnv32(uint32_t hash, const void *data, size_t size);
uint64_t fnv64(uint64_t hash, const void *data, size_t size);
