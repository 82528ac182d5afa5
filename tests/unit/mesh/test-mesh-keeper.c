/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that are on two disks. */

#include "keeping.h"

static void test_two_disks_before_the_answer(void) {
        struct uuid id;

        begin_nodes(2, 0);
        disk_set_mode(node(1), DISK_HOLDS);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        world_run_for(&world, 50 * USEC_PER_MSEC);
        ASSERT_EQ(disk_status(node(0), &id), JOB_PENDING);
        ASSERT_EQ(world_answer(node(0), &id), 1); /* not yet */
        disk_set_mode(node(1), DISK_WORKS);
        world_run_for(&world, 10 * USEC_PER_MSEC);
        ASSERT_EQ(world_answer(node(0), &id), 0);
        ASSERT_EQ(answer_copies(node(0), &id), 2u);
        ASSERT_TRUE(keeper_of(node(0)) == node(1));
        world_done(&world);
}

/* The second node is too slow for the first one so often in a row, and is asked again each time. */
static void slow_down(size_t n) {
        struct uuid ids[4];

        ASSERT_LE(n, ELEMENTSOF(ids));
        for (size_t i = 0; i < n; i++) {
                disk_set_mode(node(1), DISK_HOLDS);
                ASSERT_EQ(world_submit(node(0), "100", &ids[i]), MESH_ACCEPTED);
                WORLD_UNTIL(&world, 150 * USEC_PER_MSEC, world_answer(node(0), &ids[i]) == 0);
                ASSERT_EQ(answer_copies(node(0), &ids[i]), 1u);
                disk_set_mode(node(1), DISK_WORKS);
                WORLD_UNTIL(&world, 20 * USEC_PER_SEC, mesh_job_copies(node(0)->mesh, &ids[i]) == 2);
                ASSERT_EQ(mesh_cancel(node(0)->mesh, &ids[i]), MESH_CANCEL_STARTED);
        }
}

/* Sooner the first time than the times after that. */
static void test_slow_keeper_is_asked_again(void) {
        struct uuid id;

        begin_nodes(2, 0);
        slow_down(2);
        disk_set_mode(node(1), DISK_HOLDS);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 150 * USEC_PER_MSEC, world_answer(node(0), &id) == 0);
        disk_set_mode(node(1), DISK_WORKS);
        world_run_for(&world, 7 * USEC_PER_SEC);
        ASSERT_EQ(mesh_job_copies(node(0)->mesh, &id), 1u);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, mesh_job_copies(node(0)->mesh, &id) == 2);
        world_done(&world);
}

static void test_slow_keeper_is_replaced(void) {
        struct uuid first, second;

        begin_nodes(3, 0);
        ASSERT_EQ(world_submit(node(0), "100", &first), MESH_ACCEPTED);
        world_run_for(&world, 50 * USEC_PER_MSEC);
        struct world_node *slow = keeper_of(node(0));
        ASSERT_NOT_NULL(slow);
        disk_set_mode(slow, DISK_HOLDS);
        ASSERT_EQ(world_submit(node(0), "100", &second), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 150 * USEC_PER_MSEC, world_answer(node(0), &second) == 0);
        ASSERT_EQ(answer_copies(node(0), &second), 1u);
        world_run_for(&world, USEC_PER_SEC);

        /* The next one has the whole set, and the slow one forgets it as soon as it can. */
        struct world_node *next = third(slow);
        ASSERT_EQ(n_unfinished_copies(next), 2u);
        disk_set_mode(slow, DISK_WORKS);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, n_unfinished_copies(slow) == 0);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, map_size(&node(0)->disk.holders) == 1);
        world_done(&world);
}

/* It is there again, but has nothing any more: it gets everything once more. */
static void test_keeper_loses_its_disk(void) {
        struct uuid ids[5];

        begin_nodes(2, 0);
        ASSERT_EQ(world_submit_batch(node(0), "100", 5, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(n_unfinished_copies(node(1)), 5u);
        lose_disk(node(1));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, n_unfinished_copies(node(1)) == 5);
        world_done(&world);
}

static void test_alone_there_is_one_copy(void) {
        struct uuid id;

        begin_nodes(1, 1);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node(0), &id) == JOB_COMPLETED);
        ASSERT_EQ(answer_copies(node(0), &id), 1u);
        world_done(&world);
}

