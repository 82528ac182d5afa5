/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A mesh lives through a bad time: random submissions, cancels and drains, and everything that may happen to
 * hosts, disks and cables. Then all is mended, time passes, and what must hold is checked. The same seed
 * gives the same history. */

#include "lib/mesh-world.h"

#define SIM_FAULTS_MAX 64
#define SIM_SPARE_NODES 4 /* that come after the beginning */

/* From the last word to the loss: a heartbeat that is late by a fifth, six questions, a moment (see
 * mesh/suspicion.c). */
#define SIM_HEARTBEAT_USEC (5 * USEC_PER_SEC)
#define SIM_LOSS_USEC (SIM_HEARTBEAT_USEC * 6 / 5 + 5 * 500 * USEC_PER_MSEC + USEC_PER_SEC)

/* So long after it has heard the other a new life of a node may be taken for a recording: a question has to
 * be asked and answered, and either may be lost. */
#define SIM_HELLO_USEC (4 * USEC_PER_SEC)

struct sim_job {
        struct map_link by_id;
        struct uuid id;
        size_t number;
        struct world_node *owner; /* who accepted it */
        uint64_t order;           /* in which owners accepted jobs */
        uint64_t life;            /* of the owner, in which it was accepted */
        unsigned copies;          /* of which its acknowledgement spoke; 0: it was not acknowledged */
        bool pinned;              /* to one node */
        bool moved;               /* it has had another owner since */
        bool choosy;              /* to nodes with some label */
        struct job_rules rules;
        bool assigned, cancelled, ended;
        unsigned n_burned;      /* hosts that had it */
        bool end_burned;        /* its end was told, and went with the last disk that had it */
        bool cancel_asked;      /* it may be forgotten until it is acknowledged */
        enum job_status status; /* once it has ended */
        unsigned n_running, n_starts;
};

#define SIM_BATCH_MAX 64
#define SIM_PRIORITIES 5 /* around 0 */

/* What was submitted together; the tag of its answer. */
struct sim_batch {
        struct list_link link; /* in sim.batches */
        size_t n;
        struct uuid ids[SIM_BATCH_MAX];
};

struct sim_run {
        struct map_link by_run;
        struct run_id run;
        struct world_node *node;
        bool lost; /* with its executor */
};

enum sim_fault_kind {
        FAULT_PAUSE,     /* of the host */
        FAULT_CABLE,     /* is out */
        FAULT_DEAF,      /* to one other node */
        FAULT_PARTITION, /* of all into two */
        FAULT_DOWN,      /* the daemon */
        FAULT_DISK_FULL,
        FAULT_DISK_SLOW,
        FAULT_DRAIN,
        FAULT_STOP, /* in order: it drains, and says goodbye in the end */
        FAULT_LAST, /* after its goodbye it is there for a moment, for its last words to arrive */
};

struct sim_fault {
        enum sim_fault_kind kind;
        struct world_node *node, *to;
        uint64_t side; /* of a partition: which nodes are on which one is drawn from it */
        usec_t ends_at;
};

/* What one hears of another. */
struct sim_pair {
        usec_t heard_usec;  /* when the last that came was sent; 0: nothing ever came */
        usec_t met_usec;    /* when the first heard the second for the first time in its present life */
        usec_t came_usec;   /* and for the last time */
        usec_t missed_usec; /* when something last did not come */
        bool split;
};

struct sim_node {
        usec_t absent_usec;  /* when it was last paused or down */
        usec_t goodbye_usec; /* it was said last; 0: never */
        usec_t started_usec;
        /* Of those that any node may run: accepted in this life of the node, and before, which first have to
         * be known not to be another's by now. */
        uint64_t last_order[2][SIM_PRIORITIES];
        uint64_t life;
};

struct sim_result {
        uint64_t seed, hash;
        uint64_t n_jobs, n_runs, n_frames, n_datagrams, n_bytes;
        uint64_t n_split_meshes, n_split_pairs, n_moved; /* jobs that have changed their owner */
        /* What may happen after a split, and did. */
        uint64_t n_twice, n_together, n_after_cancel, n_changed;
        uint64_t n_burned, n_ends_burned; /* jobs, told ends: with the last disk that had them */
        uint64_t n_given_up, n_late;      /* attempts; and those of which the end is known */
        usec_t usec;
};

