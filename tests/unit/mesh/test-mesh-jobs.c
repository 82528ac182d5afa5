/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/mesh-world.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC

/* One node; its world is freed by world_done(). */
static struct world_node *begin(struct world *world, unsigned slots) {
        world_init(world, 7);
        struct world_node *node = world_add(world, "node-a", slots);
        world_start(node);
        world_run_for(world, SEC);
        return node;
}

/* Whatever happened: nothing is left anywhere. */
static void assert_settled(struct world_node *node) {
        struct mesh_state state = world_state(node);

        ASSERT_EQ(state.running, 0);
        ASSERT_EQ(state.queued, 0);
        ASSERT_TRUE(mesh_is_idle(node->mesh));
        ASSERT_EQ(executor_n_runs(node), 0);
        ASSERT_LE(node->executor.n_running_max, node->executor.slots);
}

static void test_accepted_means_durable(void) {
        struct world world;
        struct world_node *node = begin(&world, 2);
        struct uuid id;

        disk_set_mode(node, DISK_HOLDS);
        ASSERT_EQ(world_submit(node, "100", &id), MESH_ACCEPTED);
        world_run_for(&world, 10 * SEC);
        ASSERT_EQ(world_answer(node, &id), 1);
        ASSERT_EQ(world_end(node, &id), JOB_UNKNOWN);

        disk_set_mode(node, DISK_WORKS);
        WORLD_UNTIL(&world, 10 * MSEC, world_answer(node, &id) == 0);
        ASSERT_NE(disk_status(node, &id), JOB_UNKNOWN);
        WORLD_UNTIL(&world, SEC, world_end(node, &id) == JOB_COMPLETED);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

static void test_outcomes(void) {
        struct world world;
        struct world_node *node = begin(&world, 2);
        struct uuid good, bad;

        ASSERT_EQ(world_submit(node, "10 0", &good), MESH_ACCEPTED);
        ASSERT_EQ(world_submit(node, "10 3", &bad), MESH_ACCEPTED);
        WORLD_UNTIL(&world, SEC, world_end(node, &good) == JOB_COMPLETED);
        WORLD_UNTIL(&world, SEC, world_end(node, &bad) == JOB_FAILED);
        ASSERT_EQ(disk_find(node, &bad)->result->exit_code, 3);
        ASSERT_EQ(disk_find(node, &bad)->run.attempt, 1);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

static void test_store_failure_refuses(void) {
        struct world world;
        struct world_node *node = begin(&world, 2);
        struct uuid ids[5];

        disk_set_mode(node, DISK_FAILS);
        ASSERT_EQ(world_submit_batch(node, "forever", 5, ids, ids), MESH_ACCEPTED);
        WORLD_UNTIL(&world, SEC, world_answer(node, ids) == -ENOSPC);
        world_run_for(&world, SEC);
        for (size_t i = 0; i < 5; i++) {
                ASSERT_EQ(disk_status(node, &ids[i]), JOB_UNKNOWN);
                ASSERT_EQ(world_end(node, &ids[i]), JOB_UNKNOWN);
                ASSERT_EQ(mesh_cancel(node->mesh, &ids[i]), MESH_CANCEL_UNKNOWN);
        }
        assert_settled(node);

        disk_set_mode(node, DISK_WORKS);
        ASSERT_EQ(world_submit(node, "10", &ids[0]), MESH_ACCEPTED);
        WORLD_UNTIL(&world, SEC, world_end(node, &ids[0]) == JOB_COMPLETED);
        world_done(&world);
}

static void test_store_health(void) {
        struct world world;
        struct world_node *node = begin(&world, 1);
        struct uuid running, waiting, refused;

        ASSERT_EQ(world_submit(node, "1000", &running), MESH_ACCEPTED);
        ASSERT_EQ(world_submit(node, "1000", &waiting), MESH_ACCEPTED);
        world_run_for(&world, 100 * MSEC);
        mesh_store_health(node->mesh, -ENOSPC, "the disk is full");
        disk_set_mode(node, DISK_FAILS);
        ASSERT_EQ(world_submit(node, "10", &refused), MESH_STORE_FAILING);
        ASSERT_EQ(world_state(node).status, NODE_FAILED);
        ASSERT_STREQ(world_state(node).status_reason, "the disk is full");

        /* What runs goes on, and its end waits for the disk, in the executor too; nothing new begins. */
        world_run_for(&world, 10 * SEC);
        ASSERT_EQ(world_end(node, &running), JOB_UNKNOWN);
        ASSERT_EQ(disk_status(node, &running), JOB_RUNNING);
        ASSERT_EQ(executor_find(node, &running)->state, WORLD_RUN_ENDED);
        ASSERT_EQ(node->executor.n_starts, 1);

        disk_set_mode(node, DISK_WORKS);
        mesh_store_health(node->mesh, 0, NULL);
        WORLD_UNTIL(&world, SEC, world_end(node, &running) == JOB_COMPLETED);
        WORLD_UNTIL(&world, 2 * SEC, world_end(node, &waiting) == JOB_COMPLETED);
        ASSERT_EQ(world_state(node).status, NODE_IDLE);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

/* As above, but nobody says that the store is ill: a write that failed is tried again. */
static void test_end_is_written_again(void) {
        struct world world;
        struct world_node *node = begin(&world, 1);
        struct uuid ids[3];

        ASSERT_EQ(world_submit_batch(node, "1000", 3, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 500 * MSEC);
        disk_set_mode(node, DISK_FAILS);
        world_run_for(&world, 10 * SEC);
        ASSERT_EQ(node->n_ends, 0);
        disk_set_mode(node, DISK_WORKS);
        WORLD_UNTIL(&world, 10 * SEC, node->n_ends == 3);
        for (size_t i = 0; i < 3; i++) {
                ASSERT_EQ(world_end(node, &ids[i]), JOB_COMPLETED);
                ASSERT_TRUE(uuid_equal(&node->executor.starts[i], &ids[i]));
        }
        ASSERT_EQ(node->executor.n_starts, 3);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

static void test_order_and_slots(void) {
        static const char *const commands[] = { "0", "1", "30", "2000" };
        static struct uuid ids[1000];

        for (size_t c = 0; c < ELEMENTSOF(commands); c++) {
                struct world world;
                struct world_node *node = begin(&world, 2);

                for (size_t i = 0; i < 1000; i += 100)
                        ASSERT_EQ(
                                world_submit_batch(node, commands[c], 100, &ids[i], &ids[i]), MESH_ACCEPTED);
                WORLD_UNTIL(&world, 2000 * SEC, node->n_ends == 1000);
                for (size_t i = 0; i < 1000; i++) {
                        ASSERT_TRUE(uuid_equal(&node->executor.starts[i], &ids[i]));
                        ASSERT_EQ(disk_status(node, &ids[i]), JOB_COMPLETED);
                }
                ASSERT_EQ(node->executor.n_starts, 1000);
                ASSERT_EQ(node->executor.n_running_max, 2);
                ASSERT_LE(node->executor.n_held_max, 2 + 64); /* nobody holds more than he needs */
                if (c == ELEMENTSOF(commands) - 1)
                        ASSERT_EQ(node->executor.n_held_max, 2);
                world_run_for(&world, SEC);
                assert_settled(node);
                world_done(&world);
        }
}

/* Of those that the executor has; ret_one is the last. */
static size_t count_in_executor(struct world_node *node, struct uuid *ret_one) {
        struct world_run *run;
        size_t n = 0;

        LIST_FOREACH(&node->executor.runs, run, struct world_run, link)
                if (run->state != WORLD_RUN_ENDED) {
                        *ret_one = run->run.job;
                        n++;
                }
        return n;
}

/* Ends may be told later only while the executor goes on without us, and more work waits behind. */
static void test_patience(void) {
        struct world world;
        struct world_node *node = begin(&world, 2);
        static struct uuid ids[300];
        size_t n_patient = 0;
        struct uuid last;

        ASSERT_EQ(mesh_patience(node->mesh), 0);
        ASSERT_EQ(world_submit_batch(node, "1", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
        ASSERT_EQ(mesh_patience(node->mesh), 0);
        while (node->n_ends < ELEMENTSOF(ids)) {
                usec_t patience = mesh_patience(node->mesh);
                size_t n = count_in_executor(node, &last);

                ASSERT_LE(patience, 4 * MSEC);
                if (patience > 0) {
                        n_patient++;
                        ASSERT_GE(n, 4); /* of 1 ms each, on two slots */
                        ASSERT_LE(patience, n * MSEC / 2);
                }
                if (world_state(node).queued == 0)
                        ASSERT_EQ(patience, 0);
                ASSERT_TRUE(world_step(&world, world.now + SEC));
        }
        ASSERT_GT(n_patient, 50);
        world_run_for(&world, SEC);
        assert_settled(node);
        ASSERT_EQ(mesh_patience(node->mesh), 0);
        world_done(&world);
}

/* Somebody waits for a run that the executor has, and is not forgotten before it has ended. */
static void test_patience_ends(void) {
        enum { AWAITED, CANCELLED, DRAINED, N_WAYS };

        for (unsigned way = 0; way < N_WAYS; way++) {
                struct world world;
                struct world_node *node = begin(&world, 2);
                static struct uuid ids[300];
                struct uuid last;

                ASSERT_EQ(world_submit_batch(node, "1", ELEMENTSOF(ids), ids, ids), MESH_ACCEPTED);
                WORLD_UNTIL(&world, SEC, mesh_patience(node->mesh) > 0);
                ASSERT_GT(count_in_executor(node, &last), 2);
                /* One that the executor does not have changes nothing. */
                ASSERT_TRUE(mesh_job_is_awaited(node->mesh, &ids[ELEMENTSOF(ids) - 1]));
                ASSERT_EQ(node->n_hurries, 0);
                ASSERT_GT(mesh_patience(node->mesh), 0);
                switch (way) {
                case AWAITED:
                        ASSERT_TRUE(mesh_job_is_awaited(node->mesh, &last));
                        ASSERT_EQ(node->n_hurries, 1);
                        break;
                case CANCELLED:
                        ASSERT_EQ(mesh_cancel(node->mesh, &last), MESH_CANCEL_STARTED);
                        break;
                case DRAINED:
                        mesh_drain(node->mesh, MESH_DRAIN_STOP);
                        break;
                }
                ASSERT_EQ(mesh_patience(node->mesh), 0);
                if (way != DRAINED) {
                        while (world_end(node, &last) == JOB_UNKNOWN &&
                               executor_find(node, &last)->state != WORLD_RUN_ENDED) {
                                ASSERT_EQ(mesh_patience(node->mesh), 0);
                                ASSERT_TRUE(world_step(&world, world.now + SEC));
                        }
                        WORLD_UNTIL(&world, SEC, mesh_patience(node->mesh) > 0);
                }
                world_done(&world);
        }
}

static void test_no_slots(void) {
        struct world world;
        struct world_node *node = begin(&world, 0);
        struct uuid ids[10];

        ASSERT_EQ(world_submit_batch(node, "10", 10, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 60 * SEC);
        ASSERT_EQ(world_answer(node, ids), 0);
        ASSERT_EQ(node->executor.n_starts, 0);
        ASSERT_EQ(world_state(node).queued, 10);

        node->executor.slots = 3;
        mesh_set_slots(node->mesh, 3);
        WORLD_UNTIL(&world, SEC, node->n_ends == 10);
        ASSERT_EQ(node->executor.n_running_max, 3);
        world_done(&world);
}

static void test_refusals(void) {
        struct world world;
        struct job_spec *specs[2];
        struct job_request request = { .command = "10", .command_size = 2 };
        struct uuid ids[12];

        world_init(&world, 7);
        struct world_node *node = world_add(&world, "node-a", 1);
        node->config.queue_max = 10;
        world_start(node);

        /* All or nothing, at the limit and beyond. */
        ASSERT_EQ(world_submit_batch(node, "100", 11, ids, ids), MESH_QUEUE_FULL);
        ASSERT_EQ(world_state(node).queued, 0);
        ASSERT_EQ(world_submit_batch(node, "100", 10, ids, ids), MESH_ACCEPTED);
        ASSERT_EQ(world_submit(node, "100", &ids[11]), MESH_QUEUE_FULL);
        WORLD_UNTIL(&world, 10 * SEC, node->n_ends == 10);

        request.target_node_id = "node-b";
        request.target_node_id_size = 6;
        ASSERT_OK(job_spec_new(&request, &specs[0]));
        world_random(&world, &specs[0]->id, sizeof(specs[0]->id));
        ASSERT_EQ(mesh_submit(node->mesh, specs, 1, NULL), MESH_TARGET_UNKNOWN);
        job_spec_unref(specs[0]);

        request.target_node_id = "node-a";
        for (size_t i = 0; i < 2; i++) {
                ASSERT_OK(job_spec_new(&request, &specs[i]));
                memset(&specs[i]->id, 0x11, sizeof(specs[i]->id));
        }
        ASSERT_EQ(mesh_submit(node->mesh, specs, 2, NULL), MESH_ID_TAKEN);
        ASSERT_EQ(world_state(node).queued, 0);
        ASSERT_EQ(mesh_submit(node->mesh, specs, 1, NULL), MESH_ACCEPTED);
        ASSERT_EQ(mesh_submit(node->mesh, specs + 1, 1, NULL), MESH_ID_TAKEN);
        WORLD_UNTIL(&world, SEC, node->n_ends == 11);
        job_spec_unref(specs[0]);
        job_spec_unref(specs[1]);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

/* A derived id may come again from a client that does not know whether it was accepted: what has not been
 * accepted has not been started either. */
static void test_derived_id_starts_when_durable(void) {
        struct job_request request = { .command = "100", .command_size = 3 };
        struct job_spec *spec;
        struct world world;
        struct world_node *node = begin(&world, 1);

        ASSERT_OK(job_spec_new(&request, &spec));
        memset(&spec->id, 0x22, sizeof(spec->id));
        spec->has_digest = true;
        disk_set_mode(node, DISK_HOLDS);
        ASSERT_EQ(mesh_submit(node->mesh, &spec, 1, NULL), MESH_ACCEPTED);
        world_run_for(&world, SEC);
        ASSERT_EQ(node->executor.n_starts, 0);

        disk_set_mode(node, DISK_FAILS);
        world_run_for(&world, SEC);
        disk_set_mode(node, DISK_WORKS);
        ASSERT_EQ(node->executor.n_starts, 0);
        ASSERT_EQ(mesh_submit(node->mesh, &spec, 1, NULL), MESH_ACCEPTED);
        WORLD_UNTIL(&world, SEC, world_end(node, &spec->id) == JOB_COMPLETED);
        ASSERT_EQ(node->executor.n_starts, 1);
        job_spec_unref(spec);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

static void test_awaited(void) {
        struct world world;
        struct world_node *node = begin(&world, 1);
        struct run_id run;
        struct uuid id;

        ASSERT_EQ(world_submit(node, "100", &id), MESH_ACCEPTED);
        ASSERT_TRUE(mesh_job_is_awaited(node->mesh, &id));
        world_run_for(&world, 50 * MSEC);
        ASSERT_TRUE(mesh_job_current_run(node->mesh, &id, &run));
        ASSERT_TRUE(uuid_equal(&run.job, &id));
        ASSERT_EQ(run.attempt, 1);
        WORLD_UNTIL(&world, SEC, world_end(node, &id) == JOB_COMPLETED);
        ASSERT_FALSE(mesh_job_is_awaited(node->mesh, &id));
        ASSERT_FALSE(mesh_job_current_run(node->mesh, &id, &run));
        world_done(&world);
}

/* What is told about another attempt, another job, or twice, changes nothing. */
static void test_late_news(void) {
        struct world world;
        struct world_node *node = begin(&world, 1);
        struct job_result *result;
        struct run_id run;
        struct uuid id;

        ASSERT_EQ(world_submit(node, "1000", &id), MESH_ACCEPTED);
        world_run_for(&world, 50 * MSEC);
        ASSERT_TRUE(mesh_job_current_run(node->mesh, &id, &run));
        for (int i = 0; i < 4; i++) {
                ASSERT_OK(job_result_new(&result));
                result->run = run;
                result->run.attempt += i == 0 ? 1 : 0;
                result->run.epoch += i == 1 ? 1 : 0;
                result->run.attempt -= i == 2 ? 1 : 0;
                result->run.job.bytes[0] ^= i == 3 ? 1 : 0;
                result->outcome = RUN_EXITED;
                mesh_run_ended(node->mesh, result);
        }
        mesh_run_started(node->mesh, &run, 1);
        ASSERT_EQ(world_state(node).running, 1);
        world_run_for(&world, 100 * MSEC);
        ASSERT_EQ(disk_status(node, &id), JOB_RUNNING);
        WORLD_UNTIL(&world, SEC, world_end(node, &id) == JOB_COMPLETED);
        ASSERT_EQ(node->n_ends, 1);
        world_done(&world);
}

/* Twenty jobs run while the daemon is gone; it finds them and their results. */
static void test_restart(void) {
        struct world world;
        struct world_node *node = begin(&world, 20);
        struct uuid ids[40];

        for (size_t i = 0; i < 20; i++)
                ASSERT_EQ(world_submit(node, i < 10 ? "1000" : "100000", &ids[i]), MESH_ACCEPTED);
        ASSERT_EQ(world_submit_batch(node, "10", 20, &ids[20], &ids[20]), MESH_ACCEPTED);
        world_run_for(&world, 100 * MSEC);
        ASSERT_EQ(world_state(node).running, 20);
        ASSERT_EQ(world_state(node).queued, 20);

        world_crash(node);
        world_run_for(&world, 10 * SEC);
        world_start(node);
        world_run_for(&world, 100 * MSEC);
        ASSERT_EQ(world_state(node).running, 10);
        for (size_t i = 0; i < 10; i++)
                ASSERT_EQ(world_end(node, &ids[i]), JOB_COMPLETED);
        WORLD_UNTIL(&world, 200 * SEC, node->n_ends == 40);
        for (size_t i = 0; i < 40; i++) {
                ASSERT_EQ(world_end(node, &ids[i]), JOB_COMPLETED);
                ASSERT_TRUE(uuid_equal(&node->executor.starts[i], &ids[i]));
        }
        ASSERT_EQ(node->executor.n_starts, 40);
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

/* Cut off at any moment: a job that was acknowledged is there and ends once; of one that was not, nothing is
 * left that still runs. */
static void test_crash_at_any_moment(void) {
        for (usec_t cut = 0; cut < 20 * MSEC; cut += MSEC / 10) {
                struct world world;
                struct world_node *node = begin(&world, 2);
                struct uuid ids[6];
                int tags[3];

                for (size_t i = 0; i < 3; i++)
                        ASSERT_EQ(world_submit_batch(node, "5", 2, &ids[2 * i], &tags[i]), MESH_ACCEPTED);
                world_run_for(&world, cut);
                world_crash(node);
                world_run_for(&world, 3 * MSEC);
                world_start(node);
                world_run_for(&world, 10 * SEC);
                for (size_t i = 0; i < 6; i++) {
                        if (world_answer(node, &tags[i / 2]) == 0)
                                ASSERT_EQ(disk_status(node, &ids[i]), JOB_COMPLETED);
                        else
                                ASSERT_TRUE(
                                        disk_status(node, &ids[i]) == JOB_UNKNOWN ||
                                        disk_status(node, &ids[i]) == JOB_COMPLETED);
                }
                assert_settled(node);
                world_done(&world);
        }
}

static void test_drain(void) {
        struct world world;
        struct world_node *node = begin(&world, 2);
        struct uuid ids[10], refused;

        ASSERT_EQ(world_submit_batch(node, "1000", 10, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 100 * MSEC);
        mesh_drain(node->mesh, MESH_DRAIN_STOP);
        ASSERT_EQ(world_submit(node, "10", &refused), MESH_DRAINING);
        ASSERT_EQ(world_state(node).status, NODE_DRAINING);
        ASSERT_FALSE(mesh_is_idle(node->mesh));
        WORLD_UNTIL(&world, 2 * SEC, mesh_is_idle(node->mesh));
        world_run_for(&world, 10 * SEC);
        ASSERT_EQ(node->n_ends, 2);
        ASSERT_EQ(node->executor.n_starts, 2);
        ASSERT_EQ(world_state(node).queued, 8);
        for (size_t i = 2; i < 10; i++)
                ASSERT_EQ(disk_status(node, &ids[i]), JOB_PENDING);

        /* The next daemon goes on where this one stopped. */
        mesh_say_goodbye(node->mesh);
        world_crash(node);
        world_start(node);
        WORLD_UNTIL(&world, 20 * SEC, node->n_ends == 10);
        for (size_t i = 0; i < 10; i++)
                ASSERT_TRUE(uuid_equal(&node->executor.starts[i], &ids[i]));
        world_run_for(&world, SEC);
        assert_settled(node);
        world_done(&world);
}

/* What the executor has and has not started comes back. */
static void test_drain_hands_back(void) {
        struct world world;
        struct world_node *node = begin(&world, 4);
        struct uuid ids[4];

        node->executor.slots = 1; /* it was told of fewer */
        ASSERT_EQ(world_submit_batch(node, "1000", 4, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 100 * MSEC);
        ASSERT_EQ(executor_n_runs(node), 4);
        mesh_drain(node->mesh, MESH_DRAIN_STOP);
        WORLD_UNTIL(&world, 2 * SEC, mesh_is_idle(node->mesh));
        ASSERT_EQ(node->n_ends, 1);
        ASSERT_EQ(executor_n_runs(node), 0);
        for (size_t i = 1; i < 4; i++)
                ASSERT_EQ(disk_status(node, &ids[i]), JOB_PENDING);

        world_crash(node);
        world_start(node);
        WORLD_UNTIL(&world, 20 * SEC, node->n_ends == 4);
        for (size_t i = 1; i < 4; i++) {
                ASSERT_EQ(world_end(node, &ids[i]), JOB_COMPLETED);
                ASSERT_EQ(disk_find(node, &ids[i])->run.attempt, 2);
        }
        world_done(&world);
}

/* What a stop has no more time for begins again after the next start. */
static void test_hand_back(void) {
        struct world world;
        struct world_node *node = begin(&world, 2);
        struct uuid ids[3];

        ASSERT_EQ(world_submit_batch(node, "forever", 3, ids, ids), MESH_ACCEPTED);
        world_run_for(&world, 100 * MSEC);
        mesh_drain(node->mesh, MESH_DRAIN_STOP);
        mesh_hand_back(node->mesh);
        WORLD_UNTIL(&world, SEC, mesh_is_idle(node->mesh));
        for (size_t i = 0; i < 3; i++)
                ASSERT_EQ(disk_status(node, &ids[i]), JOB_PENDING);
        ASSERT_EQ(executor_n_runs(node), 0);

        /* Taken back, what runs from now on is not ended. */
        mesh_resume(node->mesh, MESH_DRAIN_STOP);
        world_run_for(&world, SEC);
        for (size_t i = 0; i < 2; i++) {
                ASSERT_EQ(disk_find(node, &ids[i])->run.attempt, 2);
                ASSERT_EQ(mesh_cancel(node->mesh, &ids[i]), MESH_CANCEL_STARTED);
        }
        WORLD_UNTIL(&world, SEC, world_end(node, &ids[1]) == JOB_CANCELLED);
        world_done(&world);
}

int main(void) {
        RUN(test_accepted_means_durable);
        RUN(test_outcomes);
        RUN(test_store_failure_refuses);
        RUN(test_store_health);
        RUN(test_end_is_written_again);
        RUN(test_order_and_slots);
        RUN(test_patience);
        RUN(test_patience_ends);
        RUN(test_no_slots);
        RUN(test_refusals);
        RUN(test_derived_id_starts_when_durable);
        RUN(test_awaited);
        RUN(test_late_news);
        RUN(test_restart);
        RUN(test_crash_at_any_moment);
        RUN(test_drain);
        RUN(test_drain_hands_back);
        RUN(test_hand_back);
        return EXIT_SUCCESS;
}
