/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that run on other nodes than the one that accepted them. */

#include "lib/mesh-world.h"

static struct world world;

static void begin(size_t n_nodes, unsigned slots) {
        static const char *const names[] = { "node-a", "node-b", "node-c", "node-d" };

        world_init(&world, 7);
        for (size_t i = 0; i < n_nodes; i++)
                world_add(&world, names[i], slots);
        for (size_t i = 0; i < n_nodes; i++)
                world_start(world.nodes[i]);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(world.nodes[0]) == n_nodes - 1);
        world_run_for(&world, USEC_PER_SEC);
}

static size_t count_ends(struct world_node *node, const struct uuid *ids, size_t n, enum job_status status) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                found += world_end(node, &ids[i]) == status;
        return found;
}

static void check_slots(void) {
        for (size_t i = 0; i < world.n_nodes; i++)
                ASSERT_LE(world.nodes[i]->executor.n_running_max, world.nodes[i]->executor.slots);
}

/* Nothing is left anywhere of jobs that have ended. */
static void check_clean(void) {
        world_run_for(&world, 2 * USEC_PER_SEC);
        for (size_t i = 0; i < world.n_nodes; i++) {
                ASSERT_EQ(executor_n_runs(world.nodes[i]), 0u);
                ASSERT_EQ(map_size(&world.nodes[i]->disk.guests), 0u);
        }
}

static void test_burst_is_shared(void) {
        struct uuid ids[200];
        size_t n_starts = 0;

        begin(4, 2);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "500", 200, ids, ids), MESH_ACCEPTED);
        usec_t begun = world.now;
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 200, JOB_COMPLETED) == 200);
        usec_t took = world.now - begun;
        /* 200 jobs of half a second on 8 slots: 12.5 s. */
        printf("200 jobs of 500 ms on 4 nodes of 2 slots: %.2f s of 12.5\n", (double) took / USEC_PER_SEC);
        ASSERT_LT(took, 14 * USEC_PER_SEC);
        for (size_t i = 0; i < 4; i++)
                n_starts += world.nodes[i]->executor.n_starts;
        ASSERT_EQ(n_starts, 200u);
        check_slots();
        check_clean();
        world_done(&world);
}

/* Short jobs before are no reason to keep long ones here that another node has room for. */
/* Slots become free one by one, while others are being filled: none is forgotten for that. */
static void test_no_slot_is_forgotten(void) {
        struct uuid ids[200];
        char command[16];
        usec_t work = 0;

        begin(2, 4);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        for (unsigned i = 0; i < 200; i++) {
                unsigned msec = 200 + i * 37 % 400;

                snprintf(command, sizeof(command), "%u", msec);
                work += msec * USEC_PER_MSEC;
                ASSERT_EQ(world_submit(world.nodes[0], command, &ids[i]), MESH_ACCEPTED);
        }
        usec_t begun = world.now;
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 200, JOB_COMPLETED) == 200);
        usec_t took = world.now - begun;
        printf("200 mixed jobs on 4 slots of another node: %.2f s of %.2f\n", (double) took / USEC_PER_SEC,
               (double) work / 4 / USEC_PER_SEC);
        ASSERT_LT(took, work / 4 + USEC_PER_SEC);
        check_clean();
        world_done(&world);
}

static void test_nothing_is_hoarded(void) {
        struct uuid ids[12], shorts[8];

        begin(2, 2);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "2", 8, shorts, shorts), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, count_ends(world.nodes[0], shorts, 8, JOB_COMPLETED) == 8);
        size_t before = world.nodes[1]->executor.n_starts;
        for (size_t i = 0; i < 12; i++) {
                ASSERT_EQ(world_submit(world.nodes[0], "500", &ids[i]), MESH_ACCEPTED);
                world_run_for(&world, 20 * USEC_PER_MSEC);
        }
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, count_ends(world.nodes[0], ids, 12, JOB_COMPLETED) == 12);
        ASSERT_GT(world.nodes[1]->executor.n_starts - before, 3u);
        check_slots();
        check_clean();
        world_done(&world);
}

