/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the mind writes about its jobs, and what follows when the disk has it, or could not take it. */

#include "mesh/internal.h"

int job_attempt_record(struct mesh *mesh, struct mesh_job *job, struct record_batch *batch) {
        struct record *record;

        if (job->lost_fate == ATTEMPT_NEVER_BEGAN)
                return 0;
        record = record_batch_add(batch, RECORD_ATTEMPT);
        if (!record)
                return -ENOMEM;
        record->fate = job->lost_fate;
        record->run = job->lost_run;
        record->spec = job_spec_ref(job->spec);
        record->node = job->lost_at ? node_name_ref(job->lost_at) : NULL;
        record->result = job->lost_result && !job->lost_is_late ? job_result_ref(job->lost_result) : NULL;
        record->started_at = job->lost_started_at;
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        return 0;
}

void job_write_given_up(struct mesh *mesh, struct mesh_job *job) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (record_batch_new(2, &batch) < 0 || !(record = job_record(job, batch, RECORD_REQUEUED)) ||
            (job->lost && job_attempt_record(mesh, job, batch) < 0)) {
                job->lost_unsaved = true;
                list_append(&mesh->unsaved, &job->retry_link);
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
                return;
        }
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        job->lost_unsaved = false;
        mesh_write(mesh, TAKE_PTR(batch));
}

/* The job went on before the store could take what is to be remembered of the attempt. */
static void write_attempt(struct mesh *mesh, struct mesh_job *job) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;

        /* Out of memory: it is history, and nothing depends on it. */
        if (record_batch_new(1, &batch) >= 0 && job_attempt_record(mesh, job, batch) >= 0)
                mesh_write(mesh, TAKE_PTR(batch));
}

/* The place does not wait for it any more, and does not know that yet. */
static void tell_lost(struct mesh *mesh, struct mesh_job *job) {
        struct place *place = job->lost_at ? place_find(mesh, job->lost_at->text) : NULL;

        if (!job->lost_at)
                mesh->ops.release(mesh->userdata, &job->lost_run);
        else if (job->lost_is_late)
                late_write(mesh, job->lost_at, job->spec, job->lost_result);
        else if (place)
                /* What may still run there is ended, and told of, before it is forgotten. */
                place_send_run(
                        mesh, place, &job->lost_run,
                        job->lost_fate == ATTEMPT_LOST ? WORD_KILL : WORD_RETIRE);
}

/* The disk says that all attempts up to this one are over. */
static void attempts_are_over(struct mesh *mesh, struct mesh_job *job, uint32_t attempt) {
        job->given_up = MAX(job->given_up, attempt);
        if (!job->lost || job->lost_run.attempt > attempt)
                return;
        if (job->lost_unsaved)
                write_attempt(mesh, job);
        tell_lost(mesh, job);
        job->lost = job->lost_unsaved = job->lost_is_late = false;
        job->lost_at = node_name_unref(job->lost_at);
        job->lost_result = job_result_unref(job->lost_result);
}

static void
given_up_written(struct mesh *mesh, struct mesh_job *job, const struct record *record, int error) {
        if (error >= 0) {
                attempts_are_over(mesh, job, record->run.attempt);
                job_try_again(mesh, job);
                return;
        }
        if (job->lost && run_id_equal(&job->lost_run, &record->run))
                job->lost_unsaved = true;
        if (job_is_between_attempts(job) && run_id_equal(&job->run, &record->run) &&
            !list_is_linked(&job->retry_link))
                list_append(&mesh->unsaved, &job->retry_link);
}

void job_write_end(struct mesh *mesh, struct mesh_job *job) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (record_batch_new(1, &batch) < 0 ||
            !(record = job_record(job, batch, job->moved ? RECORD_MOVED : RECORD_FINISHED))) {
                list_append(&mesh->unsaved, &job->retry_link);
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
                return;
        }
        record->status = job->final_status;
        record->result = job->result ? job_result_ref(job->result) : NULL;
        record->error_message = job->error_message;
        record->at_usec = job->result && job->result->finished_at > 0
                                  ? job->result->finished_at
                                  : mesh->ops.now_realtime(mesh->userdata);
        /* While more work waits nobody gains from a commit of this one alone. */
        batch->urgent = job->awaited || job->cancel_requested || !job_next_here(mesh);
        mesh_write(mesh, TAKE_PTR(batch));
}

