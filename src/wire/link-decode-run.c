/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-decode.h"

#define ERRNO_MAX 4095u

bool link_held_decode(const Link__Held *in, struct link_held *ret) {
        *ret = (struct link_held){
                .state = (enum link_held_state) in->state,
                .started_at = usec_decode(in->started_at_usec),
        };
        return (uint32_t) in->state < _LINK_HELD_STATE_MAX && link_run_decode(in->run, &ret->run);
}

bool link_assignment_decode(const Link__Assignment *in, struct link_assignment *ret) {
        return in->job && link_run_decode(in->run, &ret->run) && link_job_decode(in->job, &ret->job) &&
               uuid_equal(&ret->run.job, &ret->job.id);
}

static bool refusal_decode(const Link__Refusal *in, struct link_refusal *ret) {
        *ret = (struct link_refusal){
                .reason = (uint32_t) in->reason < _LINK_REFUSAL_REASON_MAX
                                  ? (enum link_refusal_reason) in->reason
                                  : LINK_REFUSED,
        };
        return link_run_decode(in->run, &ret->run);
}

static bool started_decode(const Link__Started *in, struct link_started *ret) {
        *ret = (struct link_started){ .started_at = usec_decode(in->started_at_usec) };
        return link_run_decode(in->run, &ret->run);
}

bool link_ended_decode(const Link__Ended *in, struct link_ended *ret) {
        *ret = (struct link_ended){
                .outcome = (enum link_outcome) in->outcome,
                .exit_code = in->exit_code,
                .signal = in->signal,
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .duration_usec = usec_decode(in->duration_usec),
                .error_message = text_or_null(in->error_message),
                .oom_killed = in->oom_killed,
                .drained = in->drained,
        };
        if ((uint32_t) in->outcome >= _LINK_OUTCOME_MAX || in->exit_code < 0 ||
            in->exit_code > EXIT_CODE_MAX || in->signal < 0 || in->signal > SIGNAL_MAX)
                return false;
        return link_run_decode(in->run, &ret->run) &&
               link_text_is_valid(in->error_message, LINK_ERROR_MAX) &&
               link_output_decode(in->stdout, &ret->stdout_output) &&
               link_output_decode(in->stderr, &ret->stderr_output);
}

static bool read_decode(const Link__Read *in, struct link_read *ret) {
        *ret = (struct link_read){
                .id = in->id,
                .stream = (int) in->stream,
                .offset = in->offset,
                .wait = in->wait,
        };
        return (in->stream == 1 || in->stream == 2) && in->offset <= OFFSET_MAX &&
               link_run_decode(in->run, &ret->run);
}

static bool piece_decode(const Link__Piece *in, struct link_piece *ret) {
        if (in->error > ERRNO_MAX || in->data.len > LINK_PIECE_MAX || in->offset > OFFSET_MAX ||
            in->total > OFFSET_MAX)
                return false;
        *ret = (struct link_piece){
                .id = in->id,
                .error = -(int) in->error,
                .offset = in->offset,
                .data = in->data.len > 0 ? in->data.data : NULL,
                .size = in->data.len,
                .ended = in->ended,
                .total = in->total,
        };
        return true;
}

static bool cancelled_reads_decode(const Link__LinkMessage *in, struct link_message *message) {
        if (in->n_cancel_read > LINK_PARTS_MAX)
                return false;
        message->n_cancelled_reads = in->n_cancel_read;
        message->cancelled_reads = in->n_cancel_read > 0 ? in->cancel_read : NULL;
        return true;
}

DEFINE_LIST_DECODE(link_held, Link__Held, struct link_held)
DEFINE_LIST_DECODE(link_assignment, Link__Assignment, struct link_assignment)
DEFINE_LIST_DECODE(link_run, Link__RunId, struct run_id)
DEFINE_LIST_DECODE(refusal, Link__Refusal, struct link_refusal)
DEFINE_LIST_DECODE(started, Link__Started, struct link_started)
DEFINE_LIST_DECODE(link_ended, Link__Ended, struct link_ended)
DEFINE_LIST_DECODE(read, Link__Read, struct link_read)
DEFINE_LIST_DECODE(piece, Link__Piece, struct link_piece)

bool link_run_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {
        return link_held_list_decode(memory, in->held, in->n_held, &message->held, &message->n_held) &&
               link_assignment_list_decode(
                       memory, in->assign, in->n_assign, &message->assignments, &message->n_assignments) &&
               link_run_list_decode(memory, in->taken, in->n_taken, &message->taken, &message->n_taken) &&
               refusal_list_decode(
                       memory, in->refused, in->n_refused, &message->refused, &message->n_refused) &&
               started_list_decode(
                       memory, in->started, in->n_started, &message->started, &message->n_started) &&
               link_ended_list_decode(memory, in->ended, in->n_ended, &message->ended, &message->n_ended) &&
               link_run_list_decode(memory, in->kill, in->n_kill, &message->kills, &message->n_kills) &&
               link_run_list_decode(
                       memory, in->withdraw, in->n_withdraw, &message->withdrawn, &message->n_withdrawn) &&
               link_run_list_decode(
                       memory, in->retire, in->n_retire, &message->retired, &message->n_retired) &&
               read_list_decode(memory, in->read, in->n_read, &message->reads, &message->n_reads) &&
               piece_list_decode(memory, in->piece, in->n_piece, &message->pieces, &message->n_pieces) &&
               cancelled_reads_decode(in, message);
}
