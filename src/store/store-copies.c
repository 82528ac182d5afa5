/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-copies.h"

#include <errno.h>
#include <inttypes.h>

#include "store/store-column.h"
#include "store/store-copy-row.h"
#include "store/store-damaged-rows.h"
#include "util/array.h"
#include "util/log.h"

#define COPIES_AFTER "SELECT " COPY_COLUMNS " FROM copies WHERE status IS NULL AND seq > ?1 ORDER BY seq"
/* Without the help of any index. */
#define COPIES_LEFT \
        "SELECT " COPY_COLUMNS " FROM copies NOT INDEXED WHERE status IS NULL AND seq > ?1 ORDER BY seq"
#define SWEPT_AFTER                                                                                     \
        "SELECT rowid, owner_node_id, term, instance FROM swept NOT INDEXED WHERE rowid > ?1 ORDER BY " \
        "rowid"
#define HOLDERS_AFTER "SELECT rowid, node_id, term FROM holders NOT INDEXED WHERE rowid > ?1 ORDER BY rowid"

/* Reads one row, and adds what is in it. -EBADMSG: it cannot be understood. */
typedef int (*read_row_t)(sqlite3_stmt *statement, struct store_copies *copies, const char **ret_what);

void store_copies_done(struct store_copies *copies) {
        for (size_t i = 0; i < copies->n; i++)
                store_copy_done(&copies->copies[i]);
        free(copies->copies);
        free(copies->holders);
        free(copies->sweeps);
        *copies = (struct store_copies){};
}

/* Takes the copy, also when it fails. */
static int add_copy(struct store_copies *copies, struct store_copy *copy) {
        int r = ARRAY_RESERVE(copies->copies, copies->n + 1, copies->n_allocated, 64);

        if (r < 0)
                store_copy_done(copy);
        else
                copies->copies[copies->n++] = *copy;
        return r;
}

static int add_holder(struct store_copies *copies, const struct store_holder *holder) {
        int r = ARRAY_RESERVE(copies->holders, copies->n_holders + 1, copies->n_holders_allocated, 8);

        if (r >= 0)
                copies->holders[copies->n_holders++] = *holder;
        return r;
}

static int read_copy(sqlite3_stmt *statement, struct store_copies *copies, const char **ret_what) {
        struct store_copy copy;
        int r;

        r = store_copy_read(statement, &copy, ret_what);
        return r < 0 ? r : add_copy(copies, &copy);
}

static int read_holder(sqlite3_stmt *statement, struct store_copies *copies, const char **ret_what) {
        enum { ROWID, NODE_ID, TERM };
        struct row row = { .statement = statement };
        struct store_holder holder = { .term = row_number(&row, TERM, INT64_MAX) };

        row_node_id(&row, NODE_ID, holder.node_id);
        if (holder.term == 0)
                row_fail(&row, TERM, -EBADMSG);
        if (holder.node_id[0] == '\0')
                row_fail(&row, NODE_ID, -EBADMSG);
        if (row.error < 0) {
                *ret_what = row.where == TERM ? "term" : "node_id";
                return row.error;
        }
        return add_holder(copies, &holder);
}

static int read_sweep(sqlite3_stmt *statement, struct store_copies *copies, const char **ret_what) {
        enum { ROWID, OWNER, TERM, INSTANCE };
        struct row row = { .statement = statement };
        struct store_sweep sweep = {
                .term = row_number(&row, TERM, INT64_MAX),
                .owner_instance = (uint64_t) row_integer(&row, INSTANCE, INT64_MIN, INT64_MAX),
        };
        int r;

        row_node_id(&row, OWNER, sweep.owner_node_id);
        if (sweep.term == 0)
                row_fail(&row, TERM, -EBADMSG);
        if (sweep.owner_node_id[0] == '\0')
                row_fail(&row, OWNER, -EBADMSG);
        if (row.error < 0) {
                *ret_what = row.where == TERM ? "term" : row.where == OWNER ? "owner_node_id" : "instance";
                return row.error;
        }
        r = ARRAY_RESERVE(copies->sweeps, copies->n_sweeps + 1, copies->n_sweeps_allocated, 8);
        if (r >= 0)
                copies->sweeps[copies->n_sweeps++] = sweep;
        return r;
}

/* As far as the file can be read; what was found until then stays in copies. after: parameter ?1 of the
 * query, whose first column it is; becomes the last number. */
static int
collect(sqlite3 *db, const char *query, read_row_t read_row, int64_t *after, struct store_copies *copies,
        struct damaged_rows *damaged) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        struct binder binder;
        const char *what = NULL;
        int r;

        r = sqlite_prepare(db, query, &statement);
        if (r < 0)
                return r;
        binder = (struct binder){ .statement = statement };
        bind_i64(&binder, *after);
        if (binder.code != SQLITE_OK)
                return sqlite_error(db, binder.code);
        while ((r = sqlite_step(statement)) > 0) {
                int64_t sequence = sqlite3_column_int64(statement, 0);

                r = read_row(statement, copies, &what);
                if (r == -EBADMSG)
                        r = damaged_rows_add(damaged, sequence, what);
                if (r < 0)
                        return r;
                *after = sequence;
        }
        return r;
}

