/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of the daemon's side. */

#include "executor/channel.h"
#include "executor/client.h"
#include "util/list.h"
#include "wire/executor-message.h"

#define STARTS_MAX 16384u                 /* that have not been sent; beyond: -ENOBUFS */
#define NOTES_MAX 131072u                 /* kills or releases that have not been sent */
#define JOURNALLED_MAX EXECUTOR_READS_MAX /* runs whose offsets have not been sent */

enum client_state {
        CLIENT_AWAY,     /* no connection; the retry timer runs */
        CLIENT_GREETING, /* hello is sent, the answer is not complete */
        CLIENT_SYNCHRONISED,
        CLIENT_STOPPED, /* the executor was told to end, and is not looked for any more */
};

/* A growing queue of runs to say one thing about. */
struct run_queue {
        struct run_id *items;
        size_t first, n, allocated;
};

struct executor_client {
        char *socket_path, *program, *node_id;
        unsigned slots;
        size_t output_max;
        usec_t kill_grace_usec;
        struct job_limits default_limits; /* for what a job does not ask for, where it can be enforced */
        struct executor_handlers handlers;

        sd_event *event;
        enum client_state state;
        int fd;
        sd_event_source *socket_source;
        sd_event_source *flush_source;
        sd_event_source *gather_timer; /* runs while the socket is not watched */
        bool gathering;                /* it does */
        sd_event_source *retry_timer;  /* while greeting: until then the executor must say something */
        usec_t retry_usec;             /* how long to wait the next time */
        sd_event_source *child_source; /* an executor that we have started, until it ends */
        sd_event_source *peer_source;  /* while connected: the executor's process, where it is known */
        usec_t awake_usec;             /* CLOCK_BOOTTIME: when we said last that we are awake */
        bool answers;                  /* this is to be said again, whatever else is */
        sd_event_source *answer_timer; /* runs when we were not */
        usec_t away_since_usec;        /* of CLOCK_MONOTONIC; while not synchronised */
        bool start_failed;             /* it was said already that the executor cannot be started */
        bool silent;                   /* likewise, that it does not answer */

        struct executor_known_run *known; /* while greeting */
        size_t n_known, n_known_allocated;
        struct uuid instance;
        bool support_known;
        struct limit_support support;

        struct outbox outbox;
        struct list starts; /* struct pending_start */
        size_t n_starts;
        struct run_queue kills, withdrawals, releases;
        struct executor_journalled journalled[JOURNALLED_MAX]; /* the last word on each run */
        size_t n_journalled;
        bool slots_changed;
        bool forgetful;          /* there was no memory for a command: both sides compare anew */
        enum executor_stop stop; /* to be said */
        bool stopping;           /* it was asked for */

        struct list reads; /* struct executor_read */
        unsigned n_reads;
        uint64_t n_read_ids;
};

struct executor_read {
        struct executor_client *client;
        struct list_link link;
        bool sent;
        bool cancelled;
        uint64_t id;
        struct run_id run;
        int stream;
        uint64_t offset;
        bool wait;
        executor_output_t handler;
        void *userdata;
};

/* client-connect.c */
int client_connect_init(struct executor_client *client);
void client_connect_done(struct executor_client *client);
/* What was queued and asked is dropped, and said to whom it concerns; the retry timer starts. */
void client_disconnect(struct executor_client *client);

/* Reads what has come, at most so many messages, and tells of it. */
void client_take(struct executor_client *client, unsigned n_messages);

/* client-gather.c */
int client_gather_init(struct executor_client *client);
void client_gather_done(struct executor_client *client);
/* After a message: leaves what follows alone for a while, where nobody minds. */
void client_gather(struct executor_client *client);
void client_gather_end(struct executor_client *client);

/* client-send.c */
int client_send_init(struct executor_client *client);
void client_send_done(struct executor_client *client);
void client_wants_flush(struct executor_client *client);

/* A node that says nothing any more is lost after some more than this, however often it speaks
 * (mesh/peers.h). */
#define EXECUTOR_SILENCE_USEC (3 * USEC_PER_SEC)

/* client-answer.c: the executor has said something, and knows that somebody listens. */
int client_answer_init(struct executor_client *client);
void client_answer_done(struct executor_client *client);
void client_answer(struct executor_client *client);
int client_answer_fill(struct executor_client *client); /* at the end of a message */
/* What was queued for a connection that is gone. */
void client_send_drop(struct executor_client *client);

/* client-read.c */
void client_reads_fail(struct executor_client *client, int error);
void client_reads_answer(struct executor_client *client, const struct executor_data *data);
int client_reads_fill(struct executor_client *client);

/* launch.c: beside threads. *ret_pid is a child. */
int executor_spawn(const char *program, const char *socket_path, pid_t *ret_pid);
