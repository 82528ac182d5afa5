/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A drain that somebody asked for: its limit, and what a restart knows of it. */

#include "lib/mesh-world.h"

#define LIMIT_USEC (5 * USEC_PER_SEC)
#define UID 1000

static struct world world;
static struct world_node *a, *b;

static void begin(unsigned slots_a, unsigned slots_b) {
        world_init(&world, 21);
        a = world_add(&world, "node-a", slots_a);
        b = world_add(&world, "node-b", slots_b);
        world_start(a);
        world_start(b);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(a) == 1 && world_n_peers(b) == 1);
        world_run_for(&world, USEC_PER_SEC);
}

static bool is_running(struct world_node *node, const struct uuid *id) {
        const struct world_run *run = executor_find(node, id);

        return run && run->state == WORLD_RUN_RUNNING;
}

static void
submit(struct world_node *owner, const char *command, const struct world_wishes *wishes, struct uuid *ret) {
        static const struct world_wishes none = {};

        ASSERT_EQ(world_submit_wishes(owner, command, 1, wishes ? wishes : &none, ret, ret), MESH_ACCEPTED);
}

static const struct disk_attempt *attempt_of(struct world_node *owner, const struct uuid *id, uint32_t n) {
        return disk_find_attempt(owner, &(struct run_id){ .job = *id, .epoch = 1, .attempt = n });
}

static const struct mesh_drain *drain_of(struct world_node *node) {
        return world_state(node).drain;
}

static void drain(struct world_node *node, usec_t limit_usec) {
        size_t n = node->n_drains_written;

        ASSERT_OK(mesh_drain_asked(node->mesh, UID, limit_usec));
        WORLD_UNTIL(&world, USEC_PER_SEC, node->n_drains_written > n);
        ASSERT_EQ(node->drain_error, 0);
        ASSERT_TRUE(drain_of(node)->saved);
        ASSERT_EQ(drain_of(node)->uid, (uid_t) UID);
}

static void check_drained_attempt(const struct uuid *id) {
        const struct disk_attempt *attempt = attempt_of(a, id, 1);

        ASSERT_NOT_NULL(attempt);
        ASSERT_EQ(attempt->fate, ATTEMPT_DRAINED);
        ASSERT_GT(attempt->started_at, 0u);
        ASSERT_NOT_NULL(attempt->result);
}

/* Own jobs go elsewhere when their time is over, and not before; short ones end by themselves. */
static void test_own_jobs(void) {
        struct uuid short_one, long_one, fail;
        const struct world_wishes no_second = { .rules.loss_is_failure = true };

        begin(3, 0);
        submit(a, "3000", NULL, &short_one);
        submit(a, "30000", NULL, &long_one);
        submit(a, "30000", &no_second, &fail);
        WORLD_UNTIL(
                &world, USEC_PER_SEC,
                is_running(a, &short_one) && is_running(a, &long_one) && is_running(a, &fail));
        drain(a, LIMIT_USEC);
        mesh_set_slots(b->mesh, 2);
        b->executor.slots = 2;
        world_run_for(&world, LIMIT_USEC - 100 * USEC_PER_MSEC);
        ASSERT_EQ(world_end(a, &short_one), JOB_COMPLETED);
        ASSERT_TRUE(is_running(a, &long_one) && is_running(a, &fail));
        WORLD_UNTIL(&world, 5 * USEC_PER_SEC, is_running(b, &long_one));
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(a, &fail) == JOB_FAILED);
        ASSERT_EQ(b->executor.n_starts, 1u);
        check_drained_attempt(&long_one);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(a, &long_one) == JOB_COMPLETED);
        ASSERT_EQ(disk_find(a, &long_one)->run.attempt, 2u);
        ASSERT_EQ(disk_find(a, &long_one)->retries_used, 0u);
        WORLD_UNTIL(&world, USEC_PER_SEC, executor_n_runs(a) == 0);
        world_done(&world);
}

