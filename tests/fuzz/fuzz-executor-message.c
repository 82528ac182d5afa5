/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What comes over the executor's socket, in either direction: whatever is accepted keeps to its limits, and
 * can be said again. */

#include "lib/tests.h"
#include "wire/executor-codec.h"

#define N_DESCRIPTORS 3 /* as if so many had come with it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_descriptor(int descriptor) {
        ASSERT_TRUE(descriptor == EXECUTOR_NO_DESCRIPTOR || (descriptor >= 0 && descriptor < N_DESCRIPTORS));
}

static void check_limits(const struct job_limits *limits) {
        ASSERT_TRUE(limits->memory_max == 0 || limits->memory_max >= JOB_MEMORY_MIN);
        ASSERT_LE(limits->memory_max, JOB_MEMORY_MAX);
        ASSERT_LE(limits->cpu_weight, JOB_CPU_WEIGHT_MAX);
        ASSERT_LE(limits->cpu_quota, JOB_CPU_QUOTA_MAX);
        ASSERT_LE(limits->tasks_max, JOB_TASKS_MAX);
}

static void check_start(const struct executor_start *start, struct executor_message *message) {
        _cleanup_executor_commands_ struct executor_commands again = {};

        ASSERT_FALSE(uuid_is_null(&start->run.job));
        check_descriptor(start->body_descriptor);
        check_descriptor(start->stdin_descriptor);
        check_limits(&start->limits);
        ASSERT_EQ(start->body.command != NULL, start->body_descriptor == EXECUTOR_NO_DESCRIPTOR);
        ASSERT_LE(start->body.n_env, EXECUTOR_ENV_MAX);
        for (size_t i = 0; i < start->body.n_env; i++)
                ASSERT_NOT_NULL(strchr(start->body.env[i], '='));

        message->size = 0;
        /* It came in one message, so it goes into one. */
        ASSERT_OK(executor_message_add_start(message, start));
        ASSERT_OK(executor_commands_decode(message->data, message->size, N_DESCRIPTORS, &again));
        ASSERT_EQ(again.n_starts, 1);
        ASSERT_TRUE(run_id_equal(&again.starts[0].run, &start->run));
        ASSERT_TRUE(streq_ptr(again.starts[0].body.command, start->body.command));
        ASSERT_EQ(again.starts[0].limits.memory_max, start->limits.memory_max);
        ASSERT_EQ(again.starts[0].limits.cpu_weight, start->limits.cpu_weight);
        ASSERT_EQ(again.starts[0].limits.cpu_quota, start->limits.cpu_quota);
        ASSERT_EQ(again.starts[0].limits.tasks_max, start->limits.tasks_max);
        /* Where no limit is asked for it means nothing. */
        if (job_limits_kinds(&start->limits) != 0)
                ASSERT_EQ(again.starts[0].limits.best_effort, start->limits.best_effort);
}

static void
check_journalled(const struct executor_journalled *journalled, struct executor_message *message) {
        _cleanup_executor_commands_ struct executor_commands again = {};

        message->size = 0;
        ASSERT_OK(executor_message_add_journalled(message, journalled));
        ASSERT_OK(executor_commands_decode(message->data, message->size, 0, &again));
        ASSERT_EQ(again.n_journalled, 1);
        ASSERT_TRUE(run_id_equal(&again.journalled[0].run, &journalled->run));
        ASSERT_EQ(again.journalled[0].offsets[0], journalled->offsets[0]);
        ASSERT_EQ(again.journalled[0].offsets[1], journalled->offsets[1]);
}

