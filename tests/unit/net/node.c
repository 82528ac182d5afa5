/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node.h"

#include "lib/tests.h"

static void
on_received(void *userdata, const struct mesh_message *message, const struct discovery_source *source) {
        struct node *node = userdata;

        if (node->n_heard < HEARD_MAX)
                node->heard[node->n_heard++] = (struct heard){ .message = *message, .source = *source };
}

static void on_network_changed(void *userdata) {
        struct node *node = userdata;
        node->n_network_changes++;
}

const struct mesh_keys *node_keys;

void node_init(
        struct node *node, const char *id, sd_event *event, const char *interface, uint16_t discovery_port) {
        char *const interfaces[] = { (char *) interface, NULL };
        const struct discovery_config config = {
                .discovery_port = discovery_port,
                .interfaces = interfaces,
                .keys = node_keys,
                .discovery_fd = -EBADF,
                .node_fd = -EBADF,
        };
        const struct discovery_handlers handlers = {
                .received = on_received,
                .network_changed = on_network_changed,
                .userdata = node,
        };
        char *problem = NULL;

        memset(node, 0, sizeof(*node));
        snprintf(node->id, sizeof(node->id), "%s", id);
        node->event = event;
        int r = discovery_new(&config, event, &handlers, &node->discovery, &problem);
        if (r < 0)
                _TEST_FAIL(
                        "discovery_new() of %s: %s: %s", id, strerror(-r),
                        problem ? problem : "(nothing said)");
}

void node_done(struct node *node) {
        node->discovery = discovery_free(node->discovery);
}

struct mesh_message node_message(const struct node *node) {
        struct mesh_message message = {
                .type = MESSAGE_HEARTBEAT,
                .has_node_info = true,
                .node_info = {
                        .status = NODE_IDLE,
                        .node_port = discovery_node_port(node->discovery),
                },
        };

        strcpy(message.sender_node_id, node->id);
        strcpy(message.node_info.node_id, node->id);
        return message;
}

size_t node_count_from(const struct node *node, const char *id) {
        size_t n = 0;

        for (size_t i = 0; i < node->n_heard; i++)
                n += streq(node->heard[i].message.sender_node_id, id);
        return n;
}

const struct heard *node_first_of(const struct node *node, const char *id, enum message_type type) {
        for (size_t i = 0; i < node->n_heard; i++)
                if (streq(node->heard[i].message.sender_node_id, id) && node->heard[i].message.type == type)
                        return &node->heard[i];
        return NULL;
}

const struct heard *node_last_from(const struct node *node, const char *id) {
        for (size_t i = node->n_heard; i > 0; i--)
                if (streq(node->heard[i - 1].message.sender_node_id, id))
                        return &node->heard[i - 1];
        return NULL;
}
