/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs: what the executor reports, what is compared after a connection was lost, and how a run is ended
 * early. */

#include "mesh/internal.h"

static int write_cancel(struct mesh *mesh, struct mesh_job *job) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (record_batch_new(1, &batch) < 0 || !(record = job_record(job, batch, RECORD_CANCEL)))
                return -ENOMEM;
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        batch->urgent = true;
        mesh_write(mesh, TAKE_PTR(batch));
        return 0;
}

/* The job of this very run, wherever it is, or NULL. */
static struct mesh_job *job_of_run(struct mesh *mesh, const struct run_id *run) {
        struct mesh_job *job = job_find(mesh, &run->job);

        return job && run_id_equal(&job->run, run) ? job : NULL;
}

void run_began(struct mesh *mesh, struct mesh_job *job, usec_t started_at) {
        job_enter(mesh, job, JOB_STATE_RUNNING);
        job->started_at = started_at;
        list_append(&mesh->started, &job->started_link);
        if (mesh->started_due == USEC_INFINITY)
                mesh->started_due = usec_add(mesh_now(mesh), STARTED_DELAY_USEC);
        index_own_changed(mesh, job);
        if (job->place && mesh->ops.began_elsewhere)
                mesh->ops.began_elsewhere(mesh->userdata, &job->run.job);
}

/* The job of a run of our executor: not one that is about to be taken over, and whose run is a guest as long
 * as the disk does not say otherwise. */
static struct mesh_job *job_of_own_run(struct mesh *mesh, const struct run_id *run) {
        struct mesh_job *job = job_of_run(mesh, run);

        return job && !job->place && !guest_of_run(mesh, run) ? job : NULL;
}

void mesh_run_started(struct mesh *mesh, const struct run_id *run, usec_t started_at) {
        struct mesh_job *job = job_of_own_run(mesh, run);

        if (job && job->state == JOB_STATE_SENT)
                run_began(mesh, job, started_at);
        else if (job || !guest_run_started(mesh, run, started_at))
                return;
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}

/* Writes those down that still run; most short ones have ended meanwhile and need no record of their start.
 */
void runs_write_started(struct mesh *mesh) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct mesh_job *job;

        if (list_is_empty(&mesh->started))
                return;
        if (record_batch_new(1, &batch) < 0) {
                mesh->started_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
                return;
        }

        LIST_FOREACH(&mesh->started, job, struct mesh_job, started_link) {
                struct record *record = job_record(job, batch, RECORD_STARTED);

                if (!record)
                        break;
                record->at_usec = job->started_at;
                list_remove(&job->started_link);
        }
        mesh_write(mesh, TAKE_PTR(batch));
}

static void update_average(struct mesh *mesh, usec_t duration_usec) {
        usec_t duration = MAX(duration_usec, (usec_t) 1);

        mesh->last_end_usec = mesh_now(mesh);
        mesh->run_average_usec =
                mesh->run_average_usec == 0 ? duration : (mesh->run_average_usec * 7 + duration) / 8;
}

/* A job that must not start twice, and may have begun. */
static bool loss_ends(const struct mesh_job *job) {
        return job->spec->rules.loss_is_failure && job->may_have_begun;
}

/* Who may have taken it over has not said yet: it may run there. */
static bool loss_must_wait(struct mesh_job *job) {
        job->loss_waits = job->held_back && loss_ends(job);
        return job->loss_waits;
}

/* The node that had it is lost, or lost it. */
void job_attempt_lost(struct mesh *mesh, struct mesh_job *job) {
        if (loss_must_wait(job))
                return;
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled; the node that had it is lost");
        else if (loss_ends(job))
                job_finish(
                        mesh, job, JOB_FAILED, NULL,
                        "node lost: the node that had the job is gone, or lost it; it may have run there");
        else
                job_give_up(mesh, job, ATTEMPT_LOST, NULL);
}

/* One that takes its executor with it would do so on one node after the other. */
static bool kills_executors(const struct mesh_job *job) {
        return job->n_executors_lost >= EXECUTORS_LOST_MAX;
}

static void job_executor_lost(struct mesh *mesh, struct mesh_job *job) {
        job->n_executors_lost++;
        job_give_up(mesh, job, ATTEMPT_EXECUTOR_LOST, NULL);
}

/* Whether a run left nothing behind: handed back by a node that drains, never understood by an executor that
 * leaves, or gone with a node that was away for so short a time that nobody missed it. */
static bool begins_again(const struct mesh_job *job, const struct job_result *result) {
        bool ran = result->started_at > 0;

        if (result->outcome == RUN_LOST)
                return job->place || !kills_executors(job);
        return result->outcome == RUN_KILLED && !ran;
}

