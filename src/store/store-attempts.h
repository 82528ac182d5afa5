/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Attempts of jobs that did not decide them: records into rows of the table attempts, and back. Each side is
 * used by one thread at a time, within its transactions. */

#include "mesh/record.h"
#include "store/store-sqlite.h"
#include "store/store.h"

struct attempt_writer;

/* db and node_id stay with the caller. -EUCLEAN: a table or column is missing. */
int attempt_writer_new(sqlite3 *db, const char *node_id, struct attempt_writer **ret);
struct attempt_writer *attempt_writer_free(struct attempt_writer *writer); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct attempt_writer *, attempt_writer_free)

/* Returns whether it was news: 0 where the job is gone, where the attempt is the one that ended it, and
 * where the end of the attempt is known already. */
int attempt_writer_write(struct attempt_writer *writer, const struct record *record);

#define ATTEMPTS_QUERY                                                                          \
        "SELECT epoch, attempt, node_id, started_at, finished_at, outcome, exit_code, signal, " \
        "error_message"                                                                         \
        " FROM attempts WHERE seq = ? ORDER BY epoch, attempt LIMIT " MACRO_TEXT(ATTEMPTS_KEPT_MAX)

/* Steps ATTEMPTS_QUERY for this job, and fills its attempts. Rows that cannot be read are left out;
 * *ret_broken names a column of the last such one, or is NULL. */
int store_attempts_read(sqlite3_stmt *statement, struct stored_job *job, const char **ret_broken);
void stored_attempts_done(struct stored_job *job);
size_t stored_attempts_size(const struct stored_job *job); /* of the memory */
