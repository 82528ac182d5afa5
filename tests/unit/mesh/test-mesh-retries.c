/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that fail by themselves, and are tried again. */

#include "lib/mesh-world.h"
#include "paper.h"

static struct world world;

static struct world_node *begin(unsigned slots) {
        struct world_node *node;

        world_init(&world, 11);
        node = world_add(&world, "node-a", slots);
        world_start(node);
        world_run_for(&world, USEC_PER_SEC);
        return node;
}

static struct uuid submit(struct world_node *node, const char *command, uint32_t retries) {
        const struct world_wishes wishes = { .rules.retries = retries };
        struct uuid id;

        ASSERT_EQ(world_submit_wishes(node, command, 1, &wishes, &id, &id), MESH_ACCEPTED);
        return id;
}

static bool has_used(struct world_node *node, const struct uuid *id, uint32_t retries) {
        const struct disk_job *job = disk_find(node, id);

        return job && job->retries_used == retries;
}

static void test_as_often_as_it_may(void) {
        struct world_node *node = begin(1);
        struct uuid id = submit(node, "100 3", 2), other;
        usec_t begun = world.now;

        WORLD_UNTIL(&world, USEC_PER_SEC, has_used(node, &id, 1));
        ASSERT_EQ(disk_status(node, &id), JOB_PENDING);
        ASSERT_EQ(world_state(node).queued, 1u);
        ASSERT_EQ(executor_n_runs(node), 0u);
        ASSERT_TRUE(streq(mesh_job_pending_reason(node->mesh, &id), "failed, and waits to be tried again"));
        /* Meanwhile the slot is for others, which begin with their acceptance. */
        disk_set_mode(node, DISK_HOLDS);
        ASSERT_EQ(world_submit(node, "10", &other), MESH_ACCEPTED);
        ASSERT_EQ(node->executor.n_starts, 2u);
        disk_set_mode(node, DISK_WORKS);

        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(node, &id) == JOB_FAILED);
        ASSERT_EQ(node->executor.n_starts, 4u);
        ASSERT_EQ(disk_find(node, &id)->run.attempt, 3u);
        ASSERT_EQ(disk_find(node, &id)->retries_used, 2u);
        ASSERT_EQ(disk_find(node, &id)->result->exit_code, 3);
        /* And those before are kept with it. */
        for (uint32_t attempt = 1; attempt < 3; attempt++) {
                const struct disk_attempt *kept = disk_find_attempt(
                        node, &(const struct run_id){ .job = id, .epoch = 1, .attempt = attempt });

                ASSERT_TRUE(kept && kept->fate == ATTEMPT_FAILED);
                ASSERT_TRUE(kept->result && kept->result->exit_code == 3);
        }
        /* Three runs, a second between them, and two. */
        ASSERT_GE(world.now - begun, 300 * USEC_PER_MSEC + 3 * USEC_PER_SEC * 9 / 10);
        ASSERT_LE(world.now - begun, 400 * USEC_PER_MSEC + 3 * USEC_PER_SEC * 11 / 10);
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(node->executor.n_starts, 4u);
        ASSERT_EQ(executor_n_runs(node), 0u);
        world_done(&world);
}

