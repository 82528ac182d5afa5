/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What all files of this room share: the state of a node's mind. */

#include "mesh/guests.h"
#include "mesh/keeper.h"
#include "mesh/own-jobs.h"
#include "mesh/peers.h"
#include "mesh/places.h"

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
        struct map holders;   /* struct holder, by node id */
        struct list answers;  /* that clients wait for */
        struct map copies;    /* struct copy, by job id */
        size_t n_unannounced; /* jobs that were taken over, and not told of */
        usec_t announce_due;  /* when the first of them is told of anyway; USEC_INFINITY: none */
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
        uint64_t held_version;    /* counts runs of others' jobs that went to another owner */
        bool hands_back;          /* its time is over: what runs is ended, and begins again elsewhere */
        bool stopping;
        bool store_failing;
        char store_reason[160];
        bool executor_connected;
        struct uuid executor;

        struct map peers; /* members of the mesh */
        size_t n_peers;
        struct map strangers;
        size_t n_strangers;
        struct departed departed[DEPARTED_MAX]; /* a ring; n_departed: ever */
        size_t n_departed;
        struct rival rival;
        uint64_t sequence;
        uint8_t hello_nonce[NONCE_SIZE];
        usec_t hello_sent_usec; /* 0: never */
        unsigned hellos_left;
        struct second_budget probes, acknowledgements;
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
void drain_start(struct mesh *mesh);
void drain_retry(struct mesh *mesh); /* to write what the store could not take */
void drain_written(struct mesh *mesh, const struct record *record, int error);

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
/* By another node, which is there, with a later epoch. */
bool index_is_taken_over(struct mesh *mesh, const struct uuid *job, uint64_t epoch);
bool index_knows_end(struct mesh *mesh, const struct uuid *job, struct mesh_index_item *ret);
/* The end of a job of another owner, of which the copy is here. */
void index_copy_ended(struct mesh *mesh, const struct record *record);
/* What that owner said to its keeper alone is told to all. */
void index_speak_for(struct mesh *mesh, const char *owner_node_id);
void index_own_merged(struct mesh *mesh, const struct uuid *job, enum job_status status, uint64_t epoch);
uint64_t index_head(const struct mesh *mesh);
void index_heard(struct mesh *mesh, struct place *place);
void index_links_changed(struct mesh *mesh); /* there is something to tell */
void index_link_up(struct mesh *mesh, struct place *place);
void index_link_down(struct place *place);
void index_link_writable(struct mesh *mesh, struct place *place);
void index_received(struct mesh *mesh, struct place *place, const struct link_message *message);
void index_forget_place(struct mesh *mesh, struct place *place);
void index_timer(struct mesh *mesh);
