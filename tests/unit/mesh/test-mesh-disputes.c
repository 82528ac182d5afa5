/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two owners told different ends of one job, and the one whose end counts is gone, or never met the other:
 * whoever heard it says so to the other. */

#include "lib/mesh-world.h"
#include "wire/link-message.h"

/* Who is gone is lost, and the next heartbeat of whoever is told has come. */
#define TOLD_USEC (20 * USEC_PER_SEC)

static struct world world;

static struct world_node *node(size_t i) {
        return world.nodes[i];
}

/* node-a, which nobody but node-c hears; node-b; node-c, which hears all; and node-d. */
static void begin_with_links(usec_t idle_usec) {
        world_init(&world, 5);
        world.idle_usec = idle_usec;
        for (size_t i = 0; i < 4; i++)
                world_add(&world, (const char *[]){ "node-a", "node-b", "node-c", "node-d" }[i], 1);
        for (size_t i = 1; i < 4; i += 2) {
                world_set_deaf(node(i), node(0), true);
                world_set_deaf(node(0), node(i), true);
        }
        for (size_t i = 0; i < 4; i++)
                world_start(node(i));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(node(2)) == 3);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(world_n_peers(node(0)), 1u);
        ASSERT_EQ(world_n_peers(node(1)), 2u);
        world.any_split = true;
}

static void begin(void) {
        begin_with_links(/* idle_usec= */ 0);
}

static void tell(struct world_node *owner, const struct uuid *id, enum job_status status, uint64_t epoch) {
        const struct mesh_index_item item = {
                .id = *id,
                .status = status,
                .created_at = world_realtime(&world) - USEC_PER_SEC,
                .finished_at = world_realtime(&world),
                .epoch = epoch,
        };

        ASSERT_OK(mesh_index_restore(owner->mesh, &item, 1));
}

static bool all_say(const struct uuid *id, enum job_status status) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (node(i)->mesh && world_index_status(node(i), id) != status)
                        return false;
        return true;
}

/* It tells node-c that the job is completed, and is gone for ever. */
static void tell_and_burn_down(const struct uuid *ids, size_t n) {
        for (size_t i = 0; i < n; i++)
                tell(node(0), &ids[i], JOB_COMPLETED, 1);
        for (size_t i = 0; i < n; i++)
                WORLD_UNTIL(
                        &world, 10 * USEC_PER_SEC, world_index_status(node(2), &ids[i]) == JOB_COMPLETED);
        ASSERT_NE(world_index_status(node(1), &ids[0]), JOB_COMPLETED);
        world_destroy(node(0));
}

static size_t count_said(const struct world_node *asked, const struct uuid *ids, size_t n) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                found += world_index_status((struct world_node *) asked, &ids[i]) == JOB_COMPLETED;
        return found;
}

static void name_jobs(struct uuid *ret, size_t n) {
        for (size_t i = 0; i < n; i++)
                ret[i] = (struct uuid){ { 1, (uint8_t) i, (uint8_t) (i >> 8) } };
}

/* The end is changed on the disk of who told the other one, too. */
static void test_told_with_the_next_heartbeat(void) {
        struct uuid id;

        begin();
        ASSERT_EQ(
                world_submit_wishes(
                        node(1), "10000 3", 1, &(const struct world_wishes){ .target = "node-b" }, &id, &id),
                MESH_ACCEPTED);
        WORLD_UNTIL(&world, 5 * USEC_PER_SEC, node(1)->executor.n_running == 1);
        tell(node(0), &id, JOB_COMPLETED, 1);
        WORLD_UNTIL(&world, 5 * USEC_PER_SEC, world_index_status(node(2), &id) == JOB_COMPLETED);
        world_destroy(node(0));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_end(node(1), &id) == JOB_FAILED);
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, world_index_status(node(3), &id) == JOB_FAILED);
        ASSERT_EQ(world_index_status(node(1), &id), JOB_FAILED);
        WORLD_UNTIL(&world, TOLD_USEC, all_say(&id, JOB_COMPLETED));
        WORLD_UNTIL(&world, USEC_PER_SEC, disk_status(node(1), &id) == JOB_COMPLETED);
        ASSERT_NOT_NULL(strstr(node(1)->notice, "on node-a as"));

        world_crash(node(2));
        world_crash(node(1));
        world_start(node(1));
        world_start(node(2));
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_TRUE(all_say(&id, JOB_COMPLETED));
        world_done(&world);
}

/* While what is said to it does not come. */
static void test_told_again_after_the_link_broke(void) {
        const struct uuid id = { { 1 } };
        uint64_t sent;

        begin();
        tell_and_burn_down(&id, 1);
        tell(node(1), &id, JOB_FAILED, 2);
        WORLD_UNTIL(&world, 2 * TOLD_USEC, links_are_up(node(2), node(1)));
        world_run_for(&world, 500 * USEC_PER_MSEC);
        world_set_deaf(node(1), node(2), true);
        sent = node(2)->n_frames;
        world_run_for(&world, TOLD_USEC);
        ASSERT_GT(node(2)->n_frames, sent);
        ASSERT_EQ(world_index_status(node(1), &id), JOB_FAILED);
        world_break_link(node(1), node(2));
        world_set_deaf(node(1), node(2), false);
        world_run_for(&world, 10 * USEC_PER_MSEC);
        ASSERT_EQ(world_index_status(node(1), &id), JOB_FAILED);
        WORLD_UNTIL(&world, 2 * TOLD_USEC, all_say(&id, JOB_COMPLETED));
        world_done(&world);
}

