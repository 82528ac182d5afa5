/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that change their owner: from a lost node to its keeper, from a lost owner to who runs the job, and,
 * when both sides of a split meet again, from the one that has to give way. */

#include <stdio.h>
#include <syslog.h>

#include "mesh/copies.h"
#include "mesh/index.h"
#include "util/message-ids.h"

#define ORPHANED (UINT64_C(1) << 63) /* an occasion that is no term */
/* An owner that came back meanwhile goes on with its jobs until it hears that they are another node's: in
 * this time it does, and ends them. */
#define YIELD_USEC (2 * USEC_PER_SEC)

static void note_held(struct mesh *mesh, struct copies *copies) {
        struct claim_answer *answer;
        struct guest *guest;
        struct copy *copy;

        LIST_FOREACH(&copies->answers, answer, struct claim_answer, link)
                for (size_t i = 0; i < answer->n_held; i++) {
                        copy = copy_find(mesh, &answer->held[i].run.job);
                        /* Its owner began no run that is later than its ownership. */
                        if (!copy || copy->copies != copies || answer->held[i].run.epoch > copy->epoch)
                                continue;
                        if (copy->held_by && run_id_compare(&copy->held.run, &answer->held[i].run) >= 0)
                                continue;
                        copy->held = answer->held[i];
                        copy->held_by = answer->from;
                }
        /* Also one that an owner before this one gave: it goes on, rather than run beside another. */
        LIST_FOREACH(&copies->list, copy, struct copy, link) {
                guest = guest_of_job(mesh, &copy->spec->id);
                if (!guest || guest_is_retired(guest) || guest->run.epoch > copy->epoch ||
                    (copy->held_by && run_id_compare(&copy->held.run, &guest->run) >= 0))
                        continue;
                copy->held_by = NULL;
                copy->held.run = guest->run;
                copy->guest_here = true;
        }
}

/* A job that another node owned, and that becomes ours. */
struct adoption {
        struct place *owner; /* the one before */
        struct job_spec *spec;
        uint64_t epoch, occasion; /* see next_epoch() */
        struct run_id run;        /* the last one */
        struct guest *guest;      /* the run is here; NULL: it is not */
        struct place *place;      /* it is there; NULL: nowhere else */
        bool cancel_requested;
        uint32_t retries_used;
};

static int record_adoption(
        struct mesh *mesh, const struct adoption *adoption, struct mesh_job *job,
        struct record_batch *batch) {
        struct record *record = job_record(job, batch, RECORD_ADOPTED);

        if (!record)
                return -ENOMEM;
        record->owner = node_name_ref(adoption->owner->name);
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        if (!adoption->guest)
                return 0;
        /* An end is nowhere else any more, and stays until the job has it. */
        if (!adoption->guest->result && !guest_record(adoption->guest, batch, RECORD_GUEST_GONE)) {
                record_batch_pop(batch);
                return -ENOMEM;
        }
        mesh->held_version++;
        adoption->guest->adopting = true;
        adoption->guest->leaving = !adoption->guest->result;
        return 0;
}

/* It failed on a lost node, and that was its end: it was tried as often as it may be. */
static bool has_failed_for_good(struct mesh *mesh, const struct job_spec *spec) {
        struct mesh_index_item item;

        return index_knows_end(mesh, &spec->id, &item) && item.status == JOB_FAILED && item.has_exit_code;
}

static void announce_later(struct mesh *mesh, struct mesh_job *job) {
        job->announce_at = usec_add(mesh_now(mesh), ANNOUNCE_USEC);
        mesh->n_unannounced++;
        mesh->announce_due = MIN(mesh->announce_due, job->announce_at);
        mesh->claims_due = MIN(mesh->claims_due, job->announce_at);
}

