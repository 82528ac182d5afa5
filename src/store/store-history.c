/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-history.h"

#include <errno.h>

#include "util/log.h"
#include "wire/types.h"

enum statement {
        STATEMENT_OLDEST,
        STATEMENT_TIMES,
        STATEMENT_DELETE,
        STATEMENT_DELETE_LIMITS,
        STATEMENT_DELETE_OPTIONS,
        STATEMENT_DELETE_ATTEMPTS,
        STATEMENT_NEWEST,
        STATEMENT_PAGE_COUNT,
        STATEMENT_FREE_COUNT,
        STATEMENT_PAGE_SIZE,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        /* Answered from the index alone. */
        [STATEMENT_OLDEST] = "SELECT seq FROM jobs WHERE status = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        [STATEMENT_TIMES] = "SELECT created_at, finished_at FROM jobs WHERE seq = ?",
        [STATEMENT_DELETE] = "DELETE FROM jobs WHERE seq = ?",
        [STATEMENT_DELETE_LIMITS] = "DELETE FROM job_limits WHERE seq = ?",
        [STATEMENT_DELETE_OPTIONS] = "DELETE FROM job_options WHERE seq = ?",
        [STATEMENT_DELETE_ATTEMPTS] = "DELETE FROM attempts WHERE seq = ?",
        [STATEMENT_NEWEST] = "SELECT coalesce(max(seq), 0) FROM jobs",
        [STATEMENT_PAGE_COUNT] = "PRAGMA page_count",
        [STATEMENT_FREE_COUNT] = "PRAGMA freelist_count",
        [STATEMENT_PAGE_SIZE] = "PRAGMA page_size",
};

struct store_history {
        sqlite3 *db;
        struct history_limits limits;
        bool counted;
        uint64_t n_finished; /* while not counted: only what was added since */
        uint64_t cursor;     /* this pass has looked at everything up to here */
        sqlite3_stmt *statements[_STATEMENT_MAX];
};

/* The numbers of the oldest finished jobs, in order. */
struct candidates {
        size_t n;
        uint64_t sequences[HISTORY_SLICE_MAX * (_JOB_STATUS_MAX - JOB_COMPLETED)];
};

int store_history_new(sqlite3 *db, const struct history_limits *limits, struct store_history **ret) {
        _cleanup_(store_history_free_p) struct store_history *history = calloc(1, sizeof(*history));
        int r;

        if (!history)
                return -ENOMEM;
        history->db = db;
        history->limits = *limits;

        for (size_t i = 0; i < _STATEMENT_MAX; i++) {
                r = sqlite_prepare(db, statement_text[i], &history->statements[i]);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(history);
        return 0;
}

struct store_history *store_history_free(struct store_history *history) {
        if (!history)
                return NULL;
        for (size_t i = 0; i < _STATEMENT_MAX; i++)
                sqlite_finalize(history->statements[i]);
        free(history);
        return NULL;
}

void store_history_set_limits(struct store_history *history, const struct history_limits *limits) {
        history->limits = *limits;
}

void store_history_set_count(struct store_history *history, uint64_t n_finished) {
        history->n_finished += n_finished;
        history->counted = true;
}

void store_history_add(struct store_history *history, uint64_t n_finished) {
        history->n_finished += n_finished;
}

static uint64_t excess_jobs(const struct store_history *history) {
        return history->counted && history->n_finished > history->limits.max_jobs
                       ? history->n_finished - history->limits.max_jobs
                       : 0;
}

bool store_history_is_excessive(const struct store_history *history) {
        return excess_jobs(history) > HISTORY_EXCESS_MAX;
}

static int read_value(struct store_history *history, enum statement which, uint64_t *ret) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = history->statements[which];
        int r = sqlite_step(statement);

        if (r < 0)
                return r;
        *ret = r > 0 ? (uint64_t) MAX(sqlite3_column_int64(statement, 0), (sqlite3_int64) 0) : 0;
        return 0;
}

/* Pages with something on them; what was freed is used again before the file grows. */
static int is_too_large(struct store_history *history) {
        uint64_t n_pages, n_free, page_size;
        int r;

        r = read_value(history, STATEMENT_PAGE_COUNT, &n_pages);
        if (r >= 0)
                r = read_value(history, STATEMENT_FREE_COUNT, &n_free);
        if (r >= 0)
                r = read_value(history, STATEMENT_PAGE_SIZE, &page_size);
        if (r < 0)
                return r;
        return (n_pages - MIN(n_free, n_pages)) * page_size > history->limits.max_bytes;
}

static int compare_sequences(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

static int
collect_status(struct store_history *history, enum job_status status, struct candidates *candidates) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = history->statements[STATEMENT_OLDEST];
        struct binder binder = { .statement = statement };
        int r;

        bind_text(&binder, job_status_to_text(status));
        bind_u64(&binder, history->cursor);
        bind_u64(&binder, HISTORY_SLICE_MAX);
        if (binder.code != SQLITE_OK)
                return sqlite_error(history->db, binder.code);

        while ((r = sqlite_step(statement)) > 0 && candidates->n < ELEMENTSOF(candidates->sequences))
                candidates->sequences[candidates->n++] = (uint64_t) sqlite3_column_int64(statement, 0);
        return r;
}

