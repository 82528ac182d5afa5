/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-encode.h"

void link_add_held(
        struct link_encoder *encoder, const struct link_held *held, Link__LinkMessage *out, size_t *n_field,
        Link__Held ***field) {
        Link__Held part = LINK__HELD__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&held->run);

        part.run = &run;
        part.state = (Link__HeldState) held->state;
        part.started_at_usec = held->started_at;
        *n_field = 1;
        *field = &parts;
        link_encoder_add(encoder, out);
}

void link_add_assignment(
        struct link_encoder *encoder, const struct link_assignment *assignment, Link__LinkMessage *out,
        size_t *n_field, Link__Assignment ***field) {
        Link__Assignment part = LINK__ASSIGNMENT__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&assignment->run);
        Link__Limits limits = link_limits_encoding(&assignment->job.limits);
        Link__Job job = link_job_encoding(&assignment->job, &limits);

        part.run = &run;
        part.job = &job;
        *n_field = 1;
        *field = &parts;
        link_encoder_add(encoder, out);
}

static void add_refusal(struct link_encoder *encoder, const struct link_refusal *refusal) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Refusal part = LINK__REFUSAL__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&refusal->run);

        part.run = &run;
        part.reason = (Link__RefusalReason) refusal->reason;
        out.n_refused = 1;
        out.refused = &parts;
        link_encoder_add(encoder, &out);
}

static void add_started(struct link_encoder *encoder, const struct link_started *started) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Started part = LINK__STARTED__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&started->run);

        part.run = &run;
        part.started_at_usec = started->started_at;
        out.n_started = 1;
        out.started = &parts;
        link_encoder_add(encoder, &out);
}

void link_add_ended(
        struct link_encoder *encoder, const struct link_ended *ended, Link__LinkMessage *out,
        size_t *n_field, Link__Ended ***field) {
        Link__Ended part = LINK__ENDED__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&ended->run);
        Link__Output out_output = link_output_encoding(&ended->stdout_output);
        Link__Output error_output = link_output_encoding(&ended->stderr_output);

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
        link_encoder_add(encoder, out);
}

static void add_read(struct link_encoder *encoder, const struct link_read *read) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Read part = LINK__READ__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&read->run);

        part.id = read->id;
        part.run = &run;
        part.stream = (uint32_t) read->stream;
        part.offset = read->offset;
        part.wait = read->wait;
        out.n_read = 1;
        out.read = &parts;
        link_encoder_add(encoder, &out);
}

static void add_piece(struct link_encoder *encoder, const struct link_piece *piece) {
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
        link_encoder_add(encoder, &out);
}

/* n runs in a field of *out that lists them. */
static void add_runs(
        struct link_encoder *encoder, Link__LinkMessage *out, size_t *n_field, Link__RunId ***field,
        const struct run_id *runs, size_t n) {

        Link__RunId part, *parts = &part;

        for (size_t i = 0; i < n; i++) {
                part = link_run_encoding(&runs[i]);
                *n_field = 1;
                *field = &parts;
                link_encoder_add(encoder, out);
        }
}

static void add_all_runs(struct link_encoder *encoder, const struct link_message *message) {
        Link__LinkMessage taken = LINK__LINK_MESSAGE__INIT, kill = LINK__LINK_MESSAGE__INIT;
        Link__LinkMessage withdraw = LINK__LINK_MESSAGE__INIT, retire = LINK__LINK_MESSAGE__INIT;

        add_runs(encoder, &taken, &taken.n_taken, &taken.taken, message->taken, message->n_taken);
        add_runs(encoder, &kill, &kill.n_kill, &kill.kill, message->kills, message->n_kills);
        add_runs(
                encoder, &withdraw, &withdraw.n_withdraw, &withdraw.withdraw, message->withdrawn,
                message->n_withdrawn);
        add_runs(encoder, &retire, &retire.n_retire, &retire.retire, message->retired, message->n_retired);
}

void link_add_run_parts(struct link_encoder *encoder, const struct link_message *message) {
        Link__LinkMessage held = LINK__LINK_MESSAGE__INIT, assign = LINK__LINK_MESSAGE__INIT;
        Link__LinkMessage ended = LINK__LINK_MESSAGE__INIT;

        for (size_t i = 0; i < message->n_held; i++)
                link_add_held(encoder, &message->held[i], &held, &held.n_held, &held.held);
        for (size_t i = 0; i < message->n_assignments; i++)
                link_add_assignment(
                        encoder, &message->assignments[i], &assign, &assign.n_assign, &assign.assign);
        for (size_t i = 0; i < message->n_refused; i++)
                add_refusal(encoder, &message->refused[i]);
        for (size_t i = 0; i < message->n_started; i++)
                add_started(encoder, &message->started[i]);
        for (size_t i = 0; i < message->n_ended; i++)
                link_add_ended(encoder, &message->ended[i], &ended, &ended.n_ended, &ended.ended);
        for (size_t i = 0; i < message->n_reads; i++)
                add_read(encoder, &message->reads[i]);
        for (size_t i = 0; i < message->n_pieces; i++)
                add_piece(encoder, &message->pieces[i]);
        add_all_runs(encoder, message);
}
