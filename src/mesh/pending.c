/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a job waits, for people. */

#include "mesh/internal.h"

static const char *reason_of_target(struct mesh *mesh, const struct mesh_job *job) {
        const struct place *place = job->target;
        const struct peer *peer = peer_find(mesh, place->name->text);

        if (!place->alive || !peer)
                return "waits for its target node, which is not here";
        if (!place_fits(mesh, place, job->class))
                return "its target node does not have the labels that it requires";
        if (peer->public.info.status == NODE_DRAINING)
                return "waits for its target node, which is draining";
        if (peer->public.info.status == NODE_FAILED)
                return "waits for its target node, which takes no jobs at the moment";
        if (place->slots == 0)
                return "waits for its target node, which has no slots";
        return "waits for a free slot of its target node";
}

/* Of the nodes that may run it, which this one may be: is there one, and has one of them slots? */
static void
look_around(struct mesh *mesh, const struct queue_class *class, bool *ret_fits, bool *ret_slots) {
        struct place *place;

        *ret_fits = class->fits_here;
        *ret_slots = class->fits_here && mesh->config.slots > 0;
        if (class->here_only)
                return;
        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->alive && place_fits(mesh, place, class)) {
                        *ret_fits = true;
                        *ret_slots = *ret_slots || place->slots > 0;
                }
}

static const char *reason_of_queue(struct mesh *mesh, const struct queue_class *class) {
        bool fits, slots, here = class->fits_here && mesh->config.slots > 0;

        look_around(mesh, class, &fits, &slots);
        if (!fits)
                return class->here_only ? "its target node does not have the labels that it requires"
                                        : "no node has the labels that it requires";
        if (!slots)
                return class->here_only ? "waits for its target node, which has no slots"
                                        : "no node that may run it has slots";
        if (here && mesh->draining)
                return class->here_only ? "waits for its target node, which is draining"
                                        : "this node is draining, and no other one has a free slot for it";
        if (here && !mesh->executor_connected)
                return "the executor of this node is away, and no other node has a free slot for it";
        return "waits for a free slot";
}

static const char *reason_of_attempt(const struct mesh_job *job) {
        if (job->cancel_requested)
                return "is being cancelled";
        if (job->place && !job->place->link_up)
                return "was given to a node that is not connected at the moment";
        return job->state == JOB_STATE_SENT && !job->place ? "waits for a free slot" : "is about to start";
}

const char *mesh_job_pending_reason(struct mesh *mesh, const struct uuid *id) {
        const struct mesh_job *job = job_find(mesh, id);

        if (!job)
                return NULL;
        switch (job->state) {
        case JOB_STATE_QUEUED:
        case JOB_STATE_DELAYED:
                if (mesh->rival.elder)
                        return "another node has this node's id";
                if (mesh->store_failing)
                        return "the database of this node cannot be written";
                if (job->state == JOB_STATE_DELAYED)
                        return job->yielded_by ? "waits until the node that had it before has ended it"
                                               : "failed, and waits to be tried again";
                if (!job->durable)
                        return "is being accepted";
                return job->target ? reason_of_target(mesh, job) : reason_of_queue(mesh, job->class);
        case JOB_STATE_ASSIGNING:
        case JOB_STATE_SENT:
                return reason_of_attempt(job);
        case JOB_STATE_RUNNING:
        case JOB_STATE_ENDED:
        case _JOB_STATE_MAX:
                break;
        }
        return NULL;
}