struct sim_options {
        unsigned n_nodes; /* 0: drawn */
        bool loss;        /* nodes are lost with jobs of their own on their disks */
        bool tracing, hashing;
};

enum sim_mood {
        MOOD_CALM,  /* nothing fails */
        MOOD_SHORT, /* nothing lasts long enough for a split by itself */
        MOOD_LONG,
};

struct sim {
        struct world world;
        struct sim_options options;
        struct sim_result result;
        enum sim_mood mood;
        size_t n_nodes_max;
        usec_t began_usec;
        bool mended;         /* nothing fails any more */
        usec_t changed_usec; /* when a job ended, or changed its owner, last */
        unsigned n_slots, n_slots_gone, shortest_msec, longest_msec, batch_max, n_destroyed;
        struct sim_node *nodes;
        struct sim_pair *pairs; /* n_nodes_max * n_nodes_max: what the first hears of the second */
        size_t n_jobs, n_jobs_allocated;
        struct sim_job **jobs;
        struct map jobs_by_id, runs;
        struct list batches;
        uint64_t n_orders;
        size_t n_faults;
        struct sim_fault faults[SIM_FAULTS_MAX];
};

/* life.c */
struct world_node *sim_add_node(struct sim *sim, const char *name, unsigned slots);
void sim_live(struct sim *sim, uint64_t seed, const struct sim_options *options);

/* trace.c */
void sim_say(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_show(struct sim *sim);

/* watch.c: what must hold at every moment, and at the end. */
void watch_begin(struct sim *sim);
void watch_done(struct sim *sim);
void watch_lost(struct sim *sim, struct world_node *node, bool host); /* its executor is about to be */
void watch_settled(struct sim *sim);
struct sim_job *watch_find(struct sim *sim, const struct uuid *id);
/* Of the job, where somebody owns it, one that has not ended first; NULL: nowhere. */
const struct disk_job *watch_record(struct sim *sim, const struct sim_job *job);
bool watch_all_ended(struct sim *sim);
bool watch_owes_nothing(struct sim *sim, struct world_node *node);
bool watch_is_lost(struct sim *sim, const struct sim_job *job);

/* fire.c */
void fire_takes(struct sim *sim, struct world_node *node); /* it is about to burn down */
void fire_settled(struct sim *sim);

/* split.c: two nodes that cannot exchange messages for longer than the loss time. */
void split_begin(struct sim *sim);
void split_done(struct sim *sim);
void split_goodbye(struct sim *sim, struct world_node *node);
void split_taken_over(struct sim *sim, struct world_node *by, const struct world_node *owner);
void split_absent(struct sim *sim, struct world_node *node);  /* it was, until now */
void split_started(struct sim *sim, struct world_node *node); /* it begins a new life */
void split_gone(struct sim *sim, struct world_node *node);    /* it is about to go for good */
bool split_happened(struct sim *sim);
/* Whether the first one ever heard nothing of the other for too long. */
bool split_was_between(struct sim *sim, const struct world_node *node, const struct world_node *from);

/* faults.c */
void fault_random(struct sim *sim);
usec_t faults_due(const struct sim *sim);
void faults_end(struct sim *sim, usec_t at);
uint32_t sim_below(struct sim *sim, uint32_t limit);
struct world_node *sim_any_node(struct sim *sim); /* that is not gone */

/* workers.c */
struct sim_plan {
        uint64_t first, n;
        unsigned n_workers;
        unsigned n_failures_max; /* then no more is tried */
        bool twice;              /* each seed, and both histories are the same */
        struct sim_options options;
};
/* Returns how many seeds failed; those are in ret_failed in ascending order. */
size_t workers_run(const struct sim_plan *plan, struct sim_result *ret_total, uint64_t *ret_failed);
/* Lives through it once more, with a trace of which the end is printed. */
void workers_replay(uint64_t seed, const struct sim_options *options, size_t n_lines);

/* balance.c */
/* With 4, 20 and 200 nodes, or one of these. 0: it was good enough everywhere. */
int balance_main(unsigned n_nodes);
