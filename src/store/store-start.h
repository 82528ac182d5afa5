/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the file on the disk to an open connection, and what is unfinished in it, whatever the file looks
 * like. */

#include <stdbool.h>
#include <stddef.h>

#include "store/store-copies.h"
#include "store/store-guests.h"
#include "store/store-sqlite.h"
#include "store/store.h"

struct unfinished_jobs {
        size_t n, n_allocated;
        struct store_unfinished *jobs; /* in order of acceptance; each with a reference to its spec */
};

/* What the next process goes on with. */
struct store_found {
        struct unfinished_jobs jobs;
        struct store_guests guests;
        struct store_copies copies;
        bool drained;
        struct store_drain drain;
};

void store_found_done(struct store_found *found);

/* A damaged file is set aside, and what could be read of all this is written into a new one. */
int store_start(const char *path, const char *node_id, sqlite3 **ret_db, struct store_found *ret);
