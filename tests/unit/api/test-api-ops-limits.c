/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which limits a submission may ask for, over a mind that takes everything and an executor that can what the
 * test says: what this file defines is taken before what the rooms have. */

#include "api/ops.h"
#include "executor/client.h"
#include "lib/tests.h"
#include "mesh/mesh.h"
#include "wire/job-limits.h"

static struct world {
        sd_event *event;
        struct ops *ops;
        bool support_known;
        struct limit_support support;
        struct job_limits accepted; /* of the last job that the mind got */
        size_t n_accepted, n_answers;
        void *tag; /* of what is not durable yet */
        struct problem problem;
} world;

const struct limit_support *executor_client_support(const struct executor_client *client) {
        return world.support_known ? &world.support : NULL;
}

int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag) {
        world.accepted = specs[n_specs - 1]->limits;
        world.n_accepted += n_specs;
        world.tag = tag;
        return MESH_ACCEPTED;
}

/* Not asked for here. */
int executor_client_read(
        struct executor_client *client, const struct run_id *run, int stream, uint64_t offset, bool wait,
        executor_output_t handler, void *userdata, struct executor_read **ret) {
        return -EOPNOTSUPP;
}

void executor_read_cancel(struct executor_read *read) {
}

int mesh_index_list(
        struct mesh *mesh, const struct index_query *query, struct mesh_index_item *items,
        uint64_t *ret_next) {
        ASSERT_TRUE(false);
        return -ENOSYS;
}

int mesh_drain_asked(struct mesh *mesh, uid_t uid, usec_t limit_usec) {
        return -EOPNOTSUPP;
}

int mesh_resume_asked(struct mesh *mesh, uid_t uid) {
        return -EOPNOTSUPP;
}

bool mesh_job_place(
        struct mesh *mesh, const struct uuid *id, struct run_id *ret_run,
        char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

const struct job_result *mesh_guest_result(const struct mesh *mesh, const struct run_id *run) {
        return NULL;
}

bool mesh_guest_owner(
        const struct mesh *mesh, const struct uuid *id, char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

bool mesh_index_find_owner(
        struct mesh *mesh, const struct uuid *job, char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

int mesh_cancel(struct mesh *mesh, const struct uuid *id) {
        return MESH_CANCEL_UNKNOWN;
}

void mesh_get_state(const struct mesh *mesh, struct mesh_state *ret) {
        *ret = (struct mesh_state){};
}

const struct mesh_peer *mesh_get_peer(const struct mesh *mesh, const char *node_id) {
        return NULL;
}

void mesh_foreach_peer(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata) {
}

const char *mesh_job_pending_reason(struct mesh *mesh, const struct uuid *id) {
        return NULL;
}

unsigned mesh_job_copies(struct mesh *mesh, const struct uuid *id) {
        return 0;
}

bool mesh_job_is_awaited(struct mesh *mesh, const struct uuid *id) {
        return false;
}

bool mesh_job_current_run(struct mesh *mesh, const struct uuid *id, struct run_id *ret) {
        return false;
}

size_t store_backlog(const struct store *store) {
        return 0;
}

int store_get_jobs(
        struct store *store, const struct uuid *ids, size_t n_ids, bool with_output, store_answer_t handler,
        void *userdata, struct store_query **ret_query) {
        return -EOPNOTSUPP;
}

int store_list_jobs(
        struct store *store, const struct store_list *list, store_answer_t handler, void *userdata,
        struct store_query **ret_query) {
        return -EOPNOTSUPP;
}

int store_read_output(
        struct store *store, const struct uuid *id, int stream, uint64_t offset, size_t size,
        store_answer_t handler, void *userdata, struct store_query **ret_query) {
        return -EOPNOTSUPP;
}

void store_query_cancel(struct store_query *query) {
}

static void begin(void) {
        const struct ops_config config = { .node_id = "node-0123456789abcdef" };

        world = (struct world){};
        ASSERT_OK(sd_event_new(&world.event));
        ASSERT_OK(ops_new(&config, world.event, &world.ops));
        /* None of these is looked into. */
        ops_connect(
                world.ops, (struct mesh *) &world, (struct store *) &world,
                (struct executor_client *) &world);
}

static void finish(void) {
        ops_free(world.ops);
        sd_event_unref(world.event);
}

static void can(enum limit_obstacle memory, enum limit_obstacle cpu, enum limit_obstacle tasks) {
        world.support_known = true;
        world.support = (struct limit_support){ { memory, cpu, tasks } };
}

static void on_submitted(void *userdata, const struct ops_submitted *answer) {
        world.problem = answer->problem;
        world.n_answers++;
}

static void submit(const struct job_request_limits *limits, size_t n) {
        const struct caller root = { .uid_known = true };
        struct job_request requests[4];
        struct ops_call *call;
        size_t before = world.n_answers;

        for (size_t i = 0; i < n; i++)
                requests[i] =
                        (struct job_request){ .command = "true", .command_size = 4, .limits = limits[i] };
        world.problem = (struct problem){};
        ASSERT_OK(ops_submit(world.ops, &root, requests, n, NULL, on_submitted, NULL, &call));
        if (world.tag)
                ops_accepted(world.ops, TAKE_PTR(world.tag), 0, 1);
        while (world.n_answers == before)
                ASSERT_OK(sd_event_run(world.event, USEC_PER_SEC));
}

static void check_problem(enum problem_code code, const char *field, const char *detail) {
        ASSERT_EQ(world.problem.code, code);
        ASSERT_STREQ(world.problem.field, field);
        ASSERT_STREQ(world.problem.detail, detail);
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
        ASSERT_EQ(world.problem.code, PROBLEM_NONE);
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
        finish();
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
        ASSERT_EQ(world.problem.code, PROBLEM_LIMIT);
        ops_get_status(world.ops, &status);
        ASSERT_EQ(limit_support_kinds(status.limit_support), 0);
        finish();
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
        ASSERT_EQ(world.problem.code, PROBLEM_INVALID);

        ops_get_status(world.ops, &status);
        ASSERT_EQ(status.default_limits.tasks_max, 10);
        ASSERT_EQ(status.limit_ceilings.memory_max, (64 << 20) - 1);
        ops_set_limits(world.ops, &(struct job_limits){}, &(struct job_limits){});
        check_accepted(&relaxed);
        finish();
}

/* All or none, and it is told which one. */
static void test_one_of_several(void) {
        const struct job_request_limits several[] = { {}, weight, memory, tasks };

        begin();
        can(OBSTACLE_REFUSED, OBSTACLE_NONE, OBSTACLE_REFUSED);
        submit(several, ELEMENTSOF(several));
        ASSERT_EQ(world.problem.code, PROBLEM_LIMIT);
        ASSERT_TRUE(world.problem.has_index);
        ASSERT_EQ(world.problem.index, 2);
        ASSERT_EQ(world.n_accepted, 0);
        finish();
}

int main(void) {
        RUN(test_what_cannot_be_enforced_is_refused);
        RUN(test_an_executor_that_was_never_seen);
        RUN(test_ceilings);
        RUN(test_one_of_several);
        return 0;
}
