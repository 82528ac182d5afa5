/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the index of recent jobs travels: every node tells the same, with few messages, over restarts, broken
 * links and two owners of one job. */

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

static size_t count_listed(struct world_node *node) {
        struct index_query query = { .limit = 1000, .before = UINT64_MAX };
        static struct mesh_index_item items[1000];
        size_t n = 0;

        do
                n += (size_t) ASSERT_OK(mesh_index_list(node->mesh, &query, items, &query.before));
        while (query.before != 0);
        return n;
}

static bool all_list(size_t n) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (world.nodes[i]->mesh && count_listed(world.nodes[i]) != n)
                        return false;
        return true;
}

static bool all_say(const struct uuid *id, enum job_status status) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (world.nodes[i]->mesh && world_index_status(world.nodes[i], id) != status)
                        return false;
        return true;
}

/* Jobs that the node's disk knew. */
static void invent(struct world_node *node, size_t first, size_t n) {
        for (size_t i = first; i < first + n; i++) {
                struct mesh_index_item item = {
                        .id = { { 1, (uint8_t) i, (uint8_t) (i >> 8), (uint8_t) (i >> 16) } },
                        .status = JOB_COMPLETED,
                        .executor_node_id = node->config.node_id,
                        .has_exit_code = true,
                        .created_at = world_realtime(&world) + i,
                        .started_at = world_realtime(&world) + i + 1,
                        .finished_at = world_realtime(&world) + i + 2,
                        .epoch = 1,
                };

                ASSERT_OK(mesh_index_restore(node->mesh, &item, 1));
        }
}

static void test_all_tell_the_same(void) {
        struct uuid ids[60], waiting;

        begin(3, 2);
        for (size_t i = 0; i < 3; i++)
                ASSERT_EQ(
                        world_submit_batch(world.nodes[i], i == 1 ? "20 3" : "20", 20, ids + 20 * i, NULL),
                        MESH_ACCEPTED);
        ASSERT_EQ(world_submit(world.nodes[2], "forever", &waiting), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, all_list(61) && all_say(&waiting, JOB_RUNNING));
        WORLD_UNTIL(
                &world, 10 * USEC_PER_SEC,
                all_say(&ids[39], JOB_FAILED) && all_say(&ids[59], JOB_COMPLETED));
        world_run_for(&world, 2 * USEC_PER_SEC);
        world_check_indexes(&world);
        ASSERT_EQ(mesh_cancel(world.nodes[2]->mesh, &waiting), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&world, 5 * USEC_PER_SEC, all_say(&waiting, JOB_CANCELLED));
        world_done(&world);
}

/* One entry for many changes, and silence where there is nothing new. */
static void test_few_messages(void) {
        begin(2, 0);
        invent(world.nodes[0], 0, 1);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_list(1));
        world_run_for(&world, 2 * USEC_PER_SEC);

        uint64_t frames = world.nodes[0]->n_frames;
        for (size_t i = 1; i <= 200; i++) {
                invent(world.nodes[0], i, 1);
                world_run_for(&world, 100 * USEC_PER_MSEC);
        }
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, all_list(201));
        ASSERT_LE(world.nodes[0]->n_frames - frames, 22u);

        frames = world.nodes[0]->n_frames + world.nodes[1]->n_frames;
        world_run_for(&world, 2 * USEC_PER_SEC);
        frames = world.nodes[0]->n_frames + world.nodes[1]->n_frames;
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(world.nodes[0]->n_frames + world.nodes[1]->n_frames, frames);

        /* Many at once do not wait for their second, and go in several parts. */
        uint64_t bytes = world.nodes[0]->frame_bytes;
        frames = world.nodes[0]->n_frames;
        invent(world.nodes[0], 201, 5000);
        WORLD_UNTIL(&world, 200 * USEC_PER_MSEC, all_list(5201));
        ASSERT_LE(world.nodes[0]->n_frames - frames, 8u);
        printf("5000 jobs: %.1f bytes each to each node\n",
               (double) (world.nodes[0]->frame_bytes - bytes) / 5000);
        world_done(&world);
}

/* A node that comes late, and one that is killed while it is told. */
static void test_late_readers(void) {
        begin(2, 0);
        invent(world.nodes[0], 0, 9000);
        struct world_node *late = world_add(&world, "node-c", 0);
        world_start(late);
        world_crash(world.nodes[1]);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, count_listed(late) > 0);
        world_crash(late);
        world_start(late);
        world_start(world.nodes[1]);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, all_list(9000));
        world_done(&world);
}

static void test_owner_restarts(void) {
        struct uuid ids[10], last;

        begin(3, 2);
        ASSERT_EQ(world_submit_batch(world.nodes[0], "10", 10, ids, NULL), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_say(&ids[9], JOB_COMPLETED));
        world_crash(world.nodes[0]);
        world_run_for(&world, USEC_PER_MINUTE);
        /* Gone, but not what it said. */
        ASSERT_EQ(count_listed(world.nodes[1]), 10u);
        world_start(world.nodes[0]);
        ASSERT_EQ(count_listed(world.nodes[0]), 10u);
        ASSERT_EQ(world_submit(world.nodes[0], "10", &last), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, all_say(&last, JOB_COMPLETED));
        world_check_indexes(&world);
        world_done(&world);
}

