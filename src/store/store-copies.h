/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All unfinished copies of a file, the owners that told everything, and all holders, for the start. */

#include <stddef.h>

#include "mesh/record.h"
#include "store/store-sqlite.h"
#include "store/store.h"

struct store_holder {
        char node_id[NODE_ID_MAX + 1];
        uint64_t term;
};

struct store_sweep {
        char owner_node_id[NODE_ID_MAX + 1];
        uint64_t term, owner_instance;
};

struct store_copies {
        size_t n, n_allocated;
        struct store_copy *copies; /* in the order in which they came; each with its reference */
        size_t n_holders, n_holders_allocated;
        struct store_holder *holders;
        size_t n_sweeps, n_sweeps_allocated;
        struct store_sweep *sweeps;
};

void store_copies_done(struct store_copies *copies);

/* Rows that cannot be understood go. -EUCLEAN: the file is damaged. path is for the log. */
int store_copies_read(sqlite3 *db, const char *path, struct store_copies *copies);
/* Those of a damaged file, from both ends up to the damage; nobody knows then whether it was everything.
 * -ENOMEM, or it worked as far as it did. */
int store_copies_salvage(sqlite3 *db, struct store_copies *copies);

/* What would have led to them as they are, each a batch of its own, at the end of the list. What was added
 * before an error stays there. */
int store_copies_describe(const struct store_copies *copies, struct list *batches);