/* The link was closed for want of words when the other end became known. */
static void test_a_link_is_opened_for_it(void) {
        const struct uuid id = { { 1 } };

        begin_with_links(8 * USEC_PER_SEC);
        tell(node(1), &id, JOB_FAILED, 2);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_index_status(node(2), &id) == JOB_FAILED);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, !links_are_up(node(1), node(2)));
        tell_and_burn_down(&id, 1);
        ASSERT_FALSE(links_are_up(node(1), node(2)));
        WORLD_UNTIL(&world, 3 * TOLD_USEC, world_index_status(node(1), &id) == JOB_COMPLETED);
        world_done(&world);
}

static void
overrule(struct world_node *told, const struct uuid *id, enum job_status status, const char *owner) {
        struct link_overruled overruled = { .job = *id, .epoch = 1, .status = status, .owner = owner };
        const struct link_message message = { .n_overruled = 1, .overruled = &overruled };

        ASSERT_TRUE(links_are_up(told, node(2)));
        mesh_link_received(told->mesh, "node-c", &message);
        world_run_for(&world, 2 * USEC_PER_SEC);
}

static void test_without_an_end_it_is_ignored(void) {
        const struct uuid unknown = { { 1 } };
        struct uuid id;

        begin();
        ASSERT_EQ(world_submit(node(1), "20000", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 5 * USEC_PER_SEC, world_index_status(node(2), &id) == JOB_RUNNING);
        overrule(node(1), &unknown, JOB_COMPLETED, "node-a");
        overrule(node(1), &id, JOB_CANCELLED, "node-a");
        ASSERT_EQ(world_index_status(node(1), &unknown), JOB_UNKNOWN);
        ASSERT_EQ(world_index_status(node(1), &id), JOB_RUNNING);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, world_end(node(1), &id) == JOB_COMPLETED);
        world_done(&world);
}

/* Neither of the gone owner, nor of oneself: others cannot know better. */
static void test_the_own_word_of_an_owner_stays(void) {
        const struct uuid id = { { 1 } };
        size_t n_notices;

        begin();
        tell(node(2), &id, JOB_FAILED, 1);
        tell(node(1), &id, JOB_FAILED, 2);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, all_say(&id, JOB_FAILED) && links_are_up(node(1), node(2)));
        world_run_for(&world, USEC_PER_SEC);
        n_notices = node(1)->n_notices;
        overrule(node(1), &id, JOB_COMPLETED, "node-c");
        overrule(node(1), &id, JOB_COMPLETED, "node-b");
        ASSERT_TRUE(all_say(&id, JOB_FAILED));
        ASSERT_EQ(node(1)->n_notices, n_notices);
        /* Of who never spoke, what is said counts; and an end that is worth less changes nothing. */
        overrule(node(1), &id, JOB_TIMEOUT, "node-d");
        ASSERT_TRUE(all_say(&id, JOB_FAILED));
        overrule(node(1), &id, JOB_COMPLETED, "node-x");
        ASSERT_EQ(world_index_status(node(1), &id), JOB_COMPLETED);
        ASSERT_EQ(node(1)->n_notices, n_notices + 1);
        world_done(&world);
}

/* Also where the link has no room for all of it: the rest goes with a heartbeat to come. */
static void tell_many(size_t queue_max) {
        struct uuid ids[2 * LINK_OVERRULED_MAX + 100];

        begin();
        name_jobs(ids, ELEMENTSOF(ids));
        tell_and_burn_down(ids, ELEMENTSOF(ids));
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                tell(node(1), &ids[i], JOB_FAILED, 2);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                WORLD_UNTIL(&world, 2 * USEC_PER_SEC, world_index_status(node(3), &ids[i]) == JOB_FAILED);
        WORLD_UNTIL(&world, 2 * TOLD_USEC, links_are_up(node(2), node(1)));
        world_run_for(&world, 500 * USEC_PER_MSEC);
        ASSERT_EQ(count_said(node(1), ids, ELEMENTSOF(ids)), 0u);
        world.queue_max = queue_max;
        WORLD_UNTIL(&world, TOLD_USEC, count_said(node(1), ids, ELEMENTSOF(ids)) > 0);
        world_run_for(&world, 10 * USEC_PER_MSEC);
        ASSERT_EQ(
                count_said(node(1), ids, ELEMENTSOF(ids)), queue_max ? LINK_OVERRULED_MAX : ELEMENTSOF(ids));
        WORLD_UNTIL(&world, 4 * TOLD_USEC, count_said(node(1), ids, ELEMENTSOF(ids)) == ELEMENTSOF(ids));
        if (queue_max == 0)
                WORLD_UNTIL(&world, TOLD_USEC, count_said(node(3), ids, ELEMENTSOF(ids)) == ELEMENTSOF(ids));
        world_done(&world);
}

static void test_many(void) {
        tell_many(0);
        tell_many(16000);
}

int main(void) {
        RUN(test_told_with_the_next_heartbeat);
        RUN(test_told_again_after_the_link_broke);
        RUN(test_a_link_is_opened_for_it);
        RUN(test_without_an_end_it_is_ignored);
        RUN(test_the_own_word_of_an_owner_stays);
        RUN(test_many);
        return EXIT_SUCCESS;
}
