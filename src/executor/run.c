/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A run from its arrival until its main process has ended; run-exit.c goes on from there. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "executor/channel.h"
#include "executor/executor.h"
#include "util/log.h"

#define TIMER_ACCURACY_USEC (1 * USEC_PER_MSEC)
/* A job that is shorter needs no more of us than its end: its output lies in the pipes, and is taken from
 * there. */
#define WATCH_AFTER_USEC (5 * USEC_PER_MSEC)
/* Of one stream in one turn of the loop: a job that prints without end delays others by the time of one
 * read. */
#define READ_PER_TURN (32u * 1024)

int run_new(struct executor *executor, const struct run_id *id, struct run **ret) {
        struct run *run = malloc(sizeof(*run));
        int r;

        if (!run)
                return -ENOMEM;
        *run = (struct run){
                .executor = executor,
                .id = *id,
                .stdin_fd = -EBADF,
                .pidfd = -EBADF,
                .streams = { { .fd = -EBADF, .write_fd = -EBADF }, { .fd = -EBADF, .write_fd = -EBADF } },
                .end.outputs = KEPT_OUTPUTS_NONE,
        };
        list_init(&run->reads);
        /* The three parts of the key lie one behind the other, without the padding that follows. */
        r = map_add(&executor->runs, &run->by_id, &run->id, RUN_KEY_SIZE);
        if (r < 0) {
                free(run);
                return r;
        }
        list_append(&executor->by_state[RUN_WAITING], &run->by_state);
        *ret = run;
        return 0;
}

static void stream_close(struct run_stream *stream) {
        stream->source = sd_event_source_disable_unref(stream->source);
        stream->fd = close_fd(stream->fd);
        stream->write_fd = close_fd(stream->write_fd);
}

static void run_forget_command(struct run *run) {
        free(run->command);
        run->command = NULL;
        run->environment = run_environment_free(run->environment);
}

void run_close(struct run *run) {
        run->exit_source = sd_event_source_disable_unref(run->exit_source);
        run->timer = sd_event_source_disable_unref(run->timer);
        stream_close(&run->streams[0]);
        stream_close(&run->streams[1]);
        run->pidfd = close_fd(run->pidfd);
        run->stdin_fd = close_fd(run->stdin_fd);
        run_forget_command(run);
}

struct run *run_free(struct run *run) {
        if (!run)
                return NULL;
        executor_requests_orphan(run->executor, run);
        map_remove(&run->executor->runs, &run->by_id);
        list_remove(&run->by_state);
        list_remove(&run->to_tell);
        run_close(run);
        output_done(&run->streams[0].output);
        output_done(&run->streams[1].output);
        kept_outputs_done(&run->end.outputs);
        free(run->end.error_message);
        if (run->leaf)
                (void) cgroup_leaf_discard(run->leaf);
        free(run);
        return NULL;
}

/* Puts text with its NUL at *position, which moves behind it. */
static char *text_place(char **position, const char *text) {
        char *placed = *position;

        *position = stpcpy(placed, text) + 1;
        return placed;
}

int run_set_command(struct run *run, const struct executor_body *body) {
        size_t size = strlen(body->command) + 1 + (body->cwd ? strlen(body->cwd) + 1 : 0);
        struct run_command *command;
        char *position;

        for (size_t i = 0; i < body->n_env; i++)
                size += strlen(body->env[i]) + 1;
        command = malloc(sizeof(*command) + body->n_env * sizeof(char *) + size);
        if (!command)
                return -ENOMEM;

        position = (char *) (command->env + body->n_env);
        command->command = text_place(&position, body->command);
        command->cwd = body->cwd ? text_place(&position, body->cwd) : NULL;
        command->n_env = body->n_env;
        for (size_t i = 0; i < body->n_env; i++)
                command->env[i] = text_place(&position, body->env[i]);
        run->command = command;
        return 0;
}

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct run *run = userdata;
        struct run_stream *stream = &run->streams[fd == run->streams[0].fd ? 0 : 1];
        char buffer[READ_PER_TURN];
        ssize_t n = read(fd, buffer, sizeof(buffer));

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        /* It cannot end, since we hold the other end too. */
        if (n <= 0) {
                log_debug_errno(n < 0 ? -errno : 0, "Reading from a job ended, ignoring: %m");
                stream->source = sd_event_source_disable_unref(stream->source);
                return 0;
        }
        output_append(&stream->output, buffer, (size_t) n);
        executor_requests_wake(run->executor, run);
        return 0;
}

