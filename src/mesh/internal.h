/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of this room share. */

#include "mesh/job-end.h"
#include "mesh/mesh.h"
#include "util/heap.h"
#include "util/list.h"
#include "util/map.h"

/* Where a job is between its acceptance and its end. What the world is told (PENDING, RUNNING, …) follows
 * from it. */
enum job_state {
        JOB_STATE_QUEUED,    /* waits for a slot, or for its acceptance to be durable */
        JOB_STATE_DELAYED,   /* failed by itself, and waits to be tried again */
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
        bool here_only;      /* its target is this node */
        bool may_have_begun; /* the attempt was out of our hands, and is not known not to have */
        bool sent;           /* to its place, over this link */
        bool sent_once;      /* over some link, or perhaps in an earlier life of ours */
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
        bool saved;      /* its end is on our disk */
        bool told;       /* and clients know */
        bool held_back;  /* after a restart: somebody may have taken it over */
        bool loss_waits; /* meanwhile its run was found to be lost, which would end it */
        bool moved;      /* another owner has it: forgotten when the disk says so */
        bool withdrawn;  /* its acceptance failed, and the keeper has to forget it */
        bool claimed;    /* who has the inherited run was told, over this link, that we are its owner */
        enum job_status final_status;
        struct job_result *result;
        const char *error_message; /* static */
};

/* What is asked of each other's index over this link. */
struct place_index {
        struct index_name *owner; /* a reference; NULL: not needed yet */
        usec_t ask_due;           /* 0: not at all */
        bool asked;               /* by us, and it has not answered */
        bool asks;                /* it waits for an answer */
        bool told_all;            /* it had one that was complete */
        uint64_t push_round;      /* the last one in which it had its turn */
        uint64_t after;           /* what it asked for */
        usec_t since;
        uint32_t room;
};

/* Another node, as one that runs our jobs and as one whose jobs we run. It is there as long as somebody
 * refers to it, whether or not the node is a peer at the moment. */
struct place {
        struct map_link by_id;
        struct node_name *name;
        unsigned busy; /* somebody on the stack needs it */

        struct list in_hand;       /* our jobs that it has */
        struct queue_class pinned; /* our jobs that wait for it alone, and ask for no labels */
        struct list fetches;       /* results of ours that are on their way */
        size_t n_jobs;             /* of ours, that refer to it */
        struct list guests;        /* its jobs that we have */

        bool alive; /* a peer that has proven to be there */
        bool link_wanted, link_up;
        bool compared;      /* over this link it has told what it holds of ours */
        bool held_told;     /* and we what we hold of its */
        bool offered;       /* room of ours, and nothing came yet */
        bool late_left_out; /* it told of more late ends than could be written */
        unsigned slots;
        unsigned room;    /* so many more it would begin at once, as far as we know */
        unsigned backlog; /* jobs of its own that anybody may run */
        struct node_pressure pressure;
        usec_t avoid_until;        /* it refused, for a reason that will last; 0: it may be given jobs */
        struct label_bits fits;    /* the classes whose labels it has */
        struct label_bits misfits; /* those for whose labels it refused a job */
        usec_t misfits_until;
        usec_t keeps_again_usec; /* it was too slow as our keeper, and is not asked before */
        usec_t heard_usec;       /* when it said something last */
        usec_t asked_usec;       /* when we asked whether it is there, since a run of its waits for that */
        usec_t silent_since;     /* since when it is not alive; USEC_INFINITY: it is */
        struct copies *copies;   /* of its jobs, here; NULL: none */
        uint64_t instance;       /* of its process, as its last link told; 0: not known */

        /* Kept in step with the above by place_review(): it may be given jobs now, or once it is linked. */
        bool ready;
        size_t ready_index;            /* in mesh.ready */
        struct list_link distant_link; /* in mesh.distant */

        struct place_index index;
};

/* A submission that is not answered yet. */
struct answer {
        struct list_link link; /* in mesh.answers */
        void *tag;
        size_t n_uncopied; /* of its jobs */
        bool durable;      /* here */
        bool copied;       /* there will have been two, when none is uncopied */
};

enum keeper_state {
        KEEPER_NONE,
        KEEPER_SAVING, /* that this node may have copies from now on is on its way to the disk */
        KEEPER_CHOSEN,
};

