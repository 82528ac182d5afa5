/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Batches there and back, and what is refused. */

#include "lib/tests.h"
#include "wire/executor-codec.h"

static uint8_t data[EXECUTOR_MESSAGE_MAX];

static const struct run_id RUN_1 = { .job.bytes = { 1, 2, 3 }, .epoch = UINT64_MAX, .attempt = UINT32_MAX };
static const struct run_id RUN_2 = { .job.bytes = { 9 }, .epoch = 0, .attempt = 1 };

static void test_commands(void) {
        struct executor_message message = { .data = data };
        _cleanup_executor_commands_ struct executor_commands commands;
        char *const env[] = { (char *) "A=1", (char *) "B=", (char *) "C=x=y" };

        ASSERT_OK(executor_message_add_hello(
                &message, &(const struct executor_hello){ .protocol = 1,
                                                          .version = "1.2",
                                                          .node_id = "node-1",
                                                          .slots = 0,
                                                          .output_max = 65536,
                                                          .kill_grace_usec = 77,
                                                          .silence_usec = 78 }));
        ASSERT_OK(executor_message_add_slots(&message, 0));
        ASSERT_OK(executor_message_add_start(
                &message, &(const struct executor_start){
                                  .run = RUN_1,
                                  .timeout_usec = 5,
                                  .body = { .command = "echo ä", .cwd = "/tmp", .env = env, .n_env = 3 },
                                  .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                                  .stdin_descriptor = 1 }));
        ASSERT_OK(executor_message_add_start(
                &message, &(const struct executor_start){ .run = RUN_2,
                                                          .timeout_usec = USEC_INFINITY,
                                                          .body_descriptor = 0,
                                                          .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR }));
        ASSERT_OK(executor_message_add_kill(&message, &RUN_1));
        ASSERT_OK(executor_message_add_acknowledgement(&message, &RUN_2));
        ASSERT_OK(executor_message_add_read(
                &message, &(const struct executor_read_request){
                                  .id = 8, .run = RUN_1, .stream = 2, .offset = 1, .wait = true }));
        ASSERT_OK(executor_message_add_cancel_read(&message, 9));
        ASSERT_OK(executor_message_add_stop(&message, EXECUTOR_STOP_WHEN_EMPTY));
        ASSERT_OK(executor_message_add_awake(&message, 79));

        ASSERT_OK(executor_commands_decode(data, message.size, 2, &commands));
        ASSERT_TRUE(commands.has_hello);
        ASSERT_STREQ(commands.hello.node_id, "node-1");
        ASSERT_EQ(commands.hello.kill_grace_usec, 77);
        ASSERT_EQ(commands.hello.silence_usec, 78);
        ASSERT_EQ(commands.awake_usec, 79);
        ASSERT_TRUE(commands.has_slots);
        ASSERT_EQ(commands.slots, 0);
        ASSERT_EQ(commands.n_starts, 2);
        ASSERT_TRUE(run_id_equal(&commands.starts[0].run, &RUN_1));
        ASSERT_STREQ(commands.starts[0].body.command, "echo ä");
        ASSERT_STREQ(commands.starts[0].body.cwd, "/tmp");
        ASSERT_EQ(commands.starts[0].body.n_env, 3);
        ASSERT_STREQ(commands.starts[0].body.env[2], "C=x=y");
        ASSERT_EQ(commands.starts[0].stdin_descriptor, 1);
        ASSERT_EQ(commands.starts[0].timeout_usec, 5);
        ASSERT_EQ(commands.starts[1].body_descriptor, 0);
        ASSERT_EQ(commands.starts[1].timeout_usec, USEC_INFINITY);
        ASSERT_EQ(commands.n_kills, 1);
        ASSERT_EQ(commands.n_acknowledged, 1);
        ASSERT_TRUE(run_id_equal(&commands.acknowledged[0], &RUN_2));
        ASSERT_EQ(commands.n_reads, 1);
        ASSERT_EQ(commands.reads[0].stream, 2);
        ASSERT_TRUE(commands.reads[0].wait);
        ASSERT_EQ(commands.n_cancelled_reads, 1);
        ASSERT_EQ(commands.cancelled_reads[0], 9);
        ASSERT_EQ(commands.stop, EXECUTOR_STOP_WHEN_EMPTY);
}

