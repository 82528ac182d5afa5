/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Cancelling, and losing the executor, at every point of a job's way. */

#include "lib/mesh-world.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC

/* Where a job is stopped on its way. */
enum stage {
        STAGE_ACCEPTING,         /* its acceptance is on the way to the disk, all slots are taken */
        STAGE_ACCEPTING_STARTED, /* likewise, but it runs already */
        STAGE_QUEUED,
        STAGE_ASSIGNING, /* its attempt is on the way to the disk */
        STAGE_SENT,      /* the executor has it, and no slot for it */
        STAGE_RUNNING,
        STAGE_ENDING, /* its end is on the way to the disk */
        _STAGE_MAX,
};

static const char *const stage_names[_STAGE_MAX] = {
        "accepting", "accepting and started", "queued", "assigning", "sent", "running", "ending",
};

struct scene {
        struct world world;
        struct world_node *node;
        struct uuid id;      /* the job in question */
        struct uuid blocker; /* the one that holds the slot, where there is one */
        bool has_blocker;
};

static void block_slot(struct scene *scene, const char *command) {
        ASSERT_EQ(world_submit(scene->node, command, &scene->blocker), MESH_ACCEPTED);
        scene->has_blocker = true;
        world_run_for(&scene->world, 50 * MSEC);
        ASSERT_EQ(world_state(scene->node).running, 1);
}

static void submit(struct scene *scene, const char *command) {
        ASSERT_EQ(world_submit(scene->node, command, &scene->id), MESH_ACCEPTED);
}

/* A job that takes 10 s, brought to the stage. */
static void scene_begin(struct scene *scene, enum stage stage) {
        *scene = (struct scene){ 0 };
        world_init(&scene->world, 3);
        scene->node = world_add(&scene->world, "node-a", 1);
        world_start(scene->node);
        world_run_for(&scene->world, SEC);

        switch (stage) {
        case STAGE_ACCEPTING:
                block_slot(scene, "10000");
                disk_set_mode(scene->node, DISK_HOLDS);
                submit(scene, "10000");
                break;
        case STAGE_ACCEPTING_STARTED:
                disk_set_mode(scene->node, DISK_HOLDS);
                submit(scene, "10000");
                world_run_for(&scene->world, MSEC);
                ASSERT_EQ(executor_find(scene->node, &scene->id)->state, WORLD_RUN_RUNNING);
                break;
        case STAGE_QUEUED:
                block_slot(scene, "10000");
                submit(scene, "10000");
                world_run_for(&scene->world, 50 * MSEC);
                break;
        case STAGE_ASSIGNING:
                block_slot(scene, "1000");
                submit(scene, "10000");
                world_run_for(&scene->world, 50 * MSEC);
                disk_set_mode(scene->node, DISK_HOLDS);
                world_run_for(&scene->world, SEC);
                ASSERT_NULL(executor_find(scene->node, &scene->id));
                break;
        case STAGE_SENT:
                scene->node->executor.slots = 0;
                submit(scene, "10000");
                world_run_for(&scene->world, 50 * MSEC);
                ASSERT_EQ(executor_find(scene->node, &scene->id)->state, WORLD_RUN_WAITING);
                break;
        case STAGE_RUNNING:
                submit(scene, "10000");
                world_run_for(&scene->world, 50 * MSEC);
                ASSERT_EQ(disk_status(scene->node, &scene->id), JOB_RUNNING);
                break;
        case STAGE_ENDING:
                submit(scene, "10000");
                world_run_for(&scene->world, SEC);
                disk_set_mode(scene->node, DISK_HOLDS);
                world_run_for(&scene->world, 10 * SEC);
                ASSERT_EQ(executor_find(scene->node, &scene->id)->state, WORLD_RUN_ENDED);
                break;
        case _STAGE_MAX:
                break;
        }
        ASSERT_EQ(scene->node->n_ends, 0);
}

/* Everything is well again from here on: the job ends, and nothing is left. */
static enum job_status scene_end(struct scene *scene) {
        struct world_node *node = scene->node;

        if (node->executor.slots == 0) {
                node->executor.slots = 1;
                if (node->executor.connected)
                        executor_connect(node);
        }
        disk_set_mode(node, DISK_WORKS);
        if (!node->executor.connected)
                executor_connect(node);
        WORLD_UNTIL(&scene->world, 100 * SEC, mesh_is_idle(node->mesh) && world_state(node).queued == 0);
        world_run_for(&scene->world, 20 * SEC);

        ASSERT_EQ(executor_n_runs(node), 0);
        ASSERT_LE(node->executor.n_running_max, 1);
        enum job_status status = world_end(node, &scene->id);
        ASSERT_EQ(disk_status(node, &scene->id), status);
        ASSERT_EQ(node->n_ends, scene->has_blocker ? 2 : 1);
        return status;
}

