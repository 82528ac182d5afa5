/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The limits of a job, for whoever walks over them: their names and ranges, and why a machine cannot enforce
 * one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/types.h"

/* The members of struct job_limits that are limits. */
enum limit_field {
        LIMIT_MEMORY_MAX,
        LIMIT_CPU_WEIGHT,
        LIMIT_CPU_QUOTA,
        LIMIT_TASKS_MAX,
        _LIMIT_FIELD_MAX,
};

const char *limit_field_to_text(enum limit_field field); /* "memory_max", … */
enum limit_kind limit_field_kind(enum limit_field field);
uint64_t limit_field_low(enum limit_field field); /* both are allowed */
uint64_t limit_field_high(enum limit_field field);

uint64_t job_limits_get(const struct job_limits *limits, enum limit_field field);
/* value: 0, or within the range. */
void job_limits_set(struct job_limits *limits, enum limit_field field, uint64_t value);

/* Without what cannot be enforced. */
struct job_limits job_limits_reduced(const struct job_limits *limits, unsigned enforceable);

/* Why a machine cannot enforce a kind of limit. The numbers are sent. */
enum limit_obstacle {
        OBSTACLE_NONE = 0, /* it can */
        OBSTACLE_UNKNOWN = 1,
        OBSTACLE_PROCESS_GROUPS = 2, /* jobs have no cgroups */
        OBSTACLE_ABSENT = 3,
        OBSTACLE_V1 = 4,
        OBSTACLE_NOT_DELEGATED = 5,
        OBSTACLE_BUSY = 6,
        OBSTACLE_REFUSED = 7,
        _OBSTACLE_MAX,
};

#define LIMIT_KINDS 3u /* in the order of the bits */

struct limit_support {
        enum limit_obstacle obstacles[LIMIT_KINDS];
};

unsigned limit_support_kinds(const struct limit_support *support);
enum limit_obstacle limit_support_obstacle(const struct limit_support *support, enum limit_kind kind);

/* "its cgroup tree has no memory controller". Returns buffer. */
#define OBSTACLE_TEXT_MAX 128u
char *limit_obstacle_describe(
        enum limit_obstacle obstacle, enum limit_kind kind, char buffer[static OBSTACLE_TEXT_MAX]);

/* Whether a job with these limits may not run there. False: it may, perhaps since it does not insist.
 * *ret_field is the first limit that is in the way. */
bool job_limits_refused(
        const struct job_limits *limits, const struct limit_support *support, enum limit_field *ret_field);
/* What to tell of it. Returns buffer. */
#define REFUSAL_TEXT_MAX 256u
char *limit_refusal_describe(
        enum limit_field field, const struct limit_support *support, char buffer[static REFUSAL_TEXT_MAX]);
/* "memory_max (its cgroup tree has no memory controller), …": all that cannot be enforced, each once; empty
 * where everything can. Returns buffer. */
#define SUPPORT_TEXT_MAX 640u
char *limit_support_describe(const struct limit_support *support, char buffer[static SUPPORT_TEXT_MAX]);
