/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SQLite's ways turned into ours: result codes into negative errno, statements and connections with cleanup,
 * binding in order with the first error remembered. A connection is used by one thread at a time. */

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"
#include "util/time.h"
#include "util/uuid.h"

/* The value of a macro, for SQL. */
#define MACRO_TEXT(macro) _MACRO_TEXT(macro)
#define _MACRO_TEXT(text) #text

/* The negative errno that a result code of this connection stands for. db may be NULL. */
int sqlite_error(sqlite3 *db, int code);

/* A connection without a mutex of its own, small, and deaf to triggers and views that a foreign hand may
 * have put into the file. cache_kib: how much of the file it may keep in memory. */
int sqlite_open(const char *path, int flags, unsigned cache_kib, sqlite3 **ret);
sqlite3 *sqlite_close(sqlite3 *db); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(sqlite3 *, sqlite_close)

int sqlite_execute(sqlite3 *db, const char *sql);
/* The first column of the first row. -ENODATA: no row. */
int sqlite_query_u64(sqlite3 *db, const char *sql, uint64_t *ret);
/* Ends a transaction that a failed statement may or may not have ended already. */
void sqlite_rollback(sqlite3 *db);

/* A statement that is kept. */
int sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret);
sqlite3_stmt *sqlite_finalize(sqlite3_stmt *statement); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(sqlite3_stmt *, sqlite_finalize)
/* n of them, in order. After an error ret holds those that came before it, to be finalised. */
int sqlite_prepare_all(sqlite3 *db, const char *const *sql, size_t n, sqlite3_stmt **ret);
void sqlite_finalize_all(sqlite3_stmt **statements, size_t n); /* leaves NULLs */

/* 1: a row. 0: no more of them. */
int sqlite_step(sqlite3_stmt *statement);
/* Ends the statement's turn, and with it its hold on the transaction. */
static inline void sqlite_reset_p(sqlite3_stmt **statement) {
        if (*statement)
                (void) sqlite3_reset(*statement);
}
#define _cleanup_sqlite_reset_ _cleanup_(sqlite_reset_p)

/* Binds one parameter after the other. Nothing is copied: what is bound stays in place until the step. */
struct binder {
        sqlite3_stmt *statement;
        int index; /* of the last bound parameter */
        int code;  /* the first error, or SQLITE_OK */
};

void bind_null(struct binder *binder);
void bind_i64(struct binder *binder, int64_t value);
void bind_u64(struct binder *binder, uint64_t value);    /* above INT64_MAX: an error */
void bind_text(struct binder *binder, const char *text); /* NULL: NULL */
/* TEXT where it is UTF-8 without NUL, otherwise BLOB; never NULL, not even when empty. */
void bind_bytes(struct binder *binder, const char *data, size_t size);
void bind_blob(struct binder *binder, const void *data, size_t size);
/* RFC 3339 with six digits; 0 is NULL. buffer keeps the text. */
void bind_time(struct binder *binder, usec_t realtime_usec, char buffer[static TIME_TEXT_MAX]);
/* UUID_NULL is NULL. */
void bind_uuid(struct binder *binder, const struct uuid *id, char buffer[static UUID_TEXT_SIZE]);

/* Steps an INSERT, UPDATE or DELETE, and resets it. Returns the number of rows it changed. */
int binder_run(struct binder *binder);
