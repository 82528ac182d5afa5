/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two owners told different ends of one job, and which one counts is the same everywhere (job-end.h). Mostly
 * the one tells the other itself. Where it is gone, or cannot reach the other, whoever heard it does, with a
 * heartbeat of the other. */

#include "mesh/index-internal.h"

bool index_is_disputed(const struct place *owner) {
        return owner->index.owner && owner->index.owner->disputed;
}

/* As many as go into one message. Whose end counts says so itself as long as it is there, and those stay
 * disputed; unless it spoke for another node, and may have forgotten that. */
static size_t
collect(struct mesh *mesh, struct index_name *owner,
        struct link_overruled overruled[static LINK_OVERRULED_MAX], bool *unsettled) {
        struct index_table *table = mesh->index->table;
        const struct index_entry *entry, *answer;
        size_t n = 0;

        while (n < LINK_OVERRULED_MAX &&
               (entry = index_table_next_dispute(table, owner, &owner->dispute_next, &answer))) {
                if (answer->owner != mesh->index->self && peer_is_here(mesh, answer->owner->text) &&
                    !answer->kept) {
                        *unsettled = true;
                        continue;
                }
                overruled[n++] = (struct link_overruled){
                        .job = entry->job,
                        .epoch = answer->epoch,
                        .status = (enum job_status) answer->status,
                        .owner = answer->owner->text,
                        .kept = answer->kept,
                };
        }
        return n;
}

void index_tell_disputes(struct mesh *mesh, struct place *place) {
        struct index_name *owner = place->index.owner;
        struct link_overruled overruled[LINK_OVERRULED_MAX];
        struct link_message message = { .overruled = overruled };
        bool unsettled = false;
        uint32_t before;

        if (!index_is_disputed(place))
                return;
        do {
                before = owner->dispute_next;
                message.n_overruled = collect(mesh, owner, overruled, &unsettled);
                if (message.n_overruled > 0 && !place_send(mesh, place, &message)) {
                        owner->dispute_next = before;
                        return; /* from here on with the next heartbeat */
                }
                place->index.told_disputes |= message.n_overruled > 0;
        } while (message.n_overruled == LINK_OVERRULED_MAX);
        owner->dispute_next = 0;
        owner->disputed = unsettled;
}

/* Of an owner that is there only by itself. */
static void
take_overruled(struct mesh *mesh, const struct place *from, const struct link_overruled *overruled) {
        struct index_table *table = mesh->index->table;
        const struct index_entry *own = index_table_find(table, &overruled->job, mesh->index->self);
        const struct index_entry *told;
        struct index_said said;
        uint32_t number;

        if (!own || !job_status_is_final((enum job_status) own->status))
                return;
        if (peer_is_here(mesh, overruled->owner) && !streq(from->name->text, overruled->owner) &&
            !overruled->kept)
                return;
        said = (struct index_said){
                .job = own->job,
                .status = overruled->status,
                .exit_code = -1,
                .created_at = own->created_at,
                .started_at = own->started_at,
                .finished_at = own->finished_at,
                .epoch = overruled->epoch,
                .kept = overruled->kept,
        };
        if (index_name_get(table, overruled->owner, &said.owner) < 0)
                return; /* said again after the next restart of one of us */
        /* An end that this owner told itself is known better. */
        told = index_table_find(table, &said.job, said.owner);
        if (told)
                said.number = told->number;
        if (!told || !job_status_is_final((enum job_status) told->status))
                (void) index_table_put(table, &said, &number);
        index_name_put(table, said.owner);
        ends_merge(mesh, &overruled->job);
}

void index_take_overruled(struct mesh *mesh, const struct place *from, const struct link_message *message) {
        for (size_t i = 0; i < message->n_overruled; i++)
                take_overruled(mesh, from, &message->overruled[i]);
}
