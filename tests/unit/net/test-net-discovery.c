/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "lib/network.h"
#include "lib/protobuf-writer.h"
#include "lib/tests.h"
#include "node.h"
#include "util/time.h"

/* In a namespace of its own where that is allowed, else on the loopback of the host. */
static bool is_private;
static sd_event *event;

static struct sockaddr_in loopback_address(uint16_t port) {
        return (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
}

static void test_three_nodes(void) {
        static struct node nodes[3];
        static const char *const ids[] = { "node-a", "node-b", "node-c" };

        node_init(&nodes[0], ids[0], event, "lo", 0);
        node_init(&nodes[1], ids[1], event, "lo", discovery_port(nodes[0].discovery));
        node_init(&nodes[2], ids[2], event, "lo", discovery_port(nodes[0].discovery));
        ASSERT_NE(discovery_node_port(nodes[0].discovery), discovery_node_port(nodes[1].discovery));
        ASSERT_NE(discovery_node_port(nodes[1].discovery), discovery_node_port(nodes[2].discovery));

        for (size_t i = 0; i < 3; i++) {
                struct mesh_message message = node_message(&nodes[i]);
                ASSERT_EQ(discovery_broadcast(nodes[i].discovery, &message, /* pad= */ i == 2), 1);
        }
        for (size_t to = 0; to < 3; to++)
                for (size_t from = 0; from < 3; from++) {
                        RUN_UNTIL(event, node_count_from(&nodes[to], ids[from]) == 1);
                        const struct heard *heard = node_last_from(&nodes[to], ids[from]);
                        ASSERT_EQ(ntohl(heard->source.address.sin_addr.s_addr), INADDR_LOOPBACK);
                        ASSERT_EQ(
                                ntohs(heard->source.address.sin_port),
                                discovery_node_port(nodes[from].discovery));
                        ASSERT_EQ(
                                heard->message.node_info.node_port,
                                discovery_node_port(nodes[from].discovery));
                        if (from == 2)
                                ASSERT_EQ(heard->source.size, DATAGRAM_MAX);
                        else
                                ASSERT_EQ(heard->source.size, PROBE_SIZE);
                }

        /* What is sent to one reaches that one only. */
        struct mesh_message message = node_message(&nodes[0]);
        struct sockaddr_in address = loopback_address(discovery_node_port(nodes[1].discovery));
        ASSERT_OK(discovery_send(nodes[0].discovery, &message, /* pad= */ false, &address));
        RUN_UNTIL(event, node_count_from(&nodes[1], ids[0]) == 2);
        ASSERT_EQ(node_count_from(&nodes[0], ids[0]), 1);
        ASSERT_EQ(node_count_from(&nodes[2], ids[0]), 1);
        ASSERT_EQ(discovery_counters(nodes[0].discovery)->sent, 2);
        ASSERT_EQ(discovery_counters(nodes[1].discovery)->received, 4);
        ASSERT_EQ(discovery_counters(nodes[1].discovery)->malformed, 0);

        for (size_t i = 0; i < 3; i++)
                node_done(&nodes[i]);
}

static void send_raw(int fd, const void *data, size_t size, uint16_t port) {
        struct sockaddr_in address = loopback_address(port);
        ASSERT_EQ(sendto(fd, data, size, 0, (struct sockaddr *) &address, sizeof(address)), size);
}

static void test_malformed(void) {
        static struct node node;
        static const uint8_t padding[DATAGRAM_MAX];
        struct protobuf_writer writer = { .size = 0 };
        char noise[64];
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ASSERT_GE(fd, 0);
        node_init(&node, "node-a", event, "lo", 0);
        const struct discovery_counters *counters = discovery_counters(node.discovery);
        uint16_t port = discovery_node_port(node.discovery);

        memset(noise, 0xff, sizeof(noise));
        send_raw(fd, noise, sizeof(noise), port);
        send_raw(fd, "", 0, port);
        /* One byte too long, but otherwise right. */
        write_text_field(&writer, 6, "node-b");
        write_bytes_field(&writer, 13, padding, DATAGRAM_MAX - writer.size - 2);
        ASSERT_EQ(writer.size, DATAGRAM_MAX + 1);
        send_raw(fd, writer.bytes, writer.size, port);
        send_raw(fd, writer.bytes, writer.size, discovery_port(node.discovery));
        RUN_UNTIL(event, counters->malformed == 4);
        ASSERT_EQ(node.n_heard, 0);

        writer.size = 0;
        write_text_field(&writer, 6, "node-b");
        write_bytes_field(&writer, 13, padding, DATAGRAM_MAX - writer.size - 3);
        ASSERT_EQ(writer.size, DATAGRAM_MAX);
        send_raw(fd, writer.bytes, writer.size, port);
        RUN_UNTIL(event, node.n_heard == 1);
        ASSERT_STREQ(node.heard[0].message.sender_node_id, "node-b");
        ASSERT_EQ(node.heard[0].source.size, DATAGRAM_MAX);
        ASSERT_EQ(counters->malformed, 4);
        ASSERT_EQ(counters->received, 5);

        node_done(&node);
        close(fd);
}

/* A flood is read in slices, between which the loop does other things. */
static void test_flood(void) {
        static struct node node;
        struct protobuf_writer writer = { .size = 0 };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ASSERT_GE(fd, 0);
        node_init(&node, "node-a", event, "lo", 0);
        write_text_field(&writer, 6, "node-b");
        for (size_t i = 0; i < 150; i++)
                send_raw(fd, writer.bytes, writer.size, discovery_node_port(node.discovery));

        ASSERT_OK(sd_event_run(event, USEC_PER_SEC));
        ASSERT_EQ(node.n_heard, 64);
        RUN_UNTIL(event, node.n_heard == 150);

        node_done(&node);
        close(fd);
}

/* And does not take all of the loop's time, however fast it comes. */
static void test_flood_has_a_share(void) {
        static struct node node;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const struct discovery_counters *counters;
        usec_t begun, took;

        ASSERT_GE(fd, 0);
        node_init(&node, "node-a", event, "lo", 0);
        counters = discovery_counters(node.discovery);
        begun = now_usec(CLOCK_MONOTONIC);
        for (size_t i = 0; i < 100; i++) {
                for (size_t n = 0; n < 64; n++)
                        send_raw(fd, "x", 1, discovery_node_port(node.discovery));
                ASSERT_OK(sd_event_run(event, 0));
        }
        took = now_usec(CLOCK_MONOTONIC) - begun;
        ASSERT_GT(counters->malformed, 0u);
        /* 4 times 64 in 10 ms, and the intervals at both ends. */
        ASSERT_LE(counters->malformed, (took / (10 * USEC_PER_MSEC) + 2) * 256);
        RUN_UNTIL(event, counters->malformed >= 256); /* it goes on */
        node_done(&node);
        close(fd);
}

/* Neither hears by an interface that it was not told to use, nor sends there. */
static void test_absent_interface(void) {
        static struct node node;
        struct protobuf_writer writer = { .size = 0 };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ASSERT_GE(fd, 0);
        node_init(&node, "node-a", event, "nowhere0", 0);
        write_text_field(&writer, 6, "node-b");
        send_raw(fd, writer.bytes, writer.size, discovery_node_port(node.discovery));
        RUN_UNTIL(event, discovery_counters(node.discovery)->foreign == 1);
        ASSERT_EQ(node.n_heard, 0);

        struct mesh_message message = node_message(&node);
        ASSERT_EQ(discovery_broadcast(node.discovery, &message, /* pad= */ false), 0);

        node_done(&node);
        close(fd);
}

static void test_unreachable(void) {
        static struct node node;
        struct sockaddr_in address = loopback_address(9);

        if (!is_private) /* it might leave the host */
                return;
        node_init(&node, "node-a", event, "lo", 0);
        struct mesh_message message = node_message(&node);
        ASSERT_EQ(inet_pton(AF_INET, "192.0.2.1", &address.sin_addr), 1);
        ASSERT_ERROR(discovery_send(node.discovery, &message, /* pad= */ false, &address), ENETUNREACH);
        ASSERT_EQ(discovery_counters(node.discovery)->send_failed, 1);
        ASSERT_EQ(discovery_counters(node.discovery)->sent, 0);
        node_done(&node);
}

int main(void) {
        is_private = network_enter_private();
        if (is_private)
                network_set_up("lo", true);
        ASSERT_OK(sd_event_new(&event));

        RUN(test_three_nodes);
        RUN(test_malformed);
        RUN(test_flood);
        RUN(test_flood_has_a_share);
        RUN(test_absent_interface);
        RUN(test_unreachable);

        sd_event_unref(event);
        return EXIT_SUCCESS;
}
