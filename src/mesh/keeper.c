/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The second disk: one other node, the keeper, has a copy of each of our unfinished jobs, and takes them
 * over when we are lost (claims.c). What clients are told of a job is on both disks by then: its acceptance,
 * and its end, unless the node that ran it keeps the result until the keeper has it too. A copy is the state
 * of its job as it is when it is sent, so that what changes twice travels once. Copies are numbered, and
 * acknowledged up to a number.
 *
 * A keeper that is too slow is replaced, and until the next one has all, answers say that there is one copy.
 * Each keeper has a term; a node that had copies under an earlier one is told to forget them when it can be
 * told, and is remembered until then, on the disk: it might take over what has long ended. */

#include "mesh/internal.h"
#include "mesh/job-link.h"
#include "util/fnv.h"

#define KEEPER_WINDOW (512u * 1024) /* bytes of copies that are on the way at once, but for the last one */
#define COPY_SIZE 256u              /* bytes of a copy without its job and its output */

static struct holder *holder_find(const struct mesh *mesh, const char *node_id) {
        return MAP_GET(&mesh->holders, node_id, strlen(node_id), struct holder, by_id);
}

static int holder_set(struct mesh *mesh, struct node_name *name, uint64_t term) {
        struct holder *holder = holder_find(mesh, name->text);
        int r;

        if (holder) {
                holder->term = MAX(holder->term, term);
                return 0;
        }
        holder = calloc(1, sizeof(*holder));
        if (!holder)
                return -ENOMEM;
        holder->name = node_name_ref(name);
        holder->term = term;
        r = map_add(&mesh->holders, &holder->by_id, holder->name->text, strlen(holder->name->text));
        if (r < 0) {
                node_name_unref(holder->name);
                free(holder);
        }
        return r;
}

static void holder_free(struct mesh *mesh, struct holder *holder) {
        map_remove(&mesh->holders, &holder->by_id);
        node_name_unref(holder->name);
        free(holder);
}

void keeper_free(struct mesh *mesh) {
        struct holder *holder;
        struct answer *answer;

        MAP_FOREACH(&mesh->holders, holder, struct holder, by_id)
                holder_free(mesh, holder);
        LIST_FOREACH(&mesh->answers, answer, struct answer, link) {
                list_remove(&answer->link);
                free(answer);
        }
}

static bool is_keeper(const struct mesh *mesh, const struct place *place) {
        return mesh->keeper.state != KEEPER_NONE && mesh->keeper.place == place;
}

bool keeper_may_be_found(struct mesh *mesh) {
        struct place *place;

        if (mesh->keeper.state != KEEPER_NONE)
                return true;
        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->alive)
                        return true;
        return false;
}

bool keeper_needs(const struct mesh *mesh, const struct place *place) {
        return is_keeper(mesh, place);
}

bool keeper_needs_link(const struct mesh *mesh, const struct place *place) {
        return is_keeper(mesh, place) &&
               (!keeper_is_idle(mesh) || mesh->keeper.acked < mesh->keeper.complete_number);
}

unsigned mesh_job_copies(struct mesh *mesh, const struct uuid *id) {
        const struct mesh_job *job = job_find(mesh, id);

        if (!job)
                return 0;
        return mesh->keeper.state == KEEPER_CHOSEN && job->copied ? 2 : 1;
}

/* Choosing. */

static uint64_t rank_of(const struct mesh *mesh, const struct place *place) {
        /* Over both names: each owner has an order of its own, so that copies are spread (rendezvous
         * hashing, Thaler and Ravishankar 1998). */
        uint64_t hash = fnv64(FNV64_BEGIN, mesh->config.node_id, strlen(mesh->config.node_id));

        return fnv64(hash, place->name->text, strlen(place->name->text)) >> 1;
}

/* A node of another host is worth more than any of this one. 0: it is not to be asked. */
static uint64_t worth_of(struct mesh *mesh, const struct place *place) {
        const struct peer *peer = peer_find(mesh, place->name->text);
        size_t host = strcspn(mesh->config.address, ":");
        bool same_host;

        if (!place->alive || !peer || !peer_is_here(mesh, place->name->text) ||
            mesh_now(mesh) < place->keeps_again_usec)
                return 0;
        if (peer->public.info.status != NODE_IDLE && peer->public.info.status != NODE_BUSY)
                return 0;
        same_host = strncmp(peer->public.info.address, "127.", 4) == 0 ||
                    (strncmp(peer->public.info.address, mesh->config.address, host) == 0 &&
                     peer->public.info.address[host] == ':');
        return (rank_of(mesh, place) | 1) + (same_host ? 0 : UINT64_C(1) << 63);
}

