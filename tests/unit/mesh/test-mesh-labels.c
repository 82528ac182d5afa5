/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that ask for labels, in a mesh. */

#include "lib/mesh-world.h"

static struct world world;
static char *const gpu[] = { (char *) "gpu", NULL };
static const struct metadata_entry gpu_label = { "gpu", "a100" };

static void begin(size_t n_nodes, unsigned slots) {
        static const char *const names[] = { "node-a", "node-b", "node-c", "node-d" };

        world_init(&world, 7);
        for (size_t i = 0; i < n_nodes; i++)
                world_add(&world, names[i], slots);
}

static void start(void) {
        for (size_t i = 0; i < world.n_nodes; i++)
                world_start(world.nodes[i]);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(world.nodes[0]) == world.n_nodes - 1);
        world_run_for(&world, 10 * USEC_PER_SEC);
}

static void give_label(struct world_node *node) {
        node->config.labels[node->config.n_labels++] = gpu_label;
}

static void
submit(struct world_node *node, const char *command, size_t n, struct world_wishes wishes,
       struct uuid *ret) {
        ASSERT_EQ(world_submit_wishes(node, command, n, &wishes, ret, ret), MESH_ACCEPTED);
}

static struct world_wishes for_gpu(int32_t priority) {
        return (struct world_wishes){ .requires = gpu, .rules.priority = priority };
}

static size_t count_ends(struct world_node *node, const struct uuid *ids, size_t n) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                found += world_end(node, &ids[i]) == JOB_COMPLETED;
        return found;
}

static bool waits_because(struct world_node *node, const struct uuid *id, const char *reason) {
        const char *said = mesh_job_pending_reason(node->mesh, id);

        return said && streq(said, reason);
}

static void test_only_where_the_label_is(void) {
        struct uuid ids[20], others[20];

        begin(4, 2);
        give_label(world.nodes[2]);
        start();
        submit(world.nodes[0], "300", 20, for_gpu(0), ids);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        ASSERT_TRUE(waits_because(world.nodes[0], &ids[19], "waits for a free slot"));
        usec_t begun = world.now;
        /* They hold up nothing: for these there are six slots. */
        ASSERT_EQ(world_submit_batch(world.nodes[0], "300", 20, others, others), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, count_ends(world.nodes[0], others, 20) == 20);
        ASSERT_LT(world.now - begun, 2 * USEC_PER_SEC);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, count_ends(world.nodes[0], ids, 20) == 20);
        for (size_t i = 0; i < 20; i++)
                ASSERT_TRUE(streq(disk_find(world.nodes[0], &ids[i])->executor_node, "node-c"));
        world_done(&world);
}

static void test_nobody_has_it_yet(void) {
        struct uuid ids[2], pinned;
        struct world_node *node;

        begin(3, 1);
        start();
        node = world.nodes[0];
        submit(node, "10", 2, for_gpu(0), ids);
        submit(node, "10", 1, (struct world_wishes){ .requires = gpu, .target = "node-b" }, &pinned);
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_TRUE(waits_because(node, &ids[0], "no node has the labels that it requires"));
        ASSERT_TRUE(
                waits_because(node, &pinned, "its target node does not have the labels that it requires"));
        mesh_set_labels(world.nodes[2]->mesh, &gpu_label, 1);
        WORLD_UNTIL(&world, USEC_PER_SEC, count_ends(node, ids, 2) == 2);
        ASSERT_EQ(world.nodes[2]->executor.n_starts, 2u);
        world_run_for(&world, 10 * USEC_PER_SEC);
        ASSERT_EQ(world_end(node, &pinned), JOB_UNKNOWN);
        mesh_set_labels(world.nodes[1]->mesh, &gpu_label, 1);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &pinned) == JOB_COMPLETED);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 1u);
        /* And this node itself. */
        mesh_set_labels(world.nodes[1]->mesh, NULL, 0);
        mesh_set_labels(world.nodes[2]->mesh, NULL, 0);
        world_run_for(&world, USEC_PER_SEC);
        submit(node, "10", 2, for_gpu(0), ids);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(node->executor.n_starts, 0u);
        mesh_set_labels(node->mesh, &gpu_label, 1);
        WORLD_UNTIL(&world, USEC_PER_SEC, count_ends(node, ids, 2) == 2);
        ASSERT_EQ(node->executor.n_starts, 2u);
        /* Nothing waits any more: the next one begins with its acceptance. */
        disk_set_mode(node, DISK_HOLDS);
        submit(node, "10", 1, for_gpu(0), ids);
        ASSERT_EQ(node->executor.n_starts, 3u);
        disk_set_mode(node, DISK_WORKS);
        world_run_for(&world, USEC_PER_SEC);
        world_done(&world);
}

