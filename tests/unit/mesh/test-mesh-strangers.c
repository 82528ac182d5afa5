/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Nodes without a key of the mesh, and recordings of those that have one, sent from elsewhere. */

#include "mesh/peers.h"
#include "neighbours.h"
#include "wire/codec.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC

/* From port 9000 of this host, without a key. */
static void tell_without_key(struct world_node *node, const struct mesh_message *message, unsigned host) {
        struct sockaddr_in source = world_address(host, 9000);

        world_deliver_from_stranger(node, &source, message, /* pad= */ true);
        world_run_for(node->world, 5 * MSEC);
}

/* Listed, and neither asked nor answered. */
static void test_listed(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        size_t n_strays = world.n_strays;
        for (int type = MESSAGE_HEARTBEAT; type <= MESSAGE_GOODBYE; type++) {
                struct mesh_message message = stranger_message("stranger", (uint64_t) type);

                message.type = (enum message_type) type;
                message.has_nonce = true;
                tell_without_key(a, &message, 99);
        }
        const struct mesh_peer *peer = world_peer(a, "stranger");
        ASSERT_NOT_NULL(peer);
        ASSERT_FALSE(peer->trusted || peer->verified);
        ASSERT_STREQ(peer->info.address, "10.0.0.99:9000");
        ASSERT_EQ(world_state(a).n_peers, 1);
        ASSERT_EQ(world_state(a).n_strangers, 1);
        ASSERT_EQ(world.n_strays, n_strays);

        world_run_for(&world, 31 * SEC);
        ASSERT_NULL(world_peer(a, "stranger"));
        ASSERT_EQ(world.n_strays, n_strays);
        ASSERT_TRUE(is_verified(a, "node-b"));
        world_done(&world);
}

/* When it shows a key it is a peer like any other. */
static void test_joins(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("newcomer", 1);
        tell_without_key(a, &message, 99);
        ASSERT_FALSE(world_peer(a, "newcomer")->trusted);
        message.sequence = 2;
        tell(a, &message, /* pad= */ true);
        ASSERT_TRUE(world_peer(a, "newcomer")->trusted);
        ASSERT_EQ(world_state(a).n_strangers, 0);
        ASSERT_EQ(world_n_peers(a), 2);
        message = last_stray(&world);
        ASSERT_TRUE(message.has_nonce);
        world_done(&world);
}

/* Whatever is said without a key in the name of a member, or of the node itself. */
static void test_names_of_others(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_peer before = *world_peer(a, "node-b");
        for (unsigned i = 0; i < 4; i++) {
                struct mesh_message message = stranger_message(i % 2 == 0 ? "node-b" : "node-a", 1000);

                message.incarnation = 1000;
                message.node_info.uptime_usec = USEC_PER_DAY;
                message.type = i < 2 ? MESSAGE_HEARTBEAT : MESSAGE_GOODBYE;
                message.has_echo = message.has_nonce = true;
                tell_without_key(a, &message, 99);
        }
        const struct mesh_peer *peer = world_peer(a, "node-b");
        ASSERT_TRUE(peer && peer->verified && peer->trusted);
        ASSERT_EQ(peer->incarnation, before.incarnation);
        ASSERT_EQ(peer->address.sin_addr.s_addr, before.address.sin_addr.s_addr);
        ASSERT_EQ(world_state(a).n_strangers, 0);
        ASSERT_EQ(world_state(a).status, NODE_IDLE);
        world_done(&world);
}

