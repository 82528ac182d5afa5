/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One job or many: get, wait, cancel, list. What is told comes from the store, after it is durable. */

#include "api/ops-remote.h"
#include "mesh/mesh.h"

/* The store does not know why a job waits. */
static void tell_pending_reason(struct ops *ops, struct stored_job *job) {
        if (job->status == JOB_PENDING)
                job->pending_reason = mesh_job_pending_reason(ops->mesh, &job->id);
}

void job_call_answer(struct ops_call *call, const struct stored_job *job) {
        struct ops_job answer = {
                .problem = call->problem,
                .job = job,
                .timed_out = call->job.timed_out,
                .accepted = job && call->type == CALL_CANCEL && !job_status_is_final(job->status),
        };
        ops_job_t handler = call->job.handler;
        void *userdata = call->userdata;

        if (job)
                answer.may_read = call_may_read(call, job);
        handler(userdata, &answer);
        call_free(call);
}

static void answer_problem(struct ops_call *call) {
        job_call_answer(call, NULL);
}

/* It is not here: other nodes may have it. */
static void look_elsewhere(struct ops_call *call) {
        int r = remote_begin(call);

        if (r >= 0)
                return;
        if (r == -ENOENT)
                problem_set(&call->problem, PROBLEM_NOT_FOUND, "there is no job with this id on this node");
        else
                problem_set_errno(&call->problem, r);
        job_call_answer(call, NULL);
}

static void on_job(void *userdata, const struct store_answer *found) {
        struct ops_call *call = userdata;

        call->query = NULL;
        if (found->error >= 0 && (found->n_jobs == 0 || !remote_is_not_needed(call, &found->jobs[0]))) {
                look_elsewhere(call);
                return;
        }
        if (found->error < 0)
                problem_set_errno(&call->problem, found->error);
        else
                tell_pending_reason(call->ops, &found->jobs[0]);
        job_call_answer(call, call->problem.code == PROBLEM_NONE ? &found->jobs[0] : NULL);
}

static void query_job(struct ops_call *call, store_answer_t handler) {
        int r;

        r = store_get_jobs(
                call->ops->store, &call->id, 1, /* with_output= */ !call->job.bare, handler, call,
                &call->query);
        if (r < 0) {
                problem_set_errno(&call->problem, r);
                call_later(call, answer_problem);
        }
}

/* The end that this call waited for is durable. */
void job_call_finished(struct ops_call *call) {
        call->timer = sd_event_source_disable_unref(call->timer);
        query_job(call, on_job);
}

static int on_wait_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct ops_call *call = userdata;

        call_stop_waiting(call);
        call->timer = sd_event_source_disable_unref(call->timer);
        call->job.timed_out = true;
        query_job(call, on_job);
        return 0;
}

static int wait_for_end(struct ops_call *call, usec_t wait_usec) {
        int r;

        r = call_wait_for_job(call, &call->id);
        if (r < 0)
                return r;
        return call_set_timer(call, MIN(wait_usec, OPS_WAIT_MAX_USEC), on_wait_over);
}

static int job_call_new(
        struct ops *ops, enum call_type type, const struct caller *caller, const struct uuid *id,
        ops_job_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call;
        int r;

        r = call_new(ops, type, caller, userdata, &call);
        if (r < 0)
                return r;
        call->job.handler = handler;
        call->id = *id;
        *ret = call;
        return 0;
}

int get_call_new(
        struct ops *ops, const struct caller *caller, const struct uuid *id, usec_t wait_usec,
        ops_job_t handler, void *userdata, struct ops_call **ret) {
        int r;

        r = job_call_new(ops, CALL_GET, caller, id, handler, userdata, ret);
        if (r >= 0)
                (*ret)->job.wait_usec = wait_usec;
        return r;
}

int cancel_call_new(
        struct ops *ops, const struct caller *caller, const struct uuid *id, ops_job_t handler,
        void *userdata, struct ops_call **ret) {
        return job_call_new(ops, CALL_CANCEL, caller, id, handler, userdata, ret);
}

bool may_cancel(struct ops_call *call, const struct stored_job *job) {
        if (call->access & ACCESS_SUBMIT)
                return true;
        if (call->caller.uid_known && call->caller.uid == job->submitter_uid)
                return true;
        problem_set(
                &call->problem, PROBLEM_FORBIDDEN,
                "only who submitted the job, root, the user that runs the node, and members of group "
                "worker-mesh may cancel it");
        return false;
}

