/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Jobs that this node owns: what is known of each, and who moves it from one state to the next. */

#include "mesh/job-end.h"
#include "mesh/mesh.h"
#include "util/heap.h"
#include "util/list.h"
#include "util/map.h"

struct answer;
struct place;

/* Where a job is between its acceptance and its end. What the world is told (PENDING, RUNNING, …) follows
 * from it. */
enum job_state {
        JOB_STATE_QUEUED,    /* waits for a slot, or for its acceptance to be durable */
        JOB_STATE_DELAYED,   /* failed by itself, and waits to be tried again; or was taken over just now */
        JOB_STATE_ASSIGNING, /* its attempt is on the way to the disk */
        JOB_STATE_SENT,      /* the executor has it; not started as far as we know */
        JOB_STATE_RUNNING,
        JOB_STATE_ENDED, /* its end is on the way to the disk */
        _JOB_STATE_MAX,
};

/* A bit for each class of jobs that asks for labels. */
#define QUEUE_CLASSES_MAX 256u /* of those, at once: what asks for something else is refused */
struct label_bits {
        uint64_t words[QUEUE_CLASSES_MAX / 64];
};

static inline bool label_bit(const struct label_bits *bits, unsigned number) {
        return bits->words[number / 64] >> (number % 64) & 1;
}

static inline void label_bit_set(struct label_bits *bits, unsigned number, bool value) {
        uint64_t bit = UINT64_C(1) << (number % 64);

        bits->words[number / 64] = value ? bits->words[number / 64] | bit : bits->words[number / 64] & ~bit;
}

/* Jobs that the same nodes may run. One with labels is there as long as an unfinished job is in it. */
struct queue_class {
        struct map_link by_key; /* in mesh.classes: those with labels */
        struct list_link
                link;     /* in mesh.open_classes, own_classes or pinned_classes: while jobs wait in it */
        struct heap jobs; /* QUEUED and durable */
        size_t n_queued;  /* in jobs */
        size_t n_jobs;    /* that refer to it */
        struct place *target;  /* the only node that may; NULL: any, or this one */
        bool here_only;        /* only this node may */
        bool fits_here;        /* this node may */
        unsigned number;       /* its bit; QUEUE_CLASSES_MAX: it has none */
        struct job_spec *spec; /* that of its first job, for the labels; NULL: it asks for none */
        char *key;
        uint64_t passed; /* the pass in which nobody had room for it */
};

struct mesh_job {
        struct map_link by_id;
        struct heap_link queue_link; /* in class.jobs: QUEUED and durable */
        struct list_link hand_link;  /* in mesh.in_hand or in that of its place: ASSIGNING, SENT, RUNNING */
        struct list_link started_link; /* in mesh.started: RUNNING, and not written yet */
        struct list_link
                retry_link; /* in mesh.unsaved: ENDED or given up, and the store could not take it */
        struct job_spec *spec;
        struct queue_class *class;
        enum job_state state;
        uint64_t arrival; /* its place among all that ever came, and so in the queue */
        struct run_id run;
        struct place *place;  /* the node that has the attempt; NULL: this one, or none */
        struct place *target; /* the only node that may; NULL: any, or this one */
        uint64_t epoch;       /* of our ownership; a run that another owner began has a lower one */
        uint32_t given_up;    /* attempts up to this one are over, on the disk */
        uint32_t retries_used;
        unsigned n_executors_lost; /* while it ran */
        usec_t retry_at;
        struct heap_link delay_link; /* in mesh.delayed: DELAYED, and its wait is not over */
        bool lost;         /* the attempt lost_run was given up, and who had it does not know that yet */
        bool lost_unsaved; /* the store could not take what is to be remembered of it */
        enum attempt_fate lost_fate;
        struct run_id lost_run;
        usec_t lost_started_at;
        struct node_name *lost_at;      /* who had the attempt that is being given up; NULL: this node */
        struct job_result *lost_result; /* what it came to; NULL: not known */
        bool lost_is_late;              /* it came when the attempt had been given up already */
        struct uuid executor;
        usec_t started_at;
        bool durable;        /* its acceptance is */
        bool may_have_begun; /* the attempt was out of our hands, and is not known not to have */
        bool sent;           /* to its place, over this link */
        bool sent_once;      /* over some link, or perhaps in an earlier life of ours */
        bool traceable;      /* it was in this one, and would not be gone from there unnoticed */
        bool taken;          /* its place has it on its disk */
        bool awaited;
        bool cancel_requested;
        bool handed_back; /* its run is ended, since this node is drained */
        bool seen;        /* used while resynchronising */
        /* Its copy. */
        struct list_link
                copy_link;     /* in keeper.unsent or keeper.sent: the keeper does not have it as it is */
        uint64_t copy_number;  /* under which it was sent last */
        uint64_t copy_offset;  /* bytes of copies that were sent before it */
        struct answer *answer; /* a client that waits for its acceptance to be on two disks */
        bool copied;           /* the keeper has some state of it */
        bool end_copied;
        bool saved;                   /* its end is on our disk */
        bool told;                    /* and clients know */
        struct node_name *yielded_by; /* whose it was, if that is there and may not know yet; else NULL */
        bool held_back;               /* after a restart: somebody may have taken it over */
        bool loss_waits;              /* meanwhile its run was found to be lost, which would end it */
        bool moved;                   /* another owner has it: forgotten when the disk says so */
        usec_t announce_at;           /* taken over, and not told yet that it is ours; 0: it was */
        bool begins_untold;           /* nobody was there to be told */
        bool withdrawn;               /* its acceptance failed, and the keeper has to forget it */
        bool claimed; /* who has the inherited run was told, over this link, that we are its owner */
        enum job_status final_status;
        struct job_result *result;
        const char *error_message; /* static */
};