/* Ended by the node that ran it, since it is drained, in this life or the one before. Takes the reference.
 */
static void run_was_drained(struct mesh *mesh, struct mesh_job *job, struct job_result *result) {
        if (job->spec->rules.loss_is_failure) {
                job_finish(
                        mesh, job, JOB_FAILED, result,
                        result->drained
                                ? "ended by the drain of its node; it does not begin again, since it "
                                  "may not start twice"
                                : "ended by its node; it does not begin again, since it may not start "
                                  "twice");
                return;
        }
        job_give_up(mesh, job, ATTEMPT_DRAINED, result);
        job_result_unref(result);
}

/* What a result means for its job. Takes the reference. */
void run_concluded(struct mesh *mesh, struct mesh_job *job, struct job_result *result) {
        bool ran = result->started_at > 0;

        if (result->outcome == RUN_LOST && job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, result, "cancelled; the executor no longer had it");
        else if (result->outcome == RUN_KILLED && job->cancel_requested)
                job_finish(
                        mesh, job, JOB_CANCELLED, result, ran ? "cancelled" : "cancelled before it started");
        else if ((result->drained || result->outcome == RUN_KILLED) && ran)
                run_was_drained(mesh, job, result);
        else if (result->outcome == RUN_LOST && loss_ends(job))
                job_finish(
                        mesh, job, JOB_FAILED, result,
                        "node lost: the executor that had the job has ended; it may have run");
        else if (
                begins_again(job, result) && job->spec->rules.loss_is_failure &&
                job->run.epoch != job->epoch)
                job_finish(
                        mesh, job, JOB_FAILED, result,
                        "node lost: the node that owned the job is gone; it may have begun it");
        else if (begins_again(job, result)) {
                if (result->outcome == RUN_LOST)
                        job_executor_lost(mesh, job);
                else
                        job_give_up(mesh, job, ATTEMPT_NEVER_BEGAN, NULL);
                job_result_unref(result);
        } else if (job_may_be_retried(job, result)) {
                job_give_up(mesh, job, ATTEMPT_FAILED, result);
                job_result_unref(result);
        } else
                job_finish(mesh, job, job_result_status(result), result, NULL);
}

void mesh_run_ended(struct mesh *mesh, struct job_result *result) {
        struct mesh_job *job = job_of_own_run(mesh, &result->run);

        if (result->outcome == RUN_EXITED)
                update_average(mesh, result->duration_usec);
        if (!job && guest_run_ended(mesh, result)) {
                jobs_schedule(mesh);
                mesh->ops.status_changed(mesh->userdata);
                mesh_arm(mesh);
                return;
        }
        if (!job || !job_is_out(job)) {
                /* An end that is on its way to the disk is told again after a reconnect; it is released when
                 * it is durable. Anything else is of a job that has ended here, or that nobody was told of.
                 */
                if (!job || job->state != JOB_STATE_ENDED || job->withdrawn || job->moved)
                        mesh->ops.release(mesh->userdata, &result->run);
                job_result_unref(result);
                return;
        }
        if ((job->handed_back || mesh->hands_back) && result->outcome == RUN_KILLED)
                result->drained = true;
        run_concluded(mesh, job, result);
        jobs_schedule(mesh);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}

void mesh_executor_lost(struct mesh *mesh) {
        mesh->executor_connected = false;
        mesh->ops.status_changed(mesh->userdata);
}

/* A run that the executor has: is it still wanted? */
static void compare_known(struct mesh *mesh, const struct mesh_known_run *known) {
        struct mesh_job *job = job_of_run(mesh, &known->run);

        if (guest_compare_known(mesh, known))
                return;
        if (!job || job->place || !job_is_out(job)) {
                /* Of an end the exited event follows, and is answered with a release. */
                if (!known->ended)
                        mesh->ops.kill(mesh->userdata, &known->run);
                return;
        }

        job->seen = job->may_have_begun = true;
        job->loss_waits = false;
        if (known->started && job->state == JOB_STATE_SENT)
                run_began(mesh, job, known->started_at);
        job->handed_back = job->handed_back || mesh->hands_back;
        if ((job->cancel_requested || job->handed_back) && !known->ended)
                mesh->ops.kill(mesh->userdata, &known->run);
        else if (mesh->draining && job->state == JOB_STATE_SENT)
                mesh->ops.withdraw(mesh->userdata, &known->run);
}

static void conclude_lost(struct mesh *mesh, struct mesh_job *job) {
        if (loss_must_wait(job))
                return;
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled; its executor has ended");
        else if (loss_ends(job))
                job_finish(
                        mesh, job, JOB_FAILED, NULL,
                        "node lost: the executor that had the job has ended; it may have run");
        else if (kills_executors(job))
                job_finish(
                        mesh, job, JOB_FAILED, NULL,
                        "lost: the executor ended again and again while the job ran");
        else
                job_executor_lost(mesh, job);
}