static void test_limits(void) {
        const struct job_limits limits = {
                .memory_max = UINT64_C(1) << 40,
                .cpu_weight = 5,
                .cpu_quota = 150,
                .tasks_max = 9,
                .best_effort = true,
        };
        struct executor_message message = { .data = data };
        _cleanup_executor_commands_ struct executor_commands commands = {};

        ASSERT_OK(executor_message_add_start(
                &message, &(const struct executor_start){ .run = RUN_1,
                                                          .body = { .command = "true" },
                                                          .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                                                          .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR,
                                                          .limits = limits }));
        ASSERT_OK(executor_commands_decode(data, message.size, 0, &commands));
        ASSERT_EQ(commands.starts[0].limits.memory_max, limits.memory_max);
        ASSERT_EQ(commands.starts[0].limits.cpu_weight, limits.cpu_weight);
        ASSERT_EQ(commands.starts[0].limits.cpu_quota, limits.cpu_quota);
        ASSERT_EQ(commands.starts[0].limits.tasks_max, limits.tasks_max);
        ASSERT_TRUE(commands.starts[0].limits.best_effort);
}

static void test_limits_out_of_range(void) {
        static const struct job_limits wrong[] = {
                { .memory_max = JOB_MEMORY_MIN - 1 },     { .memory_max = JOB_MEMORY_MAX + 1 },
                { .cpu_weight = JOB_CPU_WEIGHT_MAX + 1 }, { .cpu_quota = JOB_CPU_QUOTA_MAX + 1 },
                { .tasks_max = JOB_TASKS_MAX + 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                struct executor_message message = { .data = data };
                struct executor_commands commands;

                ASSERT_OK(executor_message_add_start(
                        &message, &(const struct executor_start){ .run = RUN_1,
                                                                  .body = { .command = "true" },
                                                                  .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                                                                  .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR,
                                                                  .limits = wrong[i] }));
                ASSERT_ERROR(executor_commands_decode(data, message.size, 0, &commands), EBADMSG);
        }
}

static void welcome(unsigned enforceable, enum limit_obstacle obstacle, struct executor_welcome *ret) {
        struct executor_message message = { .data = data };
        _cleanup_executor_events_ struct executor_events events = {};

        ASSERT_OK(executor_message_add_welcome(
                &message,
                &(const struct executor_welcome){ .protocol = 1,
                                                  .instance.bytes = { 5 },
                                                  .enforceable = enforceable,
                                                  .support = { { obstacle, obstacle, obstacle } } }));
        ASSERT_OK(executor_events_decode(data, message.size, 0, &events));
        *ret = events.welcome;
}

static void test_support(void) {
        struct executor_welcome got;

        welcome(LIMITS_ALL, OBSTACLE_NONE, &got);
        ASSERT_EQ(limit_support_kinds(&got.support), LIMITS_ALL);
        welcome(LIMIT_TASKS, OBSTACLE_V1, &got);
        ASSERT_EQ(got.enforceable, LIMIT_TASKS);
        ASSERT_EQ(limit_support_kinds(&got.support), LIMIT_TASKS);
        ASSERT_EQ(limit_support_obstacle(&got.support, LIMIT_MEMORY), OBSTACLE_V1);
        /* One that says nothing more, and one that knows more reasons. */
        welcome(0, OBSTACLE_NONE, &got);
        ASSERT_EQ(limit_support_obstacle(&got.support, LIMIT_CPU), OBSTACLE_UNKNOWN);
        welcome(0, _OBSTACLE_MAX, &got);
        ASSERT_EQ(limit_support_obstacle(&got.support, LIMIT_CPU), OBSTACLE_UNKNOWN);
}

static void test_events(void) {
        struct executor_message message = { .data = data };
        _cleanup_executor_events_ struct executor_events events;

        ASSERT_OK(executor_message_add_welcome(
                &message, &(const struct executor_welcome){ .protocol = 3, .instance.bytes = { 5 } }));
        ASSERT_OK(executor_message_add_known(
                &message, &(const struct executor_known){ .run = RUN_1, .started_at = 4, .ended = true }));
        ASSERT_OK(executor_message_add_synchronised(&message));
        ASSERT_OK(executor_message_add_started(
                &message, &(const struct executor_started){ .run = RUN_2, .started_at = 6 }));
        ASSERT_OK(executor_message_add_ended(
                &message,
                &(const struct executor_ended){ .run = RUN_1,
                                                .outcome = EXECUTOR_SIGNALLED,
                                                .signal = 9,
                                                .exit_code = -1,
                                                .stdout_stream = { .data = "a\0b", .size = 3, .total = 3 },
                                                .stderr_stream = { .total = 10, .truncated = true },
                                                .output_descriptor = EXECUTOR_NO_DESCRIPTOR,
                                                .error_message = "why",
                                                .oom_killed = true }));
        ASSERT_OK(executor_message_add_ended(
                &message, &(const struct executor_ended){
                                  .run = RUN_2,
                                  .stdout_stream = { .size = 100000, .total = 200000, .truncated = true },
                                  .output_descriptor = 0 }));
        ASSERT_OK(executor_message_add_data(
                &message, &(const struct executor_data){ .id = 3,
                                                         .error = -ENOENT,
                                                         .offset = 1,
                                                         .data = "x",
                                                         .size = 1,
                                                         .ended = true,
                                                         .total = 2 }));

        ASSERT_OK(executor_events_decode(data, message.size, 1, &events));
        ASSERT_TRUE(events.has_welcome);
        ASSERT_EQ(events.welcome.instance.bytes[0], 5);
        ASSERT_EQ(events.n_known, 1);
        ASSERT_TRUE(events.known[0].ended);
        ASSERT_TRUE(events.synchronised);
        ASSERT_EQ(events.n_started, 1);
        ASSERT_EQ(events.started[0].started_at, 6);
        ASSERT_EQ(events.n_ended, 2);
        ASSERT_EQ(events.ended[0].outcome, EXECUTOR_SIGNALLED);
        ASSERT_EQ(events.ended[0].exit_code, -1);
        ASSERT_TRUE(events.ended[0].oom_killed);
        ASSERT_FALSE(events.ended[1].oom_killed);
        ASSERT_EQ(events.ended[0].stdout_stream.size, 3);
        ASSERT_EQ(memcmp(events.ended[0].stdout_stream.data, "a\0b", 3), 0);
        ASSERT_TRUE(events.ended[0].stderr_stream.truncated);
        ASSERT_STREQ(events.ended[0].error_message, "why");
        ASSERT_EQ(events.ended[1].output_descriptor, 0);
        ASSERT_EQ(events.ended[1].stdout_stream.size, 100000);
        ASSERT_NULL(events.ended[1].stdout_stream.data);
        ASSERT_NULL(events.ended[1].error_message);
        ASSERT_EQ(events.n_data, 1);
        ASSERT_EQ(events.data[0].error, -ENOENT);
        ASSERT_TRUE(events.data[0].ended);
        ASSERT_EQ(events.data[0].total, 2);
}

static void assert_start_refused(const struct executor_start *start, size_t n_descriptors) {
        struct executor_message message = { .data = data };
        struct executor_commands commands;

        ASSERT_OK(executor_message_add_start(&message, start));
        ASSERT_ERROR(executor_commands_decode(data, message.size, n_descriptors, &commands), EBADMSG);
        ASSERT_NULL(commands.storage);
}

static void test_wrong_starts(void) {
        const struct executor_start right = {
                .run = RUN_1,
                .body = { .command = "x" },
                .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR,
        };
        char *const no_name[] = { (char *) "=x" }, *const no_value[] = { (char *) "x" };
        struct executor_start start;

        start = right;
        start.run.job = UUID_NULL;
        assert_start_refused(&start, 0);
        start = right;
        start.body.command = "";
        assert_start_refused(&start, 0);
        start = right;
        start.body.command = "\xff";
        assert_start_refused(&start, 0);
        start = right;
        start.body.env = no_name;
        start.body.n_env = 1;
        assert_start_refused(&start, 0);
        start.body.env = no_value;
        assert_start_refused(&start, 0);
        start = right;
        start.stdin_descriptor = 2;
        assert_start_refused(&start, 2);
        start = right;
        start.body_descriptor = start.stdin_descriptor = 0;
        assert_start_refused(&start, 1);
}

/* A full message says so and stays as it is; one part alone that is too large says something else. */
static void test_full(void) {
        struct executor_message message = { .data = data };
        _cleanup_executor_commands_ struct executor_commands commands;
        _cleanup_free_ char *command = malloc(EXECUTOR_MESSAGE_MAX);
        struct executor_start start = {
                .run = RUN_1,
                .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR,
        };
        size_t n = 0, size;
        int r;

        while ((r = executor_message_add_kill(&message, &RUN_1)) >= 0)
                n++;
        ASSERT_EQ(r, -ENOSPC);
        ASSERT_GT(n, 1000);
        size = message.size;
        ASSERT_ERROR(executor_message_add_kill(&message, &RUN_1), ENOSPC);
        ASSERT_EQ(message.size, size);
        ASSERT_OK(executor_commands_decode(data, message.size, 0, &commands));
        ASSERT_EQ(commands.n_kills, n);

        ASSERT_NOT_NULL(command);
        memset(command, 'x', EXECUTOR_MESSAGE_MAX - 1);
        command[EXECUTOR_MESSAGE_MAX - 1] = '\0';
        start.body.command = command;
        ASSERT_ERROR(executor_message_add_start(&message, &start), EMSGSIZE);
}

static void test_body(void) {
        char *const env[] = { (char *) "A=1" };
        const struct executor_body body = { .command = "x", .env = env, .n_env = 1 };
        _cleanup_free_ void *encoded = NULL;
        struct executor_body decoded;
        void *storage;
        size_t size;

        ASSERT_OK(executor_body_encode(&body, &encoded, &size));
        ASSERT_EQ(size, executor_body_size(&body));
        ASSERT_OK(executor_body_decode(encoded, size, &decoded, &storage));
        ASSERT_STREQ(decoded.command, "x");
        ASSERT_NULL(decoded.cwd);
        ASSERT_EQ(decoded.n_env, 1);
        executor_body_release(storage);
        ASSERT_ERROR(executor_body_decode(encoded, size - 1, &decoded, &storage), EBADMSG);
        ASSERT_ERROR(executor_body_decode(encoded, 0, &decoded, &storage), EBADMSG);
}

/* Fields of a later version are passed over. */
static void test_unknown_fields(void) {
        struct executor_message message = { .data = data };
        _cleanup_executor_commands_ struct executor_commands commands;

        ASSERT_OK(executor_message_add_kill(&message, &RUN_1));
        /* Field 1000, a text of three bytes. */
        memcpy(data + message.size,
               "\xc2\x3e\x03"
               "abc",
               6);
        ASSERT_OK(executor_commands_decode(data, message.size + 6, 0, &commands));
        ASSERT_EQ(commands.n_kills, 1);
}

int main(void) {
        RUN(test_commands);
        RUN(test_limits);
        RUN(test_limits_out_of_range);
        RUN(test_support);
        RUN(test_events);
        RUN(test_wrong_starts);
        RUN(test_full);
        RUN(test_body);
        RUN(test_unknown_fields);
        return 0;
}
