/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Datagrams: they travel through the real codec, and may be lost, come twice, late, and in another order. */

#include "lib/mesh-world.h"

#include <arpa/inet.h>

#include "wire/codec.h"

#define RECORDED_MAX 4096

/* As it was sent; shared by all to whom it is on its way. */
struct packet {
        unsigned n_references;
        struct world_node *from; /* NULL: a test made it up */
        usec_t sent_usec;
        struct mesh_origin origin;
        bool is_message;
        struct mesh_message message;
};

/* One of them on its way to one node. */
struct delivery {
        struct list_link link; /* in node.held */
        struct packet *packet;
};

struct sockaddr_in world_address(unsigned host, uint16_t port) {
        return (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(0x0a000000 | host),
        };
}

static struct world_node *node_at(struct world *world, const struct sockaddr_in *address) {
        uint32_t host = ntohl(address->sin_addr.s_addr) & 0xffffff;
        struct world_node *node = host > 0 && host <= world->n_nodes ? world->nodes[host - 1] : NULL;

        return node && node->address.sin_addr.s_addr == address->sin_addr.s_addr &&
                               node->address.sin_port == address->sin_port
                       ? node
                       : NULL;
}

static struct packet *packet_new(
        struct world *world, struct world_node *from, const struct sockaddr_in *source, const void *data,
        size_t size) {
        struct packet *packet = calloc(1, sizeof(*packet));

        ASSERT_NOT_NULL(packet);
        packet->n_references = 1;
        packet->from = from;
        packet->sent_usec = world->now;
        packet->origin = (struct mesh_origin){ .address = *source, .size = size, .trusted = true };
        packet->is_message = size <= DATAGRAM_MAX && mesh_message_decode(data, size, &packet->message) >= 0;
        return packet;
}

static void packet_unref(struct packet *packet) {
        if (--packet->n_references == 0)
                free(packet);
}

void network_free(void *what) {
        struct delivery *delivery = what;

        list_remove(&delivery->link);
        packet_unref(delivery->packet);
        free(delivery);
}

static bool happens(struct world *world, unsigned percent) {
        uint32_t drawn;

        if (percent == 0)
                return false;
        world_random(world, &drawn, sizeof(drawn));
        return drawn % 100 < percent;
}

static void missed(struct world_node *node, struct world_node *from) {
        if (from && node->world->missed)
                node->world->missed(node, from);
}

static void send_once(struct world_node *node, struct packet *packet) {
        struct world *world = node->world;
        usec_t due = world->now + WORLD_LATENCY_USEC;
        struct delivery *delivery;
        uint32_t drawn;

        if (happens(world, world->loss)) {
                missed(node, packet->from);
                return;
        }
        if (happens(world, world->late) && world->late_usec > 0) {
                world_random(world, &drawn, sizeof(drawn));
                due = usec_add(due, drawn % world->late_usec);
        }
        delivery = calloc(1, sizeof(*delivery));
        ASSERT_NOT_NULL(delivery);
        delivery->packet = packet;
        packet->n_references++;
        events_add(world, due, EVENT_DATAGRAM, node, delivery);
}

static void send_packet(struct world_node *node, struct packet *packet) {
        if (packet->from && !world_reaches(packet->from, node)) {
                missed(node, packet->from);
                return;
        }
        send_once(node, packet);
        if (happens(node->world, node->world->repeated))
                send_once(node, packet);
}

void world_deliver(
        struct world_node *node, const struct sockaddr_in *source, const void *data, size_t size) {
        struct packet *packet = packet_new(node->world, NULL, source, data, size);

        send_packet(node, packet);
        packet_unref(packet);
}

void world_deliver_from_stranger(
        struct world_node *node, const struct sockaddr_in *source, const struct mesh_message *message,
        bool pad) {
        uint8_t bytes[DATAGRAM_MAX];
        int size = (int) ASSERT_OK(mesh_message_encode(message, pad, bytes));
        struct packet *packet = packet_new(node->world, NULL, source, bytes, (size_t) size);

        packet->origin.trusted = false;
        send_packet(node, packet);
        packet_unref(packet);
}

void world_deliver_message(
        struct world_node *node, const struct sockaddr_in *source, const struct mesh_message *message,
        bool pad) {
        uint8_t bytes[DATAGRAM_MAX];

        int size = (int) ASSERT_OK(mesh_message_encode(message, pad, bytes));
        world_deliver(node, source, bytes, (size_t) size);
}

void network_step(struct world_node *node, void *what) {
        struct delivery *delivery = what;
        struct packet *packet = delivery->packet;
        bool reached = !packet->from || world_reaches(packet->from, node);

        if (node->is_paused && node->mesh && reached) {
                missed(node, packet->from);
                list_append(&node->held, &delivery->link);
                return;
        }
        if (!node->mesh || !reached)
                missed(node, packet->from);
        else {
                if (packet->from && node->world->heard)
                        node->world->heard(node, packet->from, packet->sent_usec);
                if (packet->is_message)
                        mesh_received(node->mesh, &packet->message, &packet->origin);
        }
        network_free(delivery);
}

void network_resume(struct world_node *node) {
        struct delivery *delivery;

        LIST_FOREACH(&node->held, delivery, struct delivery, link) {
                list_remove(&delivery->link);
                events_add(node->world, node->world->now, EVENT_DATAGRAM, node, delivery);
        }
}

void network_forget(struct world_node *node) {
        struct delivery *delivery;

        LIST_FOREACH(&node->held, delivery, struct delivery, link)
                network_free(delivery);
}

static void record(struct world *world, const struct world_datagram *datagram) {
        if (!world->recording)
                return;
        if (!world->recorded)
                world->recorded = calloc(RECORDED_MAX, sizeof(*world->recorded));
        ASSERT_NOT_NULL(world->recorded);
        ASSERT_LT(world->n_recorded, RECORDED_MAX);
        world->recorded[world->n_recorded++] = *datagram;
}

static struct world_datagram make_datagram(
        struct world_node *node, const struct mesh_message *message, bool pad,
        const struct sockaddr_in *destination) {
        struct world_datagram datagram = { .source = node->address, .destination = *destination };

        datagram.size = (size_t) ASSERT_OK(mesh_message_encode(message, pad, datagram.bytes));
        record(node->world, &datagram);
        node->world->n_datagrams++;
        node->world->n_bytes += datagram.size;
        return datagram;
}

void network_send(
        struct world_node *node, const struct sockaddr_in *address, const struct mesh_message *message,
        bool pad) {
        struct world *world = node->world;
        struct world_datagram datagram = make_datagram(node, message, pad, address);
        struct world_node *target = node_at(world, address);
        struct packet *packet;

        node->n_sent++;
        if (target) {
                packet = packet_new(world, node, &node->address, datagram.bytes, datagram.size);
                send_packet(target, packet);
                packet_unref(packet);
        } else if (!node->is_detached) {
                world->n_strays++;
                world->stray_bytes += datagram.size;
                world->last_stray = datagram;
        }
}

void network_broadcast(struct world_node *node, const struct mesh_message *message, bool pad) {
        struct world *world = node->world;
        const struct sockaddr_in everybody = {
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_BROADCAST),
        };
        struct world_datagram datagram = make_datagram(node, message, pad, &everybody);
        struct packet *packet = packet_new(world, node, &node->address, datagram.bytes, datagram.size);

        node->n_broadcasts++;
        for (size_t i = 0; i < world->n_nodes; i++)
                send_packet(world->nodes[i], packet);
        packet_unref(packet);
}