/* What the store says of the job before anything is done: is it there, is it over, is it the caller's to
 * end? */
static void on_job_to_cancel(void *userdata, const struct store_answer *found) {
        struct ops_call *call = userdata;

        if (found->error < 0 || found->n_jobs == 0 || job_status_is_final(found->jobs[0].status)) {
                on_job(userdata, found);
                return;
        }

        call->query = NULL;
        if (may_cancel(call, &found->jobs[0])) {
                if (mesh_cancel(call->ops->mesh, &call->id) != MESH_CANCEL_STARTED) {
                        query_job(call, on_job); /* it ended in this moment */
                        return;
                }
                if (!found->jobs[0].cancel_requested)
                        ops_tell_cancel(call->ops, &call->id, &call->caller);
                if (wait_for_end(call, OPS_CANCEL_WAIT_USEC) < 0)
                        problem_set_errno(&call->problem, -ENOMEM);
        }

        if (call->problem.code != PROBLEM_NONE)
                call_later(call, answer_problem);
}

void job_call_begin(struct ops_call *call) {
        usec_t wait_usec = call->type == CALL_GET ? call->job.wait_usec : 0;

        if (call->problem.code != PROBLEM_NONE)
                call_later(call, answer_problem);
        else if (call->type == CALL_CANCEL)
                query_job(call, on_job_to_cancel);
        else if (wait_usec > 0 && mesh_job_is_awaited(call->ops->mesh, &call->id)) {
                if (wait_for_end(call, wait_usec) < 0) {
                        problem_set_errno(&call->problem, -ENOMEM);
                        call_later(call, answer_problem);
                }
        } else
                query_job(call, on_job);
}

int ops_get_job(
        struct ops *ops, const struct caller *caller, const struct uuid *id, usec_t wait_usec,
        ops_job_t handler, void *userdata, struct ops_call **ret) {
        int r;

        r = get_call_new(ops, caller, id, wait_usec, handler, userdata, ret);
        if (r >= 0)
                job_call_begin(*ret);
        return r;
}

int ops_cancel_job(
        struct ops *ops, const struct caller *caller, const struct uuid *id, ops_job_t handler,
        void *userdata, struct ops_call **ret) {
        int r;

        r = cancel_call_new(ops, caller, id, handler, userdata, ret);
        if (r >= 0)
                job_call_begin(*ret);
        return r;
}

static void answer_list(struct ops_call *call, const struct store_answer *found) {
        struct ops_list answer = { .problem = call->problem };

        if (found && call->problem.code == PROBLEM_NONE) {
                for (size_t i = 0; i < found->n_jobs; i++)
                        tell_pending_reason(call->ops, &found->jobs[i]);
                answer.jobs = found->jobs;
                answer.n_jobs = found->n_jobs;
                answer.more = found->more;
                answer.next_before = found->next_before;
        }
        call->list.handler(call->userdata, &answer);
        call_free(call);
}

static void answer_list_problem(struct ops_call *call) {
        answer_list(call, NULL);
}

static void on_list(void *userdata, const struct store_answer *found) {
        struct ops_call *call = userdata;

        call->query = NULL;
        if (found->error < 0)
                problem_set_errno(&call->problem, found->error);
        answer_list(call, found);
}

int ops_list_jobs(
        struct ops *ops, const struct caller *caller, enum ops_scope scope, const struct store_list *list,
        ops_list_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call;
        int r;

        r = call_new(ops, CALL_LIST, caller, userdata, &call);
        if (r < 0)
                return r;
        call->list.handler = handler;

        if (call->problem.code == PROBLEM_NONE && scope == OPS_SCOPE_MESH) {
                call->list.query = *list;
                call_later(call, index_call_answer);
        } else if (call->problem.code == PROBLEM_NONE) {
                r = store_list_jobs(ops->store, list, on_list, call, &call->query);
                if (r < 0)
                        problem_set_errno(&call->problem, r);
        }
        if (call->problem.code != PROBLEM_NONE)
                call_later(call, answer_list_problem);

        *ret = call;
        return 0;
}
