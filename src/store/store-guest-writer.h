/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Records about runs of other nodes' jobs, into rows of the table guests. A part of store-records.h: used by
 * one thread at a time, within its transactions; never touches a reference count. */

#include "mesh/record.h"
#include "store/store-sqlite.h"

struct guest_writer;

/* db stays with the caller. -EUCLEAN: a table or column is missing. */
int guest_writer_new(sqlite3 *db, struct guest_writer **ret);
struct guest_writer *guest_writer_free(struct guest_writer *writer); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct guest_writer *, guest_writer_free)

/* Each returns the number of rows that changed. -EINVAL, -EFBIG: no record that a row can hold. */

/* The same run once more: only its executor changes. What is there of another run of the job goes. */
int guest_writer_taken(struct guest_writer *writer, const struct record *record);
int guest_writer_ended(struct guest_writer *writer, const struct record *record);
int guest_writer_gone(struct guest_writer *writer, const struct record *record);
