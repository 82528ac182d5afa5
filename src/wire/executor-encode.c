/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages between daemon and executor into bytes. */

#include "wire/executor-codec.h"

#include <errno.h>
#include <string.h>

#include "executor.pb-c.h"

/* protobuf-c has no const; the packer changes nothing. */
static char *unconst(const char *text) {
        return (char *) text;
}

static ProtobufCBinaryData bytes(const void *data, size_t size) {
        return (ProtobufCBinaryData){ .len = data ? size : 0, .data = (uint8_t *) data };
}

static Executor__RunId run_encoding(const struct run_id *run) {
        Executor__RunId out = EXECUTOR__RUN_ID__INIT;

        out.job = bytes(run->job.bytes, sizeof(run->job.bytes));
        out.epoch = run->epoch;
        out.attempt = run->attempt;
        return out;
}

static uint32_t descriptor_encoding(int position) {
        return position == EXECUTOR_NO_DESCRIPTOR ? 0 : (uint32_t) position + 1;
}

/* Puts one more encoded message behind what is there. */
static int message_append(struct executor_message *message, const ProtobufCMessage *part) {
        size_t size = protobuf_c_message_get_packed_size(part);

        if (size > EXECUTOR_MESSAGE_MAX)
                return -EMSGSIZE;
        if (size > EXECUTOR_MESSAGE_MAX - message->size)
                return -ENOSPC;
        message->size += protobuf_c_message_pack(part, message->data + message->size);
        return 0;
}

int executor_message_add_hello(struct executor_message *message, const struct executor_hello *hello) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__Hello part = EXECUTOR__HELLO__INIT;

        part.protocol = hello->protocol;
        part.version = unconst(hello->version);
        part.node_id = unconst(hello->node_id);
        part.slots = hello->slots;
        part.output_max = hello->output_max;
        part.kill_grace_usec = hello->kill_grace_usec;
        part.silence_usec = hello->silence_usec;
        out.hello = &part;
        return message_append(message, &out.base);
}

int executor_message_add_slots(struct executor_message *message, uint32_t slots) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        out.slots_plus_one = slots + 1;
        return message_append(message, &out.base);
}

int executor_message_add_awake(struct executor_message *message, usec_t awake_usec) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        out.awake_usec = awake_usec;
        return message_append(message, &out.base);
}

static void body_encoding(const struct executor_body *body, Executor__Body *ret) {
        executor__body__init(ret);
        ret->command = unconst(body->command);
        if (body->cwd)
                ret->cwd = unconst(body->cwd);
        ret->n_env = body->n_env;
        ret->env = (char **) body->env;
}

static Executor__Limits limits_encoding(const struct job_limits *limits) {
        Executor__Limits out = EXECUTOR__LIMITS__INIT;

        out.memory_max = limits->memory_max;
        out.cpu_weight = limits->cpu_weight;
        out.cpu_quota = limits->cpu_quota;
        out.tasks_max = limits->tasks_max;
        out.best_effort = limits->best_effort;
        return out;
}

int executor_message_add_start(struct executor_message *message, const struct executor_start *start) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__Start part = EXECUTOR__START__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&start->run);
        Executor__Limits limits = limits_encoding(&start->limits);
        Executor__Body body;

        part.run = &run;
        if (job_limits_kinds(&start->limits) != 0)
                part.limits = &limits;
        part.timeout_usec = start->timeout_usec == USEC_INFINITY ? 0 : start->timeout_usec;
        if (start->body_descriptor == EXECUTOR_NO_DESCRIPTOR) {
                body_encoding(&start->body, &body);
                part.body = &body;
        }
        part.body_descriptor = descriptor_encoding(start->body_descriptor);
        part.stdin_descriptor = descriptor_encoding(start->stdin_descriptor);
        out.n_start = 1;
        out.start = &parts;
        return message_append(message, &out.base);
}

/* One run in a field that lists runs. */
static int append_run(
        struct executor_message *message, Executor__ToExecutor *out, size_t *ret_n,
        Executor__RunId ***ret_runs, const struct run_id *run) {

        Executor__RunId part = run_encoding(run), *parts = &part;

        *ret_n = 1;
        *ret_runs = &parts;
        return message_append(message, &out->base);
}

int executor_message_add_kill(struct executor_message *message, const struct run_id *run) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        return append_run(message, &out, &out.n_kill, &out.kill, run);
}

int executor_message_add_withdrawal(struct executor_message *message, const struct run_id *run) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        return append_run(message, &out, &out.n_withdraw, &out.withdraw, run);
}

int executor_message_add_acknowledgement(struct executor_message *message, const struct run_id *run) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        return append_run(message, &out, &out.n_acknowledge, &out.acknowledge, run);
}

int executor_message_add_read(struct executor_message *message, const struct executor_read_request *read) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__Read part = EXECUTOR__READ__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&read->run);

        part.id = read->id;
        part.run = &run;
        part.stream = (uint32_t) read->stream;
        part.offset = read->offset;
        part.wait = read->wait;
        out.n_read = 1;
        out.read = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_cancel_read(struct executor_message *message, uint64_t id) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        out.n_cancel_read = 1;
        out.cancel_read = &id;
        return message_append(message, &out.base);
}

