/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Batches of records into rows: the statements, and the transaction around a group of batches. Used by one
 * thread at a time; never touches a reference count. */

#include <stdint.h>

#include "mesh/record.h"
#include "store/store-history.h"
#include "store/store-sqlite.h"
#include "util/list.h"

struct store_records;

/* db and node_id stay with the caller. -EUCLEAN: a table or column is missing. */
int store_records_new(sqlite3 *db, const char *node_id, struct store_records **ret);
struct store_records *store_records_free(struct store_records *records); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct store_records *, store_records_free)

/* Commits all batches of the list as one transaction, or, where the fault lies with one of them, each by
 * itself. Leaves the outcome in each batch's error. Returns a negative errno if the disk or the file is at
 * fault: then none of them is durable, and all have that error. ret_ended: how many ended with it. */
int store_records_commit(struct store_records *records, struct list *group, struct ended_counts *ret_ended);

/* Commits one page that changes nothing: whether it can be done. */
int store_records_touch(struct store_records *records);

/* The last number that was given to a job; 0 before the first. */
uint64_t store_records_last_sequence(const struct store_records *records);

/* When it happened; where the mind did not say: now. */
usec_t record_time(const struct record *record);

/* Bytes that a batch holds, near enough to bound them. */
size_t record_batch_size(const struct record_batch *batch);
