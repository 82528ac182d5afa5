/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-encode.h"

static Link__Position position_encoding(const struct link_position *position) {
        Link__Position out = LINK__POSITION__INIT;

        out.offset = position->offset;
        out.end = position->end;
        out.kept = position->kept;
        return out;
}

static bool position_is_set(const struct link_position *position) {
        return position->offset > 0 || position->end > 0 || position->kept;
}

static void add_call(struct link_encoder *encoder, const struct link_call *call) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Call part = LINK__CALL__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&call->run);
        Link__Position position = position_encoding(&call->position);

        part.id = call->id;
        part.kind = (Link__CallKind) call->kind;
        part.run = &run;
        part.wait_usec = call->wait_usec;
        part.with_output = call->with_output;
        part.stream = (uint32_t) call->stream;
        if (position_is_set(&call->position))
                part.position = &position;
        part.follow = call->follow;
        part.uid_plus_one = (uint32_t) call->uid + 1;
        out.n_call = 1;
        out.call = &parts;
        link_encoder_add(encoder, &out);
}

static Link__Record record_encoding(const struct link_record *record) {
        Link__Record out = LINK__RECORD__INIT;

        out.status = (uint32_t) record->status;
        out.epoch = record->epoch;
        out.attempt = record->attempt;
        out.executor_node_id = unconst(record->executor_node_id);
        out.started_at_usec = record->started_at;
        out.finished_at_usec = record->finished_at;
        out.updated_at_usec = record->updated_at;
        out.duration_usec = record->duration_usec;
        out.exit_code_plus_one = record->has_exit_code ? (uint32_t) record->exit_code + 1 : 0;
        out.signal = record->signal;
        out.cancel_requested = record->cancel_requested;
        out.oom_killed = record->oom_killed;
        out.error_message = unconst(record->error_message);
        out.stdin_size = record->stdin_size;
        out.retries_used = record->retries_used;
        out.pending_reason = unconst(record->pending_reason);
        return out;
}

static Link__Attempt attempt_encoding(const struct link_attempt *attempt) {
        Link__Attempt out = LINK__ATTEMPT__INIT;

        out.epoch = attempt->epoch;
        out.attempt = attempt->attempt;
        out.node_id = unconst(attempt->node_id);
        out.fate = unconst(attempt->fate);
        out.started_at_usec = attempt->started_at;
        out.finished_at_usec = attempt->finished_at;
        out.exit_code_plus_one = attempt->has_exit_code ? (uint32_t) attempt->exit_code + 1 : 0;
        out.signal = attempt->signal;
        out.error_message = unconst(attempt->error_message);
        return out;
}

static void add_answer(struct link_encoder *encoder, const struct link_answer *answer) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Answer part = LINK__ANSWER__INIT, *parts = &part;
        Link__Record record = record_encoding(&answer->record);
        Link__Limits limits = link_limits_encoding(&answer->record.job.limits);
        Link__Job job = link_job_encoding(&answer->record.job, &limits);
        Link__Output out_output = link_output_encoding(&answer->record.stdout_output);
        Link__Output error_output = link_output_encoding(&answer->record.stderr_output);
        Link__Position next = position_encoding(&answer->next);
        Link__Attempt attempts[LINK_ATTEMPTS_MAX], *all[LINK_ATTEMPTS_MAX];

        for (size_t i = 0; i < MIN(answer->record.n_attempts, (size_t) LINK_ATTEMPTS_MAX); i++) {
                attempts[i] = attempt_encoding(&answer->record.attempts[i]);
                all[i] = &attempts[i];
                record.n_attempts = i + 1;
        }
        record.attempts = all;
        part.id = answer->id;
        part.problem = unconst(answer->problem);
        part.detail = unconst(answer->detail);
        record.job = &job;
        if (answer->record.stdout_output.total > 0)
                record.stdout = &out_output;
        if (answer->record.stderr_output.total > 0)
                record.stderr = &error_output;
        if (answer->has_record)
                part.record = &record;
        part.data = bytes(answer->data, answer->size);
        part.offset = answer->offset;
        part.total = answer->total;
        if (position_is_set(&answer->next))
                part.next = &next;
        part.ended = answer->ended;
        out.n_answer = 1;
        out.answer = &parts;
        link_encoder_add(encoder, &out);
}

void link_add_call_parts(struct link_encoder *encoder, const struct link_message *message) {
        for (size_t i = 0; i < message->n_calls; i++)
                add_call(encoder, &message->calls[i]);
        for (size_t i = 0; i < message->n_answers; i++)
                add_answer(encoder, &message->answers[i]);
}
