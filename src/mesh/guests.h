/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Jobs of other owners that are run here. */

#include "mesh/mesh.h"
#include "util/list.h"
#include "util/map.h"

struct place;

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
        bool displaced;                               /* by another owner, that goes on with the job */
        bool told;                                    /* its end, over this link */
        bool in_executor;                             /* the executor has something to release */
        bool adopting; /* it becomes a job of our own; that is on its way to the disk */
        bool leaving;  /* with that; else its end is kept until it is that of our job */
        bool seen;
};

#define GUESTS_MAX 16384u                              /* at once, ended ones included */
#define GUEST_OUTPUT_MAX (UINT64_C(256) * 1024 * 1024) /* bytes of results that owners have not taken */
/* A run of another owner begins only when that was heard so short a time ago: it gives the run up, and
 * answers a cancel, when it has not heard us for twice as long. */
#define OWNER_HEARD_USEC (5 * USEC_PER_SEC)

/* guests.c, guest-runs.c, guest-tell.c: jobs of others here. */
struct guest *guest_of_job(const struct mesh *mesh, const struct uuid *job);
struct guest *guest_of_run(struct mesh *mesh, const struct run_id *run);
struct guest *guest_of_owner(struct mesh *mesh, struct place *owner, const struct run_id *run);
void guest_enter(struct mesh *mesh, struct guest *guest, enum guest_state state);
/* Its owner gave it up, or its job: whoever takes the job over has no use for it. */
static inline bool guest_is_retired(const struct guest *guest) {
        return guest->kill_wanted || guest->retire_wanted || guest->displaced || guest->state == GUEST_GOING;
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
bool guests_are_delivered(const struct mesh *mesh);
void guests_free(struct mesh *mesh);
