/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "neighbours.h"

#include "wire/codec.h"

void begin_two(struct world *world, struct world_node **ret_a, struct world_node **ret_b) {
        world_init(world, 1);
        *ret_a = world_add(world, "node-a", 2);
        *ret_b = world_add(world, "node-b", 2);
        world_start(*ret_a);
        world_start(*ret_b);
        world_run_for(world, 60 * USEC_PER_SEC);
        ASSERT_NOT_NULL(world_peer(*ret_a, "node-b"));
        ASSERT_NOT_NULL(world_peer(*ret_b, "node-a"));
}

bool is_verified(struct world_node *node, const char *id) {
        const struct mesh_peer *peer = world_peer(node, id);
        return peer && peer->verified;
}

struct mesh_message stranger_message(const char *id, uint64_t sequence) {
        struct mesh_message message = {
                .type = MESSAGE_HEARTBEAT,
                .incarnation = 1,
                .sequence = sequence,
                .instance = 4711,
                .has_node_info = true,
                .node_info = { .status = NODE_IDLE, .node_port = 9000, .slots = 1 },
        };

        strcpy(message.sender_node_id, id);
        strcpy(message.node_info.node_id, id);
        return message;
}

void tell(struct world_node *node, const struct mesh_message *message, bool pad) {
        struct sockaddr_in source = world_address(99, 9000);

        world_deliver_message(node, &source, message, pad);
        world_run_for(node->world, 5 * USEC_PER_MSEC);
}

struct mesh_message last_stray(const struct world *world) {
        struct mesh_message message;

        ASSERT_OK(mesh_message_decode(world->last_stray.bytes, world->last_stray.size, &message));
        return message;
}