static size_t count_starts(const struct scene *scene) {
        size_t n = 0;

        for (size_t i = 0; i < scene->node->executor.n_starts; i++)
                n += uuid_equal(&scene->node->executor.starts[i], &scene->id);
        return n;
}

static void test_cancel(void) {
        for (enum stage stage = 0; stage < _STAGE_MAX; stage++) {
                struct scene scene;

                fprintf(stderr, "  %s\n", stage_names[stage]);
                scene_begin(&scene, stage);
                size_t n_starts = count_starts(&scene);
                ASSERT_EQ(mesh_cancel(scene.node->mesh, &scene.id), MESH_CANCEL_STARTED);
                ASSERT_EQ(mesh_cancel(scene.node->mesh, &scene.id), MESH_CANCEL_STARTED); /* twice is once */
                world_run_for(&scene.world, 50 * MSEC);
                if (stage == STAGE_QUEUED || stage == STAGE_SENT || stage == STAGE_RUNNING)
                        ASSERT_EQ(world_end(scene.node, &scene.id), JOB_CANCELLED);

                if (stage != STAGE_ENDING) {
                        disk_set_mode(scene.node, DISK_WORKS);
                        world_run_for(&scene.world, 50 * MSEC);
                        ASSERT_EQ(world_end(scene.node, &scene.id), JOB_CANCELLED);
                }

                /* An end that had happened before stands. */
                ASSERT_EQ(scene_end(&scene), stage == STAGE_ENDING ? JOB_COMPLETED : JOB_CANCELLED);
                ASSERT_EQ(count_starts(&scene), n_starts);
                ASSERT_EQ(mesh_cancel(scene.node->mesh, &scene.id), MESH_CANCEL_UNKNOWN);
                world_done(&scene.world);
        }
}

static void test_cancel_unknown(void) {
        struct scene scene;
        struct uuid id = { { 1 } };

        scene_begin(&scene, STAGE_RUNNING);
        ASSERT_EQ(mesh_cancel(scene.node->mesh, &id), MESH_CANCEL_UNKNOWN);
        ASSERT_EQ(scene_end(&scene), JOB_COMPLETED);
        world_done(&scene.world);
}

/* The disk refuses what is on its way, with or without a cancel in between. */
static void test_disk_fails(void) {
        for (enum stage stage = 0; stage < _STAGE_MAX; stage++)
                for (int cancel = 0; cancel <= 1; cancel++) {
                        struct scene scene;

                        fprintf(stderr, "  %s%s\n", stage_names[stage], cancel ? ", cancelled" : "");
                        scene_begin(&scene, stage);
                        if (cancel)
                                ASSERT_EQ(mesh_cancel(scene.node->mesh, &scene.id), MESH_CANCEL_STARTED);
                        disk_set_mode(scene.node, DISK_FAILS);
                        world_run_for(&scene.world, 5 * SEC);
                        ASSERT_EQ(world_end(scene.node, &scene.id), JOB_UNKNOWN);
                        bool refused = stage == STAGE_ACCEPTING || stage == STAGE_ACCEPTING_STARTED;
                        if (refused) {
                                ASSERT_EQ(world_answer(scene.node, &scene.id), -ENOSPC);
                                ASSERT_EQ(mesh_cancel(scene.node->mesh, &scene.id), MESH_CANCEL_UNKNOWN);
                                world_done(&scene.world);
                                continue;
                        }
                        ASSERT_EQ(
                                scene_end(&scene),
                                cancel && stage != STAGE_ENDING ? JOB_CANCELLED : JOB_COMPLETED);
                        ASSERT_LE(count_starts(&scene), 1);
                        world_done(&scene.world);
                }
}

enum loss {
        LOSS_CONNECTION, /* the executor has all that was sent to it, and goes on */
        LOSS_MESSAGES,   /* the last that was sent never reached it */
        LOSS_PROCESS,    /* another executor comes, without the jobs */
        _LOSS_MAX,
};

static const char *const loss_names[_LOSS_MAX] = { "connection", "messages", "process" };

/* What becomes of a job when the executor is lost at a stage, and found again a minute later. */
static enum job_status expected_after_loss(enum stage stage, enum loss loss, bool cancel) {
        bool had_ended = stage == STAGE_ENDING;
        bool had_run = stage == STAGE_RUNNING || stage == STAGE_ACCEPTING_STARTED;

        if (had_ended)
                return JOB_COMPLETED; /* its result was here already */
        /* A run that went on for all that time ended by itself before anybody could kill it. */
        if (had_run && loss != LOSS_PROCESS)
                return JOB_COMPLETED;
        /* What was lost with its executor begins again. */
        return cancel ? JOB_CANCELLED : JOB_COMPLETED;
}