/* Jobs of another owner, likewise; one that may run there alone waits until the node is resumed. */
static void test_guests(void) {
        const struct world_wishes no_second = { .rules.loss_is_failure = true };
        const struct world_wishes pinned = { .target = "node-b" };
        struct uuid free_one, fail, bound;

        begin(0, 3);
        submit(a, "8000", NULL, &free_one);
        submit(a, "8000", &no_second, &fail);
        submit(a, "8000", &pinned, &bound);
        WORLD_UNTIL(
                &world, 2 * USEC_PER_SEC,
                is_running(b, &free_one) && is_running(b, &fail) && is_running(b, &bound));
        drain(b, LIMIT_USEC);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(a, &fail) == JOB_FAILED);
        WORLD_UNTIL(
                &world, 2 * USEC_PER_SEC,
                disk_status(a, &free_one) == JOB_PENDING && disk_status(a, &bound) == JOB_PENDING);
        check_drained_attempt(&free_one);
        check_drained_attempt(&bound);
        mesh_set_slots(a->mesh, 1);
        a->executor.slots = 1;
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_end(a, &free_one) == JOB_COMPLETED);
        ASSERT_EQ(disk_status(a, &bound), JOB_PENDING);
        ASSERT_STREQ(
                mesh_job_pending_reason(a->mesh, &bound), "waits for its target node, which is draining");
        ASSERT_EQ(b->executor.n_starts, 3u);
        ASSERT_OK(mesh_resume_asked(b->mesh, UID));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_end(a, &bound) == JOB_COMPLETED);
        WORLD_UNTIL(&world, 2 * USEC_PER_SEC, map_size(&b->disk.guests) == 0);
        world_done(&world);
}

/* Without a limit all have their time; a later word about it is what counts. */
static void test_limit_changes(void) {
        struct uuid id;
        usec_t since;

        begin(1, 0);
        submit(a, "20000", NULL, &id);
        WORLD_UNTIL(&world, USEC_PER_SEC, is_running(a, &id));
        drain(a, LIMIT_USEC);
        since = drain_of(a)->since;
        ASSERT_EQ(drain_of(a)->until, since + LIMIT_USEC);
        world_run_for(&world, USEC_PER_SEC);
        drain(a, USEC_INFINITY);
        ASSERT_EQ(drain_of(a)->since, since);
        ASSERT_EQ(drain_of(a)->until, USEC_INFINITY);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, world_end(a, &id) == JOB_COMPLETED);
        ASSERT_EQ(disk_find(a, &id)->run.attempt, 1u);
        world_done(&world);
}

/* A cancel that came first is one. */
static void test_cancelled(void) {
        struct uuid id;

        begin(1, 0);
        submit(a, "forever", NULL, &id);
        WORLD_UNTIL(&world, USEC_PER_SEC, is_running(a, &id));
        ASSERT_EQ(mesh_cancel(a->mesh, &id), MESH_CANCEL_STARTED);
        ASSERT_OK(mesh_drain_asked(a->mesh, UID, 0));
        WORLD_UNTIL(&world, 5 * USEC_PER_SEC, world_end(a, &id) == JOB_CANCELLED);
        world_done(&world);
}

/* What is remembered is taken up again, with what is left of its time. */
static void test_restart(void) {
        struct uuid id, refused;

        begin(1, 0);
        submit(a, "60000", NULL, &id);
        WORLD_UNTIL(&world, USEC_PER_SEC, is_running(a, &id));
        drain(a, 20 * USEC_PER_SEC);
        world_run_for(&world, 5 * USEC_PER_SEC);
        world_crash(a);
        world_run_for(&world, 5 * USEC_PER_SEC);
        world_start(a);
        ASSERT_EQ(world_state(a).status, NODE_DRAINING);
        ASSERT_TRUE(drain_of(a)->saved);
        ASSERT_EQ(world_submit(a, "10", &refused), MESH_DRAINING);
        world_run_for(&world, 9 * USEC_PER_SEC);
        ASSERT_TRUE(is_running(a, &id));
        WORLD_UNTIL(&world, 3 * USEC_PER_SEC, disk_status(a, &id) == JOB_PENDING);
        check_drained_attempt(&id);
        ASSERT_OK(mesh_resume_asked(a->mesh, UID));
        WORLD_UNTIL(&world, USEC_PER_SEC, a->disk.drain.since == 0);
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, world_end(a, &id) == JOB_COMPLETED);
        world_crash(a);
        world_start(a);
        ASSERT_EQ(world_state(a).status, NODE_IDLE);
        ASSERT_NULL(drain_of(a));
        world_done(&world);
}