static void check_commands(const uint8_t *data, size_t size, struct executor_message *message) {
        _cleanup_executor_commands_ struct executor_commands commands = {};

        if (executor_commands_decode(data, size, N_DESCRIPTORS, &commands) < 0) {
                ASSERT_NULL(commands.storage);
                return;
        }
        ASSERT_TRUE(!commands.has_hello || node_id_is_valid(commands.hello.node_id));
        ASSERT_TRUE(commands.stop >= EXECUTOR_STOP_NOT && commands.stop <= EXECUTOR_STOP_WITH_JOBS);
        for (size_t i = 0; i < commands.n_starts; i++)
                check_start(&commands.starts[i], message);
        for (size_t i = 0; i < commands.n_reads; i++)
                ASSERT_TRUE(commands.reads[i].stream == 1 || commands.reads[i].stream == 2);
        for (size_t i = 0; i < commands.n_journalled; i++)
                check_journalled(&commands.journalled[i], message);
}

static void check_ended(const struct executor_ended *ended, struct executor_message *message) {
        _cleanup_executor_events_ struct executor_events again = {};

        check_descriptor(ended->output_descriptor);
        ASSERT_LT(ended->outcome, _EXECUTOR_OUTCOME_MAX);
        message->size = 0;
        ASSERT_OK(executor_message_add_ended(message, ended));
        ASSERT_OK(executor_events_decode(message->data, message->size, N_DESCRIPTORS, &again));
        ASSERT_EQ(again.n_ended, 1);
        ASSERT_EQ(again.ended[0].outcome, ended->outcome);
        ASSERT_EQ(again.ended[0].oom_killed, ended->oom_killed);
        ASSERT_EQ(again.ended[0].stdout_stream.size, ended->stdout_stream.size);
}

/* Everything that is not about one run. */
static void check_greeting(const struct executor_events *events, struct executor_message *message) {
        _cleanup_executor_events_ struct executor_events again = {};

        message->size = 0;
        if (events->has_welcome) {
                ASSERT_EQ(events->welcome.enforceable & ~(unsigned) LIMITS_ALL, 0);
                ASSERT_OK(executor_message_add_welcome(message, &events->welcome));
        }
        for (size_t i = 0; i < events->n_known; i++)
                if (executor_message_add_known(message, &events->known[i]) < 0)
                        return; /* ours are not always the shorter ones */
        if (events->stopping && executor_message_add_stopping(message) < 0)
                return;
        ASSERT_OK(executor_events_decode(message->data, message->size, 0, &again));
        ASSERT_EQ(again.has_welcome, events->has_welcome);
        ASSERT_EQ(again.welcome.enforceable, events->welcome.enforceable);
        ASSERT_EQ(again.stopping, events->stopping);
        ASSERT_EQ(again.n_known, events->n_known);
        for (size_t i = 0; i < again.n_known; i++) {
                ASSERT_EQ(again.known[i].ended, events->known[i].ended);
                ASSERT_EQ(again.known[i].journalled[0], events->known[i].journalled[0]);
                ASSERT_EQ(again.known[i].journalled[1], events->known[i].journalled[1]);
        }
}

static void check_events(const uint8_t *data, size_t size, struct executor_message *message) {
        _cleanup_executor_events_ struct executor_events events = {};

        if (executor_events_decode(data, size, N_DESCRIPTORS, &events) < 0) {
                ASSERT_NULL(events.storage);
                return;
        }
        check_greeting(&events, message);
        for (size_t i = 0; i < events.n_ended; i++)
                check_ended(&events.ended[i], message);
        for (size_t i = 0; i < events.n_data; i++)
                ASSERT_LE(events.data[i].size, EXECUTOR_DATA_MAX);
}

static void check_body(const uint8_t *data, size_t size) {
        _cleanup_free_ void *encoded = NULL;
        struct executor_body body;
        size_t encoded_size;
        void *storage;

        if (executor_body_decode(data, size, &body, &storage) < 0)
                return;
        ASSERT_NE(body.command[0], '\0');
        ASSERT_OK(executor_body_encode(&body, &encoded, &encoded_size));
        executor_body_release(storage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t buffer[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = buffer };

        if (size > EXECUTOR_MESSAGE_MAX)
                return 0;
        check_commands(data, size, &message);
        check_events(data, size, &message);
        check_body(data, size);
        return 0;
}
