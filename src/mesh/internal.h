/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of this room share. */

#include "mesh/mesh.h"
#include "util/list.h"
#include "util/map.h"

/* Where a job is between its acceptance and its end. What the world is told (PENDING, RUNNING, …) follows
 * from it. */
enum job_state {
        JOB_STATE_QUEUED,    /* waits for a slot, or for its acceptance to be durable */
        JOB_STATE_ASSIGNING, /* its attempt is on the way to the disk */
        JOB_STATE_SENT,      /* the executor has it; not started as far as we know */
        JOB_STATE_RUNNING,
        JOB_STATE_ENDED, /* its end is on the way to the disk */
        _JOB_STATE_MAX,
};

struct mesh_job {
        struct map_link by_id;
        struct list_link queue_link;   /* in mesh.queue: QUEUED and durable */
        struct list_link hand_link;    /* in mesh.in_hand: ASSIGNING, SENT, RUNNING */
        struct list_link started_link; /* in mesh.started: RUNNING, and not written yet */
        struct list_link retry_link;   /* in mesh.unsaved: ENDED, and the store could not take it */
        struct job_spec *spec;
        enum job_state state;
        uint64_t arrival; /* its place among all that ever came, and so in the queue */
        struct run_id run;
        struct uuid executor;
        usec_t started_at;
        bool durable; /* its acceptance is */
        bool awaited;
        bool cancel_requested;
        bool seen; /* used while resynchronising */
        enum job_status final_status;
        struct job_result *result;
        const char *error_message; /* static */
};

/* How many starts the executor gets beyond its slots, so that a slot is refilled without a round trip: as
 * many as run in this time, since that is how long an assignment may gather on its way to the disk. */
#define PREFETCH_USEC (2 * RECORD_LINGER_USEC)
#define PREFETCH_MAX 64u

/* How long reports of the executor may gather; less than the first is not worth it. */
#define PATIENCE_MIN_USEC (1 * USEC_PER_MSEC)
#define PATIENCE_MAX_USEC (4 * USEC_PER_MSEC)

/* A run is written as started only when it lasts at least this long; before that its end follows at once. */
#define STARTED_DELAY_USEC (5 * USEC_PER_MSEC)
#define SAVE_RETRY_USEC USEC_PER_SEC

/* A nonce that somebody is to echo. */
struct question {
        uint8_t nonce[NONCE_SIZE];
        bool asked;
        usec_t asked_usec;
};

/* What claims to be a later life of a verified peer, and has not proven it yet. */
struct renewal {
        uint64_t incarnation, instance;
        struct sockaddr_in address;
        struct question question;
        bool asks; /* it said hello, with this nonce */
        uint8_t nonce[NONCE_SIZE];
};

struct peer {
        struct map_link by_id;
        struct mesh_peer public;
        struct question question;
        struct renewal renewal;
        bool answer_wanted; /* it said hello; we answer at answer_at_usec */
        usec_t answer_at_usec;
        uint8_t answer_echo[NONCE_SIZE];
        usec_t stored_usec; /* when it was last written to the store; 0: never */
};

#define ANSWER_JITTER_USEC (50 * USEC_PER_MSEC)
#define PROBES_PER_SEC 200u
#define PROBE_AGAIN_USEC (2 * USEC_PER_SEC)
#define RENEWAL_WAIT_USEC \
        (500 * USEC_PER_MSEC) /* before another claim takes the place of one without an answer */
#define PEER_STORE_INTERVAL_USEC USEC_PER_MINUTE
#define PEER_STORE_CHANGE_USEC (5 * USEC_PER_SEC)
#define PEER_INTERVAL_MAX_USEC                                                     \
        (5 * USEC_PER_MINUTE) /* an announced heartbeat interval counts up to this \
                               */
/* When the timer runs this late the node was paused, and judges nobody until it has listened again. */
#define PAUSE_USEC USEC_PER_SEC