static void test_ends_are_copied_before_they_are_told(void) {
        struct uuid id;

        begin_nodes(2, 1);
        ASSERT_EQ(world_submit(node(0), "1000", &id), MESH_ACCEPTED);
        world_run_for(&world, 900 * USEC_PER_MSEC);
        struct world_node *runs = node(0)->executor.n_starts > 0 ? node(0) : NULL;
        ASSERT_TRUE(runs == node(0)); /* this node wins ties */
        disk_set_mode(node(1), DISK_HOLDS);
        world_run_for(&world, 150 * USEC_PER_MSEC);
        ASSERT_EQ(disk_status(node(0), &id), JOB_COMPLETED);
        ASSERT_EQ(world_end(node(0), &id), JOB_UNKNOWN);
        ASSERT_EQ(mesh_cancel(node(0)->mesh, &id), MESH_CANCEL_STARTED);
        disk_set_mode(node(1), DISK_WORKS);
        world_run_for(&world, 20 * USEC_PER_MSEC);
        ASSERT_EQ(world_end(node(0), &id), JOB_COMPLETED);
        ASSERT_EQ(n_unfinished_copies(node(1)), 0u);
        ASSERT_EQ(executor_n_runs(node(0)), 0u);
        world_done(&world);
}

static void test_owner_with_a_full_disk_keeps_nothing(void) {
        struct uuid id;

        begin_nodes(2, 0);
        disk_set_mode(node(0), DISK_FAILS);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(world_answer(node(0), &id), -ENOSPC);
        ASSERT_EQ(n_unfinished_copies(node(1)), 0u);
        lose(node(0));
        mesh_set_slots(node(1)->mesh, 1);
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(n_starts(), 0u);
        world_done(&world);
}

/* What else goes to the same node finds room beside many copies, and what found none is told again. */
static void test_copies_leave_room_on_the_link(void) {
        struct world_node *owner, *runs;
        struct uuid ids[1000], running[8];

        begin_nodes(4, ELEMENTSOF(running));
        world.queue_max = 20000;
        owner = first_of_three();
        /* The copies of what the keeper takes over go where the job runs. */
        runs = holder_of(holder_of(owner));
        set_slots(0);
        mesh_set_slots(runs->mesh, ELEMENTSOF(running));
        world_run_for(&world, 6 * USEC_PER_SEC);
        ASSERT_EQ(world_submit_batch(owner, "60000", ELEMENTSOF(running), running, running), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, runs->executor.n_running == ELEMENTSOF(running));
        ASSERT_EQ(world_submit_batch(owner, "10", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, world_answer(owner, ids) == 0);
        ASSERT_EQ(answer_copies(owner, ids), 2u);
        lose(owner);
        WORLD_UNTIL(
                &world, 10 * USEC_PER_MINUTE,
                count_ends(ids, ELEMENTSOF(ids), JOB_COMPLETED) == ELEMENTSOF(ids));
        ASSERT_EQ(count_ends(running, ELEMENTSOF(running), JOB_COMPLETED), ELEMENTSOF(running));
        ASSERT_EQ(n_starts(), ELEMENTSOF(ids) + ELEMENTSOF(running));
        world_done(&world);
}

/* However many there are: the rest follows when the first ones have arrived. */
static void test_few_copies_are_on_the_way_at_once(void) {
        struct uuid ids[4000];
        uint64_t sent;

        begin_nodes(2, 0);
        disk_set_mode(node(1), DISK_HOLDS);
        sent = node(0)->n_frames;
        ASSERT_EQ(world_submit_batch(node(0), "10", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 20 * USEC_PER_MSEC);
        ASSERT_LE(node(0)->n_frames - sent, 2100u);
        disk_set_mode(node(1), DISK_WORKS);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_answer(node(0), ids) == 0);
        ASSERT_EQ(answer_copies(node(0), ids), 2u);
        world_done(&world);
}

/* The end that the executor keeps does not tell that it was wanted. */
static void test_cancel_is_on_two_disks(void) {
        struct world_node *keeper, *runs;
        struct uuid id;

        begin_apart(&keeper, &runs);
        ASSERT_EQ(world_submit(node(0), "20000", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, runs->executor.n_running == 1);
        world_run_for(&world, USEC_PER_SEC);
        disk_set_mode(keeper, DISK_HOLDS);
        ASSERT_EQ(mesh_cancel(node(0)->mesh, &id), MESH_CANCEL_STARTED);
        world_run_for(&world, 50 * USEC_PER_MSEC);
        ASSERT_EQ(disk_status(node(0), &id), JOB_CANCELLED);
        ASSERT_EQ(world_end(node(0), &id), JOB_UNKNOWN);
        disk_set_mode(keeper, DISK_WORKS);
        WORLD_UNTIL(&world, 50 * USEC_PER_MSEC, world_end(node(0), &id) == JOB_CANCELLED);
        world_done(&world);
}

/* While there is no other keeper the copies of one that was too slow are worth more than none. What ended
 * meanwhile is known from the index, and is not run again. */
static void test_copies_of_a_slow_keeper_count(void) {
        const struct world_wishes wishes = { .target = "node-a" };
        const struct world_wishes tried = { .target = "node-a", .rules.retries = 1 };
        struct uuid ids[3];

        begin_nodes(2, 0);
        slow_down(3); /* so that it is not asked again before the owner is lost */
        node(0)->executor.slots = node(1)->executor.slots = 2;
        set_slots(2);
        ASSERT_EQ(world_submit_wishes(node(0), "300 3", 1, &tried, &ids[0], &ids[0]), MESH_ACCEPTED);
        ASSERT_EQ(world_submit_wishes(node(0), "300", 1, &wishes, &ids[1], &ids[1]), MESH_ACCEPTED);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        mesh_set_slots(node(1)->mesh, 0);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        ASSERT_EQ(world_submit(node(0), "5000", &ids[2]), MESH_ACCEPTED);
        world_run_for(&world, 50 * USEC_PER_MSEC);
        for (size_t i = 0; i < 3; i++)
                ASSERT_EQ(answer_copies(node(0), &ids[i]), 2u);
        world.queue_max = 1; /* nothing gets through */
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node(0), &ids[1]) == JOB_COMPLETED);
        WORLD_UNTIL(&world, 3 * USEC_PER_SEC, world_end(node(0), &ids[0]) == JOB_FAILED);
        world.queue_max = 0;
        WORLD_UNTIL(&world, 6 * USEC_PER_SEC, world_index_status(node(1), &ids[0]) == JOB_FAILED);
        world_run_for(&world, 3 * USEC_PER_SEC);
        lose(node(0));
        mesh_set_slots(node(1)->mesh, 2);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(node(1), &ids[2]) == JOB_COMPLETED);
        ASSERT_EQ(world_end(node(1), &ids[0]), JOB_FAILED);
        ASSERT_EQ(world_end(node(1), &ids[1]), JOB_COMPLETED);
        ASSERT_EQ(disk_find(node(1), &ids[0])->result->exit_code, 3);
        ASSERT_EQ(disk_find(node(1), &ids[0])->retries_used, 1u);
        ASSERT_EQ(n_starts(), 5u);
        world_done(&world);
}

