/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A job's output as a stream of pieces: from the executor while it runs, from the store when it has ended.
 */

#include <inttypes.h>
#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"

static void next_piece(struct ops_call *call);
static void query_store(struct ops_call *call);

void output_call_done(struct ops_call *call) {
        executor_read_cancel(call->output.read);
        call->output.ask = ask_cancel(call->output.ask);
}

static struct link_position position_of(const struct ops_call *call) {
        return (struct link_position){
                .offset = call->output.offset,
                .end = call->output.end == UINT64_MAX ? 0 : call->output.end,
                .kept = call->output.from_store,
        };
}

void output_call_deliver(struct ops_call *call, const char *data, size_t size, bool ended) {
        struct ops_output piece = {
                .problem = call->problem,
                .data = data,
                .size = size,
                .ended = ended,
                .next = position_of(call),
        };
        ops_output_t handler = call->output.handler;
        void *userdata = call->userdata;

        call->output.wanted = false;
        if (ended)
                call_free(call);
        handler(userdata, &piece);
}

static void answer_problem(struct ops_call *call) {
        output_call_deliver(call, NULL, 0, /* ended= */ true);
}

static void fail(struct ops_call *call) {
        call_later(call, answer_problem);
}

static const char *stream_name(const struct ops_call *call) {
        return call->output.stream == 1 ? "stdout" : "stderr";
}

/* Where in the kept text the stream goes on at offset. */
static uint64_t offset_in_kept(const struct ops_call *call, const struct stored_job *job, uint64_t kept) {
        bool truncated = call->output.stream == 1 ? job->stdout_truncated : job->stderr_truncated;
        uint64_t total = call->output.stream == 1 ? job->stdout_total : job->stderr_total;

        return truncated ? job_output_position(kept, total, truncated, call->output.offset)
                         : call->output.offset;
}

/* For the store it has not ended. A job that the mind does not know ended after the store was asked; one
 * that it still does not know then is in the file only, and will never end. */
static void look_on(struct ops_call *call) {
        if (mesh_job_is_awaited(call->ops->mesh, &call->id))
                next_piece(call);
        else if (!call->output.unknown) {
                call->output.unknown = true;
                query_store(call);
        } else {
                problem_set(
                        &call->problem, PROBLEM_GONE,
                        "the record of this job is damaged, and the node could not take it up again");
                answer_problem(call);
        }
}

bool output_is_allowed(struct ops_call *call, const struct stored_job *job) {
        call->output.allowed = call->output.allowed || call_may_read(call, job);
        if (!call->output.allowed)
                problem_set(
                        &call->problem, PROBLEM_FORBIDDEN,
                        "only who submitted the job, root, the user that runs the node, and members of "
                        "group worker-mesh may read its %s",
                        stream_name(call));
        return call->output.allowed;
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
        answer_problem(call);
}

static void on_stored(void *userdata, const struct store_answer *found) {
        struct ops_call *call = userdata;
        const struct stored_job *job = found->n_jobs > 0 ? &found->jobs[0] : NULL;

        call->query = NULL;
        if (found->error < 0) {
                problem_set_errno(&call->problem, found->error);
                answer_problem(call);
                return;
        }
        if (!job || !remote_is_not_needed(call, job)) {
                look_elsewhere(call);
                return;
        }
        if (!output_is_allowed(call, job)) {
                answer_problem(call);
                return;
        }

        if (!job_status_is_final(job->status)) {
                call->output.stored_run = (struct run_id){
                        .job = call->id,
                        .epoch = job->epoch,
                        .attempt = job->attempt,
                };
                look_on(call);
                return;
        }
        if (!call->output.from_store) {
                uint64_t offset = offset_in_kept(call, job, found->data_kept);
                bool same = offset == call->output.offset;

                call->output.from_store = true;
                call->output.offset = offset;
                if (!same) {
                        next_piece(call);
                        return;
                }
        }
        call->output.offset += found->data_size;
        output_call_deliver(call, found->data, found->data_size, call->output.offset >= found->data_kept);
}

static void query_store(struct ops_call *call) {
        int r;

        r = store_read_output(
                call->ops->store, &call->id, call->output.stream, call->output.offset, OPS_STREAM_PIECE,
                on_stored, call, &call->query);
        if (r < 0) {
                problem_set_errno(&call->problem, r);
                fail(call);
        }
}

