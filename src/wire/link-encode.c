/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages of a link into frames. Every part is encoded as a message of its own: put one behind the other
 * they are the encoding of the whole. They are walked through twice, to measure and to write, so that
 * nothing is allocated but the room in the buffer, once. */

#include <errno.h>
#include <string.h>

#include "link.pb-c.h"
#include "wire/link-codec.h"

struct encoder {
        uint8_t *to; /* NULL: measures */
        size_t size;
};

/* protobuf-c has no const; the packer changes nothing. */
static char *unconst(const char *text) {
        return (char *) (text ? text : "");
}

static ProtobufCBinaryData bytes(const void *data, size_t size) {
        return (ProtobufCBinaryData){ .len = data ? size : 0, .data = (uint8_t *) data };
}

static void encoder_add(struct encoder *encoder, const Link__LinkMessage *part) {
        if (encoder->to)
                encoder->size += link__link_message__pack(part, encoder->to + encoder->size);
        else
                encoder->size += link__link_message__get_packed_size(part);
}

static Link__RunId run_encoding(const struct run_id *run) {
        Link__RunId out = LINK__RUN_ID__INIT;

        out.job = bytes(run->job.bytes, sizeof(run->job.bytes));
        out.epoch = run->epoch;
        out.attempt = run->attempt;
        return out;
}

static void add_hello(struct encoder *encoder, const struct link_hello *hello) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Hello part = LINK__HELLO__INIT;

        part.protocol = hello->protocol;
        part.node_id = unconst(hello->node_id);
        part.version = unconst(hello->version);
        part.incarnation = hello->incarnation;
        part.instance = hello->instance;
        part.ordinal = hello->ordinal;
        out.hello = &part;
        encoder_add(encoder, &out);
}

/* Into one of the fields of *out that list such parts. */
static void add_held(
        struct encoder *encoder, const struct link_held *held, Link__LinkMessage *out, size_t *n_field,
        Link__Held ***field) {
        Link__Held part = LINK__HELD__INIT, *parts = &part;
        Link__RunId run = run_encoding(&held->run);

        part.run = &run;
        part.state = (Link__HeldState) held->state;
        part.started_at_usec = held->started_at;
        *n_field = 1;
        *field = &parts;
        encoder_add(encoder, out);
}

static void add_all_held(struct encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT, answer = LINK__LINK_MESSAGE__INIT;

        for (size_t i = 0; i < message->n_held; i++)
                add_held(encoder, &message->held[i], &out, &out.n_held, &out.held);
        if (message->claim_answer.owner)
                for (size_t i = 0; i < message->claim_answer.n_held; i++)
                        add_held(
                                encoder, &message->claim_answer.held[i], &answer, &answer.n_claim_held,
                                &answer.claim_held);
}

static Link__Limits limits_encoding(const struct job_limits *limits) {
        Link__Limits out = LINK__LIMITS__INIT;

        out.memory_max = limits->memory_max;
        out.cpu_weight = limits->cpu_weight;
        out.cpu_quota = limits->cpu_quota;
        out.tasks_max = limits->tasks_max;
        out.best_effort = limits->best_effort;
        return out;
}

/* Limits stay in the caller's hands: the job only points to them. */
static Link__Job job_encoding(const struct link_job *job, Link__Limits *limits) {
        Link__Job out = LINK__JOB__INIT;

        out.id = bytes(job->id.bytes, sizeof(job->id.bytes));
        out.created_at_usec = job->created_at;
        out.timeout_usec = job->timeout_usec == USEC_INFINITY ? 0 : job->timeout_usec;
        out.command = unconst(job->command);
        out.cwd = unconst(job->cwd);
        out.n_env = job->n_env;
        out.env = (char **) job->env;
        out.stdin = bytes(job->stdin_data, job->stdin_size);
        out.has_stdin = job->stdin_data != NULL;
        if (job_limits_kinds(&job->limits) != 0 || job->limits.best_effort)
                out.limits = limits;
        out.target_node_id = unconst(job->target_node_id);
        out.created_by_node = unconst(job->created_by_node);
        out.submitter = unconst(job->submitter);
        out.submitter_uid_plus_one = (uint32_t) job->submitter_uid + 1;
        out.digest = bytes(job->digest, job->has_digest ? sizeof(job->digest) : 0);
        out.priority = job->rules.priority;
        out.retries = job->rules.retries;
        out.loss_is_failure = job->rules.loss_is_failure;
        out.n_requires = job->n_requires;
        out.requires = (char **) job->requires;
        return out;
}

