/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What may come over the executor's socket, and who may be there. */

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "executor/channel.h"
#include "fixture.h"
#include "util/random.h"
#include "wire/executor-codec.h"

static const struct executor_hello HELLO = {
        .protocol = EXECUTOR_PROTOCOL,
        .version = "test",
        .node_id = "node-other",
        .slots = 1,
        .output_max = EXECUTOR_OUTPUT_MIN,
        .kill_grace_usec = 1000,
};

static const struct run_id RUN_1 = { .job.bytes = { 1 }, .epoch = 1, .attempt = 1 };

static int connect_raw(struct fixture *fixture) {
        int fd;

        ASSERT_OK(channel_connect(fixture->socket_path, &fd));
        return fd;
}

/* Waits for a message, or for the end: then false. */
static bool receive_raw(int fd, uint8_t *buffer, size_t *ret_size) {
        _cleanup_channel_received_ struct channel_received received;
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        int r;

        ASSERT_EQ(poll(&poll_fd, 1, (int) (FIXTURE_TIMEOUT_USEC / USEC_PER_MSEC)), 1);
        r = channel_receive(fd, buffer, EXECUTOR_MESSAGE_MAX, &received);
        if (r == -ECONNRESET)
                return false;
        ASSERT_OK(r);
        *ret_size = received.size;
        return true;
}

static void assert_dropped(int fd) {
        _cleanup_free_ uint8_t *buffer = malloc(EXECUTOR_MESSAGE_MAX);
        size_t size;

        ASSERT_NOT_NULL(buffer);
        while (receive_raw(fd, buffer, &size))
                ;
        (void) close(fd);
}

/* The executor is as it was, and so is the daemon's own connection. */
static void assert_serves(struct fixture *fixture) {
        _cleanup_(job_result_unref_p) struct job_result *result = fixture_run(fixture, "echo here");

        assert_output(&result->stdout_output, "here\n");
        ASSERT_EQ(fixture->n_disconnected, 0);
}

static void test_noise(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t noise[4096];

        fixture_begin(&fixture, NULL);
        for (size_t size = 1; size <= sizeof(noise); size *= 2) {
                int fd = connect_raw(&fixture);

                random_bytes(noise, size);
                ASSERT_OK(channel_send(fd, noise, size, NULL, 0));
                assert_dropped(fd);
        }
        assert_serves(&fixture);
}

/* The executor of fixture_begin() with its stderr in a file. */
static int fixture_begin_with_log(struct fixture *fixture) {
        int log_fd = memfd_create("log", MFD_CLOEXEC), saved = dup(STDERR_FILENO);

        ASSERT_TRUE(log_fd >= 0 && saved >= 0);
        ASSERT_OK(dup2(log_fd, STDERR_FILENO));
        fixture_begin(fixture, NULL);
        ASSERT_OK(dup2(saved, STDERR_FILENO));
        (void) close(saved);
        return log_fd;
}

static void test_noise_costs_few_lines(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_close_ int log_fd = fixture_begin_with_log(&fixture);
        char text[64 * 1024], *position = text;
        unsigned n_lines = 0;
        ssize_t size;

        for (unsigned i = 0; i < 60; i++) {
                int fd = connect_raw(&fixture);

                ASSERT_OK(channel_send(fd, "noise", 5, NULL, 0));
                assert_dropped(fd);
        }
        assert_serves(&fixture);
        size = pread(log_fd, text, sizeof(text) - 1, 0);
        ASSERT_GT(size, 0);
        text[size] = '\0';
        while ((position = strstr(position, "Dropping a connection"))) {
                n_lines++;
                position++;
        }
        ASSERT_TRUE(n_lines >= 1 && n_lines <= 20);
}

static void test_too_long(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_free_ uint8_t *noise = calloc(1, EXECUTOR_MESSAGE_MAX + 1);
        int fd;

        ASSERT_NOT_NULL(noise);
        fixture_begin(&fixture, NULL);
        fd = connect_raw(&fixture);
        ASSERT_OK(channel_send(fd, noise, EXECUTOR_MESSAGE_MAX + 1, NULL, 0));
        assert_dropped(fd);
        assert_serves(&fixture);
}

