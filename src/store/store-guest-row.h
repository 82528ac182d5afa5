/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a row of the table guests to a struct. As in store-row.h, nothing that the file says is believed. */

#include "store/store-sqlite.h"
#include "store/store.h"

#define GUEST_COLUMN_TABLE(COLUMN)                  \
        COLUMN(GUEST_SEQUENCE, "seq")               \
        COLUMN(GUEST_JOB_ID, "job_id")              \
        COLUMN(GUEST_OWNER, "owner_node_id")        \
        COLUMN(GUEST_EPOCH, "epoch")                \
        COLUMN(GUEST_ATTEMPT, "attempt")            \
        COLUMN(GUEST_EXECUTOR, "executor_instance") \
        COLUMN(GUEST_ENDING, "ending")              \
        COLUMN(GUEST_ASSIGNMENT, "assignment")      \
        COLUMN(GUEST_STDERR, "stderr")

#define _GUEST_ENUM(name, sql) name,
#define _GUEST_SQL(name, sql) sql ", "

enum guest_column { GUEST_COLUMN_TABLE(_GUEST_ENUM) GUEST_STDOUT };

#define GUEST_COLUMNS GUEST_COLUMN_TABLE(_GUEST_SQL) "stdout"

/* -EBADMSG: the row is broken, *ret_what names the column. What was read is then freed. */
int store_guest_read(sqlite3_stmt *statement, struct store_guest *ret, const char **ret_what);
void store_guest_done(struct store_guest *guest);
