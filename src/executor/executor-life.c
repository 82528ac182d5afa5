/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the executor begins to contain its jobs, and when it ends: on request, or by itself when nobody needs
 * it. */

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "executor/controllers.h"
#include "executor/executor.h"
#include "executor/orphans.h"
#include "util/log.h"
#include "util/message-ids.h"

#define REST_USEC (1 * USEC_PER_SEC)
#define PATIENCE_USEC (30 * USEC_PER_SEC) /* what the service manager is asked for, again and again */

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        struct executor *executor = userdata;

        log_debug("Neither a daemon nor a job for a while, leaving.");
        return sd_event_exit(executor->event, 0);
}

static int on_leave(sd_event_source *source, uint64_t usec, void *userdata) {
        struct executor *executor = userdata;

        log_warning("Nobody acknowledges the last ends, leaving without.");
        return sd_event_exit(executor->event, 0);
}

static int on_rest(sd_event_source *source, uint64_t usec, void *userdata) {
        struct executor *executor = userdata;

        if (map_size(&executor->runs) == 0)
                (void) malloc_trim(0);
        return 0;
}

static void ask_for_patience(struct executor *executor) {
        (void) sd_notifyf(
                /* unset_environment= */ false,
                "STOPPING=1\nSTATUS=Draining: %u jobs run\nEXTEND_TIMEOUT_USEC=%" PRIu64, executor->n_active,
                PATIENCE_USEC);
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        struct executor *executor = userdata;

        ask_for_patience(executor);
        (void) sd_event_source_set_time_relative(source, PATIENCE_USEC / 3);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        orphans_reap(executor_pid_is_main, userdata);
        return 0;
}

static int timer_new(
        struct executor *executor, const char *description, sd_event_time_handler_t handler,
        sd_event_source **ret) {

        int r = sd_event_add_time(
                executor->event, ret, CLOCK_MONOTONIC, USEC_INFINITY, 0, handler, executor);

        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*ret, description);
        return sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

int executor_life_init(struct executor *executor) {
        int r;

        r = timer_new(executor, "idle", on_idle, &executor->idle_timer);
        if (r < 0)
                return r;
        r = timer_new(executor, "leave", on_leave, &executor->leave_timer);
        if (r < 0)
                return r;
        r = timer_new(executor, "patience", on_patience, &executor->patience_timer);
        if (r < 0)
                return r;
        return timer_new(executor, "rest", on_rest, &executor->rest_timer);
}

void executor_life_done(struct executor *executor) {
        (void) sd_event_source_disable_unref(executor->idle_timer);
        (void) sd_event_source_disable_unref(executor->leave_timer);
        (void) sd_event_source_disable_unref(executor->patience_timer);
        (void) sd_event_source_disable_unref(executor->rest_timer);
        (void) sd_event_source_disable_unref(executor->child_source);
}

/* Runs nothing, to see that it can be done. */
static int try_spawn(struct executor *executor, int cgroup_fd) {
        char *const environment[] = { NULL };
        struct spawned spawned;
        enum spawn_step step;
        siginfo_t info;
        int r;

        r = spawner_start(
                executor->spawner,
                &(const struct spawn_request){
                        .command = ":",
                        .cwd = "/",
                        .home = "/",
                        .environment = environment,
                        .stdin_fd = executor->null_fd,
                        .stdout_fd = executor->null_fd,
                        .stderr_fd = executor->null_fd,
                        .cgroup_fd = cgroup_fd,
                },
                &spawned);
        if (r < 0)
                return r;
        (void) waitid(P_PIDFD, (id_t) spawned.pidfd, &info, WEXITED);
        (void) close_fd(spawned.pidfd);
        return spawned_result(&spawned, &step);
}

int executor_try_user(struct executor *executor) {
        return try_spawn(executor, /* cgroup_fd= */ -EBADF);
}

static int try_leaf(struct executor *executor, struct cgroup_tree *tree) {
        struct cgroup_leaf *leaf;
        int r;

        r = cgroup_tree_take(tree, &(const struct job_limits){}, &leaf);
        if (r < 0)
                return r;
        r = try_spawn(executor, leaf->directory_fd);
        (void) cgroup_leaf_discard(leaf);
        return r;
}

/* Which limits can be enforced on the leaves of a tree. */
static int find_support(const char *tree_path, struct limit_support *ret) {
        _cleanup_free_ char *own_path = strndup(tree_path, (size_t) (strrchr(tree_path, '/') - tree_path));

        if (!own_path)
                return -ENOMEM;
        controllers_enable(
                &(const struct controllers_place){
                        .own_path = own_path,
                        .tree_path = tree_path,
                        .delegated = cgroup_is_delegated(own_path),
                        .v1_list = "/proc/self/cgroup",
                },
                ret);
        return 0;
}

static int contain_by_cgroups(struct executor *executor, const char *path) {
        _cleanup_(cgroup_tree_free_p) struct cgroup_tree *tree = NULL;
        struct limit_support support;
        int r;

        r = cgroup_tree_new(path, &tree);
        if (r < 0)
                return r;
        r = find_support(path, &support);
        if (r < 0)
                return r;
        cgroup_tree_set_enforceable(tree, limit_support_kinds(&support));
        r = try_leaf(executor, tree);
        if (r < 0)
                return r;
        executor->cgroups = TAKE_PTR(tree);
        executor->support = support;
        return 0;
}