/* More descriptors than are received: some would be lost, so nothing counts. */
static void test_too_many_descriptors(void) {
        _cleanup_fixture_ struct fixture fixture;
        int fds[EXECUTOR_DESCRIPTORS_MAX + 8] = {};
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fds))];
        struct iovec iov = { .iov_base = (void *) "x", .iov_len = 1 };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
        };
        int fd;

        fixture_begin(&fixture, NULL);
        fd = connect_raw(&fixture);
        memset(control, 0, sizeof(control));
        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                                     .cmsg_type = SCM_RIGHTS,
                                                     .cmsg_len = CMSG_LEN(sizeof(fds)) };
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), fds, sizeof(fds));
        ASSERT_EQ(sendmsg(fd, &message, MSG_NOSIGNAL), 1);
        assert_dropped(fd);
        assert_serves(&fixture);
}

static void send_message(int fd, struct executor_message *message) {
        ASSERT_OK(channel_send(fd, message->data, message->size, NULL, 0));
        message->size = 0;
}

static void test_nothing_counts_before_hello(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        int fd;

        fixture_begin(&fixture, NULL);
        fd = connect_raw(&fixture);
        ASSERT_OK(executor_message_add_stop(&message, EXECUTOR_STOP_WITH_JOBS));
        send_message(fd, &message);
        assert_dropped(fd);
        assert_serves(&fixture);
}

static void test_wrong_hello(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        struct executor_hello wrong[4] = { HELLO, HELLO, HELLO, HELLO };

        wrong[0].protocol = 0;
        wrong[1].node_id = "not a/name";
        wrong[2].slots = EXECUTOR_SLOTS_MAX + 1;
        wrong[3].output_max = 1;
        fixture_begin(&fixture, NULL);
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                int fd = connect_raw(&fixture);

                ASSERT_OK(executor_message_add_hello(&message, &wrong[i]));
                send_message(fd, &message);
                assert_dropped(fd);
        }
        assert_serves(&fixture);
}

/* As the daemon says hello, and the executor answers. */
static int connect_with(struct fixture *fixture, const struct executor_hello *hello) {
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        struct executor_events events;
        size_t size;
        int fd = connect_raw(fixture);

        ASSERT_OK(executor_message_add_hello(&message, hello));
        send_message(fd, &message);
        ASSERT_TRUE(receive_raw(fd, data, &size));
        ASSERT_OK(executor_events_decode(data, size, 0, &events));
        ASSERT_TRUE(events.has_welcome);
        ASSERT_TRUE(events.synchronised);
        executor_events_done(&events);
        return fd;
}

static int connect_as_daemon(struct fixture *fixture) {
        return connect_with(fixture, &HELLO);
}

static void begin_without_daemon(struct fixture *fixture) {
        fixture_begin(fixture, NULL);
        fixture_disconnect(fixture);
}

static void assert_serves_again(struct fixture *fixture) {
        fixture->n_disconnected = 0;
        fixture_connect(fixture);
        assert_serves(fixture);
}

static void test_hello_twice(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        int fd;

        begin_without_daemon(&fixture);
        fd = connect_as_daemon(&fixture);
        ASSERT_OK(executor_message_add_hello(&message, &HELLO));
        send_message(fd, &message);
        assert_dropped(fd);
        assert_serves_again(&fixture);
}

