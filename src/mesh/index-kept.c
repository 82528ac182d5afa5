/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ends that an owner told its keeper. Others hear of them from the owner itself, a moment later; where it is
 * lost before that, its keeper speaks for it. Whom else the owner has reached nobody knows, so what it told
 * last is told once more. An owner whose disk did not have the end yet when it was killed does not know of
 * it any more: then it was none. */

#include "mesh/index-internal.h"

void index_copy_ended(struct mesh *mesh, const struct record *record) {
        const struct place *owner = place_find(mesh, record->owner->text);
        const struct job_result *result = record->result;
        struct index_table *table = mesh->index->table;
        struct index_said said = {
                .job = record->run.job,
                .status = record->status,
                .exit_code = result && result->outcome == RUN_EXITED ? result->exit_code : -1,
                .created_at = record->spec->created_at,
                .started_at = result ? result->started_at : 0,
                .finished_at = result && result->finished_at > 0 ? result->finished_at
                                                                 : mesh->ops.now_realtime(mesh->userdata),
                .epoch = record->run.epoch,
                .by_keeper = true,
        };
        const struct index_entry *told;
        uint32_t number;

        if (index_name_get(table, record->owner->text, &said.owner) < 0)
                return;
        /* Of one that began anew while this was on its way to the disk: it tells what it knows. */
        if (owner && owner->instance != record->number) {
                index_name_put(table, said.owner);
                return;
        }
        index_name_renew(said.owner, record->number);
        /* A copy names the node that had the job, unless that was its owner. */
        if (record->node)
                (void) index_name_get(table, record->node->text, &said.executor);
        else if (said.started_at > 0)
                (void) index_name_get(table, record->owner->text, &said.executor);
        told = index_table_find(table, &said.job, said.owner);
        if (!told || !job_status_is_final((enum job_status) told->status))
                (void) index_table_put(table, &said, &number);
        index_name_put(table, said.executor);
        index_name_put(table, said.owner);
}

/* Whatever the owner said since its last start is later. */
int index_restore_kept(struct mesh *mesh, const struct mesh_index_item *item) {
        struct index_table *table = mesh->index->table;
        struct index_said said = index_said_of(item);
        uint32_t number;
        int r;

        said.by_keeper = true;
        r = index_name_get(table, item->owner_node_id, &said.owner);
        if (r >= 0 && item->executor_node_id)
                r = index_name_get(table, item->executor_node_id, &said.executor);
        if (r >= 0 && !index_table_find(table, &said.job, said.owner))
                r = index_table_put(table, &said, &number);
        index_name_put(table, said.executor);
        index_name_put(table, said.owner);
        return r < 0 ? r : 0;
}

void index_speak_for(struct mesh *mesh, const char *owner_node_id) {
        struct index_table *table = mesh->index->table;
        const struct index_name *owner = index_name_find(table, owner_node_id);
        const struct index_entry *entry;
        uint32_t number = 0;

        if (!owner)
                return;
        while ((entry = index_table_next_recent(table, owner, &number))) {
                struct index_said said = {
                        .job = entry->job,
                        .status = (enum job_status) entry->status,
                        .exit_code = entry->exit_code,
                        .created_at = entry->created_at,
                        .started_at = entry->started_at,
                        .finished_at = entry->finished_at,
                        .epoch = entry->epoch,
                        .executor = entry->executor,
                        .kept = true,
                };

                if (index_table_find(table, &said.job, mesh->index->self))
                        continue;
                /* For want of room the entry itself may go, and what it names with it. */
                if (said.executor)
                        said.executor->n_references++;
                (void) index_note(mesh->index, &said);
                index_name_put(table, said.executor);
        }
        index_links_changed(mesh);
}
