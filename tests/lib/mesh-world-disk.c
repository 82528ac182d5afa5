/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The disk of a node: batches become durable in order, as a whole, some time after they were handed over. It
 * keeps the rules that every store keeps, and fails the test when the mind breaks one. */

#include "lib/mesh-world.h"

#define WRITE_USEC (USEC_PER_MSEC / 2)

void disk_init(struct world_disk *disk) {
        list_init(&disk->batches);
        disk->due = USEC_INFINITY;
}

static void disk_guest_free(struct world_disk *disk, struct disk_guest *guest) {
        map_remove(&disk->guests, &guest->by_id);
        job_spec_unref(guest->spec);
        job_result_unref(guest->result);
        free(guest);
}

static void disk_job_free(struct world_disk *disk, struct disk_job *job) {
        struct disk_attempt *attempt;

        LIST_FOREACH(&job->attempts, attempt, struct disk_attempt, link) {
                list_remove(&attempt->link);
                job_result_unref(attempt->result);
                free(attempt);
        }
        map_remove(&disk->jobs, &job->by_id);
        job_spec_unref(job->spec);
        job_result_unref(job->result);
        free(job);
}

void disk_forget(struct world_disk *disk) {
        struct record_batch *batch;

        LIST_FOREACH(&disk->batches, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
        disk->due = USEC_INFINITY;
        disk->n_written = disk->n_taken;
}

void disk_wipe(struct world_disk *disk) {
        struct disk_job *job;
        struct disk_guest *guest;

        disk_forget(disk);
        disk_copies_wipe(disk);
        MAP_FOREACH(&disk->guests, guest, struct disk_guest, by_id)
                disk_guest_free(disk, guest);
        MAP_FOREACH(&disk->jobs, job, struct disk_job, by_id)
                disk_job_free(disk, job);
}

void disk_done(struct world_disk *disk) {
        disk_wipe(disk);
}

struct disk_job *disk_find(struct world_node *node, const struct uuid *id) {
        return MAP_GET(&node->disk.jobs, id, sizeof(*id), struct disk_job, by_id);
}

struct disk_attempt *disk_find_attempt(struct world_node *node, const struct run_id *run) {
        struct disk_job *job = disk_find(node, &run->job);
        struct disk_attempt *attempt;

        if (job)
                LIST_FOREACH(&job->attempts, attempt, struct disk_attempt, link)
                        if (run_id_equal(&attempt->run, run))
                                return attempt;
        return NULL;
}

enum job_status disk_status(struct world_node *node, const struct uuid *id) {
        const struct disk_job *job = disk_find(node, id);
        return job ? job->status : JOB_UNKNOWN;
}

/* A job that went to another owner may come back. */
static struct disk_job *job_of_adoption(struct world_disk *disk, const struct record *record) {
        struct disk_job *job =
                MAP_GET(&disk->jobs, &record->run.job, sizeof(record->run.job), struct disk_job, by_id);

        disk_copy_drop(disk, &record->run.job);
        if (job) {
                ASSERT_TRUE(job->moved);
                disk_job_free(disk, job);
        }
        return calloc(1, sizeof(*job));
}

static void write_accepted(struct world_disk *disk, const struct record *record) {
        bool adopted = record->type == RECORD_ADOPTED;
        struct disk_job *job = adopted ? job_of_adoption(disk, record) : calloc(1, sizeof(*job));

        ASSERT_NOT_NULL(job);
        if (adopted) {
                job->cancel_requested = record->cancel_requested;
                job->retries_used = record->retries_used;
                snprintf(
                        job->executor_node, sizeof(job->executor_node), "%s",
                        record->node ? record->node->text : "");
        }
        job->epoch = record->epoch;
        job->spec = job_spec_ref(record->spec);
        job->arrival = ++disk->n_accepted;
        job->status = JOB_PENDING;
        job->run = record->run;
        job->in_executor =
                adopted ? record->node || !uuid_is_null(&record->executor) : record->run.attempt > 0;
        job->executor = record->executor;
        list_init(&job->attempts);
        ASSERT_OK(map_add(&disk->jobs, &job->by_id, &job->spec->id, sizeof(job->spec->id)));
}

/* A record about a job whose acceptance was refused before changes nothing. */
static void write_change(struct world_node *node, const struct record *record) {
        struct disk_job *job = disk_find(node, &record->run.job);

        if (!job)
                return;
        ASSERT_FALSE(job_status_is_final(job->status));
        ASSERT_TRUE(record->run.epoch >= job->run.epoch && record->run.attempt >= job->run.attempt);
        job->run = record->run;

        switch (record->type) {
        case RECORD_ASSIGNED:
                job->in_executor = true;
                job->executor = record->executor;
                snprintf(
                        job->executor_node, sizeof(job->executor_node), "%s",
                        record->node ? record->node->text : "");
                break;
        case RECORD_STARTED:
                job->status = JOB_RUNNING;
                job->started_at = record->at_usec;
                break;
        case RECORD_REQUEUED:
                ASSERT_TRUE(
                        record->retries_used >= job->retries_used &&
                        record->retries_used <= job->spec->rules.retries);
                job->status = JOB_PENDING;
                job->in_executor = false;
                job->retries_used = record->retries_used;
                break;
        case RECORD_CANCEL:
                job->cancel_requested = true;
                break;
        case RECORD_FINISHED:
                ASSERT_TRUE(job_status_is_final(record->status));
                ASSERT_TRUE(!record->result || run_id_equal(&record->result->run, &record->run));
                ASSERT_TRUE(record->status == JOB_COMPLETED || record->error_message || record->result);
                /* What was given up decides nothing; but another owner may have decided by it. */
                ASSERT_TRUE(
                        !record->result || record->run.epoch < job->epoch ||
                        !disk_find_attempt(node, &record->run));
                job->status = record->status;
                job->in_executor = false;
                job->error_message = record->error_message;
                job->result = record->result ? job_result_ref(record->result) : NULL;
                break;
        case RECORD_MOVED:
                job->moved = true;
                job->in_executor = false;
                break;
        case RECORD_ACCEPTED:
        case RECORD_ATTEMPT:
        case RECORD_ADOPTED:
        case RECORD_MERGED:
        case RECORD_COPY:
        case RECORD_COPY_ENDED:
        case RECORD_COPY_GONE:
        case RECORD_COPIES_SWEPT:
        case RECORD_COPIES_KEPT:
        case RECORD_COPIES_FORGOTTEN:
        case RECORD_HOLDER:
        case RECORD_HOLDER_GONE:
        case RECORD_DRAIN:
        case RECORD_RESUMED:
        case RECORD_PEER:
        case RECORD_PEER_GONE:
        case RECORD_GUEST_TAKEN:
        case RECORD_GUEST_ENDED:
        case RECORD_GUEST_GONE:
                ASSERT_TRUE(false);
        }
}

/* It must be over when it is kept: neither the one that may still be under way, nor the one that decided. Of
 * a job that has ended the mind knows nothing any more, and may say of the deciding one that it came late.
 */
static void write_attempt(struct world_node *node, const struct record *record) {
        struct disk_job *job = disk_find(node, &record->run.job);
        struct disk_attempt *attempt = disk_find_attempt(node, &record->run);
        bool last;

        ASSERT_TRUE(record->fate != ATTEMPT_NEVER_BEGAN && record->run.attempt > 0);
        if (!job) {
                ASSERT_EQ(record->fate, ATTEMPT_LATE);
                return;
        }
        /* Of attempts that an owner before this one gave, not all are known. */
        ASSERT_TRUE(record->run.epoch < job->epoch || record->run.attempt <= job->run.attempt);
        last = run_id_equal(&record->run, &job->run);
        ASSERT_TRUE(!last || !job->in_executor);
        if (last && job->result) {
                ASSERT_EQ(record->fate, ATTEMPT_LATE);
                return;
        }
        if (!attempt) {
                attempt = calloc(1, sizeof(*attempt));
                ASSERT_NOT_NULL(attempt);
                attempt->run = record->run;
                attempt->fate = record->fate;
                snprintf(
                        attempt->node, sizeof(attempt->node), "%s",
                        record->node ? record->node->text : node->config.node_id);
                list_append(&job->attempts, &attempt->link);
        }
        if (record->started_at > 0)
                attempt->started_at = record->started_at;
        if (record->result && !attempt->result)
                attempt->result = job_result_ref(record->result);
}

static void write_guest(struct world_node *node, const struct record *record) {
        struct world_disk *disk = &node->disk;
        struct disk_guest *guest =
                MAP_GET(&disk->guests, &record->run.job, sizeof(record->run.job), struct disk_guest, by_id);

        if (record->type == RECORD_GUEST_TAKEN) {
                if (guest) {
                        ASSERT_TRUE(run_id_equal(&guest->run, &record->run));
                        guest->executor = record->executor;
                        snprintf(guest->owner, sizeof(guest->owner), "%s", record->node->text);
                        return;
                }
                guest = calloc(1, sizeof(*guest));
                ASSERT_NOT_NULL(guest);
                guest->spec = job_spec_ref(record->spec);
                guest->run = record->run;
                guest->executor = record->executor;
                snprintf(guest->owner, sizeof(guest->owner), "%s", record->node->text);
                ASSERT_OK(map_add(&disk->guests, &guest->by_id, &guest->spec->id, sizeof(guest->spec->id)));
                return;
        }
        /* Its owner came back while it was being taken over: forgotten for either reason. */
        if (!guest && record->type == RECORD_GUEST_GONE && node->world->any_split)
                return;
        if (!guest)
                _TEST_FAIL(
                        "a record of type %d about attempt %u of job %s, which is no guest", record->type,
                        record->run.attempt, uuid_to_text(&record->run.job, (char[UUID_TEXT_SIZE]){ 0 }));
        ASSERT_TRUE(run_id_equal(&guest->run, &record->run));
        if (record->type == RECORD_GUEST_GONE) {
                disk_guest_free(disk, guest);
                return;
        }
        ASSERT_NOT_NULL(record->result);
        job_result_unref(guest->result);
        guest->result = job_result_ref(record->result);
}

static void write_merged(struct world_node *node, const struct record *record) {
        struct disk_job *job = disk_find(node, &record->run.job);

        if (!job)
                return; /* pruned */
        ASSERT_TRUE(job_status_is_final(job->status) && job_status_is_final(record->status));
        ASSERT_TRUE(node->world->any_split || node->world->any_gone);
        job->status = record->status;
        job->merged_epoch = record->run.epoch;
}

static void write_drain(struct world_disk *disk, const struct record *record) {
        disk->drain = (struct mesh_drain){};
        if (record->type == RECORD_DRAIN)
                disk->drain = (struct mesh_drain){ .since = record->at_usec,
                                                   .until = record->until_usec,
                                                   .uid = record->uid };
}

static void write_batch(struct world_node *node, const struct record_batch *batch) {
        for (size_t i = 0; i < batch->n_records; i++)
                switch (batch->records[i].type) {
                case RECORD_ACCEPTED:
                case RECORD_ADOPTED:
                        write_accepted(&node->disk, &batch->records[i]);
                        break;
                case RECORD_ASSIGNED:
                case RECORD_STARTED:
                case RECORD_REQUEUED:
                case RECORD_CANCEL:
                case RECORD_MOVED:
                case RECORD_FINISHED:
                        write_change(node, &batch->records[i]);
                        break;
                case RECORD_ATTEMPT:
                        write_attempt(node, &batch->records[i]);
                        break;
                case RECORD_PEER:
                case RECORD_PEER_GONE:
                        node->disk.n_peer_records++;
                        break;
                case RECORD_GUEST_TAKEN:
                case RECORD_GUEST_ENDED:
                case RECORD_GUEST_GONE:
                        write_guest(node, &batch->records[i]);
                        break;
                case RECORD_COPY:
                case RECORD_COPY_ENDED:
                case RECORD_COPY_GONE:
                case RECORD_COPIES_SWEPT:
                case RECORD_COPIES_KEPT:
                case RECORD_COPIES_FORGOTTEN:
                        disk_copies_write(node, &batch->records[i]);
                        break;
                case RECORD_HOLDER:
                case RECORD_HOLDER_GONE:
                        disk_holder_write(&node->disk, &batch->records[i]);
                        break;
                case RECORD_MERGED:
                        write_merged(node, &batch->records[i]);
                        break;
                case RECORD_DRAIN:
                case RECORD_RESUMED:
                        write_drain(&node->disk, &batch->records[i]);
                        break;
                }
}

/* A slow disk takes what has gathered when its commit begins; the rest goes with the next one. */
static void set_due(struct world_node *node) {
        struct world_disk *disk = &node->disk;
        uint32_t drawn;

        if (list_is_empty(&disk->batches) || disk->mode == DISK_HOLDS)
                disk->due = USEC_INFINITY;
        else if (disk->due == USEC_INFINITY) {
                disk->due = node->world->now + WRITE_USEC;
                if (disk->slow_usec > 0) {
                        world_random(node->world, &drawn, sizeof(drawn));
                        disk->due = usec_add(disk->due, drawn % disk->slow_usec);
                        disk->commit_through = disk->n_taken;
                }
                world_wake(node, disk->due);
        }
}

void disk_take(struct world_node *node, struct record_batch *batch) {
        ASSERT_GT(batch->n_records, 0);
        if (node->world->stored)
                node->world->stored(node, batch);
        list_append(&node->disk.batches, &batch->link);
        node->disk.n_taken++;
        set_due(node);
}

void disk_set_mode(struct world_node *node, enum disk_mode mode) {
        node->disk.mode = mode;
        set_due(node);
}

void disk_write_next(struct world_node *node) {
        struct world_disk *disk = &node->disk;
        struct record_batch *batch = LIST_FIRST(&disk->batches, struct record_batch, link);
        int error = disk->mode == DISK_FAILS ? -ENOSPC : 0;

        ASSERT_NOT_NULL(batch);
        list_remove(&batch->link);
        disk->due = USEC_INFINITY;
        if (++disk->n_written < disk->commit_through && disk->mode != DISK_HOLDS) {
                disk->due = node->world->now;
                world_wake(node, disk->due);
        } else
                set_due(node);
        if (error == 0)
                write_batch(node, batch);
        mesh_written(node->mesh, batch, error);
}

static void restore_guests(struct world_node *node) {
        struct disk_guest *guest;

        MAP_FOREACH(&node->disk.guests, guest, struct disk_guest, by_id)
                ASSERT_OK(mesh_restore_guest(
                        node->mesh, guest->spec, &guest->run, guest->owner, &guest->executor,
                        guest->result));
}

static void restore_drain(struct world_node *node) {
        if (node->disk.drain.since > 0)
                mesh_restore_drain(node->mesh, &node->disk.drain);
}

static void restore_ended(struct world_node *node) {
        struct disk_job *job;

        MAP_FOREACH(&node->disk.jobs, job, struct disk_job, by_id) {
                const struct job_result *result = job->result;
                struct mesh_index_item item = {
                        .id = job->spec->id,
                        .status = job->status,
                        .executor_node_id = job->executor_node[0] ? job->executor_node : NULL,
                        .has_exit_code = result && result->outcome == RUN_EXITED,
                        .exit_code = result ? result->exit_code : 0,
                        .created_at = job->spec->created_at,
                        .started_at = job->started_at,
                        .finished_at = result && result->finished_at > 0 ? result->finished_at
                                                                         : job->spec->created_at,
                        .epoch = MAX(job->run.epoch, job->merged_epoch),
                };

                if (job_status_is_final(job->status) && !job->moved)
                        ASSERT_OK(mesh_index_restore(node->mesh, &item, 1));
        }
        mesh_index_restored(node->mesh);
}

enum job_status world_index_status(struct world_node *node, const struct uuid *id) {
        return mesh_index_status(node->mesh, id);
}

static void
check_index(struct world_node *node, const struct uuid *id, const char *owner, enum job_status status) {
        char text[UUID_TEXT_SIZE], told[NODE_ID_MAX + 1];

        if (!node->mesh)
                return;
        if (world_index_status(node, id) != status) {
                _TEST_FAIL(
                        "%s says that job %s is %s, and its owner %s that it is %s", node->config.node_id,
                        uuid_to_text(id, text), job_status_to_text(world_index_status(node, id)), owner,
                        job_status_to_text(status));
        }
        /* After a split several may have ended it, and a keeper speaks for an owner that is gone: whoever it
         * is, the status is the same. */
        ASSERT_TRUE(mesh_index_find_owner(node->mesh, id, told));
}

void world_check_indexes(struct world *world) {
        for (size_t i = 0; i < world->n_nodes; i++) {
                struct world_node *owner = world->nodes[i];
                struct disk_job *job;

                MAP_FOREACH(&owner->disk.jobs, job, struct disk_job, by_id)
                        for (size_t j = 0; j < world->n_nodes && !job->moved; j++)
                                check_index(
                                        world->nodes[j], &job->spec->id, owner->config.node_id, job->status);
        }
}

static int compare_arrivals(const void *a, const void *b) {
        const struct disk_job *const *left = a, *const *right = b;

        return (*left)->arrival < (*right)->arrival ? -1 : (*left)->arrival > (*right)->arrival;
}

/* In the order of acceptance. */
void disk_restore(struct world_node *node) {
        _cleanup_free_ struct disk_job **jobs = NULL;
        struct disk_job *job;
        size_t n = 0;

        jobs = calloc(map_size(&node->disk.jobs) + 1, sizeof(*jobs));
        ASSERT_NOT_NULL(jobs);
        MAP_FOREACH(&node->disk.jobs, job, struct disk_job, by_id)
                if (!job_status_is_final(job->status) && !job->moved)
                        jobs[n++] = job;
        qsort(jobs, n, sizeof(*jobs), compare_arrivals);
        for (size_t i = 0; i < n; i++)
                ASSERT_OK(mesh_restore(
                        node->mesh, jobs[i]->spec, jobs[i]->status, &jobs[i]->run, jobs[i]->epoch,
                        jobs[i]->in_executor, &jobs[i]->executor,
                        jobs[i]->executor_node[0] ? jobs[i]->executor_node : NULL, jobs[i]->started_at,
                        jobs[i]->cancel_requested, jobs[i]->retries_used));
        restore_guests(node);
        disk_copies_restore(node);
        restore_drain(node);
        restore_ended(node);
}