static int write_holder(struct mesh *mesh, enum record_type type, struct node_name *name, uint64_t term) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;
        int r;

        r = record_batch_new(1, &batch);
        if (r < 0)
                return r;
        record = record_batch_add(batch, type);
        if (!record)
                return -ENOMEM;
        record->node = node_name_ref(name);
        record->term = term;
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        batch->urgent = type == RECORD_HOLDER;
        mesh_write(mesh, TAKE_PTR(batch));
        return 0;
}

void keeper_choose(struct mesh *mesh) {
        struct place *place, *best = NULL;
        uint64_t worth, best_worth = 0;

        if (!mesh->working || mesh->stopping || mesh->store_failing || mesh->rival.elder ||
            mesh->keeper.state != KEEPER_NONE)
                return;
        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                worth = worth_of(mesh, place);
                if (worth > best_worth) {
                        best = place;
                        best_worth = worth;
                }
        }
        if (!best || holder_set(mesh, best->name, mesh->keeper.term + 1) < 0 ||
            write_holder(mesh, RECORD_HOLDER, best->name, mesh->keeper.term + 1) < 0)
                return;
        mesh->keeper.state = KEEPER_SAVING;
        mesh->keeper.place = best;
        mesh->keeper.term++;
        mesh->keeper.complete_number = 0;
}

/* Sending. */

static void owe(struct mesh *mesh) {
        struct keeper *keeper = &mesh->keeper;

        if (mesh->keeper_due == USEC_INFINITY) {
                keeper->moved_usec = mesh_now(mesh);
                mesh->keeper_due = usec_add(keeper->moved_usec, mesh->config.keeper_wait_usec);
        }
}

/* What is told of the end, also where there was no run to bring one. */
static void fill_end(struct mesh *mesh, const struct mesh_job *job, struct link_ended *ret) {
        if (job->result)
                job_result_to_link(job->result, ret);
        else
                *ret = (struct link_ended){
                        .outcome = LINK_KILLED,
                        .finished_at = mesh->ops.now_realtime(mesh->userdata),
                };
        ret->run = job->run;
        if (job->error_message)
                ret->error_message = job->error_message;
}

/* About so many bytes. */
static uint64_t copy_size(const struct mesh_job *job, const struct link_copy *copy) {
        uint64_t size = COPY_SIZE;

        if (copy->job) {
                size += strlen(job->spec->command) + job->spec->stdin_size;
                for (char *const *entry = job->spec->env; *entry; entry++)
                        size += strlen(*entry);
        }
        if (copy->ended)
                size += copy->ended->stdout_output.data_size + copy->ended->stderr_output.data_size;
        return size;
}

static int send_copy(struct mesh *mesh, struct mesh_job *job) {
        struct keeper *keeper = &mesh->keeper;
        struct link_assignment assignment = { .run = job->run };
        struct link_ended ended;
        struct link_message message = {
                .copy = {
                        .term = keeper->term,
                        .number = keeper->number + 1,
                        .has_run = true,
                        .run = job->run,
                        .epoch = job->epoch,
                        .node_id = job->place ? job->place->name->text : NULL,
                        .cancel_requested = job->cancel_requested,
                        .retries_used = job->retries_used,
                        .gone = job->moved || job->withdrawn,
                },
        };

        if (job->state == JOB_STATE_ENDED && !message.copy.gone) {
                message.copy.status = job->final_status;
                fill_end(mesh, job, &ended);
                message.copy.ended = &ended;
        }
        if (!job->copied && !message.copy.gone) {
                job_spec_to_link(job->spec, &assignment.job);
                message.copy.job = &assignment;
        }
        if (!place_send(mesh, keeper->place, &message))
                return -EAGAIN;
        job->copy_number = ++keeper->number;
        job->copy_offset = keeper->bytes;
        keeper->bytes += copy_size(job, &message.copy);
        return 0;
}

