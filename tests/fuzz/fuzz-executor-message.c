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

static void check_start(const struct executor_start *start, struct executor_message *message) {
        _cleanup_executor_commands_ struct executor_commands again = {};

        ASSERT_FALSE(uuid_is_null(&start->run.job));
        check_descriptor(start->body_descriptor);
        check_descriptor(start->stdin_descriptor);
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
}

static void check_commands(const uint8_t *data, size_t size, struct executor_message *message) {
        _cleanup_executor_commands_ struct executor_commands commands = {};

        if (executor_commands_decode(data, size, N_DESCRIPTORS, &commands) < 0) {
                ASSERT_NULL(commands.storage);
                return;
        }
        ASSERT_TRUE(!commands.has_hello || node_id_is_valid(commands.hello.node_id));
        for (size_t i = 0; i < commands.n_starts; i++)
                check_start(&commands.starts[i], message);
        for (size_t i = 0; i < commands.n_reads; i++)
                ASSERT_TRUE(commands.reads[i].stream == 1 || commands.reads[i].stream == 2);
}

static void check_events(const uint8_t *data, size_t size, struct executor_message *message) {
        _cleanup_executor_events_ struct executor_events events = {};

        if (executor_events_decode(data, size, N_DESCRIPTORS, &events) < 0) {
                ASSERT_NULL(events.storage);
                return;
        }
        for (size_t i = 0; i < events.n_ended; i++) {
                check_descriptor(events.ended[i].output_descriptor);
                ASSERT_LT(events.ended[i].outcome, _EXECUTOR_OUTCOME_MAX);
                message->size = 0;
                ASSERT_OK(executor_message_add_ended(message, &events.ended[i]));
        }
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
