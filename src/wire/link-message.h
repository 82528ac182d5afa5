/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What two nodes say to each other over their link, as plain structs; link-codec.h turns them into frames
 * and back. proto/link.proto says what each part means. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/hash.h"
#include "util/time.h"
#include "wire/types.h"

#define LINK_PROTOCOL 1u
#define LINK_FRAME_HEADER_SIZE 4u
/* Of an encoded message: the largest job (command, environment, stdin) and room for its neighbours. */
#define LINK_FRAME_MAX (2u * 1024 * 1024)
#define LINK_OUTPUT_INLINE_MAX (16u * 1024) /* of each output of an end; the rest is read */
#define LINK_PIECE_MAX (64u * 1024)
#define LINK_PARTS_MAX 4096u /* of each kind in one message */
#define LINK_VERSION_MAX 31u
#define LINK_ERROR_MAX 511u
#define LINK_PROBLEM_MAX 31u
#define LINK_REASON_MAX 127u
#define LINK_ATTEMPTS_MAX 100u /* of one job */
#define LINK_DETAIL_MAX 255u
#define LINK_ANSWER_DATA_MAX                                                          \
        (LINK_PIECE_MAX + 64u) /* a piece, and a line about what is missing before it \
                                */
/* What a job may hold; those of mesh/job.h, which a node of another version may have larger. */
#define LINK_TEXT_MAX (256u * 1024)
#define LINK_ENV_MAX 1024u
#define LINK_REQUIRES_MAX 64u
#define LINK_STDIN_MAX (1024u * 1024)
#define LINK_CWD_MAX 4095u
#define LINK_SUBMITTER_MAX 63u
#define LINK_OUTPUT_MAX (64u * 1024 * 1024 + 4096) /* of what is kept of one output, with its gap line */
/* The end of the year 9999: later times, and longer spans, are cut to it. */
#define LINK_USEC_MAX UINT64_C(253402300799999999)
/* What is counted, and goes up by one: what is near its end was never reached by counting. */
#define LINK_EPOCH_MAX (UINT64_C(1) << 62) /* terms, too */
#define LINK_ATTEMPT_MAX (UINT32_C(1) << 31)

struct link_hello {
        uint32_t protocol;
        const char *node_id, *version;
        uint64_t incarnation, instance;
        uint64_t ordinal; /* counts the hellos of this instance: the later of two has the higher one */
};

struct link_job {
        struct uuid id;
        usec_t created_at;   /* CLOCK_REALTIME */
        usec_t timeout_usec; /* USEC_INFINITY: none */
        const char *command;
        const char *cwd;            /* NULL: none given */
        const char *target_node_id; /* NULL: any node */
        const char *created_by_node;
        char *const *env; /* n_env entries, "NAME=value" */
        size_t n_env;
        const void *stdin_data; /* NULL: none */
        size_t stdin_size;
        struct job_limits limits;
        struct job_rules rules;
        char *const *requires; /* n_requires labels */
        size_t n_requires;
        uid_t submitter_uid;   /* (uid_t) -1: not known */
        const char *submitter; /* "": not known */
        bool has_digest;
        uint8_t digest[SHA256_SIZE];
};

struct link_assignment {
        struct run_id run;
        struct link_job job;
};

enum link_refusal_reason {
        LINK_REFUSED = 0, /* also what this version does not know */
        LINK_REFUSED_NO_SLOT = 1,
        LINK_REFUSED_DRAINING = 2,
        LINK_REFUSED_STORAGE = 3,
        LINK_REFUSED_STALE = 4,
        LINK_REFUSED_LIMIT = 5,
        LINK_REFUSED_LABELS = 6,
        _LINK_REFUSAL_REASON_MAX,
};

struct link_refusal {
        struct run_id run;
        enum link_refusal_reason reason;
};

struct link_started {
        struct run_id run;
        usec_t started_at; /* CLOCK_REALTIME, by the executor's clock */
};

struct link_output {
        const void *data; /* NULL where data_size is 0 */
        size_t data_size; /* of data: the beginning of what is kept */
        uint64_t size;    /* of what is kept */
        uint64_t total;
        bool truncated;
};

