/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-sqlite.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>

#include "util/utf8.h"

/* A person with a sqlite3 shell may hold the write lock for a moment. */
#define BUSY_TIMEOUT_MSEC 5000

/* Free bytes at the end of a heap, beyond which they go back to the system: glibc's own default. */
#define HEAP_TRIM_THRESHOLD (128 * 1024)

int sqlite_error(sqlite3 *db, int code) {
        int saved = db ? sqlite3_system_errno(db) : 0;

        switch (code & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EUCLEAN;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_READONLY:
                return -EROFS;
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_CONSTRAINT:
                return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ? -EEXIST
                                                                                                : -EINVAL;
        case SQLITE_MISMATCH:
        case SQLITE_RANGE:
                return -EINVAL;
        case SQLITE_TOOBIG:
                return -EFBIG;
        case SQLITE_INTERRUPT:
                return -ECANCELED;
        case SQLITE_CANTOPEN:
                return saved > 0 ? -saved : -EIO;
        case SQLITE_IOERR:
                if (code == SQLITE_IOERR_NOMEM)
                        return -ENOMEM;
                if (code == SQLITE_IOERR_CORRUPTFS)
                        return -EUCLEAN;
                /* The shared memory of the log grows by means of its own and has no code for a full disk. */
                return saved == ENOSPC || saved == EDQUOT ? -ENOSPC : -EIO;
        default: /* SQLite's numbers, not ours */
                return -EIO;
        }
}

static void configure_process(void) {
        /* Each connection stays with one thread. No statistics: they cost a lock for every allocation. No
         * pages set aside for a connection that may never need them. If SQLite is running already, all stays
         * as it is. */
        (void) sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
        (void) sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        (void) sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);

        /* Otherwise glibc raises this by itself, and the heap of a thread never becomes smaller again. */
        (void) mallopt(M_TRIM_THRESHOLD, HEAP_TRIM_THRESHOLD);
}

int sqlite_open(const char *path, int flags, unsigned cache_kib, sqlite3 **ret) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        char pragmas[96];
        int r;

        (void) pthread_once(&once, configure_process);

        r = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
        if (r != SQLITE_OK)
                return sqlite_error(db, r);

        (void) sqlite3_busy_timeout(db, BUSY_TIMEOUT_MSEC);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);

        (void) snprintf(
                pragmas, sizeof(pragmas),
                "PRAGMA cache_size = -%u; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON", cache_kib);
        r = sqlite_execute(db, pragmas);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(db);
        return 0;
}

sqlite3 *sqlite_close(sqlite3 *db) {
        (void) sqlite3_close_v2(db);
        return NULL;
}

int sqlite_execute(sqlite3 *db, const char *sql) {
        return sqlite_error(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int sqlite_query_u64(sqlite3 *db, const char *sql, uint64_t *ret) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        int64_t value;
        int r;

        r = sqlite_error(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL));
        if (r < 0)
                return r;
        r = sqlite_step(statement);
        if (r < 0)
                return r;
        if (r == 0)
                return -ENODATA;

        value = sqlite3_column_int64(statement, 0);
        if (value < 0)
                return -EUCLEAN;
        *ret = (uint64_t) value;
        return 0;
}

void sqlite_rollback(sqlite3 *db) {
        if (!sqlite3_get_autocommit(db))
                (void) sqlite_execute(db, "ROLLBACK");
}

int sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret) {
        int code = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

        /* Our SQL is right; if a table or column is missing, then the file is not what it says it is. */
        return code == SQLITE_ERROR ? -EUCLEAN : sqlite_error(db, code);
}

int sqlite_prepare_all(sqlite3 *db, const char *const *sql, size_t n, sqlite3_stmt **ret) {
        for (size_t i = 0; i < n; i++) {
                int r = sqlite_prepare(db, sql[i], &ret[i]);

                if (r < 0)
                        return r;
        }
        return 0;
}

sqlite3_stmt *sqlite_finalize(sqlite3_stmt *statement) {
        (void) sqlite3_finalize(statement);
        return NULL;
}

void sqlite_finalize_all(sqlite3_stmt **statements, size_t n) {
        for (size_t i = 0; i < n; i++)
                statements[i] = sqlite_finalize(statements[i]);
}

int sqlite_step(sqlite3_stmt *statement) {
        int code = sqlite3_step(statement);

        if (code == SQLITE_ROW)
                return 1;
        return sqlite_error(sqlite3_db_handle(statement), code);
}

static void binder_note(struct binder *binder, int code) {
        if (binder->code == SQLITE_OK)
                binder->code = code;
}

void bind_null(struct binder *binder) {
        binder_note(binder, sqlite3_bind_null(binder->statement, ++binder->index));
}

void bind_i64(struct binder *binder, int64_t value) {
        binder_note(binder, sqlite3_bind_int64(binder->statement, ++binder->index, value));
}

void bind_u64(struct binder *binder, uint64_t value) {
        if (value > INT64_MAX) {
                binder->index++;
                binder_note(binder, SQLITE_RANGE);
                return;
        }
        bind_i64(binder, (int64_t) value);
}

void bind_text(struct binder *binder, const char *text) {
        binder_note(
                binder, sqlite3_bind_text64(
                                binder->statement, ++binder->index, text, text ? strlen(text) : 0,
                                SQLITE_STATIC, SQLITE_UTF8));
}

void bind_bytes(struct binder *binder, const char *data, size_t size) {
        if (size == 0 || (!memchr(data, 0, size) && utf8_is_valid(data, size)))
                binder_note(
                        binder, sqlite3_bind_text64(
                                        binder->statement, ++binder->index, size > 0 ? data : "", size,
                                        SQLITE_STATIC, SQLITE_UTF8));
        else
                bind_blob(binder, data, size);
}

void bind_blob(struct binder *binder, const void *data, size_t size) {
        binder_note(
                binder, sqlite3_bind_blob64(binder->statement, ++binder->index, data, size, SQLITE_STATIC));
}

void bind_time(struct binder *binder, usec_t realtime_usec, char buffer[static TIME_TEXT_MAX]) {
        if (realtime_usec == 0) {
                bind_null(binder);
                return;
        }
        bind_text(binder, format_time(buffer, TIME_TEXT_MAX, realtime_usec, 6));
}

void bind_uuid(struct binder *binder, const struct uuid *id, char buffer[static UUID_TEXT_SIZE]) {
        if (uuid_is_null(id)) {
                bind_null(binder);
                return;
        }
        bind_text(binder, uuid_to_text(id, buffer));
}

int binder_run(struct binder *binder) {
        sqlite3 *db = sqlite3_db_handle(binder->statement);
        int r;

        if (binder->code != SQLITE_OK) {
                (void) sqlite3_reset(binder->statement);
                return sqlite_error(db, binder->code);
        }

        r = sqlite_step(binder->statement);
        (void) sqlite3_reset(binder->statement);
        return r < 0 ? r : sqlite3_changes(db);
}
