/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a keeper still knows after a restart: how jobs of others ended, and of which owners it had
 * everything. An owner whose disk did not have an end does not believe its keeper's. */

#include "keeping.h"

static struct world_node *heir, *other;

/* The first node owns, and can be told by nobody but itself to run what it has. */
static void begin(unsigned slots) {
        begin_nodes(3, slots);
        heir = holder_of(node(0));
        other = third(heir);
        for (size_t i = 1; i < 3; i++)
                mesh_set_slots(node(i)->mesh, 0);
        world_run_for(&world, 6 * USEC_PER_SEC);
        world.any_split = true;
}

static void restart(struct world_node *again) {
        world_crash(again);
        world_start(again);
}

static void set_slots_for_ever(struct world_node *of, unsigned slots) {
        of->config.slots = of->executor.slots = slots;
        mesh_set_slots(of->mesh, slots);
}

/* Its keeper was told first, and it was killed, with the run, before its own disk had the end. */
static void test_an_end_that_its_owner_lost_was_none(void) {
        struct uuid id;

        begin(1);
        ASSERT_EQ(world_submit(node(0), "1000", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, node(0)->executor.n_running == 1);
        world_run_for(&world, 500 * USEC_PER_MSEC);
        disk_set_mode(node(0), DISK_HOLDS);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_index_status(heir, &id) == JOB_COMPLETED);
        lose(node(0));
        node(0)->config.slots = 0;
        disk_set_mode(node(0), DISK_WORKS);
        world_attach(node(0));
        world_start(node(0));
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_index_status(other, &id) == JOB_PENDING);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_index_status(heir, &id) == JOB_PENDING);
        world_done(&world);
}

/* The owner told its keeper alone, which restarts before it can speak for it. */
static void test_ends_are_told_after_a_restart_of_the_keeper(void) {
        struct uuid id;

        begin(1);
        world_pause(other);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node(0), &id) == JOB_COMPLETED);
        lose(node(0));
        restart(heir);
        world_resume(other);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_index_status(heir, &id) == JOB_COMPLETED);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_index_status(other, &id) == JOB_COMPLETED);
        world_done(&world);
}

/* The first keeper was away while the jobs ended; the second one, which knows, was restarted since. */
static void lose_keepers_in_turn(struct uuid *ids, size_t n) {
        begin(0);
        ASSERT_EQ(world_submit_batch(node(0), "100", n, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, answer_copies(node(0), ids) == 2);
        lose(heir);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, n_unfinished_copies(other) == n);
        set_slots_for_ever(node(0), 1);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, count_ends(ids, n, JOB_COMPLETED) == n);
        ASSERT_EQ(n_unfinished_copies(other), 0u);
}

static void test_a_keeper_knows_that_it_had_everything(void) {
        struct uuid ids[3];

        lose_keepers_in_turn(ids, ELEMENTSOF(ids));
        lose(node(0));
        restart(other);
        world_run_for(&world, USEC_PER_MINUTE);
        restart(other);
        world_attach(heir);
        world_start(heir);
        set_slots(1);
        world_run_for(&world, 2 * USEC_PER_MINUTE);
        ASSERT_EQ(n_unfinished_copies(heir), 0u);
        ASSERT_EQ(n_starts(), ELEMENTSOF(ids));
        world_done(&world);
}

/* Its terms began anew with its disk: what a keeper knows from before says nothing against its next one. */
static void test_a_keeper_of_another_disk_has_no_say(void) {
        struct uuid before[3], id;

        lose_keepers_in_turn(before, ELEMENTSOF(before));
        lose_disk(node(0));
        world_detach(other);
        world_attach(heir);
        world_start(heir);
        mesh_set_slots(node(0)->mesh, 0);
        mesh_set_slots(heir->mesh, 0);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, !disk_find(node(0), before));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, map_size(&node(0)->disk.holders) == 1);
        ASSERT_TRUE(holder_of(node(0)) == heir);
        ASSERT_EQ(world_submit(node(0), "100", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, answer_copies(node(0), &id) == 2);
        world_attach(other);
        WORLD_UNTIL(
                &world, 10 * USEC_PER_SEC,
                world_peer(other, node(0)->config.node_id)->instance == node(0)->config.instance);
        lose(node(0));
        set_slots_for_ever(heir, 1);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, count_ends(&id, 1, JOB_COMPLETED) == 1);
        world_done(&world);
}

int main(void) {
        RUN(test_an_end_that_its_owner_lost_was_none);
        RUN(test_ends_are_told_after_a_restart_of_the_keeper);
        RUN(test_a_keeper_knows_that_it_had_everything);
        RUN(test_a_keeper_of_another_disk_has_no_say);
        return 0;
}
