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

bool job_comes_first(const struct mesh_job *job, const struct mesh_job *other) {
        int32_t priority = job->spec->rules.priority, other_priority = other->spec->rules.priority;

        return priority != other_priority ? priority > other_priority : job->arrival < other->arrival;
}

static struct mesh_job *first_here(const struct list *classes, struct mesh_job *best) {
        struct queue_class *class;

        LIST_FOREACH((struct list *) classes, class, struct queue_class, link) {
                struct mesh_job *job = HEAP_FIRST(&class->jobs, struct mesh_job, queue_link);

                if (class->fits_here && (!best || job_comes_first(job, best)))
                        best = job;
        }
        return best;
}

struct mesh_job *job_next_here(const struct mesh *mesh) {
        return first_here(&mesh->own_classes, first_here(&mesh->open_classes, NULL));
}

static bool fits_somewhere(struct mesh *mesh, const struct queue_class *class) {
        struct place *place;

        if (!class->spec)
                return true;
        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->alive && place_fits(mesh, place, class))
                        return true;
        return false;
}

size_t queue_backlog(struct mesh *mesh) {
        struct queue_class *class;
        size_t n = 0;

        LIST_FOREACH(&mesh->open_classes, class, struct queue_class, link)
                if (fits_somewhere(mesh, class))
                        n += class->n_queued;
        return n;
}

/* Whether a free place beyond the slots may be filled with this job: not where a slot of another node is
 * free for it. */
static bool may_take(struct mesh *mesh, const struct mesh_job *job, size_t taken) {
        return taken < mesh->config.slots || !places_have_room_for(mesh, job->class);
}

/* Gives free slots here, and a few places beyond them, to what comes first of all that may run here. The
 * attempts travel to the disk together; they are in a hurry only when a slot stands empty. */
static void schedule_here(struct mesh *mesh) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        size_t taken = mesh->n_in_hand + mesh->n_guests_in_hand, limit;
        struct mesh_job *job;

        if (!jobs_may_start(mesh))
                return;
        job = job_next_here(mesh);
        limit = job ? hand_limit(mesh) : 0;
        if (taken >= limit || !may_take(mesh, job, taken) || record_batch_new(limit - taken, &batch) < 0)
                return; /* out of memory: the next event tries again */
        batch->urgent = taken < mesh->config.slots;

        for (; taken < limit && job && may_take(mesh, job, taken); taken++) {
                if (job_assign(mesh, job, NULL, batch) < 0)
                        break;
                job = job_next_here(mesh);
        }
        mesh_write(mesh, TAKE_PTR(batch));
}

/* This node's own slots first, then those of others, and only then the few places beyond the own slots: what
 * waits there could run elsewhere. What is left is told to all, and who has room for that of others asks for
 * it. */
void jobs_schedule(struct mesh *mesh) {
        bool others = places_have_room(mesh);

        /* Whoever takes our jobs over after our goodbye may begin them. */
        if (mesh->stopping)
                return;
        guests_start(mesh);
        schedule_here(mesh);
        places_schedule(mesh);
        if (others)
                schedule_here(mesh);
        backlog_tell(mesh);
        offers_make(mesh);
}
