/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The rows of one job: that of the table jobs, and those that other tables have beside it under the same
 * number. They go together. */

#include "store/store-sqlite.h"

struct job_rows;

/* db stays with the caller. -EUCLEAN: a table is missing. */
int job_rows_new(sqlite3 *db, struct job_rows **ret);
struct job_rows *job_rows_free(struct job_rows *rows); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct job_rows *, job_rows_free)

/* Inside a transaction. Both return the number of jobs that are gone by it. */
int job_rows_delete(struct job_rows *rows, uint64_t sequence);
int job_rows_delete_job(struct job_rows *rows, const struct uuid *id);

/* The highest number that any row of a job has, also when a foreign hand took the job itself away. */
int job_rows_last_sequence(sqlite3 *db, uint64_t *ret);
