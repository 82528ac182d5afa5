/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/mesh-world.h"
#include "lib/protobuf-writer.h"
#include "neighbours.h"
#include "wire/codec.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC

static const char original_id[] = "worker-1";

static void test_hello(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct world_node *c = world_add(&world, "node-c", 4);
        world_start(c);
        world_run_for(&world, 100 * MSEC);

        ASSERT_EQ(world_n_peers(c), 2);
        ASSERT_TRUE(is_verified(c, "node-a") && is_verified(c, "node-b"));
        ASSERT_TRUE(is_verified(a, "node-c") && is_verified(b, "node-c"));
        const struct mesh_peer *peer = world_peer(a, "node-c");
        ASSERT_EQ(peer->info.slots, 4);
        ASSERT_EQ(peer->info.status, NODE_IDLE);
        ASSERT_STREQ(peer->info.version, "1.2.3");
        ASSERT_STREQ(peer->info.metadata[0].value, "example");
        ASSERT_EQ(ntohl(peer->address.sin_addr.s_addr), 0x0a000003);
        ASSERT_EQ(ntohs(peer->address.sin_port), 8081);
        world_done(&world);
}

/* An answer to a forged address is never longer than what the forger had to send. */
static void test_no_lever(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        for (int pad = 0; pad <= 1; pad++)
                for (int type = MESSAGE_HEARTBEAT; type <= MESSAGE_GOODBYE; type++) {
                        struct mesh_message message = stranger_message("stranger", 1);
                        uint8_t bytes[DATAGRAM_MAX];

                        message.type = (enum message_type) type;
                        snprintf(
                                message.sender_node_id, sizeof(message.sender_node_id), "s-%d-%d", pad,
                                type);
                        strcpy(message.node_info.node_id, message.sender_node_id);
                        message.has_nonce = true;
                        for (uint64_t i = 1; i <= 3; i++) {
                                size_t before = world.stray_bytes;
                                message.sequence = i;
                                message.has_node_info = i < 3;
                                size_t size = (size_t) ASSERT_OK(mesh_message_encode(&message, pad, bytes));
                                tell(a, &message, pad);
                                world_run_for(&world, 100 * MSEC);
                                ASSERT_LE(world.stray_bytes - before, size);
                        }
                }
        ASSERT_GT(world.n_strays, 0);
        world_done(&world);
}

static void test_verification(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("stranger", 1);
        tell(a, &message, /* pad= */ true);
        ASSERT_NOT_NULL(world_peer(a, "stranger"));
        ASSERT_FALSE(is_verified(a, "stranger"));
        ASSERT_EQ(world.n_strays, 1);
        struct mesh_message question = last_stray(&world);
        ASSERT_TRUE(question.has_nonce);

        /* Nonces of others, and none, prove nothing. */
        struct mesh_message answer = stranger_message("stranger", 2);
        answer.has_echo = true;
        tell(a, &answer, /* pad= */ true);
        answer.sequence++;
        memset(answer.echo, 0xff, sizeof(answer.echo));
        tell(a, &answer, /* pad= */ true);
        ASSERT_FALSE(is_verified(a, "stranger"));

        answer.sequence++;
        memcpy(answer.echo, question.nonce, sizeof(answer.echo));
        tell(a, &answer, /* pad= */ true);
        ASSERT_TRUE(is_verified(a, "stranger"));

        /* A new life has to prove itself, and what proved the old one is worth nothing; until then the old
         * one goes on. */
        answer.incarnation++;
        answer.sequence = 1;
        answer.instance++;
        tell(a, &answer, /* pad= */ true);
        ASSERT_TRUE(is_verified(a, "stranger"));
        ASSERT_EQ(world_peer(a, "stranger")->incarnation, answer.incarnation - 1);
        question = last_stray(&world);
        ASSERT_TRUE(question.has_nonce);
        ASSERT_NE(memcmp(question.nonce, answer.echo, sizeof(question.nonce)), 0);

        struct mesh_message old = stranger_message("stranger", 100);
        tell(a, &old, /* pad= */ true);
        ASSERT_EQ(world_peer(a, "stranger")->sequence, 100);

        answer.sequence++;
        memcpy(answer.echo, question.nonce, sizeof(answer.echo));
        tell(a, &answer, /* pad= */ true);
        ASSERT_TRUE(is_verified(a, "stranger"));
        ASSERT_EQ(world_peer(a, "stranger")->incarnation, answer.incarnation);
        ASSERT_EQ(world_peer(a, "stranger")->sequence, answer.sequence);
        world_done(&world);
}

