/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One job: its state, its record, its attempt, and its end. What waits is in queue.c, what comes in through
 * submit.c, and what the disk says in written.c. */

#include "mesh/internal.h"

struct mesh_job *job_find(struct mesh *mesh, const struct uuid *id) {
        return MAP_GET(&mesh->jobs, id, sizeof(*id), struct mesh_job, by_id);
}

/* Counts what the world is told of: PENDING and RUNNING. */
static bool state_is_pending(enum job_state state) {
        return state == JOB_STATE_QUEUED || state == JOB_STATE_DELAYED || state == JOB_STATE_ASSIGNING ||
               state == JOB_STATE_SENT;
}

static bool state_is_in_hand(enum job_state state) {
        return state == JOB_STATE_ASSIGNING || state == JOB_STATE_SENT || state == JOB_STATE_RUNNING;
}

static void count_state(struct mesh *mesh, const struct mesh_job *job, enum job_state state, int change) {
        if (state_is_pending(state))
                mesh->n_queued += (size_t) change;
        if (state == JOB_STATE_QUEUED && job->class && job->class->fits_here)
                mesh->n_waiting_here += (size_t) change;
        if (state_is_in_hand(state) && !job->place)
                mesh->n_in_hand += (size_t) change;
        if (state == JOB_STATE_RUNNING && !job->place)
                mesh->n_running += (size_t) change;
}

/* From each state, those that may follow. QUEUED to SENT: a job that starts at once with its acceptance, or
 * is restored. QUEUED to DELAYED: it is restored. */
static const unsigned state_successors[_JOB_STATE_MAX] = {
        [JOB_STATE_QUEUED] = 1u << JOB_STATE_ASSIGNING | 1u << JOB_STATE_SENT | 1u << JOB_STATE_DELAYED |
                             1u << JOB_STATE_ENDED,
        [JOB_STATE_DELAYED] = 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_ENDED,
        [JOB_STATE_ASSIGNING] = 1u << JOB_STATE_SENT | 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_ENDED,
        [JOB_STATE_SENT] = 1u << JOB_STATE_RUNNING | 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_DELAYED |
                           1u << JOB_STATE_ENDED,
        [JOB_STATE_RUNNING] = 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_DELAYED | 1u << JOB_STATE_ENDED,
        [JOB_STATE_ENDED] = 0,
};

/* The one place where a job changes its state: keeps counts and lists in step. Where it is in hand is
 * decided before, and undecided afterwards. */
void job_enter(struct mesh *mesh, struct mesh_job *job, enum job_state state) {
        assert(state_successors[job->state] & (1u << state));

        count_state(mesh, job, job->state, -1);
        count_state(mesh, job, state, +1);
        class_remove(job);
        job_undelay(mesh, job);
        list_remove(&job->retry_link); /* whatever is written next says more */
        if (state_is_in_hand(state) && !list_is_linked(&job->hand_link))
                list_append(job->place ? &job->place->in_hand : &mesh->in_hand, &job->hand_link);
        if (!state_is_in_hand(state))
                list_remove(&job->hand_link);
        if (state != JOB_STATE_RUNNING)
                list_remove(&job->started_link);
        job->state = state;
}

/* The one node that may run it, where the client named one and it is another one. */
static int set_target(struct mesh *mesh, struct mesh_job *job) {
        const char *target = job->spec->target_node_id;
        struct place *place;
        int r;

        if (!target || streq(target, mesh->config.node_id))
                return 0;
        r = place_get(mesh, target, &place);
        if (r >= 0)
                job_set_target(mesh, job, place);
        return r;
}

int job_new(struct mesh *mesh, struct job_spec *spec, struct mesh_job **ret) {
        struct mesh_job *job = calloc(1, sizeof(*job));
        int r;

        if (!job)
                return -ENOMEM;

        job->spec = job_spec_ref(spec);
        job->state = JOB_STATE_QUEUED;
        job->arrival = ++mesh->arrivals;
        job->epoch = 1;
        job->run = (struct run_id){ .job = spec->id, .epoch = job->epoch };
        r = map_add(&mesh->jobs, &job->by_id, &job->spec->id, sizeof(job->spec->id));
        if (r < 0) {
                job_spec_unref(job->spec);
                free(job);
                return r;
        }
        mesh->n_jobs++;
        r = set_target(mesh, job);
        if (r >= 0)
                r = class_join(mesh, job);
        count_state(mesh, job, job->state, +1);
        if (r < 0) {
                job_free(mesh, job);
                return r;
        }

        *ret = job;
        return 0;
}

struct mesh_job *job_free(struct mesh *mesh, struct mesh_job *job) {
        if (!job)
                return NULL;

        keeper_forget(mesh, job);
        if (job->held_back)
                mesh->n_held_back--;
        takeover_announced(mesh, job);
        count_state(mesh, job, job->state, -1);
        mesh->n_jobs--;
        map_remove(&mesh->jobs, &job->by_id);
        class_leave(mesh, job);
        job_undelay(mesh, job);
        list_remove(&job->hand_link);
        list_remove(&job->started_link);
        list_remove(&job->retry_link);
        job_set_place(mesh, job, NULL);
        job_set_target(mesh, job, NULL);
        node_name_unref(job->yielded_by);
        node_name_unref(job->lost_at);
        job_result_unref(job->lost_result);
        job_spec_unref(job->spec);
        job_result_unref(job->result);
        free(job);
        return NULL;
}

/* A record about this job as it is now. */
struct record *job_record(struct mesh_job *job, struct record_batch *batch, enum record_type type) {
        struct record *record = record_batch_add(batch, type);