int executor_message_add_journalled(
        struct executor_message *message, const struct executor_journalled *journalled) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__Journalled part = EXECUTOR__JOURNALLED__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&journalled->run);

        part.run = &run;
        part.stdout = journalled->offsets[0];
        part.stderr = journalled->offsets[1];
        out.n_journalled = 1;
        out.journalled = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_stop(struct executor_message *message, enum executor_stop stop) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        out.stop = (Executor__StopMode) stop;
        return message_append(message, &out.base);
}

int executor_message_add_welcome(struct executor_message *message, const struct executor_welcome *welcome) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;
        Executor__Welcome part = EXECUTOR__WELCOME__INIT;

        part.protocol = welcome->protocol;
        part.version = unconst(VERSION);
        part.instance = bytes(welcome->instance.bytes, sizeof(welcome->instance.bytes));
        part.enforceable = welcome->enforceable;
        part.memory_obstacle = (Executor__Obstacle) welcome->support.obstacles[0];
        part.cpu_obstacle = (Executor__Obstacle) welcome->support.obstacles[1];
        part.tasks_obstacle = (Executor__Obstacle) welcome->support.obstacles[2];
        out.welcome = &part;
        return message_append(message, &out.base);
}

int executor_message_add_known(struct executor_message *message, const struct executor_known *known) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;
        Executor__Known part = EXECUTOR__KNOWN__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&known->run);

        part.run = &run;
        part.started_at_usec = known->started_at;
        part.ended = known->ended;
        part.journalled_stdout = known->journalled[0];
        part.journalled_stderr = known->journalled[1];
        out.n_known = 1;
        out.known = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_synchronised(struct executor_message *message) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;

        out.synchronised = true;
        return message_append(message, &out.base);
}

int executor_message_add_started(struct executor_message *message, const struct executor_started *started) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;
        Executor__Started part = EXECUTOR__STARTED__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&started->run);

        part.run = &run;
        part.started_at_usec = started->started_at;
        out.n_started = 1;
        out.started = &parts;
        return message_append(message, &out.base);
}

static Executor__Stream stream_encoding(const struct executor_stream *stream, bool in_file) {
        Executor__Stream out = EXECUTOR__STREAM__INIT;

        if (in_file)
                out.file_size = stream->size;
        else
                out.data = bytes(stream->data, stream->size);
        out.total = stream->total;
        out.truncated = stream->truncated;
        return out;
}

int executor_message_add_ended(struct executor_message *message, const struct executor_ended *ended) {
        bool in_file = ended->output_descriptor != EXECUTOR_NO_DESCRIPTOR;
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;
        Executor__Ended part = EXECUTOR__ENDED__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&ended->run);
        Executor__Stream out_stream = stream_encoding(&ended->stdout_stream, in_file);
        Executor__Stream error_stream = stream_encoding(&ended->stderr_stream, in_file);

        part.run = &run;
        part.outcome = (Executor__Outcome) ended->outcome;
        part.exit_code = ended->exit_code;
        part.signal = ended->signal;
        part.started_at_usec = ended->started_at;
        part.finished_at_usec = ended->finished_at;
        part.duration_usec = ended->duration_usec;
        if (ended->stdout_stream.total > 0)
                part.stdout = &out_stream;
        if (ended->stderr_stream.total > 0)
                part.stderr = &error_stream;
        if (ended->error_message)
                part.error_message = unconst(ended->error_message);
        part.output_descriptor = descriptor_encoding(ended->output_descriptor);
        part.oom_killed = ended->oom_killed;
        out.n_ended = 1;
        out.ended = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_data(struct executor_message *message, const struct executor_data *data) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;
        Executor__Data part = EXECUTOR__DATA__INIT, *parts = &part;

        part.id = data->id;
        part.error = (uint32_t) -data->error;
        part.offset = data->offset;
        part.data = bytes(data->data, data->size);
        part.ended = data->ended;
        part.total = data->total;
        out.n_data = 1;
        out.data = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_held(struct executor_message *message) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;

        out.held = true;
        return message_append(message, &out.base);
}

int executor_message_add_stopping(struct executor_message *message) {
        Executor__FromExecutor out = EXECUTOR__FROM_EXECUTOR__INIT;

        out.stopping = true;
        return message_append(message, &out.base);
}

size_t executor_body_size(const struct executor_body *body) {
        Executor__Body out;

        body_encoding(body, &out);
        return executor__body__get_packed_size(&out);
}

int executor_body_encode(const struct executor_body *body, void **ret_data, size_t *ret_size) {
        Executor__Body out;
        size_t size;
        void *data;

        body_encoding(body, &out);
        size = executor__body__get_packed_size(&out);
        if (size > EXECUTOR_BODY_MAX)
                return -E2BIG;
        data = malloc(MAX(size, (size_t) 1));
        if (!data)
                return -ENOMEM;
        executor__body__pack(&out, data);

        *ret_data = data;
        *ret_size = size;
        return 0;
}
