/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The limit that running jobs is held against: the same command started as cheaply as a C program can, both
 * outputs captured to their end, a fixed number at once, and nothing remembered. */

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "bench/measure.h"
#include "bench/options.h"

#define CONCURRENCY_MAX 256u
#define EVENTS_PER_WAIT 32

struct child {
        pid_t pid;
        unsigned n_open; /* streams that have not ended */
        uint64_t begin_nsec;
};

struct stream {
        struct child *child;
        int fd;
};

struct spawner {
        const char *command;
        int epoll_fd;
        int null_fd;
        unsigned n_to_start, n_running;
        struct samples *samples;
        struct child children[CONCURRENCY_MAX];
        struct stream streams[CONCURRENCY_MAX][2];
};

/* A small clean environment, as a job has one. */
static char *const environment[] = {
        (char *) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        (char *) "HOME=/",
        (char *) "LANG=C.UTF-8",
        NULL,
};

static int spawn_shell(const struct spawner *spawner, int stdout_fd, int stderr_fd, pid_t *ret) {
        char *const arguments[] = { (char *) "sh", (char *) "-c", (char *) spawner->command, NULL };
        posix_spawn_file_actions_t actions;
        int r;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawn_file_actions_adddup2(&actions, spawner->null_fd, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, stdout_fd, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
        if (r == 0)
                r = posix_spawn(ret, "/bin/sh", &actions, NULL, arguments, environment);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static int stream_watch(struct spawner *spawner, struct stream *stream, struct child *child, int *fd) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = stream };

        if (epoll_ctl(spawner->epoll_fd, EPOLL_CTL_ADD, *fd, &event) < 0)
                return -errno;
        *stream = (struct stream){ .child = child, .fd = TAKE_FD(*fd) };
        child->n_open++;
        return 0;
}

static int child_start(struct spawner *spawner, struct child *child) {
        _cleanup_close_ int stdout_read = -EBADF, stdout_write = -EBADF, stderr_read = -EBADF,
                            stderr_write = -EBADF;
        struct stream *streams = spawner->streams[child - spawner->children];
        int pair[2], r;

        child->begin_nsec = monotonic_nsec();
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        stdout_read = pair[0];
        stdout_write = pair[1];
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        stderr_read = pair[0];
        stderr_write = pair[1];

        r = spawn_shell(spawner, stdout_write, stderr_write, &child->pid);
        if (r < 0)
                return r;
        spawner->n_to_start--;
        spawner->n_running++;
        r = stream_watch(spawner, &streams[0], child, &stdout_read);
        if (r < 0)
                return r;
        return stream_watch(spawner, &streams[1], child, &stderr_read);
}

/* Both streams have ended, so the shell is about to, if it has not yet. */
static int child_finish(struct spawner *spawner, struct child *child) {
        int status;

        if (waitpid(child->pid, &status, 0) < 0)
                return -errno;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                fprintf(stderr, "\"%s\" failed.\n", spawner->command);
                return -EPROTO;
        }
        spawner->n_running--;
        samples_add(spawner->samples, monotonic_nsec() - child->begin_nsec);
        return spawner->n_to_start > 0 ? child_start(spawner, child) : 0;
}

static int stream_read(struct spawner *spawner, struct stream *stream) {
        char data[16 * 1024];
        ssize_t n = read(stream->fd, data, sizeof(data));

        if (n < 0)
                return -errno;
        if (n > 0)
                return 0;
        /* Not left to close(): a child that is just being started may still hold a copy, and the pipe with
         * it. */
        if (epoll_ctl(spawner->epoll_fd, EPOLL_CTL_DEL, stream->fd, NULL) < 0)
                return -errno;
        stream->fd = close_fd(stream->fd);
        return --stream->child->n_open == 0 ? child_finish(spawner, stream->child) : 0;
}

static int spawner_run(struct spawner *spawner, unsigned concurrency) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int r;

        for (unsigned i = 0; i < concurrency && spawner->n_to_start > 0; i++) {
                r = child_start(spawner, &spawner->children[i]);
                if (r < 0)
                        return r;
        }
        while (spawner->n_running > 0) {
                int n = epoll_wait(spawner->epoll_fd, events, EVENTS_PER_WAIT, -1);

                if (n < 0)
                        return -errno;
                for (int i = 0; i < n; i++) {
                        r = stream_read(spawner, events[i].data.ptr);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned count = 1000, concurrency = 1;
        const char *command = "true";
        const struct bench_option options[] = {
                { "count", "How many to start (1000).", 1, 10000000, &count, NULL, NULL },
                { "concurrency", "How many at once (1).", 1, CONCURRENCY_MAX, &concurrency, NULL, NULL },
                { "command", "What the shell runs (true).", 0, 0, NULL, &command, NULL },
        };
        static struct spawner spawner;
        _cleanup_free_ struct samples *samples = NULL;
        _cleanup_close_ int null_fd = -EBADF, epoll_fd = -EBADF;
        int r;

        r = bench_options_parse(
                argc, argv, "Starts /bin/sh -c COMMAND over and over, with its output captured.", options,
                ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (null_fd < 0 || epoll_fd < 0 || samples_new(count, &samples) < 0) {
                perror("Cannot begin");
                return EXIT_FAILURE;
        }
        spawner = (struct spawner){
                .command = command,
                .epoll_fd = epoll_fd,
                .null_fd = null_fd,
                .n_to_start = count,
                .samples = samples,
        };

        uint64_t begin_nsec = monotonic_nsec();
        r = spawner_run(&spawner, concurrency);
        if (r < 0) {
                fprintf(stderr, "Cannot spawn: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        rate_print(count, monotonic_nsec() - begin_nsec);
        samples_print(samples);
        return EXIT_SUCCESS;
}
