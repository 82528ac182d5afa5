/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two nodes with one id, and lives of one node. */

#include "lib/mesh-world.h"
#include "neighbours.h"

#define SEC USEC_PER_SEC

/* A copied state directory: the node that came later stops taking work until the other is gone. */
static void test_duplicate_identity(void) {
        struct world world;
        struct uuid id;

        world_init(&world, 1);
        struct world_node *elder = world_add(&world, "node-a", 2);
        struct world_node *witness = world_add(&world, "node-w", 2);
        world_start(elder);
        world_start(witness);
        world_run_for(&world, 60 * SEC);
        struct world_node *younger = world_add(&world, "node-a", 2);
        younger->disk.incarnation = elder->disk.incarnation;
        world_start(younger);
        world_run_for(&world, 15 * SEC);

        ASSERT_EQ(world_state(younger).status, NODE_FAILED);
        ASSERT_NOT_NULL(world_state(younger).status_reason);
        ASSERT_EQ(world_submit(younger, "10", &id), MESH_DUPLICATE);
        ASSERT_GT(younger->n_notices, 0);
        ASSERT_EQ(world_state(elder).status, NODE_IDLE);
        ASSERT_GT(elder->n_notices, 0);
        ASSERT_EQ(world_submit(elder, "10", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, SEC, world_end(elder, &id) == JOB_COMPLETED);
        ASSERT_EQ(world_n_peers(elder), 1);
        ASSERT_EQ(world_n_peers(younger), 1);

        /* A node is not its own rival, and a rival counts once. */
        size_t n_notices = younger->n_notices;
        world_run_for(&world, 60 * SEC);
        ASSERT_EQ(younger->n_notices, n_notices);
        ASSERT_EQ(world_state(younger).status, NODE_FAILED);

        world_crash(elder);
        world_run_for(&world, 40 * SEC);
        ASSERT_EQ(world_state(younger).status, NODE_IDLE);
        ASSERT_EQ(world_submit(younger, "10", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, SEC, world_end(younger, &id) == JOB_COMPLETED);
        world_done(&world);
}

static void test_duplicate_identity_ends_with_goodbye(void) {
        struct world world;

        world_init(&world, 1);
        struct world_node *elder = world_add(&world, "node-a", 2);
        world_start(elder);
        world_run_for(&world, 60 * SEC);
        struct world_node *younger = world_add(&world, "node-a", 2);
        world_start(younger);
        world_run_for(&world, 15 * SEC);
        ASSERT_EQ(world_state(younger).status, NODE_FAILED);
        mesh_say_goodbye(elder->mesh);
        world_run_for(&world, SEC);
        ASSERT_EQ(world_state(younger).status, NODE_IDLE);
        world_done(&world);
}

/* A state directory that was put back to an older copy: the others remember a later life. */
static void test_incarnation_is_raised(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        for (int i = 0; i < 5; i++) {
                world_crash(b);
                world_start(b);
                world_run_for(&world, SEC);
        }
        ASSERT_EQ(b->disk.incarnation, 6);
        ASSERT_TRUE(is_verified(a, "node-b"));

        world_crash(b);
        b->disk.incarnation = 1;
        world_start(b);
        world_run_for(&world, 2 * SEC);
        ASSERT_EQ(b->disk.incarnation, 7);
        ASSERT_EQ(world_state(b).incarnation, 7);
        ASSERT_EQ(world_peer(a, "node-b")->incarnation, 7);
        ASSERT_TRUE(is_verified(a, "node-b"));
        world_run_for(&world, 60 * SEC);
        ASSERT_EQ(b->disk.incarnation, 7);
        ASSERT_TRUE(is_verified(a, "node-b"));
        world_done(&world);
}

/* Nobody but somebody who was asked just now can raise it. */
static void test_incarnation_is_not_believed(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        struct mesh_message message = stranger_message("stranger", 1);
        message.known_incarnation = 1000;
        tell(a, &message, /* pad= */ true);
        message.sequence++;
        message.has_echo = true;
        tell(a, &message, /* pad= */ true);
        message.sequence++;
        message.known_incarnation = UINT64_MAX;
        tell(a, &message, /* pad= */ true);
        ASSERT_EQ(a->disk.incarnation, 1);
        world_done(&world);
}

/* What a node said before its restart, heard again afterwards, is no other node. */
static void test_own_recording_is_no_rival(void) {
        struct world_node *a, *b;
        struct world world;

        begin_two(&world, &a, &b);
        world.recording = true;
        world_run_for(&world, 60 * SEC);
        world.recording = false;
        world_crash(a);
        world_start(a);
        world_run_for(&world, 10 * SEC);

        struct sockaddr_in elsewhere = world_address(66, 6666);
        for (size_t i = 0; i < world.n_recorded; i++)
                world_deliver(a, &elsewhere, world.recorded[i].bytes, world.recorded[i].size);
        world_run_for(&world, SEC);
        ASSERT_EQ(world_state(a).status, NODE_IDLE);
        world_done(&world);
}

int main(void) {
        RUN(test_own_recording_is_no_rival);
        RUN(test_duplicate_identity);
        RUN(test_duplicate_identity_ends_with_goodbye);
        RUN(test_incarnation_is_raised);
        RUN(test_incarnation_is_not_believed);
        return EXIT_SUCCESS;
}
