/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs of other owners and our executor: begun, ended, compared after a connection was lost, and handed
 * back.
 */

#include "mesh/internal.h"

/* Whether its owner can still be relied on to want it; where that is not known it is asked, and the answer,
 * like every word of it, leads here again. */
static bool owner_is_heard(struct mesh *mesh, struct place *owner) {
        const struct link_message ping = { .ping = true };
        usec_t now = mesh_now(mesh);

        if (now < usec_add(owner->heard_usec, OWNER_HEARD_USEC) && owner->heard_usec >= mesh->paused_usec)
                return true;
        if (now >= usec_add(owner->asked_usec, USEC_PER_SEC)) {
                owner->asked_usec = now;
                (void) place_send(mesh, owner, &ping);
        }
        return false;
}

void guests_start(struct mesh *mesh) {
        struct guest *guest;

        if (!jobs_may_start(mesh))
                return;
        LIST_FOREACH(&mesh->guests_waiting, guest, struct guest, wait_link) {
                if (!guest->confirmed || guest->adopting || !owner_is_heard(mesh, guest->owner))
                        continue;
                /* Another executor than the one on the disk: that comes first. */
                if (!uuid_equal(&guest->executor, &mesh->executor)) {
                        guest->executor = mesh->executor;
                        guest_enter(mesh, guest, GUEST_ARRIVING);
                        if (guest_write(mesh, guest, RECORD_GUEST_TAKEN, /* urgent= */ true) < 0)
                                guest_enter(mesh, guest, GUEST_WAITING);
                        continue;
                }
                guest_enter(mesh, guest, GUEST_SENT);
                guest->in_executor = true;
                (void) mesh->ops.start(mesh->userdata, &guest->run, guest->spec);
        }
}

static void guest_began(struct mesh *mesh, struct guest *guest, usec_t started_at) {
        struct link_started started = { .run = guest->run, .started_at = started_at };
        const struct link_message message = { .n_started = 1, .started = &started };

        guest_enter(mesh, guest, GUEST_RUNNING);
        guest->started_at = started_at;
        if (guest->owner->held_told)
                (void) place_send(mesh, guest->owner, &message);
}

bool guest_run_started(struct mesh *mesh, const struct run_id *run, usec_t started_at) {
        struct guest *guest = guest_of_run(mesh, run);

        if (!guest)
                return false;
        if (guest->state == GUEST_SENT)
                guest_began(mesh, guest, started_at);
        return true;
}

/* Takes the reference where it returns true. */
bool guest_run_ended(struct mesh *mesh, struct job_result *result) {
        struct guest *guest = guest_of_run(mesh, &result->run);

        if (!guest)
                return false;
        if (guest->state == GUEST_SENT || guest->state == GUEST_RUNNING) {
                /* An owner that does not know the word yet begins again after a loss, and not after a kill.
                 */
                if ((guest->handed_back || guest->displaced) && !guest->kill_wanted &&
                    result->outcome == RUN_KILLED && result->started_at > 0) {
                        result->outcome = RUN_LOST;
                        result->drained = guest->handed_back;
                }
                node_name_unref(mesh->served);
                mesh->served = node_name_ref(guest->owner->name);
                guest_end(mesh, guest, result);
                return true;
        }
        /* Told again: what is not on the disk yet is released when it is. */
        if (guest->state == GUEST_ENDED)
                mesh->ops.release(mesh->userdata, &result->run);
        job_result_unref(result);
        return true;
}

static void hand_back(struct mesh *mesh, struct guest *guest) {
        if (guest->state == GUEST_ARRIVING)
                guest->kill_wanted = true;
        else if (guest->state == GUEST_WAITING)
                guest_end_unstarted(mesh, guest);
        else if (guest->state == GUEST_SENT)
                mesh->ops.withdraw(mesh->userdata, &guest->run);
}

void guest_withdraw(struct mesh *mesh, struct place *owner, const struct run_id *run) {
        struct guest *guest = guest_of_owner(mesh, owner, run);

        if (guest)
                hand_back(mesh, guest);
}

/* The owner has what it needs of it. */

bool guest_compare_known(struct mesh *mesh, const struct mesh_known_run *known) {
        struct guest *guest = guest_of_run(mesh, &known->run);

        if (!guest)
                return false;
        guest->seen = guest->in_executor = true;
        if (known->started && guest->state == GUEST_SENT)
                guest_began(mesh, guest, known->started_at);
        guest->handed_back = guest->handed_back || mesh->hands_back;
        if ((guest->kill_wanted || guest->handed_back || guest->displaced) && !known->ended)
                mesh->ops.kill(mesh->userdata, &known->run);
        return true;
}

/* What the executor does not have any more. */
void guests_compare_done(struct mesh *mesh) {
        struct guest *guest;
        struct job_result *result;

        MAP_FOREACH(&mesh->guests, guest, struct guest, by_job) {
                bool missing = !guest->seen && (guest->state == GUEST_SENT || guest->state == GUEST_RUNNING);

                guest->seen = false;
                if (!missing)
                        continue;
                /* The same process forgets nothing before it is told to: the start never reached it. */
                if (guest->state == GUEST_SENT && uuid_equal(&guest->executor, &mesh->executor)) {
                        guest->in_executor = false;
                        guest_enter(mesh, guest, GUEST_WAITING);
                        continue;
                }
                if (job_result_new(&result) < 0)
                        continue;
                guest->in_executor = false;
                result->run = guest->run;
                result->outcome = RUN_LOST;
                result->started_at = guest->started_at;
                result->finished_at = mesh->ops.now_realtime(mesh->userdata);
                guest_end(mesh, guest, result);
        }
        if (mesh->draining)
                guests_drain(mesh);
        else
                guests_start(mesh);
}

/* What has not begun does not, without somebody who wants it: whoever takes the job over begins anew. */
void guests_owner_lost(struct mesh *mesh, struct place *owner) {
        struct guest *guest;

        LIST_FOREACH(&owner->guests, guest, struct guest, place_link)
                if (guest->state == GUEST_SENT)
                        mesh->ops.withdraw(mesh->userdata, &guest->run);
}

void guests_drain(struct mesh *mesh) {
        struct guest *guest;

        MAP_FOREACH(&mesh->guests, guest, struct guest, by_job)
                hand_back(mesh, guest);
}

void guests_hand_back(struct mesh *mesh) {
        struct guest *guest;

        MAP_FOREACH(&mesh->guests, guest, struct guest, by_job)
                if (guest->state == GUEST_SENT || guest->state == GUEST_RUNNING) {
                        guest->handed_back = true;
                        mesh->ops.kill(mesh->userdata, &guest->run);
                }
}

/* Ends that a reachable owner has not taken yet are worth waiting for. */
bool guests_are_delivered(const struct mesh *mesh) {
        struct guest *guest;

        if (mesh->n_guests_in_hand > 0)
                return false;
        MAP_FOREACH(&((struct mesh *) mesh)->guests, guest, struct guest, by_job)
                if (guest->state == GUEST_ENDING || guest->state == GUEST_GOING || guest->owner->link_up)
                        return false;
        return true;
}
