/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The second program: its runs, their order, and its life. Internal to this room; the daemon sees client.h.
 *
 * A run waits, is announced (the daemon is told that it starts), runs, is cleared (its main process has
 * ended, others of the job have not), and has ended, which is kept until the daemon acknowledges it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "executor/cgroup.h"
#include "executor/output.h"
#include "executor/spawner.h"
#include "mesh/job.h"
#include "util/list.h"
#include "util/log.h"
#include "util/map.h"
#include "wire/executor-message.h"

struct connection;
struct executor;
struct job_user;
struct run_environment;

#define RUNS_MAX 65536u /* waiting, running and kept together */
#define KEPT_OUTPUT_MAX \
        (UINT64_C(256) * 1024 * 1024)      /* bytes; above, nothing starts until some are acknowledged */
#define LEAVE_WAIT_USEC (5 * USEC_PER_SEC) /* for the last acknowledgements, when it stops */

/* What to run, in one allocation; let go as soon as it runs. */
struct run_command {
        const char *command;
        const char *cwd; /* NULL: none given */
        size_t n_env;
        char *env[];
};

enum run_state {
        RUN_WAITING,
        RUN_ANNOUNCED,
        RUN_RUNNING,
        RUN_CLEARING,
        RUN_ENDED,
        _RUN_STATE_MAX,
};

/* Why a run is being ended by us; the first reason stays. */
enum run_ending {
        RUN_ENDING_NONE,
        RUN_ENDING_TIMEOUT,
        RUN_ENDING_KILL,
        RUN_ENDING_STOP,
};

struct run_stream {
        struct output output;
        int fd;       /* what we read */
        int write_fd; /* the job's end, held open so that its closing it wakes nobody */
        sd_event_source *source;
};

/* How it ended. */
struct run_end {
        enum run_outcome outcome;
        int exit_code;
        int signal;
        usec_t finished_at;
        usec_t duration_usec;
        char *error_message;
        bool oom_killed;
        struct kept_outputs outputs;
};

struct run {
        struct executor *executor;
        struct run_id id;
        struct map_link by_id;
        struct list_link by_state; /* in the executor's list of the state */
        struct list_link to_tell; /* while the daemon has to be told that it is here, or that it has ended */
        struct list reads;        /* struct output_request, waiting for more */
        enum run_state state;

        struct run_command *command; /* these two until what was spawned has read them, or has ended */
        struct run_environment *environment;
        int stdin_fd; /* negative: /dev/null */
        usec_t timeout_usec;
        struct job_limits limits; /* those that are enforced */

        bool has_run;    /* there was a process */
        uint64_t serial; /* of what was spawned; part of the marker */
        struct spawned spawned;
        pid_t pid;
        int pidfd;
        int start_error; /* a negative errno: it never became the program */
        enum spawn_step start_step;
        int wait_code, wait_status; /* si_code and si_status of the main process, once it has ended */
        sd_event_source *exit_source;
        bool watched; /* its output is read as it comes */
        sd_event_source
                *timer; /* until that, then the timeout, then the grace, then the checks that all are gone */
        unsigned n_checks;
        struct cgroup_leaf *leaf; /* NULL: no cgroups */
        struct run_stream streams[2];
        enum run_ending ending;
        usec_t started_at; /* CLOCK_REALTIME; 0: not announced */
        usec_t started_boottime;

        struct run_end end;
        uint64_t journalled[2]; /* of the outputs; for the next daemon, it means nothing to us */
};

/* A wish to read what a run prints. */
struct output_request {
        struct list_link link; /* in the run's list, or in the executor's list of those to be answered */
        struct list_link all;
        struct run *run; /* NULL: there is none (any more) */
        uint64_t id;
        int stream;
        uint64_t offset;
        bool wait;
        int error;
};

struct executor_settings {
        bool cgroups;
        const char *cgroup_path; /* where our subtree is to be, below our own cgroup; NULL: none */
        usec_t idle_timeout_usec;
        struct uuid instance;
        uid_t daemon_uid;                /* may connect besides root and ourselves; -1: nobody */
        const struct job_user *job_user; /* borrowed; NULL: jobs run as ourselves */
        bool managed;                    /* a service manager stops us: the daemon says how */
};

