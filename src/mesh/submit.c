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
 * not know whether it was accepted: such a job starts only when it is certain that it is the only one. */
static bool may_start_undurable(struct mesh *mesh, const struct job_spec *spec) {
        /* Those whose acceptance is on its way to the disk are not in the list yet, and come first all the
         * same. */
        return jobs_may_start(mesh) && mesh->n_waiting == 0 && !spec->has_digest;
}

int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        size_t free_slots = 0, in_hand;
        int r;

        r = check_submission(mesh, specs, n_specs);
        if (r != MESH_ACCEPTED)
                return r;

        r = record_batch_new(n_specs, &batch);
        if (r < 0)
                return r;
        batch->owner = tag;
        batch->urgent = true;

        in_hand = mesh->n_in_hand + mesh->n_guests_in_hand;
        if (may_start_undurable(mesh, specs[0]) && in_hand < mesh->config.slots)
                free_slots = mesh->config.slots - in_hand;

        for (size_t i = 0; i < n_specs; i++) {
                struct mesh_job *job;

                r = job_new(mesh, specs[i], &job);
                if (r < 0) {
                        drop_batch_jobs(mesh, batch);
                        return r == -EEXIST ? MESH_ID_TAKEN : r;
                }
                if (i < free_slots && !job->target)
                        job_begin_attempt(mesh, job, NULL);
                if (!job_record(job, batch, RECORD_ACCEPTED)) {
                        job_free(mesh, job);
                        drop_batch_jobs(mesh, batch);
                        return -ENOMEM;
                }
                batch->records[i].at_usec = specs[i]->created_at;
        }

        mesh_write(mesh, TAKE_PTR(batch));
        for (size_t i = 0; i < MIN(n_specs, free_slots); i++) {
                struct mesh_job *job = job_find(mesh, &specs[i]->id);

                if (!job->target)
                        job_send(mesh, job);
        }
        mesh->ops.status_changed(mesh->userdata);
        return MESH_ACCEPTED;
}
