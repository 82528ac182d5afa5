/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A real executor, driven by the real client over a loop. Every wait has a deadline, after which the test
 * fails. */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "executor/client.h"
#include "lib/folder.h"
#include "lib/tests.h"

#define FIXTURE_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define FIXTURE_OUTPUT_MAX (64u * 1024)
#define FIXTURE_GRACE_USEC (300 * USEC_PER_MSEC)

struct fixture_options {
        bool process_groups; /* instead of cgroups */
        bool no_program;     /* the test starts one itself */
        bool client_starts;  /* the client starts the program where there is none */
        unsigned slots;      /* 0: 2 */
        size_t output_max;   /* 0: FIXTURE_OUTPUT_MAX */
        const char *idle_timeout;
};

struct fixture {
        struct folder folder;
        char socket_path[160];
        struct fixture_options options;
        pid_t executor; /* our child; 0: none */
        sd_event *event;
        struct executor_client *client;
        bool hold_releases;  /* ends are not acknowledged */
        unsigned n_refusals; /* so often out of memory when synchronised */
        usec_t patience;     /* what is answered to the client */

        /* What was heard. */
        unsigned n_synchronised, n_disconnected, n_started, n_exited;
        struct uuid instance;
        struct executor_known_run known[64];
        size_t n_known;
        struct run_id started[2048];
        usec_t last_started_at;
        struct job_result *results[2048]; /* by arrival; the test may take them */
};

void fixture_begin(struct fixture *fixture, const struct fixture_options *options);
void fixture_end(struct fixture *fixture);
#define _cleanup_fixture_ __attribute__((__cleanup__(fixture_end)))

/* Parts of fixture_begin(), for tests that stop and start. */
void fixture_start_executor(struct fixture *fixture);
void fixture_begin_to_connect(struct fixture *fixture);
void fixture_connect(struct fixture *fixture);
void fixture_disconnect(struct fixture *fixture);
/* SIGKILL, and gone. */
void fixture_kill_executor(struct fixture *fixture);
/* Exit status of the executor, which ends by itself. */
int fixture_wait_executor(struct fixture *fixture);

/* One turn of the loop, at most until deadline. */
void fixture_turn(struct fixture *fixture, usec_t deadline);
#define fixture_wait(fixture, condition)                                                      \
        ({                                                                                    \
                usec_t _deadline = usec_add(now_usec(CLOCK_MONOTONIC), FIXTURE_TIMEOUT_USEC); \
                while (!(condition)) {                                                        \
                        if (now_usec(CLOCK_MONOTONIC) > _deadline)                            \
                                _TEST_FAIL("still not true: %s", #condition);                 \
                        fixture_turn((fixture), _deadline);                                   \
                }                                                                             \
        })

struct fixture_job {
        const char *command;
        const char *cwd;
        const char *const *env; /* name, value, name, value, …, NULL */
        const char *stdin_data;
        size_t stdin_size;
        unsigned timeout_seconds; /* 0: the default */
};

struct run_id fixture_start_job(struct fixture *fixture, const struct fixture_job *job);
struct run_id fixture_start(struct fixture *fixture, const char *command);
/* The result of a run, when it is there; the caller's. */
struct job_result *fixture_result(struct fixture *fixture, const struct run_id *run);
struct job_result *fixture_run(struct fixture *fixture, const char *command);
struct job_result *fixture_run_job(struct fixture *fixture, const struct fixture_job *job);

bool fixture_has_started(const struct fixture *fixture, const struct run_id *run);

/* stdout is exactly this. */
void assert_output(const struct job_output *output, const char *expected);
/* A number that a job has written into a file of the folder, once it is there. */
long fixture_read_number(struct fixture *fixture, const char *name);
bool process_exists(pid_t pid);
/* The executor contains its jobs in cgroups. */
bool fixture_has_cgroups(struct fixture *fixture);
/* The two ways to contain jobs, by the first argument of a test: "cgroups" or "groups". Exits with 77 where
 * there can be no cgroups. */
bool process_groups_asked_for(int argc, char *argv[]);