/* Its database is gone, and it begins anew under its old name, with the same keeper. */
static void test_owner_forgets_everything(void) {
        struct uuid ids[5], next;

        begin_nodes(2, 1);
        set_slots(0);
        ASSERT_EQ(world_submit_batch(node(0), "100", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(answer_copies(node(0), ids), 2u);
        lose_disk(node(0));
        world_run_for(&world, 10 * USEC_PER_SEC);
        ASSERT_EQ(world_submit(node(0), "100", &next), MESH_ACCEPTED);
        world_run_for(&world, 10 * USEC_PER_SEC);
        ASSERT_EQ(answer_copies(node(0), &next), 2u);
        WORLD_UNTIL(
                &world, USEC_PER_MINUTE, count_ends(ids, ELEMENTSOF(ids), JOB_COMPLETED) == ELEMENTSOF(ids));
        ASSERT_EQ(count_ends(&next, 1, JOB_COMPLETED), 1u);
        ASSERT_EQ(n_starts(), ELEMENTSOF(ids) + 1);
        world_done(&world);
}

int main(void) {
        RUN(test_two_disks_before_the_answer);
        RUN(test_slow_keeper_is_replaced);
        RUN(test_slow_keeper_is_asked_again);
        RUN(test_keeper_loses_its_disk);
        RUN(test_alone_there_is_one_copy);
        RUN(test_ends_are_copied_before_they_are_told);
        RUN(test_owner_with_a_full_disk_keeps_nothing);
        RUN(test_copies_leave_room_on_the_link);
        RUN(test_few_copies_are_on_the_way_at_once);
        RUN(test_cancel_is_on_two_disks);
        RUN(test_copies_of_a_slow_keeper_count);
        RUN(test_owner_forgets_everything);
        return 0;
}