static void add_assignment(
        struct encoder *encoder, const struct link_assignment *assignment, Link__LinkMessage *out,
        size_t *n_field, Link__Assignment ***field) {
        Link__Assignment part = LINK__ASSIGNMENT__INIT, *parts = &part;
        Link__RunId run = run_encoding(&assignment->run);
        Link__Limits limits = limits_encoding(&assignment->job.limits);
        Link__Job job = job_encoding(&assignment->job, &limits);

        part.run = &run;
        part.job = &job;
        *n_field = 1;
        *field = &parts;
        encoder_add(encoder, out);
}

static void add_all_assignments(struct encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;

        for (size_t i = 0; i < message->n_assignments; i++)
                add_assignment(encoder, &message->assignments[i], &out, &out.n_assign, &out.assign);
}

static void add_refusal(struct encoder *encoder, const struct link_refusal *refusal) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Refusal part = LINK__REFUSAL__INIT, *parts = &part;
        Link__RunId run = run_encoding(&refusal->run);

        part.run = &run;
        part.reason = (Link__RefusalReason) refusal->reason;
        out.n_refused = 1;
        out.refused = &parts;
        encoder_add(encoder, &out);
}

static void add_started(struct encoder *encoder, const struct link_started *started) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Started part = LINK__STARTED__INIT, *parts = &part;
        Link__RunId run = run_encoding(&started->run);

        part.run = &run;
        part.started_at_usec = started->started_at;
        out.n_started = 1;
        out.started = &parts;
        encoder_add(encoder, &out);
}

static Link__Output output_encoding(const struct link_output *output) {
        Link__Output out = LINK__OUTPUT__INIT;

        out.data = bytes(output->data, output->data_size);
        out.size = output->size;
        out.total = output->total;
        out.truncated = output->truncated;
        return out;
}

static void add_ended(
        struct encoder *encoder, const struct link_ended *ended, Link__LinkMessage *out, size_t *n_field,
        Link__Ended ***field) {
        Link__Ended part = LINK__ENDED__INIT, *parts = &part;
        Link__RunId run = run_encoding(&ended->run);
        Link__Output out_output = output_encoding(&ended->stdout_output);
        Link__Output error_output = output_encoding(&ended->stderr_output);

        part.run = &run;
        part.outcome = (Link__Outcome) ended->outcome;
        part.exit_code = ended->exit_code;
        part.signal = ended->signal;
        part.started_at_usec = ended->started_at;
        part.finished_at_usec = ended->finished_at;
        part.duration_usec = ended->duration_usec;
        if (ended->stdout_output.total > 0)
                part.stdout = &out_output;
        if (ended->stderr_output.total > 0)
                part.stderr = &error_output;
        part.error_message = unconst(ended->error_message);
        part.oom_killed = ended->oom_killed;
        part.drained = ended->drained;
        *n_field = 1;
        *field = &parts;
        encoder_add(encoder, out);
}

static void add_all_ended(struct encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;

        for (size_t i = 0; i < message->n_ended; i++)
                add_ended(encoder, &message->ended[i], &out, &out.n_ended, &out.ended);
}

static void add_read(struct encoder *encoder, const struct link_read *read) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Read part = LINK__READ__INIT, *parts = &part;
        Link__RunId run = run_encoding(&read->run);

        part.id = read->id;
        part.run = &run;
        part.stream = (uint32_t) read->stream;
        part.offset = read->offset;
        part.wait = read->wait;
        out.n_read = 1;
        out.read = &parts;
        encoder_add(encoder, &out);
}

