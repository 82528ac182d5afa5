/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Questions to the file, and their answers: the SQL side. Each question is one short read transaction. Used
 * by one thread at a time. */

#include <stdbool.h>
#include <stdint.h>

#include "store/store-history.h"
#include "store/store-sqlite.h"
#include "store/store.h"

enum query_kind {
        QUERY_LIST,
        QUERY_RECENT,
        QUERY_RECENT_COPIES,
        QUERY_JOBS,
        QUERY_OUTPUT,
};

struct query_question {
        enum query_kind kind;
        struct store_list list;
        struct uuid *ids; /* QUERY_JOBS; owned by whoever owns the question */
        size_t n_ids;
        bool with_output;
        struct uuid id; /* QUERY_OUTPUT */
        int stream;
        uint64_t offset;
        size_t size;
};

struct store_queries;

/* db stays with the caller. */
int store_queries_new(sqlite3 *db, struct store_queries **ret);
struct store_queries *store_queries_free(struct store_queries *queries); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct store_queries *, store_queries_free)

/* Fixes the state of the file that store_queries_count_ended() will count, however much later that is. */
int store_queries_begin_count(struct store_queries *queries);
int store_queries_count_ended(struct store_queries *queries, struct ended_counts *ret);

/* Always fills the answer, if only with an error. ret_size: bytes that it takes. */
void store_queries_answer(
        struct store_queries *queries, const struct query_question *question, struct store_answer *ret,
        size_t *ret_size);
void store_answer_done(struct store_answer *answer);