static int adopt(struct mesh *mesh, const struct adoption *adoption, struct record_batch *batch) {
        const struct mesh_job *before = job_find(mesh, &adoption->spec->id);
        const struct guest *guest = guest_of_job(mesh, &adoption->spec->id);
        bool runs = adoption->guest || adoption->place;
        struct mesh_job *job;
        int r;

        /* It failed before, and our keeper is still to hear of that. */
        if (before && before->withdrawn)
                return -EAGAIN;
        /* A run that was given up is still being ended here. */
        if (guest && guest != adoption->guest && guest->in_executor)
                return -EAGAIN;
        /* A copy of what ended here long ago, from somebody who has not heard of it. */
        if (index_own_has_ended(mesh, &adoption->spec->id))
                return -EALREADY;
        /* An owner may have had two keepers, of which neither had everything. */
        if (index_is_taken_over(mesh, &adoption->spec->id, adoption->epoch))
                return -EALREADY;
        r = job_new(mesh, adoption->spec, &job);
        if (r < 0)
                return r;
        job->epoch = next_epoch(mesh, adoption->epoch, adoption->owner, adoption->occasion);
        job->run = adoption->run;
        job->given_up = runs ? job->run.attempt - 1 : job->run.attempt;
        job->cancel_requested = adoption->cancel_requested;
        job->may_have_begun = runs;
        job->retries_used = adoption->retries_used;
        /* What must never start twice has no retry left either: the owner may have begun it. */
        if (job->spec->rules.loss_is_failure || (!runs && has_failed_for_good(mesh, job->spec)))
                job->retries_used = job->spec->rules.retries;
        if (adoption->guest)
                job->executor = adoption->guest->executor;
        job_set_place(mesh, job, adoption->place);
        r = record_adoption(mesh, adoption, job, batch);
        if (r < 0) {
                job_free(mesh, job);
                return r;
        }
        job->yielded_by = node_name_ref(adoption->owner->name);
        announce_later(mesh, job);
        keeper_changed(mesh, job);
        return 0;
}

static bool is_ours_already(int error) {
        return error == -EALREADY || error == -EEXIST;
}

static int adopt_copy(struct mesh *mesh, struct copy *copy, struct record_batch *batch) {
        struct adoption adoption = {
                .owner = copy->copies->owner,
                .spec = copy->spec,
                .epoch = copy->epoch,
                .occasion = copy->copies->term,
                .run = copy->run,
                .cancel_requested = copy->cancel_requested,
                .retries_used = copy->retries_used,
        };

        if (copy->guest_here)
                adoption.guest = guest_of_run(mesh, &copy->held.run);
        if (!adoption.guest && copy->held_by)
                adoption.place = place_find(mesh, copy->held_by->text);
        if (adoption.guest || adoption.place)
                adoption.run = copy->held.run;
        return adopt(mesh, &adoption, batch);
}

bool takeover_begin(struct mesh *mesh, struct copies *copies, bool owner_is_lost) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;
        struct copy *copy;
        size_t n = 0;

        if (record_batch_new(16, &batch) < 0)
                return false;
        note_held(mesh, copies);
        LIST_FOREACH(&copies->list, copy, struct copy, link) {
                int r = adopt_copy(mesh, copy, batch);

                if (r == -ENOMEM || r == -EAGAIN)
                        continue; /* with the next step */
                n += r >= 0;
                copy_free(mesh, copy); /* one that is ours already needs none */
        }
        copies->claiming = copies->confirming = false;
        claim_answers_drop(copies);
        record = list_is_empty(&copies->list) ? copy_record(copies, batch, RECORD_COPIES_FORGOTTEN, NULL)
                                              : NULL;
        if (record) {
                record->number = n;
                /* One that is there has begun anew, and its terms, too. */
                record->taken_over = owner_is_lost;
                index_speak_for(mesh, copies->owner->name->text);
        }
        copies->claim_due = record ? USEC_INFINITY : usec_add(mesh_now(mesh), USEC_PER_SEC);
        batch->urgent = true;
        mesh_write(mesh, TAKE_PTR(batch));
        return record;
}

static void take_orphan(
        struct mesh *mesh, struct guest *guest, const struct adoption *adoption,
        struct record_batch *batch) {
        bool needed = !guest_is_retired(guest);

        if (needed && copy_find(mesh, &guest->run.job))
                return;
        if (needed)
                needed = !is_ours_already(adopt(mesh, adoption, batch));
        if (!needed && guest->state == GUEST_ENDED)
                guest_go(mesh, guest); /* an end that nobody will ask for */
}