/* Asked again and again it is not, however often it is heard. */
static void test_questions_are_few(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        for (uint64_t i = 1; i <= 1000; i++) {
                struct mesh_message message = stranger_message("stranger", i);
                tell(a, &message, /* pad= */ true);
        }
        ASSERT_LE(world.n_strays, 4); /* 5 s */
        world_done(&world);
}

/* Everything that b ever said, once more from somewhere else: changes nothing while b is known. */
static void test_replay(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        world.recording = true;
        world_run_for(&world, 60 * SEC);
        world.recording = false;
        ASSERT_GT(world.n_recorded, 10);

        struct mesh_peer before = *world_peer(a, "node-b");
        struct sockaddr_in elsewhere = world_address(66, 6666);
        size_t n_sent = a->n_sent;
        for (size_t i = 0; i < world.n_recorded; i++)
                world_deliver(a, &elsewhere, world.recorded[i].bytes, world.recorded[i].size);
        world_run_for(&world, 2 * MSEC);
        const struct mesh_peer *peer = world_peer(a, "node-b");
        ASSERT_EQ(peer->last_heard_usec, before.last_heard_usec);
        ASSERT_EQ(peer->sequence, before.sequence);
        ASSERT_EQ(peer->address.sin_addr.s_addr, before.address.sin_addr.s_addr);
        ASSERT_TRUE(peer->verified);
        ASSERT_EQ(a->n_sent, n_sent);
        ASSERT_EQ(world_n_peers(a), 1);

        /* After b is gone its recorded voice may be listed, but is not taken for b. */
        world_crash(b);
        WORLD_UNTIL(&world, 60 * SEC, world_n_peers(a) == 0);
        for (size_t i = 0; i < world.n_recorded; i++)
                world_deliver(a, &elsewhere, world.recorded[i].bytes, world.recorded[i].size);
        world_run_for(&world, SEC);
        ASSERT_FALSE(is_verified(a, "node-b"));
        ASSERT_EQ(world_state(a).status, NODE_IDLE);
        world_done(&world);
}

static void test_duplicate_datagrams(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("stranger", 5);
        tell(a, &message, /* pad= */ true);
        ASSERT_EQ(world_peer(a, "stranger")->sequence, 5);

        message.node_info.running = 9;
        tell(a, &message, /* pad= */ true); /* the same number */
        message.sequence = 4;
        tell(a, &message, /* pad= */ true); /* came late */
        ASSERT_EQ(world_peer(a, "stranger")->info.running, 0);
        message.sequence = 6;
        message.instance++;
        tell(a, &message, /* pad= */ true); /* another process with this incarnation */
        ASSERT_EQ(world_peer(a, "stranger")->info.running, 0);
        message.instance--;
        tell(a, &message, /* pad= */ true);
        ASSERT_EQ(world_peer(a, "stranger")->info.running, 9);
        world_done(&world);
}

static void test_invented_nodes(void) {
        struct world_node *a, *b;
        struct world world;
        char id[32];

        begin_two(&world, &a, &b);
        size_t n_peer_records = a->disk.n_peer_records;
        usec_t begin = world.now;
        for (unsigned i = 0; i < 10000; i++) {
                snprintf(id, sizeof(id), "invented-%u", i);
                struct mesh_message message = stranger_message(id, 1);
                struct sockaddr_in source = world_address(1000 + i, 9000);
                world_deliver_message(a, &source, &message, /* pad= */ true);
                if (i % 100 == 99)
                        world_run_for(&world, 10 * MSEC);
                ASSERT_LE(world_n_peers(a), a->config.peers_max);
                ASSERT_TRUE(is_verified(a, "node-b"));
        }
        world_run_for(&world, 10 * MSEC);
        ASSERT_EQ(world_n_peers(a), a->config.peers_max);
        ASSERT_TRUE(is_verified(a, "node-b"));
        ASSERT_LE(world.n_strays, 200 * ((world.now - begin) / SEC + 2));
        ASSERT_LE(a->disk.n_peer_records, n_peer_records + 2); /* inventions are not written down */

        /* They go as they came; b stays. */
        world_run_for(&world, 40 * SEC);
        ASSERT_EQ(world_n_peers(a), 1);
        ASSERT_TRUE(is_verified(a, "node-b"));
        world_done(&world);
}