/* A descriptor that is none, that is no file, and one that serves two starts. */
static void test_wrong_descriptors(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        struct executor_start start = {
                .run = RUN_1,
                .timeout_usec = USEC_PER_SEC,
                .body = { .command = "true" },
                .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .stdin_descriptor = 0,
        };
        int fd, fds[2], memory_fd;

        begin_without_daemon(&fixture);
        fd = connect_as_daemon(&fixture);
        ASSERT_OK(executor_message_add_start(&message, &start));
        ASSERT_OK(channel_send(fd, data, message.size, NULL, 0));
        assert_dropped(fd);

        ASSERT_EQ(pipe(fds), 0);
        fd = connect_as_daemon(&fixture);
        ASSERT_OK(channel_send(fd, data, message.size, fds, 1));
        assert_dropped(fd);
        (void) close(fds[0]);
        (void) close(fds[1]);

        start.run.attempt = 2;
        ASSERT_OK(executor_message_add_start(&message, &start));
        ASSERT_OK(memory_file_new(NULL, 0, &memory_fd));
        fd = connect_as_daemon(&fixture);
        ASSERT_OK(channel_send(fd, data, message.size, &memory_fd, 1));
        assert_dropped(fd);
        (void) close(memory_fd);
        assert_serves_again(&fixture);
}

static void test_body_is_garbage(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        const struct executor_start start = { .run = RUN_1,
                                              .body_descriptor = 0,
                                              .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR };
        int fd, memory_fd;

        begin_without_daemon(&fixture);
        ASSERT_OK(executor_message_add_start(&message, &start));
        ASSERT_OK(memory_file_new(
                &(const struct iovec){ .iov_base = (void *) "\xff\xff\xff", .iov_len = 3 }, 1, &memory_fd));
        fd = connect_as_daemon(&fixture);
        ASSERT_OK(channel_send(fd, data, message.size, &memory_fd, 1));
        assert_dropped(fd);
        (void) close(memory_fd);
        assert_serves_again(&fixture);
}

/* The newer daemon counts; the older one notices. */
static void test_another_daemon_takes_over(void) {
        _cleanup_fixture_ struct fixture fixture;
        int fd;

        fixture_begin(&fixture, NULL);
        fd = connect_as_daemon(&fixture);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        fixture_wait(&fixture, executor_client_is_synchronised(fixture.client));
        assert_dropped(fd);
        fixture.n_disconnected = 0;
        assert_serves(&fixture);
}

/* Many who say nothing: the oldest go, and the daemon stays. */
static void test_silent_strangers(void) {
        _cleanup_fixture_ struct fixture fixture;
        int fds[40];

        fixture_begin(&fixture, NULL);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                fds[i] = connect_raw(&fixture);
        assert_dropped(fds[0]);
        assert_serves(&fixture);
        for (size_t i = 1; i < ELEMENTSOF(fds); i++)
                (void) close(fds[i]);
}

/* Another user is turned away, even where the socket lets him. */
static void test_another_user(void) {
        _cleanup_fixture_ struct fixture fixture;
        int status;
        pid_t pid;

        fixture_begin(&fixture, NULL);
        ASSERT_EQ(chmod(fixture.folder.path, 0755), 0);
        ASSERT_EQ(chmod(fixture.socket_path, 0666), 0);
        pid = fork();
        if (pid == 0) {
                ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
                assert_dropped(connect_raw(&fixture));
                _exit(0);
        }
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        assert_serves(&fixture);
}

/* A daemon that does not read gets no more jobs started, and nothing is lost when it reads again. */
static void test_daemon_that_does_not_read(void) {
        _cleanup_fixture_ struct fixture fixture;

        fixture_begin(&fixture, NULL);
        for (size_t i = 0; i < 600; i++)
                (void) fixture_start(&fixture, "head -c 8000 /dev/zero");
        /* Everything is on its way, then the loop stands still while the socket fills. */
        fixture_wait(&fixture, fixture.n_started > 0);
        (void) usleep(300 * USEC_PER_MSEC);
        fixture_wait(&fixture, fixture.n_exited == 600);
        ASSERT_EQ(fixture.n_disconnected, 0);
        for (size_t i = 0; i < 600; i++)
                ASSERT_EQ(fixture.results[i]->stdout_output.size, 8000);
}

static int run_program(const char *arguments) {
        char command[512];

        (void) snprintf(
                command, sizeof(command), "%s %s > /dev/null 2>&1", getenv("WORKER_MESH_EXECUTOR_PROGRAM"),
                arguments);
        return WEXITSTATUS(system(command));
}