/* Who has copies of our jobs. */
struct keeper {
        enum keeper_state state;
        struct place *place;
        uint64_t term;            /* of this keeper, or of the last one */
        uint64_t number, acked;   /* of copies sent, and of those that it has */
        uint64_t bytes;           /* of all that were ever sent, about */
        uint64_t complete_number; /* of the word that all was told; 0: not said */
        struct list unsent, sent; /* jobs; those sent in order of their numbers */
        usec_t moved_usec;        /* when something was sent after nothing was owed, or acknowledged */
};

/* A node that may have copies of ours, until it says that it has none. */
struct holder {
        struct map_link by_id;
        struct node_name *name;
        uint64_t term;
        bool answered; /* after our restart: what it took over is known */
};

#define KEEPER_AGAIN_USEC (30 * USEC_PER_SEC)

/* A run of a job that another node owns. */
enum guest_state {
        GUEST_ARRIVING, /* on its way to the disk */
        GUEST_WAITING,  /* durable; for a slot, or for its owner to confirm it after a restart */
        GUEST_SENT,     /* the executor has it */
        GUEST_RUNNING,
        GUEST_ENDING, /* its end is on the way to the disk */
        GUEST_ENDED,  /* and there; kept until the owner has it */
        GUEST_GOING,  /* the owner has it; that it goes is on the way to the disk */
        _GUEST_STATE_MAX,
};

struct guest {
        struct map_link by_job;
        struct list_link place_link; /* in place.guests */
        struct list_link wait_link;  /* in mesh.guests_waiting */
        struct list_link
                retry_link; /* in mesh.guests_unsaved: ENDING or GOING, and the store could not take it */
        struct place *owner;
        struct job_spec *spec;
        struct run_id run;
        uint64_t owner_epoch; /* of its owner, as far as we know */
        enum guest_state state;
        struct uuid executor; /* on the disk: the process of ours that has it, or gets it */
        usec_t started_at;
        struct job_result *result;
        bool confirmed; /* by its owner, over this link: it may start */
        bool durable;
        bool kill_wanted, retire_wanted, handed_back; /* the last: since this node is drained */
        bool told;                                    /* its end, over this link */
        bool in_executor;                             /* the executor has something to release */
        bool adopting; /* it becomes a job of our own; that is on its way to the disk */
        bool leaving;  /* with that; else its end is kept until it is that of our job */
        bool seen;
};

#define GUESTS_MAX 16384u                              /* at once, ended ones included */
#define GUEST_OUTPUT_MAX (UINT64_C(256) * 1024 * 1024) /* bytes of results that owners have not taken */
#define EXECUTORS_LOST_MAX 3u                          /* with one job; then it fails */
#define REFUSED_WAIT_USEC USEC_PER_SEC
#define MISFIT_USEC (30 * USEC_PER_SEC) /* before it is given what it refused for its labels */
/* A run of another owner begins only when that was heard so short a time ago: it gives the run up, and
 * answers a cancel, when it has not heard us for twice as long. */
#define OWNER_HEARD_USEC (5 * USEC_PER_SEC)
#define LINK_RETRY_USEC (500 * USEC_PER_MSEC)
#define MESH_OUTPUT_MAX                                                                   \
        (64u * 1024 * 1024 + 4096) /* bytes of one output that is taken from another node \
                                    */

#define LATE_MAX 4096u /* late ends on their way to the disk at once; others are told again later */

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
        unsigned n_probes; /* since it was last heard */
        usec_t probe_due;
        usec_t stored_usec; /* when it was last written to the store; 0: never */
};

