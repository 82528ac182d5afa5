/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The thread that writes. It takes all batches that have gathered, commits them as one transaction, and
 * wakes the loop. In the time between it keeps the log short, the history within its limits, and the memory
 * small. Functions are for the loop thread unless they say otherwise. */

#include "mesh/record.h"
#include "store/store-history.h"
#include "store/store-sqlite.h"
#include "util/list.h"

struct store_writer;

struct store_writer_config {
        const char *path; /* these two stay with the caller */
        const char *node_id;
        struct history_limits limits;
        int wake_fd; /* an eventfd, written when there is something to take */
};

/* Starts the thread. Takes db when it succeeds. */
int store_writer_new(const struct store_writer_config *config, sqlite3 *db, struct store_writer **ret);
/* Commits what was handed in, joins the thread, drops the batches. Returns NULL; accepts NULL. */
struct store_writer *store_writer_stop(struct store_writer *writer);
DEFINE_CLEANUP(struct store_writer *, store_writer_stop)

void store_writer_hand_in(struct store_writer *writer, struct record_batch *batch);
/* Moves the batches that are done to the end of a list, in order; the outcome is in each. */
void store_writer_take_done(struct store_writer *writer, struct list *list);
/* Whether the state of the file changed since the last call: 0, or a negative errno and a static sentence.
 */
bool store_writer_take_health(struct store_writer *writer, int *ret_error, const char **ret_reason);

void store_writer_set_limits(struct store_writer *writer, const struct history_limits *limits);
/* Any thread: the number of finished jobs that the file had when it was opened. */
void store_writer_set_count(struct store_writer *writer, const struct ended_counts *n_ended);

/* Why the file cannot be used, in one sentence. */
const char *store_error_reason(int error);
