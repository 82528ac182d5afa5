/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-query.h"

#include <errno.h>

#include "store/store-attempts.h"
#include "store/store-copy-row.h"
#include "store/store-row.h"
#include "util/array.h"
#include "util/log.h"

enum statement {
        STATEMENT_NEWEST,
        STATEMENT_NEWEST_OF_STATUS,
        STATEMENT_RECENT,
        STATEMENT_RECENT_COPIES,
        STATEMENT_BY_SEQUENCE,
        STATEMENT_BY_ID,
        STATEMENT_ATTEMPTS,
        STATEMENT_COPY_BY_ID,
        STATEMENT_COUNT_FINISHED,
        STATEMENT_COUNT_COPIES,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        [STATEMENT_NEWEST] = "SELECT seq FROM jobs WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
        /* Answered from the index alone. */
        [STATEMENT_NEWEST_OF_STATUS] =
                "SELECT seq FROM jobs WHERE status = ?3 AND seq < ?1 ORDER BY seq DESC LIMIT ?2",
        [STATEMENT_RECENT] =
                "SELECT " ROW_RECENT_COLUMNS " FROM jobs WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
        [STATEMENT_RECENT_COPIES] = "SELECT " COPY_COLUMNS " FROM copies WHERE status NOTNULL AND seq < ?1"
                                    " ORDER BY seq DESC LIMIT ?2",
        [STATEMENT_BY_SEQUENCE] = "SELECT " ROW_COLUMNS " FROM " ROW_TABLES " WHERE seq = ?2",
        [STATEMENT_BY_ID] = "SELECT " ROW_COLUMNS " FROM " ROW_TABLES " WHERE job_id = ?2",
        [STATEMENT_ATTEMPTS] = ATTEMPTS_QUERY,
        [STATEMENT_COPY_BY_ID] = "SELECT " COPY_COLUMNS " FROM copies WHERE job_id = ? AND status NOTNULL",
        [STATEMENT_COUNT_COPIES] = "SELECT count(*) FROM copies WHERE status NOTNULL",
        [STATEMENT_COUNT_FINISHED] =
                ("SELECT count(*) FROM jobs"
                 " WHERE status IN ('JOB_COMPLETED', 'JOB_FAILED', 'JOB_TIMEOUT', 'JOB_CANCELLED')"),
};

struct store_queries {
        sqlite3 *db;
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct ratelimit broken_rows;
};

int store_queries_new(sqlite3 *db, struct store_queries **ret) {
        _cleanup_(store_queries_free_p) struct store_queries *queries = calloc(1, sizeof(*queries));
        int r;

        if (!queries)
                return -ENOMEM;
        queries->db = db;
        queries->broken_rows = (struct ratelimit){ .interval_usec = USEC_PER_MINUTE, .burst = 10 };

        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, queries->statements);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(queries);
        return 0;
}

struct store_queries *store_queries_free(struct store_queries *queries) {
        if (!queries)
                return NULL;
        sqlite_finalize_all(queries->statements, _STATEMENT_MAX);
        free(queries);
        return NULL;
}

int store_queries_begin_count(struct store_queries *queries) {
        uint64_t one;
        int r;

        r = sqlite_execute(queries->db, "BEGIN");
        if (r < 0)
                return r;
        /* The transaction begins in earnest with the first read. */
        r = sqlite_query_u64(queries->db, "SELECT count(*) FROM sqlite_schema", &one);
        if (r < 0)
                sqlite_rollback(queries->db);
        return r;
}

static int count(struct store_queries *queries, enum statement which, uint64_t *ret) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = queries->statements[which];
        int r = sqlite_step(statement);

        *ret = r > 0 ? (uint64_t) sqlite3_column_int64(statement, 0) : 0;
        return r;
}

int store_queries_count_ended(struct store_queries *queries, struct ended_counts *ret) {
        int r;

        r = count(queries, STATEMENT_COUNT_FINISHED, &ret->jobs);
        if (r >= 0)
                r = count(queries, STATEMENT_COUNT_COPIES, &ret->copies);
        sqlite_rollback(queries->db);
        return r < 0 ? r : 0;
}

void store_answer_done(struct store_answer *answer) {
        for (size_t i = 0; i < answer->n_jobs; i++)
                stored_job_done(&answer->jobs[i]);
        free(answer->jobs);
        free(answer->data);
        *answer = (struct store_answer){};
}

/* An answer that is being put together. */
struct draft {
        struct store_answer answer;
        size_t n_allocated; /* of answer.jobs */
        size_t size;
        sqlite3_blob *outputs[2]; /* stderr, stdout of the row that was looked at last */
};

static void draft_done(struct draft *draft) {
        for (size_t i = 0; i < ELEMENTSOF(draft->outputs); i++)
                (void) sqlite3_blob_close(draft->outputs[i]);
        store_answer_done(&draft->answer);
}

