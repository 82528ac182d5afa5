/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Starting the executor program: as a process that nobody is the parent of, before there are threads, and as
 * a child by posix_spawn() later. Either way it has a session of its own, stands in the root folder, and
 * keeps of our descriptors only stderr. */

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#include "executor/client-internal.h"
#include "util/strv.h"

#define READY_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define CONNECT_POLL_USEC (5 * USEC_PER_MSEC)

extern char **environ;

/* Our environment without what the service manager told us alone. */
static char **child_environment(void) {
        static const char *const ours[] = {
                "NOTIFY_SOCKET=",  "LISTEN_FDS=",    "LISTEN_PID=",
                "LISTEN_FDNAMES=", "WATCHDOG_USEC=", "WATCHDOG_PID=",
        };
        char **environment = calloc(strv_length(environ) + 1, sizeof(char *));
        size_t n = 0;

        if (!environment)
                return NULL;
        STRV_FOREACH(entry, environ) {
                bool keep = true;

                for (size_t i = 0; i < ELEMENTSOF(ours); i++)
                        keep = keep && strncmp(*entry, ours[i], strlen(ours[i])) != 0;
                if (keep)
                        environment[n++] = *entry;
        }
        return environment;
}

/* Runs in a process of its own. report_fd is closed by a successful execve(), and as stdout it is open until
 * the executor listens. */
_noreturn_ static void
launched(const char *program, char *const *arguments, char *const *environment, int report_fd) {

        sigset_t none;
        int null_fd = open("/dev/null", O_RDONLY), error;

        (void) sigemptyset(&none);
        if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(report_fd, STDOUT_FILENO) < 0 ||
            close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0 || chdir("/") < 0 ||
            sigprocmask(SIG_SETMASK, &none, NULL) < 0 || execve(program, arguments, environment) < 0) {
                error = errno;
                (void) !write(report_fd, &error, sizeof(error));
        }
        _exit(127);
}

/* The middle one of three: its end makes the executor an orphan. */
_noreturn_ static void
intermediate(const char *program, char *const *arguments, char *const *environment, int report_fd) {

        pid_t pid;
        int error;

        if (setsid() >= 0) {
                pid = fork();
                if (pid == 0)
                        launched(program, arguments, environment, report_fd);
                if (pid > 0)
                        _exit(0);
        }
        error = errno;
        (void) !write(report_fd, &error, sizeof(error));
        _exit(1);
}

/* Until the other end is closed. -errno: what was reported. */
static int wait_for_report(int fd) {
        usec_t deadline = usec_add(now_usec(CLOCK_MONOTONIC), READY_TIMEOUT_USEC);

        for (;;) {
                usec_t left = usec_sub(deadline, now_usec(CLOCK_MONOTONIC));
                struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
                int error, r = poll(&poll_fd, 1, (int) (left / USEC_PER_MSEC));
                ssize_t n;

                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        return r < 0 ? -errno : -ETIMEDOUT;
                n = read(fd, &error, sizeof(error));
                if (n < 0)
                        return -errno;
                return n == sizeof(error) ? -error : 0;
        }
}

static int launch(const char *program, const char *socket_path) {
        char *const arguments[] = { (char *) program, (char *) "--socket", (char *) socket_path, NULL };
        _cleanup_free_ char **environment = child_environment();
        _cleanup_close_ int read_fd = -EBADF;
        int fds[2];
        pid_t pid;

        if (!environment)
                return -ENOMEM;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        read_fd = fds[0];
        pid = fork();
        if (pid == 0)
                intermediate(program, arguments, environment, fds[1]);
        (void) close_fd(fds[1]);
        if (pid < 0)
                return -errno;
        while (waitpid(pid, NULL, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return wait_for_report(read_fd);
}

static int try_connect(const char *socket_path) {
        int fd, r;

        r = channel_connect(socket_path, &fd);
        if (r >= 0)
                (void) close_fd(fd);
        /* A full queue is one that somebody serves. */
        return r == -EAGAIN ? 0 : r;
}

int executor_client_launch(const struct executor_config *config) {
        usec_t deadline;
        int r;

        r = try_connect(config->socket_path);
        if (!config->program || (r != -ENOENT && r != -ECONNREFUSED))
                return config->program ? r : 0;
        r = launch(config->program, config->socket_path);
        if (r < 0)
                return r;

        /* Where two were started at once, ours has left for the other, which may not listen yet. */
        deadline = usec_add(now_usec(CLOCK_MONOTONIC), READY_TIMEOUT_USEC);
        while ((r = try_connect(config->socket_path)) == -ENOENT || r == -ECONNREFUSED) {
                if (now_usec(CLOCK_MONOTONIC) > deadline)
                        return r;
                (void) usleep(CONNECT_POLL_USEC);
        }
        return r;
}

static int spawn_prepare(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions) {
        sigset_t signals;
        int r;

        (void) sigemptyset(&signals);
        r = posix_spawnattr_setsigmask(attributes, &signals);
        (void) sigfillset(&signals);
        r = r != 0 ? r : posix_spawnattr_setsigdefault(attributes, &signals);
        r = r != 0 ? r
                   : posix_spawnattr_setflags(
                             attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
        r = r != 0 ? r : posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        r = r != 0 ? r : posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        r = r != 0 ? r : posix_spawn_file_actions_addchdir_np(actions, "/");
        return r;
}

int executor_spawn(const char *program, const char *socket_path, pid_t *ret_pid) {
        char *const arguments[] = { (char *) program, (char *) "--socket", (char *) socket_path, NULL };
        _cleanup_free_ char **environment = child_environment();
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int r;

        if (!environment)
                return -ENOMEM;
        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attributes);
        if (r == 0) {
                r = spawn_prepare(&attributes, &actions);
                if (r == 0)
                        r = posix_spawn(ret_pid, program, &actions, &attributes, arguments, environment);
                (void) posix_spawnattr_destroy(&attributes);
        }
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}
