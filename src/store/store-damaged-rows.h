/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Rows of a table that are there, and cannot be understood. */

#include <stddef.h>
#include <stdint.h>

#include "store/store-sqlite.h"

struct damaged_rows {
        size_t n, n_allocated;
        int64_t *sequences;
        const char *column; /* that the first one fails at */
};

void damaged_rows_done(struct damaged_rows *rows);
int damaged_rows_add(struct damaged_rows *rows, int64_t sequence, const char *column);
/* Runs a statement for each of them, in one transaction: ?1 is the time, ?2 the row. -EUCLEAN: the table
 * does not take it. */
int damaged_rows_apply(const struct damaged_rows *rows, sqlite3 *db, const char *sql);