int executor_take_leaf(
        struct executor *executor, const struct job_limits *limits, struct cgroup_leaf **ret) {
        struct limit_support support;
        int r;

        r = cgroup_tree_take(executor->cgroups, limits, ret);
        if (r != -ENOENT)
                return r;
        r = cgroup_tree_renew(executor->cgroups);
        if (r >= 0)
                r = find_support(cgroup_tree_name(executor->cgroups), &support);
        if (r < 0)
                return r;
        log_warning("Somebody has removed the cgroup of the jobs; made it again.");
        /* What the daemon was told stays: a limit that is gone makes its job fail with the reason. */
        return cgroup_tree_take(executor->cgroups, limits, ret);
}

static void say_limits(const struct limit_support *support) {
        char text[SUPPORT_TEXT_MAX];

        if (limit_support_kinds(support) == LIMITS_ALL)
                log_debug("Every limit of a job can be enforced.");
        else
                log_event(
                        LOG_NOTICE, MESSAGE_LIMITS_UNAVAILABLE,
                        "Limits of jobs that cannot be enforced here: %s.",
                        limit_support_describe(support, text));
}

int executor_contain(struct executor *executor, const struct executor_settings *settings) {
        int r = -ENOENT;

        if (settings->cgroup_path) {
                r = contain_by_cgroups(executor, settings->cgroup_path);
                if (r >= 0) {
                        log_info("Jobs run in cgroups below %s.", settings->cgroup_path);
                        say_limits(&executor->support);
                        return 0;
                }
        }
        for (size_t i = 0; i < LIMIT_KINDS; i++)
                executor->support.obstacles[i] = OBSTACLE_PROCESS_GROUPS;
        if (settings->cgroups)
                log_notice_errno(
                        r, "Jobs run in process groups, since there can be no cgroup of our own (%m): a "
                           "process "
                           "that leaves its session and clears its environment may outlive its job.");
        else
                log_info("Jobs run in process groups, as was asked for.");
        say_limits(&executor->support);

        r = orphans_become_subreaper();
        if (r < 0)
                return r;
        return sd_event_add_signal(executor->event, &executor->child_source, SIGCHLD, on_child, executor);
}

static void timer_arm(sd_event_source *timer, usec_t after_usec) {
        int enabled, r;

        r = sd_event_source_get_enabled(timer, &enabled);
        if (r >= 0 && enabled != SD_EVENT_OFF)
                return;
        r = sd_event_source_set_time_relative(timer, after_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_warning_errno(r, "Cannot set a timer: %m");
}

static void timer_disarm(sd_event_source *timer) {
        (void) sd_event_source_set_enabled(timer, SD_EVENT_OFF);
}

static bool nothing_to_run(const struct executor *executor) {
        return executor->n_active == 0 && list_is_empty(&executor->by_state[RUN_WAITING]);
}

void executor_check_life(struct executor *executor) {
        bool empty = map_size(&executor->runs) == 0;

        if (executor->closing)
                return;
        if (empty)
                timer_arm(executor->rest_timer, REST_USEC);
        if (empty && !executor->daemon && executor->idle_timeout_usec != USEC_INFINITY)
                timer_arm(executor->idle_timer, executor->idle_timeout_usec);
        else
                timer_disarm(executor->idle_timer);

        if (!executor->leaving || !nothing_to_run(executor))
                return;
        if (empty || !executor->daemon)
                (void) sd_event_exit(executor->event, 0);
        else
                timer_arm(executor->leave_timer, LEAVE_WAIT_USEC);
}

static void end_all(struct executor *executor, usec_t grace_usec) {
        struct run *run;

        executor->leaving = true;
        MAP_FOREACH(&executor->runs, run, struct run, by_id)
                run_end_by(run, RUN_ENDING_STOP, grace_usec);
        executor_check_life(executor);
}

void executor_stop(struct executor *executor, enum executor_stop stop) {
        switch (stop) {
        case EXECUTOR_STOP_NOT:
                break;
        case EXECUTOR_STOP_WHEN_EMPTY:
                executor->leaving = true;
                executor_check_life(executor);
                break;
        case EXECUTOR_STOP_WITH_JOBS:
                end_all(executor, 0);
                break;
        }
}

/* The daemon drains, for as long as its configuration says, and then has us end. */
static bool leave_it_to_the_daemon(struct executor *executor) {
        if (!executor->managed || !executor->daemon || executor->stopping || executor->leaving)
                return false;
        log_info("Asked to stop; leaving it to the daemon to end the jobs.");
        executor->stopping = true;
        ask_for_patience(executor);
        timer_arm(executor->patience_timer, PATIENCE_USEC / 3);
        executor_wants_flush(executor);
        return true;
}

void executor_terminate(struct executor *executor) {
        if (leave_it_to_the_daemon(executor))
                return;
        end_all(executor, executor->stopped ? 0 : executor->kill_grace_usec);
        executor->stopped = true;
}
