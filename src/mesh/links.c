/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What comes over links, and their life. A message is taken part by part, in the order of proto/link.proto.
 */

#include "mesh/internal.h"

int mesh_link_up(struct mesh *mesh, const char *node_id, const struct link_hello *hello) {
        const struct peer *peer = peer_find(mesh, node_id);
        struct place *place;
        int r;

        if (!mesh->working || mesh->stopping)
                return -ESHUTDOWN;
        if (streq(node_id, mesh->config.node_id))
                return -EEXIST;
        r = place_get(mesh, node_id, &place);
        if (r < 0)
                return r;
        if (peer)
                claims_owner_back(place);
        place_link_up(mesh, place);
        guests_tell_held(mesh, place);
        keeper_link_up(mesh, place, hello ? hello->instance : 0);
        index_link_up(mesh, place);
        mesh_arm(mesh);
        return 0;
}

void mesh_link_down(struct mesh *mesh, const char *node_id) {
        struct place *place = place_find(mesh, node_id);

        if (!place)
                return;
        place->held_told = false;
        index_link_down(place);
        place_link_down(mesh, place);
        mesh_arm(mesh);
}

void mesh_link_writable(struct mesh *mesh, const char *node_id) {
        struct place *place = place_find(mesh, node_id);

        if (!place || !place->link_up)
                return;
        guests_tell_ends(mesh, place);
        place_send_rest(mesh, place);
        keeper_flush(mesh, place);
        index_link_writable(mesh, place);
        mesh_arm(mesh);
}

static void take_refusal(struct mesh *mesh, struct place *place, const struct link_refusal *refusal) {
        struct mesh_job *job = job_at(mesh, place, &refusal->run);

        /* A run that another owner began, and that nobody has any more, may have been there. */
        if (job && job_is_out(job) && job->run.epoch != job->epoch) {
                job_attempt_lost(mesh, job);
                return;
        }
        if (!job || job->state != JOB_STATE_SENT)
                return;
        if (refusal->reason == LINK_REFUSED_LABELS) {
                place->room++; /* it has room still, for others */
                place_does_not_fit(mesh, place, job->class);
        } else {
                /* Asked again when it says that it has room, and when what lasts may have passed. */
                place->room = 0;
                if (refusal->reason != LINK_REFUSED_NO_SLOT)
                        place->avoid_until = usec_add(mesh_now(mesh), REFUSED_WAIT_USEC);
                place_review(mesh, place);
        }
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
        else
                job_give_up(mesh, job, ATTEMPT_NEVER_BEGAN, NULL);
}

/* As the owner: what our runs do there. */
static void take_news(struct mesh *mesh, struct place *place, const struct link_message *message) {
        struct mesh_job *job;

        for (size_t i = 0; i < message->n_taken; i++)
                if ((job = job_at(mesh, place, &message->taken[i])))
                        job->taken = true;
        for (size_t i = 0; i < message->n_refused; i++)
                take_refusal(mesh, place, &message->refused[i]);
        for (size_t i = 0; i < message->n_started; i++)
                if ((job = job_at(mesh, place, &message->started[i].run)) && job->state == JOB_STATE_SENT)
                        run_began(mesh, job, message->started[i].started_at);
        for (size_t i = 0; i < message->n_ended; i++)
                fetch_ended(mesh, place, &message->ended[i]);
        for (size_t i = 0; i < message->n_pieces; i++)
                fetch_piece(mesh, place, &message->pieces[i]);
        if (message->room > 0) {
                place->alive = place->alive || peer_is_here(mesh, place->name->text);
                place_set_room(mesh, place, message->room);
        }
}

/* As the executor: what the owner wants of its runs here. */
static void take_orders(struct mesh *mesh, struct place *place, const struct link_message *message) {
        if (message->compared)
                guests_confirm(mesh, place);
        guests_take(mesh, place, message);
        for (size_t i = 0; i < message->n_kills; i++)
                guest_kill(mesh, place, &message->kills[i]);
        for (size_t i = 0; i < message->n_withdrawn; i++)
                guest_withdraw(mesh, place, &message->withdrawn[i]);
        for (size_t i = 0; i < message->n_reads; i++)
                guest_read(mesh, place, &message->reads[i]);
        for (size_t i = 0; i < message->n_retired; i++)
                guest_retire(mesh, place, &message->retired[i]);
}

void mesh_link_received(struct mesh *mesh, const char *node_id, const struct link_message *message) {
        struct place *place = place_find(mesh, node_id);

        if (!place || !place->link_up)
                return;
        place->heard_usec = mesh_now(mesh);
        place->busy++; /* it stays, whatever its parts lead to */
        peer_heard_on_link(mesh, node_id);
        if (message->ping)
                (void) place_send(mesh, place, &(const struct link_message){ .pong = true });
        place_compare(mesh, place, message);
        take_orders(mesh, place, message);
        take_news(mesh, place, message);
        keeper_take(mesh, place, message);
        copies_take(mesh, place, message);
        claims_take(mesh, place, message);
        index_received(mesh, place, message);
        place->busy--;
        place_check(mesh, place);
        jobs_schedule(mesh);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}
