/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "lib/tests.h"
#include "wire/job-limits.h"

static void test_fields(void) {
        struct job_limits limits = {};

        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                ASSERT_EQ(job_limits_get(&limits, field), 0);
                job_limits_set(&limits, field, limit_field_high(field));
                ASSERT_EQ(job_limits_get(&limits, field), limit_field_high(field));
                ASSERT_TRUE(limit_field_low(field) > 0);
                ASSERT_TRUE(job_limits_kinds(&limits) & limit_field_kind(field));
        }
        ASSERT_EQ(job_limits_kinds(&limits), LIMITS_ALL);
        ASSERT_STREQ(limit_field_to_text(LIMIT_CPU_QUOTA), "cpu_quota");
}

static void test_reduced(void) {
        const struct job_limits all = {
                .memory_max = 1, .cpu_weight = 2, .cpu_quota = 3, .tasks_max = 4, .best_effort = true
        };
        struct job_limits reduced = job_limits_reduced(&all, LIMIT_CPU);

        ASSERT_EQ(reduced.memory_max, 0);
        ASSERT_EQ(reduced.cpu_weight, 2);
        ASSERT_EQ(reduced.cpu_quota, 3);
        ASSERT_EQ(reduced.tasks_max, 0);
        ASSERT_TRUE(reduced.best_effort);
        reduced = job_limits_reduced(&all, LIMITS_ALL);
        ASSERT_EQ(memcmp(&reduced, &all, sizeof(all)), 0);
}

static void test_refused(void) {
        const struct limit_support support = { { OBSTACLE_ABSENT, OBSTACLE_NONE, OBSTACLE_V1 } };
        char text[REFUSAL_TEXT_MAX];
        enum limit_field field;

        ASSERT_EQ(limit_support_kinds(&support), LIMIT_CPU);
        ASSERT_FALSE(job_limits_refused(&(struct job_limits){}, &support, &field));
        ASSERT_FALSE(job_limits_refused(
                &(struct job_limits){ .cpu_weight = 1, .cpu_quota = 1 }, &support, &field));
        ASSERT_FALSE(job_limits_refused(
                &(struct job_limits){ .tasks_max = 1, .best_effort = true }, &support, &field));
        ASSERT_TRUE(job_limits_refused(
                &(struct job_limits){ .cpu_weight = 1, .tasks_max = 1 }, &support, &field));
        ASSERT_EQ(field, LIMIT_TASKS_MAX);
        ASSERT_STREQ(
                limit_refusal_describe(field, &support, text),
                "tasks_max cannot be enforced on this node: the pids controller is on a hierarchy of cgroup "
                "v1; \"best_effort\": true accepts the job without it");
        ASSERT_TRUE(job_limits_refused(
                &(struct job_limits){ .memory_max = 1, .tasks_max = 1 }, &support, &field));
        ASSERT_EQ(field, LIMIT_MEMORY_MAX);
        ASSERT_STREQ(
                limit_refusal_describe(field, &support, text),
                "memory_max cannot be enforced on this node: its cgroup tree has no memory controller; "
                "\"best_effort\": true accepts the job without it");
}

/* Every reason has words for every kind, which are not cut. */
static void test_described(void) {
        for (enum limit_obstacle obstacle = 0; obstacle <= _OBSTACLE_MAX; obstacle++) {
                const struct limit_support support = { { obstacle, obstacle, obstacle } };
                char text[OBSTACLE_TEXT_MAX], refusal[REFUSAL_TEXT_MAX], all[SUPPORT_TEXT_MAX];

                (void) limit_obstacle_describe(obstacle, LIMIT_MEMORY, text);
                ASSERT_NOT_NULL(strstr(text, "memory"));
                ASSERT_TRUE(strlen(text) < OBSTACLE_TEXT_MAX - 1);
                (void) limit_refusal_describe(LIMIT_MEMORY_MAX, &support, refusal);
                ASSERT_STREQ(strstr(refusal, "without it"), "without it");

                (void) limit_support_describe(&support, all);
                ASSERT_EQ(all[0] == '\0', obstacle == OBSTACLE_NONE);
                if (obstacle != OBSTACLE_NONE) {
                        ASSERT_NOT_NULL(strstr(all, "memory_max"));
                        ASSERT_NOT_NULL(strstr(all, "cpu_weight and cpu_quota"));
                        ASSERT_EQ(all[strlen(all) - 1], ')');
                }
        }
}

int main(void) {
        RUN(test_fields);
        RUN(test_reduced);
        RUN(test_refused);
        RUN(test_described);
        return 0;
}
