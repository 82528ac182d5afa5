/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Copies of other nodes' jobs, and how they are taken over: what copies.c and claims.c share. */

#include "mesh/internal.h"

#define COPIES_MAX 262144u /* of all owners together; more are refused */

/* A job of another node, as it was when its owner told of it last. */
struct copy {
        struct map_link by_job; /* in mesh.copies */
        struct list_link link;  /* in copies.list */
        struct copies *copies;
        struct job_spec *spec;
        struct run_id run;
        uint64_t epoch, term;
        uint32_t retries_used;
        struct node_name *executor; /* another node that has the run; NULL: none, or its owner */
        bool cancel_requested;
        /* While it is being taken over: who has a run of it. */
        struct link_held held;
        struct node_name *held_by; /* borrowed from the answer; NULL: nobody else */
        bool guest_here;
};

/* What somebody has of the owner's that is being taken over. */
struct claim_answer {
        struct list_link link;
        struct node_name *from;
        bool came; /* else it was asked */
        size_t n_held;
        struct link_held *held; /* owned */
};

/* All of one owner. */
struct copies {
        struct place *owner;
        struct list list;
        uint64_t term;
        bool partial;      /* of this term not everything is on the disk yet */
        uint64_t instance; /* of the owner's process, which gave that term; 0: not known */
        bool from_disk;    /* it gave that in an earlier life of ours */
        usec_t claim_due;  /* when its owner has been away for too long; USEC_INFINITY: it is there */
        bool claiming, confirming;
        uint64_t deferred_to; /* the term of an earlier keeper that went first */
        usec_t claimed_usec, asked_usec;
        struct list answers; /* struct claim_answer */
};

struct copy *copy_find(const struct mesh *mesh, const struct uuid *job);
/* NULL: out of memory. */
struct record *
copy_record(struct copies *copies, struct record_batch *batch, enum record_type type, struct copy *copy);
void copy_free(struct mesh *mesh, struct copy *copy);
/* Back in its place, when taking it over failed. */
int copy_restore(
        struct mesh *mesh, struct place *owner, struct job_spec *spec, const struct run_id *run,
        uint64_t epoch, uint32_t retries_used, bool cancel_requested);
/* None of them is to be taken over any more. false: out of memory, nothing is done. */
bool copies_discard(struct mesh *mesh, struct copies *copies);
void copies_free(struct mesh *mesh, struct copies *copies);
void claim_answers_drop(struct copies *copies);

/* takeover.c */
/* false: not all, for want of memory. */
bool takeover_begin(struct mesh *mesh, struct copies *copies, bool owner_is_lost);
void takeover_orphans(struct mesh *mesh, struct place *owner);
