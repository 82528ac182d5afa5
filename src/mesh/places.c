/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Our jobs on other nodes. An attempt is on our disk before it is sent; the other side has it on its disk
 * before it says so and starts it. A link that was lost may have lost the last words of either side: when
 * the next one is up the executor tells what it holds, and we compare, as with our own executor. Who gets
 * which job is decided in rooms.c. */

#include "mesh/internal.h"

#include "mesh/job-link.h"

struct place *place_find(struct mesh *mesh, const char *node_id) {
        return MAP_GET(&mesh->places, node_id, strlen(node_id), struct place, by_id);
}

int place_get(struct mesh *mesh, const char *node_id, struct place **ret) {
        struct place *place = place_find(mesh, node_id);
        int r;

        if (place) {
                *ret = place;
                return 0;
        }
        r = places_reserve(mesh);
        if (r < 0)
                return r;
        place = calloc(1, sizeof(*place));
        if (!place)
                return -ENOMEM;
        r = node_name_new(node_id, &place->name);
        if (r >= 0)
                r = map_add(&mesh->places, &place->by_id, place->name->text, strlen(place->name->text));
        if (r < 0) {
                node_name_unref(place->name);
                free(place);
                return r;
        }
        list_init(&place->in_hand);
        class_init(&place->pinned, place, /* here_only= */ false);
        list_init(&place->guests);
        list_init(&place->fetches);
        place->silent_since = mesh_now(mesh);
        *ret = place;
        return 0;
}

static void place_free(struct mesh *mesh, struct place *place) {
        fetches_drop(place);
        copies_of_place_free(mesh, place);
        index_forget_place(mesh, place);
        place_forget(mesh, place);
        map_remove(&mesh->places, &place->by_id);
        node_name_unref(place->name);
        free(place);
}

void place_check(struct mesh *mesh, struct place *place) {
        if (!place->alive && !place->link_up && place->busy == 0 && place->n_jobs == 0 &&
            list_is_empty(&place->guests) && !place->copies && !keeper_needs(mesh, place))
                place_free(mesh, place);
}

void places_free(struct mesh *mesh) {
        struct place *place;

        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                place_free(mesh, place);
}

/* A job refers to one place as where it is, and to one as the only one that may have it. */
void job_set_place(struct mesh *mesh, struct mesh_job *job, struct place *place) {
        struct place *old = job->place;

        if (place)
                place->n_jobs++;
        job->place = place;
        if (old) {
                old->n_jobs--;
                place_check(mesh, old);
        }
}

void job_set_target(struct mesh *mesh, struct mesh_job *job, struct place *target) {
        struct place *old = job->target;

        if (target)
                target->n_jobs++;
        job->target = target;
        if (old) {
                old->n_jobs--;
                place_check(mesh, old);
        }
}

struct mesh_job *job_at(struct mesh *mesh, const struct place *place, const struct run_id *run) {
        struct mesh_job *job = job_find(mesh, &run->job);

        return job && job->place == place && run_id_equal(&job->run, run) ? job : NULL;
}

static struct peer *peer_of(struct mesh *mesh, const struct place *place) {
        return peer_find(mesh, place->name->text);
}

/* Opened now where the node is known, and again until it is up. */
void place_want_link(struct mesh *mesh, struct place *place) {
        const struct peer *peer = peer_of(mesh, place);

        place->link_wanted = true;
        if (place->link_up || !peer || !peer->public.verified)
                return;
        mesh->ops.link_open(mesh->userdata, place->name->text, &peer->public.address);
        mesh->links_due = MIN(mesh->links_due, usec_add(mesh_now(mesh), LINK_RETRY_USEC));
}

void places_open_links(struct mesh *mesh) {
        struct place *place;

        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->link_wanted && !place->link_up)
                        place_want_link(mesh, place);
}

/* False: it did not go out. What is lost by that is found when the next link is up. */
bool place_send(struct mesh *mesh, struct place *place, const struct link_message *message) {
        return place->link_up && mesh->ops.link_send(mesh->userdata, place->name->text, message) >= 0;
}

/* The same, where the next link has to begin by comparing when it does not go out. */
void place_send_or_close(struct mesh *mesh, struct place *place, const struct link_message *message) {
        if (!place_send(mesh, place, message))
                mesh->ops.link_close(mesh->userdata, place->name->text);
}

/* A word about one run. When it does not go out the link is closed, and the next one begins by comparing. */
void place_send_run(struct mesh *mesh, struct place *place, const struct run_id *run, enum run_word word) {
        struct link_message message = {};
        struct run_id copy = *run;

        switch (word) {
        case WORD_TAKEN:
                message.n_taken = 1;
                message.taken = &copy;
                break;
        case WORD_KILL:
                message.n_kills = 1;
                message.kills = &copy;
                break;
        case WORD_WITHDRAW:
                message.n_withdrawn = 1;
                message.withdrawn = &copy;
                break;
        case WORD_RETIRE:
                message.n_retired = 1;
                message.retired = &copy;
                break;
        }
        if (place->link_up)
                place_send_or_close(mesh, place, &message);
}

