/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Attempts that are given up: what is remembered of them, and what comes of their late ends. */

#include "lib/mesh-world.h"

static struct world world;
static struct world_node *owner, *other, *third;

/* The owner has no slots; the other gets what is submitted first. */
static void begin(unsigned third_slots) {
        world_init(&world, 11);
        owner = world_add(&world, "node-a", 0);
        other = world_add(&world, "node-b", 1);
        third = world_add(&world, "node-c", third_slots);
        for (size_t i = 0; i < world.n_nodes; i++)
                world_start(world.nodes[i]);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(owner) == 2);
        world_run_for(&world, USEC_PER_SEC);
}

static const struct disk_attempt *kept(const struct uuid *id, uint32_t attempt) {
        return disk_find_attempt(owner, &(struct run_id){ .job = *id, .epoch = 1, .attempt = attempt });
}

static bool is_running(struct world_node *node, const struct uuid *id) {
        const struct world_run *run = executor_find(node, id);

        return run && run->state == WORLD_RUN_RUNNING;
}

/* A job that runs on the other node, whose cable is then out until it is lost; the job goes on. */
static void submit_and_lose(const char *command, struct uuid *ret_id) {
        ASSERT_EQ(world_submit(owner, command, ret_id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, is_running(other, ret_id));
        WORLD_UNTIL(&world, USEC_PER_SEC, disk_status(owner, ret_id) == JOB_RUNNING);
        world_detach(other);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, disk_status(owner, ret_id) == JOB_PENDING);
}

static void check_forgotten(void) {
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, map_size(&other->disk.guests) == 0);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, executor_n_runs(other) == 0);
}

static void test_lost_with_its_node(void) {
        const struct disk_attempt *attempt;
        struct uuid id;

        begin(0);
        submit_and_lose("forever", &id);
        attempt = kept(&id, 1);
        ASSERT_NOT_NULL(attempt);
        ASSERT_EQ(attempt->fate, ATTEMPT_LOST);
        ASSERT_STREQ(attempt->node, "node-b");
        ASSERT_GT(attempt->started_at, 0u);
        ASSERT_NULL(attempt->result);
        world_done(&world);
}

/* The node is back, and is told that its run was given up: that ends it, and is kept. The job is elsewhere.
 */
static void test_given_up_is_killed_and_kept(void) {
        struct uuid id;

        begin(0);
        submit_and_lose("60000 5", &id);
        mesh_set_slots(third->mesh, 1);
        third->executor.slots = 1;
        WORLD_UNTIL(&world, USEC_PER_MINUTE, is_running(third, &id));
        world_attach(other);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, kept(&id, 1) && kept(&id, 1)->result);
        ASSERT_EQ(kept(&id, 1)->result->outcome, RUN_KILLED);
        ASSERT_TRUE(is_running(third, &id));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(owner, &id) == JOB_FAILED);
        ASSERT_EQ(disk_find(owner, &id)->result->exit_code, 5);
        ASSERT_EQ(disk_find(owner, &id)->run.attempt, 2u);
        ASSERT_NULL(kept(&id, 2));
        check_forgotten();
        world_done(&world);
}

/* It had ended before it could be told: its own end is kept, and is not the job's. */
static void test_a_late_end_changes_nothing(void) {
        struct uuid id;

        begin(0);
        submit_and_lose("20000 5", &id);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_EQ(executor_n_runs(other), 0u);
        ASSERT_EQ(map_size(&other->disk.guests), 1u);
        ASSERT_GT(mesh_cancel(owner->mesh, &id), 0);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(owner, &id) == JOB_CANCELLED);
        world_attach(other);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, kept(&id, 1) && kept(&id, 1)->result);
        ASSERT_EQ(kept(&id, 1)->fate, ATTEMPT_LOST);
        ASSERT_EQ(kept(&id, 1)->result->outcome, RUN_EXITED);
        ASSERT_EQ(kept(&id, 1)->result->exit_code, 5);
        ASSERT_EQ(disk_status(owner, &id), JOB_CANCELLED);
        check_forgotten();
        world_done(&world);
}

/* Durable first: who has the end keeps it as long as our disk does not take it. */
static void test_full_disk(void) {
        struct uuid id;

        begin(0);
        submit_and_lose("20000 5", &id);
        world_run_for(&world, 20 * USEC_PER_SEC);
        disk_set_mode(owner, DISK_FAILS);
        world_attach(other);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_EQ(map_size(&other->disk.guests), 1u);
        ASSERT_NULL(kept(&id, 1)->result);
        disk_set_mode(owner, DISK_WORKS);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, kept(&id, 1)->result);
        check_forgotten();
        world_done(&world);
}

