/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which limits a submission may ask for. */

#include "ops-world.h"

static struct limit_support support; /* of the executor, once it was seen */

/* What the client was told. */
static struct told {
        size_t n_answers;
        struct problem problem;
} told;

static void begin(void) {
        world_begin(0);
        world.takes_jobs = true;
        /* None of these is looked into. */
        ops_connect(
                world.ops, (struct mesh *) &world, (struct store *) &world,
                (struct executor_client *) &world);
}

static void can(enum limit_obstacle memory, enum limit_obstacle cpu, enum limit_obstacle tasks) {
        support = (struct limit_support){ { memory, cpu, tasks } };
        world.support = &support;
}

static void on_submitted(void *userdata, const struct ops_submitted *answer) {
        told.problem = answer->problem;
        told.n_answers++;
}

static void submit(const struct job_request_limits *limits, size_t n) {
        const struct caller root = { .uid_known = true };
        struct job_request requests[4];
        struct ops_call *call;
        size_t before = told.n_answers;

        for (size_t i = 0; i < n; i++)
                requests[i] =
                        (struct job_request){ .command = "true", .command_size = 4, .limits = limits[i] };
        told.problem = (struct problem){};
        ASSERT_OK(ops_submit(world.ops, &root, requests, n, NULL, on_submitted, NULL, &call));
        if (world.tag)
                ops_accepted(world.ops, TAKE_PTR(world.tag), 0, 1);
        while (told.n_answers == before)
                ASSERT_OK(sd_event_run(world.event, USEC_PER_SEC));
}

static void check_problem(enum problem_code code, const char *field, const char *detail) {
        ASSERT_EQ(told.problem.code, code);
        ASSERT_STREQ(told.problem.field, field);
        ASSERT_STREQ(told.problem.detail, detail);
}

static void check_refused(
        const struct job_request_limits *limits, enum problem_code code, const char *field,
        const char *detail) {
        size_t before = world.n_accepted;

        submit(limits, 1);
        check_problem(code, field, detail);
        ASSERT_EQ(world.n_accepted, before);
}

static void check_accepted(const struct job_request_limits *limits) {
        size_t before = world.n_accepted;

        submit(limits, 1);
        ASSERT_EQ(told.problem.code, PROBLEM_NONE);
        ASSERT_EQ(world.n_accepted, before + 1);
}

static const struct job_request_limits memory = { .has_memory_max = true, .memory_max = 64 << 20 };
static const struct job_request_limits weight = { .has_cpu_weight = true, .cpu_weight = 50 };
static const struct job_request_limits tasks = { .has_tasks_max = true, .tasks_max = 50 };

static void test_what_cannot_be_enforced_is_refused(void) {
        struct job_request_limits relaxed = memory;

        begin();
        can(OBSTACLE_ABSENT, OBSTACLE_NONE, OBSTACLE_V1);
        check_refused(
                &memory, PROBLEM_LIMIT, "memory_max",
                "memory_max cannot be enforced on this node: its cgroup tree has no memory controller; "
                "\"best_effort\": true accepts the job without it");
        check_refused(
                &tasks, PROBLEM_LIMIT, "tasks_max",
                "tasks_max cannot be enforced on this node: the pids controller is on a hierarchy of cgroup "
                "v1; \"best_effort\": true accepts the job without it");
        check_accepted(&weight);
        ASSERT_EQ(world.accepted.cpu_weight, 50);
        check_accepted(&(struct job_request_limits){});

        relaxed.best_effort = true;
        check_accepted(&relaxed);
        ASSERT_EQ(world.accepted.memory_max, 64 << 20);
        ASSERT_TRUE(world.accepted.best_effort);
        world_end();
}

/* Nobody knows yet: the executor will say. */
static void test_an_executor_that_was_never_seen(void) {
        struct ops_status status;

        begin();
        check_accepted(&memory);
        ops_get_status(world.ops, &status);
        ASSERT_NULL(status.limit_support);
        can(OBSTACLE_ABSENT, OBSTACLE_ABSENT, OBSTACLE_ABSENT);
        submit(&memory, 1);
        ASSERT_EQ(told.problem.code, PROBLEM_LIMIT);
        ops_get_status(world.ops, &status);
        ASSERT_EQ(limit_support_kinds(status.limit_support), 0);
        world_end();
}

static void test_ceilings(void) {
        const struct job_limits defaults = { .tasks_max = 10 };
        const struct job_limits ceilings = { .memory_max = (64 << 20) - 1, .tasks_max = 50 };
        struct job_request_limits relaxed = memory;
        struct ops_status status;

        begin();
        can(OBSTACLE_NONE, OBSTACLE_NONE, OBSTACLE_NONE);
        check_accepted(&memory);
        ops_set_limits(world.ops, &defaults, &ceilings);
        check_refused(
                &memory, PROBLEM_INVALID, "memory_max",
                "memory_max is 67108864; this node allows at most 67108863");
        check_accepted(&tasks);
        check_accepted(&weight);
        /* Not even then, and not where it would not be enforced. */
        relaxed.best_effort = true;
        can(OBSTACLE_ABSENT, OBSTACLE_NONE, OBSTACLE_NONE);
        submit(&relaxed, 1);
        ASSERT_EQ(told.problem.code, PROBLEM_INVALID);

        ops_get_status(world.ops, &status);
        ASSERT_EQ(status.default_limits.tasks_max, 10);
        ASSERT_EQ(status.limit_ceilings.memory_max, (64 << 20) - 1);
        ops_set_limits(world.ops, &(struct job_limits){}, &(struct job_limits){});
        check_accepted(&relaxed);
        world_end();
}

/* All or none, and it is told which one. */
static void test_one_of_several(void) {
        const struct job_request_limits several[] = { {}, weight, memory, tasks };

        begin();
        can(OBSTACLE_REFUSED, OBSTACLE_NONE, OBSTACLE_REFUSED);
        submit(several, ELEMENTSOF(several));
        ASSERT_EQ(told.problem.code, PROBLEM_LIMIT);
        ASSERT_TRUE(told.problem.has_index);
        ASSERT_EQ(told.problem.index, 2);
        ASSERT_EQ(world.n_accepted, 0);
        world_end();
}

int main(void) {
        RUN(test_what_cannot_be_enforced_is_refused);
        RUN(test_an_executor_that_was_never_seen);
        RUN(test_ceilings);
        RUN(test_one_of_several);
        return 0;
}
