/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two owners told different ends of one job, and which one counts is the same everywhere (job-end.h). Mostly
 * the one tells the other itself. Where it is gone, or cannot reach the other, whoever heard it does, with a
 * heartbeat of the other. */

#include "mesh/index-internal.h"

bool index_is_disputed(const struct place *owner) {
        return owner->index.owner && owner->index.owner->disputed;
}

void index_tell_disputes(struct mesh *mesh, struct place *place) {
        struct index_table *table = mesh->index->table;
        struct index_name *owner = place->index.owner;
        struct link_overruled overruled[LINK_OVERRULED_MAX];
        struct link_message message = { .overruled = overruled };
        const struct index_entry *entry, *answer;
        uint32_t number = 0;

        if (!index_is_disputed(place))
                return;
        do {
                message.n_overruled = 0;
                while (message.n_overruled < LINK_OVERRULED_MAX &&
                       (entry = index_table_next_dispute(table, owner, &number, &answer)))
                        overruled[message.n_overruled++] = (struct link_overruled){
                                .job = entry->job,
                                .epoch = answer->epoch,
                                .status = (enum job_status) answer->status,
                                .owner = answer->owner->text,
                        };
                if (message.n_overruled > 0 && !place_send(mesh, place, &message))
                        return; /* all of it once more with the next heartbeat */
                place->index.told_disputes |= message.n_overruled > 0;
        } while (message.n_overruled == LINK_OVERRULED_MAX);
        owner->disputed = false;
}

static void take_overruled(struct mesh *mesh, const struct link_overruled *overruled) {
        struct index_table *table = mesh->index->table;
        const struct index_entry *own = index_table_find(table, &overruled->job, mesh->index->self);
        const struct index_entry *told;
        struct index_said said;
        uint32_t number;

        if (!own || !job_status_is_final((enum job_status) own->status))
                return;
        said = (struct index_said){
                .job = own->job,
                .status = overruled->status,
                .exit_code = -1,
                .created_at = own->created_at,
                .started_at = own->started_at,
                .finished_at = own->finished_at,
                .epoch = overruled->epoch,
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

void index_take_overruled(struct mesh *mesh, const struct link_message *message) {
        for (size_t i = 0; i < message->n_overruled; i++)
                take_overruled(mesh, &message->overruled[i]);
}