static void lose_executor(struct scene *scene, enum stage stage, enum loss loss) {
        switch (loss) {
        case LOSS_CONNECTION:
                executor_disconnect(scene->node);
                break;
        case LOSS_MESSAGES:
                /* What is written while the connection is dying is sent into nothing. */
                scene->node->executor.loses_starts = true;
                disk_set_mode(scene->node, DISK_WORKS);
                world_run_for(&scene->world, 10 * MSEC);
                executor_disconnect(scene->node);
                break;
        case LOSS_PROCESS:
                executor_crash(scene->node);
                break;
        case _LOSS_MAX:
                break;
        }
}

static void test_executor_lost(void) {
        for (enum stage stage = 0; stage < _STAGE_MAX; stage++)
                for (enum loss loss = 0; loss < _LOSS_MAX; loss++)
                        for (int cancel = 0; cancel <= 1; cancel++) {
                                struct scene scene;

                                fprintf(stderr, "  %s, %s lost%s\n", stage_names[stage], loss_names[loss],
                                        cancel ? ", cancelled" : "");
                                scene_begin(&scene, stage);
                                lose_executor(&scene, stage, loss);
                                if (cancel)
                                        (void) mesh_cancel(scene.node->mesh, &scene.id);
                                disk_set_mode(scene.node, DISK_WORKS);
                                world_run_for(&scene.world, 60 * SEC);
                                ASSERT_EQ(scene_end(&scene), expected_after_loss(stage, loss, cancel));
                                ASSERT_LE(count_starts(&scene), loss == LOSS_PROCESS ? 2 : 1);
                                world_done(&scene.world);
                        }
}

/* The same with a daemon that is killed and started again meanwhile, a minute later or at once. */
static void test_daemon_lost(void) {
        for (enum stage stage = 0; stage < _STAGE_MAX; stage++)
                for (int crash = 0; crash <= 1; crash++)
                        for (int late = 0; late <= 1; late++) {
                                struct scene scene;

                                fprintf(stderr, "  %s%s%s\n", stage_names[stage],
                                        crash ? ", executor too" : "", late ? ", for a minute" : "");
                                scene_begin(&scene, stage);
                                bool durable = disk_status(scene.node, &scene.id) != JOB_UNKNOWN;
                                world_crash(scene.node);
                                if (crash)
                                        executor_crash(scene.node);
                                if (late)
                                        world_run_for(&scene.world, 60 * SEC);
                                disk_set_mode(scene.node, DISK_WORKS);
                                world_start(scene.node);
                                if (durable) {
                                        ASSERT_EQ(scene_end(&scene), JOB_COMPLETED);
                                        world_done(&scene.world);
                                        continue;
                                }
                                /* Nobody was told of it: what runs of it is killed. */
                                world_run_for(&scene.world, SEC);
                                ASSERT_EQ(disk_status(scene.node, &scene.id), JOB_UNKNOWN);
                                ASSERT_NULL(executor_find(scene.node, &scene.id));
                                world_done(&scene.world);
                        }
}

/* An attempt that was written down for one executor is not given to the next one: it gets its own. */
static void test_executor_changes_while_assigning(void) {
        struct scene scene;

        scene_begin(&scene, STAGE_ASSIGNING);
        executor_crash(scene.node);
        executor_connect(scene.node);
        ASSERT_EQ(scene_end(&scene), JOB_COMPLETED);
        ASSERT_EQ(disk_find(scene.node, &scene.id)->run.attempt, 2);
        ASSERT_TRUE(uuid_equal(&disk_find(scene.node, &scene.id)->executor, &scene.node->executor.instance));
        world_done(&scene.world);
}

/* Several attempts that come to nothing at once: the jobs keep their places before those that waited behind
 * them. */
static void test_order_is_kept(void) {
        for (int crash = 0; crash <= 1; crash++) {
                struct uuid ids[12];
                struct world world;

                world_init(&world, 3);
                struct world_node *node = world_add(&world, "node-a", 4);
                world_start(node);
                ASSERT_EQ(world_submit_batch(node, "1000", 4, ids, ids), MESH_ACCEPTED);
                ASSERT_EQ(world_submit_batch(node, "1000", 8, &ids[4], &ids[4]), MESH_ACCEPTED);
                world_run_for(&world, 100 * MSEC);
                if (crash) { /* the executor has four, and starts none of them */
                        node->executor.slots = 0;
                        world_run_for(&world, 2 * SEC);
                        ASSERT_EQ(executor_n_runs(node), 4);
                        executor_crash(node);
                        node->executor.slots = 1;
                        executor_connect(node);
                } else { /* they are not even on the disk */
                        disk_set_mode(node, DISK_FAILS);
                        world_run_for(&world, 2 * SEC);
                        disk_set_mode(node, DISK_WORKS);
                }
                WORLD_UNTIL(&world, 100 * SEC, node->n_ends == 12);
                for (size_t i = 0; i < 12; i++)
                        ASSERT_TRUE(uuid_equal(&node->executor.starts[i], &ids[i]));
                world_done(&world);
        }
}