/* The time is over while the daemon is away, or between its word to the executor and the answer. */
static void test_over_while_away(void) {
        struct uuid own, guest;

        for (unsigned told = 0; told < 2; told++) {
                begin(1, 2);
                submit(a, "60000", &(struct world_wishes){ .target = "node-b" }, &guest);
                submit(b, "60000", &(struct world_wishes){ .target = "node-b" }, &own);
                WORLD_UNTIL(&world, 2 * USEC_PER_SEC, is_running(b, &guest) && is_running(b, &own));
                drain(b, LIMIT_USEC);
                if (told) {
                        executor_disconnect(b);
                        world_run_for(&world, 2 * LIMIT_USEC);
                }
                world_crash(b);
                world_run_for(&world, 2 * LIMIT_USEC);
                world_start(b);
                WORLD_UNTIL(&world, 5 * USEC_PER_SEC, disk_status(b, &own) == JOB_PENDING);
                WORLD_UNTIL(
                        &world, 20 * USEC_PER_SEC,
                        disk_status(a, &guest) == JOB_PENDING && map_size(&b->disk.guests) == 0);
                ASSERT_EQ(attempt_of(b, &own, 1)->fate, ATTEMPT_DRAINED);
                world_done(&world);
        }
}

/* A full disk does not keep a node from being drained; it is remembered when there is room. */
static void test_full_disk(void) {
        begin(1, 0);
        disk_set_mode(a, DISK_FAILS);
        ASSERT_OK(mesh_drain_asked(a->mesh, UID, USEC_INFINITY));
        WORLD_UNTIL(&world, USEC_PER_SEC, a->n_drains_written == 1);
        ASSERT_ERROR(a->drain_error, ENOSPC);
        ASSERT_EQ(world_state(a).status, NODE_DRAINING);
        ASSERT_FALSE(drain_of(a)->saved);
        disk_set_mode(a, DISK_WORKS);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, drain_of(a)->saved);
        ASSERT_GT(a->disk.drain.since, 0u);
        disk_set_mode(a, DISK_FAILS);
        ASSERT_OK(mesh_resume_asked(a->mesh, UID));
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_NULL(drain_of(a));
        ASSERT_GT(a->disk.drain.since, 0u);
        disk_set_mode(a, DISK_WORKS);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, a->disk.drain.since == 0);
        world_done(&world);
}

/* Whoever asks last is answered when that is written. */
static void test_answers(void) {
        begin(1, 0);
        disk_set_mode(a, DISK_HOLDS);
        ASSERT_OK(mesh_drain_asked(a->mesh, UID, USEC_INFINITY));
        ASSERT_OK(mesh_resume_asked(a->mesh, UID));
        ASSERT_OK(mesh_drain_asked(a->mesh, UID, LIMIT_USEC));
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(a->n_drains_written, 0u);
        disk_set_mode(a, DISK_WORKS);
        WORLD_UNTIL(&world, USEC_PER_SEC, a->n_drains_written == 1);
        ASSERT_TRUE(drain_of(a)->saved);
        ASSERT_EQ(a->disk.drain.until, drain_of(a)->until);
        world_done(&world);
}

int main(void) {
        RUN(test_own_jobs);
        RUN(test_guests);
        RUN(test_limit_changes);
        RUN(test_cancelled);
        RUN(test_restart);
        RUN(test_over_while_away);
        RUN(test_full_disk);
        RUN(test_answers);
        return 0;
}