/* Whatever it was that failed, and until it does not. */
static void test_what_is_a_failure(void) {
        static const enum run_outcome failures[] = { RUN_EXITED, RUN_SIGNALLED, RUN_TIMED_OUT,
                                                     RUN_NOT_STARTED };
        struct job_spec *spec = paper_spec(1);
        struct paper paper;

        paper_begin(&paper, 1, 10);
        spec->rules.retries = 100;
        ASSERT_EQ(mesh_submit(paper.mesh, &spec, 1, NULL), MESH_ACCEPTED);
        paper_write(&paper);
        for (size_t i = 0; i < ELEMENTSOF(failures); i++) {
                ASSERT_TRUE(paper.running);
                ASSERT_EQ(paper.run.attempt, i + 1);
                paper_end_run(&paper, failures[i], 1);
                paper_write(&paper);
                ASSERT_FALSE(paper.running);
                ASSERT_EQ(paper.ended, JOB_UNKNOWN);
                paper_pass(&paper, paper.now + 20 * USEC_PER_SEC);
                paper_write(&paper);
        }
        paper_end_run(&paper, RUN_EXITED, 0);
        paper_write(&paper);
        ASSERT_EQ(paper.ended, JOB_COMPLETED);

        /* Stopped with the node, or lost with its executor, it did not fail by itself. */
        paper.ended = JOB_UNKNOWN;
        ASSERT_EQ(mesh_submit(paper.mesh, &spec, 1, NULL), MESH_ACCEPTED);
        paper_write(&paper);
        mesh_run_started(paper.mesh, &paper.run, paper.now);
        for (size_t i = 0; i < 2; i++) {
                mesh_run_started(paper.mesh, &paper.run, paper.now);
                paper_end_run(&paper, i == 0 ? RUN_KILLED : RUN_LOST, 0);
                paper_write(&paper);
                ASSERT_EQ(paper.ended, JOB_UNKNOWN);
                ASSERT_TRUE(paper.running); /* at once: it is no retry */
        }
        paper_end(&paper);
        job_spec_unref(spec);
}

static void test_waits_grow(void) {
        struct job_spec *spec = paper_spec(1);
        usec_t expected = USEC_PER_SEC;
        struct paper paper;

        paper_begin(&paper, 1, 10);
        spec->rules.retries = 100;
        ASSERT_EQ(mesh_submit(paper.mesh, &spec, 1, NULL), MESH_ACCEPTED);
        paper_write(&paper);
        for (unsigned i = 0; i < 100; i++) {
                usec_t failed = paper.now;

                paper_end_run(&paper, RUN_EXITED, 1);
                paper_write(&paper);
                while (!paper.running) {
                        ASSERT_LT(paper.now, failed + USEC_PER_MINUTE * 10);
                        paper_pass(&paper, MAX(paper.timer_at, paper.now));
                        paper_write(&paper);
                }
                ASSERT_GE(paper.now - failed, expected * 9 / 10 - 20 * USEC_PER_MSEC);
                ASSERT_LE(paper.now - failed, expected * 11 / 10);
                expected = MIN(expected * 2, 300 * USEC_PER_SEC);
        }
        paper_end_run(&paper, RUN_EXITED, 1);
        paper_write(&paper);
        ASSERT_EQ(paper.ended, JOB_FAILED);
        paper_end(&paper);
        job_spec_unref(spec);
}

/* What fails together does not come back together. */
static void test_waits_differ(void) {
        struct world_node *node = begin(50);
        const struct world_wishes wishes = { .rules.retries = 6 };
        struct uuid ids[50];
        size_t n_before;

        ASSERT_EQ(world_submit_wishes(node, "10 1", 50, &wishes, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, node->executor.n_starts == 50 * 6);
        n_before = node->executor.n_starts;
        world_run_for(&world, 32 * USEC_PER_SEC);
        ASSERT_GT(node->executor.n_starts - n_before, 5u);
        ASSERT_LT(node->executor.n_starts - n_before, 50u);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_state(node).queued == 0);
        world_done(&world);
}

static void test_cancel(void) {
        struct world_node *node = begin(1);
        struct uuid waits = submit(node, "10 1", 5), runs;

        WORLD_UNTIL(&world, USEC_PER_SEC, has_used(node, &waits, 1));
        ASSERT_EQ(mesh_cancel(node->mesh, &waits), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &waits) == JOB_CANCELLED);
        ASSERT_TRUE(streq(
                disk_find(node, &waits)->error_message, "cancelled while it waited to be tried again"));

        /* One that fails while it is being cancelled is cancelled, or has failed, and is over. */
        runs = submit(node, "10 1", 5);
        world_run_for(&world, 9500);
        ASSERT_EQ(mesh_cancel(node->mesh, &runs), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &runs) != JOB_UNKNOWN);
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(node->executor.n_starts, 2u);
        ASSERT_EQ(executor_n_runs(node), 0u);
        world_done(&world);
}

