/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What other nodes ask of us for their clients: done by the same operations as for clients of our own, from
 * what is here. They have decided who may. Each is answered once; what takes longer is asked again. */

#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"
#include "util/log.h"
#include "util/utf8.h"

struct served {
        struct list_link link; /* in neighbour.served */
        struct ops *ops;
        struct neighbour *neighbour;
        struct link_call question;
        struct ops_call *call;
        struct executor_read *read;
        sd_event_source *timer;
};

/* An answer that does not go out is asked for again when its deadline has passed. */
static void send_answer(struct ops *ops, const char *node_id, const struct link_answer *answer) {
        struct link_answer copy = *answer;
        const struct link_message message = { .n_answers = 1, .answers = &copy };
        int r;

        r = ops->links.send(ops->links.userdata, node_id, &message);
        if (r < 0)
                log_debug_errno(r, "Cannot answer a question of %s: %m", node_id);
}

static void served_free(struct served *served) {
        struct neighbour *neighbour = served->neighbour;

        ops_call_cancel(served->call);
        executor_read_cancel(served->read);
        sd_event_source_disable_unref(served->timer);
        list_remove(&served->link);
        neighbour->n_served--;
        served->ops->n_served--;
        neighbour_check(served->ops, neighbour);
        free(served);
}

static void answer(struct served *served, struct link_answer *what) {
        what->id = served->question.id;
        send_answer(served->ops, served->neighbour->node_id, what);
        served_free(served);
}

static void answer_problem(struct served *served, enum problem_code code, const char *detail) {
        answer(served, &(struct link_answer){ .problem = problem_code_to_text(code), .detail = detail });
}

/* Our own words, with those of the system in them: one line, as a link takes it. */
static void answer_with(struct served *served, const struct problem *problem) {
        char detail[sizeof(problem->detail)];
        size_t used = 0, length;

        while ((length = utf8_sequence(problem->detail + used, strnlen(problem->detail + used, 4))) > 0 &&
               (unsigned char) problem->detail[used] >= 0x20 && problem->detail[used] != 0x7f)
                used += length;
        memcpy(detail, problem->detail, used);
        detail[used] = '\0';
        answer_problem(served, problem->code, detail);
}

static void on_job(void *userdata, const struct ops_job *job) {
        struct served *served = userdata;
        struct record_draft draft;
        int r;

        served->call = NULL;
        if (job->problem.code != PROBLEM_NONE) {
                answer_with(served, &job->problem);
                return;
        }
        r = record_draft_init(&draft, job->job);
        if (r < 0)
                answer_problem(
                        served, PROBLEM_INTERNAL,
                        r == -ENOMEM ? "out of memory" : "the record of this job is damaged");
        else
                answer(served, &(struct link_answer){ .has_record = true, .record = draft.record });
        record_draft_done(&draft);
}

static void on_piece(void *userdata, const struct ops_output *piece) {
        struct served *served = userdata;

        if (piece->ended || piece->problem.code != PROBLEM_NONE)
                served->call = NULL;
        if (piece->problem.code != PROBLEM_NONE)
                answer_with(served, &piece->problem);
        else
                answer(served, &(struct link_answer){ .data = piece->size > 0 ? piece->data : NULL,
                                                      .size = piece->size,
                                                      .next = piece->next,
                                                      .ended = piece->ended });
}

/* What is kept of a run that has ended, told as the stream that it wrote: where the middle was left out, a
 * piece ends before, and the next one begins behind. */
static void answer_from_result(struct served *served, const struct job_result *result) {
        const struct job_output *output =
                served->question.stream == 1 ? &result->stdout_output : &result->stderr_output;
        uint64_t offset = served->question.position.offset, kept = output->size, total = output->total;
        uint64_t gap = job_output_gap(kept, total, output->truncated), head = kept, position;
        struct link_answer piece = { .total = total };

        if (output->truncated)
                head = (kept - gap) / 2;
        if (offset < head) {
                position = offset;
                piece.size = (size_t) (head - offset);
        } else {
                uint64_t tail = output->truncated ? kept - gap - head : 0;

                offset = MIN(MAX(offset, total - MIN(tail, total)), total);
                piece.size = (size_t) (total - offset);
                position = kept - MIN((uint64_t) piece.size, kept);
                if (!output->truncated)
                        piece.size = 0;
        }
        piece.size = MIN(piece.size, (size_t) LINK_PIECE_MAX);
        piece.data = piece.size > 0 ? output->data + position : NULL;
        piece.offset = offset;
        piece.ended = piece.size == 0 || offset + piece.size >= total;
        answer(served, &piece);
}

static void executor_refused(struct served *served, int error) {
        const struct job_result *result = mesh_guest_result(served->ops->mesh, &served->question.run);

        if (result)
                answer_from_result(served, result);
        else if (error == -ENOENT)
                answer_problem(served, PROBLEM_NOT_FOUND, "there is nothing of this run on this node");
        else if (error == -ENOTCONN)
                answer_problem(served, PROBLEM_EXECUTOR_AWAY, "the executor is away");
        else if (error == -EBUSY)
                answer_problem(
                        served, PROBLEM_TOO_MANY_CALLS, "too many clients read outputs of running jobs");
        else
                answer_problem(served, PROBLEM_INTERNAL, "the executor cannot read the output");
}

