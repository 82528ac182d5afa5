/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which runs end within a group of batches: that they started need not be written then. */

#include <stdbool.h>
#include <stddef.h>

#include "mesh/record.h"
#include "util/list.h"

struct finished_runs {
        const struct run_id **slots; /* open addressing; NULL: empty */
        size_t n_slots;              /* 0, or a power of two, at least twice the number of runs */
};

/* Over the batches from first up to, and without, end. Finds nothing when out of memory: more is written
 * then. */
void finished_runs_collect(struct finished_runs *runs, struct list_link *first, struct list_link *end);
bool finished_runs_contain(const struct finished_runs *runs, const struct run_id *run);
void finished_runs_done(struct finished_runs *runs);
