/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The node's memory: one SQLite file (WAL, synchronous=FULL). This is the asynchronous face; every function
 * here is called on the loop thread and none waits for the disk, except store_open() before the loop runs.
 *
 * Writes: a writer thread takes all batches that have gathered, commits them as one transaction and wakes
 * the loop through an eventfd. Reads: a reader thread with its own connection; it sees every batch whose
 * outcome was told. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "mesh/job.h"
#include "mesh/record.h"
#include "util/macros.h"

#define STORE_LIST_MAX 1000u                  /* jobs on one page */
#define STORE_LIST_OUTPUT_MAX 4096u           /* bytes of each output in a list */
#define STORE_QUERIES_MAX 1024u               /* waiting for the reader; one more is -EBUSY */
#define STORE_ANSWER_MAX (256u * 1024 * 1024) /* bytes of one answer; more is -EFBIG */
#define STORE_BACKLOG_MAX \
        (256u * 1024 * 1024) /* bytes waiting for the writer, beyond which new jobs are refused */

struct store;

struct store_config {
        const char *directory; /* the file in it is worker_<node id>.db */
        const char *node_id;
        usec_t history_max_age_usec; /* finished jobs older than this go; USEC_INFINITY: none */
        uint64_t history_max_jobs;
        uint64_t history_max_bytes;
};

/* A run of a job that another node owns, as the last process left it. */
struct store_guest {
        struct job_spec *spec; /* a reference, for the callee */
        struct run_id run;
        char owner_node_id[NODE_ID_MAX + 1];
        struct uuid executor;      /* the executor process that was to run it; UUID_NULL: not known */
        struct job_result *result; /* a reference, for the callee; NULL: it has not ended */
};

/* A copy of an unfinished job that another node owns, as the last process left it. */
struct store_copy {
        struct job_spec *spec; /* a reference, for the callee */
        struct run_id run;
        uint64_t epoch, term;
        char owner_node_id[NODE_ID_MAX + 1];
        char executor_node_id[NODE_ID_MAX + 1]; /* empty: none, or the owner */
        bool cancel_requested;
        uint32_t retries_used;
};

/* That the node is drained, as the last process left it. */
struct store_drain {
        usec_t since, until; /* CLOCK_REALTIME; until: USEC_INFINITY: without a limit */
        uid_t uid;           /* who asked for it; (uid_t) -1: not known */
};

struct store_handlers {
        /* The outcome of store_write(), in order: error 0: durable. -ENOSPC, -EIO, …: nothing of it is. The
         * batch belongs to the callee again. */
        void (*written)(void *userdata, struct record_batch *batch, int error);
        /* The store began to fail (a negative errno and a sentence), or works again (0). */
        void (*health_changed)(void *userdata, int error, const char *reason);
        /* By store_open() alone: every run of another node's job, in the order in which they came. A
         * negative errno ends the walk and store_open(); the references are the callee's even then. NULL:
         * nobody. */
        int (*guest)(void *userdata, struct store_guest *guest);
        /* Likewise every copy, and every node that may have copies of this node's jobs, up to this term. */
        int (*copy)(void *userdata, struct store_copy *copy);
        int (*holder)(void *userdata, const char *node_id, uint64_t term);
        /* Likewise, after the copies: every owner that had told all of its jobs under this term. */
        int (*swept)(void *userdata, const char *owner_node_id, uint64_t term, uint64_t owner_instance);
        /* Likewise, where there is one. */
        void (*drain)(void *userdata, const struct store_drain *drain);
        void *userdata;
};

/* An unfinished job, as the last process left it. */
struct store_unfinished {
        struct job_spec *spec;                  /* a reference, for the callee */
        enum job_status status;                 /* PENDING or RUNNING */
        struct run_id run;                      /* attempt 0: waits in the queue */
        uint64_t epoch;                         /* of the ownership; that of the run may be an earlier one */
        bool in_executor;                       /* assigned as said below, and not known to have ended */
        char executor_node_id[NODE_ID_MAX + 1]; /* the node that has it, this one or another; empty: none */
        struct uuid executor;                   /* this one's executor process that has it; else UUID_NULL */
        usec_t started_at;                      /* 0: not known to have started */
        bool cancel_requested;
        uint32_t retries_used;
};

/* Called for every unfinished job in order of acceptance. A negative errno ends the walk and store_open();
 * the reference is the callee's even then. */
typedef int (*store_unfinished_t)(void *userdata, struct store_unfinished *job);

/* Opens or makes the file, migrates it, walks the unfinished jobs, the guests, the copies and the holders,
 * tells of a drain, and starts the threads. A damaged file is set aside as *.damaged-<time>, loudly, and a
 * new one made. A file of a newer version: -EPROTONOSUPPORT. */
int store_open(
        const struct store_config *config, sd_event *event, const struct store_handlers *handlers,
        store_unfinished_t unfinished, void *unfinished_userdata, struct store **ret);

/* Commits what was handed in, tells no outcomes, joins the threads. Returns NULL; accepts NULL. */
struct store *store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close)

const char *store_path(const struct store *store);

/* After a reload of the configuration. */
void store_set_history_limits(
        struct store *store, usec_t max_age_usec, uint64_t max_jobs, uint64_t max_bytes);

