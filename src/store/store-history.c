/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-history.h"

#include <errno.h>

#include "store/store-job-rows.h"
#include "util/log.h"
#include "wire/types.h"

enum statement {
        STATEMENT_OLDEST,
        STATEMENT_TIMES,
        STATEMENT_NEWEST,
        _STATEMENT_MAX,
};

enum kind {
        KIND_JOBS,
        KIND_COPIES,
        _KIND_MAX,
};

static const char *const statement_text[_KIND_MAX][_STATEMENT_MAX] = {
        [KIND_JOBS] = {
                /* Answered from the index alone. */
                [STATEMENT_OLDEST] =
                        "SELECT seq FROM jobs WHERE status = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                [STATEMENT_TIMES] = "SELECT created_at, finished_at FROM jobs WHERE seq = ?",
                [STATEMENT_NEWEST] = "SELECT coalesce(max(seq), 0) FROM jobs",
        },
        [KIND_COPIES] = {
                [STATEMENT_OLDEST] =
                        "SELECT seq FROM copies WHERE status = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                [STATEMENT_TIMES] = "SELECT created_at, updated_at FROM copies WHERE seq = ?",
                [STATEMENT_NEWEST] = "SELECT 0", /* their numbers mean nothing */
        },
};

enum measure {
        MEASURE_PAGES,
        MEASURE_FREE_PAGES,
        MEASURE_PAGE_SIZE,
        _MEASURE_MAX,
};

static const char *const measure_text[_MEASURE_MAX] = {
        [MEASURE_PAGES] = "PRAGMA page_count",
        [MEASURE_FREE_PAGES] = "PRAGMA freelist_count",
        [MEASURE_PAGE_SIZE] = "PRAGMA page_size",
};

/* One table with what has ended. */
struct part {
        enum kind kind;
        uint64_t n_ended; /* while not counted: only what was added since */
        uint64_t cursor;  /* this pass has looked at everything up to here */
        sqlite3_stmt *statements[_STATEMENT_MAX];
};

struct store_history {
        sqlite3 *db;
        struct history_limits limits;
        bool counted;
        enum kind first; /* begins next time */
        struct part parts[_KIND_MAX];
        sqlite3_stmt *measures[_MEASURE_MAX];
        struct job_rows *rows;
        sqlite3_stmt *delete_copy;
};

/* The numbers of the oldest finished jobs, in order. */
struct candidates {
        size_t n;
        uint64_t sequences[HISTORY_SLICE_MAX * (_JOB_STATUS_MAX - JOB_COMPLETED)];
};

static int prepare_part(sqlite3 *db, enum kind kind, struct part *part) {
        int r = 0;

        part->kind = kind;
        for (size_t i = 0; i < _STATEMENT_MAX && r >= 0; i++)
                r = sqlite_prepare(db, statement_text[kind][i], &part->statements[i]);
        return r;
}

int store_history_new(sqlite3 *db, const struct history_limits *limits, struct store_history **ret) {
        _cleanup_(store_history_free_p) struct store_history *history = calloc(1, sizeof(*history));
        int r;

        if (!history)
                return -ENOMEM;
        history->db = db;
        history->limits = *limits;

        r = job_rows_new(db, &history->rows);
        if (r >= 0)
                r = sqlite_prepare(db, "DELETE FROM copies WHERE seq = ?", &history->delete_copy);
        if (r >= 0)
                r = sqlite_prepare_all(db, measure_text, _MEASURE_MAX, history->measures);
        for (enum kind kind = 0; kind < _KIND_MAX && r >= 0; kind++)
                r = prepare_part(db, kind, &history->parts[kind]);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(history);
        return 0;
}

struct store_history *store_history_free(struct store_history *history) {
        if (!history)
                return NULL;
        for (enum kind kind = 0; kind < _KIND_MAX; kind++)
                sqlite_finalize_all(history->parts[kind].statements, _STATEMENT_MAX);
        sqlite_finalize_all(history->measures, _MEASURE_MAX);
        sqlite_finalize(history->delete_copy);
        job_rows_free(history->rows);
        free(history);
        return NULL;
}

void store_history_set_limits(struct store_history *history, const struct history_limits *limits) {
        history->limits = *limits;
}

void store_history_set_count(struct store_history *history, const struct ended_counts *n_ended) {
        store_history_add(history, n_ended);
        history->counted = true;
}

void store_history_add(struct store_history *history, const struct ended_counts *n_ended) {
        history->parts[KIND_JOBS].n_ended += n_ended->jobs;
        history->parts[KIND_COPIES].n_ended += n_ended->copies;
}

static uint64_t excess(const struct store_history *history, const struct part *part) {
        return history->counted && part->n_ended > history->limits.max_jobs
                       ? part->n_ended - history->limits.max_jobs
                       : 0;
}

