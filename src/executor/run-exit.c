/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A run from the end of its main process on: what is left of the job is killed and proven gone, then its
 * output is taken and its slot is free. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "executor/channel.h"
#include "executor/executor.h"
#include "executor/orphans.h"
#include "util/log.h"

/* How often it is asked whether what was killed is gone: soon, then less often. */
#define CHECK_FIRST_USEC (1 * USEC_PER_MSEC)
#define CHECK_LAST_USEC (100 * USEC_PER_MSEC)
#define CHECKS_UNTIL_WARNING 100u
/* Kept beyond what is in use: the number of slots may go down for a while and up again. */
#define LEAVES_PER_SLOT 2u
#define DRAIN_MAX \
        (1024u * 1024) /* bytes; nobody of the job can write any more, but another may hold the pipe */
#define DRAIN_PIECE (16u * 1024)

/* To the group of the main process, which has its number until it is reaped; then there is no number to use.
 * Before it has made the group there is only itself. */
static int signal_group(const struct run *run, int signal) {
        if (run->pid <= 0)
                return -ESRCH;
        if (kill(-run->pid, signal) >= 0)
                return 0;
        return errno == ESRCH && kill(run->pid, signal) >= 0 ? 0 : -errno;
}

void run_signal(struct run *run, int signal) {
        int r = run->leaf ? cgroup_leaf_signal(run->leaf, signal) : signal_group(run, signal);

        if (r < 0 && r != -ESRCH)
                log_warning_errno(r, "Cannot send signal %d to a job: %m", signal);
}

void run_kill_processes(struct run *run) {
        int r = run->leaf ? cgroup_leaf_kill(run->leaf) : signal_group(run, SIGKILL);

        if (r < 0 && r != -ESRCH)
                log_warning_errno(r, "Cannot kill a job: %m");
        /* Where it has to enter its cgroup by itself it may not have come so far. */
        if (run->leaf && run->pid > 0)
                (void) kill(run->pid, SIGKILL);
        (void) sd_event_source_set_enabled(run->timer, SD_EVENT_OFF);
}

static bool others_are_active(const struct run *run) {
        return run->executor->n_active > 1;
}

/* Kills what it finds without a cgroup; true where nothing was found. */
static bool orphans_are_gone(struct run *run) {
        char marker[RUN_MARKER_MAX];
        int r;

        orphans_reap(executor_pid_is_main, run->executor);
        /* When this was the only job, all that is there is its own, whatever its environment says. */
        r = orphans_kill(
                others_are_active(run) ? run_marker(run, marker) : NULL, executor_pid_is_main,
                run->executor);
        if (r < 0)
                log_warning_errno(r, "Cannot look for what a job left behind: %m");
        return r <= 0;
}

static bool leaf_is_empty(struct run *run) {
        int r = cgroup_leaf_is_populated(run->leaf);

        if (r < 0) {
                log_warning_errno(r, "Cannot see whether a cgroup is empty, giving it up: %m");
                run->leaf = cgroup_leaf_discard(run->leaf);
        }
        return r <= 0;
}

static bool run_is_gone(struct run *run) {
        return run->leaf ? leaf_is_empty(run) : orphans_are_gone(run);
}

static void run_finish_exited(struct run *run) {
        enum run_outcome outcome;

        if (run->start_error < 0) {
                run->has_run = false;
                run_finish(run, RUN_NOT_STARTED, run_start_failure(run));
                return;
        }
        run->end.oom_killed = run->leaf && cgroup_leaf_take_oom(run->leaf);
        outcome = run_outcome_of(run, &run->end.exit_code, &run->end.signal);
        run_finish(run, outcome, NULL);
}

void run_check_cleared(struct run *run) {
        char id[UUID_TEXT_SIZE];

        if (run_is_gone(run)) {
                run_finish_exited(run);
                return;
        }
        run->n_checks++;
        if (run->leaf)
                run_kill_processes(run);
        if (run->n_checks == CHECKS_UNTIL_WARNING)
                log_warning(
                        "Processes of job %s do not die; its slot stays taken.",
                        uuid_to_text(&run->id.job, id));
        run_set_timer(run, MIN(CHECK_FIRST_USEC << MIN(run->n_checks, 16u), CHECK_LAST_USEC));
}

void run_main_exited(struct run *run) {
        siginfo_t info = {};
        int r;

        /* As long as the main process has not been reaped its number, which is that of the group, is no
         * other's. */
        if (!run->leaf)
                (void) signal_group(run, SIGKILL);
        do
                r = waitid(P_PIDFD, (id_t) run->pidfd, &info, WEXITED);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                log_error_errno(-errno, "Cannot reap a job: %m");
        run->wait_code = r < 0 ? CLD_KILLED : info.si_code;
        run->wait_status = r < 0 ? SIGKILL : info.si_status;
        run->start_error = spawned_result(&run->spawned, &run->start_step);
        run->pid = 0;
        run->exit_source = sd_event_source_disable_unref(run->exit_source);
        run->pidfd = close_fd(run->pidfd);

        if (run_is_gone(run)) {
                run_finish_exited(run);
                return;
        }
        executor_run_changed(run->executor, run, RUN_CLEARING);
        if (run->leaf)
                run_kill_processes(run);
        run_set_timer(run, CHECK_FIRST_USEC);
}

/* What is in the pipe now, and no more. */
static void stream_drain(struct run_stream *stream) {
        int available = 0;
        size_t left;

        if (stream->fd < 0 || ioctl(stream->fd, FIONREAD, &available) < 0)
                return;
        left = MIN((size_t) MAX(available, 0), (size_t) DRAIN_MAX);
        while (left > 0) {
                char buffer[DRAIN_PIECE];
                ssize_t n = read(stream->fd, buffer, MIN(left, sizeof(buffer)));

                if (n <= 0)
                        return;
                output_append(&stream->output, buffer, (size_t) n);
                left -= (size_t) n;
        }
}

static void run_take_outputs(struct run *run) {
        struct output outputs[2] = { run->streams[0].output, run->streams[1].output };

        run->streams[0].output = run->streams[1].output = (struct output){};
        if (kept_outputs_take(outputs, &run->end.outputs) < 0)
                (void) log_oom();
        run->executor->kept_output += kept_outputs_size(&run->end.outputs);
}

static void run_give_leaf_back(struct run *run) {
        if (!run->leaf)
                return;
        /* Proven empty; where nothing could be started the cgroup itself may be why. */
        if (run->has_run)
                cgroup_leaf_give_back(run->leaf, LEAVES_PER_SLOT * MAX(run->executor->slots, 1u));
        else
                (void) cgroup_leaf_discard(run->leaf);
        run->leaf = NULL;
}

void run_finish(struct run *run, enum run_outcome outcome, char *error_message) {
        struct executor *executor = run->executor;

        stream_drain(&run->streams[0]);
        stream_drain(&run->streams[1]);
        run_take_outputs(run);
        run->end.outcome = outcome;
        run->end.finished_at = now_usec(CLOCK_REALTIME);
        if (run->has_run)
                run->end.duration_usec = usec_sub(now_usec(CLOCK_BOOTTIME), run->started_boottime);
        else
                run->started_at = 0;
        run->end.error_message =
                error_message ? error_message : run_error_message(run, outcome, &run->end.outputs);
        run_close(run);
        run_give_leaf_back(run);
        executor_run_changed(executor, run, RUN_ENDED);
}