#define SUSPICION_PROBES 6u
#define SUSPICION_PROBE_USEC (500 * USEC_PER_MSEC) /* from one to the next */
#define SUSPICION_WAIT_USEC USEC_PER_SEC           /* after the last one */
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
        struct node_pressure pressure;
        struct mesh_ops ops;
        void *userdata;
        usec_t started_usec;
        bool working; /* after mesh_start() */

        struct map jobs; /* all unfinished, by id */
        size_t n_jobs;
        uint64_t arrivals;
        size_t n_queued;                 /* PENDING in the eyes of the world: accepted and not started */
        size_t n_waiting_here;           /* QUEUED, durable or not, and this node may run it */
        struct map classes;              /* struct queue_class, with labels */
        struct label_bits class_numbers; /* those that are taken */
        struct queue_class open_class, own_class; /* without labels: for any node, for this one alone */
        struct list open_classes, own_classes, pinned_classes; /* in which jobs wait */
        uint64_t pass;                                         /* of places_schedule() */
        struct list in_hand;
        size_t n_in_hand; /* of our own, on this node */
        size_t n_running; /* likewise */

        struct keeper keeper;
        struct map holders;  /* struct holder, by node id */
        struct list answers; /* that clients wait for */
        struct map copies;   /* struct copy, by job id */
        size_t n_held_back;
        usec_t held_back_until;

        struct index *index;
        struct map places;    /* struct place, by node id */
        struct place **ready; /* those that may be given jobs now; room for all places */
        size_t n_ready, n_ready_allocated;
        struct list distant;     /* those that may, once they are linked */
        struct map guests;       /* struct guest, by job id */
        size_t n_guests;         /* all */
        size_t n_guests_in_hand; /* ARRIVING to RUNNING: these take slots, or are about to */
        size_t n_guests_running;
        uint64_t guest_output; /* bytes */
        struct list guests_waiting, guests_unsaved;
        struct node_name *served; /* whose job ended here last; NULL */
        uint64_t n_fetches;
        struct heap delayed; /* by when they are tried again */
        struct list started;
        struct list unsaved;
        struct list late_unsaved; /* batches of one late end each, that the store could not take */
        size_t n_late;            /* late ends in the store, or waiting for it */
        bool late_left_out;       /* more came */
        struct list unmerged;     /* ends that count elsewhere, and that the disk could not take */
        size_t n_batches;         /* with the store */
        usec_t run_average_usec;  /* moving; 0: not known */
        usec_t last_end_usec;     /* when a run ended here */
        unsigned draining;        /* enum mesh_drain_reason; 0: not */
        struct mesh_drain drain;  /* MESH_DRAIN_ASKED, with a since of 0 where nobody in particular did */
        size_t n_drain_writes;    /* of what was asked for, with the store */
        bool drain_unsaved;       /* the store could not take it */
        bool hands_back;          /* its time is over: what runs is ended, and begins again elsewhere */
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
        usec_t paused_usec; /* when a pause of ours was noticed last */

        /* When each is due; USEC_INFINITY: not at all. */
        usec_t heartbeat_due, hello_due, peers_due, answers_due, started_due, retry_due, links_due,
                keeper_due, claims_due, index_due, rooms_due, delayed_due, drain_due;
        usec_t backlog_told_usec;
        usec_t timer_at;
};

/* mesh.c */
usec_t mesh_now(const struct mesh *mesh);
uint64_t mesh_random_below(struct mesh *mesh, uint64_t limit); /* 0 for a limit of 0 */
void mesh_arm(struct mesh *mesh);
enum node_status mesh_status(const struct mesh *mesh, const char **ret_reason);
void mesh_write(struct mesh *mesh, struct record_batch *batch);

/* drain.c */
void drain_time_over(struct mesh *mesh);
void drain_start(struct mesh *mesh);
void drain_retry(struct mesh *mesh); /* to write what the store could not take */
void drain_written(struct mesh *mesh, const struct record *record, int error);

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

/* keeper.c: copies of ours. */
void keeper_choose(struct mesh *mesh);
bool keeper_needs(const struct mesh *mesh, const struct place *place);
bool keeper_needs_link(const struct mesh *mesh, const struct place *place); /* to say something */
void keeper_changed(struct mesh *mesh, struct mesh_job *job);
void keeper_forget(struct mesh *mesh, struct mesh_job *job);
void keeper_flush(struct mesh *mesh, const struct place *place);
void keeper_check(struct mesh *mesh);
void keeper_take(struct mesh *mesh, struct place *place, const struct link_message *message);
void keeper_written(struct mesh *mesh, const struct record *record, int error);
void keeper_link_up(struct mesh *mesh, struct place *place, uint64_t instance);
void keeper_heard(struct mesh *mesh, struct place *place);
void keeper_lost(struct mesh *mesh, const struct place *place);
void keeper_start(struct mesh *mesh);
void keeper_resume(struct mesh *mesh); /* what was held back after a restart may begin */
void keeper_holder_answered(struct mesh *mesh, const struct place *place);
bool keeper_is_idle(const struct mesh *mesh);
void keeper_free(struct mesh *mesh);
int answer_new(struct mesh *mesh, void *tag, struct answer **ret);
void answer_free(struct answer *answer);
void answer_expect(struct mesh *mesh, struct answer *answer, struct mesh_job *job);
void answer_check(struct mesh *mesh, struct answer *answer);

/* copies.c: copies of others'. */
void copies_of_place_free(struct mesh *mesh, struct place *place);
void copies_take(struct mesh *mesh, struct place *owner, const struct link_message *message);
void copies_written(struct mesh *mesh, const struct record *record, int error);