static void test_only_others_run(void) {
        struct uuid id;

        begin(2, 1);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit(world.nodes[0], "100 3", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(world.nodes[0], &id) == JOB_FAILED);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 1u);
        ASSERT_EQ(disk_find(world.nodes[0], &id)->result->exit_code, 3);
        check_clean();
        world_done(&world);
}

/* More than it has slots, one after the other: none waits for a heartbeat to say that they are free again.
 */
static void test_slot_is_filled_again(void) {
        const struct world_wishes wishes = { .target = "node-b" };
        usec_t begun;

        begin(2, 2);
        begun = world.now;
        for (unsigned i = 0; i < 30; i++) {
                struct uuid id;

                ASSERT_EQ(world_submit_wishes(world.nodes[0], "10", 1, &wishes, &id, &world), MESH_ACCEPTED);
                WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(world.nodes[0], &id) == JOB_COMPLETED);
        }
        ASSERT_LT(world.now - begun, 3 * USEC_PER_SEC);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 30u);
        check_slots();
        check_clean();
        world_done(&world);
}

static void test_link_breaks(void) {
        struct uuid ids[40];

        begin(3, 2);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "300", 40, ids, ids), MESH_ACCEPTED);
        for (unsigned i = 0; i < 20; i++) {
                world_run_for(&world, 50 * USEC_PER_MSEC);
                world_break_link(world.nodes[0], world.nodes[1 + i % 2]);
        }
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 40, JOB_COMPLETED) == 40);
        ASSERT_EQ(
                world.nodes[0]->executor.n_starts + world.nodes[1]->executor.n_starts +
                        world.nodes[2]->executor.n_starts,
                40u);
        check_slots();
        check_clean();
        world_done(&world);
}

static void test_owner_restarts(void) {
        struct uuid ids[12];

        begin(3, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "4000", 12, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(world.nodes[0]);
        world_run_for(&world, 6 * USEC_PER_SEC);
        world.nodes[0]->config.slots = 0;
        world_start(world.nodes[0]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 12, JOB_COMPLETED) == 12);
        ASSERT_EQ(world.nodes[1]->executor.n_starts + world.nodes[2]->executor.n_starts, 12u);
        check_clean();
        world_done(&world);
}

static void test_executor_node_restarts(void) {
        struct uuid ids[8];

        begin(2, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "3000", 8, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(world.nodes[1]);
        world_run_for(&world, 4 * USEC_PER_SEC);
        world_start(world.nodes[1]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 8, JOB_COMPLETED) == 8);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 8u);
        check_clean();
        world_done(&world);
}

static void test_executor_node_is_lost(void) {
        struct uuid ids[8];

        begin(3, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "3000", 8, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(world.nodes[1]);
        executor_crash(world.nodes[1]);
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 8, JOB_COMPLETED) == 8);
        world_done(&world);
}

/* And while the owner was down, so that it has never heard of that node since. */
static void test_executor_node_is_lost_before_the_owner_starts(void) {
        struct uuid ids[8];

        begin(3, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "3000", 8, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_GE(executor_n_runs(world.nodes[1]), 2u);
        world_crash(world.nodes[0]);
        world_destroy(world.nodes[1]);
        world_run_for(&world, USEC_PER_SEC);
        world_start(world.nodes[0]);
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 8, JOB_COMPLETED) == 8);
        world_done(&world);
}

static void test_loss_is_found(void) {
        struct uuid ids[4];

        begin(3, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "forever", 4, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_state(world.nodes[0]).queued == 0);
        world_pause(world.nodes[1]);
        usec_t begun = world.now;
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_state(world.nodes[0]).queued == 2);
        printf("a silent node was lost after %.2f s\n", (double) (world.now - begun) / USEC_PER_SEC);
        ASSERT_LT(world.now - begun, 11 * USEC_PER_SEC);
        ASSERT_EQ(world_n_peers(world.nodes[0]), 2u);
        world_resume(world.nodes[1]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_state(world.nodes[0]).queued == 0);
        world_done(&world);
}