enum link_outcome {
        LINK_EXITED = 0,
        LINK_SIGNALLED = 1,
        LINK_TIMED_OUT = 2,
        LINK_KILLED = 3,
        LINK_NOT_STARTED = 4,
        LINK_LOST = 5,
        _LINK_OUTCOME_MAX,
};

struct link_ended {
        struct run_id run;
        enum link_outcome outcome;
        int exit_code, signal;
        usec_t started_at, finished_at; /* CLOCK_REALTIME, by the executor's clock; started_at 0: never */
        usec_t duration_usec;
        struct link_output stdout_output, stderr_output;
        const char *error_message; /* NULL: none */
        bool oom_killed;
        bool drained; /* LINK_LOST, since its node is drained */
};

enum link_held_state {
        LINK_HELD_WAITING = 0,
        LINK_HELD_RUNNING = 1,
        LINK_HELD_ENDED = 2, /* its end follows */
        _LINK_HELD_STATE_MAX,
};

struct link_held {
        struct run_id run;
        enum link_held_state state;
        usec_t started_at;
};

struct link_read {
        uint64_t id;
        struct run_id run;
        int stream; /* 1 or 2 */
        uint64_t offset;
        bool wait;
};

struct link_piece {
        uint64_t id;
        int error; /* a negative errno, or 0 */
        uint64_t offset;
        const void *data;
        size_t size;
        bool ended;
        uint64_t total;
};

enum link_call_kind {
        LINK_CALL_UNKNOWN = 0, /* also what this version does not know */
        LINK_CALL_GET = 1,
        LINK_CALL_OUTPUT = 2,
        LINK_CALL_CANCEL = 3,
        LINK_CALL_RUN_OUTPUT = 4,
        _LINK_CALL_KIND_MAX,
};

/* Where to go on in an output. */
struct link_position {
        uint64_t offset;
        uint64_t end; /* 0: not known yet */
        bool kept;    /* offset is one of what is kept of a job that has ended */
};

struct link_call {
        uint64_t id;
        enum link_call_kind kind;
        struct run_id run; /* epoch and attempt: LINK_CALL_RUN_OUTPUT only */
        usec_t wait_usec;
        bool with_output;
        int stream; /* 1 or 2, of outputs; else 0 */
        struct link_position position;
        bool follow;
        uid_t uid; /* (uid_t) -1: not known */
};

/* One that did not decide its job. */
struct link_attempt {
        uint64_t epoch;
        uint32_t attempt;
        const char *node_id, *fate;
        usec_t started_at, finished_at; /* 0: not known */
        bool has_exit_code;
        int exit_code, signal;
        const char *error_message; /* NULL: none */
};

/* A job as its owner tells it. */
struct link_record {
        struct link_job job;    /* env: "NAME=" */
        enum job_status status; /* JOB_UNKNOWN: also what this version does not know */
        uint64_t epoch;
        uint32_t attempt;
        const char *executor_node_id;               /* NULL: none yet */
        usec_t started_at, finished_at, updated_at; /* CLOCK_REALTIME; 0: not yet */
        usec_t duration_usec;
        bool has_exit_code;
        int exit_code, signal;
        bool cancel_requested, oom_killed;
        const char *error_message; /* NULL: none */
        uint64_t stdin_size;
        struct link_output stdout_output, stderr_output;
        uint32_t retries_used;
        const char *pending_reason; /* NULL: none */
        size_t n_attempts;          /* at most LINK_ATTEMPTS_MAX */
        struct link_attempt *attempts;
};

struct link_answer {
        uint64_t id;
        const char *problem; /* NULL: none */
        const char *detail;
        bool has_record;
        struct link_record record;
        const void *data; /* NULL where size is 0 */
        size_t size;
        uint64_t offset, total;
        struct link_position next;
        bool ended;
};

/* See proto/link.proto. term 0: there is none. */
struct link_copy {
        uint64_t term, number;
        bool complete;
        bool has_run; /* else it is about no job */
        struct run_id run;
        uint64_t epoch;
        const char *node_id; /* NULL: none */
        bool cancel_requested;
        uint32_t retries_used;
        enum job_status status; /* JOB_UNKNOWN, or how it ended */
        bool gone;
        const struct link_assignment *job; /* NULL: its keeper has it */
        const struct link_ended *ended;    /* NULL: it has not, or without a run */
};