static void add_piece(struct encoder *encoder, const struct link_piece *piece) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Piece part = LINK__PIECE__INIT, *parts = &part;

        part.id = piece->id;
        part.error = (uint32_t) -piece->error;
        part.offset = piece->offset;
        part.data = bytes(piece->data, piece->size);
        part.ended = piece->ended;
        part.total = piece->total;
        out.n_piece = 1;
        out.piece = &parts;
        encoder_add(encoder, &out);
}

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

static void add_call(struct encoder *encoder, const struct link_call *call) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Call part = LINK__CALL__INIT, *parts = &part;
        Link__RunId run = run_encoding(&call->run);
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
        encoder_add(encoder, &out);
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

static void add_answer(struct encoder *encoder, const struct link_answer *answer) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Answer part = LINK__ANSWER__INIT, *parts = &part;
        Link__Record record = record_encoding(&answer->record);
        Link__Limits limits = limits_encoding(&answer->record.job.limits);
        Link__Job job = job_encoding(&answer->record.job, &limits);
        Link__Output out_output = output_encoding(&answer->record.stdout_output);
        Link__Output error_output = output_encoding(&answer->record.stderr_output);
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
        encoder_add(encoder, &out);
}

/* n runs in a field of *out that lists them. */
static void add_runs(
        struct encoder *encoder, Link__LinkMessage *out, size_t *n_field, Link__RunId ***field,
        const struct run_id *runs, size_t n) {

        Link__RunId part, *parts = &part;

        for (size_t i = 0; i < n; i++) {
                part = run_encoding(&runs[i]);
                *n_field = 1;
                *field = &parts;
                encoder_add(encoder, out);
        }
}

static void add_all_runs(struct encoder *encoder, const struct link_message *message) {
        Link__LinkMessage taken = LINK__LINK_MESSAGE__INIT, kill = LINK__LINK_MESSAGE__INIT;
        Link__LinkMessage withdraw = LINK__LINK_MESSAGE__INIT, retire = LINK__LINK_MESSAGE__INIT;

        add_runs(encoder, &taken, &taken.n_taken, &taken.taken, message->taken, message->n_taken);
        add_runs(encoder, &kill, &kill.n_kill, &kill.kill, message->kills, message->n_kills);
        add_runs(
                encoder, &withdraw, &withdraw.n_withdraw, &withdraw.withdraw, message->withdrawn,
                message->n_withdrawn);
        add_runs(encoder, &retire, &retire.n_retire, &retire.retire, message->retired, message->n_retired);
}

static void add_copy(struct encoder *encoder, const struct link_copy *copy) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT, job = LINK__LINK_MESSAGE__INIT,
                          end = LINK__LINK_MESSAGE__INIT;
        Link__Copy part = LINK__COPY__INIT;
        Link__RunId run = run_encoding(&copy->run);

        part.term = copy->term;
        part.number = copy->number;
        part.complete = copy->complete;
        if (copy->has_run)
                part.run = &run;
        part.epoch = copy->epoch;
        part.node_id = unconst(copy->node_id);
        part.cancel_requested = copy->cancel_requested;
        part.status = copy->status;
        part.retries_used = copy->retries_used;
        part.gone = copy->gone;
        out.copy = &part;
        encoder_add(encoder, &out);
        if (copy->job)
                add_assignment(encoder, copy->job, &job, &job.n_copied, &job.copied);
        if (copy->ended)
                add_ended(encoder, copy->ended, &end, &end.n_copied_end, &end.copied_end);
}

static void add_kept(struct encoder *encoder, const struct link_kept *kept) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Kept part = LINK__KEPT__INIT;

        part.term = kept->term;
        part.number = kept->number;
        part.refused = kept->refused;
        out.kept = &part;
        encoder_add(encoder, &out);
}

