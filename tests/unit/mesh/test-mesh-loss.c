/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that must not start twice, whatever happens to nodes. */

#include "lib/mesh-world.h"

static struct world world;
static const struct world_wishes once = { .rules.loss_is_failure = true };

static void begin(size_t n_nodes, unsigned slots) {
        static const char *const names[] = { "node-a", "node-b", "node-c" };

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

static size_t count_starts(const struct uuid *id) {
        size_t found = 0;

        for (size_t i = 0; i < world.n_nodes; i++)
                for (size_t k = 0; k < world.nodes[i]->executor.n_starts; k++)
                        found += uuid_equal(&world.nodes[i]->executor.starts[k], id);
        return found;
}

static void submit(struct world_node *node, const char *command, size_t n, struct uuid *ret) {
        ASSERT_EQ(world_submit_wishes(node, command, n, &once, ret, ret), MESH_ACCEPTED);
}

static void check_node_lost(struct world_node *node, const struct uuid *id) {
        const char *message = disk_find(node, id)->error_message;

        ASSERT_EQ(world_end(node, id), JOB_FAILED);
        ASSERT_TRUE(message && strncmp(message, "node lost: ", strlen("node lost: ")) == 0);
}

static void test_node_is_lost(void) {
        struct uuid ids[4], others[4];
        struct world_node *node;

        begin(3, 4);
        node = world.nodes[0];
        mesh_set_slots(node->mesh, 0);
        submit(node, "3000", 4, ids);
        ASSERT_EQ(world_submit_batch(node, "3000", 4, others, others), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        size_t n_begun = world.nodes[1]->executor.n_starts;
        ASSERT_GT(n_begun, 0u);
        world_crash(world.nodes[1]);
        executor_crash(world.nodes[1]);
        WORLD_UNTIL(
                &world, 2 * USEC_PER_MINUTE,
                count_ends(node, others, 4, JOB_COMPLETED) == 4 &&
                        count_ends(node, ids, 4, JOB_UNKNOWN) == 0);
        for (size_t i = 0; i < 4; i++) {
                ASSERT_EQ(count_starts(&ids[i]), 1u);
                if (world_end(node, &ids[i]) != JOB_COMPLETED)
                        check_node_lost(node, &ids[i]);
        }
        ASSERT_GT(count_ends(node, ids, 4, JOB_FAILED), 0u);
        world_done(&world);
}

/* Its late end changes nothing. */
static void test_late_end(void) {
        struct uuid id;

        begin(2, 1);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        submit(world.nodes[0], "3000", 1, &id);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, disk_status(world.nodes[0], &id) == JOB_RUNNING);
        world_detach(world.nodes[1]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(world.nodes[0], &id) != JOB_UNKNOWN);
        check_node_lost(world.nodes[0], &id);
        world_attach(world.nodes[1]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, map_size(&world.nodes[1]->disk.guests) == 0);
        ASSERT_EQ(disk_status(world.nodes[0], &id), JOB_FAILED);
        ASSERT_EQ(count_starts(&id), 1u);
        world_done(&world);
}

/* It is given up only where it may have begun: refused, handed back, or never sent it goes elsewhere. */
static void test_what_never_began_goes_elsewhere(void) {
        struct uuid ids[6];
        struct world_node *node;

        begin(3, 1);
        node = world.nodes[0];
        mesh_set_slots(node->mesh, 0);
        disk_set_mode(world.nodes[1], DISK_FAILS);
        submit(node, "1000", 6, ids);
        world_run_for(&world, 2 * USEC_PER_SEC);
        disk_set_mode(world.nodes[1], DISK_WORKS);
        world_run_for(&world, 2 * USEC_PER_SEC);
        mesh_drain(world.nodes[2]->mesh, MESH_DRAIN_ASKED);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(node, ids, 6, JOB_COMPLETED) == 6);
        for (size_t i = 0; i < 6; i++)
                ASSERT_EQ(count_starts(&ids[i]), 1u);
        world_done(&world);
}

static void test_links_break(void) {
        struct uuid ids[20];
        struct world_node *node;

        begin(3, 2);
        node = world.nodes[0];
        mesh_set_slots(node->mesh, 0);
        submit(node, "200", 20, ids);
        for (unsigned i = 0; i < 40; i++) {
                world_run_for(&world, 47 * USEC_PER_MSEC);
                world_break_link(node, world.nodes[1 + i % 2]);
        }
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(node, ids, 20, JOB_COMPLETED) == 20);
        for (size_t i = 0; i < 20; i++)
                ASSERT_EQ(count_starts(&ids[i]), 1u);
        world_done(&world);
}

/* What was on its way when the link broke never came, and begins; unless what came may have gone to another
 * owner, and be over. */
static void lose_on_the_way(bool restart, enum job_status end) {
        struct world_node *node;
        struct uuid id;

        begin(2, 1);
        node = world.nodes[0];
        mesh_set_slots(node->mesh, 0);
        world_run_for(&world, 6 * USEC_PER_SEC);
        ASSERT_TRUE(links_are_up(node, world.nodes[1]));
        world.jitter_usec = 20 * USEC_PER_SEC;
        submit(node, "100", 1, &id);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        ASSERT_EQ(disk_find(node, &id)->run.attempt, 1u);
        world.jitter_usec = 0;
        if (restart) {
                world_crash(world.nodes[1]);
                world_start(world.nodes[1]);
        } else
                world_break_link(node, world.nodes[1]);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, world_end(node, &id) != JOB_UNKNOWN);
        ASSERT_EQ(world_end(node, &id), end);
        ASSERT_EQ(count_starts(&id), end == JOB_COMPLETED ? 1u : 0u);
        world_done(&world);
}

