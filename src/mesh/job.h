/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a client asked for (struct job_request, borrowed), what was accepted (struct job_spec, immutable and
 * shared), and how a run ended (struct job_result, shared). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/hash.h"
#include "util/macros.h"
#include "util/time.h"
#include "wire/message.h"
#include "wire/types.h"

#define COMMAND_MAX (64u * 1024) /* bytes, without the final NUL; Linux takes 128 KiB for one argument */
#define CWD_MAX 4095u            /* PATH_MAX without the NUL */
#define ENV_ENTRIES_MAX 256u
#define ENV_NAME_MAX 256u               /* bytes of one name */
#define ENV_SIZE_MAX (64u * 1024)       /* bytes of all "NAME=value" together, with their NULs */
#define STDIN_MAX (1024u * 1024)        /* bytes */
#define TIMEOUT_MAX_SEC (7 * 24 * 3600) /* a week */
#define TIMEOUT_DEFAULT_SEC 300
#define JOBS_PER_REQUEST_MAX 10000u
#define IDEMPOTENCY_KEY_MAX 255u /* bytes, printable ASCII */
#define SUBMITTER_MAX 63u
#define REQUIRES_MAX 16u /* labels that one job may ask for */

/* One environment variable of a request; not NUL-terminated. */
struct job_env {
        const char *name, *value;
        size_t name_size, value_size;
};

/* A label that a request asks for; not NUL-terminated. */
struct job_label {
        const char *text;
        size_t size;
};

/* As it came from REST or D-Bus: borrowed pointers with lengths, nothing checked. */
struct job_request {
        const char *command;
        size_t command_size;
        const char *target_node_id; /* NULL: any node */
        size_t target_node_id_size;
        const char *cwd; /* NULL: the home of the user that runs it */
        size_t cwd_size;
        const char *stdin_data; /* NULL: /dev/null */
        size_t stdin_size;
        const struct job_env *env;
        size_t n_env;
        bool has_timeout;
        int64_t timeout_seconds;
        /* As numbers of the client, checked by job_request_check(); 0 with has_… false. */
        struct job_request_limits {
                bool has_memory_max, has_cpu_weight, has_cpu_quota, has_tasks_max;
                int64_t memory_max, cpu_weight, cpu_quota, tasks_max;
                bool best_effort;
        } limits;
        struct job_request_rules {
                int64_t priority, retries;
                const char *on_node_loss; /* JOB_LOSS_REQUEUE or JOB_LOSS_FAIL; NULL: the first */
                size_t on_node_loss_size;
        } rules;
        const struct job_label *requires;
        size_t n_requires;
};

/* What is to happen when a job's node is lost, in words. */
#define JOB_LOSS_REQUEUE "requeue"
#define JOB_LOSS_FAIL "fail"
static inline const char *job_loss_to_text(bool loss_is_failure) {
        return loss_is_failure ? JOB_LOSS_FAIL : JOB_LOSS_REQUEUE;
}

/* Why a request was refused, for the person who made it: one line, what was wrong and what would be right.
 */
struct job_problem {
        const char *field; /* a static name, or NULL: the request as a whole */
        char detail[192];
};

/* 0, or -EINVAL with *ret_problem filled. */
int job_request_check(const struct job_request *request, struct job_problem *ret_problem);

/* Of a request that has passed the check. */
void job_request_get_limits(const struct job_request *request, struct job_limits *ret);

void job_request_get_rules(const struct job_request *request, struct job_rules *ret);

/* The digest of everything that is asked for, the same for the same request in any spelling: it tells a
 * repeated request from another one under the same Idempotency-Key. */
int job_request_digest(
        const struct job_request *request, struct sha256 *hash, uint8_t ret[static SHA256_SIZE]);

/* Whether a node with these labels has all that a job asks for: "key=value" as it stands, "key" with any
 * value. */
bool job_labels_match(const struct metadata_entry *labels, size_t n_labels, char *const *requires);

/* One allocation; the strings lie behind the struct. References are counted without atomics: only the loop
 * thread takes and drops them, the store's writer thread reads what a batch that it holds refers to. */
struct job_spec {
        unsigned n_references;
        struct uuid id;
        usec_t created_at; /* CLOCK_REALTIME */
        usec_t timeout_usec;
        struct job_limits limits;
        struct job_rules rules;
        char *const *requires; /* labels, "key=value" or "key", NULL-terminated; never NULL */
        const char *command;
        const char *target_node_id; /* NULL: any node */
        const char *cwd;            /* NULL: none given */
        char *const *env;           /* "NAME=value", NULL-terminated; never NULL */
        const char *stdin_data;     /* NULL: /dev/null */
        size_t stdin_size;
        bool has_digest;
        uint8_t digest[SHA256_SIZE];       /* see job_request_digest() */
        uid_t submitter_uid;               /* (uid_t) -1: not known */
        char submitter[SUBMITTER_MAX + 1]; /* "uid:1000"; empty: not known */
        char created_by_node[NODE_ID_MAX + 1];
};

/* request must have passed job_request_check(). The caller fills id, created_at, digest, submitter and node.
 */
int job_spec_new(const struct job_request *request, struct job_spec **ret);
struct job_spec *job_spec_ref(struct job_spec *spec);
struct job_spec *job_spec_unref(struct job_spec *spec); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct job_spec *, job_spec_unref)

enum run_outcome {
        RUN_EXITED,    /* exit_code is valid */
        RUN_SIGNALLED, /* signal is valid */
        RUN_TIMED_OUT,
        RUN_KILLED,      /* on request: a cancel, or an attempt that was given up */
        RUN_NOT_STARTED, /* the executor could not start it; error_message says why */
        RUN_LOST,        /* the executor ended while it ran, or never knew it */
        _RUN_OUTCOME_MAX,
};

/* What is kept of one stream: all of it, or head and tail with a line between that says how much is missing.
 */
struct job_output {
        char *data; /* owned by the job_result; NULL when empty */
        size_t size;
        uint64_t total; /* bytes the job wrote */
        bool truncated;
};

/* That line; and how long it is in a kept text of a stream of total bytes. */
#define JOB_OUTPUT_GAP_FORMAT "\n[… %" PRIu64 " bytes left out …]\n"
#define JOB_OUTPUT_GAP_MAX 64
uint64_t job_output_gap(uint64_t kept, uint64_t total, bool truncated);
/* Where in the kept text the stream goes on at offset; where that was not kept: at the line. */
uint64_t job_output_position(uint64_t kept, uint64_t total, bool truncated, uint64_t offset);

struct job_result {
        unsigned n_references; /* as in job_spec */
        struct run_id run;
        enum run_outcome outcome;
        int exit_code;
        int signal;
        usec_t started_at;    /* CLOCK_REALTIME; 0: never started */
        usec_t finished_at;   /* CLOCK_REALTIME */
        usec_t duration_usec; /* by CLOCK_BOOTTIME */
        struct job_output stdout_output, stderr_output;
        char *error_message; /* NULL: none */
        bool oom_killed;     /* the kernel ended it, or a part of it, for want of memory */
        bool drained; /* it was ended since its node is drained: KILLED, or told by another node as LOST */
};

int job_result_new(struct job_result **ret);
struct job_result *job_result_ref(struct job_result *result);
struct job_result *job_result_unref(struct job_result *result);
DEFINE_CLEANUP(struct job_result *, job_result_unref)

/* COMPLETED for exit status 0, TIMEOUT, CANCELLED for a run killed on request, FAILED for anything else. */
enum job_status job_result_status(const struct job_result *result);
