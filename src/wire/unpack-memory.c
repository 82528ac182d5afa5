/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/unpack-memory.h"

#include <stdint.h>

#include "util/macros.h"

#define BLOCK_MIN 512u
#define BLOCK_MAX (64u * 1024) /* larger only where one piece is */
#define ALIGNMENT 8u           /* what the generated structs need: pointers and 64-bit numbers */

/* protobuf-c notes the fields of a message in arrays that it gives back when that message is complete: from
 * this size on a piece that was given back serves again. */
#define REUSED_MIN 512u

struct block {
        struct block *next;
        size_t size, used;
        _Alignas(ALIGNMENT) uint8_t bytes[];
};

/* In front of what is handed out. */
struct piece {
        union {
                size_t size;
                uint64_t alignment;
        };
        uint8_t bytes[];
};

/* A piece that was given back, in its own bytes. */
struct spare {
        struct piece *next;
};

struct unpack_memory {
        ProtobufCAllocator allocator;
        struct block *blocks; /* the first is the one in use */
        struct piece *spares;
        size_t left;       /* of the limit */
        size_t block_size; /* of the next block */
        bool ran_out;
};

static struct spare *piece_spare(struct piece *piece) {
        return (struct spare *) piece->bytes;
}

static struct piece *spare_find(struct unpack_memory *memory, size_t size) {
        for (struct piece **place = &memory->spares; *place; place = &piece_spare(*place)->next)
                if ((*place)->size == size) {
                        struct piece *piece = *place;

                        *place = piece_spare(piece)->next;
                        return piece;
                }
        return NULL;
}

static bool block_add(struct unpack_memory *memory, size_t needed) {
        size_t size = MIN(MAX(needed, memory->block_size), memory->left);

        if (size < needed)
                return false;
        struct block *block = malloc(sizeof(*block) + size);
        if (!block) {
                memory->ran_out = true;
                return false;
        }
        *block = (struct block){ .next = memory->blocks, .size = size };
        memory->blocks = block;
        memory->left -= size;
        memory->block_size = MIN(memory->block_size * 2, (size_t) BLOCK_MAX);
        return true;
}

void *unpack_memory_take(struct unpack_memory *memory, size_t size) {
        struct piece *piece;

        if (size > SIZE_MAX / 2)
                return NULL;
        size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        if (size >= REUSED_MIN) {
                piece = spare_find(memory, size);
                if (piece)
                        return piece->bytes;
        }

        size_t needed = sizeof(*piece) + size;
        if (!memory->blocks || needed > memory->blocks->size - memory->blocks->used)
                if (!block_add(memory, needed))
                        return NULL;
        piece = (struct piece *) (memory->blocks->bytes + memory->blocks->used);
        memory->blocks->used += needed;
        piece->size = size;
        return piece->bytes;
}

static void *allocate(void *userdata, size_t size) {
        return unpack_memory_take(userdata, size);
}

static void give_back(void *userdata, void *pointer) {
        struct unpack_memory *memory = userdata;

        if (!pointer)
                return;
        struct piece *piece = CONTAINER_OF(pointer, struct piece, bytes);
        if (piece->size < REUSED_MIN)
                return;
        piece_spare(piece)->next = memory->spares;
        memory->spares = piece;
}

int unpack_memory_new(size_t limit, size_t expected, struct unpack_memory **ret) {
        struct unpack_memory *memory = malloc(sizeof(*memory));

        if (!memory)
                return -ENOMEM;
        *memory = (struct unpack_memory){
                .allocator = { .alloc = allocate, .free = give_back, .allocator_data = memory },
                .left = limit,
                .block_size = CLAMP(expected, (size_t) BLOCK_MIN, (size_t) BLOCK_MAX),
        };
        *ret = memory;
        return 0;
}

struct unpack_memory *unpack_memory_free(struct unpack_memory *memory) {
        if (!memory)
                return NULL;
        for (struct block *block = memory->blocks, *next; block; block = next) {
                next = block->next;
                free(block);
        }
        free(memory);
        return NULL;
}

bool unpack_memory_ran_out(const struct unpack_memory *memory) {
        return memory->ran_out;
}

ProtobufCAllocator *unpack_memory_allocator(struct unpack_memory *memory) {
        return &memory->allocator;
}