/* claims.c, takeover.c: jobs that change their owner. */
/* occasion: never the same for two takeovers from one owner. */
uint64_t next_epoch(const struct mesh *mesh, uint64_t epoch, const struct place *owner, uint64_t occasion);
void claims_start(struct mesh *mesh);
void claims_check(struct mesh *mesh);
void claims_owner_gone(struct mesh *mesh, const char *node_id);
void claims_owner_back(struct place *owner);
void claims_take(struct mesh *mesh, struct place *from, const struct link_message *message);
void takeover_tell(struct mesh *mesh, struct mesh_job *job);
void takeover_start(struct mesh *mesh);
void takeover_written(struct mesh *mesh, struct mesh_job *job, const struct record *record, int error);
/* What another node says of a job of which it is the owner. */
void takeover_heard(
        struct mesh *mesh, const char *owner, const struct uuid *id, enum job_status status, uint64_t epoch);
void ends_merge(struct mesh *mesh, const struct uuid *id);
void merge_written(struct mesh *mesh, const struct record *record, int error);
void merges_drop(struct mesh *mesh, bool write); /* what the disk could not take: once more, or never */

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
void job_delay(struct mesh *mesh, struct mesh_job *job);
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

/* places.c: our jobs elsewhere. */
enum run_word { WORD_TAKEN, WORD_KILL, WORD_WITHDRAW, WORD_RETIRE };
int place_get(struct mesh *mesh, const char *node_id, struct place **ret);
struct place *place_find(struct mesh *mesh, const char *node_id);
/* It may be free now. */
void place_check(struct mesh *mesh, struct place *place);
void places_free(struct mesh *mesh);
bool job_attempt_is_over(const struct mesh_job *job, const struct run_id *run);
void job_set_place(struct mesh *mesh, struct mesh_job *job, struct place *place);
void job_set_target(struct mesh *mesh, struct mesh_job *job, struct place *target);
void place_want_link(struct mesh *mesh, struct place *place);
void places_open_links(struct mesh *mesh);
bool place_send(struct mesh *mesh, struct place *place, const struct link_message *message);
void place_send_or_close(struct mesh *mesh, struct place *place, const struct link_message *message);
/* The job of this very run at this place, or NULL: what is told about another attempt is history. */
struct mesh_job *job_at(struct mesh *mesh, const struct place *place, const struct run_id *run);
void place_send_run(struct mesh *mesh, struct place *place, const struct run_id *run, enum run_word word);
void place_send_job(struct mesh *mesh, struct mesh_job *job);
void place_send_rest(struct mesh *mesh, struct place *place);
void place_set_room(struct mesh *mesh, struct place *place, unsigned room);
void place_run_ended(struct mesh *mesh, struct place *place);
void place_heard(struct mesh *mesh, const struct peer *peer);
void place_lost(struct mesh *mesh, const char *node_id);
void places_check_unheard(struct mesh *mesh);
void place_compare(struct mesh *mesh, struct place *place, const struct link_message *message);
void place_link_up(struct mesh *mesh, struct place *place);
void place_link_down(struct mesh *mesh, struct place *place);

/* rooms.c: which of them may be given jobs, and which of these gets one. */
int places_reserve(struct mesh *mesh); /* room for one more place */
void place_review(struct mesh *mesh, struct place *place);
void place_forget(struct mesh *mesh, struct place *place);
void places_review(struct mesh *mesh);
void places_schedule(struct mesh *mesh);
bool places_have_room(const struct mesh *mesh); /* some node that may be given jobs, once it is linked */
bool places_have_room_for(struct mesh *mesh, const struct queue_class *class);

/* fetch.c: their results. */
int job_result_from_end(const struct link_ended *ended, struct job_result **ret); /* without its outputs */
void fetch_ended(struct mesh *mesh, struct place *place, const struct link_ended *ended);
void fetch_piece(struct mesh *mesh, struct place *place, const struct link_piece *piece);
void fetches_drop(struct place *place);

