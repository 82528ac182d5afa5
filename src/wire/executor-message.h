/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What daemon and executor say to each other, as plain structs; executor-codec.h turns them into bytes and
 * back. Descriptors that travel with a message are named by their position in it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/time.h"
#include "wire/job-limits.h"
#include "wire/types.h"

#define EXECUTOR_PROTOCOL 1u
#define EXECUTOR_MESSAGE_MAX (64u * 1024)
#define EXECUTOR_DESCRIPTORS_MAX 64u    /* of one message; the kernel takes 253 */
#define EXECUTOR_BODY_MAX (256u * 1024) /* of an encoded body: command, environment and folder together */
#define EXECUTOR_BODY_INLINE_MAX (8u * 1024) /* what is larger goes into a memory file */
#define EXECUTOR_STDIN_MAX (1024u * 1024)
#define EXECUTOR_ENV_MAX 1024u  /* entries */
#define EXECUTOR_PATH_MAX 4095u /* bytes of the folder's name */
#define EXECUTOR_INLINE_MAX \
        (16u * 1024) /* bytes of both outputs of an end; what is larger goes into a memory file */
#define EXECUTOR_DATA_MAX (32u * 1024) /* bytes of one piece of output that was asked for */
#define EXECUTOR_ERROR_MAX 511u        /* bytes of an error message */
#define EXECUTOR_SLOTS_MAX 65536u
#define EXECUTOR_OUTPUT_MIN (4u * 1024)
#define EXECUTOR_OUTPUT_MAX (64u * 1024 * 1024)

#define EXECUTOR_NO_DESCRIPTOR (-1)

/* Bytes on their way out; data has room for EXECUTOR_MESSAGE_MAX. */
struct executor_message {
        uint8_t *data;
        size_t size;
};

/* From the daemon */

struct executor_hello {
        uint32_t protocol;
        const char *version;
        const char *node_id;
        uint32_t slots;
        uint64_t output_max;
        usec_t kill_grace_usec;
        usec_t silence_usec; /* not awake for so long: nothing starts; 0: that is no reason */
};

struct executor_body {
        const char *command;
        const char *cwd;  /* NULL: none given */
        char *const *env; /* n_env entries, "NAME=value" */
        size_t n_env;
};

struct executor_start {
        struct run_id run;
        usec_t timeout_usec;       /* USEC_INFINITY: none */
        struct executor_body body; /* without a command when it is in body_descriptor */
        int body_descriptor;
        int stdin_descriptor;
        struct job_limits limits;
};

struct executor_read_request {
        uint64_t id;
        struct run_id run;
        int stream; /* 1 or 2 */
        uint64_t offset;
        bool wait;
};

/* How far into both outputs of a run the journal has been written. */
struct executor_journalled {
        struct run_id run;
        uint64_t offsets[2]; /* of stdout, of stderr */
};

enum executor_stop {
        EXECUTOR_STOP_NOT = 0,
        EXECUTOR_STOP_WHEN_EMPTY = 1,
        EXECUTOR_STOP_WITH_JOBS = 2,
};

/* A decoded batch. Everything in it points into the batch itself. */
struct executor_commands {
        bool has_hello;
        struct executor_hello hello;
        bool has_slots;
        uint32_t slots;
        size_t n_starts, n_kills, n_withdrawn, n_acknowledged, n_reads, n_cancelled_reads, n_journalled;
        struct executor_start *starts;
        struct run_id *kills;
        struct run_id *withdrawn;
        struct run_id *acknowledged;
        struct executor_read_request *reads;
        const uint64_t *cancelled_reads;
        struct executor_journalled *journalled;
        enum executor_stop stop;
        usec_t awake_usec; /* CLOCK_BOOTTIME, when the daemon was; 0: nothing is said */
        void *storage;
};

/* From the executor */

struct executor_welcome {
        uint32_t protocol;
        struct uuid instance;
        unsigned enforceable;         /* bits of enum limit_kind */
        struct limit_support support; /* why not the others */
};

struct executor_known {
        struct run_id run;
        usec_t started_at; /* CLOCK_REALTIME; 0: not started */
        bool ended;
        uint64_t journalled[2]; /* see struct executor_journalled */
};

struct executor_started {
        struct run_id run;
        usec_t started_at;
};

enum executor_outcome {
        EXECUTOR_EXITED = 0,
        EXECUTOR_SIGNALLED = 1,
        EXECUTOR_TIMED_OUT = 2,
        EXECUTOR_KILLED = 3,
        EXECUTOR_NOT_STARTED = 4,
        EXECUTOR_LOST = 5,
        _EXECUTOR_OUTCOME_MAX,
};

struct executor_stream {
        const void *data;
        size_t size; /* of data, or of this stream's part of the descriptor */
        uint64_t total;
        bool truncated;
};

struct executor_ended {
        struct run_id run;
        enum executor_outcome outcome;
        int exit_code;
        int signal;
        usec_t started_at, finished_at; /* CLOCK_REALTIME */
        usec_t duration_usec;
        struct executor_stream stdout_stream, stderr_stream;
        int output_descriptor;     /* stdout's bytes, then stderr's; data is then NULL in both */
        const char *error_message; /* NULL: none */
        bool oom_killed;
};

struct executor_data {
        uint64_t id;
        int error; /* a negative errno, or 0 */
        uint64_t offset;
        const void *data;
        size_t size;
        bool ended;
        uint64_t total; /* of the stream until now */
};

struct executor_events {
        bool has_welcome;
        struct executor_welcome welcome;
        size_t n_known, n_started, n_ended, n_data;
        struct executor_known *known;
        bool synchronised;
        struct executor_started *started;
        struct executor_ended *ended;
        struct executor_data *data;
        bool stopping;
        bool held; /* nothing starts before the daemon says that it is awake */
        void *storage;
};
