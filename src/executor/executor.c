/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The runs and their order: what waits, what has a slot, what is kept; executor-life.c decides when it all
 * ends. */

#include "executor/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>

#include "executor/connection.h"
#include "executor/job-user.h"
#include "executor/orphans.h"
#include "util/log.h"

/* Starts that are refused because there are too many leave a record as well; a daemon that goes on is cut
 * off. */
#define REFUSED_RUNS_MAX 4096u

static const char *home_folder(void) {
        const char *home = getenv("HOME");
        const struct passwd *user;

        if (home && home[0] == '/')
                return home;
        user = getpwuid(geteuid());
        return user && user->pw_dir && user->pw_dir[0] == '/' ? user->pw_dir : "/";
}

static int on_flush(sd_event_source *source, void *userdata) {
        struct executor *executor = userdata;

        if (executor->daemon)
                connection_flush(executor->daemon);
        return 0;
}

static int executor_init_sources(struct executor *executor) {
        int r;

        r = sd_event_add_defer(executor->event, &executor->flush_source, on_flush, executor);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(executor->flush_source, "flush");
        r = sd_event_source_set_enabled(executor->flush_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        return executor_life_init(executor);
}

static int set_variable(const char *name, const char *value, char **ret) {
        if (asprintf(ret, "%s=%s", name, value) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int executor_init_user(struct executor *executor) {
        const struct job_user *user = executor->job_user;
        int r;

        r = set_variable("HOME", user ? user->home : home_folder(), &executor->home);
        if (r < 0 || !user)
                return r;
        r = set_variable("USER", user->name, &executor->user_name);
        return r < 0 ? r : set_variable("LOGNAME", user->name, &executor->login);
}

int executor_new(sd_event *event, const struct executor_settings *settings, struct executor **ret) {
        _cleanup_(executor_free_p) struct executor *executor = malloc(sizeof(*executor));
        int r;

        if (!executor)
                return -ENOMEM;
        *executor = (struct executor){
                .event = sd_event_ref(event),
                .instance = settings->instance,
                .idle_timeout_usec = settings->idle_timeout_usec,
                .daemon_uid = settings->daemon_uid,
                .job_user = settings->job_user,
                .managed = settings->managed,
                .complaints = { .interval_usec = 10 * USEC_PER_SEC, .burst = 10 },
                .null_fd = -EBADF,
                .listen_fd = -EBADF,
        };
        for (enum run_state state = 0; state < _RUN_STATE_MAX; state++)
                list_init(&executor->by_state[state]);
        list_init(&executor->known);
        list_init(&executor->ends);
        list_init(&executor->answers);
        list_init(&executor->requests);
        list_init(&executor->strangers);
        uuid_to_text(&executor->instance, executor->instance_text);

        r = executor_init_user(executor);
        if (r < 0)
                return r;
        executor->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (executor->null_fd < 0)
                return -errno;
        r = spawner_new(&executor->spawner);
        if (r < 0)
                return r;
        spawner_set_user(executor->spawner, executor->job_user);
        r = executor_init_sources(executor);
        if (r < 0)
                return r;
        r = executor_contain(executor, settings);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(executor);
        return 0;
}

struct executor *executor_free(struct executor *executor) {
        struct run *run;

        if (!executor)
                return NULL;
        executor->closing = true;
        executor_connections_close(executor);
        executor_requests_drop(executor);
        MAP_FOREACH(&executor->runs, run, struct run, by_id) {
                /* It ends with us in any case; this way it is gone before we are. */
                if (run->state == RUN_RUNNING || run->state == RUN_CLEARING)
                        run_kill_processes(run);
                (void) run_free(run);
        }
        (void) cgroup_tree_free(executor->cgroups);
        (void) spawner_free(executor->spawner);
        executor_life_done(executor);
        (void) sd_event_source_disable_unref(executor->flush_source);
        (void) close_fd(executor->null_fd);
        free(executor->home);
        free(executor->user_name);
        free(executor->login);
        (void) sd_event_unref(executor->event);
        free(executor);
        return NULL;
}

void executor_wants_flush(struct executor *executor) {
        if (!executor->daemon)
                return;
        (void) sd_event_source_set_enabled(executor->flush_source, SD_EVENT_ONESHOT);
}

static bool state_is_active(enum run_state state) {
        return state == RUN_ANNOUNCED || state == RUN_RUNNING || state == RUN_CLEARING;
}

void executor_run_changed(struct executor *executor, struct run *run, enum run_state state) {
        executor->n_active += state_is_active(state);
        executor->n_active -= state_is_active(run->state);
        run->state = state;
        list_remove(&run->by_state);
        list_append(&executor->by_state[state], &run->by_state);
        if (state != RUN_ENDED)
                return;
        /* One whose existence has still to be told is told first, and its end then. */
        if (!list_is_linked(&run->to_tell))
                list_append(&executor->ends, &run->to_tell);
        executor_requests_wake(executor, run);
        executor_wants_flush(executor);
        executor_check_life(executor);
}

static struct run *executor_find(const struct executor *executor, const struct run_id *id) {
        return MAP_GET(&executor->runs, id, RUN_KEY_SIZE, struct run, by_id);
}

bool executor_pid_is_main(void *userdata, pid_t pid) {
        struct executor *executor = userdata;
        const struct run *run;

        LIST_FOREACH(&executor->by_state[RUN_RUNNING], run, struct run, by_state)
                if (run->pid == pid)
                        return true;
        return false;
}

/* It hangs, or does not get the processor. What waits here may begin elsewhere by now: when it goes on it
 * finds that out before anything starts. */
static bool is_held(struct executor *executor) {
        if (executor->silence_usec == 0)
                return false;
        if (now_usec(CLOCK_BOOTTIME) >= usec_add(executor->awake_usec, executor->silence_usec))
                executor->held = true;
        return executor->held;
}

void executor_set_up(struct executor *executor, const struct executor_hello *hello) {
        char node_id[sizeof(executor->node_id)];

        (void) snprintf(node_id, sizeof(node_id), "NODE_ID=%s", hello->node_id);
        /* Not written without need: a child that is on its way to its program may be reading it. */
        if (!streq(executor->node_id, node_id))
                memcpy(executor->node_id, node_id, sizeof(node_id));
        executor->slots = hello->slots;
        executor->output_max = (size_t) hello->output_max;
        executor->kill_grace_usec = hello->kill_grace_usec;
        /* A daemon that hung is followed by another one, which has not listened to anybody yet. */
        if (!executor->greeted || !is_held(executor))
                executor->awake_usec = now_usec(CLOCK_BOOTTIME);
        executor->held_told = false;
        executor->greeted = true;
        executor->silence_usec = hello->silence_usec;
}

void executor_set_slots(struct executor *executor, unsigned slots) {
        executor->slots = slots;
        executor_wants_flush(executor);
}

/* A run that there is nothing to say about but how it ended. */
static int executor_refuse(
        struct executor *executor, const struct run_id *id, enum run_outcome outcome, const char *reason) {

        struct run *run;
        int r;

        if (map_size(&executor->runs) >= RUNS_MAX + REFUSED_RUNS_MAX)
                return -ENOBUFS;
        r = run_new(executor, id, &run);
        if (r < 0)
                return r;
        run_finish(run, outcome, strdup(reason));
        return 0;
}

/* The daemon has not understood that it is here; what it is told once more, it can compare. */
static void executor_start_again(struct executor *executor, struct run *run) {
        log_debug("A run was given twice, ignoring.");
        if (run->state == RUN_ENDED && !list_is_linked(&run->to_tell)) {
                list_append(&executor->ends, &run->to_tell);
                executor_wants_flush(executor);
        }
}

int executor_start(
        struct executor *executor, const struct executor_start *start, const struct executor_body *body,
        int stdin_fd) {

        _cleanup_close_ int fd = stdin_fd;
        struct run *run = executor_find(executor, &start->run);
        enum limit_field field;
        int r;

        if (run) {
                executor_start_again(executor, run);
                return 0;
        }
        /* As if it had come after the end: the daemon compares when it reaches the next executor. */
        if (executor->leaving)
                return 0;
        if (map_size(&executor->runs) >= RUNS_MAX)
                return executor_refuse(
                        executor, &start->run, RUN_NOT_STARTED, "the executor holds too many runs");
        if (job_limits_refused(&start->limits, &executor->support, &field)) {
                char reason[REFUSAL_TEXT_MAX];

                return executor_refuse(
                        executor, &start->run, RUN_NOT_STARTED,
                        limit_refusal_describe(field, &executor->support, reason));
        }

        r = run_new(executor, &start->run, &run);
        if (r < 0)
                return r;
        r = run_set_command(run, body);
        if (r < 0) {
                (void) run_free(run);
                return r;
        }
        run->stdin_fd = TAKE_FD(fd);
        run->timeout_usec = start->timeout_usec;
        run->limits = job_limits_reduced(&start->limits, limit_support_kinds(&executor->support));
        executor_check_life(executor);
        executor_wants_flush(executor);
        return 0;
}

int executor_kill(struct executor *executor, const struct run_id *id) {
        struct run *run = executor_find(executor, id);

        if (!run)
                return executor_refuse(executor, id, RUN_LOST, "the executor does not know this run");
        run_end_by(run, RUN_ENDING_KILL, executor->kill_grace_usec);
        return 0;
}

void executor_take_back(struct executor *executor, const struct run_id *id) {
        struct run *run = executor_find(executor, id);

        if (run && run->state == RUN_WAITING)
                run_end_by(run, RUN_ENDING_KILL, executor->kill_grace_usec);
}

void executor_note_journalled(struct executor *executor, const struct executor_journalled *journalled) {
        struct run *run = executor_find(executor, &journalled->run);

        if (run)
                memcpy(run->journalled, journalled->offsets, sizeof(run->journalled));
}

void executor_acknowledge(struct executor *executor, const struct run_id *id) {
        struct run *run = executor_find(executor, id);

        if (!run || run->state != RUN_ENDED)
                return;
        executor->kept_output -= kept_outputs_size(&run->end.outputs);
        (void) run_free(run);
        /* Starts may have waited for the memory. */
        if (!list_is_empty(&executor->by_state[RUN_WAITING]))
                executor_wants_flush(executor);
        executor_check_life(executor);
}

void executor_connected(struct executor *executor) {
        struct run *run;

        MAP_FOREACH(&executor->runs, run, struct run, by_id) {
                list_remove(&run->to_tell);
                list_append(&executor->known, &run->to_tell);
        }
        executor_wants_flush(executor);
        executor_check_life(executor);
}

void executor_withdraw(struct executor *executor, struct run *run) {
        run->started_at = 0;
        executor_run_changed(executor, run, RUN_WAITING);
        list_remove(&run->by_state);
        list_prepend(&executor->by_state[RUN_WAITING], &run->by_state);
}

void executor_disconnected(struct executor *executor) {
        struct list *announced = &executor->by_state[RUN_ANNOUNCED];

        /* Nobody was told, so nothing was started. The last one first, to keep their order. */
        while (!list_is_empty(announced))
                executor_withdraw(executor, CONTAINER_OF(announced->root.prev, struct run, by_state));
        executor_requests_drop(executor);
        executor_check_life(executor);
        /* It was to say how we stop. */
        if (executor->stopping && !executor->leaving && !executor->closing)
                executor_terminate(executor);
}

void executor_daemon_is_awake(struct executor *executor, usec_t awake_usec) {
        usec_t now = now_usec(CLOCK_BOOTTIME);

        executor->awake_usec = MAX(executor->awake_usec, MIN(awake_usec, now));
        /* It may have waited to be read while this host stood still. */
        if (now >= usec_add(executor->awake_usec, executor->silence_usec))
                return;
        executor->held = executor->held_told = false;
        if (!list_is_empty(&executor->by_state[RUN_WAITING]))
                executor_wants_flush(executor);
}

struct run *executor_next_start(struct executor *executor) {
        if (executor->n_active >= executor->slots || executor->kept_output >= KEPT_OUTPUT_MAX ||
            list_is_empty(&executor->by_state[RUN_WAITING]) || is_held(executor))
                return NULL;
        return LIST_FIRST(&executor->by_state[RUN_WAITING], struct run, by_state);
}

void executor_announce(struct executor *executor, struct run *run) {
        run->started_at = now_usec(CLOCK_REALTIME);
        executor_run_changed(executor, run, RUN_ANNOUNCED);
}

void executor_start_announced(struct executor *executor) {
        struct run *run;

        while ((run = LIST_FIRST(&executor->by_state[RUN_ANNOUNCED], struct run, by_state)))
                run_start(run);
}