void output_call_retry(struct ops_call *call) {
        call_stop_waiting(call);
        next_piece(call);
}

/* The executor has nothing of it: it waits in the queue, or has just ended, with or without a run. */
static void wait_for_run(struct ops_call *call) {
        if (!mesh_job_is_awaited(call->ops->mesh, &call->id))
                query_store(call);
        else if (!call->output.follow)
                output_call_deliver(call, NULL, 0, /* ended= */ true);
        else if (call_wait_for_job(call, &call->id) < 0) {
                problem_set_errno(&call->problem, -ENOMEM);
                fail(call);
        }
}

static void executor_refused(struct ops_call *call, int error) {
        if (error == -ENOENT || (error == -ENOTCONN && call->output.follow)) {
                wait_for_run(call);
                return;
        }
        if (error == -ENOTCONN)
                problem_set(
                        &call->problem, PROBLEM_EXECUTOR_AWAY,
                        "the executor, which has the output of this job, is away; try again soon");
        else if (error == -EBUSY)
                problem_set(
                        &call->problem, PROBLEM_TOO_MANY_CALLS,
                        "too many clients read outputs of running jobs");
        else
                problem_set(
                        &call->problem, PROBLEM_INTERNAL, "the executor cannot read the output: %s",
                        strerror(-error));
        fail(call);
}

/* The reader was slower than the job, and the executor kept only head and tail: says so in the stream. */
static void
deliver_after_gap(struct ops_call *call, uint64_t gap, const char *data, size_t size, bool ended) {
        _cleanup_free_ char *text = malloc(JOB_OUTPUT_GAP_MAX + size);
        int n;

        if (!text) {
                problem_set_errno(&call->problem, -ENOMEM);
                fail(call);
                return;
        }
        n = snprintf(text, JOB_OUTPUT_GAP_MAX, JOB_OUTPUT_GAP_FORMAT, gap);
        if (size > 0)
                memcpy(text + n, data, size);
        output_call_deliver(call, text, (size_t) n + size, ended);
}

/* Of the executor of this node, or of another one. */
static void on_executor_output(void *userdata, const struct executor_output *output) {
        struct ops_call *call = userdata;
        uint64_t begin, limit, gap;
        size_t size;
        bool ended;

        call->output.read = NULL;
        if (output->error < 0) {
                executor_refused(call, output->error);
                return;
        }

        /* A job may print faster than the client reads. */
        if (!call->output.follow && call->output.end == UINT64_MAX && output->total > 0)
                call->output.end = output->total;
        limit = MAX(call->output.end, call->output.offset);
        begin = MIN(MAX(output->offset, call->output.offset), limit);
        size = (size_t) MIN((uint64_t) output->size, limit - begin);
        gap = begin - call->output.offset;

        call->output.offset = begin + size;
        ended = output->ended || call->output.offset >= limit || (size == 0 && !call->output.follow);
        if (gap > 0)
                deliver_after_gap(call, gap, output->data, size, ended);
        else
                output_call_deliver(call, output->data, size, ended);
}

/* One that has ended is not the mind's current run any more, but until its end is durable the executor keeps
 * what it wrote. */
static bool find_run(struct ops_call *call, struct run_id *ret) {
        if (mesh_job_current_run(call->ops->mesh, &call->id, ret))
                return true;
        *ret = call->output.stored_run;
        return ret->attempt > 0 && mesh_job_is_awaited(call->ops->mesh, &call->id);
}

static int on_ask_again(sd_event_source *source, uint64_t usec, void *userdata) {
        struct ops_call *call = userdata;

        call->timer = sd_event_source_disable_unref(call->timer);
        next_piece(call);
        return 0;
}

/* The node that runs it does not answer. Whoever follows waits for it as long as the mind does, which gives
 * the run to another node when this one is lost. */
static void runner_is_away(struct ops_call *call, const char *node_id) {
        usec_t now = now_usec(CLOCK_BOOTTIME);

        if (call->output.asks_until == 0)
                call->output.asks_until = usec_add(now, REMOTE_PATIENCE_USEC);
        if ((call->output.follow || now < call->output.asks_until) &&
            call_set_timer(call, REMOTE_RETRY_USEC, on_ask_again) >= 0)
                return;
        problem_set(
                &call->problem, PROBLEM_NODE_AWAY,
                "the node that runs this job, %s, does not answer; try again soon", node_id);
        fail(call);
}

