/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the node says of itself: the heartbeat, the hello with which it begins, and goodbye. */

#include "mesh/internal.h"

static void fill_node_info(struct mesh *mesh, struct node_info *ret) {
        memcpy(ret->node_id, mesh->config.node_id, sizeof(ret->node_id));
        memcpy(ret->address, mesh->config.address, sizeof(ret->address));
        memcpy(ret->version, mesh->config.version, sizeof(ret->version));
        memcpy(ret->metadata, mesh->config.metadata, sizeof(ret->metadata));
        ret->n_metadata = mesh->config.n_metadata;
        memcpy(ret->labels, mesh->config.labels, mesh->config.n_labels * sizeof(ret->labels[0]));
        ret->n_labels = mesh->config.n_labels;
        ret->pressure = mesh->pressure;
        ret->status = mesh_status(mesh, NULL);
        ret->last_heartbeat_usec = mesh->ops.now_realtime(mesh->userdata);
        ret->node_port = mesh->config.node_port;
        ret->slots = mesh->config.slots;
        ret->running = (uint32_t) (mesh->n_running + mesh->n_guests_running);
        ret->queued = (uint32_t) mesh->n_queued;
        ret->backlog = (uint32_t) queue_backlog(mesh);
        ret->index_head = index_head(mesh);
        ret->heartbeat_interval_usec = mesh->config.heartbeat_interval_usec;
        ret->uptime_usec = usec_sub(mesh_now(mesh), mesh->started_usec);
}

/* Everything that every message carries; node information for those that tell of the node. */
void heartbeat_fill(struct mesh *mesh, enum message_type type, struct mesh_message *ret) {
        *ret = (struct mesh_message){
                .type = type,
                .timestamp_usec = mesh->ops.now_realtime(mesh->userdata),
                .incarnation = mesh->config.incarnation,
                .sequence = ++mesh->sequence,
                .instance = mesh->config.instance,
        };
        memcpy(ret->sender_node_id, mesh->config.node_id, sizeof(ret->sender_node_id));
        if (type == MESSAGE_HEARTBEAT) {
                ret->has_node_info = true;
                fill_node_info(mesh, &ret->node_info);
        }
}

/* A tenth to either side, so that nodes that started together do not go on speaking together. */
static void schedule_heartbeat(struct mesh *mesh) {
        usec_t interval = mesh->config.heartbeat_interval_usec;

        mesh->heartbeat_due =
                usec_add(mesh_now(mesh), interval - interval / 10 + mesh_random_below(mesh, interval / 5));
}

void heartbeat_send(struct mesh *mesh) {
        struct mesh_message message;

        if (mesh->stopping)
                return;
        heartbeat_fill(mesh, MESSAGE_HEARTBEAT, &message);
        mesh->ops.broadcast(mesh->userdata, &message, /* pad= */ false);
        schedule_heartbeat(mesh);
}

/* A new question; answers to an older one no longer prove anything. */
void hello_begin(struct mesh *mesh, unsigned times) {
        mesh->ops.random(mesh->userdata, mesh->hello_nonce, sizeof(mesh->hello_nonce));
        mesh->hellos_left = times;
}

/* Asks everybody to answer now; repeated a few times, since datagrams get lost. */
void hello_send(struct mesh *mesh) {
        struct mesh_message message;

        if (mesh->stopping || mesh->hellos_left == 0)
                return;
        mesh->hellos_left--;

        heartbeat_fill(mesh, MESSAGE_HEARTBEAT, &message);
        message.has_nonce = true;
        memcpy(message.nonce, mesh->hello_nonce, sizeof(message.nonce));
        mesh->ops.broadcast(mesh->userdata, &message, /* pad= */ true);
        mesh->hello_sent_usec = mesh_now(mesh);
        schedule_heartbeat(mesh);

        if (mesh->hellos_left > 0)
                mesh->hello_due = usec_add(mesh_now(mesh), mesh->config.heartbeat_interval_usec / 10);
}

void mesh_say_goodbye(struct mesh *mesh) {
        struct mesh_message message;

        if (!mesh->working || mesh->stopping)
                return;
        heartbeat_fill(mesh, MESSAGE_GOODBYE, &message);
        mesh->ops.broadcast(mesh->userdata, &message, /* pad= */ false);
        heartbeat_fill(mesh, MESSAGE_GOODBYE, &message);
        mesh->ops.broadcast(mesh->userdata, &message, /* pad= */ false);
        mesh->stopping = true;
}
