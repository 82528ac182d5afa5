/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A discovery object that remembers what it was told, for the tests of this room. */

#include <systemd/sd-event.h>

#include "net/discovery.h"

#define HEARD_MAX 512

struct heard {
        struct mesh_message message;
        struct discovery_source source;
};

struct node {
        char id[NODE_ID_MAX + 1];
        sd_event *event; /* not owned */
        struct discovery *discovery;
        size_t n_heard;
        struct heard heard[HEARD_MAX];
        unsigned n_network_changes;
};

/* With which nodes are made from now on; NULL, as at the beginning: without. */
extern const struct mesh_keys *node_keys;

/* interface: the only one, or NULL for all. discovery_port: 0 for any free one. */
void node_init(
        struct node *node, const char *id, sd_event *event, const char *interface, uint16_t discovery_port);
void node_done(struct node *node);

struct mesh_message node_message(const struct node *node);

/* How many messages came from the node of this id. */
size_t node_count_from(const struct node *node, const char *id);
const struct heard *node_last_from(const struct node *node, const char *id); /* NULL: none */

/* Two sockets are read in no certain order: what matters may not be the last. NULL: none. */
const struct heard *node_first_of(const struct node *node, const char *id, enum message_type type);

/* Runs the loop until the condition holds; aborts the test after 10 seconds. */
#define RUN_UNTIL(event, condition)                                                \
        ({                                                                         \
                usec_t _deadline = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;  \
                while (!(condition)) {                                             \
                        ASSERT_OK(sd_event_run((event), 20 * USEC_PER_MSEC));      \
                        if (now_usec(CLOCK_MONOTONIC) > _deadline)                 \
                                _TEST_FAIL("not true after 10 s: %s", #condition); \
                }                                                                  \
        })