static void on_runner_answer(void *userdata, int error, const struct link_answer *answer) {
        struct ops_call *call = userdata;
        enum problem_code code = error < 0 ? PROBLEM_NODE_AWAY : answer_problem_code(answer);
        struct executor_output output = {};
        struct run_id run;
        char node_id[NODE_ID_MAX + 1] = "";

        call->output.ask = NULL;
        (void) mesh_job_place(call->ops->mesh, &call->id, &run, node_id);
        if (code == PROBLEM_NODE_AWAY || code == PROBLEM_EXECUTOR_AWAY) {
                runner_is_away(call, node_id);
                return;
        }
        call->output.asks_until = 0;
        if (code == PROBLEM_NOT_FOUND)
                output.error = -ENOENT;
        else if (code == PROBLEM_TOO_MANY_CALLS)
                output.error = -EBUSY;
        else if (code != PROBLEM_NONE)
                output.error = -EREMOTEIO;
        if (code == PROBLEM_NONE && answer->size == 0 && !answer->ended && call->output.follow) {
                next_piece(call); /* nothing yet */
                return;
        }
        output.offset = answer->offset;
        output.data = answer->data;
        output.size = answer->size;
        output.ended = answer->ended;
        output.total = answer->total;
        on_executor_output(call, &output);
}

static void read_elsewhere(struct ops_call *call, const struct run_id *run, const char *node_id) {
        const struct link_call question = {
                .kind = LINK_CALL_RUN_OUTPUT,
                .run = *run,
                .stream = call->output.stream,
                .position = { .offset = MIN(call->output.offset, (uint64_t) INT64_MAX) },
                .wait_usec = call->output.follow ? ASK_WAIT_USEC : 0,
                .uid = (uid_t) -1,
        };

        if (ask_begin(
                    call->ops, node_id, &question, usec_add(question.wait_usec, ASK_USEC), on_runner_answer,
                    call, &call->output.ask) < 0)
                runner_is_away(call, node_id);
}

static void next_piece(struct ops_call *call) {
        char node_id[NODE_ID_MAX + 1];
        struct run_id run;
        int r;

        if (call->remote) {
                remote_output_next(call);
                return;
        }

        if (call->output.from_store || !call->output.allowed) {
                query_store(call);
                return;
        }
        if (mesh_job_place(call->ops->mesh, &call->id, &run, node_id)) {
                read_elsewhere(call, &run, node_id);
                return;
        }
        if (!find_run(call, &run)) {
                wait_for_run(call);
                return;
        }
        r = executor_client_read(
                call->ops->executor, &run, call->output.stream, call->output.offset, call->output.follow,
                on_executor_output, call, &call->output.read);
        if (r < 0)
                executor_refused(call, r);
}

int output_call_new(
        struct ops *ops, const struct caller *caller, const struct uuid *id, int stream, bool follow,
        ops_output_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call;
        int r;

        r = call_new(ops, CALL_OUTPUT, caller, userdata, &call);
        if (r < 0)
                return r;
        call->id = *id;
        call->output.handler = handler;
        call->output.stream = stream;
        call->output.end = UINT64_MAX;
        call->output.follow = follow;
        *ret = call;
        return 0;
}

void output_call_begin(struct ops_call *call) {
        call->output.wanted = true;
        if (call->problem.code != PROBLEM_NONE)
                fail(call);
        else
                query_store(call); /* there it is known whose it is */
}

int ops_read_output(
        struct ops *ops, const struct caller *caller, const struct uuid *id, int stream, uint64_t offset,
        bool follow, ops_output_t handler, void *userdata, struct ops_call **ret) {
        int r;

        r = output_call_new(ops, caller, id, stream, follow, handler, userdata, ret);
        if (r < 0)
                return r;
        (*ret)->output.offset = offset;
        output_call_begin(*ret);
        return 0;
}

void ops_output_next(struct ops_call *call) {
        if (call->output.wanted)
                return;
        call->output.wanted = true;
        call_later(call, next_piece);
}