struct executor {
        sd_event *event;
        struct uuid instance;
        char instance_text[UUID_TEXT_SIZE];
        uid_t daemon_uid;
        const struct job_user *job_user;
        bool managed;
        struct spawner *spawner;
        struct cgroup_tree *cgroups; /* NULL: process groups */
        struct limit_support support;
        int null_fd;
        char *home;              /* "HOME=/root" */
        char *user_name, *login; /* "USER=…", "LOGNAME=…"; NULL where jobs run as ourselves */
        uint64_t n_spawned;

        char node_id[sizeof("NODE_ID=") + NODE_ID_MAX]; /* "NODE_ID=node-1" */
        unsigned slots;
        size_t output_max;
        usec_t kill_grace_usec;
        usec_t silence_usec; /* the daemon not awake for so long: nothing starts; 0: that is no reason */
        usec_t awake_usec;   /* CLOCK_BOOTTIME: when it said last that it is */
        bool held;           /* until it says so again */
        bool held_told;      /* it knows */
        bool greeted;        /* there was a daemon before */

        struct map runs;
        struct list by_state[_RUN_STATE_MAX];
        struct list known;    /* runs that the daemon has not been told of since it connected */
        struct list ends;     /* runs of whose end it has not been told since */
        struct list answers;  /* output requests that can be answered */
        struct list requests; /* all of them */
        unsigned n_requests;
        unsigned n_active;    /* announced, running or being cleared: these take the slots */
        uint64_t kept_output; /* bytes */

        int listen_fd;
        sd_event_source *listen_source;
        struct list strangers; /* connections that have not said hello */
        unsigned n_strangers;
        struct ratelimit complaints; /* about those who connect */
        struct connection *daemon;   /* the one that has; NULL */
        sd_event_source *flush_source;

        usec_t idle_timeout_usec;
        sd_event_source *idle_timer;
        bool leaving;                    /* nothing new; it ends when there is nothing left */
        bool closing;                    /* it is being freed; nothing is decided any more */
        bool stopping;                   /* the service manager stops us, and the daemon decides how */
        bool stopped;                    /* the jobs have been told to end */
        sd_event_source *patience_timer; /* while stopping: asks the service manager for more time */
        sd_event_source *leave_timer;
        sd_event_source *child_source; /* without cgroups: children that were adopted */
        sd_event_source *rest_timer;   /* gives memory back a while after the last run */
};

/* executor.c */
int executor_new(sd_event *event, const struct executor_settings *settings, struct executor **ret);
struct executor *executor_free(struct executor *executor); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct executor *, executor_free)

/* What the daemon says; -errno only where the connection must not go on. */
void executor_set_up(struct executor *executor, const struct executor_hello *hello);
void executor_set_slots(struct executor *executor, unsigned slots);
/* Takes stdin_fd. */
int executor_start(
        struct executor *executor, const struct executor_start *start, const struct executor_body *body,
        int stdin_fd);
int executor_kill(struct executor *executor, const struct run_id *id);
/* Ends a run that waits, and no other. */
void executor_take_back(struct executor *executor, const struct run_id *id);
void executor_acknowledge(struct executor *executor, const struct run_id *id);
void executor_note_journalled(struct executor *executor, const struct executor_journalled *journalled);

/* What the daemon is to be told. */
void executor_connected(struct executor *executor);
void executor_disconnected(struct executor *executor);
/* The next run to be announced, or NULL: no slot, or nothing waits. */
struct run *executor_next_start(struct executor *executor);
/* The daemon says that it did not hang then. */
void executor_daemon_is_awake(struct executor *executor, usec_t awake_usec);
void executor_announce(struct executor *executor, struct run *run);
/* It could not be told: it waits again, as the first. */
void executor_withdraw(struct executor *executor, struct run *run);
/* Those announced have been told: they start. */
void executor_start_announced(struct executor *executor);
/* There may be something to say; it is said at the end of this turn of the loop. */
void executor_wants_flush(struct executor *executor);