void takeover_orphans(struct mesh *mesh, struct place *owner) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct guest *guest;

        if (record_batch_new(2, &batch) < 0)
                return;
        LIST_FOREACH(&owner->guests, guest, struct guest, place_link) {
                const struct adoption adoption = {
                        .owner = owner,
                        .spec = guest->spec,
                        .epoch = guest->owner_epoch,
                        .occasion = ORPHANED | guest->run.attempt,
                        .run = guest->run,
                        .guest = guest,
                        .cancel_requested = guest->kill_wanted,
                };

                if (!guest->adopting && guest->state != GUEST_ARRIVING)
                        take_orphan(mesh, guest, &adoption, batch);
        }
        batch->urgent = true;
        mesh_write(mesh, TAKE_PTR(batch));
}

/* Its end becomes that of our job, on the disk first. */
static void adopt_end(struct mesh *mesh, struct mesh_job *job, struct guest *guest) {
        run_concluded(mesh, job, job_result_ref(guest->result));
        if (!guest->leaving && guest->state != GUEST_GOING)
                guest_go(mesh, guest);
}

/* We stopped after the takeover was on the disk, and before the end was. */
void takeover_start(struct mesh *mesh) {
        struct guest *guest;
        struct mesh_job *job;

        MAP_FOREACH(&mesh->guests, guest, struct guest, by_job) {
                job = guest->result ? job_find(mesh, &guest->run.job) : NULL;
                if (job && !job->place && job_is_out(job) && run_id_equal(&job->run, &guest->run))
                        adopt_end(mesh, job, guest);
        }
}

/* An own run of what was another owner's goes on as a run of ours. */
static void adopt_guest(struct mesh *mesh, struct mesh_job *job, struct guest *guest) {
        if (guest->result) {
                job_enter(mesh, job, JOB_STATE_SENT);
                adopt_end(mesh, job, guest);
                return;
        }
        switch (guest->state) {
        case GUEST_SENT:
        case GUEST_RUNNING:
                job_enter(mesh, job, JOB_STATE_SENT);
                if (guest->state == GUEST_RUNNING)
                        run_began(mesh, job, guest->started_at);
                if (job->cancel_requested)
                        mesh->ops.kill(mesh->userdata, &job->run);
                break;
        case GUEST_ARRIVING:
        case GUEST_WAITING:
        case GUEST_ENDING:
        case GUEST_ENDED:
        case GUEST_GOING:
        case _GUEST_STATE_MAX:
                job->given_up = job->run.attempt;
                job->executor = UUID_NULL;
                class_add(mesh, job);
                break;
        }
}

/* What is left of a run that ended on a lost node. NULL: nothing, or out of memory. */
static struct job_result *result_from_index(const struct mesh_job *job, const struct mesh_index_item *item) {
        struct job_result *result;

        if (!item->has_exit_code || job_result_new(&result) < 0)
                return NULL;
        result->run = job->run;
        result->outcome = RUN_EXITED;
        result->exit_code = item->exit_code;
        result->started_at = item->started_at;
        result->finished_at = item->finished_at;
        if (item->started_at > 0 && item->finished_at > item->started_at)
                result->duration_usec = item->finished_at - item->started_at;
        return result;
}

/* Its owner told that it had ended, and is lost before this copy of it was told. */
static bool adopt_known_end(struct mesh *mesh, struct mesh_job *job) {
        struct mesh_index_item item;

        if (!index_knows_end(mesh, &job->spec->id, &item))
                return false;
        job_finish(
                mesh, job, item.status, result_from_index(job, &item),
                "it ended, and its output is lost with the node that owned it");
        return true;
}

/* Nobody has it: it may be over, or must not begin. */
static bool adopt_over(struct mesh *mesh, struct mesh_job *job) {
        if (adopt_known_end(mesh, job))
                return true;
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled; its owner is lost");
        else if (job->spec->rules.loss_is_failure)
                job_finish(mesh, job, JOB_FAILED, NULL, "node lost: the node that owned the job is gone");
        else
                return false;
        return true;
}

bool takeover_resume(struct mesh *mesh, struct mesh_job *job) {
        /* We stopped after the takeover was on the disk, and before what follows from it was. */
        bool waits = job_is_between_attempts(job) && job->run.epoch != job->epoch;

        return waits && adopt_over(mesh, job);
}

