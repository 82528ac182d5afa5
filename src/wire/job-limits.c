/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/job-limits.h"

#include <stdio.h>
#include <string.h>

#include "util/macros.h"

static const struct {
        const char *text;
        enum limit_kind kind;
        uint64_t low, high;
} fields[_LIMIT_FIELD_MAX] = {
        [LIMIT_MEMORY_MAX] = { "memory_max", LIMIT_MEMORY, JOB_MEMORY_MIN, JOB_MEMORY_MAX },
        [LIMIT_CPU_WEIGHT] = { "cpu_weight", LIMIT_CPU, JOB_CPU_WEIGHT_MIN, JOB_CPU_WEIGHT_MAX },
        [LIMIT_CPU_QUOTA] = { "cpu_quota", LIMIT_CPU, JOB_CPU_QUOTA_MIN, JOB_CPU_QUOTA_MAX },
        [LIMIT_TASKS_MAX] = { "tasks_max", LIMIT_TASKS, JOB_TASKS_MIN, JOB_TASKS_MAX },
};

const char *limit_field_to_text(enum limit_field field) {
        return fields[field].text;
}

enum limit_kind limit_field_kind(enum limit_field field) {
        return fields[field].kind;
}

uint64_t limit_field_low(enum limit_field field) {
        return fields[field].low;
}

uint64_t limit_field_high(enum limit_field field) {
        return fields[field].high;
}

uint64_t job_limits_get(const struct job_limits *limits, enum limit_field field) {
        switch (field) {
        case LIMIT_MEMORY_MAX:
                return limits->memory_max;
        case LIMIT_CPU_WEIGHT:
                return limits->cpu_weight;
        case LIMIT_CPU_QUOTA:
                return limits->cpu_quota;
        case LIMIT_TASKS_MAX:
                return limits->tasks_max;
        case _LIMIT_FIELD_MAX:
                break;
        }
        return 0;
}

void job_limits_set(struct job_limits *limits, enum limit_field field, uint64_t value) {
        switch (field) {
        case LIMIT_MEMORY_MAX:
                limits->memory_max = value;
                break;
        case LIMIT_CPU_WEIGHT:
                limits->cpu_weight = (uint32_t) value;
                break;
        case LIMIT_CPU_QUOTA:
                limits->cpu_quota = (uint32_t) value;
                break;
        case LIMIT_TASKS_MAX:
                limits->tasks_max = (uint32_t) value;
                break;
        case _LIMIT_FIELD_MAX:
                break;
        }
}

struct job_limits job_limits_reduced(const struct job_limits *limits, unsigned enforceable) {
        struct job_limits reduced = *limits;

        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                if (!(enforceable & fields[field].kind))
                        job_limits_set(&reduced, field, 0);
        return reduced;
}

static size_t kind_index(enum limit_kind kind) {
        return kind == LIMIT_MEMORY ? 0 : kind == LIMIT_CPU ? 1 : 2;
}

unsigned limit_support_kinds(const struct limit_support *support) {
        unsigned kinds = 0;

        for (size_t i = 0; i < LIMIT_KINDS; i++)
                if (support->obstacles[i] == OBSTACLE_NONE)
                        kinds |= 1u << i;
        return kinds;
}

enum limit_obstacle limit_support_obstacle(const struct limit_support *support, enum limit_kind kind) {
        return support->obstacles[kind_index(kind)];
}

/* Around the name of the controller. */
static const struct {
        const char *before, *after;
} obstacle_texts[_OBSTACLE_MAX] = {
        [OBSTACLE_NONE] = { "nothing stands in the way of the ", " controller" },
        [OBSTACLE_UNKNOWN] = { "its executor cannot use the ", " controller" },
        [OBSTACLE_PROCESS_GROUPS] = { "its jobs run in process groups, without the ", " controller" },
        [OBSTACLE_ABSENT] = { "its cgroup tree has no ", " controller" },
        [OBSTACLE_V1] = { "the ", " controller is on a hierarchy of cgroup v1" },
        [OBSTACLE_NOT_DELEGATED] = { "its executor is in a cgroup of others, which keeps the ",
                                     " controller to itself" },
        [OBSTACLE_BUSY] = { "processes of others in its executor's cgroup stand in the way of the ",
                            " controller" },
        [OBSTACLE_REFUSED] = { "the kernel refused its executor the ", " controller" },
};

char *limit_obstacle_describe(
        enum limit_obstacle obstacle, enum limit_kind kind, char buffer[static OBSTACLE_TEXT_MAX]) {
        static const char *const controllers[LIMIT_KINDS] = { "memory", "cpu", "pids" };

        if ((unsigned) obstacle >= _OBSTACLE_MAX)
                obstacle = OBSTACLE_UNKNOWN;
        (void) snprintf(
                buffer, OBSTACLE_TEXT_MAX, "%s%s%s", obstacle_texts[obstacle].before,
                controllers[kind_index(kind)], obstacle_texts[obstacle].after);
        return buffer;
}

bool job_limits_refused(
        const struct job_limits *limits, const struct limit_support *support, enum limit_field *ret_field) {
        unsigned enforceable = limit_support_kinds(support);

        if (limits->best_effort)
                return false;
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                if (job_limits_get(limits, field) > 0 && !(enforceable & fields[field].kind)) {
                        *ret_field = field;
                        return true;
                }
        return false;
}

char *limit_refusal_describe(
        enum limit_field field, const struct limit_support *support, char buffer[static REFUSAL_TEXT_MAX]) {
        enum limit_kind kind = fields[field].kind;
        char obstacle[OBSTACLE_TEXT_MAX];

        (void) snprintf(
                buffer, REFUSAL_TEXT_MAX,
                "%s cannot be enforced on this node: %s; \"best_effort\": true accepts the job without it",
                fields[field].text,
                limit_obstacle_describe(limit_support_obstacle(support, kind), kind, obstacle));
        return buffer;
}

char *limit_support_describe(const struct limit_support *support, char buffer[static SUPPORT_TEXT_MAX]) {
        static const struct {
                enum limit_kind kind;
                const char *text;
        } kinds[LIMIT_KINDS] = {
                { LIMIT_MEMORY, "memory_max" },
                { LIMIT_CPU, "cpu_weight and cpu_quota" },
                { LIMIT_TASKS, "tasks_max" },
        };
        size_t used = 0;

        buffer[0] = '\0';
        for (size_t i = 0; i < LIMIT_KINDS; i++) {
                enum limit_obstacle obstacle = support->obstacles[i];
                char text[OBSTACLE_TEXT_MAX];

                if (obstacle == OBSTACLE_NONE)
                        continue;
                /* Three of these are shorter than the buffer. */
                used += (size_t) snprintf(
                        buffer + used, SUPPORT_TEXT_MAX - used, "%s%s (%s)", used > 0 ? ", " : "",
                        kinds[i].text, limit_obstacle_describe(obstacle, kinds[i].kind, text));
        }
        return buffer;
}
