/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Records about jobs that change their owner, into the tables jobs and takeovers. A part of store-records.h,
 * like store-guest-writer.h. */

#include "mesh/record.h"
#include "store/store-sqlite.h"

struct move_writer;

int move_writer_new(sqlite3 *db, struct move_writer **ret);
struct move_writer *move_writer_free(struct move_writer *writer); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct move_writer *, move_writer_free)

/* Each returns the number of rows that changed. */

/* The job is another node's, or is about to become this node's anew: what is here of it goes. */
int move_writer_moved(struct move_writer *writer, const struct record *record);
/* After the job got this number. */
int move_writer_adopted(struct move_writer *writer, const struct record *record, uint64_t sequence);
/* The one change of a job that has ended. */
int move_writer_merged(struct move_writer *writer, const struct record *record);