/* Where the disk does not take it now, the next start tries again. */
static int drop_damaged(
        sqlite3 *db, const char *path, const char *what, const char *statement,
        const struct damaged_rows *damaged) {
        int r;

        if (damaged->n == 0)
                return 0;
        r = damaged_rows_apply(damaged, db, statement);
        if (r == -EUCLEAN || r == -ENOMEM)
                return r;

        log_warning_errno(
                r,
                r < 0 ? "%zu %s in %s cannot be read (the first: row %" PRIi64
                        ", column %s), and cannot be dropped now, ignoring: %m"
                      : "%zu %s in %s cannot be read (the first: row %" PRIi64
                        ", column %s); they are dropped.",
                damaged->n, what, path, damaged->sequences[0], damaged->column);
        return 0;
}

static int read_copies(sqlite3 *db, const char *path, struct store_copies *copies, bool *ret_all) {
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {};
        int64_t last = INT64_MIN;
        int r;

        *ret_all = true;
        r = collect(db, COPIES_AFTER, read_copy, &last, copies, &damaged);
        if (r < 0 || damaged.n == 0)
                return r;
        /* Whose they were is not known: of no owner everything is here. As long as the disk does not take
         * that, the next start has to see them, too. */
        *ret_all = false;
        r = sqlite_execute(db, "DELETE FROM swept");
        return r < 0 ? (r == -EUCLEAN || r == -ENOMEM ? r : 0)
                     : drop_damaged(
                               db, path, "copies of other nodes' jobs",
                               "DELETE FROM copies WHERE ?1 NOTNULL AND seq = ?2", &damaged);
}

/* Rows of nodes, of which the ones that cannot be read go; what: what the log calls them. */
static int read_nodes(
        sqlite3 *db, const char *path, const char *query, read_row_t read_row, const char *what,
        const char *drop, struct store_copies *copies) {
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {};
        int64_t last = INT64_MIN;
        int r;

        r = collect(db, query, read_row, &last, copies, &damaged);
        return r < 0 ? r : drop_damaged(db, path, what, drop, &damaged);
}

static int read_sweeps(sqlite3 *db, const char *path, struct store_copies *copies) {
        return read_nodes(
                db, path, SWEPT_AFTER, read_sweep, "names of nodes of which this one is the keeper",
                "DELETE FROM swept WHERE ?1 NOTNULL AND rowid = ?2", copies);
}

static int read_holders(sqlite3 *db, const char *path, struct store_copies *copies) {
        return read_nodes(
                db, path, HOLDERS_AFTER, read_holder, "names of nodes with copies of this node's jobs",
                "DELETE FROM holders WHERE ?1 NOTNULL AND rowid = ?2", copies);
}

int store_copies_read(sqlite3 *db, const char *path, struct store_copies *copies) {
        bool all;
        int r;

        r = read_copies(db, path, copies, &all);
        if (r >= 0 && all)
                r = read_sweeps(db, path, copies);
        return r < 0 ? r : read_holders(db, path, copies);
}

static int append_reversed(struct store_copies *copies, struct store_copies *tail) {
        int r = 0;

        while (tail->n > 0 && r >= 0)
                r = add_copy(copies, &tail->copies[--tail->n]);
        for (; tail->n_holders > 0 && r >= 0; tail->n_holders--)
                r = add_holder(copies, &tail->holders[tail->n_holders - 1]);
        return r;
}

static int
salvage(sqlite3 *db, const char *query, const char *reversed, read_row_t read_row,
        struct store_copies *copies) {
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {}; /* stay in the old file */
        _cleanup_(store_copies_done) struct store_copies tail = {};
        int64_t last = INT64_MIN;
        int r;

        /* A file that is older than these tables has none. */
        r = collect(db, query, read_row, &last, copies, &damaged);
        if (r >= 0 || r == -ENOMEM)
                return r;
        r = collect(db, reversed, read_row, &last, &tail, &damaged);
        return r == -ENOMEM ? r : append_reversed(copies, &tail);
}

int store_copies_salvage(sqlite3 *db, struct store_copies *copies) {
        int r;

        r = salvage(db, COPIES_LEFT, COPIES_LEFT " DESC", read_copy, copies);
        return r < 0 ? r : salvage(db, HOLDERS_AFTER, HOLDERS_AFTER " DESC", read_holder, copies);
}

static int describe_copy(const struct store_copy *copy, struct record *record) {
        int r;

        record->run = copy->run;
        record->spec = job_spec_ref(copy->spec);
        record->epoch = copy->epoch;
        record->term = copy->term;
        record->cancel_requested = copy->cancel_requested;
        record->retries_used = copy->retries_used;
        r = node_name_new(copy->owner_node_id, &record->owner);
        if (r >= 0 && copy->executor_node_id[0] != '\0')
                r = node_name_new(copy->executor_node_id, &record->node);
        return r;
}

static int add_batch(struct list *batches, enum record_type type, struct record **ret) {
        struct record_batch *batch;
        int r;

        r = record_batch_new(1, &batch);
        if (r < 0)
                return r;
        list_append(batches, &batch->link);
        *ret = record_batch_add(batch, type); /* there is room for one */
        return 0;
}

int store_copies_describe(const struct store_copies *copies, struct list *batches) {
        struct record *record;
        int r = 0;

        for (size_t i = 0; i < copies->n && r >= 0; i++) {
                r = add_batch(batches, RECORD_COPY, &record);
                if (r >= 0)
                        r = describe_copy(&copies->copies[i], record);
        }
        for (size_t i = 0; i < copies->n_holders && r >= 0; i++) {
                r = add_batch(batches, RECORD_HOLDER, &record);
                if (r < 0)
                        break;
                record->term = copies->holders[i].term;
                r = node_name_new(copies->holders[i].node_id, &record->node);
        }
        return r;
}