/* guests.c, guest-runs.c, guest-tell.c: jobs of others here. */
struct guest *guest_of_run(struct mesh *mesh, const struct run_id *run);
struct guest *guest_of_owner(struct mesh *mesh, struct place *owner, const struct run_id *run);
void guest_enter(struct mesh *mesh, struct guest *guest, enum guest_state state);
/* Its owner gave it up, or its job: whoever takes the job over has no use for it. */
static inline bool guest_is_retired(const struct guest *guest) {
        return guest->kill_wanted || guest->retire_wanted || guest->state == GUEST_GOING;
}
struct record *guest_record(struct guest *guest, struct record_batch *batch, enum record_type type);
struct link_held guest_held(const struct guest *guest);
void guest_tell_held(struct mesh *mesh, const struct guest *guest);
void guest_change_owner(struct mesh *mesh, struct place *owner, const struct link_takeover *takeover);
int run_id_compare(const struct run_id *a, const struct run_id *b);
int guest_write(struct mesh *mesh, struct guest *guest, enum record_type type, bool urgent);
void guest_end_unstarted(struct mesh *mesh, struct guest *guest);
void guest_go(struct mesh *mesh, struct guest *guest);
void guest_stay(struct mesh *mesh, struct guest *guest); /* it did not become a job of our own */
void guest_tell_end(struct mesh *mesh, struct guest *guest);
void guests_take(struct mesh *mesh, struct place *owner, const struct link_message *message);
void guest_written(struct mesh *mesh, const struct record *record, int error);
void guest_end(struct mesh *mesh, struct guest *guest, struct job_result *result);
void guests_retry_unsaved(struct mesh *mesh);
void guests_start(struct mesh *mesh);
bool guest_run_started(struct mesh *mesh, const struct run_id *run, usec_t started_at);
bool guest_run_ended(struct mesh *mesh, struct job_result *result);
void guest_kill(struct mesh *mesh, struct place *owner, const struct run_id *run);
void guest_withdraw(struct mesh *mesh, struct place *owner, const struct run_id *run);
void guest_retire(struct mesh *mesh, struct place *owner, const struct run_id *run);
void guest_read(struct mesh *mesh, struct place *owner, const struct link_read *read);
void guests_tell_held(struct mesh *mesh, struct place *owner);
void guests_tell_ends(struct mesh *mesh, struct place *owner);
void guests_confirm(struct mesh *mesh, struct place *owner);
bool guest_compare_known(struct mesh *mesh, const struct mesh_known_run *known);
void guests_compare_done(struct mesh *mesh);
void guests_drain(struct mesh *mesh);
void guests_hand_back(struct mesh *mesh); /* what runs, too */
void guests_owner_lost(struct mesh *mesh, struct place *owner);
void guests_kill_all(struct mesh *mesh);
bool guests_are_delivered(const struct mesh *mesh);
void guests_free(struct mesh *mesh);

/* offers.c: room here, told to those who have more than they can run. */
void offers_make(struct mesh *mesh);
void backlog_tell(struct mesh *mesh);

/* index.c, index-links.c: the mesh's recent jobs. */
struct index;
struct mesh_index_item;
int index_new(struct mesh *mesh);
void index_free(struct mesh *mesh);
/* A durable job of ours is not what it was; its end is durable. */
void index_own_changed(struct mesh *mesh, const struct mesh_job *job);
void index_own_ended(struct mesh *mesh, const struct mesh_job *job);
bool index_own_is_beaten(
        struct mesh *mesh, const struct uuid *job, enum job_status *ret_own, struct job_end *ret_best);
bool index_own_has_ended(const struct mesh *mesh, const struct uuid *job);
bool index_knows_end(struct mesh *mesh, const struct uuid *job, struct mesh_index_item *ret);
void index_own_merged(struct mesh *mesh, const struct uuid *job, enum job_status status, uint64_t epoch);
uint64_t index_head(const struct mesh *mesh);
void index_heard(struct mesh *mesh, struct place *place);
void index_link_up(struct mesh *mesh, struct place *place);
void index_link_down(struct place *place);
void index_link_writable(struct mesh *mesh, struct place *place);
void index_received(struct mesh *mesh, struct place *place, const struct link_message *message);
void index_forget_place(struct mesh *mesh, struct place *place);
void index_timer(struct mesh *mesh);

/* runs.c */
void run_concluded(struct mesh *mesh, struct mesh_job *job, struct job_result *result);
void run_began(struct mesh *mesh, struct mesh_job *job, usec_t started_at);
void runs_write_started(struct mesh *mesh);

/* peers.c */
void peers_check(struct mesh *mesh);
struct peer *peer_find(struct mesh *mesh, const char *node_id);
bool peer_is_here(struct mesh *mesh, const char *node_id);
void peer_heard_on_link(struct mesh *mesh, const char *node_id);
struct peer *peer_free(struct mesh *mesh, struct peer *peer);

/* suspicion.c */
usec_t suspicion_check(struct mesh *mesh, struct peer *peer);
void suspicion_heard(struct mesh *mesh, struct peer *peer);

/* questions.c */
/* Asks a peer that has proven to be there before whether it still is. */
void question_probe(struct mesh *mesh, struct peer *peer);
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
