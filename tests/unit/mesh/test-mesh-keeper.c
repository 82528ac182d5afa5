/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that are on two disks, and outlive the node that accepted them. */

#include "lib/mesh-world.h"

static struct world world;

static struct world_node *node(size_t i) {
        return world.nodes[i];
}

static void begin(size_t n_nodes, unsigned slots) {
        static const char *const names[] = { "node-a", "node-b", "node-c", "node-d" };

        world_init(&world, 11);
        for (size_t i = 0; i < n_nodes; i++)
                world_add(&world, names[i], slots);
        for (size_t i = 0; i < n_nodes; i++)
                world_start(node(i));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(node(0)) == n_nodes - 1);
        world_run_for(&world, 2 * USEC_PER_SEC);
}

static unsigned answer_copies(struct world_node *asked, const void *tag) {
        for (size_t i = 0; i < asked->n_answers; i++)
                if (asked->answers[i].tag == tag)
                        return asked->answers[i].copies;
        return 0;
}

/* The node that has copies of this one's jobs. */
static struct world_node *keeper_of(const struct world_node *owner) {
        struct disk_copy *copy;

        for (size_t i = 0; i < world.n_nodes; i++)
                MAP_FOREACH(&node(i)->disk.copies, copy, struct disk_copy, by_id)
                        if (streq(copy->owner, owner->config.node_id) && !copy->ended)
                                return node(i);
        return NULL;
}

static size_t n_unfinished_copies(const struct world_node *holder) {
        struct disk_copy *copy;
        size_t n = 0;

        MAP_FOREACH(&((struct world_node *) holder)->disk.copies, copy, struct disk_copy, by_id)
                n += !copy->ended;
        return n;
}

static size_t n_starts(void) {
        size_t n = 0;

        for (size_t i = 0; i < world.n_nodes; i++)
                n += node(i)->executor.n_starts;
        return n;
}

static size_t count_ends(const struct uuid *ids, size_t n, enum job_status status) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < world.n_nodes; j++)
                        found += world_end(node(j), &ids[i]) == status;
        return found;
}

/* As by the loss of the whole machine. */
static void lose(struct world_node *lost) {
        world_detach(lost);
        world_crash(lost);
        executor_crash(lost);
}

static void test_two_disks_before_the_answer(void) {
        struct uuid id;

        begin(2, 0);
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

static void test_slow_keeper_is_replaced(void) {
        struct uuid first, second;

        begin(3, 0);
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
        struct world_node *next = node(1) == slow ? node(2) : node(1);
        ASSERT_EQ(n_unfinished_copies(next), 2u);
        disk_set_mode(slow, DISK_WORKS);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, n_unfinished_copies(slow) == 0);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, map_size(&node(0)->disk.holders) == 1);
        world_done(&world);
}

/* It is there again, but has nothing any more: it gets everything once more. */
static void test_keeper_loses_its_disk(void) {
        struct uuid ids[5];
        uint64_t incarnation;

        begin(2, 0);
        ASSERT_EQ(world_submit_batch(node(0), "100", 5, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(n_unfinished_copies(node(1)), 5u);
        incarnation = node(1)->disk.incarnation;
        world_crash(node(1));
        disk_done(&node(1)->disk);
        memset(&node(1)->disk, 0, sizeof(node(1)->disk));
        disk_init(&node(1)->disk);
        node(1)->disk.incarnation = incarnation;
        world_start(node(1));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, n_unfinished_copies(node(1)) == 5);
        world_done(&world);
}

static void test_alone_there_is_one_copy(void) {
        struct uuid id;

        begin(1, 1);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node(0), &id) == JOB_COMPLETED);
        ASSERT_EQ(answer_copies(node(0), &id), 1u);
        world_done(&world);
}

