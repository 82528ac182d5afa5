/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/executor-codec.h"

#include <errno.h>
#include <string.h>

#include "executor.pb-c.h"
#include "util/utf8.h"

#define VERSION_SHOWN_MAX 31u

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
        out.hello = &part;
        return message_append(message, &out.base);
}

int executor_message_add_slots(struct executor_message *message, uint32_t slots) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;

        out.slots_plus_one = slots + 1;
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

int executor_message_add_start(struct executor_message *message, const struct executor_start *start) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__Start part = EXECUTOR__START__INIT, *parts = &part;
        Executor__RunId run = run_encoding(&start->run);
        Executor__Body body;

        part.run = &run;
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

int executor_message_add_kill(struct executor_message *message, const struct run_id *run) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__RunId part = run_encoding(run), *parts = &part;

        out.n_kill = 1;
        out.kill = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_withdrawal(struct executor_message *message, const struct run_id *run) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__RunId part = run_encoding(run), *parts = &part;

        out.n_withdraw = 1;
        out.withdraw = &parts;
        return message_append(message, &out.base);
}

int executor_message_add_acknowledgement(struct executor_message *message, const struct run_id *run) {
        Executor__ToExecutor out = EXECUTOR__TO_EXECUTOR__INIT;
        Executor__RunId part = run_encoding(run), *parts = &part;

        out.n_acknowledge = 1;
        out.acknowledge = &parts;
        return message_append(message, &out.base);
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

/* Checks what a decoded message may hold. Each returns false for what must not be believed. */

static bool text_is_valid(const char *text, size_t max) {
        size_t size = strnlen(text, max + 1);

        return size <= max && utf8_is_valid(text, size);
}

static bool run_decode(const Executor__RunId *run, struct run_id *ret) {
        if (!run || run->job.len != sizeof(ret->job.bytes))
                return false;

        *ret = (struct run_id){ .epoch = run->epoch, .attempt = run->attempt };
        memcpy(ret->job.bytes, run->job.data, sizeof(ret->job.bytes));
        return !uuid_is_null(&ret->job);
}

static bool descriptor_decode(uint32_t value, size_t n_descriptors, int *ret) {
        if (value > n_descriptors)
                return false;
        *ret = value == 0 ? EXECUTOR_NO_DESCRIPTOR : (int) value - 1;
        return true;
}

static bool hello_decode(const Executor__Hello *hello, struct executor_hello *ret) {
        if (hello->protocol == 0 || !node_id_is_valid(hello->node_id) || hello->slots > EXECUTOR_SLOTS_MAX ||
            hello->output_max < EXECUTOR_OUTPUT_MIN || hello->output_max > EXECUTOR_OUTPUT_MAX ||
            !text_is_valid(hello->version, VERSION_SHOWN_MAX))
                return false;

        *ret = (struct executor_hello){
                .protocol = hello->protocol,
                .version = hello->version,
                .node_id = hello->node_id,
                .slots = hello->slots,
                .output_max = hello->output_max,
                .kill_grace_usec = hello->kill_grace_usec,
        };
        return true;
}

static bool body_convert(const Executor__Body *body, struct executor_body *ret) {
        if (body->command[0] == '\0' || !text_is_valid(body->command, EXECUTOR_BODY_MAX) ||
            !text_is_valid(body->cwd, EXECUTOR_PATH_MAX) || body->n_env > EXECUTOR_ENV_MAX)
                return false;
        for (size_t i = 0; i < body->n_env; i++) {
                const char *equals = strchr(body->env[i], '=');

                if (!equals || equals == body->env[i] || !text_is_valid(body->env[i], EXECUTOR_BODY_MAX))
                        return false;
        }

        *ret = (struct executor_body){
                .command = body->command,
                .cwd = body->cwd[0] != '\0' ? body->cwd : NULL,
                .env = body->env,
                .n_env = body->n_env,
        };
        return true;
}

static bool start_decode(const Executor__Start *start, size_t n_descriptors, struct executor_start *ret) {
        *ret = (struct executor_start){
                .timeout_usec = start->timeout_usec == 0 ? USEC_INFINITY : start->timeout_usec,
        };
        if (!run_decode(start->run, &ret->run) ||
            !descriptor_decode(start->body_descriptor, n_descriptors, &ret->body_descriptor) ||
            !descriptor_decode(start->stdin_descriptor, n_descriptors, &ret->stdin_descriptor))
                return false;

        /* Exactly one of the two places, and no descriptor that serves twice. */
        if ((start->body != NULL) == (ret->body_descriptor != EXECUTOR_NO_DESCRIPTOR))
                return false;
        if (ret->body_descriptor != EXECUTOR_NO_DESCRIPTOR && ret->body_descriptor == ret->stdin_descriptor)
                return false;
        return !start->body || body_convert(start->body, &ret->body);
}

static bool read_decode(const Executor__Read *read, struct executor_read_request *ret) {
        *ret = (struct executor_read_request){
                .id = read->id,
                .stream = (int) read->stream,
                .offset = read->offset,
                .wait = read->wait,
        };
        return (read->stream == 1 || read->stream == 2) && run_decode(read->run, &ret->run);
}

static bool runs_decode(Executor__RunId *const *runs, size_t n_runs, struct run_id *ret) {
        for (size_t i = 0; i < n_runs; i++)
                if (!run_decode(runs[i], &ret[i]))
                        return false;
        return true;
}

static bool
commands_convert(const Executor__ToExecutor *in, size_t n_descriptors, struct executor_commands *commands) {

        if (in->hello) {
                commands->has_hello = true;
                if (!hello_decode(in->hello, &commands->hello))
                        return false;
        }
        if (in->slots_plus_one > 0) {
                commands->has_slots = true;
                commands->slots = in->slots_plus_one - 1;
                if (commands->slots > EXECUTOR_SLOTS_MAX)
                        return false;
        }
        for (size_t i = 0; i < in->n_start; i++)
                if (!start_decode(in->start[i], n_descriptors, &commands->starts[i]))
                        return false;
        for (size_t i = 0; i < in->n_read; i++)
                if (!read_decode(in->read[i], &commands->reads[i]))
                        return false;

        /* A way to stop that this version does not know is one that it cannot follow. */
        if (in->stop == EXECUTOR__STOP_MODE__STOP_WHEN_EMPTY ||
            in->stop == EXECUTOR__STOP_MODE__STOP_WITH_JOBS)
                commands->stop = (enum executor_stop) in->stop;
        return runs_decode(in->kill, in->n_kill, commands->kills) &&
               runs_decode(in->withdraw, in->n_withdraw, commands->withdrawn) &&
               runs_decode(in->acknowledge, in->n_acknowledge, commands->acknowledged);
}

/* An array of n elements, NULL and true for none. */
#define ARRAY_NEW(array, n) ((n) == 0 || ((array) = calloc((n), sizeof(*(array)))))

int executor_commands_decode(
        const void *data, size_t size, size_t n_descriptors, struct executor_commands *ret) {

        _cleanup_executor_commands_ struct executor_commands commands = {};
        Executor__ToExecutor *in;

        *ret = (struct executor_commands){};
        in = executor__to_executor__unpack(NULL, size, data);
        if (!in)
                return -EBADMSG;

        commands.storage = in;
        commands.n_starts = in->n_start;
        commands.n_kills = in->n_kill;
        commands.n_withdrawn = in->n_withdraw;
        commands.n_acknowledged = in->n_acknowledge;
        commands.n_reads = in->n_read;
        commands.n_cancelled_reads = in->n_cancel_read;
        commands.cancelled_reads = in->cancel_read;
        if (!ARRAY_NEW(commands.starts, in->n_start) || !ARRAY_NEW(commands.kills, in->n_kill) ||
            !ARRAY_NEW(commands.withdrawn, in->n_withdraw) ||
            !ARRAY_NEW(commands.acknowledged, in->n_acknowledge) || !ARRAY_NEW(commands.reads, in->n_read))
                return -ENOMEM;
        if (!commands_convert(in, n_descriptors, &commands))
                return -EBADMSG;

        *ret = commands;
        commands = (struct executor_commands){};
        return 0;
}

void executor_commands_done(struct executor_commands *commands) {
        free(commands->starts);
        free(commands->kills);
        free(commands->withdrawn);
        free(commands->acknowledged);
        free(commands->reads);
        if (commands->storage)
                executor__to_executor__free_unpacked(commands->storage, NULL);
        *commands = (struct executor_commands){};
}

static bool welcome_decode(const Executor__Welcome *welcome, struct executor_welcome *ret) {
        if (welcome->protocol == 0 || welcome->instance.len != sizeof(ret->instance.bytes))
                return false;
        ret->protocol = welcome->protocol;
        memcpy(ret->instance.bytes, welcome->instance.data, sizeof(ret->instance.bytes));
        return true;
}

static bool stream_decode(const Executor__Stream *stream, bool in_file, struct executor_stream *ret) {
        uint64_t size;

        if (!stream)
                return true;
        size = in_file ? stream->file_size : stream->data.len;
        /* The line that stands for what was left out may make it a little more than was kept. */
        if (size > EXECUTOR_OUTPUT_MAX + 4096)
                return false;
        *ret = (struct executor_stream){
                .data = in_file || size == 0 ? NULL : stream->data.data,
                .size = (size_t) size,
                .total = stream->total,
                .truncated = stream->truncated,
        };
        return true;
}

static bool ended_decode(const Executor__Ended *ended, size_t n_descriptors, struct executor_ended *ret) {
        bool in_file;

        *ret = (struct executor_ended){
                .outcome = (enum executor_outcome) ended->outcome,
                .exit_code = ended->exit_code,
                .signal = ended->signal,
                .started_at = ended->started_at_usec,
                .finished_at = ended->finished_at_usec,
                .duration_usec = ended->duration_usec,
                .error_message = ended->error_message[0] != '\0' ? ended->error_message : NULL,
        };
        if (!run_decode(ended->run, &ret->run) ||
            !descriptor_decode(ended->output_descriptor, n_descriptors, &ret->output_descriptor) ||
            (uint32_t) ended->outcome >= _EXECUTOR_OUTCOME_MAX ||
            !text_is_valid(ended->error_message, EXECUTOR_ERROR_MAX))
                return false;

        in_file = ret->output_descriptor != EXECUTOR_NO_DESCRIPTOR;
        return stream_decode(ended->stdout, in_file, &ret->stdout_stream) &&
               stream_decode(ended->stderr, in_file, &ret->stderr_stream);
}

static bool data_decode(const Executor__Data *data, struct executor_data *ret) {
        if (data->data.len > EXECUTOR_DATA_MAX || data->error > INT16_MAX)
                return false;
        *ret = (struct executor_data){
                .id = data->id,
                .error = -(int) data->error,
                .offset = data->offset,
                .data = data->data.len > 0 ? data->data.data : NULL,
                .size = data->data.len,
                .ended = data->ended,
                .total = data->total,
        };
        return true;
}

static bool
events_convert(const Executor__FromExecutor *in, size_t n_descriptors, struct executor_events *events) {

        if (in->welcome) {
                events->has_welcome = true;
                if (!welcome_decode(in->welcome, &events->welcome))
                        return false;
        }
        for (size_t i = 0; i < in->n_known; i++) {
                events->known[i].started_at = in->known[i]->started_at_usec;
                events->known[i].ended = in->known[i]->ended;
                if (!run_decode(in->known[i]->run, &events->known[i].run))
                        return false;
        }
        for (size_t i = 0; i < in->n_started; i++) {
                events->started[i].started_at = in->started[i]->started_at_usec;
                if (!run_decode(in->started[i]->run, &events->started[i].run))
                        return false;
        }
        for (size_t i = 0; i < in->n_ended; i++)
                if (!ended_decode(in->ended[i], n_descriptors, &events->ended[i]))
                        return false;
        for (size_t i = 0; i < in->n_data; i++)
                if (!data_decode(in->data[i], &events->data[i]))
                        return false;
        return true;
}

int executor_events_decode(
        const void *data, size_t size, size_t n_descriptors, struct executor_events *ret) {
        _cleanup_executor_events_ struct executor_events events = {};
        Executor__FromExecutor *in;

        *ret = (struct executor_events){};
        in = executor__from_executor__unpack(NULL, size, data);
        if (!in)
                return -EBADMSG;

        events.storage = in;
        events.n_known = in->n_known;
        events.n_started = in->n_started;
        events.n_ended = in->n_ended;
        events.n_data = in->n_data;
        events.synchronised = in->synchronised;
        if (!ARRAY_NEW(events.known, in->n_known) || !ARRAY_NEW(events.started, in->n_started) ||
            !ARRAY_NEW(events.ended, in->n_ended) || !ARRAY_NEW(events.data, in->n_data))
                return -ENOMEM;
        if (!events_convert(in, n_descriptors, &events))
                return -EBADMSG;

        *ret = events;
        events = (struct executor_events){};
        return 0;
}

void executor_events_done(struct executor_events *events) {
        free(events->known);
        free(events->started);
        free(events->ended);
        free(events->data);
        if (events->storage)
                executor__from_executor__free_unpacked(events->storage, NULL);
        *events = (struct executor_events){};
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

int executor_body_decode(const void *data, size_t size, struct executor_body *ret, void **ret_storage) {
        Executor__Body *in;

        if (size > EXECUTOR_BODY_MAX)
                return -EBADMSG;
        in = executor__body__unpack(NULL, size, data);
        if (!in)
                return -EBADMSG;
        if (!body_convert(in, ret)) {
                executor__body__free_unpacked(in, NULL);
                return -EBADMSG;
        }
        *ret_storage = in;
        return 0;
}

void executor_body_release(void *storage) {
        if (storage)
                executor__body__free_unpacked(storage, NULL);
}
