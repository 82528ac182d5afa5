/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The columns of a row that anybody may have written. Each is checked where it is read; reading goes on
 * after the first error, with empty values, and is judged at the end. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store-sqlite.h"
#include "wire/types.h"

struct row {
        sqlite3_stmt *statement;
        int error; /* -EBADMSG, -ENOMEM: the first one; 0: none */
        int where; /* the column that it is about */
};

void row_fail(struct row *row, int column, int error);

bool row_is_null(struct row *row, int column);
/* 0 to limit. NULL is 0. */
uint64_t row_number(struct row *row, int column, uint64_t limit);
/* low to high. NULL is 0. */
int64_t row_integer(struct row *row, int column, int64_t low, int64_t high);
/* Borrowed until the statement moves on; NULL where there is none. Followed by a NUL, and without one
 * inside. */
const char *row_text(struct row *row, int column, size_t limit, size_t *ret_size);
char *row_copy(struct row *row, int column, size_t limit);
/* NULL is 0. */
usec_t row_time(struct row *row, int column);
/* NULL is UUID_NULL. */
struct uuid row_uuid(struct row *row, int column);
/* NULL is empty. */
void row_node_id(struct row *row, int column, char ret[static NODE_ID_MAX + 1]);
char *row_node_id_copy(struct row *row, int column);
/* Bytes of a column that is TEXT or BLOB, whichever fitted; borrowed. NULL where there is none. */
const void *row_bytes(struct row *row, int column, size_t *ret_size);