void place_send_job(struct mesh *mesh, struct mesh_job *job) {
        struct place *place = job->place;
        struct link_assignment assignment = { .run = job->run };
        struct link_message message = { .n_assignments = 1, .assignments = &assignment };

        if (!place->compared) {
                place_want_link(mesh, place);
                return;
        }
        job_spec_to_link(job->spec, &assignment.job);
        job->sent = place_send(mesh, place, &message);
        job->may_have_begun = job->may_have_begun || job->sent;
        job->traceable = job->traceable || !job->sent_once;
        job->sent_once = job->sent_once || job->sent;
}

/* Who has the run does not know that we are the owner now. */
static bool job_is_untold(const struct mesh_job *job) {
        return job_is_out(job) && job->run.epoch != job->epoch && !job->claimed && !job->seen;
}

/* What did not fit into the link goes out when it has room again. */
void place_send_rest(struct mesh *mesh, struct place *place) {
        struct mesh_job *job;

        if (!place->compared)
                return;
        LIST_FOREACH(&place->in_hand, job, struct mesh_job, hand_link)
                if (job->state == JOB_STATE_SENT && !job->sent) {
                        place_send_job(mesh, job);
                        if (!job->sent)
                                return;
                } else if (job_is_untold(job)) {
                        takeover_tell(mesh, job);
                        if (!job->claimed)
                                return;
                }
}

/* Jobs that it has not confirmed: they are in no number that it tells. */
static unsigned count_untaken(const struct place *place) {
        struct mesh_job *job;
        unsigned n = 0;

        LIST_FOREACH((struct list *) &place->in_hand, job, struct mesh_job, hand_link)
                n += job->state != JOB_STATE_RUNNING && !job->taken;
        return n;
}

void place_set_room(struct mesh *mesh, struct place *place, unsigned room) {
        unsigned untaken = count_untaken(place);

        place->room = room > untaken ? room - untaken : 0;
        place_review(mesh, place);
}

static bool takes_jobs(const struct node_info *info) {
        return info->status == NODE_IDLE || info->status == NODE_BUSY;
}

/* One of our runs there has ended: its slot is ours to fill again. A node asks for work that anybody may
 * run; what it alone may run would wait for its next heartbeat. Of the places beyond its slots it tells
 * itself. */
void place_run_ended(struct mesh *mesh, struct place *place) {
        const struct peer *peer = peer_of(mesh, place);
        struct mesh_job *job;
        size_t n = place->room;

        if (!peer || !takes_jobs(&peer->public.info))
                return;
        LIST_FOREACH(&place->in_hand, job, struct mesh_job, hand_link)
                n++;
        if (n >= place->slots)
                return;
        place->room++;
        place_review(mesh, place);
}

/* A peer that has proven to be there, and what it says of itself. */
void place_heard(struct mesh *mesh, const struct peer *peer) {
        const struct node_info *info = &peer->public.info;
        struct place *place;

        if (!peer->public.verified || place_get(mesh, info->node_id, &place) < 0)
                return;
        place->alive = true;
        place->heard_usec = mesh_now(mesh);
        place->heard_instance = peer->public.instance;
        claims_owner_back(place);
        place->backlog = info->backlog;
        place->offered = false;
        place->slots = info->slots;
        place->pressure = info->pressure;
        place_match_classes(mesh, place, info);
        place_set_room(
                mesh, place,
                takes_jobs(info) && info->slots > info->running ? info->slots - info->running : 0);
        if (!place->link_up && (!list_is_empty(&place->in_hand) || !list_is_empty(&place->guests)))
                place_want_link(mesh, place);
        keeper_heard(mesh, place);
        index_heard(mesh, place);
        /* Among many peers one is heard all the time, and mostly neither side has anything for the other. */
        if (mesh->n_queued > 0 || place->backlog > 0)
                jobs_schedule(mesh);
}

/* Its attempts are over: they are not waited for any more, and what they still tell changes nothing. */
void place_lost(struct mesh *mesh, const char *node_id) {
        struct place *place = place_find(mesh, node_id);
        struct mesh_job *job;

        if (!place)
                return;
        if (place->alive)
                place->silent_since = mesh_now(mesh);
        place->alive = place->link_wanted = false;
        place->room = place->backlog = 0;
        place_review(mesh, place);
        fetches_drop(place);
        place->busy++;
        LIST_FOREACH(&place->in_hand, job, struct mesh_job, hand_link)
                if (job->state != JOB_STATE_ASSIGNING)
                        job_attempt_lost(mesh, job);
        guests_owner_lost(mesh, place);
        keeper_lost(mesh, place);
        keeper_choose(mesh);
        place->busy--;
        place_check(mesh, place);
        jobs_schedule(mesh);
}

static bool has_ours(const struct place *place) {
        struct mesh_job *job;

        LIST_FOREACH((struct list *) &place->in_hand, job, struct mesh_job, hand_link)
                if (job_is_out(job) && !job->loss_waits)
                        return true;
        return false;
}