static int stream_open(struct run *run, struct run_stream *stream) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        stream->fd = fds[0];
        stream->write_fd = fds[1];
        stream->output.limit = run->executor->output_max;
        /* Another user must be able to open it by its name, /dev/stdout, as well. */
        if (run->executor->job_user && fchmod(stream->write_fd, 0666) < 0)
                return -errno;
        /* Only our end; what the job writes to must block. */
        return fcntl(stream->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* From now on output is read as it comes. Without it what fits into the pipe is there, at the end. */
static void run_watch_streams(struct run *run) {
        if (run->watched)
                return;
        run->watched = true;
        for (size_t i = 0; i < ELEMENTSOF(run->streams); i++) {
                int r = sd_event_add_io(
                        run->executor->event, &run->streams[i].source, run->streams[i].fd, EPOLLIN,
                        on_output, run);

                if (r < 0)
                        log_warning_errno(r, "Cannot read the output of a job before it ends: %m");
        }
}

static int on_exit_of_main(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        run_main_exited(userdata);
        return 0;
}

static void run_set_timer_at(struct run *run, usec_t at_usec) {
        int r;

        r = sd_event_source_set_time(run->timer, at_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(run->timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Cannot set the timer of a run: %m");
}

void run_set_timer(struct run *run, usec_t after_usec) {
        run_set_timer_at(run, usec_add(now_usec(CLOCK_BOOTTIME), after_usec));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct run *run = userdata;

        switch (run->state) {
        case RUN_RUNNING:
                if (!run->watched) {
                        run_watch_streams(run);
                        if (spawned_has_left(&run->spawned))
                                run_forget_command(run);
                        run_set_timer_at(run, usec_add(run->started_boottime, run->timeout_usec));
                } else if (run->ending == RUN_ENDING_NONE)
                        run_end_by(run, RUN_ENDING_TIMEOUT, run->executor->kill_grace_usec);
                else
                        run_kill_processes(run);
                break;
        case RUN_CLEARING:
                run_check_cleared(run);
                break;
        case RUN_WAITING:
        case RUN_ANNOUNCED:
        case RUN_ENDED:
        case _RUN_STATE_MAX:
                assert(!"a timer without a process");
        }
        return 0;
}

/* Everything that can fail without a process comes before there is one. */
static int run_prepare(struct run *run) {
        struct executor *executor = run->executor;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(run->streams); i++) {
                r = stream_open(run, &run->streams[i]);
                if (r < 0)
                        return r;
        }
        run->started_boottime = now_usec(CLOCK_BOOTTIME);
        r = sd_event_add_time(
                executor->event, &run->timer, CLOCK_BOOTTIME,
                usec_add(run->started_boottime, WATCH_AFTER_USEC), TIMER_ACCURACY_USEC, on_timer, run);
        if (r < 0 || !executor->cgroups)
                return r;
        run->start_step = SPAWN_CGROUP;
        return executor_take_leaf(executor, &run->limits, &run->leaf);
}

static int run_spawn(struct run *run) {
        struct executor *executor = run->executor;
        struct spawn_request request;
        int r;

        run->serial = ++executor->n_spawned;
        r = run_environment_new(run, &run->environment);
        if (r < 0)
                return r;
        request = (struct spawn_request){
                .command = run->command->command,
                .cwd = run->command->cwd,
                .home = executor->home + strlen("HOME="),
                .environment = run_environment_entries(run->environment),
                .stdin_fd = run->stdin_fd >= 0 ? run->stdin_fd : executor->null_fd,
                .stdout_fd = run->streams[0].write_fd,
                .stderr_fd = run->streams[1].write_fd,
                .cgroup_fd = run->leaf ? run->leaf->directory_fd : -EBADF,
        };
        r = spawner_start(executor->spawner, &request, &run->spawned);
        if ((r == -ENODEV || r == -ENOENT || r == -EBUSY || r == -EOPNOTSUPP) && run->leaf) {
                /* Somebody has removed our group, or made it one that takes no process: once more, in a new
                 * one. The others that are free may be no better. */
                run->leaf = cgroup_leaf_discard(run->leaf);
                cgroup_tree_drop_free(executor->cgroups);
                r = executor_take_leaf(executor, &run->limits, &run->leaf);
                if (r < 0)
                        return r;
                request.cgroup_fd = run->leaf->directory_fd;
                r = spawner_start(executor->spawner, &request, &run->spawned);
        }
        if (r < 0)
                return r;
        run->pid = run->spawned.pid;
        run->pidfd = run->spawned.pidfd;
        return 0;
}

char *run_start_failure(const struct run *run) {
        const char *folder = run->start_step == SPAWN_CHDIR ? run->command->cwd : NULL;
        char *text;
        int r;

        r = asprintf(
                &text, "%s%s%s: %s", spawn_step_to_text(run->start_step), folder ? " " : "",
                folder ? folder : "", strerror(-run->start_error));
        return r < 0 ? NULL : text;
}

void run_start(struct run *run) {
        int r;

        assert(run->state == RUN_ANNOUNCED);
        run->start_step = SPAWN_STDIO;
        r = run_prepare(run);
        if (r >= 0) {
                run->start_step = SPAWN_CLONE;
                r = run_spawn(run);
        }
        if (r < 0) {
                run->start_error = r;
                run_finish(run, RUN_NOT_STARTED, run_start_failure(run));
                return;
        }
        run->has_run = true;
        executor_run_changed(run->executor, run, RUN_RUNNING);
        run->stdin_fd = close_fd(run->stdin_fd);

        r = sd_event_add_io(
                run->executor->event, &run->exit_source, run->pidfd, EPOLLIN, on_exit_of_main, run);
        if (r < 0) {
                /* Without memory nobody would notice its end: make it now. */
                log_error_errno(r, "Cannot watch a job, killing it: %m");
                run->ending = RUN_ENDING_STOP;
                run_kill_processes(run);
                run_main_exited(run);
        }
}

static bool main_has_ended(const struct run *run) {
        siginfo_t info = {};

        return waitid(P_PIDFD, (id_t) run->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid > 0;
}

static void run_end_process(struct run *run, enum run_ending ending, usec_t grace_usec) {
        /* It may have been quicker, and then that is how it ended. */
        if (main_has_ended(run)) {
                run_main_exited(run);
                return;
        }
        if (grace_usec == 0) {
                run->ending = run->ending == RUN_ENDING_NONE ? ending : run->ending;
                run_kill_processes(run);
                return;
        }
        if (run->ending != RUN_ENDING_NONE)
                return;
        run->ending = ending;
        run_watch_streams(run);
        run_signal(run, SIGTERM);
        /* What is stopped would not notice. */
        run_signal(run, SIGCONT);
        run_set_timer(run, grace_usec);
}

void run_end_by(struct run *run, enum run_ending ending, usec_t grace_usec) {
        switch (run->state) {
        case RUN_WAITING:
        case RUN_ANNOUNCED:
                run->ending = ending;
                run_finish(run, RUN_KILLED, NULL);
                break;
        case RUN_RUNNING:
                run_end_process(run, ending, grace_usec);
                break;
        case RUN_CLEARING:
        case RUN_ENDED:
                /* The main process was quicker. */
                break;
        case _RUN_STATE_MAX:
                assert(!"a state that is none");
        }
}