void jobs_retry_unsaved(struct mesh *mesh) {
        struct list unsaved;
        struct mesh_job *job;

        /* Those that cannot be written again join the list anew. */
        list_move(&mesh->unsaved, &unsaved);
        while ((job = LIST_FIRST(&unsaved, struct mesh_job, retry_link))) {
                list_remove(&job->retry_link);
                if (job->state == JOB_STATE_ENDED)
                        job_write_end(mesh, job);
                else if (job_is_between_attempts(job))
                        job_write_given_up(mesh, job);
        }
        guests_retry_unsaved(mesh);
        late_retry_unsaved(mesh);
        drain_retry(mesh);
        merges_drop(mesh, /* write= */ true);
        jobs_schedule(mesh);
}

void job_withdraw(struct mesh *mesh, struct mesh_job *job) {
        if (job_is_out(job))
                mesh->ops.kill(mesh->userdata, &job->run);
        if (job->state == JOB_STATE_ENDED || job->lost)
                mesh->ops.release(mesh->userdata, &job->run);
        if (mesh->keeper.state != KEEPER_CHOSEN || job->copy_number == 0) {
                job_free(mesh, job);
                return;
        }
        if (job->answer)
                job->answer->n_uncopied--;
        job->answer = NULL;
        if (job->state != JOB_STATE_ENDED)
                job_enter(mesh, job, JOB_STATE_ENDED);
        job->withdrawn = job->saved = job->told = true;
        keeper_changed(mesh, job);
}

static void accepted_written(struct mesh *mesh, struct mesh_job *job, int error) {
        if (error < 0) {
                job_withdraw(mesh, job);
                return;
        }

        job->durable = true;
        index_own_changed(mesh, job);
        if (job->state != JOB_STATE_QUEUED)
                return;
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
        else
                class_add(mesh, job);
}

/* Between the decision and the disk the world may have changed. */
static bool attempt_is_wanted(const struct mesh *mesh, const struct mesh_job *job) {
        if (job->place)
                return job->place->alive;
        return jobs_may_start(mesh) && uuid_equal(&job->executor, &mesh->executor);
}

static void assigned_written(struct mesh *mesh, struct mesh_job *job, int error) {
        if (error >= 0)
                attempts_are_over(mesh, job, job->run.attempt - 1);
        else if (job->lost)
                job->lost_unsaved = true;
        if (job->state != JOB_STATE_ASSIGNING)
                return;
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
        else if (error < 0 || !attempt_is_wanted(mesh, job))
                job_requeue(mesh, job);
        else
                job_send(mesh, job);
}

static void finished_written(struct mesh *mesh, struct mesh_job *job, int error) {
        if (job->state != JOB_STATE_ENDED)
                return;
        if (error < 0) {
                /* The executor keeps the result, and so do we, until there is room. */
                if (!list_is_linked(&job->retry_link))
                        list_append(&mesh->unsaved, &job->retry_link);
                return;
        }

        attempts_are_over(mesh, job, job->run.attempt);
        job->saved = true;
        job_conclude(mesh, job);
}

static void tell_end(struct mesh *mesh, struct mesh_job *job) {
        if (job->told)
                return;
        job->told = true;
        if (job->moved) {
                mesh->ops.job_moved(mesh->userdata, &job->spec->id);
                return;
        }
        mesh->ops.job_finished(mesh->userdata, job->spec, job->final_status);
        index_own_ended(mesh, job);
        ends_merge(mesh, &job->spec->id);
}

/* Who ran it keeps the result until the keeper has it: that is a second disk, too, where the same follows
 * from it for whoever takes the job over. That it was cancelled does not, nor how often it was tried. */
static bool executor_has_end(const struct mesh_job *job) {
        return job->place && job->result && job->final_status != JOB_CANCELLED &&
               (job->final_status == JOB_COMPLETED || job->spec->rules.retries == 0);
}

void job_conclude(struct mesh *mesh, struct mesh_job *job) {
        bool copied = mesh->keeper.state != KEEPER_CHOSEN || job->end_copied;

        if (!job->saved)
                return;
        if (copied || executor_has_end(job))
                tell_end(mesh, job);
        if (!copied)
                return;
        if (job->withdrawn || (job->moved && !job->place))
                ; /* its run was killed, and is released when it has ended */
        else if (job->place)
                /* Where its end is not the run's, that one is waited for as long as it lasts, and kept as
                 * history. */
                place_send_run(
                        mesh, job->place, &job->run, job->result || job->moved ? WORD_RETIRE : WORD_KILL);
        else if (job->run.attempt > 0)
                mesh->ops.release(mesh->userdata, &job->run);
        job_free(mesh, job);
}