/* Takes what the job owns, also when it fails. */
static int draft_add(struct draft *draft, struct stored_job *job) {
        struct store_answer *answer = &draft->answer;
        int r = ARRAY_RESERVE(answer->jobs, answer->n_jobs + 1, draft->n_allocated, 16);

        if (r < 0) {
                stored_job_done(job);
                return r;
        }
        answer->jobs[answer->n_jobs++] = *job;
        draft->size += stored_job_size(job);
        return draft->size > STORE_ANSWER_MAX ? -EFBIG : 0;
}

static void log_broken_row(struct store_queries *queries, uint64_t sequence, const char *what) {
        if (ratelimit_below(&queries->broken_rows, now_usec(CLOCK_MONOTONIC)))
                log_warning(
                        "Row %" PRIu64 " of the job database is broken (column %s), leaving it out.",
                        sequence, what);
}

/* 1: read. 0: there is no copy of a job that has ended. */
static int read_copy_by_id(
        struct store_queries *queries, const struct uuid *id, bool with_output, struct stored_job *ret) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = queries->statements[STATEMENT_COPY_BY_ID];
        struct binder binder = { .statement = statement };
        char text[UUID_TEXT_SIZE];
        const char *what;
        int r;

        bind_text(&binder, uuid_to_text(id, text));
        if (binder.code != SQLITE_OK)
                return sqlite_error(queries->db, binder.code);
        r = sqlite_step(statement);
        if (r <= 0)
                return r;
        r = store_copy_read_ended(statement, with_output, ret, &what);
        if (r == -EBADMSG) {
                log_broken_row(queries, (uint64_t) sqlite3_column_int64(statement, COPY_SEQUENCE), what);
                return 0;
        }
        return r < 0 ? r : 1;
}

/* Steps a prepared and bound SELECT of one job. 1: read. 0: there is none, or it is broken. */
static int read_job(struct store_queries *queries, struct binder *binder, struct stored_job *ret) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = binder->statement;
        const char *what;
        int r;

        if (binder->code != SQLITE_OK)
                return sqlite_error(queries->db, binder->code);
        r = sqlite_step(statement);
        if (r <= 0)
                return r;
        r = store_row_read(statement, ret, &what);
        if (r == -EBADMSG) {
                log_broken_row(queries, (uint64_t) sqlite3_column_int64(statement, ROW_SEQUENCE), what);
                return 0;
        }
        return r < 0 ? r : 1;
}

static int read_job_by_sequence(
        struct store_queries *queries, uint64_t sequence, int64_t output_max, struct stored_job *ret) {
        struct binder binder = { .statement = queries->statements[STATEMENT_BY_SEQUENCE] };

        bind_i64(&binder, output_max);
        bind_u64(&binder, sequence);
        return read_job(queries, &binder, ret);
}

static int read_job_by_id(
        struct store_queries *queries, const struct uuid *id, int64_t output_max, struct stored_job *ret) {
        struct binder binder = { .statement = queries->statements[STATEMENT_BY_ID] };
        char text[UUID_TEXT_SIZE];

        bind_i64(&binder, output_max);
        bind_text(&binder, uuid_to_text(id, text));
        return read_job(queries, &binder, ret);
}

/* A piece of an output, which is not read as a whole for it. */
static int read_piece(
        struct store_queries *queries, sqlite3_blob **blob, const char *column, uint64_t sequence,
        uint64_t offset, size_t size, char **ret_data, size_t *ret_size, uint64_t *ret_kept) {
        _cleanup_free_ char *data = NULL;
        uint64_t kept;
        int code;

        if (*blob)
                code = sqlite3_blob_reopen(*blob, (sqlite3_int64) sequence);
        else
                code = sqlite3_blob_open(
                        queries->db, "main", "jobs", column, (sqlite3_int64) sequence, /* flags= */ 0, blob);
        if (code != SQLITE_OK) {
                /* The column does not hold bytes. */
                (void) sqlite3_blob_close(*blob);
                *blob = NULL;
                return code == SQLITE_ERROR ? -EBADMSG : sqlite_error(queries->db, code);
        }

        kept = (uint64_t) sqlite3_blob_bytes(*blob);
        size = offset < kept ? (size_t) MIN((uint64_t) size, kept - offset) : 0;
        if (size > 0) {
                data = malloc(size);
                if (!data)
                        return -ENOMEM;
                code = sqlite3_blob_read(*blob, data, (int) size, (int) offset);
                if (code != SQLITE_OK)
                        return sqlite_error(queries->db, code);
        }

        *ret_data = TAKE_PTR(data);
        *ret_size = size;
        *ret_kept = kept;
        return 0;
}