static void test_so_many_and_no_more(void) {
        struct world_node *a, *b;
        struct world world;
        char id[32];

        begin_two(&world, &a, &b);
        size_t n_strays = world.n_strays;
        for (unsigned i = 0; i < 1000; i++) {
                snprintf(id, sizeof(id), "invented-%u", i);
                struct mesh_message message = stranger_message(id, 1);
                tell_without_key(a, &message, 100 + i);
                ASSERT_EQ(world_state(a).n_strangers, MIN(i + 1, STRANGERS_MAX));
        }
        ASSERT_EQ(world_state(a).n_peers, 1);
        ASSERT_EQ(world_n_peers(a), STRANGERS_MAX + 1);
        ASSERT_EQ(world.n_strays, n_strays);

        /* They take nobody's place. */
        struct mesh_message message = stranger_message("member", 1);
        tell(a, &message, /* pad= */ true);
        ASSERT_TRUE(world_peer(a, "member")->trusted);
        world_run_for(&world, 40 * SEC);
        ASSERT_EQ(world_n_peers(a), 1);
        world_done(&world);
}

/* A member that is asked at host 98 from then on. */
static struct mesh_message begin_member(struct world_node *node) {
        struct sockaddr_in source = world_address(98, 9000);
        struct mesh_message message = stranger_message("member", 1), question;

        message.node_info.heartbeat_interval_usec = 5 * SEC;
        world_deliver_message(node, &source, &message, /* pad= */ true);
        world_run_for(node->world, 5 * MSEC);
        question = last_stray(node->world);
        message.sequence++;
        message.has_echo = true;
        memcpy(message.echo, question.nonce, NONCE_SIZE);
        world_deliver_message(node, &source, &message, /* pad= */ true);
        world_run_for(node->world, 5 * MSEC);
        ASSERT_TRUE(is_verified(node, "member"));
        message.has_echo = false;
        return message;
}

static unsigned host_of_member(struct world_node *node) {
        return ntohl(world_peer(node, "member")->address.sin_addr.s_addr) & 0xffffff;
}

/* Somebody sends on, from host 99, what the member says: the member stays where it is. */
static void test_relayed(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = begin_member(a);
        struct sockaddr_in home = world_address(98, 9000);
        for (unsigned i = 0; i < 10; i++) {
                world_run_for(&world, 5 * SEC);
                message.sequence++;
                if (i % 2 == 0)
                        world_deliver_message(a, &home, &message, /* pad= */ true);
                else
                        tell(a, &message, /* pad= */ true); /* faster than the member's own */
                world_run_for(&world, 5 * MSEC);
                ASSERT_EQ(host_of_member(a), 98);
        }

        /* The question reaches the relay, and its answer comes from home: that does not prove anything of
         * the relay. */
        for (unsigned i = 0; i < 3; i++) {
                world_run_for(&world, 5 * SEC);
                message.sequence++;
                tell(a, &message, /* pad= */ true);
        }
        struct mesh_message answer = message, question = last_stray(&world);
        ASSERT_TRUE(question.has_nonce);
        answer.type = MESSAGE_PROBE_ACK;
        answer.has_node_info = false;
        answer.sequence++;
        answer.has_echo = true;
        memcpy(answer.echo, question.nonce, NONCE_SIZE);
        world_deliver_message(a, &home, &answer, /* pad= */ false);
        world_run_for(&world, 5 * MSEC);
        ASSERT_EQ(host_of_member(a), 98);
        world_done(&world);
}

/* It has another address now, answers there, and is not heard from the old one. */
static void test_moves(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = begin_member(a);
        for (unsigned i = 0; i < 3 && host_of_member(a) != 99; i++) {
                world_run_for(&world, 5 * SEC);
                message.sequence++;
                tell(a, &message, /* pad= */ true);
                struct mesh_message answer = message, question = last_stray(&world);
                if (!question.has_nonce || question.type != MESSAGE_PROBE)
                        continue;
                answer.type = MESSAGE_PROBE_ACK;
                answer.has_node_info = false;
                answer.sequence = ++message.sequence;
                answer.has_echo = true;
                memcpy(answer.echo, question.nonce, NONCE_SIZE);
                tell(a, &answer, /* pad= */ false);
        }
        ASSERT_EQ(host_of_member(a), 99);
        world_done(&world);
}

/* Whoever has a recorded question can have b answer it, as often as he likes; none of it is a sign of life.
 */