/* A job that we gave to an executor, and that this one does not have. */
static void compare_missing(struct mesh *mesh, struct mesh_job *job) {
        bool same_executor = uuid_equal(&job->executor, &mesh->executor);

        /* The same process forgets nothing before it is told to: the start never reached it. */
        if (same_executor && job->state == JOB_STATE_SENT)
                job->may_have_begun = false;
        if (same_executor && job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
        else if (same_executor && !mesh->draining && job->state == JOB_STATE_SENT && !job->held_back)
                job_send(mesh, job);
        else
                conclude_lost(mesh, job);
}

void mesh_executor_synchronised(
        struct mesh *mesh, const struct uuid *instance, const struct mesh_known_run *runs, size_t n_runs) {
        struct mesh_job *job;
        struct list compared;

        mesh->executor = *instance;
        mesh->executor_connected = true;

        LIST_FOREACH(&mesh->in_hand, job, struct mesh_job, hand_link)
                job->seen = false;
        for (size_t i = 0; i < n_runs; i++)
                compare_known(mesh, &runs[i]);

        list_move(&mesh->in_hand, &compared);
        while ((job = LIST_FIRST(&compared, struct mesh_job, hand_link))) {
                list_remove(&job->hand_link);
                list_append(&mesh->in_hand, &job->hand_link);
                if (!job->seen && job->state != JOB_STATE_ASSIGNING)
                        compare_missing(mesh, job);
        }
        guests_compare_done(mesh);

        jobs_schedule(mesh);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}

void job_cancel_written(struct mesh *mesh, struct mesh_job *job) {
        if (!job_is_out(job) || !job->cancel_requested)
                return;
        if (job->place)
                place_send_run(mesh, job->place, &job->run, WORD_KILL);
        else
                mesh->ops.kill(mesh->userdata, &job->run);
}

int mesh_cancel(struct mesh *mesh, const struct uuid *id) {
        struct mesh_job *job = job_find(mesh, id);

        if (!job)
                return MESH_CANCEL_UNKNOWN;
        if (job->told)
                return MESH_CANCEL_UNKNOWN;
        job->awaited = true;
        if (job->cancel_requested || job->state == JOB_STATE_ENDED)
                return MESH_CANCEL_STARTED;

        job->cancel_requested = true;
        keeper_changed(mesh, job);
        switch (job->state) {
        case JOB_STATE_QUEUED:
                /* One whose acceptance or assignment is still on its way ends when that has arrived. */
                if (job->durable)
                        job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
                break;
        case JOB_STATE_DELAYED:
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled while it waited to be tried again");
                break;
        case JOB_STATE_SENT:
        case JOB_STATE_RUNNING:
                /* A run that was killed, and nobody knows any more why, would begin again. */
                if (write_cancel(mesh, job) < 0)
                        job_cancel_written(mesh, job);
                break;
        case JOB_STATE_ASSIGNING:
        case JOB_STATE_ENDED:
        case _JOB_STATE_MAX:
                break;
        }
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
        return MESH_CANCEL_STARTED;
}

bool mesh_job_is_awaited(struct mesh *mesh, const struct uuid *id) {
        struct mesh_job *job = job_find(mesh, id);

        if (!job || job->told)
                return false;
        if (!job->awaited && list_is_linked(&job->hand_link))
                mesh->ops.hurry(mesh->userdata);
        job->awaited = true;
        return true;
}

usec_t mesh_patience(const struct mesh *mesh) {
        const struct mesh_job *job;
        size_t n = 0, slots = mesh->config.slots;
        usec_t usec;

        if (mesh->draining || slots == 0 || !job_next_here(mesh))
                return 0;
        /* Who waits for a run of another owner is known to that one alone. */
        if (mesh->n_guests_in_hand > 0)
                return 0;
        LIST_FOREACH(&mesh->in_hand, job, struct mesh_job, hand_link) {
                if (job->awaited || job->cancel_requested)
                        return 0;
                n += job->state != JOB_STATE_ASSIGNING;
        }
        if (n <= slots)
                return 0;
        usec = (n - slots) * mesh->run_average_usec / slots / 2;
        return usec < PATIENCE_MIN_USEC ? 0 : MIN(usec, PATIENCE_MAX_USEC);
}

bool mesh_job_current_run(struct mesh *mesh, const struct uuid *id, struct run_id *ret) {
        struct mesh_job *job = job_find(mesh, id);

        if (!job || job->place || !job_is_out(job))
                return false;
        *ret = job->run;
        return true;
}
