/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a row of the tables jobs, job_limits and job_options to a struct. Nothing that the file says is
 * believed: sizes, words, identifiers, times and JSON are checked as if a stranger had sent them. */

#include <limits.h>
#include <stdint.h>

#include "store/store-sqlite.h"
#include "store/store.h"

/* Which outputs a row carries: the largest size in bytes, given as parameter ?1 of ROW_COLUMNS. */
#define ROW_OUTPUT_NONE (-1)
#define ROW_OUTPUT_SMALL ((int64_t) STORE_LIST_OUTPUT_MAX) /* those that are at most that large, whole */
#define ROW_OUTPUT_WHOLE INT64_MAX

#define ROW_COLUMN_TABLE(COLUMN)                         \
        COLUMN(ROW_JOB_ID, "job_id")                     \
        COLUMN(ROW_STATUS, "status")                     \
        COLUMN(ROW_EXIT_CODE, "exit_code")               \
        COLUMN(ROW_SIGNAL, "signal")                     \
        COLUMN(ROW_CREATED_AT, "created_at")             \
        COLUMN(ROW_STARTED_AT, "started_at")             \
        COLUMN(ROW_FINISHED_AT, "finished_at")           \
        COLUMN(ROW_UPDATED_AT, "updated_at")             \
        COLUMN(ROW_DURATION, "duration_usec")            \
        COLUMN(ROW_TIMEOUT, "timeout_seconds")           \
        COLUMN(ROW_EPOCH, "epoch")                       \
        COLUMN(ROW_ATTEMPT, "attempt")                   \
        COLUMN(ROW_CANCEL_REQUESTED, "cancel_requested") \
        COLUMN(ROW_TARGET, "target_node_id")             \
        COLUMN(ROW_CREATED_BY, "created_by_node")        \
        COLUMN(ROW_EXECUTOR_NODE, "executor_node_id")    \
        COLUMN(ROW_EXECUTOR, "executor_instance")        \
        COLUMN(ROW_SUBMITTER, "submitter")               \
        COLUMN(ROW_SUBMITTER_UID, "submitter_uid")       \
        COLUMN(ROW_DIGEST, "digest")                     \
        COLUMN(ROW_STDIN_SIZE, "stdin_size")             \
        COLUMN(ROW_STDOUT_SIZE, "stdout_size")           \
        COLUMN(ROW_STDERR_SIZE, "stderr_size")           \
        COLUMN(ROW_STDOUT_TOTAL, "stdout_total")         \
        COLUMN(ROW_STDERR_TOTAL, "stderr_total")         \
        COLUMN(ROW_STDOUT_TRUNCATED, "stdout_truncated") \
        COLUMN(ROW_STDERR_TRUNCATED, "stderr_truncated") \
        COLUMN(ROW_ERROR_MESSAGE, "error_message")       \
        COLUMN(ROW_CWD, "cwd")                           \
        COLUMN(ROW_COMMAND, "command")                   \
        COLUMN(ROW_ENV, "env")                           \
        COLUMN(ROW_MEMORY_MAX, "memory_max")             \
        COLUMN(ROW_CPU_WEIGHT, "cpu_weight")             \
        COLUMN(ROW_CPU_QUOTA, "cpu_quota")               \
        COLUMN(ROW_TASKS_MAX, "tasks_max")               \
        COLUMN(ROW_BEST_EFFORT, "best_effort")           \
        COLUMN(ROW_OOM_KILLED, "oom_killed")             \
        COLUMN(ROW_PRIORITY, "priority")                 \
        COLUMN(ROW_RETRIES, "retries")                   \
        COLUMN(ROW_RETRIES_USED, "retries_used")         \
        COLUMN(ROW_LOSS_IS_FAILURE, "loss_is_failure")   \
        COLUMN(ROW_REQUIRES, "requires")

#define _ROW_ENUM(name, sql) name,
#define _ROW_SQL(name, sql) ", " sql

enum row_column {
        ROW_SEQUENCE,
        ROW_COLUMN_TABLE(_ROW_ENUM) ROW_STDERR,
        ROW_STDOUT,
        /* For store_row_read_unfinished() only. */
        ROW_STDIN,
        ROW_OWNER_EPOCH,
};

#define ROW_COLUMNS                                                                                 \
        "seq" ROW_COLUMN_TABLE(_ROW_SQL) ", CASE WHEN stderr_size BETWEEN 1 AND ?1 THEN stderr END" \
                                         ", CASE WHEN stdout_size BETWEEN 1 AND ?1 THEN stdout END"

/* Where they come from. In a file of version 1 no job has limits, before version 4 none has options. */
#define ROW_TABLES "jobs LEFT JOIN job_limits USING (seq) LEFT JOIN job_options USING (seq)"
#define ROW_TABLES_2                                                                                \
        "jobs LEFT JOIN job_limits USING (seq), (SELECT NULL AS priority, NULL AS retries, NULL AS" \
        " retries_used, NULL AS loss_is_failure, NULL AS requires)"
#define ROW_TABLES_1                                                                                       \
        "jobs, (SELECT NULL AS memory_max, NULL AS cpu_weight, NULL AS cpu_quota, NULL AS tasks_max, NULL" \
        " AS best_effort, NULL AS oom_killed, NULL AS priority, NULL AS retries, NULL AS retries_used,"    \
        " NULL AS loss_is_failure, NULL AS requires)"

/* Those of store_list_recent(). */
#define ROW_RECENT_COLUMNS \
        "seq, job_id, status, exit_code, created_at, started_at, finished_at, epoch, executor_node_id"
int store_row_read_recent(sqlite3_stmt *statement, struct stored_job *ret, const char **ret_what);

/* -EBADMSG: the row is broken, *ret_what names the column. What was read is then freed. */
int store_row_read(sqlite3_stmt *statement, struct stored_job *ret, const char **ret_what);
int store_row_read_unfinished(sqlite3_stmt *statement, struct store_unfinished *ret, const char **ret_what);

/* What an answer with this job in it takes of the memory. */
size_t stored_job_size(const struct stored_job *job);