struct link_kept {
        uint64_t term, number;
        bool refused;
};

struct link_claim {
        const char *owner; /* NULL: there is none */
        uint64_t term, owner_instance;
};

enum link_objection {
        LINK_OBJECTION_NONE = 0,
        LINK_OBJECTION_ALIVE = 1,
        LINK_OBJECTION_TERM = 2,
        _LINK_OBJECTION_MAX,
};

struct link_claim_answer {
        const char *owner; /* NULL: there is none */
        uint64_t term;
        enum link_objection objection;
        bool more;
        size_t n_held;
        struct link_held *held;
};

struct link_takeover {
        struct run_id run;
        uint64_t epoch;
};

#define LINK_INDEX_ENTRIES_MAX 1000u /* of one message; and as many names of nodes */

struct link_index_ask {
        uint64_t generation, after;
        uint32_t room;
        usec_t since; /* CLOCK_REALTIME */
};

struct link_index_part {
        uint64_t generation, head, through;
        bool complete;
};

struct link_index_entry {
        struct uuid job;
        uint64_t number, epoch;
        enum job_status status;
        uint32_t executor; /* index_nodes[executor - 1]; 0: none */
        bool has_exit_code;
        int exit_code;
        usec_t created_at, started_at, finished_at; /* CLOCK_REALTIME; 0: not yet */
        bool kept;
};

#define LINK_OVERRULED_MAX 256u /* of one message */

struct link_overruled {
        struct uuid job;
        uint64_t epoch;
        enum job_status status;
        const char *owner;
        bool kept; /* it speaks for one that is or was lost */
};

/* One batch. To be sent: everything is borrowed. Decoded: everything points into the message itself, until
 * link_message_done(). */
struct link_message {
        bool has_hello;
        struct link_hello hello;
        size_t n_held, n_assignments, n_taken, n_refused, n_started, n_ended, n_kills, n_withdrawn,
                n_retired, n_reads, n_pieces, n_cancelled_reads, n_calls, n_answers, n_cancelled_calls;
        struct link_held *held;
        bool held_complete;
        uint64_t held_version; /* with held_complete; 0: nothing is said */
        bool compared;
        bool ping, pong;
        struct link_assignment *assignments;
        struct run_id *taken;
        struct link_refusal *refused;
        struct link_started *started;
        struct link_ended *ended;
        struct run_id *kills, *withdrawn, *retired;
        uint32_t room; /* 0: nothing is said */
        struct link_read *reads;
        struct link_piece *pieces;
        uint64_t *cancelled_reads;
        struct link_call *calls;
        struct link_answer *answers;
        uint64_t *cancelled_calls;
        struct link_copy copy;
        struct link_kept kept;
        uint64_t forget_copies, copies_forgotten; /* terms; 0: nothing is said */
        struct link_claim claim;
        struct link_claim_answer claim_answer;
        size_t n_takeovers;
        struct link_takeover *takeovers;
        bool has_index_ask, has_index_part;
        struct link_index_ask index_ask;
        struct link_index_part index_part;
        size_t n_index_nodes, n_index_entries;
        const char **index_nodes;
        struct link_index_entry *index_entries;
        size_t n_overruled;
        struct link_overruled *overruled;
        void *storage;
};

/* Whether nothing is said beside a hello. */
static inline bool link_message_is_empty(const struct link_message *message) {
        return message->n_held == 0 && !message->held_complete && !message->compared && !message->ping &&
               !message->pong && message->n_assignments == 0 && message->n_taken == 0 &&
               message->n_refused == 0 && message->n_started == 0 && message->n_ended == 0 &&
               message->n_kills == 0 && message->n_withdrawn == 0 && message->n_retired == 0 &&
               message->room == 0 && message->n_reads == 0 && message->n_pieces == 0 &&
               message->n_cancelled_reads == 0 && message->n_calls == 0 && message->n_answers == 0 &&
               message->n_cancelled_calls == 0 && message->copy.term == 0 && message->kept.term == 0 &&
               message->forget_copies == 0 && message->copies_forgotten == 0 && !message->claim.owner &&
               !message->claim_answer.owner && message->n_takeovers == 0 && !message->has_index_ask &&
               !message->has_index_part && message->n_index_entries == 0 && message->n_overruled == 0;
}
