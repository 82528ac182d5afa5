/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What clients hand in: all of a request or nothing, and durable before they hear of it. */

#include "mesh/internal.h"

static int check_submission(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs) {
        if (mesh->rival.elder)
                return MESH_DUPLICATE;
        if (mesh->draining)
                return MESH_DRAINING;
        if (mesh->store_failing)
                return MESH_STORE_FAILING;
        if (n_specs > mesh->config.queue_max || mesh->n_jobs > mesh->config.queue_max - n_specs)
                return MESH_QUEUE_FULL;

        for (size_t i = 0; i < n_specs; i++)
                if (specs[i]->target_node_id && !streq(specs[i]->target_node_id, mesh->config.node_id) &&
                    !peer_is_here(mesh, specs[i]->target_node_id))
                        return MESH_TARGET_UNKNOWN;
        return MESH_ACCEPTED;
}

static void drop_batch_jobs(struct mesh *mesh, struct record_batch *batch) {
        for (size_t i = 0; i < batch->n_records; i++)
                job_free(mesh, job_find(mesh, &batch->records[i].run.job));
}

/* What finds a free slot begins with its acceptance: one commit for both, and the start may overlap it. But
 * an id that is derived from an Idempotency-Key may come again, from a client that was refused, or that does
 * not know whether it was accepted: such a job starts only when it is certain that it is the only one. So
 * does one that must never start twice. */
static bool may_start_undurable(const struct mesh_job *job) {
        return !job->spec->has_digest && !job->spec->rules.loss_is_failure;
}

/* How many jobs of a request find a free slot at once. Those whose acceptance is on its way to the disk are
 * in no class yet, and come first all the same. */
static size_t count_free_slots(const struct mesh *mesh, struct job_spec *const *specs, size_t n_specs) {
        size_t in_hand = mesh->n_in_hand + mesh->n_guests_in_hand;

        if (!jobs_may_start(mesh) || mesh->n_waiting_here > 0 || in_hand >= mesh->config.slots)
                return 0;
        /* Of several priorities the highest comes first, and that is sorted in the queue. */
        for (size_t i = 1; i < n_specs; i++)
                if (specs[i]->rules.priority != specs[0]->rules.priority)
                        return 0;
        return mesh->config.slots - in_hand;
}

/* One job of a request, with its record; it takes one of the free slots, or waits behind who cannot. */
static int
add_job(struct mesh *mesh, struct job_spec *spec, struct record_batch *batch, size_t *free_slots,
        size_t *n_begun) {
        struct mesh_job *job;
        int r;

        r = job_new(mesh, spec, &job);
        if (r < 0)
                return r == -EEXIST ? MESH_ID_TAKEN : r;
        if (!class_is_admitted(job->class)) {
                job_free(mesh, job);
                return MESH_LABELS_FULL;
        }
        if (*free_slots > 0 && job->class->fits_here) {
                if (may_start_undurable(job)) {
                        job_begin_attempt(mesh, job, NULL);
                        (*free_slots)--;
                        (*n_begun)++;
                } else
                        *free_slots = 0;
        }
        if (!job_record(job, batch, RECORD_ACCEPTED)) {
                job_free(mesh, job);
                return -ENOMEM;
        }
        batch->records[batch->n_records - 1].at_usec = spec->created_at;
        return MESH_ACCEPTED;
}

int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct answer *answer;
        size_t free_slots, n_begun = 0;
        int r;

        r = check_submission(mesh, specs, n_specs);
        if (r != MESH_ACCEPTED)
                return r;

        r = record_batch_new(n_specs, &batch);
        if (r < 0)
                return r;
        r = answer_new(mesh, tag, &answer);
        if (r < 0)
                return r;
        batch->owner = answer;
        batch->urgent = true;

        free_slots = count_free_slots(mesh, specs, n_specs);
        for (size_t i = 0; i < n_specs; i++) {
                r = add_job(mesh, specs[i], batch, &free_slots, &n_begun);
                if (r != MESH_ACCEPTED) {
                        drop_batch_jobs(mesh, batch);
                        answer_free(answer);
                        return r;
                }
                answer_expect(mesh, answer, job_find(mesh, &specs[i]->id));
        }

        mesh_write(mesh, TAKE_PTR(batch));
        for (size_t i = 0; i < n_specs; i++)
                keeper_changed(mesh, job_find(mesh, &specs[i]->id));
        for (size_t i = 0; n_begun > 0; i++) {
                struct mesh_job *job = job_find(mesh, &specs[i]->id);

                if (job->run.attempt > 0) {
                        job_send(mesh, job);
                        n_begun--;
                }
        }
        mesh->ops.status_changed(mesh->userdata);
        return MESH_ACCEPTED;
}