static void send_complete(struct mesh *mesh) {
        struct keeper *keeper = &mesh->keeper;
        const struct link_message message = {
                .copy = { .term = keeper->term, .number = keeper->number + 1, .complete = true },
        };

        if (place_send(mesh, keeper->place, &message))
                keeper->complete_number = ++keeper->number;
}

/* So much is on the way that what else is said to the same node might find no room on the link. */
static bool window_is_full(struct keeper *keeper) {
        const struct mesh_job *oldest = LIST_FIRST(&keeper->sent, struct mesh_job, copy_link);

        return oldest && keeper->bytes - oldest->copy_offset >= KEEPER_WINDOW;
}

/* As much as may be on the way. */
static void flush(struct mesh *mesh) {
        struct keeper *keeper = &mesh->keeper;
        struct mesh_job *job;

        if (keeper->state != KEEPER_CHOSEN)
                return;
        if (!keeper->place->link_up) {
                if (!keeper->place->link_wanted &&
                    (!list_is_empty(&keeper->unsent) || keeper->complete_number == 0))
                        place_want_link(mesh, keeper->place);
                return;
        }
        while ((job = LIST_FIRST(&keeper->unsent, struct mesh_job, copy_link))) {
                if (window_is_full(keeper) || send_copy(mesh, job) < 0)
                        return;
                list_remove(&job->copy_link);
                list_append(&keeper->sent, &job->copy_link);
        }
        if (keeper->complete_number == 0)
                send_complete(mesh);
}

void keeper_flush(struct mesh *mesh, const struct place *place) {
        if (is_keeper(mesh, place))
                flush(mesh);
}

void keeper_changed(struct mesh *mesh, struct mesh_job *job) {
        struct keeper *keeper = &mesh->keeper;

        if (keeper->state != KEEPER_CHOSEN)
                return;
        list_remove(&job->copy_link);
        list_append(&keeper->unsent, &job->copy_link);
        owe(mesh);
        flush(mesh);
}

/* The job is forgotten here: whoever waits for its copy waits for nothing. */
void keeper_forget(struct mesh *mesh, struct mesh_job *job) {
        list_remove(&job->copy_link);
        if (job->answer)
                job->answer->n_uncopied--;
        job->answer = NULL;
}

bool keeper_is_idle(const struct mesh *mesh) {
        return mesh->keeper.state != KEEPER_CHOSEN ||
               (list_is_empty(&mesh->keeper.sent) && list_is_empty(&mesh->keeper.unsent));
}

/* Answers. */

int answer_new(struct mesh *mesh, void *tag, struct answer **ret) {
        struct answer *answer = calloc(1, sizeof(*answer));

        if (!answer)
                return -ENOMEM;
        answer->tag = tag;
        list_append(&mesh->answers, &answer->link);
        *ret = answer;
        return 0;
}

void answer_free(struct answer *answer) {
        list_remove(&answer->link);
        free(answer);
}

/* The client is told when its jobs are on two disks, or on one where there is no second. */
void answer_check(struct mesh *mesh, struct answer *answer) {
        if (!answer->durable || answer->n_uncopied > 0)
                return;
        mesh->ops.accepted(mesh->userdata, answer->tag, 0, answer->copied ? 2 : 1);
        answer_free(answer);
}

void answer_expect(struct mesh *mesh, struct answer *answer, struct mesh_job *job) {
        answer->copied = mesh->keeper.state == KEEPER_CHOSEN;
        if (!answer->copied)
                return;
        job->answer = answer;
        answer->n_uncopied++;
}

static void copied(struct mesh *mesh, struct mesh_job *job) {
        struct answer *answer = TAKE_PTR(job->answer);

        list_remove(&job->copy_link);
        job->copied = true;
        takeover_announce(mesh, job);
        job->end_copied = job->state == JOB_STATE_ENDED;
        if (answer) {
                answer->n_uncopied--;
                answer_check(mesh, answer);
        }
        if (job->end_copied)
                job_conclude(mesh, job);
}

static void ask_later(struct mesh *mesh, struct place *place) {
        usec_t now = mesh_now(mesh), again = place->keeps_again_usec;
        bool soon = again > 0 && now < usec_add(again, KEEPER_AGAIN_MAX_USEC);

        place->n_slow = soon ? place->n_slow + 1 : 0;
        place->keeps_again_usec =
                usec_add(now, MIN(KEEPER_AGAIN_USEC << MIN(place->n_slow, 8u), KEEPER_AGAIN_MAX_USEC));
}

