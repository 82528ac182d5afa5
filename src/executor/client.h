/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's side of the executor's socket: starts or finds the executor, resynchronises after every
 * connect, and passes commands and events in batches. Loop thread only; never blocks. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "mesh/job.h"
#include "util/macros.h"
#include "wire/job-limits.h"
#include "wire/types.h"

struct executor_client;

/* A run that the executor knew when it was asked. */
struct executor_known_run {
        struct run_id run;
        bool started;
        usec_t started_at;      /* CLOCK_REALTIME */
        bool ended;             /* its end follows as an exited event */
        uint64_t journalled[2]; /* what executor_client_journalled() told last */
};

struct executor_handlers {
        /* Connected, and this is all that the executor has; ends that it kept follow as exited events.
         * instance is new with every executor process. Starts may be sent from here on. A negative errno:
         * the callee could not take it; the client connects again, and asks anew. */
        int (*synchronised)(
                void *userdata, const struct uuid *instance, const struct executor_known_run *runs,
                size_t n_runs);
        /* The connection is gone; the client tries again by itself, and starts a new executor where it owns
         * one. */
        void (*disconnected)(void *userdata);
        /* The run began: sent before the process exists, so a run never reported as started never ran. */
        void (*started)(void *userdata, const struct run_id *run, usec_t started_at);
        /* The run ended. The executor keeps the result until executor_client_release(). A reference for the
         * callee. */
        void (*exited)(void *userdata, struct job_result *result);
        /* The service manager stops the executor, which waits for executor_client_stop(). Said again after a
         * reconnect. */
        void (*stopping)(void *userdata);
        /* For how long all that the executor says may be left unread, so that many short runs are told of in
         * one turn of the loop: 0 where somebody waits for one of them, or the executor needs us to go on.
         * Asked after every message. NULL: it is read at once. */
        usec_t (*patience)(void *userdata);
        /* Whether what waits in the executor may start: not while we have stood still and others may have
         * taken it over. Asked when something is said to an executor, and some times a second after it was
         * not so. NULL: always. */
        bool (*awake)(void *userdata);
        void *userdata;
};

struct executor_config {
        const char *socket_path; /* at most 107 bytes */
        const char *program;     /* started when nobody listens there; NULL: only connect (a service manager
                                    starts it) */
        const char *node_id;
        unsigned slots;
        size_t output_max;                /* bytes kept of each stream of a job */
        usec_t kill_grace_usec;           /* from SIGTERM to SIGKILL */
        struct job_limits default_limits; /* for what a job does not ask for */
};

/* Call executor_client_launch() before any thread exists: where nobody listens on the socket it starts the
 * program (double-forked, its own session, so that it outlives the daemon), and returns when the socket is
 * there. Later, when the executor has died, the program is started again by posix_spawn(), which is safe
 * beside threads. */
int executor_client_launch(const struct executor_config *config);

int executor_client_new(
        const struct executor_config *config, sd_event *event, const struct executor_handlers *handlers,
        struct executor_client **ret);
struct executor_client *
executor_client_free(struct executor_client *client); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct executor_client *, executor_client_free)

/* Somebody has begun to wait for what the executor says: it is read at once. Kills, withdrawals and reads
 * need no such call. */
void executor_client_hurry(struct executor_client *client);

bool executor_client_is_synchronised(const struct executor_client *client);
int executor_client_set_slots(struct executor_client *client, unsigned slots);

/* Queues a start; the executor runs starts in order of arrival, at most slots at once. All commands given in
 * one turn of the loop travel together. -ENOTCONN: not synchronised. -ENOBUFS: the write queue is full. */
int executor_client_start(
        struct executor_client *client, const struct run_id *run, const struct job_spec *spec);

/* Ends a run: SIGTERM, after the grace SIGKILL to all of its processes; one that has not started never does.
 * It is answered by an exited event (RUN_KILLED, or how it ended by itself just before). A run that the
 * executor does not know is answered by an exited event with RUN_LOST. */
int executor_client_kill(struct executor_client *client, const struct run_id *run);

/* Takes back a run that has not started: answered by an exited event with RUN_KILLED and no time of a start.
 * Nothing happens to one that has. */
int executor_client_withdraw(struct executor_client *client, const struct run_id *run);

/* The result is durable here; the executor may forget it. */
int executor_client_release(struct executor_client *client, const struct run_id *run);

/* Bits of enum limit_kind that the executor can enforce. False: it was never connected, so it is not known.
 */
bool executor_client_enforceable(const struct executor_client *client, unsigned *ret);
/* The same with the reasons; NULL: it was never connected. As long as the client, and changed by a
 * reconnect. */
const struct limit_support *executor_client_support(const struct executor_client *client);
/* For what jobs do not ask for, from the next start on. One that cannot be enforced is left out. */
void executor_client_set_default_limits(struct executor_client *client, const struct job_limits *limits);

/* So much of both outputs is in the journal: kept by the executor as long as the run, for the next daemon.
 * Losing it costs lines that are written twice. */
int executor_client_journalled(
        struct executor_client *client, const struct run_id *run, const uint64_t offsets[static 2]);

/* Asks the executor to end: with its jobs (SIGKILL) or, when it has none left, alone. */
int executor_client_stop(struct executor_client *client, bool kill_jobs);
/* Lets an executor that is being stopped go, with the jobs it still has; the next one is looked for. */
int executor_client_let_go(struct executor_client *client);

/* Output of a run that is not finished. */
struct executor_output {
        int error; /* 0; -ENOENT: no such run (it has ended and was released, or never was); -ENOTCONN */
        uint64_t offset; /* of data in the stream, as the job wrote it; larger than asked for where the
                          * middle was not kept */
        const char *data;
        size_t size;    /* 0 and no error: nothing yet, or, with ended, nothing more */
        bool ended;     /* the run has ended, and this is the last of it */
        uint64_t total; /* what the run has written to the stream until now */
};
typedef void (*executor_output_t)(void *userdata, const struct executor_output *output);

struct executor_read;

/* At most 32 KiB from offset on. wait: answers when there is something there, or the run has ended; else at
 * once, with a size of 0 where there is nothing yet. stream: 1 or 2. -ENOTCONN. At most EXECUTOR_READS_MAX
 * at once: -EBUSY. */
#define EXECUTOR_READS_MAX 256u
int executor_client_read(
        struct executor_client *client, const struct run_id *run, int stream, uint64_t offset, bool wait,
        executor_output_t handler, void *userdata, struct executor_read **ret);
/* The handler will not be called. */
void executor_read_cancel(struct executor_read *read);
