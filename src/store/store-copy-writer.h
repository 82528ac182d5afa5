/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Records about copies: of other nodes' jobs into the table copies, and of who has those of this node's jobs
 * into the table holders. A part of store-records.h, like store-guest-writer.h. */

#include "mesh/record.h"
#include "store/store-sqlite.h"

struct copy_writer;

int copy_writer_new(sqlite3 *db, struct copy_writer **ret);
struct copy_writer *copy_writer_free(struct copy_writer *writer); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct copy_writer *, copy_writer_free)

/* A record of one of the types RECORD_COPY to RECORD_HOLDER_GONE. Returns the number of rows that changed.
 * -EINVAL, -EFBIG: no record that a row can hold. */
int copy_writer_write(struct copy_writer *writer, const struct record *record);
/* The job is this node's own now. */
int copy_writer_adopted(struct copy_writer *writer, const struct record *record);
