/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-damaged-rows.h"

#include <errno.h>

#include "util/array.h"

void damaged_rows_done(struct damaged_rows *rows) {
        free(rows->sequences);
        *rows = (struct damaged_rows){};
}

int damaged_rows_add(struct damaged_rows *rows, int64_t sequence, const char *column) {
        int r = ARRAY_RESERVE(rows->sequences, rows->n + 1, rows->n_allocated, 16);

        if (r < 0)
                return r;
        if (rows->n == 0)
                rows->column = column;
        rows->sequences[rows->n++] = sequence;
        return 0;
}

static int apply_each(const struct damaged_rows *rows, sqlite3 *db, const char *sql) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        char now[TIME_TEXT_MAX];
        int r;

        r = sqlite_prepare(db, sql, &statement);
        for (size_t i = 0; i < rows->n && r >= 0; i++) {
                struct binder binder = { .statement = statement };

                bind_time(&binder, now_usec(CLOCK_REALTIME), now);
                bind_i64(&binder, rows->sequences[i]);
                r = binder_run(&binder);
                /* A table of ours takes it, in the row that was there a moment ago. */
                if (r == 0 || r == -EEXIST || r == -EINVAL)
                        r = -EUCLEAN;
        }
        return r;
}

int damaged_rows_apply(const struct damaged_rows *rows, sqlite3 *db, const char *sql) {
        int r;

        r = sqlite_execute(db, "BEGIN IMMEDIATE");
        if (r >= 0)
                r = apply_each(rows, db, sql);
        if (r >= 0)
                r = sqlite_execute(db, "COMMIT");
        if (r < 0)
                sqlite_rollback(db);
        return r;
}