static bool record_is_of_copies(enum record_type type) {
        return type == RECORD_COPY || type == RECORD_COPY_ENDED || type == RECORD_COPY_GONE ||
               type == RECORD_COPIES_SWEPT || type == RECORD_COPIES_KEPT || type == RECORD_COPIES_FORGOTTEN;
}

/* What the outcome of one record means for its job; the job may be gone by then. */
static void record_written(struct mesh *mesh, const struct record *record, int error) {
        struct mesh_job *job = record->spec ? job_find(mesh, &record->run.job) : NULL;

        if (record->type == RECORD_GUEST_TAKEN || record->type == RECORD_GUEST_ENDED ||
            record->type == RECORD_GUEST_GONE) {
                guest_written(mesh, record, error);
                return;
        }
        if (record_is_of_copies(record->type)) {
                copies_written(mesh, record, error);
                return;
        }
        if (record->type == RECORD_MERGED) {
                merge_written(mesh, record, error);
                return;
        }
        if (record->type == RECORD_HOLDER || record->type == RECORD_HOLDER_GONE) {
                keeper_written(mesh, record, error);
                return;
        }
        if (record->type == RECORD_DRAIN || record->type == RECORD_RESUMED) {
                drain_written(mesh, record, error);
                return;
        }
        if (!job)
                return;

        switch (record->type) {
        case RECORD_ACCEPTED:
                accepted_written(mesh, job, error);
                break;
        case RECORD_ASSIGNED:
                if (run_id_equal(&record->run, &job->run))
                        assigned_written(mesh, job, error);
                break;
        case RECORD_FINISHED:
        case RECORD_MOVED:
                finished_written(mesh, job, error);
                break;
        case RECORD_ADOPTED:
                takeover_written(mesh, job, record, error);
                break;
        case RECORD_REQUEUED:
                given_up_written(mesh, job, record, error);
                break;
        case RECORD_CANCEL:
                job_cancel_written(mesh, job);
                break;
        case RECORD_STARTED:
                /* Its loss costs nothing: the resynchronisation after a restart finds it out again. */
        case RECORD_ATTEMPT:
        case RECORD_PEER:
        case RECORD_PEER_GONE:
        case RECORD_GUEST_TAKEN:
        case RECORD_GUEST_ENDED:
        case RECORD_GUEST_GONE:
        case RECORD_MERGED:
        case RECORD_COPY:
        case RECORD_COPY_ENDED:
        case RECORD_COPY_GONE:
        case RECORD_COPIES_SWEPT:
        case RECORD_COPIES_KEPT:
        case RECORD_COPIES_FORGOTTEN:
        case RECORD_HOLDER:
        case RECORD_HOLDER_GONE:
        case RECORD_DRAIN:
        case RECORD_RESUMED:
                break;
        }
}

static void submission_written(struct mesh *mesh, struct answer *answer, int error) {
        if (error >= 0) {
                answer->durable = true;
                answer_check(mesh, answer);
                return;
        }
        mesh->ops.accepted(mesh->userdata, answer->tag, error, 0);
        answer_free(answer);
}

void mesh_written(struct mesh *mesh, struct record_batch *batch, int error) {
        bool submission = batch->n_records > 0 && batch->records[0].type == RECORD_ACCEPTED;

        assert(mesh->n_batches > 0);
        mesh->n_batches--;
        /* In reverse, a batch of assignments that failed comes back to the head of the queue in its old
         * order. */
        if (error < 0 && !submission)
                for (size_t i = batch->n_records; i > 0; i--)
                        record_written(mesh, &batch->records[i - 1], error);
        else
                for (size_t i = 0; i < batch->n_records; i++)
                        record_written(mesh, &batch->records[i], error);

        if (submission)
                submission_written(mesh, batch->owner, error);
        if (batch_is_late_end(batch))
                late_written(mesh, batch, error);
        else
                record_batch_free(batch);
        if (error == 0)
                jobs_schedule(mesh);
        else
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}
