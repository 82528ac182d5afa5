/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Operations among other nodes that are not there: what is said to them is kept as they would read it, and
 * what they say comes from the test, both through the codec of links. Mind, store and executor do what the
 * test says, too. */

#include "api/ops-remote.h"
#include "lib/tests.h"
#include "mesh/mesh.h"

#define WORLD_PEERS_MAX 100u
#define WORLD_SENT_MAX 2048u
#define WORLD_JOBS_MAX 3u
#define WORLD_READS_MAX 16u

/* One message that was sent. */
struct sent {
        char node_id[NODE_ID_MAX + 1];
        struct link_message message;
};

struct world_job {
        struct stored_job stored; /* a null id: there is none; the mind has it, too, until it has ended */
        const char *kept;         /* its stdout, in the store */
        bool runs;                /* it has a current run */
};

/* What the executor was asked. */
struct executor_read {
        bool used; /* and has not answered */
        struct run_id run;
        executor_output_t handler;
        void *userdata;
};

extern struct world {
        sd_event *event;
        struct ops *ops;
        struct mesh_peer peers[WORLD_PEERS_MAX];
        bool up[WORLD_PEERS_MAX]; /* the link to it */
        bool stuffed;             /* no link takes anything */
        size_t n_peers, n_opened, n_sent;
        const char *owner; /* of all jobs, as the index has it; NULL: not known */
        struct sent sent[WORLD_SENT_MAX];

        struct world_job jobs[WORLD_JOBS_MAX];
        size_t n_queries; /* ever */

        struct job_result result; /* of a guest; a null job: there is none */
        struct executor_read reads[WORLD_READS_MAX];
        size_t n_reads;                      /* ever */
        int read_error;                      /* of the next ones */
        const struct limit_support *support; /* NULL: the executor was never seen */

        bool takes_jobs;            /* the mind does */
        struct job_limits accepted; /* of the last job that it got */
        size_t n_accepted;
        void *tag; /* of what is not durable yet */
} world;

void world_begin(size_t n_peers); /* their links are up */
void world_end(void);
/* Until nothing happens by itself. */
void world_settle(void);
/* What the executor says to what it was asked as number n. */
void world_answer_read(size_t n, const struct executor_output *output);
void world_hears(size_t peer, const struct link_message *message);
/* The calls to a peer that were sent since the beginning; the last one in *ret, where it is not NULL. */
size_t world_calls_to(size_t peer, struct link_call *ret);
/* The last message of all. */
const struct link_message *world_last(void);
struct uuid world_id(uint8_t number);
