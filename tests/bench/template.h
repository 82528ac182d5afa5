/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Rows as the node writes them, without knowing its schema: the table "jobs" and its indexes as a database
 * of the node has them, and its newest row as a template, of which each copy differs where the table wants
 * it to. */

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"
#include "util/uuid.h"

#define TEMPLATE_COLUMNS_MAX 64u

enum template_column_kind {
        COLUMN_COPIED,
        COLUMN_NUMBER, /* unique: counts */
        COLUMN_TEXT,   /* unique: a random UUID */
        COLUMN_BLOB,   /* unique: random bytes */
};

struct template_column {
        enum template_column_kind kind;
        sqlite3_value *value;
};

struct template {
        char *schema; /* statements that make table and indexes */
        char *insert; /* with a parameter a column */
        int n_columns;
        struct template_column columns[TEMPLATE_COLUMNS_MAX];
};

int template_load(sqlite3 *database, struct template *ret);
void template_done(struct template *template);
#define _cleanup_template_ _cleanup_(template_done)

/* What makes one copy different from all others. */
struct template_key {
        int64_t number;
        struct uuid id;
        char text[UUID_TEXT_SIZE];
};

/* Binds one copy; the key stays in place until the statement is reset. */
int template_bind(const struct template *template, sqlite3_stmt *insert, const struct template_key *key);

/* Runs statements that answer nothing; says what went wrong. */
int sql_run(sqlite3 *database, const char *statements);
int sql_problem(sqlite3 *database, const char *what); /* says it; returns -EIO */
