/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Finished jobs, and ended copies of other nodes' jobs, that are too old, too many or too large go, oldest
 * first, in slices that a commit can wait for. Age and number hold for each of the two; where the file is
 * too large, they give way in turn. Runs on the writer's connection. */

#include <stdbool.h>
#include <stdint.h>

#include "store/store-sqlite.h"

#define HISTORY_SLICE_MAX 500u
#define HISTORY_SLICE_USEC (20 * USEC_PER_MSEC)

/* The history may grow this much beyond its limit while the writer is busy; from there on each commit is
 * followed by a slice. */
#define HISTORY_EXCESS_MAX 10000u

struct history_limits {
        usec_t max_age_usec; /* USEC_INFINITY: none */
        uint64_t max_jobs;
        uint64_t max_bytes;
};

struct ended_counts {
        uint64_t jobs, copies;
};

struct store_history;

int store_history_new(sqlite3 *db, const struct history_limits *limits, struct store_history **ret);
struct store_history *store_history_free(struct store_history *history); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct store_history *, store_history_free)

void store_history_set_limits(struct store_history *history, const struct history_limits *limits);

/* The number of those that have ended at start, from whoever counted them; until then nothing goes because
 * of it. */
void store_history_set_count(struct store_history *history, const struct ended_counts *n_ended);
/* More have ended. */
void store_history_add(struct store_history *history, const struct ended_counts *n_ended);
bool store_history_is_excessive(const struct store_history *history);

/* Deletes one slice. 1: there may be more. 0: all that is left may stay. */
int store_history_prune(struct store_history *history);
