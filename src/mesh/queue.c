/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which job is next, and where it may begin: here first, then on other nodes (places.c). */

#include "mesh/internal.h"

/* Whether a slot may be filled at all now. */
bool jobs_may_start(const struct mesh *mesh) {
        return mesh->working && mesh->executor_connected && !mesh->draining && !mesh->store_failing &&
               !mesh->rival.elder;
}

size_t hand_limit(const struct mesh *mesh) {
        size_t prefetch = 0;

        if (mesh->config.slots == 0)
                return 0;
        /* Only while runs end in quick succession: those that last keep the places for as long. */
        if (mesh->run_average_usec > 0 && mesh_now(mesh) <= usec_add(mesh->last_end_usec, PREFETCH_USEC))
                prefetch = MIN(
                        mesh->config.slots * PREFETCH_USEC / mesh->run_average_usec, (usec_t) PREFETCH_MAX);
        return mesh->config.slots + prefetch;
}

static struct list *queue_of(struct mesh *mesh, const struct mesh_job *job) {
        if (job->target)
                return &job->target->queue;
        return job->here_only ? &mesh->own_queue : &mesh->queue;
}

/* In order of arrival. What comes back belongs near the head, what is new at the end. */
void job_enqueue(struct mesh *mesh, struct mesh_job *job) {
        struct list *queue = queue_of(mesh, job);
        struct list_link *last = queue->root.prev;
        struct mesh_job *other;

        if (queue == &mesh->queue)
                mesh->n_backlog++;
        if (list_is_empty(queue) ||
            CONTAINER_OF(last, struct mesh_job, queue_link)->arrival < job->arrival) {
                list_append(queue, &job->queue_link);
                return;
        }
        LIST_FOREACH(queue, other, struct mesh_job, queue_link)
                if (other->arrival > job->arrival) {
                        list_insert_before(&other->queue_link, &job->queue_link);
                        return;
                }
}

/* Of those that any node may run and those that only this one may, the one that came first. */
static struct mesh_job *next_for_us(struct mesh *mesh) {
        struct mesh_job *any = LIST_FIRST(&mesh->queue, struct mesh_job, queue_link);
        struct mesh_job *own = LIST_FIRST(&mesh->own_queue, struct mesh_job, queue_link);

        if (!any || !own)
                return any ? any : own;
        return own->arrival < any->arrival ? own : any;
}

/* Gives free slots here, and a few places beyond them, to the head of the queue. The attempts travel to the
 * disk together; they are in a hurry only when a slot stands empty. */
static void schedule_here(struct mesh *mesh, size_t limit) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        size_t taken = mesh->n_in_hand + mesh->n_guests_in_hand;
        struct mesh_job *job;

        if (!jobs_may_start(mesh) || taken >= limit || !next_for_us(mesh))
                return;
        if (record_batch_new(limit - taken, &batch) < 0)
                return; /* the next event tries again */
        batch->urgent = taken < mesh->config.slots;

        for (; taken < limit && (job = next_for_us(mesh)); taken++)
                if (job_assign(mesh, job, NULL, batch) < 0)
                        break;
        mesh_write(mesh, TAKE_PTR(batch));
}

/* This node's own slots first, then those of others, and only then the few places beyond the own slots: what
 * waits there could run elsewhere. What is left is told to all, and who has room for that of others asks for
 * it. */
void jobs_schedule(struct mesh *mesh) {
        bool others = places_have_room(mesh);

        guests_start(mesh);
        schedule_here(mesh, others ? mesh->config.slots : hand_limit(mesh));
        places_schedule(mesh);
        if (others && !places_have_room(mesh))
                schedule_here(mesh, hand_limit(mesh));
        backlog_tell(mesh);
        offers_make(mesh);
}

const char *mesh_job_pending_reason(struct mesh *mesh, const struct uuid *id) {
        const struct mesh_job *job = job_find(mesh, id);

        if (!job || job->state > JOB_STATE_SENT)
                return NULL;
        return "waits for a free slot";
}
