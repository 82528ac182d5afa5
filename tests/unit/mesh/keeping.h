/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of keepers and of takeovers begin with, and what they look at. */

#include "lib/mesh-world.h"

extern struct world world;

static inline struct world_node *node(size_t i) {
        return world.nodes[i];
}

/* So many, up to four, that know each other. */
void begin_nodes(size_t n_nodes, unsigned slots);
/* Of three nodes the first owns, one keeps, and the other one runs. */
void begin_apart(struct world_node **ret_keeper, struct world_node **ret_runs);
/* Of two nodes the second has the copy and the run of the first one's job. */
void begin_with_guest(const char *command, const struct world_wishes *wishes, struct uuid *ret);

/* As by the loss of the whole machine. */
void lose(struct world_node *lost);
/* It begins anew under its old name, without its database. */
void lose_disk(struct world_node *loser);
/* Of all that are there. */
void set_slots(unsigned slots);

/* The node that has copies of this one's jobs. */
struct world_node *keeper_of(const struct world_node *owner);
/* The node that would get copies of this one's jobs; the only one so far. */
struct world_node *holder_of(struct world_node *owner);
/* One whose keeper has another keeper than itself. */
struct world_node *first_of_three(void);
/* The third one beside the first and this one. */
struct world_node *third(const struct world_node *second);

/* On how many disks the job was when its client was told; 0: it was not. */
unsigned answer_copies(struct world_node *asked, const void *tag);
/* Unfinished ones; owner: whose; NULL: anybody's. */
size_t n_copies_of(struct world_node *holder, const struct world_node *owner);
size_t n_unfinished_copies(struct world_node *holder);
/* Runs that began, on all nodes. */
size_t n_starts(void);
/* How many nodes have told this end of each of these jobs, all together. */
size_t count_ends(const struct uuid *ids, size_t n, enum job_status status);
