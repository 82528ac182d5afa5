/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the file on the disk to an open connection, and the unfinished jobs and the guests in it, whatever
 * the file looks like. */

#include <stddef.h>

#include "store/store-guests.h"
#include "store/store-sqlite.h"
#include "store/store.h"

struct unfinished_jobs {
        size_t n, n_allocated;
        struct store_unfinished *jobs; /* in order of acceptance; each with a reference to its spec */
};

void unfinished_jobs_done(struct unfinished_jobs *jobs);

/* A damaged file is set aside, and what could be read of its unfinished jobs and its guests is written into
 * a new one. */
int store_start(
        const char *path, const char *node_id, sqlite3 **ret_db, struct unfinished_jobs *ret_jobs,
        struct store_guests *ret_guests);