static void test_restart(void) {
        struct world_node *node = begin(1);
        struct uuid id = submit(node, "10 1", 3);

        for (uint32_t used = 1; used <= 3; used++) {
                WORLD_UNTIL(&world, USEC_PER_MINUTE, has_used(node, &id, used));
                ASSERT_EQ(node->executor.n_starts, used);
                world_run_for(&world, USEC_PER_MSEC);
                world_crash(node);
                world_run_for(&world, 10 * USEC_PER_SEC);
                world_start(node);
                /* The wait begins anew. */
                world_run_for(&world, (USEC_PER_SEC << (used - 1)) * 8 / 10);
                ASSERT_EQ(node->executor.n_starts, used);
        }
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(node, &id) == JOB_FAILED);
        ASSERT_EQ(node->executor.n_starts, 4u);
        world_done(&world);
}

/* The count is on the disk before the next attempt begins. */
static void test_full_disk(void) {
        struct world_node *node = begin(1);
        struct uuid id = submit(node, "100 1", 1);

        WORLD_UNTIL(&world, USEC_PER_SEC, disk_status(node, &id) == JOB_RUNNING);
        disk_set_mode(node, DISK_FAILS);
        world_run_for(&world, 20 * USEC_PER_SEC);
        ASSERT_EQ(node->executor.n_starts, 1u);
        ASSERT_EQ(executor_n_runs(node), 1u); /* it keeps what is not on the disk */
        disk_set_mode(node, DISK_WORKS);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(node, &id) == JOB_FAILED);
        ASSERT_EQ(node->executor.n_starts, 2u);
        ASSERT_EQ(disk_find(node, &id)->retries_used, 1u);
        world_done(&world);
}

/* The acceptance of what has failed already is refused: it never was. */
static void test_refused(void) {
        struct world_node *node = begin(1);
        struct uuid id;

        disk_set_mode(node, DISK_HOLDS);
        id = submit(node, "10 1", 3);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        ASSERT_EQ(node->executor.n_starts, 1u);
        disk_set_mode(node, DISK_FAILS);
        world_run_for(&world, USEC_PER_SEC);
        disk_set_mode(node, DISK_WORKS);
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(node->executor.n_starts, 1u);
        ASSERT_EQ(executor_n_runs(node), 0u);
        ASSERT_NULL(disk_find(node, &id));
        ASSERT_EQ(world_state(node).queued, 0u);
        world_done(&world);
}

/* Attempts that are lost with their node are counted apart, and the next try may be elsewhere. */
static void test_elsewhere(void) {
        struct world_node *node = begin(1), *other = world_add(&world, "node-b", 1);
        struct uuid id;

        world_start(other);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(node) == 1);
        mesh_set_slots(node->mesh, 0);
        id = submit(node, "3000 1", 1);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, disk_status(node, &id) == JOB_RUNNING);
        world_crash(other);
        executor_crash(other);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, disk_status(node, &id) == JOB_PENDING);
        ASSERT_EQ(disk_find(node, &id)->retries_used, 0u);
        world_start(other);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, has_used(node, &id, 1));
        ASSERT_EQ(other->executor.n_starts, 2u);
        world_run_for(&world, 100 * USEC_PER_MSEC);
        ASSERT_EQ(map_size(&other->disk.guests), 0u);
        mesh_drain(other->mesh, MESH_DRAIN_ASKED);
        mesh_set_slots(node->mesh, 1);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_end(node, &id) == JOB_FAILED);
        ASSERT_EQ(node->executor.n_starts, 1u);
        ASSERT_GE(disk_find(node, &id)->run.attempt, 3u);
        world_done(&world);
}

int main(void) {
        RUN(test_as_often_as_it_may);
        RUN(test_what_is_a_failure);
        RUN(test_waits_grow);
        RUN(test_waits_differ);
        RUN(test_cancel);
        RUN(test_restart);
        RUN(test_full_disk);
        RUN(test_refused);
        RUN(test_elsewhere);
        return EXIT_SUCCESS;
}