/* Without a keeper nobody waits for it: what waited goes on with one copy. */
static void drop(struct mesh *mesh, bool too_slow) {
        struct keeper *keeper = &mesh->keeper;
        struct place *place = keeper->place;
        struct answer *answer;
        struct mesh_job *job;

        if (keeper->state == KEEPER_NONE)
                return;
        keeper->state = KEEPER_NONE;
        keeper->place = NULL;
        mesh->keeper_due = USEC_INFINITY;
        if (too_slow)
                ask_later(mesh, place);
        MAP_FOREACH(&mesh->jobs, job, struct mesh_job, by_id) {
                list_remove(&job->copy_link);
                job->copied = job->end_copied = false;
                job->answer = NULL;
                if (job->state == JOB_STATE_ENDED)
                        job_conclude(mesh, job);
        }
        LIST_FOREACH(&mesh->answers, answer, struct answer, link) {
                answer->n_uncopied = 0;
                answer->copied = false;
                answer_check(mesh, answer);
        }
        place_check(mesh, place);
}

void keeper_lost(struct mesh *mesh, const struct place *place) {
        if (is_keeper(mesh, place))
                drop(mesh, /* too_slow= */ false);
}

void keeper_check(struct mesh *mesh) {
        struct keeper *keeper = &mesh->keeper;
        usec_t limit = usec_add(keeper->moved_usec, mesh->config.keeper_wait_usec);

        if (keeper->state != KEEPER_CHOSEN ||
            (list_is_empty(&keeper->sent) && list_is_empty(&keeper->unsent)))
                return;
        if (mesh_now(mesh) < limit) {
                mesh->keeper_due = limit;
                return;
        }
        drop(mesh, /* too_slow= */ true);
        keeper_choose(mesh);
}

static void take_kept(struct mesh *mesh, struct place *place, const struct link_kept *kept) {
        struct keeper *keeper = &mesh->keeper;
        struct mesh_job *job;

        if (!is_keeper(mesh, place) || kept->term != keeper->term || keeper->state != KEEPER_CHOSEN)
                return;
        if (kept->refused) {
                drop(mesh, /* too_slow= */ true);
                keeper_choose(mesh);
                return;
        }
        if (kept->number > keeper->number)
                return;
        keeper->acked = MAX(keeper->acked, kept->number);
        keeper->moved_usec = mesh_now(mesh);
        while ((job = LIST_FIRST(&keeper->sent, struct mesh_job, copy_link)) &&
               job->copy_number <= keeper->acked)
                copied(mesh, job);
        flush(mesh);
        if (list_is_empty(&keeper->sent) && list_is_empty(&keeper->unsent))
                mesh->keeper_due = USEC_INFINITY;
}

/* Who had copies once. */

/* Copies there may be the only ones: until the keeper has everything, an old one is better than none. */
static bool is_needed_there(const struct mesh *mesh) {
        const struct keeper *keeper = &mesh->keeper;
        bool complete = keeper->state == KEEPER_CHOSEN && keeper->complete_number > 0 &&
                        keeper->acked >= keeper->complete_number;

        return mesh->n_jobs > 0 && !complete;
}

static void forget_there(struct mesh *mesh, struct place *place) {
        const struct holder *holder = holder_find(mesh, place->name->text);
        struct link_message message = {};

        /* While it may have taken over what waits here, its copies are not the question. */
        if (!holder || is_keeper(mesh, place) || mesh->n_held_back > 0 || is_needed_there(mesh))
                return;
        message.forget_copies = holder->term;
        (void) place_send(mesh, place, &message);
}

static void forgotten_there(struct mesh *mesh, struct place *place, uint64_t term) {
        struct holder *holder = holder_find(mesh, place->name->text);

        if (!holder || is_keeper(mesh, place) || holder->term > term)
                return;
        if (write_holder(mesh, RECORD_HOLDER_GONE, holder->name, term) >= 0)
                holder_free(mesh, holder);
}

void keeper_take(struct mesh *mesh, struct place *place, const struct link_message *message) {
        if (message->kept.term > 0)
                take_kept(mesh, place, &message->kept);
        if (message->copies_forgotten > 0)
                forgotten_there(mesh, place, message->copies_forgotten);
}

