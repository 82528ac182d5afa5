/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Other nodes, as those that run our jobs and whose jobs we run. */

#include "mesh/own-jobs.h"

struct copies;
struct index_name;
struct peer;

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
        bool told_disputes; /* over this link */
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
        unsigned n_slow;         /* how often in a row, but for the first time */
        usec_t heard_usec;       /* when it said something last */
        usec_t asked_usec;       /* when we asked whether it is there, since a run of its waits for that */
        usec_t silent_since;     /* since when it is not alive; USEC_INFINITY: it is */
        struct copies *copies;   /* of its jobs, here; NULL: none */
        uint64_t instance;       /* of its process, as its last link told; 0: not known */
        uint64_t heard_instance; /* likewise, as its last heartbeat told */
        /* As it told of what it has of ours last: nothing has gone to another owner while both are the same.
         */
        uint64_t held_version, held_instance;

        /* Kept in step with the above by place_review(): it may be given jobs now, or once it is linked. */
        bool ready;
        size_t ready_index;            /* in mesh.ready */
        struct list_link distant_link; /* in mesh.distant */

        struct place_index index;
};

#define REFUSED_WAIT_USEC USEC_PER_SEC
#define MISFIT_USEC (30 * USEC_PER_SEC) /* before it is given what it refused for its labels */
#define LINK_RETRY_USEC (500 * USEC_PER_MSEC)
#define MESH_OUTPUT_MAX                                                                   \
        (64u * 1024 * 1024 + 4096) /* bytes of one output that is taken from another node \
                                    */

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

/* offers.c: room here, told to those who have more than they can run. */
void offers_make(struct mesh *mesh);
void backlog_tell(struct mesh *mesh);
