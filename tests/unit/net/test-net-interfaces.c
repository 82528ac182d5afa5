/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>

#include "lib/network.h"
#include "lib/tests.h"
#include "node.h"
#include "util/time.h"

#define DISCOVERY_PORT 8080
#define REPEAT_USEC (50 * USEC_PER_MSEC)

static sd_event *event;

/* How many interfaces a broadcast is sent to, whether it gets through or not. */
static uint64_t count_interfaces(struct node *node) {
        const struct discovery_counters *counters = discovery_counters(node->discovery);
        uint64_t before = counters->sent + counters->send_failed;
        struct mesh_message message = node_message(node);

        ASSERT_OK(discovery_broadcast(node->discovery, &message, /* pad= */ false));
        return counters->sent + counters->send_failed - before;
}

static void test_loopback_comes_and_goes(void) {
        static struct node node;

        node_init(&node, "node-a", event, NULL, DISCOVERY_PORT);
        struct mesh_message message = node_message(&node);
        ASSERT_EQ(discovery_broadcast(node.discovery, &message, /* pad= */ false), 0);

        network_set_up("lo", true);
        RUN_UNTIL(event, node.n_network_changes == 1);
        ASSERT_EQ(discovery_broadcast(node.discovery, &message, /* pad= */ false), 1);
        RUN_UNTIL(event, node_count_from(&node, "node-a") == 1);

        /* Until it is known to be gone it is tried, which is no error. */
        network_set_up("lo", false);
        ASSERT_EQ(discovery_broadcast(node.discovery, &message, /* pad= */ false), 0);
        ASSERT_GT(discovery_counters(node.discovery)->send_failed, 0);
        RUN_UNTIL(event, count_interfaces(&node) == 0);
        ASSERT_EQ(node.n_network_changes, 1);

        network_set_up("lo", true);
        RUN_UNTIL(event, node.n_network_changes == 2);
        ASSERT_EQ(discovery_broadcast(node.discovery, &message, /* pad= */ false), 1);
        node_done(&node);
}

/* Many changes at once are told once. */
static void test_changes_are_gathered(void) {
        static struct node node;

        node_init(&node, "node-a", event, NULL, DISCOVERY_PORT);
        for (int i = 1; i <= 8; i++)
                ASSERT_TRUE(network_ip("link add br%d type bridge", i));
        for (int i = 1; i <= 8; i++) {
                ASSERT_TRUE(network_ip("address add 10.9.%d.1/24 dev br%d", i, i));
                network_set_up("br1", i % 2 == 0);
        }
        network_set_up("br1", true);
        ASSERT_TRUE(network_ip("link set br2 up"));

        RUN_UNTIL(event, count_interfaces(&node) == 3);
        ASSERT_EQ(node.n_network_changes, 1);
        for (int i = 1; i <= 8; i++)
                ASSERT_TRUE(network_ip("link delete br%d", i));
        RUN_UNTIL(event, count_interfaces(&node) == 1);
        ASSERT_EQ(node.n_network_changes, 1);
        node_done(&node);
}

/* Broadcasts until the other has heard us and said so; known_incarnation is what a node says of that here.
 */
static bool is_known_to(const struct node *node, const char *other) {
        for (size_t i = 0; i < node->n_heard; i++)
                if (streq(node->heard[i].message.sender_node_id, other) &&
                    node->heard[i].message.known_incarnation > 0)
                        return true;
        return false;
}

static void talk_until_known(struct node *node, const char *other) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC, next = 0;

        for (;;) {
                const struct heard *heard = node_last_from(node, other);
                bool is_known = is_known_to(node, other);
                usec_t now = now_usec(CLOCK_MONOTONIC);

                if (is_known || now >= next) {
                        struct mesh_message message = node_message(node);
                        message.known_incarnation = heard != NULL;
                        (void) discovery_broadcast(node->discovery, &message, /* pad= */ true);
                        next = now + REPEAT_USEC;
                }
                if (is_known)
                        return;
                if (now > deadline)
                        _TEST_FAIL("%s did not hear %s", node->id, other);
                ASSERT_OK(sd_event_run(node->event, REPEAT_USEC));
        }
}

