/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan, 1986): what comes first is at hand at
 * once, putting in takes constant time, taking out logarithmic time on average, and neither takes memory.
 * The heap owns nothing. A zeroed link is in no heap, and removing it is harmless. */

#include <stdbool.h>

#include "util/macros.h"

struct heap_link {
        struct heap_link *child, *next;
        struct heap_link *prev; /* the one before it, or its parent; the root: itself; NULL: in no heap */
};

struct heap {
        struct heap_link *root;
};

/* Whether a comes before b; no two are equal. */
typedef bool (*heap_before_t)(const struct heap_link *a, const struct heap_link *b);

static inline bool heap_is_linked(const struct heap_link *link) {
        return link->prev != NULL;
}

void heap_add(struct heap *heap, struct heap_link *link, heap_before_t before);
void heap_remove(struct heap *heap, struct heap_link *link, heap_before_t before);

/* The object that embeds the first link, or NULL. */
#define HEAP_FIRST(heap, type, member) ((heap)->root ? CONTAINER_OF((heap)->root, type, member) : NULL)
