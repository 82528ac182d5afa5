/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs from acceptance to the executor's door, and their end: the queue, and what is written when. */

#include <syslog.h>

#include "mesh/internal.h"

struct mesh_job *job_find(struct mesh *mesh, const struct uuid *id) {
        return MAP_GET(&mesh->jobs, id, sizeof(*id), struct mesh_job, by_id);
}

/* Counts what the world is told of: PENDING and RUNNING. */
static bool state_is_pending(enum job_state state) {
        return state == JOB_STATE_QUEUED || state == JOB_STATE_ASSIGNING || state == JOB_STATE_SENT;
}

static bool state_is_in_hand(enum job_state state) {
        return state == JOB_STATE_ASSIGNING || state == JOB_STATE_SENT || state == JOB_STATE_RUNNING;
}

static void count_state(struct mesh *mesh, const struct mesh_job *job, enum job_state state, int change) {
        if (state_is_pending(state))
                mesh->n_queued += (size_t) change;
        if (state == JOB_STATE_QUEUED)
                mesh->n_waiting += (size_t) change;
        if (state_is_in_hand(state) && !job->place)
                mesh->n_in_hand += (size_t) change;
        if (state == JOB_STATE_RUNNING && !job->place)
                mesh->n_running += (size_t) change;
}

/* From each state, those that may follow. QUEUED to SENT: a job that starts at once with its acceptance. */
static const unsigned state_successors[_JOB_STATE_MAX] = {
        [JOB_STATE_QUEUED] = 1u << JOB_STATE_ASSIGNING | 1u << JOB_STATE_SENT | 1u << JOB_STATE_ENDED,
        [JOB_STATE_ASSIGNING] = 1u << JOB_STATE_SENT | 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_ENDED,
        [JOB_STATE_SENT] = 1u << JOB_STATE_RUNNING | 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_ENDED,
        [JOB_STATE_RUNNING] = 1u << JOB_STATE_QUEUED | 1u << JOB_STATE_ENDED,
        [JOB_STATE_ENDED] = 0,
};

static void leave_queue(struct mesh *mesh, struct mesh_job *job) {
        if (list_is_linked(&job->queue_link) && !job->here_only && !job->target)
                mesh->n_backlog--;
        list_remove(&job->queue_link);
}

/* The one place where a job changes its state: keeps counts and lists in step. Where it is in hand is
 * decided before, and undecided afterwards. */
void job_enter(struct mesh *mesh, struct mesh_job *job, enum job_state state) {
        assert(state_successors[job->state] & (1u << state));

        count_state(mesh, job, job->state, -1);
        count_state(mesh, job, state, +1);
        leave_queue(mesh, job);
        list_remove(&job->retry_link); /* whatever is written next says more */
        if (state_is_in_hand(state) && !list_is_linked(&job->hand_link))
                list_append(job->place ? &job->place->in_hand : &mesh->in_hand, &job->hand_link);
        if (!state_is_in_hand(state))
                list_remove(&job->hand_link);
        if (state != JOB_STATE_RUNNING)
                list_remove(&job->started_link);
        job->state = state;
}

/* The one node that may run it, where the client named one. */
static int set_target(struct mesh *mesh, struct mesh_job *job) {
        const char *target = job->spec->target_node_id;
        struct place *place;
        int r;

        if (!target)
                return 0;
        job->here_only = streq(target, mesh->config.node_id);
        if (job->here_only)
                return 0;
        r = place_get(mesh, target, &place);
        if (r >= 0)
                job_set_target(mesh, job, place);
        return r;
}

static int job_new(struct mesh *mesh, struct job_spec *spec, struct mesh_job **ret) {
        struct mesh_job *job = calloc(1, sizeof(*job));
        int r;

        if (!job)
                return -ENOMEM;

        job->spec = job_spec_ref(spec);
        job->state = JOB_STATE_QUEUED;
        job->arrival = ++mesh->arrivals;
        job->run = (struct run_id){ .job = spec->id, .epoch = 1 };
        r = map_add(&mesh->jobs, &job->by_id, &job->spec->id, sizeof(job->spec->id));
        if (r < 0) {
                job_spec_unref(job->spec);
                free(job);
                return r;
        }
        mesh->n_jobs++;
        count_state(mesh, job, job->state, +1);
        r = set_target(mesh, job);
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

        count_state(mesh, job, job->state, -1);
        mesh->n_jobs--;
        map_remove(&mesh->jobs, &job->by_id);
        leave_queue(mesh, job);
        list_remove(&job->hand_link);
        list_remove(&job->started_link);
        list_remove(&job->retry_link);
        job_set_place(mesh, job, NULL);
        job_set_target(mesh, job, NULL);
        node_name_unref(job->lost_at);
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
        record->node = job->place ? node_name_ref(job->place->name) : NULL;
        return record;
}