static struct place *find_unheard(struct mesh *mesh) {
        struct place *place;

        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (!place->alive && !place->link_up && has_ours(place))
                        return place;
        return NULL;
}

/* What the disk says of a node from before our start: one that has not been heard since is lost like one
 * that fell silent. */
void places_check_unheard(struct mesh *mesh) {
        usec_t limit = usec_add(mesh->started_usec, mesh->config.peer_timeout_usec);
        struct place *place;

        if (mesh_now(mesh) < MAX(limit, mesh->judge_after_usec))
                return;
        while ((place = find_unheard(mesh)))
                place_lost(mesh, place->name->text);
}

/* And our disk says so. What is on its way there is retired when it has arrived. */
bool job_attempt_is_over(const struct mesh_job *job, const struct run_id *run) {
        bool ours = run_id_equal(&job->run, run) || (job->lost && run_id_equal(&job->lost_run, run));

        /* A run of an earlier ownership, of ours or of another node, that we did not take over. */
        return run->attempt <= job->given_up || (!ours && run->epoch < job->epoch);
}

/* One thing that the other side holds of ours. */
static void compare_held(struct mesh *mesh, struct place *place, const struct link_held *held) {
        struct mesh_job *job = job_at(mesh, place, &held->run);

        if (!job || !job_is_out(job)) {
                job = job_find(mesh, &held->run.job);
                /* It may be forgotten when its end, which follows, is written. */
                if (held->state != LINK_HELD_ENDED && (!job || job_attempt_is_over(job, &held->run)))
                        place_send_run(mesh, place, &held->run, WORD_KILL);
                return;
        }
        job->seen = job->sent = job->taken = job->may_have_begun = true;
        job->loss_waits = false;
        if (held->state == LINK_HELD_RUNNING && job->state == JOB_STATE_SENT)
                run_began(mesh, job, held->started_at);
        if (job->cancel_requested && held->state != LINK_HELD_ENDED)
                place_send_run(mesh, place, &held->run, WORD_KILL);
}

/* It was sent, and is not there, and may have been: ended, and forgotten when somebody had taken it over.
 * The same attempt is not sent twice then. */
static void attempt_is_gone(struct mesh *mesh, struct mesh_job *job) {
        if (job->state == JOB_STATE_RUNNING || job->taken || !job->cancel_requested)
                job_attempt_lost(mesh, job);
        else
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
}

/* Whether nothing that came since the last time has gone to another owner. */
static bool note_version(struct place *place, uint64_t held_version) {
        bool same = held_version != 0 && held_version == place->held_version && place->instance != 0 &&
                    place->instance == place->held_instance;

        place->held_version = held_version;
        place->held_instance = place->instance;
        return same;
}

/* It has told all: what it does not have never came, or is lost. */
static void compare_done(struct mesh *mesh, struct place *place, uint64_t held_version) {
        const struct link_message compared = { .compared = true };
        bool nothing_went = note_version(place, held_version);
        struct mesh_job *job;

        place->compared = true;
        place_review(mesh, place);
        (void) place_send(mesh, place, &compared);
        LIST_FOREACH(&place->in_hand, job, struct mesh_job, hand_link) {
                bool came = job->taken || job->state == JOB_STATE_RUNNING;

                job->traceable = job->traceable && nothing_went;
                if (job->seen || job->state == JOB_STATE_ASSIGNING)
                        continue;
                if (job_is_untold(job))
                        takeover_tell(mesh, job); /* it does not know yet that we are the owner now */
                else if ((job->sent_once && (came || !job->traceable)) || job->run.epoch != job->epoch)
                        attempt_is_gone(mesh, job);
                else if (job->cancel_requested)
                        job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
                else {
                        job->may_have_begun = false; /* it never came */
                        place_send_job(mesh, job);
                }
        }
}

void place_compare(struct mesh *mesh, struct place *place, const struct link_message *message) {
        for (size_t i = 0; i < message->n_held; i++)
                compare_held(mesh, place, &message->held[i]);
        if (message->held_complete && !place->compared)
                compare_done(mesh, place, message->held_version);
}

void place_link_up(struct mesh *mesh, struct place *place) {
        struct mesh_job *job;

        place->link_up = true;
        place->compared = false;
        place_review(mesh, place);
        LIST_FOREACH(&place->in_hand, job, struct mesh_job, hand_link)
                job->seen = job->claimed = false;
}

void place_link_down(struct mesh *mesh, struct place *place) {
        /* It did not come so far, and would not a moment later. */
        if (!place->compared)
                place->avoid_until = usec_add(mesh_now(mesh), REFUSED_WAIT_USEC);
        place->link_up = place->compared = false;
        place_review(mesh, place);
        fetches_drop(place);
        /* Not at once: who is not there now refuses as quickly as it is asked. */
        place->link_wanted = !list_is_empty(&place->in_hand) || !list_is_empty(&place->guests) ||
                             keeper_needs_link(mesh, place);
        if (place->link_wanted)
                mesh->links_due = MIN(mesh->links_due, usec_add(mesh_now(mesh), LINK_RETRY_USEC));
        place_check(mesh, place);
}