/* The other host: its discovery is there before it has any interface. */
static int other_host(void) {
        static struct node node;
        sd_event *other_event = NULL;

        ASSERT_OK(sd_event_new(&other_event));
        node_init(&node, "node-far", other_event, NULL, DISCOVERY_PORT);
        network_set_up("lo", true);
        ASSERT_TRUE(network_ip("address add 10.8.0.2/24 dev vb"));
        ASSERT_TRUE(network_ip("link set vb up"));
        talk_until_known(&node, "node-a");

        const struct heard *heard = node_last_from(&node, "node-a");
        ASSERT_EQ(ntohl(heard->source.address.sin_addr.s_addr), 0x0a080001);

        /* Answers to the one, and goes when that one has answered too. */
        struct mesh_message message = node_message(&node);
        message.type = MESSAGE_PROBE;
        struct sockaddr_in address = heard->source.address;
        ASSERT_OK(discovery_send(node.discovery, &message, /* pad= */ false, &address));
        RUN_UNTIL(other_event, node_first_of(&node, "node-a", MESSAGE_PROBE_ACK));
        node_done(&node);
        sd_event_unref(other_event);
        return EXIT_SUCCESS;
}

/* A cable to another host, put in while everything runs; and beside the node one that uses loopback only,
 * one that uses the cable only. */
static void test_two_hosts(void) {
        static struct node node, loopback_node, cable_node, second_cable_node;
        struct network_child child;

        node_init(&node, "node-a", event, NULL, DISCOVERY_PORT);
        node_init(&loopback_node, "node-lo", event, "lo", DISCOVERY_PORT);
        node_init(&cable_node, "node-va", event, "va", DISCOVERY_PORT);
        node_init(&second_cable_node, "node-va2", event, "va", DISCOVERY_PORT);

        network_child_fork(other_host, &child);
        ASSERT_TRUE(network_ip("link add va type veth peer name vb netns %d", (int) child.pid));
        ASSERT_TRUE(network_ip("address add 10.8.0.1/24 broadcast + dev va"));
        ASSERT_TRUE(network_ip("link set va up"));
        network_child_start(&child);
        talk_until_known(&node, "node-far");
        ASSERT_EQ(node.n_network_changes, 1);
        ASSERT_EQ(ntohl(node_last_from(&node, "node-far")->source.address.sin_addr.s_addr), 0x0a080002);

        RUN_UNTIL(event, node_first_of(&node, "node-far", MESSAGE_PROBE));
        struct sockaddr_in address = node_first_of(&node, "node-far", MESSAGE_PROBE)->source.address;
        struct mesh_message message = node_message(&node);
        message.type = MESSAGE_PROBE_ACK;
        ASSERT_OK(discovery_send(node.discovery, &message, /* pad= */ false, &address));
        ASSERT_EQ(network_child_wait(&child), EXIT_SUCCESS);

        /* The one on loopback only heard nothing of the other host, and the one on the cable nothing by
         * loopback. */
        RUN_UNTIL(event, node_count_from(&cable_node, "node-far") > 0);
        RUN_UNTIL(event, discovery_counters(loopback_node.discovery)->foreign > 0);
        RUN_UNTIL(event, node_count_from(&loopback_node, "node-a") > 0);
        ASSERT_EQ(node_count_from(&loopback_node, "node-far"), 0);
        message = node_message(&loopback_node);
        ASSERT_EQ(discovery_broadcast(loopback_node.discovery, &message, /* pad= */ false), 1);
        RUN_UNTIL(event, node_count_from(&node, "node-lo") == 1);
        RUN_UNTIL(event, discovery_counters(cable_node.discovery)->foreign > 0);
        ASSERT_EQ(node_count_from(&cable_node, "node-lo"), 0);

        /* Two nodes of this host that use the cable only hear each other, also when it is for one of them:
         * the kernel hands that over by loopback. */
        message = node_message(&second_cable_node);
        ASSERT_EQ(discovery_broadcast(second_cable_node.discovery, &message, /* pad= */ false), 1);
        RUN_UNTIL(event, node_count_from(&cable_node, "node-va2") == 1);
        address = node_last_from(&cable_node, "node-va2")->source.address;
        ASSERT_EQ(ntohl(address.sin_addr.s_addr), 0x0a080001);
        message = node_message(&cable_node);
        ASSERT_OK(discovery_send(cable_node.discovery, &message, /* pad= */ false, &address));
        RUN_UNTIL(event, node_count_from(&second_cable_node, "node-va") == 1);

        node_done(&node);
        node_done(&loopback_node);
        node_done(&cable_node);
        node_done(&second_cable_node);
}

int main(void) {
        if (!network_enter_private()) {
                fprintf(stderr, "Skipped: no network namespace of one's own here.\n");
                return TEST_SKIPPED;
        }
        ASSERT_OK(sd_event_new(&event));
        RUN(test_loopback_comes_and_goes);
        if (!network_ip("link add probe0 type veth peer name probe1") || !network_ip("link delete probe0")) {
                fprintf(stderr, "Skipped: ip(8) is not installed, or there are no veth interfaces here.\n");
                return TEST_SKIPPED;
        }
        RUN(test_changes_are_gathered);
        RUN(test_two_hosts);
        sd_event_unref(event);
        return EXIT_SUCCESS;
}