void takeover_tell(struct mesh *mesh, struct mesh_job *job) {
        struct link_takeover takeover = { .epoch = job->epoch, .run = job->run };
        const struct link_message message = { .n_takeovers = 1, .takeovers = &takeover };

        job->claimed = place_send(mesh, job->place, &message);
        if (job->claimed)
                return;
        job->seen = false; /* told again when the link has room, or is up */
        place_want_link(mesh, job->place);
}

void takeover_announced(struct mesh *mesh, struct mesh_job *job) {
        if (job->announce_at == 0)
                return;
        job->announce_at = 0;
        mesh->n_unannounced--;
        if (mesh->n_unannounced == 0)
                index_links_changed(mesh);
}

static void begin(struct mesh *mesh, struct mesh_job *job) {
        job->yielded_by = node_name_unref(job->yielded_by);
        if (job->state == JOB_STATE_QUEUED && !heap_is_linked(&job->queue_link))
                class_add(mesh, job);
}

/* It is told over a link, which may have to be opened. */
static bool former_is_here(struct mesh *mesh, const struct mesh_job *job) {
        struct place *former = job->yielded_by ? place_find(mesh, job->yielded_by->text) : NULL;

        if (!former || !peer_is_here(mesh, former->name->text))
                return false;
        if (!former->link_up)
                place_want_link(mesh, former);
        return true;
}

void takeover_announce(struct mesh *mesh, struct mesh_job *job) {
        if (job->announce_at == 0 || !job->durable)
                return;
        takeover_announced(mesh, job);
        if (job->state != JOB_STATE_ENDED)
                index_own_changed(mesh, job);
        /* One whose attempt was lost meanwhile has left its owner long ago, and may wait for the disk. */
        if (job->state == JOB_STATE_QUEUED && !job->lost && former_is_here(mesh, job)) {
                job_enter(mesh, job, JOB_STATE_DELAYED);
                job_delay_for(mesh, job, YIELD_USEC);
                return;
        }
        begin(mesh, job);
}

/* Nobody is there who could hear of it, or keep it. It is told when somebody is: an owner that comes back
 * then has the only other copy, and is not to give it up at once. */
static void begin_untold(struct mesh *mesh, struct mesh_job *job) {
        if (!job->durable)
                return; /* then */
        job->begins_untold = true;
        begin(mesh, job);
}

/* Its wait is over. */
static void announce_now(struct mesh *mesh, struct mesh_job *job) {
        if (keeper_may_be_found(mesh)) {
                takeover_announce(mesh, job);
                return;
        }
        job->announce_at = usec_add(mesh_now(mesh), ANNOUNCE_USEC);
        begin_untold(mesh, job);
}

void takeover_announce_due(struct mesh *mesh) {
        struct mesh_job *job;

        if (mesh_now(mesh) < mesh->announce_due)
                return;
        mesh->announce_due = USEC_INFINITY;
        MAP_FOREACH(&mesh->jobs, job, struct mesh_job, by_id) {
                if (job->announce_at == 0)
                        continue;
                if (job->announce_at <= mesh_now(mesh))
                        announce_now(mesh, job);
                if (job->announce_at > 0)
                        mesh->announce_due = MIN(mesh->announce_due, job->announce_at);
        }
        jobs_schedule(mesh);
}

void takeover_written(struct mesh *mesh, struct mesh_job *job, const struct record *record, int error) {
        struct guest *guest = guest_of_run(mesh, &record->run);
        struct place *owner = place_find(mesh, record->owner->text);

        guest = guest && guest->adopting ? guest : NULL;
        if (error < 0) {
                if (guest)
                        guest_stay(mesh, guest);
                if (owner)
                        (void) copy_restore(
                                mesh, owner, record->spec, &record->run, record->epoch, record->retries_used,
                                record->cancel_requested);
                job_withdraw(mesh, job);
                return;
        }
        job->durable = true;
        if (guest) {
                mesh->held_version++;
                adopt_guest(mesh, job, guest);
        } else if (job->place) {
                job_enter(mesh, job, JOB_STATE_SENT);
                job->sent = job->taken = job->seen = true;
                if (job->place->alive)
                        takeover_tell(mesh, job);
                else
                        job_attempt_lost(mesh, job);
        } else if (!adopt_over(mesh, job))
                class_add(mesh, job);
        if (job->copied)
                takeover_announce(mesh, job);
        else if (!keeper_may_be_found(mesh))
                begin_untold(mesh, job);
}