/* Whether a slot may be filled at all now. */
bool jobs_may_start(const struct mesh *mesh) {
        return mesh->working && mesh->executor_connected && !mesh->draining && !mesh->store_failing &&
               !mesh->rival.elder;
}

size_t hand_limit(const struct mesh *mesh) {
        size_t prefetch = 0;

        if (mesh->config.slots == 0)
                return 0;
        /* Only while runs end in quick succession: those that last keep the places for as long. */
        if (mesh->run_average_usec > 0 && mesh_now(mesh) <= usec_add(mesh->last_end_usec, PREFETCH_USEC))
                prefetch = MIN(
                        mesh->config.slots * PREFETCH_USEC / mesh->run_average_usec, (usec_t) PREFETCH_MAX);
        return mesh->config.slots + prefetch;
}

/* The attempt begins on paper: from here on the job is that place's, or this executor's. */
static void begin_attempt(struct mesh *mesh, struct mesh_job *job, struct place *place) {
        job->run.attempt++;
        job_set_place(mesh, job, place);
        job->executor = place ? UUID_NULL : mesh->executor;
        job->started_at = 0;
        job->sent = job->taken = job->seen = false;
}

int job_assign(struct mesh *mesh, struct mesh_job *job, struct place *place, struct record_batch *batch) {
        begin_attempt(mesh, job, place);
        if (!job_record(job, batch, RECORD_ASSIGNED)) {
                job->run.attempt--;
                job_set_place(mesh, job, NULL);
                return -ENOMEM;
        }
        job_enter(mesh, job, JOB_STATE_ASSIGNING);
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
        (void) mesh->ops.start(mesh->userdata, &job->run, job->spec);
}

static int check_submission(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs) {
        if (mesh->rival.elder)
                return MESH_DUPLICATE;
        if (mesh->draining)
                return MESH_DRAINING;
        if (mesh->store_failing)
                return MESH_STORE_FAILING;
        if (n_specs > mesh->config.queue_max || mesh->n_jobs > mesh->config.queue_max - n_specs)
                return MESH_QUEUE_FULL;

        for (size_t i = 0; i < n_specs; i++)
                if (specs[i]->target_node_id && !streq(specs[i]->target_node_id, mesh->config.node_id) &&
                    !peer_is_here(mesh, specs[i]->target_node_id))
                        return MESH_TARGET_UNKNOWN;
        return MESH_ACCEPTED;
}

static void drop_batch_jobs(struct mesh *mesh, struct record_batch *batch) {
        for (size_t i = 0; i < batch->n_records; i++)
                job_free(mesh, job_find(mesh, &batch->records[i].run.job));
}

/* What finds a free slot begins with its acceptance: one commit for both, and the start may overlap it. But
 * an id that is derived from an Idempotency-Key may come again, from a client that was refused, or that does
 * not know whether it was accepted: such a job starts only when it is certain that it is the only one. */
static bool may_start_undurable(struct mesh *mesh, const struct job_spec *spec) {
        /* Those whose acceptance is on its way to the disk are not in the list yet, and come first all the
         * same. */
        return jobs_may_start(mesh) && mesh->n_waiting == 0 && !spec->has_digest;
}

int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        size_t free_slots = 0, in_hand;
        int r;

        r = check_submission(mesh, specs, n_specs);
        if (r != MESH_ACCEPTED)
                return r;

        r = record_batch_new(n_specs, &batch);
        if (r < 0)
                return r;
        batch->owner = tag;
        batch->urgent = true;

        in_hand = mesh->n_in_hand + mesh->n_guests_in_hand;
        if (may_start_undurable(mesh, specs[0]) && in_hand < mesh->config.slots)
                free_slots = mesh->config.slots - in_hand;

        for (size_t i = 0; i < n_specs; i++) {
                struct mesh_job *job;

                r = job_new(mesh, specs[i], &job);
                if (r < 0) {
                        drop_batch_jobs(mesh, batch);
                        return r == -EEXIST ? MESH_ID_TAKEN : r;
                }
                if (i < free_slots && !job->target)
                        begin_attempt(mesh, job, NULL);
                if (!job_record(job, batch, RECORD_ACCEPTED)) {
                        job_free(mesh, job);
                        drop_batch_jobs(mesh, batch);
                        return -ENOMEM;
                }
                batch->records[i].at_usec = specs[i]->created_at;
        }

        mesh_write(mesh, TAKE_PTR(batch));
        for (size_t i = 0; i < MIN(n_specs, free_slots); i++) {
                struct mesh_job *job = job_find(mesh, &specs[i]->id);

                if (!job->target)
                        job_send(mesh, job);
        }
        mesh->ops.status_changed(mesh->userdata);
        return MESH_ACCEPTED;
}