/* The beginnings of those outputs that are too large for a list. */
static int read_heads(struct store_queries *queries, struct draft *draft, struct stored_job *job) {
        int r = 0;

        if (job->stderr_kept > STORE_LIST_OUTPUT_MAX)
                r = read_piece(
                        queries, &draft->outputs[0], "stderr", job->sequence, 0, STORE_LIST_OUTPUT_MAX,
                        &job->stderr_data, &job->stderr_size, &job->stderr_kept);
        if (r >= 0 && job->stdout_kept > STORE_LIST_OUTPUT_MAX)
                r = read_piece(
                        queries, &draft->outputs[1], "stdout", job->sequence, 0, STORE_LIST_OUTPUT_MAX,
                        &job->stdout_data, &job->stdout_size, &job->stdout_kept);
        return r;
}

static int compare_newest_first(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x < y) - (x > y);
}

/* Appends at most limit numbers, the highest first. status JOB_UNKNOWN: of all jobs. */
static int collect_sequences(
        struct store_queries *queries, enum job_status status, uint64_t before, size_t limit,
        uint64_t *sequences, size_t *n) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement =
                queries->statements[status == JOB_UNKNOWN ? STATEMENT_NEWEST : STATEMENT_NEWEST_OF_STATUS];
        struct binder binder = { .statement = statement };
        size_t end = *n + limit;
        int r = 0;

        bind_u64(&binder, MIN(before, (uint64_t) INT64_MAX));
        bind_u64(&binder, limit);
        if (status != JOB_UNKNOWN)
                bind_text(&binder, job_status_to_text(status));
        if (binder.code != SQLITE_OK)
                return sqlite_error(queries->db, binder.code);

        while (*n < end && (r = sqlite_step(statement)) > 0)
                sequences[(*n)++] = (uint64_t) sqlite3_column_int64(statement, 0);
        return r < 0 ? r : 0;
}

/* The newest limit jobs of each status that is asked for, merged. */
static int collect_page(
        struct store_queries *queries, const struct store_list *list, size_t limit, uint64_t *sequences,
        size_t *ret_n) {
        size_t n = 0;
        int r;

        if (list->status_mask == 0)
                r = collect_sequences(queries, JOB_UNKNOWN, list->before, limit, sequences, &n);
        else {
                r = 0;
                for (enum job_status status = JOB_PENDING; status < _JOB_STATUS_MAX && r >= 0; status++)
                        if (list->status_mask & 1u << status)
                                r = collect_sequences(queries, status, list->before, limit, sequences, &n);
                qsort(sequences, n, sizeof(sequences[0]), compare_newest_first);
        }
        *ret_n = MIN(n, limit);
        return r;
}

static int answer_list(struct store_queries *queries, const struct store_list *list, struct draft *draft) {
        /* One more than the page, to know whether there is another one. */
        size_t limit = list->limit + 1, n;
        _cleanup_free_ uint64_t *sequences = calloc(limit * _JOB_STATUS_MAX, sizeof(*sequences));
        int r;

        if (!sequences)
                return -ENOMEM;
        r = collect_page(queries, list, limit, sequences, &n);
        if (r < 0)
                return r;

        for (size_t i = 0; i < MIN(n, list->limit); i++) {
                struct stored_job job;

                r = read_job_by_sequence(queries, sequences[i], ROW_OUTPUT_SMALL, &job);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                r = read_heads(queries, draft, &job);
                if (r < 0) {
                        stored_job_done(&job);
                        if (r != -EBADMSG)
                                return r;
                        log_broken_row(queries, sequences[i], "stdout or stderr");
                        continue;
                }
                r = draft_add(draft, &job);
                if (r < 0)
                        return r;
        }

        if (n > list->limit) {
                draft->answer.more = true;
                draft->answer.next_before = sequences[list->limit - 1];
        }
        return 0;
}

static int read_recent_copy(sqlite3_stmt *statement, struct stored_job *ret, const char **ret_what) {
        return store_copy_read_ended(statement, /* with_output= */ false, ret, ret_what);
}

static int answer_recent(
        struct store_queries *queries, enum statement which,
        int (*read)(sqlite3_stmt *statement, struct stored_job *ret, const char **ret_what),
        const struct store_list *list, struct draft *draft) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = queries->statements[which];
        struct binder binder = { .statement = statement };
        uint64_t last = 0;
        int r;

        bind_u64(&binder, MIN(list->before, (uint64_t) INT64_MAX));
        bind_u64(&binder, list->limit + 1);
        if (binder.code != SQLITE_OK)
                return sqlite_error(queries->db, binder.code);
        for (size_t n = 0; (r = sqlite_step(statement)) > 0; n++) {
                struct stored_job job;
                const char *what;

                if (n == list->limit) {
                        draft->answer.more = true;
                        draft->answer.next_before = last;
                        return 0;
                }
                last = (uint64_t) sqlite3_column_int64(statement, 0);
                r = read(statement, &job, &what);
                if (r == -EBADMSG) {
                        log_broken_row(queries, last, what);
                        continue;
                }
                if (r >= 0)
                        r = draft_add(draft, &job);
                if (r < 0)
                        return r;
        }
        return r;
}

