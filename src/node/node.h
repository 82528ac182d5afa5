/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The composition root: builds the parts of a node and wires their events to each other. */

#include <systemd/sd-event.h>

#include "node/config.h"
#include "util/macros.h"

struct node;

/* Builds everything; threads exist afterwards. config is borrowed and outlives the node. What fails is
 * logged here, in a sentence for the person who started it; a negative errno is returned. */
int node_new(const struct config *config, sd_event *event, struct node **ret);
struct node *node_free(struct node *node); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct node *, node_free)

/* Tells the mesh that the node is here, begins to work, and prints what a person at the terminal wants to
 * know. */
void node_start(struct node *node);

/* Settings that can change while the node runs take effect; those of the others that differ from old are
 * named in the journal. config is borrowed from now on. */
void node_reload(struct node *node, const struct config *old, const struct config *config);

/* Orderly: nothing new, running jobs end within DrainTimeout=, goodbye, then the loop exits with status 0.
 */
void node_stop(struct node *node);
/* At once: jobs are killed, what is written is written, and the loop exits. */
void node_abort(struct node *node);