static struct list *queue_of(struct mesh *mesh, const struct mesh_job *job) {
        if (job->target)
                return &job->target->queue;
        return job->here_only ? &mesh->own_queue : &mesh->queue;
}

/* In order of arrival. What comes back belongs near the head, what is new at the end. */
static void enqueue(struct mesh *mesh, struct mesh_job *job) {
        struct list *queue = queue_of(mesh, job);
        struct list_link *last = queue->root.prev;
        struct mesh_job *other;

        if (queue == &mesh->queue)
                mesh->n_backlog++;
        if (list_is_empty(queue) ||
            CONTAINER_OF(last, struct mesh_job, queue_link)->arrival < job->arrival) {
                list_append(queue, &job->queue_link);
                return;
        }
        LIST_FOREACH(queue, other, struct mesh_job, queue_link)
                if (other->arrival > job->arrival) {
                        list_insert_before(&other->queue_link, &job->queue_link);
                        return;
                }
}

int mesh_restore(
        struct mesh *mesh, struct job_spec *spec, enum job_status status, const struct run_id *run,
        bool in_executor, const struct uuid *executor, const char *executor_node_id, usec_t started_at,
        bool cancel_requested) {
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
        job->given_up = in_executor ? run->attempt - 1 : run->attempt;
        if (!in_executor) {
                enqueue(mesh, job);
                return 0;
        }

        if (executor_node_id && !streq(executor_node_id, mesh->config.node_id)) {
                r = place_get(mesh, executor_node_id, &place);
                if (r < 0)
                        return r;
        }
        job_set_place(mesh, job, place);
        job->executor = *executor;
        job_enter(mesh, job, JOB_STATE_SENT);
        if (status == JOB_RUNNING) {
                job->started_at = started_at;
                job_enter(mesh, job, JOB_STATE_RUNNING);
        }
        return 0;
}

/* Of those that any node may run and those that only this one may, the one that came first. */
static struct mesh_job *next_for_us(struct mesh *mesh) {
        struct mesh_job *any = LIST_FIRST(&mesh->queue, struct mesh_job, queue_link);
        struct mesh_job *own = LIST_FIRST(&mesh->own_queue, struct mesh_job, queue_link);

        if (!any || !own)
                return any ? any : own;
        return own->arrival < any->arrival ? own : any;
}

/* Gives free slots here, and a few places beyond them, to the head of the queue. The attempts travel to the
 * disk together; they are in a hurry only when a slot stands empty. */
static void schedule_here(struct mesh *mesh, size_t limit) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        size_t taken = mesh->n_in_hand + mesh->n_guests_in_hand;
        struct mesh_job *job;

        if (!jobs_may_start(mesh) || taken >= limit || !next_for_us(mesh))
                return;
        if (record_batch_new(limit - taken, &batch) < 0)
                return; /* the next event tries again */
        batch->urgent = taken < mesh->config.slots;

        for (; taken < limit && (job = next_for_us(mesh)); taken++)
                if (job_assign(mesh, job, NULL, batch) < 0)
                        break;
        mesh_write(mesh, TAKE_PTR(batch));
}

/* This node's own slots first, then those of others, and only then the few places beyond the own slots: what
 * waits there could run elsewhere. What is left is told to all, and who has room for that of others asks for
 * it. */
void jobs_schedule(struct mesh *mesh) {
        bool others = places_have_room(mesh);

        guests_start(mesh);
        schedule_here(mesh, others ? mesh->config.slots : hand_limit(mesh));
        places_schedule(mesh);
        if (others && !places_have_room(mesh))
                schedule_here(mesh, hand_limit(mesh));
        backlog_tell(mesh);
        offers_make(mesh);
}

/* Back to its place in the queue. */
static void job_requeue(struct mesh *mesh, struct mesh_job *job) {
        job_enter(mesh, job, JOB_STATE_QUEUED);
        job_set_place(mesh, job, NULL);
        job->started_at = 0;
        job->executor = UUID_NULL;
        if (job->durable)
                enqueue(mesh, job);
}

static void write_given_up(struct mesh *mesh, struct mesh_job *job) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (record_batch_new(1, &batch) < 0 || !(record = job_record(job, batch, RECORD_REQUEUED))) {
                list_append(&mesh->unsaved, &job->retry_link);
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
                return;
        }
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        mesh_write(mesh, TAKE_PTR(batch));
}

/* The attempt is over, and the next may begin. Who had it may forget it only when the disk says so: after a
 * restart the same attempt would be given once more. */
void job_give_up(struct mesh *mesh, struct mesh_job *job) {
        job->lost_at = node_name_unref(job->lost_at);
        if (job->place)
                job->lost_at = node_name_ref(job->place->name);
        job->lost = true;
        job->lost_run = job->run;
        job_requeue(mesh, job);
        write_given_up(mesh, job);
}