/* A job that takes one executor after the other with it fails, and says so. */
static void test_reason_of_loss(void) {
        struct scene scene;

        scene_begin(&scene, STAGE_RUNNING);
        for (unsigned i = 0; i < 4; i++) {
                WORLD_UNTIL(&scene.world, 10 * SEC, world_state(scene.node).running == 1);
                executor_crash(scene.node);
                ASSERT_FALSE(world_state(scene.node).executor_connected);
                executor_connect(scene.node);
        }
        ASSERT_EQ(scene_end(&scene), JOB_FAILED);
        ASSERT_NOT_NULL(strstr(disk_find(scene.node, &scene.id)->error_message, "executor"));
        world_done(&scene.world);
}

/* While there is no executor jobs are accepted and wait. */
static void test_without_executor(void) {
        struct scene scene;
        struct uuid ids[10];

        scene_begin(&scene, STAGE_RUNNING);
        executor_disconnect(scene.node);
        ASSERT_EQ(world_submit_batch(scene.node, "10", 10, ids, ids), MESH_ACCEPTED);
        world_run_for(&scene.world, 60 * SEC);
        ASSERT_EQ(world_answer(scene.node, ids), 0);
        ASSERT_EQ(scene.node->n_ends, 0);
        executor_connect(scene.node);
        WORLD_UNTIL(&scene.world, 10 * SEC, scene.node->n_ends == 11);
        for (size_t i = 0; i < 10; i++)
                ASSERT_TRUE(uuid_equal(&scene.node->executor.starts[i + 1], &ids[i]));
        world_done(&scene.world);
}

/* A cancel that was asked for before the daemon died is carried out after it. */
static void test_cancel_over_restart(void) {
        struct scene scene;

        scene_begin(&scene, STAGE_RUNNING);
        executor_disconnect(scene.node); /* so that the kill does not arrive */
        ASSERT_EQ(mesh_cancel(scene.node->mesh, &scene.id), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&scene.world, SEC, disk_find(scene.node, &scene.id)->cancel_requested);
        world_crash(scene.node);
        world_start(scene.node);
        ASSERT_EQ(scene_end(&scene), JOB_CANCELLED);
        world_done(&scene.world);
}

/* A drain that the executor could not be told of: what has not started there comes back. */
static void test_drain_without_executor(void) {
        struct scene scene;

        scene_begin(&scene, STAGE_SENT);
        executor_disconnect(scene.node);
        mesh_drain(scene.node->mesh, MESH_DRAIN_STOP);
        world_run_for(&scene.world, SEC);
        ASSERT_FALSE(mesh_is_idle(scene.node->mesh));
        executor_connect(scene.node);
        WORLD_UNTIL(&scene.world, SEC, mesh_is_idle(scene.node->mesh));
        ASSERT_EQ(executor_n_runs(scene.node), 0);
        ASSERT_EQ(scene.node->executor.n_starts, 0);
        ASSERT_EQ(disk_status(scene.node, &scene.id), JOB_PENDING);
        world_done(&scene.world);
}

/* An executor that leaves lets starts fall, and says of such a run that it does not know it: it never ran.
 */
static void test_start_that_fell(void) {
        struct job_result *result;
        struct world world;
        struct run_id run;
        struct uuid id;

        world_init(&world, 7);
        struct world_node *node = world_add(&world, "node-a", 1);
        world_start(node);
        world_run_for(&world, SEC);
        node->executor.loses_starts = true;
        ASSERT_EQ(world_submit(node, "100", &id), MESH_ACCEPTED);
        world_run_for(&world, 50 * MSEC);
        ASSERT_TRUE(mesh_job_current_run(node->mesh, &id, &run));
        node->executor.loses_starts = false;

        ASSERT_OK(job_result_new(&result));
        result->run = run;
        result->outcome = RUN_LOST;
        mesh_run_ended(node->mesh, result);
        WORLD_UNTIL(&world, SEC, world_end(node, &id) == JOB_COMPLETED);
        ASSERT_EQ(node->executor.n_starts, 1);
        world_done(&world);
}

int main(void) {
        RUN(test_drain_without_executor);
        RUN(test_start_that_fell);
        RUN(test_cancel);
        RUN(test_cancel_unknown);
        RUN(test_disk_fails);
        RUN(test_executor_lost);
        RUN(test_daemon_lost);
        RUN(test_executor_changes_while_assigning);
        RUN(test_order_is_kept);
        RUN(test_reason_of_loss);
        RUN(test_without_executor);
        RUN(test_cancel_over_restart);
        return EXIT_SUCCESS;
}
