/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Bytes into messages between daemon and executor. Each *_decode() returns false for what must not be
 * believed.
 */

#include <errno.h>
#include <string.h>

#include "executor.pb-c.h"
#include "util/utf8.h"
#include "wire/executor-codec.h"

#define VERSION_SHOWN_MAX 31u

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
                .silence_usec = hello->silence_usec,
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

static bool in_range_or_absent(uint64_t value, uint64_t low, uint64_t high) {
        return value == 0 || (value >= low && value <= high);
}

static bool limits_decode(const Executor__Limits *limits, struct job_limits *ret) {
        if (!limits)
                return true;
        *ret = (struct job_limits){
                .memory_max = limits->memory_max,
                .cpu_weight = limits->cpu_weight,
                .cpu_quota = limits->cpu_quota,
                .tasks_max = limits->tasks_max,
                .best_effort = limits->best_effort,
        };
        return in_range_or_absent(ret->memory_max, JOB_MEMORY_MIN, JOB_MEMORY_MAX) &&
               in_range_or_absent(ret->cpu_weight, JOB_CPU_WEIGHT_MIN, JOB_CPU_WEIGHT_MAX) &&
               in_range_or_absent(ret->cpu_quota, JOB_CPU_QUOTA_MIN, JOB_CPU_QUOTA_MAX) &&
               in_range_or_absent(ret->tasks_max, JOB_TASKS_MIN, JOB_TASKS_MAX);
}

static bool start_decode(const Executor__Start *start, size_t n_descriptors, struct executor_start *ret) {
        *ret = (struct executor_start){
                .timeout_usec = start->timeout_usec == 0 ? USEC_INFINITY : start->timeout_usec,
        };
        if (!run_decode(start->run, &ret->run) ||
            !descriptor_decode(start->body_descriptor, n_descriptors, &ret->body_descriptor) ||
            !descriptor_decode(start->stdin_descriptor, n_descriptors, &ret->stdin_descriptor) ||
            !limits_decode(start->limits, &ret->limits))
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

static bool journalled_decode(const Executor__Journalled *journalled, struct executor_journalled *ret) {
        *ret = (struct executor_journalled){ .offsets = { journalled->stdout, journalled->stderr } };
        return run_decode(journalled->run, &ret->run);
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
        commands->awake_usec = in->awake_usec;
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
        for (size_t i = 0; i < in->n_journalled; i++)
                if (!journalled_decode(in->journalled[i], &commands->journalled[i]))
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
        commands.n_journalled = in->n_journalled;
        if (!ARRAY_NEW(commands.starts, in->n_start) || !ARRAY_NEW(commands.kills, in->n_kill) ||
            !ARRAY_NEW(commands.withdrawn, in->n_withdraw) ||
            !ARRAY_NEW(commands.acknowledged, in->n_acknowledge) || !ARRAY_NEW(commands.reads, in->n_read) ||
            !ARRAY_NEW(commands.journalled, in->n_journalled))
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
        free(commands->journalled);
        if (commands->storage)
                executor__to_executor__free_unpacked(commands->storage, NULL);
        *commands = (struct executor_commands){};
}

/* An executor of another version may not say why, or have a reason that is new. */
static enum limit_obstacle obstacle_decode(bool enforceable, Executor__Obstacle obstacle) {
        if (enforceable)
                return OBSTACLE_NONE;
        return obstacle == EXECUTOR__OBSTACLE__OBSTACLE_NONE || (uint32_t) obstacle >= _OBSTACLE_MAX
                       ? OBSTACLE_UNKNOWN
                       : (enum limit_obstacle) obstacle;
}

static bool welcome_decode(const Executor__Welcome *welcome, struct executor_welcome *ret) {
        if (welcome->protocol == 0 || welcome->instance.len != sizeof(ret->instance.bytes))
                return false;
        ret->protocol = welcome->protocol;
        memcpy(ret->instance.bytes, welcome->instance.data, sizeof(ret->instance.bytes));
        ret->enforceable = welcome->enforceable & LIMITS_ALL;
        ret->support.obstacles[0] =
                obstacle_decode(welcome->enforceable & LIMIT_MEMORY, welcome->memory_obstacle);
        ret->support.obstacles[1] = obstacle_decode(welcome->enforceable & LIMIT_CPU, welcome->cpu_obstacle);
        ret->support.obstacles[2] =
                obstacle_decode(welcome->enforceable & LIMIT_TASKS, welcome->tasks_obstacle);
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
        /* Nothing is kept of what was never written. */
        if (size > 0 && stream->total == 0)
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
                .oom_killed = ended->oom_killed,
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
                events->known[i].journalled[0] = in->known[i]->journalled_stdout;
                events->known[i].journalled[1] = in->known[i]->journalled_stderr;
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
        events.stopping = in->stopping;
        events.held = in->held;
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