/* The disk says that all attempts up to this one are over. */
static void attempts_are_over(struct mesh *mesh, struct mesh_job *job, uint32_t attempt) {
        struct place *place = job->lost_at ? place_find(mesh, job->lost_at->text) : NULL;

        job->given_up = MAX(job->given_up, attempt);
        if (!job->lost || job->lost_run.attempt > attempt)
                return;
        if (place)
                place_send_run(mesh, place, &job->lost_run, WORD_RETIRE);
        else if (!job->lost_at)
                mesh->ops.release(mesh->userdata, &job->lost_run);
        job->lost = false;
        job->lost_at = node_name_unref(job->lost_at);
}

static void
given_up_written(struct mesh *mesh, struct mesh_job *job, const struct record *record, int error) {
        if (error >= 0)
                attempts_are_over(mesh, job, record->run.attempt);
        else if (
                job->state == JOB_STATE_QUEUED && run_id_equal(&job->run, &record->run) &&
                !list_is_linked(&job->retry_link))
                list_append(&mesh->unsaved, &job->retry_link);
}

static void write_end(struct mesh *mesh, struct mesh_job *job) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (record_batch_new(1, &batch) < 0 || !(record = job_record(job, batch, RECORD_FINISHED))) {
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
        batch->urgent = job->awaited || job->cancel_requested || list_is_empty(&mesh->queue);
        mesh_write(mesh, TAKE_PTR(batch));
}

/* Takes the result's reference. */
void job_finish(
        struct mesh *mesh, struct mesh_job *job, enum job_status status, struct job_result *result,
        const char *error_message) {
        job_enter(mesh, job, JOB_STATE_ENDED);
        job->final_status = status;
        job->result = result;
        job->error_message = error_message;
        write_end(mesh, job);
}

void jobs_retry_unsaved(struct mesh *mesh) {
        struct list unsaved;
        struct mesh_job *job;

        /* Those that cannot be written again join the list anew. */
        list_move(&mesh->unsaved, &unsaved);
        while ((job = LIST_FIRST(&unsaved, struct mesh_job, retry_link))) {
                list_remove(&job->retry_link);
                if (job->state == JOB_STATE_ENDED)
                        write_end(mesh, job);
                else if (job->state == JOB_STATE_QUEUED)
                        write_given_up(mesh, job);
        }
        guests_retry_unsaved(mesh);
        jobs_schedule(mesh);
}

static void accepted_written(struct mesh *mesh, struct mesh_job *job, int error) {
        if (error < 0) {
                /* Nobody was told that it exists. */
                if (job->state == JOB_STATE_SENT || job->state == JOB_STATE_RUNNING)
                        mesh->ops.kill(mesh->userdata, &job->run);
                if (job->state == JOB_STATE_ENDED)
                        mesh->ops.release(mesh->userdata, &job->run);
                job_free(mesh, job);
                return;
        }

        job->durable = true;
        if (job->state != JOB_STATE_QUEUED)
                return;
        if (job->cancel_requested)
                job_finish(mesh, job, JOB_CANCELLED, NULL, "cancelled before it started");
        else
                enqueue(mesh, job);
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
        if (job->place)
                place_send_run(mesh, job->place, &job->run, WORD_RETIRE);
        else if (job->run.attempt > 0)
                mesh->ops.release(mesh->userdata, &job->run);
        mesh->ops.job_finished(mesh->userdata, job->spec, job->final_status);
        job_free(mesh, job);
}

/* What the outcome of one record means for its job; the job may be gone by then. */
static void record_written(struct mesh *mesh, const struct record *record, int error) {
        struct mesh_job *job = record->spec ? job_find(mesh, &record->run.job) : NULL;

        if (record->type == RECORD_GUEST_TAKEN || record->type == RECORD_GUEST_ENDED ||
            record->type == RECORD_GUEST_GONE) {
                guest_written(mesh, record, error);
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
                finished_written(mesh, job, error);
                break;
        case RECORD_REQUEUED:
                given_up_written(mesh, job, record, error);
                break;
        case RECORD_STARTED:
        case RECORD_CANCEL:
                /* Their loss costs nothing: the resynchronisation after a restart finds it out again. */
        case RECORD_PEER:
        case RECORD_PEER_GONE:
        case RECORD_GUEST_TAKEN:
        case RECORD_GUEST_ENDED:
        case RECORD_GUEST_GONE:
                break;
        }
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
                mesh->ops.accepted(mesh->userdata, batch->owner, error);
        record_batch_free(batch);
        if (error == 0)
                jobs_schedule(mesh);
        else
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}