/* Off and on again before anybody has missed it: what ran there is lost all the same. */
static void test_node_is_off_for_a_moment(void) {
        struct uuid ids[2];

        begin(2, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "3000", 2, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(world_state(world.nodes[0]).queued, 0u);
        world_crash(world.nodes[1]);
        executor_crash(world.nodes[1]);
        world_start(world.nodes[1]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 2, JOB_COMPLETED) == 2);
        ASSERT_EQ(world.nodes[0]->n_lost, 0u);
        check_clean();
        world_done(&world);
}

/* A peer that says nothing more after it has proven to be there. */
static void test_loss_of_a_newcomer(void) {
        const struct mesh_peer *peer = NULL;

        world_init(&world, 7);
        world_add(&world, "node-a", 1);
        world_add(&world, "node-b", 1);
        world_start(world.nodes[0]);
        world_start(world.nodes[1]);
        WORLD_UNTIL(
                &world, USEC_PER_MINUTE, (peer = world_peer(world.nodes[0], "node-b")) && peer->verified);
        world_pause(world.nodes[1]);
        WORLD_UNTIL(&world, 11 * USEC_PER_SEC, world.nodes[0]->n_lost > 0);
        world_done(&world);
}

static bool anybody_is_lost(void) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (world_n_peers(world.nodes[i]) != world.n_nodes - 1 || world.nodes[i]->n_lost > 0)
                        return true;
        return false;
}

/* Twenty minutes in which one datagram of five is lost. */
static void test_loss_of_datagrams_is_no_loss_of_nodes(void) {
        begin(4, 2);
        world.loss = 20;
        for (unsigned i = 0; i < 1200; i++) {
                world_run_for(&world, USEC_PER_SEC);
                ASSERT_FALSE(anybody_is_lost());
        }
        world_done(&world);
}

static void test_cancel_elsewhere(void) {
        struct uuid id;

        begin(2, 1);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit(world.nodes[0], "forever", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, disk_status(world.nodes[0], &id) == JOB_RUNNING);
        ASSERT_EQ(mesh_cancel(world.nodes[0]->mesh, &id), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(world.nodes[0], &id) == JOB_CANCELLED);
        check_clean();
        world_done(&world);
}

static void test_drain_hands_back(void) {
        struct uuid ids[12];

        begin(3, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "2000", 12, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        size_t begun = world.nodes[1]->executor.n_starts;
        mesh_drain(world.nodes[1]->mesh, MESH_DRAIN_STOP);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, mesh_is_idle(world.nodes[1]->mesh));
        ASSERT_EQ(world.nodes[1]->executor.n_starts, begun);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 12, JOB_COMPLETED) == 12);
        ASSERT_EQ(world.nodes[1]->executor.n_starts + world.nodes[2]->executor.n_starts, 12u);
        mesh_resume(world.nodes[1]->mesh, MESH_DRAIN_STOP);
        check_clean();
        world_done(&world);
}

static void test_full_disk_elsewhere(void) {
        struct uuid ids[10];

        begin(3, 2);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        disk_set_mode(world.nodes[1], DISK_FAILS);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "200", 10, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(world.nodes[0], ids, 10, JOB_COMPLETED) == 10);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 0u);
        world_done(&world);
}

int main(void) {
        RUN(test_burst_is_shared);
        RUN(test_no_slot_is_forgotten);
        RUN(test_nothing_is_hoarded);
        RUN(test_only_others_run);
        RUN(test_slot_is_filled_again);
        RUN(test_link_breaks);
        RUN(test_owner_restarts);
        RUN(test_executor_node_restarts);
        RUN(test_executor_node_is_lost);
        RUN(test_node_is_off_for_a_moment);
        RUN(test_executor_node_is_lost_before_the_owner_starts);
        RUN(test_loss_is_found);
        RUN(test_loss_of_a_newcomer);
        RUN(test_loss_of_datagrams_is_no_loss_of_nodes);
        RUN(test_cancel_elsewhere);
        RUN(test_drain_hands_back);
        RUN(test_full_disk_elsewhere);
        return 0;
}