void keeper_written(struct mesh *mesh, const struct record *record, int error) {
        struct keeper *keeper = &mesh->keeper;
        struct mesh_job *job;

        if (record->type == RECORD_HOLDER_GONE) {
                /* What the disk still says is asked again after the next start. */
                return;
        }
        if (keeper->state != KEEPER_SAVING || record->term != keeper->term)
                return;
        if (error < 0) {
                drop(mesh, /* too_slow= */ true);
                return;
        }
        keeper->state = KEEPER_CHOSEN;
        /* All of them first: what is sent when none is left is that this was everything. */
        MAP_FOREACH(&mesh->jobs, job, struct mesh_job, by_id)
                list_append(&keeper->unsent, &job->copy_link);
        if (!list_is_empty(&keeper->unsent))
                owe(mesh);
        flush(mesh);
}

/* A keeper that has begun a new life may have lost what it had: it gets everything once more. */
static bool has_begun_anew(struct place *place, uint64_t instance) {
        bool anew = place->instance != 0 && place->instance != instance;

        place->instance = instance;
        if (anew)
                place->keeps_again_usec = place->n_slow = 0;
        return anew;
}

void keeper_link_up(struct mesh *mesh, struct place *place, uint64_t instance) {
        struct mesh_job *job;

        if (has_begun_anew(place, instance) && is_keeper(mesh, place)) {
                drop(mesh, /* too_slow= */ false);
                keeper_choose(mesh);
        }

        if (!is_keeper(mesh, place)) {
                forget_there(mesh, place);
                return;
        }
        /* What was on its way may not have come. */
        while ((job = LIST_FIRST(&mesh->keeper.sent, struct mesh_job, copy_link))) {
                list_remove(&job->copy_link);
                list_append(&mesh->keeper.unsent, &job->copy_link);
        }
        if (mesh->keeper.complete_number > mesh->keeper.acked)
                mesh->keeper.complete_number = 0;
        flush(mesh);
}

void keeper_heard(struct mesh *mesh, struct place *place) {
        const struct holder *holder = holder_find(mesh, place->name->text);

        keeper_choose(mesh);
        if (!holder)
                return;
        if (place->link_up)
                forget_there(mesh, place); /* with each heartbeat, until it has */
        else if (!is_keeper(mesh, place) || !holder->answered)
                place_want_link(mesh, place);
}

/* After a restart. */

int mesh_restore_holder(struct mesh *mesh, const char *node_id, uint64_t term) {
        struct node_name *name;
        int r;

        assert(!mesh->working);
        r = node_name_new(node_id, &name);
        if (r < 0)
                return r;
        r = holder_set(mesh, name, term);
        node_name_unref(name);
        mesh->keeper.term = MAX(mesh->keeper.term, term);
        return r;
}

/* What waits here may have been taken over while we were away: nothing of it begins before those who could
 * have have said what they did, or would have to be lost. */
void keeper_start(struct mesh *mesh) {
        if (map_size(&mesh->holders) == 0)
                keeper_resume(mesh);
        else if (mesh->n_held_back > 0) {
                mesh->held_back_until = usec_add(mesh_now(mesh), mesh->config.peer_timeout_usec);
                mesh->claims_due = MIN(mesh->claims_due, mesh->held_back_until);
        }
}

void keeper_resume(struct mesh *mesh) {
        struct mesh_job *job;
        struct place *place;

        mesh->held_back_until = USEC_INFINITY;
        if (mesh->n_held_back == 0)
                return;
        MAP_FOREACH(&mesh->jobs, job, struct mesh_job, by_id) {
                if (!job->held_back)
                        continue;
                job->held_back = false;
                mesh->n_held_back--;
                if (takeover_resume(mesh, job))
                        continue;
                if (job->state == JOB_STATE_QUEUED && job->durable)
                        class_add(mesh, job);
                else if (job->loss_waits && job_is_out(job))
                        job_attempt_lost(mesh, job);
        }
        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->link_up)
                        forget_there(mesh, place);
        jobs_schedule(mesh);
}

void keeper_holder_answered(struct mesh *mesh, const struct place *place) {
        struct holder *holder = holder_find(mesh, place->name->text);

        if (!holder || holder->answered)
                return;
        holder->answered = true;
        MAP_FOREACH(&mesh->holders, holder, struct holder, by_id)
                if (!holder->answered)
                        return;
        keeper_resume(mesh);
}
