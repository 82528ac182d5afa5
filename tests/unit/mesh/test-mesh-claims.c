/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that outlive the node that accepted them. */

#include "keeping.h"

static void test_owner_is_lost(void) {
        struct uuid ids[30];

        begin_nodes(4, 2);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit_batch(node(0), "20000", 30, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 2 * USEC_PER_SEC);
        ASSERT_EQ(answer_copies(node(0), ids), 2u);
        ASSERT_EQ(n_starts(), 6u);
        lose(node(0));
        WORLD_UNTIL(&world, 10 * USEC_PER_MINUTE, count_ends(ids, 30, JOB_COMPLETED) == 30);
        /* What ran went on, and nothing was run twice. */
        ASSERT_EQ(n_starts(), 30u);
        world_run_for(&world, USEC_PER_MINUTE);
        for (size_t i = 1; i < 4; i++) {
                ASSERT_EQ(executor_n_runs(node(i)), 0u);
                ASSERT_EQ(map_size(&node(i)->disk.guests), 0u);
                ASSERT_EQ(n_unfinished_copies(node(i)), 0u);
        }
        world_done(&world);
}

static void test_owner_comes_back(void) {
        struct uuid ids[10];

        begin_nodes(3, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit_batch(node(0), "5000", 10, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(node(0));
        world_run_for(&world, 40 * USEC_PER_SEC);
        world_start(node(0));
        WORLD_UNTIL(&world, 10 * USEC_PER_MINUTE, count_ends(ids, 10, JOB_COMPLETED) == 10);
        ASSERT_EQ(n_starts(), 10u);
        ASSERT_GT(node(0)->n_moved, 0u);
        world_done(&world);
}

/* A restart is no reason to wait: its keeper says at once that it took nothing over. */
static void test_owner_restarts(void) {
        struct uuid ids[4];

        begin_nodes(3, 1);
        set_slots(0);
        ASSERT_EQ(world_submit_batch(node(0), "10", 4, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(node(0));
        world_run_for(&world, USEC_PER_SEC);
        world_start(node(0));
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, count_ends(ids, 4, JOB_COMPLETED) == 4);
        ASSERT_EQ(node(0)->n_moved, 0u);
        world_done(&world);
}

/* Nobody is left who could have taken it over, or could tell. */
static void test_owner_restarts_alone(void) {
        const struct world_wishes wishes = { .rules.loss_is_failure = true };
        struct uuid id;

        begin_nodes(3, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit_wishes(node(0), "forever", 1, &wishes, &id, &id), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(n_starts(), 1u);
        world_crash(node(0));
        lose(node(1));
        lose(node(2));
        world_start(node(0));
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, world_end(node(0), &id) == JOB_FAILED);
        world_done(&world);
}

static void test_leaving_hands_over_at_once(void) {
        struct uuid ids[6];

        begin_nodes(3, 1);
        set_slots(0);
        ASSERT_EQ(world_submit_batch(node(0), "1000", 6, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        mesh_drain(node(0)->mesh, MESH_DRAIN_STOP);
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, mesh_is_idle(node(0)->mesh));
        mesh_say_goodbye(node(0)->mesh);
        world_run_for(&world, 10 * USEC_PER_MSEC);
        lose(node(0));
        set_slots(1);
        WORLD_UNTIL(&world, 8 * USEC_PER_SEC, count_ends(ids, 6, JOB_COMPLETED) == 6);
        world_done(&world);
}

/* Who ran it is gone together with the owner. */
static void test_owner_and_executor_are_lost(void) {
        struct uuid ids[2];

        begin_nodes(4, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit_batch(node(0), "60000", 2, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 2 * USEC_PER_SEC);
        struct world_node *keeper = keeper_of(node(0));
        for (size_t i = 1; i < 4; i++)
                if (node(i) != keeper && node(i)->executor.n_running > 0) {
                        lose(node(i));
                        break;
                }
        lose(node(0));
        WORLD_UNTIL(&world, 10 * USEC_PER_MINUTE, count_ends(ids, 2, JOB_COMPLETED) == 2);
        world_done(&world);
}

/* Both are gone: who runs the job answers for it in the end. */
static void test_orphans_are_adopted(void) {
        struct uuid id;

        begin_nodes(3, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit(node(0), "1000", &id), MESH_ACCEPTED);
        world_run_for(&world, 500 * USEC_PER_MSEC);
        struct world_node *keeper = keeper_of(node(0));
        struct world_node *runs = node(1)->executor.n_running > 0 ? node(1) : node(2);
        if (keeper == runs) /* then there is no third */
                keeper = third(runs);
        world_detach(runs);
        world_run_for(&world, 5 * USEC_PER_SEC);
        lose(node(0));
        lose(keeper);
        world_attach(runs);
        WORLD_UNTIL(&world, 12 * USEC_PER_MINUTE, world_end(runs, &id) == JOB_COMPLETED);
        ASSERT_EQ(runs->executor.n_starts, 1u);
        world_done(&world);
}

static void test_both_sides_of_a_cut(void) {
        struct uuid ids[4];
        size_t moved;

        begin_nodes(3, 2);
        ASSERT_EQ(world_submit_batch(node(0), "90000 0", 4, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 2 * USEC_PER_SEC);
        world_detach(node(0));
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_GT(n_starts(), 4u); /* each side runs what it has to */
        world_attach(node(0));
        world_run_for(&world, 10 * USEC_PER_MINUTE);
        world.any_split = true;
        ASSERT_GE(count_ends(ids, 4, JOB_COMPLETED), 4u);
        moved = node(0)->n_moved;
        ASSERT_GT(moved, 0u);
        world_check_indexes(&world);
        world_done(&world);
}

static void test_answer_with_a_run_that_cannot_be(void) {
        struct link_held held = { .state = LINK_HELD_RUNNING };
        struct link_message message = { .claim_answer = { .held = &held, .n_held = 1 } };
        struct world_node *keeper;
        struct uuid id;

        begin_nodes(3, 1);
        set_slots(0);
        ASSERT_EQ(world_submit(node(0), "10", &id), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        keeper = keeper_of(node(0));
        mesh_say_goodbye(node(0)->mesh);
        lose(node(0));
        held.run = (struct run_id){ .job = id, .epoch = LINK_EPOCH_MAX, .attempt = 1 };
        message.claim_answer.owner = "node-a";
        message.claim_answer.term = 1;
        world_run_for(&world, USEC_PER_MSEC); /* the claim has begun, and nobody has answered */
        mesh_link_received(keeper->mesh, keeper == node(1) ? "node-c" : "node-b", &message);
        world_run_for(&world, 3 * USEC_PER_SEC);
        mesh_set_slots(keeper->mesh, 1);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(&id, 1, JOB_COMPLETED) == 1);
        ASSERT_LT(disk_find(keeper, &id)->run.epoch, LINK_EPOCH_MAX);
        world_done(&world);
}

static void end_during_takeover(bool takeover_fails) {
        struct uuid id;

        begin_with_guest("20000", &(const struct world_wishes){}, &id);
        mesh_say_goodbye(node(0)->mesh);
        lose(node(0));
        world_run_for(&world, USEC_PER_SEC);
        disk_set_mode(node(1), DISK_HOLDS);
        WORLD_UNTIL(&world, 25 * USEC_PER_SEC, node(1)->executor.n_running == 0);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        if (takeover_fails) {
                disk_set_mode(node(1), DISK_FAILS);
                world_run_for(&world, USEC_PER_SEC);
        }
        disk_set_mode(node(1), DISK_WORKS);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_end(node(1), &id) == JOB_COMPLETED);
        ASSERT_EQ(n_starts(), 1u);
        world_done(&world);
}

static void test_run_ends_during_the_takeover(void) {
        end_during_takeover(/* takeover_fails= */ false);
        end_during_takeover(/* takeover_fails= */ true);
}

/* The end is nowhere else any more: neither the executor nor the owner has it. */
static void test_ended_run_outlives_the_takeover(void) {
        const struct world_wishes wishes = { .rules.loss_is_failure = true };
        struct uuid id;

        begin_with_guest("2000", &wishes, &id);
        lose(node(0));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, disk_find(node(1), &id) != NULL);
        ASSERT_EQ(n_starts(), 1u);
        world_crash(node(1));
        world_start(node(1));
        WORLD_UNTIL(&world, 20 * USEC_PER_MINUTE, world_end(node(1), &id) == JOB_COMPLETED);
        ASSERT_EQ(n_starts(), 1u);
        WORLD_UNTIL(&world, 20 * USEC_PER_MINUTE, map_size(&node(1)->disk.guests) == 0);
        world_done(&world);
}

/* It is replaced, and the owner is lost before the next one has everything. */
static void test_owner_is_lost_between_two_keepers(void) {
        struct world_node *slow, *next;
        struct uuid ids[40];

        begin_nodes(3, 1);
        set_slots(0);
        ASSERT_EQ(world_submit_batch(node(0), "10", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(answer_copies(node(0), ids), 2u);
        slow = keeper_of(node(0));
        next = third(slow);
        disk_set_mode(slow, DISK_HOLDS);
        mesh_cancel(node(0)->mesh, &ids[0]);
        world_run_for(&world, 90 * USEC_PER_MSEC);
        world.queue_max = 1000;
        WORLD_UNTIL(&world, 50 * USEC_PER_MSEC, n_unfinished_copies(next) > 0);
        lose(node(0));
        world.queue_max = 0;
        disk_set_mode(slow, DISK_WORKS);
        ASSERT_LT(n_unfinished_copies(next), ELEMENTSOF(ids) / 2);
        set_slots(1);
        world.any_split = true;
        world_run_for(&world, 2 * USEC_PER_MINUTE);
        for (size_t i = 1; i < ELEMENTSOF(ids); i++)
                ASSERT_GE(count_ends(&ids[i], 1, JOB_COMPLETED), 1u);
        ASSERT_EQ(n_unfinished_copies(slow) + n_unfinished_copies(next), 0u);
        world_done(&world);
}

/* What was handed back does not say whether the owner had begun it elsewhere before it was lost. */
static void test_handed_back_is_not_begun_by_the_keeper(void) {
        const struct world_wishes wishes = { .rules.loss_is_failure = true };
        struct world_node *keeper, *runs;
        struct uuid id;

        begin_apart(&keeper, &runs);
        runs->executor.slots = 0;
        ASSERT_EQ(world_submit_wishes(node(0), "10", 1, &wishes, &id, &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, executor_find(runs, &id) != NULL);
        WORLD_UNTIL(&world, USEC_PER_SEC, answer_copies(node(0), &id) == 2);
        lose(node(0));
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, executor_n_runs(runs) == 0);
        runs->executor.slots = 1;
        mesh_set_slots(keeper->mesh, 1);
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, world_end(keeper, &id) == JOB_FAILED);
        ASSERT_EQ(n_starts(), 0u);
        world_done(&world);
}

/* Nor is it tried again: its owner may have done so. */
static void test_keeper_does_not_retry(void) {
        const struct world_wishes wishes = { .rules = { .loss_is_failure = true, .retries = 2 } };
        struct uuid id;

        begin_with_guest("2000 1", &wishes, &id);
        lose(node(0));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(node(1), &id) == JOB_FAILED);
        ASSERT_EQ(n_starts(), 1u);
        world_done(&world);
}

/* The keeper's own keeper has nothing of a takeover that came to nothing. */
static void test_failed_takeover_leaves_no_copy(void) {
        struct world_node *owner, *keeper, *next;
        struct uuid id;

        begin_nodes(4, 0);
        owner = first_of_three();
        keeper = holder_of(owner);
        next = holder_of(keeper);
        ASSERT_EQ(world_submit(owner, "10", &id), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(owner);
        world_run_for(&world, 30 * USEC_PER_SEC);
        disk_set_mode(keeper, DISK_HOLDS);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, n_copies_of(next, keeper) == 1);
        disk_set_mode(keeper, DISK_FAILS);
        world_run_for(&world, 10 * USEC_PER_MSEC);
        world_start(owner);
        world_run_for(&world, 2 * USEC_PER_SEC);
        disk_set_mode(keeper, DISK_WORKS);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_EQ(disk_status(owner, &id), JOB_PENDING);
        ASSERT_TRUE(disk_find(keeper, &id) == NULL);
        ASSERT_EQ(n_copies_of(next, keeper), 0u);
        world_done(&world);
}

int main(void) {
        RUN(test_owner_is_lost);
        RUN(test_owner_comes_back);
        RUN(test_owner_restarts);
        RUN(test_owner_restarts_alone);
        RUN(test_leaving_hands_over_at_once);
        RUN(test_owner_and_executor_are_lost);
        RUN(test_orphans_are_adopted);
        RUN(test_both_sides_of_a_cut);
        RUN(test_answer_with_a_run_that_cannot_be);
        RUN(test_run_ends_during_the_takeover);
        RUN(test_ended_run_outlives_the_takeover);
        RUN(test_owner_is_lost_between_two_keepers);
        RUN(test_handed_back_is_not_begun_by_the_keeper);
        RUN(test_keeper_does_not_retry);
        RUN(test_failed_takeover_leaves_no_copy);
        return 0;
}