/* Giving way. */

/* Another node owns a job of ours, and rightly so: it is no longer ours. What ran of it here is ended. */
static void yield_to(struct mesh *mesh, struct mesh_job *job, const char *owner) {
        char text[192], id[UUID_TEXT_SIZE];

        (void) snprintf(
                text, sizeof(text), "job %s is owned by %s now, and ends here",
                uuid_to_text(&job->spec->id, id), owner);
        mesh->ops.notice(mesh->userdata, LOG_NOTICE, MESSAGE_JOB_YIELDED, text);
        if (job_is_out(job) && !job->place)
                mesh->ops.kill(mesh->userdata, &job->run);
        job->moved = true;
        job_finish(mesh, job, JOB_CANCELLED, NULL, NULL);
}

/* An end that was told here, and does not count: to be written until it is. */
struct merge {
        struct list_link link; /* in mesh.unmerged */
        struct run_id run;     /* its epoch: that of the merged end */
        enum job_status status;
};

static int write_merged(struct mesh *mesh, const struct run_id *run, enum job_status status) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;
        int r;

        r = record_batch_new(1, &batch);
        if (r < 0)
                return r;
        record = record_batch_add(batch, RECORD_MERGED);
        record->run = *run;
        record->status = status;
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        mesh_write(mesh, TAKE_PTR(batch));
        return 0;
}

/* Of two ends that were told on the two sides of a split one counts everywhere, job-end.h says which. */
void ends_merge(struct mesh *mesh, const struct uuid *id) {
        char text[256], id_text[UUID_TEXT_SIZE];
        enum job_status own;
        struct job_end best;
        struct run_id run;

        if (!index_own_is_beaten(mesh, id, &own, &best))
                return;
        /* The end that was told there stays before what is a word about it here. */
        run = (struct run_id){ .job = *id, .epoch = MIN(best.epoch + 1, LINK_EPOCH_MAX) };
        if (write_merged(mesh, &run, best.status) < 0)
                return;
        (void) snprintf(
                text, sizeof(text), "job %s ended here as %s and on %s as %s, which counts",
                uuid_to_text(id, id_text), job_status_to_text(own), best.owner_node_id,
                job_status_to_text(best.status));
        mesh->ops.notice(mesh->userdata, LOG_WARNING, MESSAGE_JOB_MERGED, text);
        index_own_merged(mesh, id, best.status, run.epoch);
}

void merge_written(struct mesh *mesh, const struct record *record, int error) {
        struct merge *merge;

        if (error >= 0 || !(merge = calloc(1, sizeof(*merge))))
                return; /* after a restart the other owner tells of it again */
        merge->run = record->run;
        merge->status = record->status;
        list_append(&mesh->unmerged, &merge->link);
}

void merges_drop(struct mesh *mesh, bool write) {
        struct list unmerged;
        struct merge *merge;

        list_move(&mesh->unmerged, &unmerged);
        LIST_FOREACH(&unmerged, merge, struct merge, link) {
                list_remove(&merge->link);
                if (write)
                        (void) write_merged(mesh, &merge->run, merge->status);
                free(merge);
        }
}

void takeover_heard(
        struct mesh *mesh, const char *owner, const struct uuid *id, enum job_status status,
        uint64_t epoch) {
        struct mesh_job *job = job_find(mesh, id);
        bool rightly;

        if (!job || (job->told && !job->moved)) {
                ends_merge(mesh, id);
                return;
        }
        if (!job->durable || job->state == JOB_STATE_ENDED)
                return;
        /* What has ended somewhere is not run again. */
        rightly = job_status_is_final(status) || epoch > job->epoch ||
                  (epoch == job->epoch && strcmp(owner, mesh->config.node_id) > 0);
        if (rightly)
                yield_to(mesh, job, owner);
}