        if (!record)
                return NULL;
        record->run = job->run;
        record->spec = job_spec_ref(job->spec);
        record->executor = job->executor;
        record->retries_used = job->retries_used;
        record->node = job->place ? node_name_ref(job->place->name) : NULL;
        record->epoch = job->epoch;
        record->cancel_requested = job->cancel_requested;
        return record;
}

/* The attempt begins on paper: from here on the job is that place's, or this executor's. */
void job_begin_attempt(struct mesh *mesh, struct mesh_job *job, struct place *place) {
        job->run.attempt++;
        job->run.epoch = job->epoch;
        job_set_place(mesh, job, place);
        job->executor = place ? UUID_NULL : mesh->executor;
        job->started_at = 0;
        job->may_have_begun = job->sent = job->sent_once = job->traceable = job->taken = job->seen =
                job->claimed = job->handed_back = false;
}

int job_assign(struct mesh *mesh, struct mesh_job *job, struct place *place, struct record_batch *batch) {
        job_begin_attempt(mesh, job, place);
        if (!job_record(job, batch, RECORD_ASSIGNED)) {
                job->run.attempt--;
                job_set_place(mesh, job, NULL);
                return -ENOMEM;
        }
        /* That the one before is over is remembered when this one is on the disk, or the disk would not take
         * it. */
        if (job->lost_unsaved && job_attempt_record(mesh, job, batch) >= 0)
                job->lost_unsaved = false;
        job_enter(mesh, job, JOB_STATE_ASSIGNING);
        if (place)
                keeper_changed(mesh, job);
        return 0;
}

void job_send(struct mesh *mesh, struct mesh_job *job) {
        if (job->state != JOB_STATE_SENT)
                job_enter(mesh, job, JOB_STATE_SENT);
        if (job->place) {
                place_send_job(mesh, job);
                return;
        }
        /* When it cannot be taken now the connection is about to be lost, and the next one begins by
         * comparing what each side has. */
        if (mesh->ops.start(mesh->userdata, &job->run, job->spec) >= 0)
                job->may_have_begun = true;
}

/* Nobody has it any more. */
static void take_back(struct mesh *mesh, struct mesh_job *job, enum job_state state) {
        job_enter(mesh, job, state);
        job_set_place(mesh, job, NULL);
        job->started_at = 0;
        job->executor = UUID_NULL;
        index_own_changed(mesh, job);
}

/* Back to its place in the queue. */
void job_requeue(struct mesh *mesh, struct mesh_job *job) {
        take_back(mesh, job, JOB_STATE_QUEUED);
        if (job->durable)
                class_add(mesh, job);
}

/* Who had it may forget it only when the disk says that it is over: after a restart the same attempt would
 * be given once more. */
void job_give_up(
        struct mesh *mesh, struct mesh_job *job, enum attempt_fate fate, struct job_result *result) {
        assert(fate != ATTEMPT_LATE);

        node_name_unref(job->lost_at);
        job->lost_at = job->place ? node_name_ref(job->place->name) : NULL;
        job_result_unref(job->lost_result);
        job->lost_result = result ? job_result_ref(result) : NULL;
        job->lost = true;
        job->lost_is_late = job->lost_unsaved = false;
        job->lost_fate = fate;
        job->lost_run = job->run;
        job->lost_started_at = result && result->started_at > 0 ? result->started_at : job->started_at;
        if (fate == ATTEMPT_FAILED) {
                job->retries_used++;
                take_back(mesh, job, JOB_STATE_DELAYED);
                job_delay(mesh, job);
        } else
                job_requeue(mesh, job);
        job_write_given_up(mesh, job);
        keeper_changed(mesh, job);
}

/* Takes the result's reference. */
void job_finish(
        struct mesh *mesh, struct mesh_job *job, enum job_status status, struct job_result *result,
        const char *error_message) {
        job_enter(mesh, job, JOB_STATE_ENDED);
        job->final_status = status;
        job->result = result;
        job->error_message = error_message;
        job_write_end(mesh, job);
        keeper_changed(mesh, job);
}

int mesh_restore(
        struct mesh *mesh, struct job_spec *spec, enum job_status status, const struct run_id *run,
        uint64_t epoch, bool in_executor, const struct uuid *executor, const char *executor_node_id,
        usec_t started_at, bool cancel_requested, uint32_t retries_used) {
        struct place *place = NULL;
        struct mesh_job *job;
        int r;

        assert(!mesh->working);

        r = job_new(mesh, spec, &job);
        if (r < 0)
                return r;
        job->durable = true;
        job->run = *run;
        job->cancel_requested = cancel_requested;
        job->retries_used = retries_used;
        job->epoch = epoch;
        job->sent_once = true;
        job->given_up = in_executor ? run->attempt - 1 : run->attempt;
        job->held_back = true;
        mesh->n_held_back++;
        if (!in_executor) {
                index_own_changed(mesh, job);
                if (retries_used > 0) {
                        job_enter(mesh, job, JOB_STATE_DELAYED);
                        job_delay(mesh, job);
                }
                return 0;
        }

        if (executor_node_id && !streq(executor_node_id, mesh->config.node_id)) {
                r = place_get(mesh, executor_node_id, &place);
                if (r < 0)
                        return r;
        }
        job_set_place(mesh, job, place);
        job->executor = *executor;
        job->may_have_begun = true;
        job_enter(mesh, job, JOB_STATE_SENT);
        if (status == JOB_RUNNING) {
                job->started_at = started_at;
                job_enter(mesh, job, JOB_STATE_RUNNING);
        }
        index_own_changed(mesh, job);
        return 0;
}