/* From a run. */
void executor_run_changed(struct executor *executor, struct run *run, enum run_state state);
bool executor_pid_is_main(void *executor, pid_t pid);

/* executor-life.c */
int executor_life_init(struct executor *executor);
void executor_life_done(struct executor *executor);
/* Chooses cgroups or process groups, and says which. */
int executor_contain(struct executor *executor, const struct executor_settings *settings);
/* A cgroup for a run, in a tree that is made again where somebody has removed it. */
int executor_take_leaf(struct executor *executor, const struct job_limits *limits, struct cgroup_leaf **ret);
/* Ends the program, or starts to count towards it, when there is nothing left to do. */
void executor_check_life(struct executor *executor);
void executor_stop(struct executor *executor, enum executor_stop stop);
/* Where a service manager stops us and a daemon is there, that decides, and the manager is asked for
 * patience meanwhile. Otherwise: SIGTERM to the jobs, after the grace SIGKILL; called once more: SIGKILL at
 * once. */
void executor_terminate(struct executor *executor);
/* Runs nothing as the user of jobs, to see that it can be done. */
int executor_try_user(struct executor *executor);

/* requests.c: wishes to read what a run prints */
int executor_request_output(struct executor *executor, const struct executor_read_request *read);
void executor_cancel_request(struct executor *executor, uint64_t id);
/* There may be more for those that wait for this run, or it has ended. */
void executor_requests_wake(struct executor *executor, struct run *run);
/* The run is forgotten. */
void executor_requests_orphan(struct executor *executor, struct run *run);
void executor_requests_drop(struct executor *executor);
/* Fills ret with the answer to a request; buffer is used where the bytes do not lie in memory. False: not
 * yet. */
bool output_request_answer(
        const struct output_request *request, char buffer[static EXECUTOR_DATA_MAX],
        struct executor_data *ret);
void output_request_free(struct executor *executor, struct output_request *request);

/* run.c */
#define RUN_KEY_SIZE (offsetof(struct run_id, attempt) + sizeof(uint32_t))
int run_new(struct executor *executor, const struct run_id *id, struct run **ret);
struct run *run_free(struct run *run);
int run_set_command(struct run *run, const struct executor_body *body);
void run_start(struct run *run);
/* Lets go of descriptors, timers and command. */
void run_close(struct run *run);
void run_set_timer(struct run *run, usec_t after_usec);
/* Why it could not be started. */
char *run_start_failure(const struct run *run);
/* Begins to end it, and goes on to SIGKILL after the grace; grace 0: at once. */
void run_end_by(struct run *run, enum run_ending ending, usec_t grace_usec);

/* run-exit.c */
void run_main_exited(struct run *run);
/* After it was killed: is it gone? */
void run_check_cleared(struct run *run);
/* Ends a run that has no process, or none any more. Takes error_message; NULL: the usual one for the
 * outcome. */
void run_finish(struct run *run, enum run_outcome outcome, char *error_message);
void run_signal(struct run *run, int signal);
void run_kill_processes(struct run *run);

/* run-text.c */
/* Why a run with this wait status did not succeed; *ret is NULL where it did. */
enum run_outcome run_outcome_of(const struct run *run, int *ret_exit_code, int *ret_signal);
char *run_error_message(const struct run *run, enum run_outcome outcome, const struct kept_outputs *outputs);

/* run-environment.c */
int run_environment_new(const struct run *run, struct run_environment **ret);
char *const *run_environment_entries(const struct run_environment *environment);
struct run_environment *run_environment_free(struct run_environment *environment);
DEFINE_CLEANUP(struct run_environment *, run_environment_free)
/* The value of the variable that marks what belongs to a run. */
#define RUN_MARKER_MAX (UUID_TEXT_SIZE + 21)
char *run_marker(const struct run *run, char buffer[static RUN_MARKER_MAX]);
