/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What index.c and index-links.c share. */

#include "mesh/index.h"
#include "mesh/internal.h"

/* A change of a job of this node, as long as it is the last one. */
struct index_change {
        uint64_t number;
        uint32_t entry;
};

struct index {
        struct index_table *table;
        struct index_name *self;
        uint64_t head;            /* the number of the last change */
        bool restored;            /* what the disk knew is there */
        struct index_change *log; /* by number */
        size_t n_log, n_log_allocated;

        /* When each is due; USEC_INFINITY: not at all. */
        usec_t push_due, ask_due;
        usec_t pushed_at;
        uint64_t pushed_head;
        uint64_t push_round;
        bool pushing; /* not everybody of this round had his turn */
};

bool index_change_is_current(const struct index *index, const struct index_change *change);
int index_note(struct index *index, struct index_said *said); /* of a job of ours; sets owner and number */
struct index_said index_said_of(const struct mesh_index_item *item); /* without the nodes that it names */

/* index-kept.c */
int index_restore_kept(struct mesh *mesh, const struct mesh_index_item *item);

/* index-disputes.c */
bool index_is_disputed(const struct place *owner);
void index_tell_disputes(struct mesh *mesh, struct place *place);
void index_take_overruled(struct mesh *mesh, const struct place *from, const struct link_message *message);
