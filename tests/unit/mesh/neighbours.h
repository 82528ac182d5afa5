/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of peers begin with: nodes that know each other, and a stranger. */

#include "lib/mesh-world.h"

/* Two nodes that have known each other for a minute. */
void begin_two(struct world *world, struct world_node **ret_a, struct world_node **ret_b);

bool is_verified(struct world_node *node, const char *id);

/* Somebody who is not one of the world's nodes, and is asked at port 9000 of host 99. */
struct mesh_message stranger_message(const char *id, uint64_t sequence);

/* The stranger says it, and the node has heard and answered when this returns. */
void tell(struct world_node *node, const struct mesh_message *message, bool pad);

/* What was last sent to somebody who is no node of the world. */
struct mesh_message last_stray(const struct world *world);
