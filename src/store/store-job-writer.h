/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Records about this node's own jobs, into rows of the table jobs and of those beside it. A part of
 * store-records.h, like store-guest-writer.h. */

#include "mesh/record.h"
#include "store/store-sqlite.h"

struct job_writer;

/* db and node_id stay with the caller. -EUCLEAN: a table or column is missing. */
int job_writer_new(sqlite3 *db, const char *node_id, struct job_writer **ret);
struct job_writer *job_writer_free(struct job_writer *writer); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct job_writer *, job_writer_free)

/* The last number that was given to a job; 0 before the first. */
uint64_t job_writer_last_sequence(const struct job_writer *writer);
/* Numbers after this one were given within a transaction that did not come about. */
void job_writer_rolled_back(struct job_writer *writer, uint64_t last_sequence);
/* Gives back memory that only an unusual record needed. */
void job_writer_trim(struct job_writer *writer);

/* Each returns the number of rows that changed. */
int job_writer_accepted(struct job_writer *writer, const struct record *record);
int job_writer_assigned(struct job_writer *writer, const struct record *record);
int job_writer_started(struct job_writer *writer, const struct record *record);
int job_writer_requeued(struct job_writer *writer, const struct record *record);
int job_writer_finished(struct job_writer *writer, const struct record *record);
int job_writer_cancel(struct job_writer *writer, const struct record *record);
