/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The words that nodes, files and programs share: states and identifiers. The numbers of the enums are those
 * of proto/mesh.proto and are stored and sent; they never change. */

#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

/* "node-" and 16 hexadecimal digits; other implementations choose other names, up to this length. */
#define NODE_ID_MAX 63

enum node_status {
        NODE_UNKNOWN = 0,
        NODE_IDLE = 1,
        NODE_BUSY = 2,
        NODE_DRAINING = 3,
        NODE_FAILED = 4,
        _NODE_STATUS_MAX,
};

enum job_status {
        JOB_UNKNOWN = 0,
        JOB_PENDING = 1,
        JOB_RUNNING = 2,
        JOB_COMPLETED = 3,
        JOB_FAILED = 4,
        JOB_TIMEOUT = 5,
        JOB_CANCELLED = 6,
        _JOB_STATUS_MAX,
};

/* Which run of a job is meant: compared as the pair (epoch, attempt), so that what a lost run says later is
 * known to be late. The epoch grows when another node takes the job over, the attempt with each assignment;
 * an attempt of 0 is a job that was never assigned. */
struct run_id {
        struct uuid job;
        uint64_t epoch;
        uint32_t attempt;
};

static inline bool run_id_equal(const struct run_id *a, const struct run_id *b) {
        return uuid_equal(&a->job, &b->job) && a->epoch == b->epoch && a->attempt == b->attempt;
}

/* What a job may take; 0 stands for "not given". */
struct job_limits {
        uint64_t memory_max; /* bytes */
        uint32_t cpu_weight; /* JOB_CPU_WEIGHT_MIN … MAX, relative to other jobs */
        uint32_t cpu_quota;  /* percent of one processor: 150 is one and a half */
        uint32_t tasks_max;  /* processes and threads */
        bool best_effort;    /* runs also where they cannot be enforced */
};

#define JOB_MEMORY_MIN (UINT64_C(1024) * 1024)
#define JOB_MEMORY_MAX (UINT64_C(1) << 50)
#define JOB_CPU_WEIGHT_MIN 1u
#define JOB_CPU_WEIGHT_MAX 10000u
#define JOB_CPU_WEIGHT_DEFAULT 100u /* the kernel's */
#define JOB_CPU_QUOTA_MIN 1u
#define JOB_CPU_QUOTA_MAX 1000000u
#define JOB_TASKS_MIN 1u
#define JOB_TASKS_MAX 4194304u

/* What is to happen with a job beside being run; zeroed: the defaults. */
struct job_rules {
        int32_t priority; /* higher first among the jobs of one owner; JOB_PRIORITY_MIN … MAX */
        uint32_t retries; /* how often it may run again after it failed by itself; up to JOB_RETRIES_MAX */
        bool loss_is_failure; /* when its node is lost it ends, and is never started twice */
};

static inline bool job_rules_are_default(const struct job_rules *rules) {
        return rules->priority == 0 && rules->retries == 0 && !rules->loss_is_failure;
}

#define JOB_PRIORITY_MIN (-1000)
#define JOB_PRIORITY_MAX 1000
#define JOB_RETRIES_MAX 100u

/* Which of them a machine can enforce; bits. The numbers are sent. */
enum limit_kind {
        LIMIT_MEMORY = 1 << 0,
        LIMIT_CPU = 1 << 1, /* weight and quota */
        LIMIT_TASKS = 1 << 2,
        LIMITS_ALL = LIMIT_MEMORY | LIMIT_CPU | LIMIT_TASKS,
};

static inline bool job_limits_equal(const struct job_limits *a, const struct job_limits *b) {
        return a->memory_max == b->memory_max && a->cpu_weight == b->cpu_weight &&
               a->cpu_quota == b->cpu_quota && a->tasks_max == b->tasks_max;
}

/* The kinds that are asked for. */
static inline unsigned job_limits_kinds(const struct job_limits *limits) {
        return (limits->memory_max > 0 ? LIMIT_MEMORY : 0u) |
               (limits->cpu_weight > 0 || limits->cpu_quota > 0 ? LIMIT_CPU : 0u) |
               (limits->tasks_max > 0 ? LIMIT_TASKS : 0u);
}

/* "IDLE", "BUSY", …; never NULL. */
const char *node_status_to_text(enum node_status status);
/* -EINVAL: no such word. */
int node_status_from_text(const char *text);

/* "JOB_PENDING", "JOB_COMPLETED", …; never NULL. */
const char *job_status_to_text(enum job_status status);
/* Accepts the words with and without "JOB_", in any case. -EINVAL: no such word. */
int job_status_from_text(const char *text);

static inline bool job_status_is_final(enum job_status status) {
        return status >= JOB_COMPLETED && status < _JOB_STATUS_MAX;
}

/* Not empty, at most NODE_ID_MAX bytes of letters, digits, '-', '_', '.'. */
bool node_id_is_valid(const char *text);
