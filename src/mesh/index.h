/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The mesh's recent jobs, as a node knows them: its own, and those that it was told of. A part of the mind,
 * with the same rules as mesh.h. */

#include "mesh/index-table.h"

struct mesh;

#define MESH_INDEX_MAX_DEFAULT 100000u

struct mesh_index_item {
        struct uuid id;
        const char *owner_node_id;
        const char *executor_node_id; /* NULL: none yet */
        enum job_status status;
        bool has_exit_code;
        int exit_code;
        usec_t created_at, started_at, finished_at; /* CLOCK_REALTIME; 0: not yet */
        uint64_t epoch;
};

/* Jobs that have ended, from the disk: of this node (owner NULL), and those of which it has the copies. What
 * happened to them since the start is left as it is. */
int mesh_index_restore(struct mesh *mesh, const struct mesh_index_item *items, size_t n);
/* That is all of this node's: from now on others are told that they know everything. */
void mesh_index_restored(struct mesh *mesh);

/* Newest first. Returns how many there are in items, at most query->limit, or -ENOMEM; they are valid until
 * the mind is told something. *ret_next: the before of the next page, 0: this is the last one. */
int mesh_index_list(
        struct mesh *mesh, const struct index_query *query, struct mesh_index_item *items,
        uint64_t *ret_next);
/* JOB_UNKNOWN: nothing is known of it. */
enum job_status mesh_index_status(struct mesh *mesh, const struct uuid *job);
/* Which node owns the job, as far as is known here. */
bool mesh_index_find_owner(
        struct mesh *mesh, const struct uuid *job, char ret_node_id[static NODE_ID_MAX + 1]);
