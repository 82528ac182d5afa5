/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the disk of a node has of copies: of other nodes' jobs, and of who may have some of its own. */

#include "lib/mesh-world.h"
#include "mesh/index.h"

static void copy_free(struct world_disk *disk, struct disk_copy *copy) {
        map_remove(&disk->copies, &copy->by_id);
        job_spec_unref(copy->spec);
        job_result_unref(copy->result);
        free(copy);
}

static void sweep_free(struct world_disk *disk, struct disk_sweep *sweep) {
        map_remove(&disk->sweeps, &sweep->by_owner);
        free(sweep);
}

static void holder_free(struct world_disk *disk, struct disk_holder *holder) {
        map_remove(&disk->holders, &holder->by_id);
        free(holder);
}

void disk_copies_wipe(struct world_disk *disk) {
        struct disk_copy *copy;
        struct disk_sweep *sweep;
        struct disk_holder *holder;

        MAP_FOREACH(&disk->copies, copy, struct disk_copy, by_id)
                copy_free(disk, copy);
        MAP_FOREACH(&disk->sweeps, sweep, struct disk_sweep, by_owner)
                sweep_free(disk, sweep);
        MAP_FOREACH(&disk->holders, holder, struct disk_holder, by_id)
                holder_free(disk, holder);
}

static struct disk_copy *find_copy(struct world_disk *disk, const struct uuid *id) {
        return MAP_GET(&disk->copies, id, sizeof(*id), struct disk_copy, by_id);
}

static struct disk_sweep *find_sweep(struct world_disk *disk, const char *owner) {
        return MAP_GET(&disk->sweeps, owner, strlen(owner), struct disk_sweep, by_owner);
}

void disk_copy_drop(struct world_disk *disk, const struct uuid *id) {
        struct disk_copy *copy = find_copy(disk, id);

        if (copy)
                copy_free(disk, copy);
}

static void write_copy(struct world_node *node, const struct record *record) {
        struct world_disk *disk = &node->disk;
        struct disk_copy *copy = find_copy(disk, &record->run.job);

        if (!copy) {
                copy = calloc(1, sizeof(*copy));
                ASSERT_NOT_NULL(copy);
                copy->spec = job_spec_ref(record->spec);
                ASSERT_OK(map_add(&disk->copies, &copy->by_id, &copy->spec->id, sizeof(copy->spec->id)));
        }
        copy->run = record->run;
        copy->epoch = record->epoch;
        copy->term = record->term;
        copy->cancel_requested = record->cancel_requested;
        copy->retries_used = record->retries_used;
        copy->ended = record->type == RECORD_COPY_ENDED;
        copy->status = record->status;
        job_result_unref(copy->result);
        copy->result = record->result ? job_result_ref(record->result) : NULL;
        copy->written_usec = node->world->now;
        snprintf(copy->owner, sizeof(copy->owner), "%s", record->owner->text);
        snprintf(
                copy->executor_node, sizeof(copy->executor_node), "%s",
                record->node ? record->node->text : "");
}

/* All of this owner that have not ended, of terms below. */
static void drop_copies(struct world_disk *disk, const char *owner, uint64_t below) {
        struct disk_copy *copy;

        MAP_FOREACH(&disk->copies, copy, struct disk_copy, by_id)
                if (streq(copy->owner, owner) && !copy->ended && copy->term < below)
                        copy_free(disk, copy);
}

static void write_sweep(struct world_disk *disk, const struct record *record) {
        struct disk_sweep *sweep = find_sweep(disk, record->owner->text);

        if (!sweep) {
                sweep = calloc(1, sizeof(*sweep));
                ASSERT_NOT_NULL(sweep);
                snprintf(sweep->owner, sizeof(sweep->owner), "%s", record->owner->text);
                ASSERT_OK(map_add(&disk->sweeps, &sweep->by_owner, sweep->owner, strlen(sweep->owner)));
        }
        sweep->term = record->term;
        sweep->owner_instance = record->number;
}

void disk_copies_write(struct world_node *node, const struct record *record) {
        struct world_disk *disk = &node->disk;
        struct disk_sweep *sweep;
        struct disk_copy *copy;

        if (record->type == RECORD_COPY || record->type == RECORD_COPY_ENDED)
                write_copy(node, record);
        else if (record->type == RECORD_COPY_GONE) {
                copy = find_copy(disk, &record->run.job);
                if (copy && streq(copy->owner, record->owner->text))
                        copy_free(disk, copy);
        } else if (record->type == RECORD_COPIES_SWEPT) {
                drop_copies(disk, record->owner->text, record->term);
                write_sweep(disk, record);
        } else if (record->type == RECORD_COPIES_FORGOTTEN) {
                drop_copies(disk, record->owner->text, record->term + 1);
                sweep = find_sweep(disk, record->owner->text);
                if (sweep && !record->taken_over && sweep->term <= record->term)
                        sweep_free(disk, sweep);
        }
}

void disk_holder_write(struct world_disk *disk, const struct record *record) {
        const char *node = record->node->text;
        struct disk_holder *holder = MAP_GET(&disk->holders, node, strlen(node), struct disk_holder, by_id);

        if (record->type == RECORD_HOLDER_GONE) {
                if (holder && holder->term <= record->term)
                        holder_free(disk, holder);
                return;
        }
        if (!holder) {
                holder = calloc(1, sizeof(*holder));
                ASSERT_NOT_NULL(holder);
                snprintf(holder->node, sizeof(holder->node), "%s", node);
                ASSERT_OK(map_add(&disk->holders, &holder->by_id, holder->node, strlen(holder->node)));
        }
        ASSERT_GT(record->term, holder->term);
        holder->term = record->term;
}

static void restore_copy(struct world_node *node, const struct disk_copy *copy) {
        const char *executor_node = copy->executor_node[0] ? copy->executor_node : NULL;
        const struct job_result *result = copy->result;
        struct mesh_index_item item = {
                .id = copy->spec->id,
                .owner_node_id = copy->owner,
                .status = copy->status,
                .executor_node_id = executor_node           ? executor_node
                                    : copy->run.attempt > 0 ? copy->owner
                                                            : NULL,
                .has_exit_code = result && result->outcome == RUN_EXITED,
                .exit_code = result ? result->exit_code : 0,
                .created_at = copy->spec->created_at,
                .started_at = result ? result->started_at : 0,
                .finished_at =
                        result && result->finished_at > 0 ? result->finished_at : copy->spec->created_at,
                .epoch = copy->run.epoch,
        };

        if (copy->ended)
                ASSERT_OK(mesh_index_restore(node->mesh, &item, 1));
        else
                ASSERT_OK(mesh_restore_copy(
                        node->mesh, copy->spec, &copy->run, copy->epoch, copy->term, copy->owner,
                        executor_node, copy->retries_used, copy->cancel_requested));
}

void disk_copies_restore(struct world_node *node) {
        struct disk_copy *copy;
        struct disk_sweep *sweep;
        struct disk_holder *holder;

        MAP_FOREACH(&node->disk.copies, copy, struct disk_copy, by_id)
                restore_copy(node, copy);
        MAP_FOREACH(&node->disk.sweeps, sweep, struct disk_sweep, by_owner)
                ASSERT_OK(mesh_restore_swept(node->mesh, sweep->owner, sweep->term, sweep->owner_instance));
        MAP_FOREACH(&node->disk.holders, holder, struct disk_holder, by_id)
                ASSERT_OK(mesh_restore_holder(node->mesh, holder->node, holder->term));
}
