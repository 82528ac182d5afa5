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

/* One message that was sent. */
struct sent {
        char node_id[NODE_ID_MAX + 1];
        struct link_message message;
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

        struct stored_job job; /* in the store; a null id: nothing is */
        const char *kept;      /* its stdout */
        size_t n_queries;      /* ever */

        struct job_result result; /* of a guest; a null job: there is none */
        executor_output_t read;   /* what was asked of the executor, and is not answered */
        void *read_userdata;
        int read_error;
} world;

void world_begin(size_t n_peers); /* their links are up */
void world_end(void);
/* Until nothing happens by itself. */
void world_settle(void);
void world_hears(size_t peer, const struct link_message *message);
/* The calls to a peer that were sent since the beginning; the last one in *ret, where it is not NULL. */
size_t world_calls_to(size_t peer, struct link_call *ret);
/* The last message of all. */
const struct link_message *world_last(void);
struct uuid world_id(uint8_t number);
