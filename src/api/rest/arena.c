/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/arena.h"

#include <stdalign.h>
#include <stdint.h>

#define BLOCK_SIZE_MIN (2u * 1024)
#define BLOCK_SIZE_MAX (64u * 1024)

struct arena_block {
        struct arena_block *next;
        size_t size, used;
        alignas(max_align_t) char data[];
};

void arena_done(struct arena *arena) {
        while (arena->blocks) {
                struct arena_block *block = arena->blocks;
                arena->blocks = block->next;
                free(block);
        }
        arena->size = 0;
}

/* Each block is as large as all before it, so that a short request stays small and a long one takes few. */
static struct arena_block *arena_grow(struct arena *arena, size_t size) {
        size_t wanted = MAX(size, CLAMP(arena->size, (size_t) BLOCK_SIZE_MIN, (size_t) BLOCK_SIZE_MAX));

        struct arena_block *block = malloc(sizeof(*block) + wanted);
        if (!block)
                return NULL;
        *block = (struct arena_block){ .next = arena->blocks, .size = wanted };
        arena->blocks = block;
        arena->size += sizeof(*block) + wanted;
        return block;
}

void *arena_allocate(struct arena *arena, size_t size) {
        const size_t mask = alignof(max_align_t) - 1;
        struct arena_block *block = arena->blocks;

        if (size > SIZE_MAX / 2)
                return NULL;
        size = (size + mask) & ~mask;
        if (!block || block->size - block->used < size) {
                block = arena_grow(arena, size);
                if (!block)
                        return NULL;
        }

        void *memory = block->data + block->used;
        block->used += size;
        return memory;
}
