/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-guests.h"

#include <errno.h>
#include <inttypes.h>

#include "store/store-damaged-rows.h"
#include "store/store-guest-row.h"
#include "util/array.h"
#include "util/log.h"

#define GUESTS_AFTER "SELECT " GUEST_COLUMNS " FROM guests NOT INDEXED WHERE seq > ?1 ORDER BY seq"

void store_guests_done(struct store_guests *guests) {
        for (size_t i = 0; i < guests->n; i++)
                store_guest_done(&guests->guests[i]);
        free(guests->guests);
        *guests = (struct store_guests){};
}

/* Takes the guest, also when it fails. */
static int guests_add(struct store_guests *guests, struct store_guest *guest) {
        int r = ARRAY_RESERVE(guests->guests, guests->n + 1, guests->n_allocated, 64);

        if (r < 0)
                store_guest_done(guest);
        else
                guests->guests[guests->n++] = *guest;
        return r;
}

static int collect_one(sqlite3_stmt *statement, struct store_guests *guests, struct damaged_rows *damaged) {
        struct store_guest guest;
        const char *what;
        int r;

        r = store_guest_read(statement, &guest, &what);
        if (r == -EBADMSG)
                return damaged_rows_add(damaged, sqlite3_column_int64(statement, GUEST_SEQUENCE), what);
        return r < 0 ? r : guests_add(guests, &guest);
}

/* As far as the file can be read; what was found until then stays in guests. after: parameter ?1 of the
 * query; becomes the last number. */
static int
collect(sqlite3 *db, const char *query, int64_t *after, struct store_guests *guests,
        struct damaged_rows *damaged) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        struct binder binder;
        int r;

        r = sqlite_prepare(db, query, &statement);
        if (r < 0)
                return r;
        binder = (struct binder){ .statement = statement };
        bind_i64(&binder, *after);
        if (binder.code != SQLITE_OK)
                return sqlite_error(db, binder.code);
        while ((r = sqlite_step(statement)) > 0) {
                r = collect_one(statement, guests, damaged);
                if (r < 0)
                        return r;
                *after = sqlite3_column_int64(statement, GUEST_SEQUENCE);
        }
        return r;
}

/* Where the disk does not take it now, the next start tries again. */
static int drop_damaged(sqlite3 *db, const char *path, const struct damaged_rows *damaged) {
        int r;

        if (damaged->n == 0)
                return 0;
        r = damaged_rows_apply(damaged, db, "DELETE FROM guests WHERE ?1 NOTNULL AND seq = ?2");
        if (r == -EUCLEAN || r == -ENOMEM)
                return r;

        log_warning_errno(
                r,
                r < 0 ? "%zu jobs of other nodes in %s cannot be read (the first: row %" PRIi64
                        ", column %s), and cannot be dropped now, ignoring: %m"
                      : "%zu jobs of other nodes in %s cannot be read (the first: row %" PRIi64
                        ", column %s); they are dropped, and their owners run them again.",
                damaged->n, path, damaged->sequences[0], damaged->column);
        return 0;
}

int store_guests_read(sqlite3 *db, const char *path, struct store_guests *guests) {
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {};
        int64_t last = INT64_MIN;
        int r;

        r = collect(db, GUESTS_AFTER, &last, guests, &damaged);
        return r < 0 ? r : drop_damaged(db, path, &damaged);
}

static int append_reversed(struct store_guests *guests, struct store_guests *tail) {
        int r = 0;

        while (tail->n > 0 && r >= 0)
                r = guests_add(guests, &tail->guests[--tail->n]);
        return r;
}

int store_guests_salvage(sqlite3 *db, struct store_guests *guests) {
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {}; /* stay in the old file */
        _cleanup_(store_guests_done) struct store_guests tail = {};
        int64_t last = INT64_MIN;
        int r;

        /* A file that is older than this table has none. */
        r = collect(db, GUESTS_AFTER, &last, guests, &damaged);
        if (r >= 0 || r == -ENOMEM)
                return r;
        r = collect(db, GUESTS_AFTER " DESC", &last, &tail, &damaged);
        return r == -ENOMEM ? r : append_reversed(guests, &tail);
}

static int add_record(struct record_batch *batch, enum record_type type, const struct store_guest *guest) {
        struct record *record = record_batch_add(batch, type);

        if (!record)
                return -ENOMEM;
        record->run = guest->run;
        record->spec = job_spec_ref(guest->spec);
        record->result = guest->result ? job_result_ref(guest->result) : NULL;
        record->executor = guest->executor;
        return node_name_new(guest->owner_node_id, &record->node);
}

int store_guest_describe(const struct store_guest *guest, struct record_batch **ret) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        int r;

        r = record_batch_new(2, &batch);
        if (r < 0)
                return r;
        r = add_record(batch, RECORD_GUEST_TAKEN, guest);
        if (r >= 0 && guest->result)
                r = add_record(batch, RECORD_GUEST_ENDED, guest);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(batch);
        return 0;
}