bool store_history_is_excessive(const struct store_history *history) {
        return excess(history, &history->parts[KIND_JOBS]) > HISTORY_EXCESS_MAX ||
               excess(history, &history->parts[KIND_COPIES]) > HISTORY_EXCESS_MAX;
}

static int read_value(sqlite3_stmt *value, uint64_t *ret) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = value;
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

        r = read_value(history->measures[MEASURE_PAGES], &n_pages);
        if (r >= 0)
                r = read_value(history->measures[MEASURE_FREE_PAGES], &n_free);
        if (r >= 0)
                r = read_value(history->measures[MEASURE_PAGE_SIZE], &page_size);
        if (r < 0)
                return r;
        return (n_pages - MIN(n_free, n_pages)) * page_size > history->limits.max_bytes;
}

static int compare_sequences(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

static int collect_status(const struct part *part, enum job_status status, struct candidates *candidates) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = part->statements[STATEMENT_OLDEST];
        struct binder binder = { .statement = statement };
        int r;

        bind_text(&binder, job_status_to_text(status));
        bind_u64(&binder, part->cursor);
        bind_u64(&binder, HISTORY_SLICE_MAX);
        if (binder.code != SQLITE_OK)
                return sqlite_error(sqlite3_db_handle(statement), binder.code);

        while ((r = sqlite_step(statement)) > 0 && candidates->n < ELEMENTSOF(candidates->sequences))
                candidates->sequences[candidates->n++] = (uint64_t) sqlite3_column_int64(statement, 0);
        return r;
}

static int collect(const struct part *part, struct candidates *ret) {
        int r;

        ret->n = 0;
        for (enum job_status status = JOB_COMPLETED; status < _JOB_STATUS_MAX; status++) {
                r = collect_status(part, status, ret);
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

static int age_of(const struct part *part, uint64_t sequence, usec_t cutoff) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = part->statements[STATEMENT_TIMES];
        struct binder binder = { .statement = statement };
        int r;

        bind_u64(&binder, sequence);
        if (binder.code != SQLITE_OK)
                return sqlite_error(sqlite3_db_handle(statement), binder.code);
        r = sqlite_step(statement);
        if (r < 0)
                return r;
        if (r == 0)
                return AGE_FINISHED_LATE;
        if (column_time(statement, 1) < cutoff)
                return AGE_OLD;
        return column_time(statement, 0) < cutoff ? AGE_FINISHED_LATE : AGE_YOUNG;
}

/* Returns how many are gone by it. */
static int delete_one(struct store_history *history, enum kind kind, uint64_t sequence) {
        struct binder binder = { .statement = history->delete_copy };

        if (kind == KIND_JOBS)
                return job_rows_delete(history->rows, sequence);
        bind_u64(&binder, sequence);
        return binder_run(&binder);
}

/* Inside a transaction. Adds to *n_deleted. 1: the slice is used up. 0: the rest may stay. */
static int delete_candidates(
        struct store_history *history, struct part *part, const struct candidates *candidates,
        uint64_t *n_deleted) {
        usec_t begin = now_usec(CLOCK_MONOTONIC), cutoff = 0;
        uint64_t newest, n_excess = excess(history, part);
        int too_large, r;

        if (history->limits.max_age_usec != USEC_INFINITY)
                cutoff = usec_sub(now_usec(CLOCK_REALTIME), history->limits.max_age_usec);
        r = read_value(part->statements[STATEMENT_NEWEST], &newest);
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
                if (*n_deleted >= n_excess && too_large == 0) {
                        r = age_of(part, sequence, cutoff);
                        if (r < 0)
                                return r;
                        if (r == AGE_YOUNG)
                                return 0;
                        if (r == AGE_FINISHED_LATE) {
                                part->cursor = sequence;
                                continue;
                        }
                }

                r = delete_one(history, part->kind, sequence);
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

static int prune_part(struct store_history *history, struct part *part) {
        struct candidates candidates;
        uint64_t n_deleted = 0;
        int r, more;

        r = sqlite_execute(history->db, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        more = collect(part, &candidates);
        if (more >= 0)
                more = delete_candidates(history, part, &candidates, &n_deleted);
        r = more < 0 ? more : sqlite_execute(history->db, "COMMIT");
        if (r < 0) {
                sqlite_rollback(history->db);
                part->cursor = 0;
                return r;
        }

        if (n_deleted > 0)
                log_debug(
                        "Pruned %" PRIu64 " %s from the history.", n_deleted,
                        part->kind == KIND_JOBS ? "jobs" : "copies of other nodes' jobs");
        part->n_ended -= MIN(n_deleted, part->n_ended);
        if (more == 0)
                part->cursor = 0;
        return more;
}

int store_history_prune(struct store_history *history) {
        enum kind first = history->first, second = first == KIND_JOBS ? KIND_COPIES : KIND_JOBS;
        int r;

        history->first = second;
        r = prune_part(history, &history->parts[first]);
        return r == 0 ? prune_part(history, &history->parts[second]) : r;
}
