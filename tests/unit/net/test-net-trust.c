/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Datagrams and links of nodes that have a key of the mesh, and of others. */

#include <sys/socket.h>

#include "lib/tests.h"
#include "net/seal.h"
#include "node.h"
#include "wire/codec.h"

static sd_event *event;
static struct mesh_keys ours, others;

static void send_raw(const void *data, size_t size, const struct node *to) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(discovery_node_port(to->discovery)),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ASSERT_EQ(sendto(fd, data, size, 0, (struct sockaddr *) &address, sizeof(address)), (ssize_t) size);
}

static void assert_heard(struct node *node, const char *id, bool trusted) {
        RUN_UNTIL(event, node_count_from(node, id) == 1);
        ASSERT_EQ(node_last_from(node, id)->source.trusted, trusted);
}

static void test_datagrams(void) {
        static const struct {
                const struct mesh_keys *to, *from;
                bool trusted;
        } cases[] = {
                { &ours, &ours, true }, { &ours, &others, false }, { &ours, NULL, false },
                { NULL, NULL, true },   { NULL, &ours, false },
        };
        static struct node node, peer;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                node_keys = cases[i].to;
                node_init(&node, "node-a", event, "lo", 0);
                node_keys = cases[i].from;
                node_init(&peer, "node-b", event, "lo", discovery_port(node.discovery));
                struct mesh_message message = node_message(&peer);
                ASSERT_EQ(discovery_broadcast(peer.discovery, &message, /* pad= */ false), 1);
                assert_heard(&node, "node-b", cases[i].trusted);
                ASSERT_EQ(discovery_counters(node.discovery)->strangers, !cases[i].trusted);
                ASSERT_EQ(discovery_counters(node.discovery)->forged, 0);
                node_done(&peer);
                node_done(&node);
        }
}

/* While keys are changed, one of the two has one more. */
static void test_second_key(void) {
        static const uint8_t secret[MESH_KEY_SIZE] = { 5 };
        struct mesh_keys both = ours, last = ours;
        static struct node node, peer;

        ASSERT_OK(mesh_keys_add(&both, secret));
        last.n_keys = 0;
        ASSERT_OK(mesh_keys_add(&last, secret));
        node_keys = &both;
        node_init(&node, "node-a", event, "lo", 0);
        node_keys = &last;
        node_init(&peer, "node-b", event, "lo", discovery_port(node.discovery));
        struct mesh_message message = node_message(&peer);
        ASSERT_EQ(discovery_broadcast(peer.discovery, &message, /* pad= */ true), 1);
        assert_heard(&node, "node-b", true);
        ASSERT_EQ(node_last_from(&node, "node-b")->source.size, DATAGRAM_MAX);
        /* The other has only the new one. */
        message = node_message(&node);
        ASSERT_EQ(discovery_broadcast(node.discovery, &message, /* pad= */ false), 1);
        assert_heard(&peer, "node-a", false);
        node_done(&peer);
        node_done(&node);
}

/* Every byte of it counts: with any one changed nobody hears of it, or it is a stranger's. */
static void test_altered(void) {
        static struct node node;
        uint8_t data[DATAGRAM_MAX];
        unsigned n_sent = 0;

        node_keys = &ours;
        node_init(&node, "node-a", event, "lo", 0);
        struct mesh_message message = node_message(&node);
        strcpy(message.sender_node_id, "node-b");
        size_t size = (size_t) ASSERT_OK(seal_encode(&ours, &message, /* pad= */ false, data));
        for (size_t i = 0; i < size; i++) {
                data[i] ^= 1;
                send_raw(data, size, &node);
                data[i] ^= 1;
                n_sent++;
                RUN_UNTIL(event, discovery_counters(node.discovery)->received == n_sent);
        }
        /* Cut short, and with something behind. */
        send_raw(data, size - 1, &node);
        uint8_t longer[DATAGRAM_MAX];
        memcpy(longer, data, size);
        memcpy(longer + size, (const uint8_t[]){ 56, 1 }, 2);
        send_raw(longer, size + 2, &node);
        RUN_UNTIL(event, discovery_counters(node.discovery)->received == n_sent + 2);
        for (size_t i = 0; i < node.n_heard; i++)
                ASSERT_FALSE(node.heard[i].source.trusted);
        ASSERT_GT(discovery_counters(node.discovery)->forged, size / 2);

        node.n_heard = 0;
        send_raw(data, size, &node);
        assert_heard(&node, "node-b", true);
        node_done(&node);
}

int main(void) {
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(mesh_keys_make(&ours));
        ASSERT_OK(mesh_keys_make(&others));
        RUN(test_datagrams);
        RUN(test_second_key);
        RUN(test_altered);
        sd_event_unref(event);
        return 0;
}