static void on_executor_output(void *userdata, const struct executor_output *output) {
        struct served *served = userdata;

        served->read = NULL;
        if (output->error < 0)
                executor_refused(served, output->error);
        else
                answer(served, &(struct link_answer){ .data = output->size > 0 ? output->data : NULL,
                                                      .size = output->size,
                                                      .offset = output->offset,
                                                      .total = output->total,
                                                      .ended = output->ended });
}

/* Nothing new: to be asked again from where it was. */
static int on_quiet(sd_event_source *source, uint64_t usec, void *userdata) {
        struct served *served = userdata;

        answer(served, &(struct link_answer){ .next = served->question.position,
                                              .offset = served->question.position.offset });
        return 0;
}

static int wait_quietly(struct served *served) {
        int r = sd_event_add_time_relative(
                served->ops->event, &served->timer, CLOCK_BOOTTIME,
                MIN(served->question.wait_usec, ASK_WAIT_USEC), USEC_PER_MSEC, on_quiet, served);

        if (r >= 0)
                (void) sd_event_source_set_description(served->timer, "served-wait");
        return r;
}

static int serve_output(struct served *served, const struct caller *caller) {
        const struct link_call *question = &served->question;
        struct ops_call *call;
        int r;

        r = output_call_new(
                served->ops, caller, &question->run.job, question->stream, question->follow, on_piece,
                served, &call);
        if (r < 0)
                return r;
        served->call = call;
        call_serve(call);
        call->output.offset = question->position.offset;
        call->output.end = question->position.end > 0 ? question->position.end : UINT64_MAX;
        call->output.from_store = question->position.kept;
        output_call_begin(call);
        return question->follow ? wait_quietly(served) : 0;
}

static int serve_job(struct served *served, const struct caller *caller) {
        const struct link_call *question = &served->question;
        bool cancels = question->kind == LINK_CALL_CANCEL;
        int r;

        r = cancels ? cancel_call_new(served->ops, caller, &question->run.job, on_job, served, &served->call)
                    : get_call_new(
                              served->ops, caller, &question->run.job,
                              MIN(question->wait_usec, ASK_WAIT_USEC), on_job, served, &served->call);
        if (r < 0)
                return r;
        call_serve(served->call);
        served->call->job.bare = !question->with_output;
        job_call_begin(served->call);
        return 0;
}

static int serve_run_output(struct served *served) {
        const struct link_call *question = &served->question;
        int r;

        r = executor_client_read(
                served->ops->executor, &question->run, question->stream, question->position.offset,
                question->wait_usec > 0, on_executor_output, served, &served->read);
        if (r < 0) {
                executor_refused(served, r);
                return 0;
        }
        return question->wait_usec > 0 ? wait_quietly(served) : 0;
}

static void serve(struct served *served) {
        const struct caller caller = {
                .uid_known = served->question.uid != (uid_t) -1,
                .uid = served->question.uid,
                .node_id = served->neighbour->node_id,
        };
        int r = 0;

        switch (served->question.kind) {
        case LINK_CALL_GET:
        case LINK_CALL_CANCEL:
                r = serve_job(served, &caller);
                break;
        case LINK_CALL_OUTPUT:
                r = serve_output(served, &caller);
                break;
        case LINK_CALL_RUN_OUTPUT:
                r = serve_run_output(served);
                break;
        case LINK_CALL_UNKNOWN:
        case _LINK_CALL_KIND_MAX:
                answer_problem(served, PROBLEM_INVALID, "this version does not know the question");
                break;
        }
        if (r < 0)
                answer_problem(served, PROBLEM_INTERNAL, "out of memory");
}

static void refuse(struct ops *ops, const char *node_id, uint64_t id) {
        send_answer(
                ops, node_id,
                &(struct link_answer){ .id = id,
                                       .problem = problem_code_to_text(PROBLEM_TOO_MANY_CALLS),
                                       .detail = "too many questions of other nodes are under way" });
}

void serve_call(struct ops *ops, struct neighbour *neighbour, const struct link_call *call) {
        bool room = ops->n_served < SERVED_MAX && neighbour->n_served < SERVED_PER_NODE_MAX;
        struct served *served = room ? calloc(1, sizeof(*served)) : NULL;

        if (!served) {
                refuse(ops, neighbour->node_id, call->id);
                return;
        }
        *served = (struct served){ .ops = ops, .neighbour = neighbour, .question = *call };
        list_append(&neighbour->served, &served->link);
        neighbour->n_served++;
        ops->n_served++;
        serve(served);
}

void serve_cancel(struct neighbour *neighbour, uint64_t id) {
        struct served *served;

        LIST_FOREACH(&neighbour->served, served, struct served, link)
                if (served->question.id == id) {
                        served_free(served);
                        return;
                }
}

void serve_end(struct neighbour *neighbour) {
        struct served *served;

        LIST_FOREACH(&neighbour->served, served, struct served, link)
                served_free(served);
}
