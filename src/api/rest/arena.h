/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Memory that is given out in pieces and taken back as a whole: the strings of one request. */

#include <stddef.h>

#include "util/macros.h"

struct arena_block;

struct arena {
        struct arena_block *blocks;
        size_t size; /* bytes taken from the system */
};

void arena_done(struct arena *arena);
#define _cleanup_arena_ _cleanup_(arena_done)

/* Aligned for any object; NULL when out of memory. */
void *arena_allocate(struct arena *arena, size_t size);