/* When all places are taken by nodes that answered, one more is not let in, and none is thrown out. */
static void test_full_of_verified_peers(void) {
        struct world_node *a, *b;
        struct world world;
        char id[32];

        begin_two(&world, &a, &b);
        for (unsigned i = 1; i < a->config.peers_max; i++) {
                snprintf(id, sizeof(id), "real-%u", i);
                struct mesh_message message = stranger_message(id, 1);
                tell(a, &message, /* pad= */ true);
                struct mesh_message question = last_stray(&world);
                message.sequence++;
                message.has_echo = true;
                memcpy(message.echo, question.nonce, sizeof(message.echo));
                tell(a, &message, /* pad= */ true);
                ASSERT_TRUE(is_verified(a, id));
        }
        ASSERT_EQ(world_n_peers(a), a->config.peers_max);

        size_t n_gone = a->n_peers_gone;
        for (unsigned i = 0; i < 100; i++) {
                snprintf(id, sizeof(id), "late-%u", i);
                struct mesh_message message = stranger_message(id, 1);
                tell(a, &message, /* pad= */ true);
                ASSERT_NULL(world_peer(a, id));
        }
        ASSERT_EQ(a->n_peers_gone, n_gone);
        world_done(&world);
}

static void test_goodbye(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        mesh_say_goodbye(b->mesh);
        world_run_for(&world, 2 * WORLD_LATENCY_USEC);
        ASSERT_EQ(world_n_peers(a), 0);
        ASSERT_EQ(a->n_peers_gone, 1);

        /* It keeps silent from then on, and is found again when it comes back. */
        world_run_for(&world, 20 * SEC);
        ASSERT_EQ(world_n_peers(a), 0);
        world_crash(b);
        world_start(b);
        world_run_for(&world, 100 * MSEC);
        ASSERT_TRUE(is_verified(a, "node-b"));

        /* Of nodes that nobody knows, and late ones of an earlier life: nothing. */
        struct mesh_message message = stranger_message("stranger", 1);
        message.type = MESSAGE_GOODBYE;
        message.has_node_info = false;
        tell(a, &message, /* pad= */ false);
        strcpy(message.sender_node_id, "node-b");
        tell(a, &message, /* pad= */ false);
        ASSERT_TRUE(is_verified(a, "node-b"));
        ASSERT_EQ(world_n_peers(a), 1);
        world_done(&world);
}

/* What it said before comes after: it does not make it a peer again. A later life, and a forged number, are
 * another matter. */
static void test_goodbye_overtakes(void) {
        struct mesh_message message = stranger_message("node-c", 7);
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        message.instance = 7;
        message.sequence = 5;
        tell(a, &message, /* pad= */ true);
        ASSERT_NOT_NULL(world_peer(a, "node-c"));
        message.type = MESSAGE_GOODBYE;
        message.sequence = 7;
        tell(a, &message, /* pad= */ true);
        ASSERT_NULL(world_peer(a, "node-c"));

        message.type = MESSAGE_HEARTBEAT;
        message.sequence = 6;
        tell(a, &message, /* pad= */ true);
        ASSERT_NULL(world_peer(a, "node-c"));

        message.sequence = 8;
        tell(a, &message, /* pad= */ true);
        ASSERT_NOT_NULL(world_peer(a, "node-c"));
        message.type = MESSAGE_GOODBYE;
        message.sequence = UINT64_MAX;
        tell(a, &message, /* pad= */ true);
        message.type = MESSAGE_HEARTBEAT;
        message.sequence = 9;
        tell(a, &message, /* pad= */ true);
        ASSERT_NULL(world_peer(a, "node-c"));
        world_run_for(&world, 6 * SEC);
        tell(a, &message, /* pad= */ true);
        ASSERT_NOT_NULL(world_peer(a, "node-c"));
        world_done(&world);
}

