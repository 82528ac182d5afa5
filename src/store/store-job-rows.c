/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-job-rows.h"

/* The job itself last: its number counts. */
static const char *const delete_text[] = {
        "DELETE FROM job_limits WHERE seq = ?", "DELETE FROM job_options WHERE seq = ?",
        "DELETE FROM attempts WHERE seq = ?",   "DELETE FROM takeovers WHERE seq = ?",
        "DELETE FROM jobs WHERE seq = ?",
};

#define LAST_SEQUENCE                                          \
        "SELECT max(coalesce((SELECT max(seq) FROM jobs), 0)," \
        " coalesce((SELECT max(seq) FROM job_limits), 0),"     \
        " coalesce((SELECT max(seq) FROM job_options), 0),"    \
        " coalesce((SELECT max(seq) FROM attempts), 0),"       \
        " coalesce((SELECT max(seq) FROM takeovers), 0))"

struct job_rows {
        sqlite3_stmt *find;
        sqlite3_stmt *deletions[ELEMENTSOF(delete_text)];
};

int job_rows_new(sqlite3 *db, struct job_rows **ret) {
        _cleanup_(job_rows_free_p) struct job_rows *rows = calloc(1, sizeof(*rows));
        int r;

        if (!rows)
                return -ENOMEM;
        r = sqlite_prepare(db, "SELECT seq FROM jobs WHERE job_id = ?", &rows->find);
        if (r >= 0)
                r = sqlite_prepare_all(db, delete_text, ELEMENTSOF(delete_text), rows->deletions);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(rows);
        return 0;
}

struct job_rows *job_rows_free(struct job_rows *rows) {
        if (!rows)
                return NULL;
        sqlite_finalize(rows->find);
        sqlite_finalize_all(rows->deletions, ELEMENTSOF(delete_text));
        free(rows);
        return NULL;
}

int job_rows_delete(struct job_rows *rows, uint64_t sequence) {
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(delete_text) && r >= 0; i++) {
                struct binder binder = { .statement = rows->deletions[i] };

                bind_u64(&binder, sequence);
                r = binder_run(&binder);
        }
        return r;
}

/* 1: there is one. */
static int find(struct job_rows *rows, const struct uuid *id, uint64_t *ret) {
        _cleanup_sqlite_reset_ sqlite3_stmt *statement = rows->find;
        struct binder binder = { .statement = statement };
        char text[UUID_TEXT_SIZE];
        int r;

        bind_uuid(&binder, id, text);
        if (binder.code != SQLITE_OK)
                return sqlite_error(sqlite3_db_handle(statement), binder.code);
        r = sqlite_step(statement);
        if (r > 0)
                *ret = (uint64_t) sqlite3_column_int64(statement, 0);
        return r;
}

int job_rows_delete_job(struct job_rows *rows, const struct uuid *id) {
        uint64_t sequence = 0;
        int r;

        r = find(rows, id, &sequence);
        return r > 0 ? job_rows_delete(rows, sequence) : r;
}

int job_rows_last_sequence(sqlite3 *db, uint64_t *ret) {
        return sqlite_query_u64(db, LAST_SEQUENCE, ret);
}