static void add_claim(struct encoder *encoder, const struct link_claim *claim) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Claim part = LINK__CLAIM__INIT;

        part.owner = unconst(claim->owner);
        part.term = claim->term;
        out.claim = &part;
        encoder_add(encoder, &out);
}

static void add_claim_answer(struct encoder *encoder, const struct link_claim_answer *answer) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__ClaimAnswer part = LINK__CLAIM_ANSWER__INIT;

        part.owner = unconst(answer->owner);
        part.term = answer->term;
        part.objection = (Link__Objection) answer->objection;
        part.more = answer->more;
        out.claim_answer = &part;
        encoder_add(encoder, &out);
}

static void add_takeover(struct encoder *encoder, const struct link_takeover *takeover) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Takeover part = LINK__TAKEOVER__INIT, *parts = &part;
        Link__RunId run = run_encoding(&takeover->run);

        part.epoch = takeover->epoch;
        part.run = &run;
        out.n_takeover = 1;
        out.takeover = &parts;
        encoder_add(encoder, &out);
}

static void add_keeping(struct encoder *encoder, const struct link_message *message) {
        if (message->copy.term > 0)
                add_copy(encoder, &message->copy);
        if (message->kept.term > 0)
                add_kept(encoder, &message->kept);
        if (message->claim.owner)
                add_claim(encoder, &message->claim);
        if (message->claim_answer.owner)
                add_claim_answer(encoder, &message->claim_answer);
        for (size_t i = 0; i < message->n_takeovers; i++)
                add_takeover(encoder, &message->takeovers[i]);
}

static void add_index_entry(struct encoder *encoder, const struct link_index_entry *entry) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__IndexEntry part = LINK__INDEX_ENTRY__INIT, *parts = &part;

        part.job = bytes(entry->job.bytes, sizeof(entry->job.bytes));
        part.number = entry->number;
        part.epoch = entry->epoch;
        part.status = (uint32_t) entry->status;
        part.executor = entry->executor;
        part.exit_code_plus_one = entry->has_exit_code ? (uint32_t) entry->exit_code + 1 : 0;
        part.created_at_usec = entry->created_at;
        part.started_at_usec = entry->started_at;
        part.finished_at_usec = entry->finished_at;
        part.kept = entry->kept;
        out.n_index_entries = 1;
        out.index_entries = &parts;
        encoder_add(encoder, &out);
}

static void add_overruled(struct encoder *encoder, const struct link_overruled *overruled) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Overruled part = LINK__OVERRULED__INIT, *parts = &part;

        part.job = bytes(overruled->job.bytes, sizeof(overruled->job.bytes));
        part.epoch = overruled->epoch;
        part.status = (uint32_t) overruled->status;
        part.owner = unconst(overruled->owner);
        out.n_overruled = 1;
        out.overruled = &parts;
        encoder_add(encoder, &out);
}

static void add_index(struct encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__IndexAsk ask = LINK__INDEX_ASK__INIT;
        Link__IndexPart part = LINK__INDEX_PART__INIT;

        ask.generation = message->index_ask.generation;
        ask.after = message->index_ask.after;
        ask.room = message->index_ask.room;
        ask.since_usec = message->index_ask.since;
        part.generation = message->index_part.generation;
        part.head = message->index_part.head;
        part.through = message->index_part.through;
        part.complete = message->index_part.complete;
        out.index_ask = message->has_index_ask ? &ask : NULL;
        out.index_part = message->has_index_part ? &part : NULL;
        out.n_index_nodes = message->n_index_nodes;
        out.index_nodes = (char **) message->index_nodes;
        encoder_add(encoder, &out);
        for (size_t i = 0; i < message->n_index_entries; i++)
                add_index_entry(encoder, &message->index_entries[i]);
        for (size_t i = 0; i < message->n_overruled; i++)
                add_overruled(encoder, &message->overruled[i]);
}