/* What it does not know any more, and had not ended, is dropped; what had ended is not. */
static void test_owner_loses_its_disk(void) {
        struct uuid ended, running;

        begin(2, 1);
        ASSERT_EQ(world_submit(world.nodes[0], "10", &ended), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_say(&ended, JOB_COMPLETED));
        ASSERT_EQ(world_submit(world.nodes[0], "forever", &running), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_say(&running, JOB_RUNNING));
        world_crash(world.nodes[0]);
        executor_crash(world.nodes[0]);
        disk_done(&world.nodes[0]->disk);
        disk_init(&world.nodes[0]->disk);
        world_start(world.nodes[0]);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, world_index_status(world.nodes[1], &running) == JOB_UNKNOWN);
        ASSERT_EQ(world_index_status(world.nodes[1], &ended), JOB_COMPLETED);
        world_done(&world);
}

/* As after a long split. Who hears of which first differs; who counts does not. */
static void test_two_owners(void) {
        struct mesh_index_item item = {
                .id = { { 9 } },
                .created_at = 5,
                .finished_at = 7,
                .status = JOB_FAILED,
                .epoch = 1,
        };
        char owner[NODE_ID_MAX + 1];

        begin(4, 0);
        ASSERT_OK(mesh_index_restore(world.nodes[0]->mesh, &item, 1));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_say(&item.id, JOB_FAILED));
        item.status = JOB_COMPLETED;
        item.epoch = 2;
        ASSERT_OK(mesh_index_restore(world.nodes[1]->mesh, &item, 1));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_say(&item.id, JOB_COMPLETED));
        item.status = JOB_TIMEOUT;
        ASSERT_OK(mesh_index_restore(world.nodes[2]->mesh, &item, 1));
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_TRUE(all_say(&item.id, JOB_COMPLETED));
        ASSERT_TRUE(all_list(1));
        for (size_t i = 0; i < 4; i++) {
                ASSERT_TRUE(mesh_index_find_owner(world.nodes[i]->mesh, &item.id, owner));
                ASSERT_STREQ(owner, "node-b");
        }
        item.id.bytes[0]++;
        ASSERT_FALSE(mesh_index_find_owner(world.nodes[0]->mesh, &item.id, owner));
        world_done(&world);
}

/* The newest of all, on each node the same. */
static void test_bounded(void) {
        world_init(&world, 7);
        for (size_t i = 0; i < 3; i++)
                world_add(&world, (const char *[]){ "node-a", "node-b", "node-c" }[i], 0)->config.index_max =
                        50;
        for (size_t i = 0; i < 3; i++)
                world_start(world.nodes[i]);
        world_run_for(&world, 5 * USEC_PER_SEC);
        for (size_t i = 0; i < 100; i++)
                invent(world.nodes[i % 2], i, 1);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_list(50));
        world_run_for(&world, 10 * USEC_PER_SEC);
        for (size_t i = 0; i < 100; i++)
                for (size_t j = 0; j < 3; j++) {
                        const struct uuid id = { { 1, (uint8_t) i } };

                        ASSERT_EQ(
                                world_index_status(world.nodes[j], &id),
                                i < 50 ? JOB_UNKNOWN : JOB_COMPLETED);
                }
        world_done(&world);
}

/* What is too old for who asks is not sent. */
static void test_old_jobs_stay(void) {
        world_init(&world, 7);
        for (size_t i = 0; i < 3; i++)
                world_add(&world, (const char *[]){ "node-a", "node-b", "node-c" }[i], 0);
        world.nodes[2]->config.index_max = 50;
        world_start(world.nodes[0]);
        invent(world.nodes[0], 0, 3000);
        world_start(world.nodes[1]);
        world_run_for(&world, 10 * USEC_PER_SEC);
        ASSERT_EQ(count_listed(world.nodes[1]), 3000u);
        world_detach(world.nodes[0]);
        invent(world.nodes[1], 3000, 100);
        world_start(world.nodes[2]);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, count_listed(world.nodes[2]) == 50);

        uint64_t bytes = world.nodes[0]->frame_bytes;
        world_attach(world.nodes[0]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_listed(world.nodes[0]) == 3100);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_EQ(count_listed(world.nodes[2]), 50u);
        ASSERT_LT(world.nodes[0]->frame_bytes - bytes, 2000u);
        world_done(&world);
}

/* Nothing that was not asked for, and of nobody but who says it. */
static void test_uninvited(void) {
        struct link_index_entry entry = {
                .job = { { 8 } }, .number = 1, .status = JOB_RUNNING, .created_at = 1
        };
        struct link_message message = {
                .has_index_part = true,
                .index_part = { .generation = 5, .head = 1, .through = 1 },
                .n_index_entries = 1,
                .index_entries = &entry,
        };
        char owner[NODE_ID_MAX + 1];

        begin(2, 0);
        /* There is no link. */
        mesh_link_received(world.nodes[0]->mesh, "node-c", &message);
        ASSERT_EQ(count_listed(world.nodes[0]), 0u);
        invent(world.nodes[1], 0, 1);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, all_list(1));
        world_run_for(&world, USEC_PER_SEC);
        /* Now there is, and the answer to what was asked is that node's word. */
        mesh_link_received(world.nodes[0]->mesh, "node-b", &message);
        ASSERT_TRUE(mesh_index_find_owner(world.nodes[0]->mesh, &entry.job, owner));
        ASSERT_STREQ(owner, "node-b");
        world_done(&world);
}

int main(void) {
        RUN(test_all_tell_the_same);
        RUN(test_few_messages);
        RUN(test_late_readers);
        RUN(test_owner_restarts);
        RUN(test_owner_loses_its_disk);
        RUN(test_two_owners);
        RUN(test_bounded);
        RUN(test_old_jobs_stay);
        RUN(test_uninvited);
        return 0;
}