static void test_silence(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        usec_t last = world_peer(a, "node-b")->last_heard_usec;
        world_crash(b);
        world_run_until_time(&world, last + 29 * SEC);
        ASSERT_NOT_NULL(world_peer(a, "node-b"));
        world_run_until_time(&world, last + 31 * SEC);
        ASSERT_NULL(world_peer(a, "node-b"));
        ASSERT_EQ(a->n_peers_gone, 1);
        world_done(&world);
}

/* A node that says it speaks once a minute is not lost after half of one; one that says once in a thousand
 * years is not believed. */
static void test_announced_interval(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("slow", 1);
        message.node_info.heartbeat_interval_usec = 60 * SEC;
        tell(a, &message, /* pad= */ true);
        message = stranger_message("absurd", 1);
        message.node_info.heartbeat_interval_usec = UINT64_MAX;
        tell(a, &message, /* pad= */ true);

        world_run_for(&world, 170 * SEC);
        ASSERT_NOT_NULL(world_peer(a, "slow"));
        world_run_for(&world, 20 * SEC);
        ASSERT_NULL(world_peer(a, "slow"));
        ASSERT_NOT_NULL(world_peer(a, "absurd"));
        world_run_for(&world, 1000 * SEC);
        ASSERT_NULL(world_peer(a, "absurd"));
        world_done(&world);
}

/* Times that a peer claims are shown and decide nothing. */
static void test_absurd_times(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("stranger", 1);
        message.timestamp_usec = USEC_INFINITY;
        message.node_info.last_heartbeat_usec = USEC_INFINITY;
        message.node_info.uptime_usec = UINT64_MAX;
        tell(a, &message, /* pad= */ true);
        ASSERT_LE(world_peer(a, "stranger")->last_heard_at, world_realtime(&world));
        ASSERT_LE(world_peer(a, "stranger")->last_heard_usec, world.now);
        world_run_for(&world, 31 * SEC);
        ASSERT_NULL(world_peer(a, "stranger"));
        world_done(&world);
}

/* Pulled out and put back: the node is there again with its next heartbeat. */
static void test_cable(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        world_detach(b);
        world_run_for(&world, 60 * SEC);
        ASSERT_EQ(world_n_peers(a), 0);
        ASSERT_EQ(world_n_peers(b), 0);
        world_attach(b);
        mesh_network_changed(b->mesh);
        world_run_for(&world, 100 * MSEC);
        ASSERT_TRUE(is_verified(a, "node-b"));
        ASSERT_TRUE(is_verified(b, "node-a"));
        world_done(&world);
}

/* A host that slept for an hour judges nobody by it. */
static void test_pause(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        world_run_for(&world, 3 * SEC);
        world_pause(a);
        world_run_for(&world, 3600 * SEC);
        ASSERT_NULL(world_peer(b, "node-a"));
        /* What came meanwhile did not wait for it. */
        world_detach(a);
        world_resume(a);
        world_run_for(&world, MSEC);
        world_attach(a);
        ASSERT_NOT_NULL(world_peer(a, "node-b"));
        world_run_for(&world, 12 * SEC);
        ASSERT_NOT_NULL(world_peer(a, "node-b"));
        ASSERT_NOT_NULL(world_peer(b, "node-a"));
        ASSERT_EQ(a->n_peers_gone, 0);
        world_done(&world);
}

/* A node that has started anew, and whose hello nobody heard, is there as soon as it answers. */
static void test_new_life_answers_probes(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        WORLD_UNTIL(&world, 10 * SEC, world_peer(a, "node-b")->last_heard_usec == world.now);
        world_crash(b);
        world_run_for(&world, 5 * SEC);
        world_detach(b);
        world_start(b);
        world_run_for(&world, 2 * SEC);
        world_attach(b);
        world_run_for(&world, SEC);
        ASSERT_EQ(world_peer(a, "node-b")->incarnation, 2);
        world_run_for(&world, 10 * SEC);
        ASSERT_EQ(a->n_lost, 0);
        world_done(&world);
}

/* The question that a new life has to answer is asked again when the answer did not come, whatever it says.
 */
