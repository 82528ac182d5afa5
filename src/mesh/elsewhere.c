/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What may be asked about jobs of which another node has the run, or the record. */

#include "mesh/internal.h"

static void tell_node(const struct place *place, char ret_node_id[static NODE_ID_MAX + 1]) {
        memcpy(ret_node_id, place->name->text, strlen(place->name->text) + 1);
}

bool mesh_job_place(
        struct mesh *mesh, const struct uuid *id, struct run_id *ret_run,
        char ret_node_id[static NODE_ID_MAX + 1]) {
        const struct mesh_job *job = job_find(mesh, id);

        if (!job || !job->place || (!job_is_out(job) && job->state != JOB_STATE_ENDED))
                return false;
        *ret_run = job->run;
        tell_node(job->place, ret_node_id);
        return true;
}

const struct job_result *mesh_guest_result(const struct mesh *mesh, const struct run_id *run) {
        const struct guest *guest = guest_of_job(mesh, &run->job);

        return guest && run_id_equal(&guest->run, run) ? guest->result : NULL;
}

bool mesh_guest_owner(
        const struct mesh *mesh, const struct uuid *id, char ret_node_id[static NODE_ID_MAX + 1]) {
        const struct guest *guest = guest_of_job(mesh, id);

        if (!guest)
                return false;
        tell_node(guest->owner, ret_node_id);
        return true;
}
