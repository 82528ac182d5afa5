/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The daemon's side, until it and the executor know what they have: what goes wrong is tried again. */

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "fixture.h"
#include "wire/executor-codec.h"

static int accept_one(struct fixture *fixture, int listener) {
        int fd;

        fixture_wait(fixture, (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
        return fd;
}

/* As one that was stopped by a signal: it is given up after a while, and tried again. */
static void test_silent_executor(void) {
        _cleanup_close_ int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_fixture_ struct fixture fixture;
        char hello[4096];
        int first, second;

        fixture_begin(
                &fixture, &(const struct fixture_options){ .process_groups = true, .no_program = true });
        memcpy(address.sun_path, fixture.socket_path, strlen(fixture.socket_path) + 1);
        ASSERT_EQ(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(listener, 4), 0);

        fixture_begin_to_connect(&fixture);
        first = accept_one(&fixture, listener);
        second = accept_one(&fixture, listener);
        ASSERT_GT(recv(first, hello, sizeof(hello), 0), 0);
        ASSERT_EQ(recv(first, hello, sizeof(hello), 0), 0);
        ASSERT_EQ(fixture.n_synchronised + fixture.n_disconnected, 0);

        /* It is found when it speaks. */
        listener = close_fd(listener);
        ASSERT_EQ(unlink(fixture.socket_path), 0);
        fixture_start_executor(&fixture);
        (void) close(first);
        (void) close(second);
        fixture_wait(&fixture, fixture.n_synchronised == 1);
}

/* Who could not take what the executor has is asked again, and not left half connected. */
static void test_out_of_memory_when_synchronised(void) {
        _cleanup_fixture_ struct fixture fixture;

        fixture_begin(&fixture, &(const struct fixture_options){ .process_groups = true });
        fixture_disconnect(&fixture);
        fixture.n_refusals = 2;
        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_refusals, 0);
        ASSERT_EQ(fixture.n_synchronised, 2);
        ASSERT_EQ(fixture.n_disconnected, 0);
}

static void say_welcome(int fd) {
        const struct executor_welcome welcome = { .protocol = EXECUTOR_PROTOCOL, .instance.bytes = { 1 } };
        uint8_t buffer[EXECUTOR_MESSAGE_MAX];
        struct executor_message message = { .data = buffer };

        ASSERT_OK(executor_message_add_welcome(&message, &welcome));
        ASSERT_OK(executor_message_add_synchronised(&message));
        ASSERT_EQ(send(fd, buffer, message.size, 0), (ssize_t) message.size);
}

/* An executor of which a child that has not become its program yet still holds everything. */
static pid_t fork_executor(const struct fixture *fixture, int listener, int pid_fd) {
        pid_t pid = fork(), child;
        char hello[4096];
        int fd;

        ASSERT_GE(pid, 0);
        if (pid > 0)
                return pid;
        /* Whose the socket is goes by who called this. */
        ASSERT_EQ(listen(listener, 4), 0);
        child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
                fd = accept4(listener, NULL, NULL, 0);
                ASSERT_GT(recv(fd, hello, sizeof(hello), 0), 0);
                say_welcome(fd);
        } else
                ASSERT_EQ(write(pid_fd, &child, sizeof(child)), (ssize_t) sizeof(child));
        for (;;)
                (void) pause();
}

static void test_death_beside_a_child(void) {
        _cleanup_close_ int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_fixture_ struct fixture fixture;
        pid_t executor, child;
        int pipe_fds[2];

        fixture_begin(
                &fixture, &(const struct fixture_options){ .process_groups = true, .no_program = true });
        memcpy(address.sun_path, fixture.socket_path, strlen(fixture.socket_path) + 1);
        ASSERT_EQ(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(pipe(pipe_fds), 0);
        executor = fork_executor(&fixture, listener, pipe_fds[1]);
        ASSERT_EQ(read(pipe_fds[0], &child, sizeof(child)), (ssize_t) sizeof(child));

        fixture_connect(&fixture);
        ASSERT_EQ(kill(executor, SIGKILL), 0);
        ASSERT_EQ(waitpid(executor, NULL, 0), executor);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        ASSERT_TRUE(process_exists(child));
        ASSERT_EQ(kill(child, SIGKILL), 0);
        (void) close(pipe_fds[0]);
        (void) close(pipe_fds[1]);
}

int main(void) {
        RUN(test_silent_executor);
        RUN(test_out_of_memory_when_synchronised);
        RUN(test_death_beside_a_child);
        return 0;
}