/* Another process with this node's id. */
struct rival {
        uint64_t instance;
        usec_t uptime_usec, uptime_heard_usec; /* what it said of itself, and when */
        struct question question;
        usec_t last_proven_usec;
        bool elder; /* it was there before us: we stop taking work */
        bool reported;
};

struct mesh {
        struct mesh_config config;
        struct mesh_ops ops;
        void *userdata;
        usec_t started_usec;
        bool working; /* after mesh_start() */

        struct map jobs; /* all unfinished, by id */
        size_t n_jobs;
        uint64_t arrivals;
        struct list queue;
        size_t n_queued; /* PENDING in the eyes of the world: accepted and not started */
        struct list in_hand;
        size_t n_in_hand;
        size_t n_running;
        struct list started;
        struct list unsaved;
        size_t n_batches;        /* with the store */
        usec_t run_average_usec; /* moving; 0: not known */
        bool draining;
        bool stopping;
        bool store_failing;
        char store_reason[160];
        bool executor_connected;
        struct uuid executor;

        struct map peers;
        size_t n_peers;
        struct rival rival;
        uint64_t sequence;
        uint8_t hello_nonce[NONCE_SIZE];
        unsigned hellos_left;
        unsigned probes_left; /* in this second */
        usec_t probes_second;
        usec_t judge_after_usec;

        /* When each is due; USEC_INFINITY: not at all. */
        usec_t heartbeat_due, hello_due, peers_due, answers_due, started_due, retry_due;
        usec_t timer_at;
};

/* mesh.c */
usec_t mesh_now(const struct mesh *mesh);
void mesh_arm(struct mesh *mesh);
enum node_status mesh_status(const struct mesh *mesh, const char **ret_reason);
void mesh_write(struct mesh *mesh, struct record_batch *batch);

/* jobs.c */
struct mesh_job *job_find(struct mesh *mesh, const struct uuid *id);
struct mesh_job *job_free(struct mesh *mesh, struct mesh_job *job);
void job_enter(struct mesh *mesh, struct mesh_job *job, enum job_state state);
struct record *job_record(struct mesh_job *job, struct record_batch *batch, enum record_type type);
void job_requeue(struct mesh *mesh, struct mesh_job *job);
void job_finish(
        struct mesh *mesh, struct mesh_job *job, enum job_status status, struct job_result *result,
        const char *error_message);
void job_send(struct mesh *mesh, struct mesh_job *job);
void jobs_schedule(struct mesh *mesh);
void jobs_retry_unsaved(struct mesh *mesh);
bool jobs_may_start(const struct mesh *mesh);

/* runs.c */
void runs_write_started(struct mesh *mesh);

/* peers.c */
void peers_check(struct mesh *mesh);
struct peer *peer_free(struct mesh *mesh, struct peer *peer);

/* questions.c */
/* Asks now, unless that was done a moment ago; datagram_size is that of the message that gave rise to it. */
void question_ask(
        struct mesh *mesh, struct question *question, const struct sockaddr_in *address,
        size_t datagram_size);
bool question_is_answered(const struct question *question, const struct mesh_message *message);
void question_address(
        const struct mesh_message *message, const struct sockaddr_in *source, struct sockaddr_in *ret);
void question_acknowledge(
        struct mesh *mesh, uint64_t known_incarnation, const struct mesh_message *question,
        const struct sockaddr_in *address, size_t datagram_size);
void question_answer(
        struct mesh *mesh, struct peer *peer, const struct mesh_message *message, size_t datagram_size);
void question_answer_later(struct mesh *mesh, struct peer *peer, const uint8_t nonce[static NONCE_SIZE]);
void questions_send_answers(struct mesh *mesh);

/* rival.c */
void rival_heard(
        struct mesh *mesh, const struct mesh_message *message, const struct sockaddr_in *source,
        size_t datagram_size);
void rival_check(struct mesh *mesh);

/* heartbeat.c */
void heartbeat_fill(struct mesh *mesh, enum message_type type, struct mesh_message *ret);
void heartbeat_send(struct mesh *mesh);
void hello_begin(struct mesh *mesh, unsigned times);
void hello_send(struct mesh *mesh);