static void test_answers_to_others(void) {
        static struct world_datagram kept[50];
        struct sockaddr_in elsewhere = world_address(99, 9000);
        struct mesh_message question = {
                .type = MESSAGE_PROBE, .incarnation = 3, .sequence = 7, .has_nonce = true
        };
        struct world_node *a, *b;
        struct world world;
        size_t n = 0;

        begin_two(&world, &a, &b);
        strcpy(question.sender_node_id, "node-gone");
        while (n < ELEMENTSOF(kept)) {
                size_t before = world.n_strays;

                world_deliver_message(b, &elsewhere, &question, /* pad= */ false);
                world_run_for(&world, 20 * MSEC);
                ASSERT_GT(world.n_strays, before);
                kept[n++] = world.last_stray;
        }
        world_destroy(b);
        usec_t gone = world.now, last = world_peer(a, "node-b")->last_heard_usec;
        for (size_t i = 0; i < n; i++) {
                world_deliver(a, i % 2 == 0 ? &elsewhere : &b->address, kept[i].bytes, kept[i].size);
                world_run_for(&world, 200 * MSEC);
                ASSERT_EQ(world_peer(a, "node-b")->last_heard_usec, last);
        }
        world_run_for(&world, 3 * SEC);
        ASSERT_LE(world.now, gone + 13 * SEC);
        ASSERT_TRUE(world_peer(a, "node-b")->lost);
        world_done(&world);
}

/* Nor is the answer that b once gave to a. */
static void test_old_answer(void) {
        struct sockaddr_in elsewhere = world_address(99, 9000);
        struct world_datagram answer = {};
        struct mesh_message message;
        struct world_node *a, *b;
        struct world world;

        world_init(&world, 1);
        a = world_add(&world, "node-a", 2);
        b = world_add(&world, "node-b", 2);
        world_start(b);
        world_run_for(&world, 10 * SEC);
        world.recording = true;
        world_start(a);
        world_run_for(&world, 10 * SEC);
        for (size_t i = 0; i < world.n_recorded; i++) {
                ASSERT_OK(mesh_message_decode(world.recorded[i].bytes, world.recorded[i].size, &message));
                if (streq(message.sender_node_id, "node-b") && message.type == MESSAGE_HEARTBEAT &&
                    message.has_echo)
                        answer = world.recorded[i];
        }
        world.recording = false;
        ASSERT_GT(answer.size, 0);
        ASSERT_TRUE(is_verified(a, "node-b"));
        world_destroy(b);
        world_run_for(&world, USEC_PER_HOUR);
        ASSERT_NULL(world_peer(a, "node-b"));
        for (unsigned i = 0; i < 10; i++) {
                world_deliver(a, &elsewhere, answer.bytes, answer.size);
                world_run_for(&world, 5 * MSEC);
                ASSERT_NULL(world_peer(a, "node-b"));
                world_run_for(&world, 7 * SEC);
        }
        world_done(&world);
}

/* What somebody sends on brings a to ask him; b answers from where it is, and is taken to be there. */
static void test_answered_from_home(void) {
        struct sockaddr_in home = world_address(98, 9000);
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("member", 1);
        tell(a, &message, /* pad= */ true); /* from host 99 */
        struct mesh_message question = last_stray(&world);
        ASSERT_TRUE(question.has_nonce);
        message.type = MESSAGE_PROBE_ACK;
        message.has_node_info = false;
        message.sequence++;
        message.has_echo = true;
        memcpy(message.echo, question.nonce, NONCE_SIZE);
        world_deliver_message(a, &home, &message, /* pad= */ false);
        world_run_for(&world, 5 * MSEC);
        ASSERT_TRUE(is_verified(a, "member"));
        ASSERT_EQ(host_of_member(a), 98);
        world_done(&world);
}

int main(void) {
        RUN(test_listed);
        RUN(test_joins);
        RUN(test_names_of_others);
        RUN(test_so_many_and_no_more);
        RUN(test_relayed);
        RUN(test_moves);
        RUN(test_answers_to_others);
        RUN(test_old_answer);
        RUN(test_answered_from_home);
        return 0;
}