static void test_new_life_is_asked_again(void) {
        struct mesh_message message = stranger_message("stranger", 1), question;
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        tell(a, &message, /* pad= */ true);
        question = last_stray(&world);
        message.sequence++;
        message.has_echo = true;
        memcpy(message.echo, question.nonce, sizeof(message.echo));
        tell(a, &message, /* pad= */ true);
        ASSERT_TRUE(is_verified(a, "stranger"));

        message = stranger_message("stranger", 1);
        message.incarnation = 2;
        message.instance = 4712;
        size_t n_strays = world.n_strays;
        tell(a, &message, /* pad= */ true);
        ASSERT_EQ(world.n_strays, n_strays + 1);

        message.type = MESSAGE_PROBE;
        message.has_node_info = false;
        message.has_nonce = true;
        message.sequence++;
        world_run_for(&world, 3 * SEC);
        n_strays = world.n_strays;
        tell(a, &message, /* pad= */ false);
        ASSERT_EQ(world.n_strays, n_strays + 1);
        question = last_stray(&world);
        ASSERT_TRUE(question.has_nonce);

        message.type = MESSAGE_PROBE_ACK;
        message.has_nonce = false;
        message.sequence++;
        message.has_echo = true;
        memcpy(message.echo, question.nonce, sizeof(message.echo));
        tell(a, &message, /* pad= */ false);
        ASSERT_EQ(world_peer(a, "stranger")->incarnation, 2);
        world_done(&world);
}

