/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-decode.h"

static bool position_decode(const Link__Position *in, struct link_position *ret) {
        if (!in)
                return true;
        *ret = (struct link_position){ .offset = in->offset, .end = in->end, .kept = in->kept };
        return in->offset <= OFFSET_MAX && in->end <= OFFSET_MAX;
}

static bool call_decode(const Link__Call *in, struct link_call *ret) {
        bool reads =
                in->kind == LINK__CALL_KIND__CALL_OUTPUT || in->kind == LINK__CALL_KIND__CALL_RUN_OUTPUT;

        *ret = (struct link_call){
                .id = in->id,
                .kind = (uint32_t) in->kind < _LINK_CALL_KIND_MAX ? (enum link_call_kind) in->kind
                                                                  : LINK_CALL_UNKNOWN,
                .wait_usec = usec_decode(in->wait_usec),
                .with_output = in->with_output,
                .stream = reads ? (int) in->stream : 0,
                .follow = in->follow,
                .uid = (uid_t) (in->uid_plus_one - 1),
        };
        return (!reads || in->stream == 1 || in->stream == 2) && link_run_decode(in->run, &ret->run) &&
               position_decode(in->position, &ret->position);
}

static bool attempt_decode(const Link__Attempt *in, struct link_attempt *ret) {
        *ret = (struct link_attempt){
                .epoch = in->epoch,
                .attempt = in->attempt,
                .node_id = in->node_id,
                .fate = in->fate,
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .has_exit_code = in->exit_code_plus_one > 0,
                .exit_code = in->exit_code_plus_one > 0 ? (int) (in->exit_code_plus_one - 1) : 0,
                .signal = in->signal,
                .error_message = text_or_null(in->error_message),
        };
        return in->exit_code_plus_one <= EXIT_CODE_MAX + 1 && in->signal >= 0 && in->signal <= SIGNAL_MAX &&
               node_id_is_valid(in->node_id) && link_words_cut(in->fate, LINK_PROBLEM_MAX) &&
               link_text_is_valid(in->error_message, LINK_ERROR_MAX);
}

static bool record_words_decode(const Link__Record *in, struct link_record *ret) {
        ret->executor_node_id = text_or_null(in->executor_node_id);
        ret->error_message = text_or_null(in->error_message);
        ret->pending_reason = text_or_null(in->pending_reason);
        return link_words_cut(in->pending_reason, LINK_REASON_MAX) &&
               (!ret->executor_node_id || node_id_is_valid(ret->executor_node_id)) &&
               link_text_is_valid(in->error_message, LINK_ERROR_MAX);
}

static bool record_decode(const Link__Record *in, struct link_record *ret) {
        *ret = (struct link_record){
                .status = in->status < _JOB_STATUS_MAX ? (enum job_status) in->status : JOB_UNKNOWN,
                .epoch = in->epoch,
                .attempt = in->attempt,
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .updated_at = usec_decode(in->updated_at_usec),
                .duration_usec = usec_decode(in->duration_usec),
                .has_exit_code = in->exit_code_plus_one > 0,
                .exit_code = in->exit_code_plus_one > 0 ? (int) (in->exit_code_plus_one - 1) : 0,
                .signal = in->signal,
                .cancel_requested = in->cancel_requested,
                .oom_killed = in->oom_killed,
                .stdin_size = in->stdin_size,
                .retries_used = in->retries_used,
        };
        if (in->exit_code_plus_one > EXIT_CODE_MAX + 1 || in->signal < 0 || in->signal > SIGNAL_MAX ||
            in->stdin_size > LINK_STDIN_MAX || in->retries_used > JOB_RETRIES_MAX)
                return false;
        return in->job && link_job_decode(in->job, &ret->job) && record_words_decode(in, ret) &&
               link_output_decode(in->stdout, &ret->stdout_output) &&
               link_output_decode(in->stderr, &ret->stderr_output);
}

static bool answer_decode(const Link__Answer *in, struct link_answer *ret) {
        *ret = (struct link_answer){
                .id = in->id,
                .problem = text_or_null(in->problem),
                .detail = in->detail,
                .has_record = in->record != NULL,
                .data = in->data.len > 0 ? in->data.data : NULL,
                .size = in->data.len,
                .offset = in->offset,
                .total = in->total,
                .ended = in->ended,
        };
        if (in->data.len > LINK_ANSWER_DATA_MAX || in->offset > OFFSET_MAX || in->total > OFFSET_MAX)
                return false;
        return link_words_cut(in->problem, LINK_PROBLEM_MAX) &&
               link_words_cut(in->detail, LINK_DETAIL_MAX) && position_decode(in->next, &ret->next) &&
               (!in->record || record_decode(in->record, &ret->record));
}

DEFINE_LIST_DECODE(call, Link__Call, struct link_call)
DEFINE_LIST_DECODE(answer, Link__Answer, struct link_answer)
DEFINE_LIST_DECODE(attempt, Link__Attempt, struct link_attempt)

bool link_call_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {

        if (in->n_cancel_call > LINK_PARTS_MAX)
                return false;
        message->n_cancelled_calls = in->n_cancel_call;
        message->cancelled_calls = in->n_cancel_call > 0 ? in->cancel_call : NULL;
        if (!call_list_decode(memory, in->call, in->n_call, &message->calls, &message->n_calls) ||
            !answer_list_decode(memory, in->answer, in->n_answer, &message->answers, &message->n_answers))
                return false;
        for (size_t i = 0; i < in->n_answer; i++) {
                const Link__Record *record = in->answer[i]->record;
                struct link_record *ret = &message->answers[i].record;

                if (record && (record->n_attempts > LINK_ATTEMPTS_MAX ||
                               !attempt_list_decode(
                                       memory, record->attempts, record->n_attempts, &ret->attempts,
                                       &ret->n_attempts)))
                        return false;
        }
        return true;
}