static void test_command_line(void) {
        ASSERT_EQ(run_program("--help"), 0);
        ASSERT_EQ(run_program("--version"), 0);
        ASSERT_EQ(run_program("--cgroup=maybe"), 2);
        ASSERT_EQ(run_program("--idle-timeout=soon"), 2);
        ASSERT_EQ(run_program("--socket=relative"), 2);
        ASSERT_EQ(run_program("--no-such-option"), 2);
        ASSERT_EQ(run_program("argument"), 2);
        ASSERT_EQ(run_program(""), 1);
        ASSERT_EQ(run_program("--socket=/no/such/folder/socket"), 1);
}

/* How many runs started and ended, as the next message tells, and whether others are held back. */
static void receive_counts(int fd, size_t *n_started, size_t *n_ended, bool *held) {
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_events events;
        size_t size;

        ASSERT_TRUE(receive_raw(fd, data, &size));
        ASSERT_OK(executor_events_decode(data, size, 0, &events));
        *n_started += events.n_started;
        *n_ended += events.n_ended;
        *held = *held || events.held;
        executor_events_done(&events);
}

/* A daemon that hangs is given up by the other nodes: what waits may begin there. */
static void test_nothing_starts_for_a_silent_daemon(void) {
        _cleanup_fixture_ struct fixture fixture;
        uint8_t data[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = data };
        struct executor_start start = {
                .run = RUN_1,
                .timeout_usec = USEC_PER_MINUTE,
                .body = { .command = "sleep 0.5" },
                .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR,
        };
        struct executor_hello hello = HELLO;
        struct pollfd poll_fd = { .events = POLLIN };
        size_t n_started = 0, n_ended = 0;
        bool held = false;

        begin_without_daemon(&fixture);
        hello.silence_usec = 200 * USEC_PER_MSEC;
        poll_fd.fd = connect_with(&fixture, &hello);
        ASSERT_OK(executor_message_add_start(&message, &start));
        start.run.job.bytes[0] = 2;
        ASSERT_OK(executor_message_add_start(&message, &start));
        send_message(poll_fd.fd, &message);
        while (n_ended == 0 || !held)
                receive_counts(poll_fd.fd, &n_started, &n_ended, &held);
        ASSERT_EQ(n_started, 1);
        ASSERT_EQ(poll(&poll_fd, 1, /* timeout= */ 300), 0);

        ASSERT_OK(executor_message_add_slots(&message, 1));
        send_message(poll_fd.fd, &message);
        ASSERT_EQ(poll(&poll_fd, 1, /* timeout= */ 100), 0);
        /* Nor does one that takes its place, before it has listened to the others. */
        (void) close(poll_fd.fd);
        poll_fd.fd = connect_with(&fixture, &hello);
        ASSERT_OK(executor_message_add_awake(&message, now_usec(CLOCK_BOOTTIME) - hello.silence_usec));
        send_message(poll_fd.fd, &message);
        ASSERT_EQ(poll(&poll_fd, 1, /* timeout= */ 100), 0);
        ASSERT_OK(executor_message_add_awake(&message, now_usec(CLOCK_BOOTTIME)));
        send_message(poll_fd.fd, &message);
        while (n_started == 1)
                receive_counts(poll_fd.fd, &n_started, &n_ended, &held);
        ASSERT_EQ(n_ended, 1);
        (void) close(poll_fd.fd);
}

int main(int argc, char *argv[]) {
        RUN(test_noise);
        RUN(test_noise_costs_few_lines);
        RUN(test_too_long);
        RUN(test_too_many_descriptors);
        RUN(test_nothing_counts_before_hello);
        RUN(test_wrong_hello);
        RUN(test_hello_twice);
        RUN(test_nothing_starts_for_a_silent_daemon);
        RUN(test_wrong_descriptors);
        RUN(test_body_is_garbage);
        RUN(test_another_daemon_takes_over);
        RUN(test_silent_strangers);
        if (geteuid() == 0)
                RUN(test_another_user);
        RUN(test_daemon_that_does_not_read);
        RUN(test_command_line);
        return 0;
}