static int read_attempts(struct store_queries *queries, struct stored_job *job) {
        const char *broken;
        int r;

        r = store_attempts_read(queries->statements[STATEMENT_ATTEMPTS], job, &broken);
        if (broken)
                log_broken_row(queries, job->sequence, broken);
        return r < 0 ? r : 1;
}

static int
answer_jobs(struct store_queries *queries, const struct query_question *question, struct draft *draft) {
        int64_t output_max = question->with_output ? ROW_OUTPUT_WHOLE : ROW_OUTPUT_NONE;
        int r;

        for (size_t i = 0; i < question->n_ids; i++) {
                struct stored_job job;

                r = read_job_by_id(queries, &question->ids[i], output_max, &job);
                if (r > 0 && question->with_output) {
                        r = read_attempts(queries, &job);
                        if (r < 0)
                                stored_job_done(&job);
                }
                if (r == 0)
                        r = read_copy_by_id(queries, &question->ids[i], question->with_output, &job);
                if (r > 0)
                        r = draft_add(draft, &job);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Of a copy, which has little. */
static int answer_copied_output(
        struct store_queries *queries, const struct query_question *question, struct draft *draft) {
        struct store_answer *answer = &draft->answer;
        _cleanup_free_ char *data = NULL;
        struct stored_job job;
        size_t kept;
        int r;

        r = read_copy_by_id(queries, &question->id, /* with_output= */ true, &job);
        if (r <= 0)
                return r;
        data = question->stream == 1 ? TAKE_PTR(job.stdout_data) : TAKE_PTR(job.stderr_data);
        kept = question->stream == 1 ? job.stdout_size : job.stderr_size;
        free(TAKE_PTR(job.stdout_data));
        free(TAKE_PTR(job.stderr_data));
        job.stdout_size = job.stderr_size = 0;
        r = draft_add(draft, &job);
        if (r < 0 || kept == 0)
                return r;

        answer->data_kept = kept;
        if (question->offset >= kept)
                return 0;
        answer->data_size = MIN(question->size, kept - (size_t) question->offset);
        memmove(data, data + question->offset, answer->data_size);
        answer->data = TAKE_PTR(data);
        draft->size += answer->data_size;
        return 0;
}

static int
answer_output(struct store_queries *queries, const struct query_question *question, struct draft *draft) {
        struct store_answer *answer = &draft->answer;
        bool is_stdout = question->stream == 1;
        struct stored_job job;
        int r;

        r = read_job_by_id(queries, &question->id, ROW_OUTPUT_NONE, &job);
        if (r == 0)
                return answer_copied_output(queries, question, draft);
        if (r > 0)
                r = draft_add(draft, &job);
        if (r < 0)
                return r;

        if ((is_stdout ? job.stdout_kept : job.stderr_kept) == 0)
                return 0;
        r = read_piece(
                queries, &draft->outputs[is_stdout], is_stdout ? "stdout" : "stderr", job.sequence,
                question->offset, question->size, &answer->data, &answer->data_size, &answer->data_kept);
        draft->size += answer->data_size;
        return r;
}

static int
answer_question(struct store_queries *queries, const struct query_question *question, struct draft *draft) {
        switch (question->kind) {
        case QUERY_LIST:
                return answer_list(queries, &question->list, draft);
        case QUERY_RECENT:
                return answer_recent(
                        queries, STATEMENT_RECENT, store_row_read_recent, &question->list, draft);
        case QUERY_RECENT_COPIES:
                return answer_recent(
                        queries, STATEMENT_RECENT_COPIES, read_recent_copy, &question->list, draft);
        case QUERY_JOBS:
                return answer_jobs(queries, question, draft);
        case QUERY_OUTPUT:
                return answer_output(queries, question, draft);
        }
        return -EINVAL;
}

void store_queries_answer(
        struct store_queries *queries, const struct query_question *question, struct store_answer *ret,
        size_t *ret_size) {
        struct draft draft = {};
        int r;

        r = sqlite_execute(queries->db, "BEGIN");
        if (r >= 0)
                r = answer_question(queries, question, &draft);
        if (r >= 0) {
                *ret = draft.answer;
                *ret_size = draft.size;
                draft.answer = (struct store_answer){};
        } else {
                *ret = (struct store_answer){ .error = r };
                *ret_size = 0;
        }
        draft_done(&draft);
        sqlite_rollback(queries->db);
}