/* It is remembered even where the disk could not take that when the attempt was given up, and the job has
 * gone on since. */
static void test_full_disk_when_it_is_lost(void) {
        struct uuid id;

        begin(1);
        ASSERT_EQ(world_submit(owner, "20000 5", &id), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, is_running(other, &id) || is_running(third, &id));
        struct world_node *first = is_running(other, &id) ? other : third;
        disk_set_mode(owner, DISK_FAILS);
        world_detach(first);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_NULL(kept(&id, 1));
        disk_set_mode(owner, DISK_WORKS);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(owner, &id) == JOB_FAILED);
        ASSERT_EQ(disk_find(owner, &id)->run.attempt > 1, true);
        ASSERT_NOT_NULL(kept(&id, 1));
        ASSERT_STREQ(kept(&id, 1)->node, first->config.node_id);
        world_done(&world);
}

/* What was only handed back never began, and is not worth a word. */
static void test_handed_back_is_no_attempt(void) {
        struct uuid ids[6];
        size_t n = 0;

        begin(1);
        ASSERT_EQ(world_submit_batch(owner, "300", 6, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, executor_n_runs(other) > 0);
        mesh_drain(other->mesh, MESH_DRAIN_STOP);
        for (size_t i = 0; i < 6; i++)
                WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(owner, &ids[i]) == JOB_COMPLETED);
        for (size_t i = 0; i < 6; i++)
                n += list_is_empty(&disk_find(owner, &ids[i])->attempts);
        ASSERT_EQ(n, 6u);
        world_done(&world);
}

/* An executor that ended may have begun what it had. */
static void test_executor_is_lost(void) {
        struct uuid id;

        world_init(&world, 3);
        owner = world_add(&world, "node-a", 1);
        world_start(owner);
        world_run_for(&world, USEC_PER_SEC);
        owner->executor.loses_starts = true;
        ASSERT_EQ(world_submit(owner, "100", &id), MESH_ACCEPTED);
        world_run_for(&world, USEC_PER_SEC);
        owner->executor.loses_starts = false;
        executor_crash(owner);
        executor_connect(owner);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(owner, &id) == JOB_COMPLETED);
        ASSERT_NOT_NULL(kept(&id, 1));
        ASSERT_EQ(kept(&id, 1)->fate, ATTEMPT_EXECUTOR_LOST);
        ASSERT_EQ(kept(&id, 1)->started_at, 0u);
        ASSERT_STREQ(kept(&id, 1)->node, "node-a");
        world_done(&world);
}

#define N_ENDS 4096u /* as many as one message may have, and as are written at once */

/* A peer that tells of more late ends than there may be on the way to the disk is asked again later. */
static void test_late_ends_are_bounded(void) {
        struct link_ended *ended = calloc(N_ENDS, sizeof(*ended));
        struct link_message message = { .n_ended = N_ENDS, .ended = ended };
        size_t n_held = 0;

        ASSERT_NOT_NULL(ended);
        begin(0);
        world_run_for(&world, USEC_PER_SEC);
        links_open(owner, "node-b");
        WORLD_UNTIL(&world, USEC_PER_SEC, links_are_up(owner, other) && links_are_up(other, owner));
        for (size_t i = 0; i < N_ENDS; i++) {
                world_random(&world, &ended[i].run.job, sizeof(ended[i].run.job));
                ended[i].run.epoch = ended[i].run.attempt = 1;
                ended[i].started_at = ended[i].finished_at = world_realtime(&world);
        }
        disk_set_mode(owner, DISK_HOLDS);
        mesh_link_received(owner->mesh, "node-b", &message);
        mesh_link_received(owner->mesh, "node-b", &message);
        struct record_batch *batch;
        LIST_FOREACH(&owner->disk.batches, batch, struct record_batch, link)
                n_held += batch->records[0].type == RECORD_ATTEMPT;
        ASSERT_EQ(n_held, N_ENDS);
        ASSERT_TRUE(links_are_up(owner, other));
        disk_set_mode(owner, DISK_WORKS);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, !links_are_up(owner, other));
        world_done(&world);
        free(ended);
}

int main(void) {
        RUN(test_lost_with_its_node);
        RUN(test_given_up_is_killed_and_kept);
        RUN(test_a_late_end_changes_nothing);
        RUN(test_full_disk);
        RUN(test_full_disk_when_it_is_lost);
        RUN(test_handed_back_is_no_attempt);
        RUN(test_executor_is_lost);
        RUN(test_late_ends_are_bounded);
        return 0;
}