#define EXECUTORS_LOST_MAX 3u /* with one job; then it fails */
#define LATE_MAX 4096u        /* late ends on their way to the disk at once; others are told again later */

/* Nobody has it; the attempt before may be on its way to the disk as one that is over. */
static inline bool job_is_between_attempts(const struct mesh_job *job) {
        return job->state == JOB_STATE_QUEUED || job->state == JOB_STATE_DELAYED;
}

/* An executor has it, here or elsewhere, and has not told its end. */
static inline bool job_is_out(const struct mesh_job *job) {
        return job->state == JOB_STATE_SENT || job->state == JOB_STATE_RUNNING;
}

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

/* jobs.c */
int job_new(struct mesh *mesh, struct job_spec *spec, struct mesh_job **ret);
void job_begin_attempt(struct mesh *mesh, struct mesh_job *job, struct place *place);
void job_requeue(struct mesh *mesh, struct mesh_job *job); /* back to its place in the queue */
struct mesh_job *job_find(struct mesh *mesh, const struct uuid *id);
struct mesh_job *job_free(struct mesh *mesh, struct mesh_job *job);
void job_enter(struct mesh *mesh, struct mesh_job *job, enum job_state state);
struct record *job_record(struct mesh_job *job, struct record_batch *batch, enum record_type type);
/* The attempt is over, and the next may begin: after FAILED later, and that is one retry. result: what it
 * came to, where that is known; NULL. */
void job_give_up(struct mesh *mesh, struct mesh_job *job, enum attempt_fate fate, struct job_result *result);
void job_finish(
        struct mesh *mesh, struct mesh_job *job, enum job_status status, struct job_result *result,
        const char *error_message);
void job_send(struct mesh *mesh, struct mesh_job *job);
void job_attempt_lost(struct mesh *mesh, struct mesh_job *job);
/* The attempt begins on paper, at a place (NULL: here); a record of it joins the batch. */
int job_assign(struct mesh *mesh, struct mesh_job *job, struct place *place, struct record_batch *batch);

/* What is to be told or released after an end, as far as both disks have it; the job may be gone then. */
void job_conclude(struct mesh *mesh, struct mesh_job *job);

/* runs.c */
void run_concluded(struct mesh *mesh, struct mesh_job *job, struct job_result *result);
void run_began(struct mesh *mesh, struct mesh_job *job, usec_t started_at);
void runs_write_started(struct mesh *mesh);

/* queue.c */
bool jobs_may_start(const struct mesh *mesh);
size_t hand_limit(const struct mesh *mesh);
bool job_comes_first(const struct mesh_job *job, const struct mesh_job *other);
/* Of what waits and this node may run, what comes first; NULL: nothing. */
struct mesh_job *job_next_here(const struct mesh *mesh);
size_t queue_backlog(struct mesh *mesh); /* what waits and other nodes may run */
void jobs_schedule(struct mesh *mesh);

/* classes.c */
void class_init(struct queue_class *class, struct place *target, bool here_only);
int class_join(struct mesh *mesh, struct mesh_job *job);
void class_leave(struct mesh *mesh, struct mesh_job *job);
bool class_is_admitted(const struct queue_class *class); /* not beyond the limit */
void class_add(struct mesh *mesh, struct mesh_job *job); /* it waits now */
void class_remove(struct mesh_job *job);                 /* harmless when it does not */
bool place_fits(struct mesh *mesh, const struct place *place, const struct queue_class *class);
void classes_match_here(struct mesh *mesh);
void place_match_classes(struct mesh *mesh, struct place *place, const struct node_info *info);
void place_does_not_fit(struct mesh *mesh, struct place *place, const struct queue_class *class);

/* retries.c */
bool job_may_be_retried(const struct mesh_job *job, const struct job_result *result);
void job_cancel_written(struct mesh *mesh, struct mesh_job *job); /* or could not be */
void job_delay(struct mesh *mesh, struct mesh_job *job);
void job_delay_for(struct mesh *mesh, struct mesh_job *job, usec_t usec);
void job_undelay(struct mesh *mesh, struct mesh_job *job);
void job_try_again(struct mesh *mesh, struct mesh_job *job);
void retries_begin(struct mesh *mesh);

/* written.c */
void job_write_given_up(struct mesh *mesh, struct mesh_job *job);
void job_write_end(struct mesh *mesh, struct mesh_job *job);
/* Nobody was told that it exists; but the keeper may have been. The job may be gone then. */
void job_withdraw(struct mesh *mesh, struct mesh_job *job);
/* What is to be remembered of the attempt that is being given up joins the batch. */
int job_attempt_record(struct mesh *mesh, struct mesh_job *job, struct record_batch *batch);
void jobs_retry_unsaved(struct mesh *mesh);

/* late.c: ends of attempts that had been given up. */
void late_write(struct mesh *mesh, struct node_name *node, struct job_spec *spec, struct job_result *result);
void late_ended(struct mesh *mesh, struct place *place, const struct link_ended *ended);
bool batch_is_late_end(const struct record_batch *batch);
/* Takes the batch. */
void late_written(struct mesh *mesh, struct record_batch *batch, int error);
void late_retry_unsaved(struct mesh *mesh);
void late_free(struct mesh *mesh);
