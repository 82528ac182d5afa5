/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The thread that reads: a bounded queue of questions, a queue of answers. Functions are for the loop
 * thread. */

#include "store/store-query.h"
#include "store/store-sqlite.h"

/* Bytes of answers that the loop has not taken yet, beyond which the thread waits. */
#define READER_ANSWERS_MAX (64u * 1024 * 1024)

struct store_reader;

struct store_reader_config {
        /* Called once, on the reader's thread, with the number of finished jobs that the file had at the
         * start. */
        void (*counted)(void *userdata, const struct ended_counts *n_ended);
        void *userdata;
        int wake_fd; /* an eventfd, written when there is something to take */
};

/* Opens the file and fixes the state that will be counted, before anything is written. */
int store_reader_new(const char *path, const struct store_reader_config *config, struct store_reader **ret);
int store_reader_start(struct store_reader *reader);
/* Joins the thread and drops all queries. Returns NULL; accepts NULL. */
struct store_reader *store_reader_stop(struct store_reader *reader);
DEFINE_CLEANUP(struct store_reader *, store_reader_stop)

/* Takes question->ids when it succeeds. -EBUSY: STORE_QUERIES_MAX are under way. */
int store_reader_ask(
        struct store_reader *reader, const struct query_question *question, store_answer_t handler,
        void *userdata, struct store_query **ret);

/* Calls the handler of the query that was answered first. ret_error: what its answer said. False: there is
 * none. */
bool store_reader_tell_one(struct store_reader *reader, int *ret_error);