static void test_ends_are_copied_before_they_are_told(void) {
        struct uuid id;

        begin(2, 1);
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

static void test_owner_is_lost(void) {
        struct uuid ids[30];

        begin(4, 2);
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

        begin(3, 1);
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

        begin(3, 1);
        for (size_t i = 0; i < 3; i++)
                mesh_set_slots(node(i)->mesh, 0);
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

        begin(3, 1);
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

        begin(3, 1);
        for (size_t i = 0; i < 3; i++)
                mesh_set_slots(node(i)->mesh, 0);
        ASSERT_EQ(world_submit_batch(node(0), "1000", 6, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        mesh_drain(node(0)->mesh, MESH_DRAIN_STOP);
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, mesh_is_idle(node(0)->mesh));
        mesh_say_goodbye(node(0)->mesh);
        world_run_for(&world, 10 * USEC_PER_MSEC);
        lose(node(0));
        mesh_set_slots(node(1)->mesh, 1);
        mesh_set_slots(node(2)->mesh, 1);
        WORLD_UNTIL(&world, 8 * USEC_PER_SEC, count_ends(ids, 6, JOB_COMPLETED) == 6);
        world_done(&world);
}

/* Who ran it is gone together with the owner. */
static void test_owner_and_executor_are_lost(void) {
        struct uuid ids[2];

        begin(4, 1);
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

        begin(3, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit(node(0), "1000", &id), MESH_ACCEPTED);
        world_run_for(&world, 500 * USEC_PER_MSEC);
        struct world_node *keeper = keeper_of(node(0));
        struct world_node *runs = node(1)->executor.n_running > 0 ? node(1) : node(2);
        if (keeper == runs) /* then there is no third */
                keeper = node(1) == runs ? node(2) : node(1);
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

        begin(3, 2);
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

static void test_owner_with_a_full_disk_keeps_nothing(void) {
        struct uuid id;

        begin(2, 0);
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

/* The node that would get copies of this one's jobs; the only one so far. */
static struct world_node *holder_of(struct world_node *owner) {
        struct disk_holder *holder;

        ASSERT_EQ(map_size(&owner->disk.holders), 1u);
        MAP_FOREACH(&owner->disk.holders, holder, struct disk_holder, by_id)
                for (size_t i = 0; i < world.n_nodes; i++)
                        if (streq(holder->node, node(i)->config.node_id))
                                return node(i);
        return NULL;
}

/* What else goes to the same node finds room beside many copies, and what found none is told again. */
static void test_copies_leave_room_on_the_link(void) {
        struct world_node *owner = NULL, *runs;
        struct uuid ids[1000], running[8];

        begin(4, ELEMENTSOF(running));
        world.queue_max = 20000;
        for (size_t i = 0; i < 4 && !owner; i++)
                if (holder_of(holder_of(node(i))) != node(i))
                        owner = node(i);
        ASSERT_NOT_NULL(owner);
        /* The copies of what the keeper takes over go where the job runs. */
        runs = holder_of(holder_of(owner));
        for (size_t i = 0; i < 4; i++)
                mesh_set_slots(node(i)->mesh, node(i) == runs ? ELEMENTSOF(running) : 0);
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

        begin(2, 0);
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

static void test_answer_with_a_run_that_cannot_be(void) {
        struct link_held held = { .state = LINK_HELD_RUNNING };
        struct link_message message = { .claim_answer = { .held = &held, .n_held = 1 } };
        struct world_node *keeper;
        struct uuid id;

        begin(3, 1);
        for (size_t i = 0; i < 3; i++)
                mesh_set_slots(node(i)->mesh, 0);
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

/* Of two nodes the second has the copy and the run of the first one's job. */
static void begin_with_guest(const char *command, const struct world_wishes *wishes, struct uuid *ret) {
        begin(2, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit_wishes(node(0), command, 1, wishes, ret, ret), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, node(1)->executor.n_running == 1);
        WORLD_UNTIL(&world, USEC_PER_SEC, answer_copies(node(0), ret) == 2);
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

/* The end that the executor keeps does not tell that it was wanted. */
static void test_cancel_is_on_two_disks(void) {
        struct world_node *keeper, *runs;
        struct uuid id;

        begin(3, 1);
        mesh_set_slots(node(0)->mesh, 0);
        keeper = holder_of(node(0));
        runs = keeper == node(1) ? node(2) : node(1);
        mesh_set_slots(keeper->mesh, 0);
        world_run_for(&world, 6 * USEC_PER_SEC);
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

        begin(2, 2);
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

/* It is replaced, and the owner is lost before the next one has everything. */
static void test_owner_is_lost_between_two_keepers(void) {
        struct world_node *slow, *next;
        struct uuid ids[40];

        begin(3, 1);
        for (size_t i = 0; i < 3; i++)
                mesh_set_slots(node(i)->mesh, 0);
        ASSERT_EQ(world_submit_batch(node(0), "10", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(answer_copies(node(0), ids), 2u);
        slow = keeper_of(node(0));
        next = slow == node(1) ? node(2) : node(1);
        disk_set_mode(slow, DISK_HOLDS);
        mesh_cancel(node(0)->mesh, &ids[0]);
        world_run_for(&world, 90 * USEC_PER_MSEC);
        world.queue_max = 1000;
        WORLD_UNTIL(&world, 50 * USEC_PER_MSEC, n_unfinished_copies(next) > 0);
        lose(node(0));
        world.queue_max = 0;
        disk_set_mode(slow, DISK_WORKS);
        ASSERT_LT(n_unfinished_copies(next), ELEMENTSOF(ids) / 2);
        mesh_set_slots(node(1)->mesh, 1);
        mesh_set_slots(node(2)->mesh, 1);
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

        begin(3, 1);
        mesh_set_slots(node(0)->mesh, 0);
        keeper = holder_of(node(0));
        runs = keeper == node(1) ? node(2) : node(1);
        mesh_set_slots(keeper->mesh, 0);
        runs->executor.slots = 0;
        world_run_for(&world, 6 * USEC_PER_SEC);
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

static size_t n_copies_of(struct world_node *holder, const struct world_node *owner) {
        struct disk_copy *copy;
        size_t n = 0;

        MAP_FOREACH(&holder->disk.copies, copy, struct disk_copy, by_id)
                n += !copy->ended && streq(copy->owner, owner->config.node_id);
        return n;
}

/* The keeper's own keeper has nothing of a takeover that came to nothing. */
static void test_failed_takeover_leaves_no_copy(void) {
        struct world_node *owner = NULL, *keeper, *next;
        struct uuid id;

        begin(4, 0);
        for (size_t i = 0; i < 4 && !owner; i++)
                if (holder_of(holder_of(node(i))) != node(i))
                        owner = node(i);
        ASSERT_NOT_NULL(owner);
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

/* Its database is gone, and it begins anew under its old name, with the same keeper. */
static void test_owner_forgets_everything(void) {
        struct uuid ids[5], next;
        uint64_t incarnation;

        begin(2, 1);
        for (size_t i = 0; i < 2; i++)
                mesh_set_slots(node(i)->mesh, 0);
        ASSERT_EQ(world_submit_batch(node(0), "100", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(answer_copies(node(0), ids), 2u);
        incarnation = node(0)->disk.incarnation;
        world_crash(node(0));
        disk_done(&node(0)->disk);
        node(0)->disk = (struct world_disk){ .incarnation = incarnation };
        disk_init(&node(0)->disk);
        world_start(node(0));
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
        RUN(test_keeper_loses_its_disk);
        RUN(test_alone_there_is_one_copy);
        RUN(test_ends_are_copied_before_they_are_told);
        RUN(test_owner_is_lost);
        RUN(test_owner_comes_back);
        RUN(test_owner_restarts);
        RUN(test_owner_restarts_alone);
        RUN(test_leaving_hands_over_at_once);
        RUN(test_owner_and_executor_are_lost);
        RUN(test_orphans_are_adopted);
        RUN(test_both_sides_of_a_cut);
        RUN(test_owner_with_a_full_disk_keeps_nothing);
        RUN(test_copies_leave_room_on_the_link);
        RUN(test_few_copies_are_on_the_way_at_once);
        RUN(test_answer_with_a_run_that_cannot_be);
        RUN(test_run_ends_during_the_takeover);
        RUN(test_ended_run_outlives_the_takeover);
        RUN(test_cancel_is_on_two_disks);
        RUN(test_copies_of_a_slow_keeper_count);
        RUN(test_owner_is_lost_between_two_keepers);
        RUN(test_handed_back_is_not_begun_by_the_keeper);
        RUN(test_keeper_does_not_retry);
        RUN(test_failed_takeover_leaves_no_copy);
        RUN(test_owner_forgets_everything);
        return 0;
}