static void test_lost_on_the_way(void) {
        lose_on_the_way(false, JOB_COMPLETED);
        lose_on_the_way(true, JOB_FAILED);
}

/* The node has it still, but its executor is another process now. */
static void test_executor_elsewhere_is_lost(void) {
        struct uuid id;

        begin(2, 1);
        mesh_set_slots(world.nodes[0]->mesh, 0);
        submit(world.nodes[0], "3000", 1, &id);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, disk_status(world.nodes[0], &id) == JOB_RUNNING);
        world_crash(world.nodes[1]);
        executor_crash(world.nodes[1]);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        world_start(world.nodes[1]);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_end(world.nodes[0], &id) == JOB_FAILED);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_EQ(count_starts(&id), 1u);
        world_done(&world);
}

static void test_not_before_it_is_durable(void) {
        struct world_node *node;
        struct uuid ids[2], id;

        begin(1, 3);
        node = world.nodes[0];
        disk_set_mode(node, DISK_HOLDS);
        submit(node, "10", 2, ids);
        ASSERT_EQ(world_submit(node, "10", &id), MESH_ACCEPTED); /* it does not overtake them */
        ASSERT_EQ(node->executor.n_starts, 0u);
        disk_set_mode(node, DISK_WORKS);
        WORLD_UNTIL(&world, USEC_PER_SEC, count_ends(node, ids, 2, JOB_COMPLETED) == 2);
        disk_set_mode(node, DISK_HOLDS);
        ASSERT_EQ(world_submit(node, "10", &id), MESH_ACCEPTED);
        ASSERT_EQ(count_starts(&id), 1u);
        disk_set_mode(node, DISK_WORKS);
        world_run_for(&world, USEC_PER_SEC);
        world_done(&world);
}

/* An executor that is another process after a restart: what was given to the one before may have begun. */
static void test_own_executor_is_replaced(void) {
        struct world_node *node;
        struct uuid running, sent, assigned, normal;

        begin(1, 3);
        node = world.nodes[0];
        submit(node, "60000", 1, &running);
        WORLD_UNTIL(&world, USEC_PER_SEC, disk_status(node, &running) == JOB_RUNNING);
        submit(node, "60000", 1, &sent);
        WORLD_UNTIL(&world, USEC_PER_SEC, count_starts(&sent) == 1);
        ASSERT_EQ(disk_status(node, &sent), JOB_PENDING); /* that it runs is not on the disk */
        /* Given to it on paper alone, and not known to the next life as that. */
        node->executor.loses_starts = true;
        submit(node, "100", 1, &assigned);
        ASSERT_EQ(world_submit(node, "100", &normal), MESH_ACCEPTED);
        WORLD_UNTIL(
                &world, USEC_PER_SEC, disk_find(node, &assigned) && disk_find(node, &assigned)->in_executor);
        world_crash(node);
        executor_crash(node);
        world_run_for(&world, USEC_PER_SEC);
        world_start(node);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(node, &normal) == JOB_COMPLETED);
        ASSERT_EQ(world_end(node, &running), JOB_FAILED);
        check_node_lost(node, &sent);
        check_node_lost(node, &assigned);
        ASSERT_EQ(count_starts(&running), 1u);
        ASSERT_EQ(count_starts(&sent), 1u);
        ASSERT_EQ(count_starts(&assigned), 0u);
        world_done(&world);
}

/* The same process that says that it has nothing of it: it never came, and goes again. */
static void test_lost_starts_go_again(void) {
        struct world_node *node;
        struct uuid ids[2];

        begin(1, 2);
        node = world.nodes[0];
        node->executor.loses_starts = true;
        submit(node, "100", 2, ids);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(node->executor.n_starts, 0u);
        executor_disconnect(node);
        world_crash(node);
        world_start(node);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, count_ends(node, ids, 2, JOB_COMPLETED) == 2);
        ASSERT_EQ(node->executor.n_starts, 2u);
        world_done(&world);
}

/* That it failed by itself is another thing: it may be tried again where that is asked for, too. */
static void test_retries_beside(void) {
        const struct world_wishes wishes = { .rules = { .loss_is_failure = true, .retries = 1 } };
        struct world_node *node;
        struct uuid id;

        begin(1, 1);
        node = world.nodes[0];
        ASSERT_EQ(world_submit_wishes(node, "10 1", 1, &wishes, &id, &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(node, &id) == JOB_FAILED);
        ASSERT_EQ(count_starts(&id), 2u);
        ASSERT_NULL(disk_find(node, &id)->error_message);
        world_done(&world);
}

int main(void) {
        RUN(test_node_is_lost);
        RUN(test_late_end);
        RUN(test_what_never_began_goes_elsewhere);
        RUN(test_links_break);
        RUN(test_lost_on_the_way);
        RUN(test_executor_elsewhere_is_lost);
        RUN(test_not_before_it_is_durable);
        RUN(test_own_executor_is_replaced);
        RUN(test_lost_starts_go_again);
        RUN(test_retries_beside);
        return EXIT_SUCCESS;
}
