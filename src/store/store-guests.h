/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All guests of a file, for the start. */

#include <stddef.h>

#include "mesh/record.h"
#include "store/store-sqlite.h"
#include "store/store.h"

struct store_guests {
        size_t n, n_allocated;
        struct store_guest *guests; /* in the order in which they came; each with its references */
};

void store_guests_done(struct store_guests *guests);

/* Rows that cannot be understood go: the owner is told that its run is not here, and decides what becomes of
 * the job. -EUCLEAN: the file is damaged. path is for the log. */
int store_guests_read(sqlite3 *db, const char *path, struct store_guests *guests);
/* Those of a damaged file, from both ends up to the damage. -ENOMEM, or it worked as far as it did. */
int store_guests_salvage(sqlite3 *db, struct store_guests *guests);

/* What would have led to the guest as it is. */
int store_guest_describe(const struct store_guest *guest, struct record_batch **ret);
