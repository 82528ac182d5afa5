/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The memory of one decoded message, given back all at once. A hostile message can make protobuf-c ask for a
 * hundred times its own size; here it ends at a limit. */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct unpack_memory;

/* limit: bytes for everything. expected: bytes that are set aside at once. */
int unpack_memory_new(size_t limit, size_t expected, struct unpack_memory **ret);
struct unpack_memory *unpack_memory_free(struct unpack_memory *memory); /* returns NULL; accepts NULL */

/* NULL: the limit is reached, or there is no memory. */
void *unpack_memory_take(struct unpack_memory *memory, size_t size);
/* Whether something was not to be had that the limit would have allowed. */
bool unpack_memory_ran_out(const struct unpack_memory *memory);
/* For protobuf-c; as long as the memory lives. */
ProtobufCAllocator *unpack_memory_allocator(struct unpack_memory *memory);