/* Takes the batch. */
void store_write(struct store *store, struct record_batch *batch);

/* Bytes handed in and not yet committed. */
size_t store_backlog(const struct store *store);

#define ATTEMPTS_KEPT_MAX 100 /* of one job, the newest; becomes part of a statement */

/* An attempt of a job that did not decide it. */
struct stored_attempt {
        uint64_t epoch;
        uint32_t attempt;
        char node_id[NODE_ID_MAX + 1];  /* who had it */
        enum attempt_fate fate;         /* why it was given up */
        usec_t started_at, finished_at; /* CLOCK_REALTIME; 0: not known */
        bool has_exit_code;
        int exit_code;
        int signal;          /* 0: none */
        char *error_message; /* NULL: none */
};

/* A job as a reader sees it: everything owned by the answer it came in. Strings are NULL where there is
 * none. */
struct stored_job {
        uint64_t sequence; /* order of acceptance on this node */
        struct uuid id;
        enum job_status status;
        uint64_t epoch;
        uint32_t attempt;
        char *command, *cwd;
        char *target_node_id, *created_by_node, *executor_node_id;
        char *owner_node_id; /* of a job of which this node only has the copy; NULL: this node */
        char **env;          /* "NAME=value" */
        usec_t timeout_usec;
        usec_t created_at, started_at, finished_at, updated_at; /* CLOCK_REALTIME; 0: not yet */
        usec_t duration_usec;
        bool has_exit_code;
        int exit_code;
        int signal; /* 0: none */
        bool cancel_requested;
        const char *pending_reason; /* static; not from the store: for whoever knows it */
        struct job_limits limits;
        struct job_rules rules;
        uint32_t retries_used;
        char **requires; /* labels; NULL: none */
        bool oom_killed;
        bool has_digest;
        uint8_t digest[SHA256_SIZE];
        uid_t submitter_uid;
        char *submitter;
        char *error_message;
        size_t stdin_size;
        /* What is kept of each output; in a list at most the first STORE_LIST_OUTPUT_MAX bytes of it. */
        char *stdout_data, *stderr_data;
        size_t stdout_size, stderr_size;     /* of the data here */
        uint64_t stdout_kept, stderr_kept;   /* of what the store has */
        uint64_t stdout_total, stderr_total; /* of what the job wrote */
        bool stdout_truncated, stderr_truncated;
        /* By store_get_jobs() with outputs only: oldest first. */
        size_t n_attempts;
        struct stored_attempt *attempts;
};

/* Of a copy that somebody made. */
void stored_job_done(struct stored_job *job);

struct store_answer {
        int error; /* 0, or a negative errno: nothing else is valid then */
        size_t n_jobs;
        struct stored_job *jobs;
        bool more;            /* a list: older ones match too */
        uint64_t next_before; /* then: give this as before */
        char *data;           /* store_read_output() */
        size_t data_size;
        uint64_t data_kept; /* bytes the store has of that output */
};

/* The answer is freed when the handler returns. */
typedef void (*store_answer_t)(void *userdata, const struct store_answer *answer);

struct store_query; /* one that is under way; gone when its handler was called or it was cancelled */

struct store_list {
        size_t limit;         /* 1 … STORE_LIST_MAX */
        uint64_t before;      /* only those with a lower sequence; UINT64_MAX: from the newest */
        uint32_t status_mask; /* bits 1u << enum job_status; 0: all */
};

/* Newest first. ret_query may be NULL. -EBUSY: STORE_QUERIES_MAX. */
int store_list_jobs(
        struct store *store, const struct store_list *list, store_answer_t handler, void *userdata,
        struct store_query **ret_query);
/* What is needed to know of jobs without knowing what they are: id, status, epoch, exit code, times and
 * executor, and sequence; nothing else is valid. Newest first, at most STORE_LIST_MAX, those with a lower
 * sequence than before. */
int store_list_recent(
        struct store *store, uint64_t before, size_t limit, store_answer_t handler, void *userdata,
        struct store_query **ret_query);
/* The same of other nodes' jobs that have ended, of which this node has the copies; they have an owner, too.
 * next_before is no sequence of a job. */
int store_list_recent_copies(
        struct store *store, uint64_t before, size_t limit, store_answer_t handler, void *userdata,
        struct store_query **ret_query);
/* The jobs with these ids, in their order; those that are not there are left out. Of another node's job the
 * copy, once it has ended (sequence 0, the outputs cut to LINK_OUTPUT_INLINE_MAX). At most
 * JOBS_PER_REQUEST_MAX. with_output: the outputs whole, and earlier attempts; else without any. */
int store_get_jobs(
        struct store *store, const struct uuid *ids, size_t n_ids, bool with_output, store_answer_t handler,
        void *userdata, struct store_query **ret_query);
/* A piece of an output, from offset of what is kept, at most size bytes (1 MiB); also answers the job
 * itself, without output, as jobs[0], or no job. stream: 1 stdout, 2 stderr. */
int store_read_output(
        struct store *store, const struct uuid *id, int stream, uint64_t offset, size_t size,
        store_answer_t handler, void *userdata, struct store_query **ret_query);
/* The handler will not be called. */
void store_query_cancel(struct store_query *query);