static int collect(struct store_history *history, struct candidates *ret) {
        int r;

        ret->n = 0;
        for (enum job_status status = JOB_COMPLETED; status < _JOB_STATUS_MAX; status++) {
                r = collect_status(history, status, ret);
                if (r < 0)
                        return r;
        }
        qsort(ret->sequences, ret->n, sizeof(ret->sequences[0]), compare_sequences);
        ret->n = MIN(ret->n, (size_t) HISTORY_SLICE_MAX);
        return 0;
}

enum age {
        AGE_OLD,
        AGE_FINISHED_LATE, /* accepted long ago, ended recently: stays, but there may be older ones behind it
                            */
        AGE_YOUNG,         /* and so is all that was accepted later */
};

static usec_t column_time(sqlite3_stmt *statement, int column) {
        const char *text = (const char *) sqlite3_column_text(statement, column);
        usec_t time;

        /* A time that cannot be read is no reason to keep the job. */
        return text && parse_time(text, &time) >= 0 ? time : 0;
}

static int job_age(struct store_history *history, uint64_t sequence, usec_t cutoff) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = history->statements[STATEMENT_TIMES];
        struct binder binder = { .statement = statement };
        int r;

        bind_u64(&binder, sequence);
        if (binder.code != SQLITE_OK)
                return sqlite_error(history->db, binder.code);
        r = sqlite_step(statement);
        if (r < 0)
                return r;
        if (r == 0)
                return AGE_FINISHED_LATE;
        if (column_time(statement, 1) < cutoff)
                return AGE_OLD;
        return column_time(statement, 0) < cutoff ? AGE_FINISHED_LATE : AGE_YOUNG;
}

static int delete_row(struct store_history *history, enum statement statement, uint64_t sequence) {
        struct binder binder = { .statement = history->statements[statement] };

        bind_u64(&binder, sequence);
        return binder_run(&binder);
}

/* Returns the number of jobs that are gone by it. */
static int delete_job(struct store_history *history, uint64_t sequence) {
        static const enum statement beside[] = { STATEMENT_DELETE_LIMITS, STATEMENT_DELETE_OPTIONS,
                                                 STATEMENT_DELETE_ATTEMPTS };

        for (size_t i = 0; i < ELEMENTSOF(beside); i++) {
                int r = delete_row(history, beside[i], sequence);

                if (r < 0)
                        return r;
        }
        return delete_row(history, STATEMENT_DELETE, sequence);
}

/* Inside a transaction. Adds to *n_deleted. 1: the slice is used up. 0: the rest may stay. */
static int
delete_candidates(struct store_history *history, const struct candidates *candidates, uint64_t *n_deleted) {
        usec_t begin = now_usec(CLOCK_MONOTONIC), cutoff = 0;
        uint64_t newest, excess = excess_jobs(history);
        int too_large, r;

        if (history->limits.max_age_usec != USEC_INFINITY)
                cutoff = usec_sub(now_usec(CLOCK_REALTIME), history->limits.max_age_usec);
        r = read_value(history, STATEMENT_NEWEST, &newest);
        if (r < 0)
                return r;
        too_large = is_too_large(history);
        if (too_large < 0)
                return too_large;

        for (size_t i = 0; i < candidates->n; i++) {
                uint64_t sequence = candidates->sequences[i];

                /* The newest job keeps its number taken, so that no number is ever given twice. */
                if (sequence == newest)
                        return 0;
                if (*n_deleted >= excess && too_large == 0) {
                        r = job_age(history, sequence, cutoff);
                        if (r < 0)
                                return r;
                        if (r == AGE_YOUNG)
                                return 0;
                        if (r == AGE_FINISHED_LATE) {
                                history->cursor = sequence;
                                continue;
                        }
                }

                r = delete_job(history, sequence);
                if (r < 0)
                        return r;
                *n_deleted += (uint64_t) r;
                if (too_large > 0) {
                        too_large = is_too_large(history);
                        if (too_large < 0)
                                return too_large;
                }
                if (now_usec(CLOCK_MONOTONIC) - begin >= HISTORY_SLICE_USEC)
                        return 1;
        }
        return candidates->n == HISTORY_SLICE_MAX;
}

int store_history_prune(struct store_history *history) {
        struct candidates candidates;
        uint64_t n_deleted = 0;
        int r, more;

        r = sqlite_execute(history->db, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        more = collect(history, &candidates);
        if (more >= 0)
                more = delete_candidates(history, &candidates, &n_deleted);
        r = more < 0 ? more : sqlite_execute(history->db, "COMMIT");
        if (r < 0) {
                sqlite_rollback(history->db);
                history->cursor = 0;
                return r;
        }

        if (n_deleted > 0)
                log_debug("Pruned %" PRIu64 " jobs from the history.", n_deleted);
        history->n_finished -= MIN(n_deleted, history->n_finished);
        if (more == 0)
                history->cursor = 0;
        return more;
}