/* What is no message of its own. */
static void add_numbers(struct encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;

        out.held_complete = message->held_complete;
        out.compared = message->compared;
        out.ping = message->ping;
        out.pong = message->pong;
        out.room = message->room;
        out.n_cancel_read = message->n_cancelled_reads;
        out.cancel_read = message->cancelled_reads;
        out.n_cancel_call = message->n_cancelled_calls;
        out.cancel_call = message->cancelled_calls;
        out.forget_copies = message->forget_copies;
        out.copies_forgotten = message->copies_forgotten;
        encoder_add(encoder, &out);
}

static void add_message(struct encoder *encoder, const struct link_message *message) {
        if (message->has_hello)
                add_hello(encoder, &message->hello);
        add_all_held(encoder, message);
        add_all_assignments(encoder, message);
        for (size_t i = 0; i < message->n_refused; i++)
                add_refusal(encoder, &message->refused[i]);
        for (size_t i = 0; i < message->n_started; i++)
                add_started(encoder, &message->started[i]);
        add_all_ended(encoder, message);
        for (size_t i = 0; i < message->n_reads; i++)
                add_read(encoder, &message->reads[i]);
        for (size_t i = 0; i < message->n_pieces; i++)
                add_piece(encoder, &message->pieces[i]);
        for (size_t i = 0; i < message->n_calls; i++)
                add_call(encoder, &message->calls[i]);
        for (size_t i = 0; i < message->n_answers; i++)
                add_answer(encoder, &message->answers[i]);
        add_all_runs(encoder, message);
        add_keeping(encoder, message);
        add_index(encoder, message);
        add_numbers(encoder, message);
}

static bool has_too_many_parts(const struct link_message *message) {
        return message->n_held > LINK_PARTS_MAX || message->n_assignments > LINK_PARTS_MAX ||
               message->n_taken > LINK_PARTS_MAX || message->n_refused > LINK_PARTS_MAX ||
               message->n_started > LINK_PARTS_MAX || message->n_ended > LINK_PARTS_MAX ||
               message->n_kills > LINK_PARTS_MAX || message->n_withdrawn > LINK_PARTS_MAX ||
               message->n_retired > LINK_PARTS_MAX || message->n_reads > LINK_PARTS_MAX ||
               message->claim_answer.n_held > LINK_PARTS_MAX || message->n_takeovers > LINK_PARTS_MAX ||
               message->n_pieces > LINK_PARTS_MAX || message->n_cancelled_reads > LINK_PARTS_MAX ||
               message->n_calls > LINK_PARTS_MAX || message->n_answers > LINK_PARTS_MAX ||
               message->n_cancelled_calls > LINK_PARTS_MAX ||
               message->n_index_nodes > LINK_INDEX_ENTRIES_MAX ||
               message->n_index_entries > LINK_INDEX_ENTRIES_MAX ||
               message->n_overruled > LINK_OVERRULED_MAX;
}

int link_message_encode(const struct link_message *message, struct buffer *buffer) {
        struct encoder measure = {}, encoder = {};
        int r;

        if (has_too_many_parts(message))
                return -EMSGSIZE;
        add_message(&measure, message);
        if (measure.size > LINK_FRAME_MAX)
                return -EMSGSIZE;
        r = buffer_reserve(buffer, LINK_FRAME_HEADER_SIZE + measure.size);
        if (r < 0)
                return r;

        uint8_t *frame = (uint8_t *) buffer->data + buffer->size;
        for (unsigned i = 0; i < LINK_FRAME_HEADER_SIZE; i++)
                frame[i] = (uint8_t) (measure.size >> 8 * (LINK_FRAME_HEADER_SIZE - 1 - i));
        encoder.to = frame + LINK_FRAME_HEADER_SIZE;
        add_message(&encoder, message);
        assert(encoder.size == measure.size);
        buffer->size += LINK_FRAME_HEADER_SIZE + encoder.size;
        buffer->data[buffer->size] = '\0';
        return 0;
}
