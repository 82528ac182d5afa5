/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a row of the table copies to a struct. As in store-row.h, nothing that the file says is believed. */

#include "store/store-sqlite.h"
#include "store/store.h"

#define COPY_COLUMN_TABLE(COLUMN)                         \
        COLUMN(COPY_SEQUENCE, "seq")                      \
        COLUMN(COPY_JOB_ID, "job_id")                     \
        COLUMN(COPY_OWNER, "owner_node_id")               \
        COLUMN(COPY_TERM, "term")                         \
        COLUMN(COPY_EPOCH, "epoch")                       \
        COLUMN(COPY_RUN_EPOCH, "run_epoch")               \
        COLUMN(COPY_ATTEMPT, "attempt")                   \
        COLUMN(COPY_EXECUTOR_NODE, "executor_node_id")    \
        COLUMN(COPY_CANCEL_REQUESTED, "cancel_requested") \
        COLUMN(COPY_RETRIES_USED, "retries_used")         \
        COLUMN(COPY_STATUS, "status")                     \
        COLUMN(COPY_UPDATED_AT, "updated_at")             \
        COLUMN(COPY_ASSIGNMENT, "assignment")

#define _COPY_ENUM(name, sql) name,
#define _COPY_SQL(name, sql) sql ", "

enum copy_column { COPY_COLUMN_TABLE(_COPY_ENUM) COPY_ENDING };

#define COPY_COLUMNS COPY_COLUMN_TABLE(_COPY_SQL) "ending"

/* Both: -EBADMSG: the row is broken, *ret_what names the column. What was read is then freed. */

/* One that has not ended. */
int store_copy_read(sqlite3_stmt *statement, struct store_copy *ret, const char **ret_what);
void store_copy_done(struct store_copy *copy);
/* One that has. with_output: the outputs, else only their sizes. */
int store_copy_read_ended(
        sqlite3_stmt *statement, bool with_output, struct stored_job *ret, const char **ret_what);