/* The owner knows old labels: it is told so, tries elsewhere, and does not ask again and again. */
static void test_old_knowledge(void) {
        struct uuid id;
        struct world_node *node;

        begin(2, 1);
        give_label(world.nodes[1]);
        start();
        node = world.nodes[0];
        world.loss = 100;
        mesh_set_labels(world.nodes[1]->mesh, NULL, 0);
        submit(node, "10", 1, for_gpu(0), &id);
        world_run_for(&world, 3 * USEC_PER_SEC);
        ASSERT_EQ(disk_find(node, &id)->run.attempt, 1u);
        ASSERT_EQ(disk_status(node, &id), JOB_PENDING);
        ASSERT_FALSE(disk_find(node, &id)->in_executor);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 0u);
        ASSERT_EQ(map_size(&world.nodes[1]->disk.guests), 0u);
        /* It is not avoided for anything else. */
        mesh_set_slots(node->mesh, 0);
        struct uuid other;
        ASSERT_EQ(world_submit(node, "10", &other), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &other) == JOB_COMPLETED);
        world.loss = 0;
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(disk_find(node, &id)->run.attempt, 1u);
        ASSERT_TRUE(waits_because(node, &id, "no node has the labels that it requires"));
        mesh_set_labels(world.nodes[1]->mesh, &gpu_label, 1);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &id) == JOB_COMPLETED);
        ASSERT_EQ(disk_find(node, &id)->run.attempt, 2u);
        world_done(&world);
}

/* A backlog that only others can take: who is idle asks for it, and not for ever. */
static void test_backlog_of_other_labels(void) {
        struct uuid ids[50];
        struct world_node *node;

        begin(3, 1);
        give_label(world.nodes[2]);
        start();
        node = world.nodes[0];
        submit(node, "1000", 50, for_gpu(0), ids);
        world_run_for(&world, 5 * USEC_PER_SEC);
        uint64_t before = world.nodes[1]->n_frames;
        world_run_for(&world, 30 * USEC_PER_SEC);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, 0u);
        ASSERT_LT(world.nodes[1]->n_frames - before, 150u); /* heartbeats and the index included */
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(node, ids, 50) == 50);
        ASSERT_EQ(world.nodes[2]->executor.n_starts, 50u);
        world_done(&world);
}

/* Of all that a node may run, what comes first. */
static void test_order_across_classes(void) {
        struct uuid busy, first, second, third, last;
        struct world_node *node, *other;

        begin(2, 1);
        give_label(world.nodes[1]);
        start();
        node = world.nodes[0];
        other = world.nodes[1];
        mesh_set_slots(node->mesh, 0);
        submit(node, "1000", 1, for_gpu(0), &busy);
        WORLD_UNTIL(&world, USEC_PER_SEC, other->executor.n_starts == 1);
        submit(node, "1000", 1, (struct world_wishes){}, &third);
        submit(node, "1000", 1, for_gpu(5), &second);
        submit(node, "1000", 1, (struct world_wishes){ .target = "node-b", .rules.priority = 6 }, &first);
        submit(node, "1000", 1, for_gpu(0), &last);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, other->executor.n_starts == 5);
        ASSERT_TRUE(uuid_equal(&other->executor.starts[1], &first));
        ASSERT_TRUE(uuid_equal(&other->executor.starts[2], &second));
        ASSERT_TRUE(uuid_equal(&other->executor.starts[3], &third));
        ASSERT_TRUE(uuid_equal(&other->executor.starts[4], &last));
        world_done(&world);
}

/* Where as many slots are free the processors that are waited for less. */
static void test_pressure(void) {
        const struct node_pressure high = { .known = true, .cpu = 900 }, low = { .known = true, .cpu = 10 };
        struct uuid ids[20];
        struct world_node *node;

        begin(3, 4);
        start();
        node = world.nodes[0];
        mesh_set_slots(node->mesh, 0);
        mesh_set_pressure(world.nodes[1]->mesh, &high);
        mesh_set_pressure(world.nodes[2]->mesh, &low);
        /* Both are linked by then. */
        ASSERT_EQ(world_submit_batch(node, "10", 8, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 10 * USEC_PER_SEC);
        size_t before = world.nodes[1]->executor.n_starts;
        for (size_t i = 0; i < 20; i++) {
                ASSERT_EQ(world_submit(node, "10", &ids[i]), MESH_ACCEPTED);
                world_run_for(&world, 10 * USEC_PER_SEC);
        }
        ASSERT_EQ(count_ends(node, ids, 20), 20u);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, before);
        /* But free slots come first. */
        ASSERT_EQ(world_submit_batch(node, "1000", 8, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, count_ends(node, ids, 8) == 8);
        ASSERT_EQ(world.nodes[1]->executor.n_starts, before + 4);
        world_done(&world);
}

int main(void) {
        RUN(test_only_where_the_label_is);
        RUN(test_nobody_has_it_yet);
        RUN(test_old_knowledge);
        RUN(test_backlog_of_other_labels);
        RUN(test_order_across_classes);
        RUN(test_pressure);
        return EXIT_SUCCESS;
}