static void test_load_is_shown(void) {
        struct world_node *a, *b;
        struct uuid ids[5];
        struct world world;

        begin_two(&world, &a, &b);
        ASSERT_EQ(world_submit_batch(b, "20000", 5, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(
                &world, 5500 * MSEC + WORLD_LATENCY_USEC, world_peer(a, "node-b")->info.status == NODE_BUSY);
        const struct mesh_peer *peer = world_peer(a, "node-b");
        ASSERT_EQ(peer->info.running, 2);
        ASSERT_EQ(peer->info.queued, 3);

        WORLD_UNTIL(&world, 100 * SEC, b->n_ends == 5);
        WORLD_UNTIL(
                &world, 5500 * MSEC + WORLD_LATENCY_USEC, world_peer(a, "node-b")->info.status == NODE_IDLE);
        mesh_drain(b->mesh, MESH_DRAIN_STOP);
        world_run_for(&world, 2 * WORLD_LATENCY_USEC);
        ASSERT_EQ(world_peer(a, "node-b")->info.status, NODE_DRAINING);
        world_done(&world);
}

/* As nodes say it that know fields 1 to 6 only: no port, no counters, nothing to verify. */
static void deliver_original(struct world_node *node, unsigned status) {
        struct protobuf_writer writer = { .size = 0 }, info = { .size = 0 };
        struct sockaddr_in source = world_address(50, 8080);

        write_text_field(&info, 1, original_id);
        write_text_field(&info, 2, "192.168.1.10");
        write_varint_field(&info, 3, status);
        write_timestamp_field(&info, 4, 1715684864, 0);
        write_entry_field(&info, 5, "os", "linux");
        write_text_field(&info, 6, "0.9.1");
        write_varint_field(&writer, 1, MESSAGE_HEARTBEAT);
        write_message_field(&writer, 2, &info);
        write_timestamp_field(&writer, 5, 1715684864, 0);
        write_text_field(&writer, 6, original_id);
        world_deliver(node, &source, writer.bytes, writer.size);
        world_run_for(node->world, 2 * WORLD_LATENCY_USEC);
}

static void test_labels_and_pressure_are_told(void) {
        static const struct metadata_entry labels[] = { { "gpu", "a100" }, { "fast", "" } };
        const struct node_pressure pressure = { .known = true, .cpu = 250, .memory = 0, .io = 1000 };
        const struct mesh_peer *peer;
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        ASSERT_EQ(world_peer(b, "node-a")->info.n_labels, 0);
        ASSERT_FALSE(world_peer(b, "node-a")->info.pressure.known);

        /* Pressure waits for the next heartbeat, labels do not. */
        mesh_set_pressure(a->mesh, &pressure);
        world_run_for(&world, 10 * MSEC);
        ASSERT_FALSE(world_peer(b, "node-a")->info.pressure.known);
        mesh_set_labels(a->mesh, labels, ELEMENTSOF(labels));
        world_run_for(&world, 10 * MSEC);
        peer = world_peer(b, "node-a");
        ASSERT_EQ(peer->info.n_labels, 2);
        ASSERT_STREQ(peer->info.labels[0].value, "a100");
        ASSERT_STREQ(peer->info.labels[1].key, "fast");
        ASSERT_TRUE(peer->info.pressure.known);
        ASSERT_EQ(peer->info.pressure.cpu, 250);
        ASSERT_EQ(peer->info.pressure.io, 1000);
        ASSERT_EQ(world_state(a).n_labels, 2);
        ASSERT_EQ(world_state(a).pressure.cpu, 250);

        mesh_set_labels(a->mesh, NULL, 0);
        mesh_set_pressure(a->mesh, &(struct node_pressure){});
        world_run_for(&world, 10 * MSEC);
        ASSERT_EQ(world_peer(b, "node-a")->info.n_labels, 0);
        ASSERT_FALSE(world_peer(b, "node-a")->info.pressure.known);
        world_done(&world);
}

static void test_original_heartbeat(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        for (unsigned i = 0; i < 20; i++) {
                deliver_original(a, i % 2 == 0 ? NODE_IDLE : NODE_BUSY);
                const struct mesh_peer *peer = world_peer(a, original_id);
                ASSERT_NOT_NULL(peer);
                ASSERT_EQ(peer->info.status, i % 2 == 0 ? NODE_IDLE : NODE_BUSY);
                ASSERT_STREQ(peer->info.version, "0.9.1");
                ASSERT_STREQ(peer->info.metadata[0].value, "linux");
                ASSERT_FALSE(peer->verified);
                world_run_for(&world, 5 * SEC);
        }
        ASSERT_EQ(world.n_strays, 0);
        world_run_for(&world, 30 * SEC);
        ASSERT_NULL(world_peer(a, original_id));
        world_done(&world);
}

static void test_intervals_change(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        mesh_set_intervals(b->mesh, SEC, 10 * SEC);
        size_t before = b->n_broadcasts;
        world_run_for(&world, 20 * SEC);
        ASSERT_GE(b->n_broadcasts - before, 18);
        ASSERT_LE(b->n_broadcasts - before, 24);
        ASSERT_EQ(world_peer(a, "node-b")->info.heartbeat_interval_usec, SEC);
        world_crash(a);
        world_run_for(&world, 16 * SEC); /* a announced 5 s: three of them */
        ASSERT_EQ(world_n_peers(b), 0);
        world_done(&world);
}

/* Idle nodes cost one small datagram an interval each, and no more. */
static void test_quiet(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        size_t n_sent = a->n_sent + b->n_sent, n_broadcasts = a->n_broadcasts;
        world_run_for(&world, 1000 * SEC);
        ASSERT_LE(a->n_broadcasts - n_broadcasts, 223);
        ASSERT_GE(a->n_broadcasts - n_broadcasts, 180);
        ASSERT_EQ(a->n_sent + b->n_sent, n_sent);
        world_done(&world);
}

/* Any bytes at all: nothing happens but what a message says. */
static void test_noise(void) {
        struct world_node *a, *b;
        struct world world;
        uint8_t bytes[2000];

        begin_two(&world, &a, &b);
        struct sockaddr_in source = world_address(99, 9000);
        for (size_t size = 0; size < sizeof(bytes); size += 7) {
                world_random(&world, bytes, size);
                world_deliver(a, &source, bytes, size);
        }
        world_run_for(&world, SEC);
        ASSERT_EQ(world_n_peers(a), 1);
        ASSERT_EQ(world.n_strays, 0);
        world_done(&world);
}

int main(void) {
        RUN(test_hello);
        RUN(test_no_lever);
        RUN(test_verification);
        RUN(test_questions_are_few);
        RUN(test_replay);
        RUN(test_duplicate_datagrams);
        RUN(test_invented_nodes);
        RUN(test_full_of_verified_peers);
        RUN(test_goodbye);
        RUN(test_goodbye_overtakes);
        RUN(test_silence);
        RUN(test_announced_interval);
        RUN(test_absurd_times);
        RUN(test_cable);
        RUN(test_pause);
        RUN(test_new_life_answers_probes);
        RUN(test_new_life_is_asked_again);
        RUN(test_load_is_shown);
        RUN(test_labels_and_pressure_are_told);
        RUN(test_original_heartbeat);
        RUN(test_intervals_change);
        RUN(test_quiet);
        RUN(test_noise);
        return EXIT_SUCCESS;
}
