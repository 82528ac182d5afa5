/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the mind wants remembered. A batch is durable as a whole or not at all; the store takes it, and gives
 * it back with the outcome. While the store has a batch nobody else changes it. */

#include <stdbool.h>
#include <stddef.h>

#include "mesh/job.h"
#include "util/list.h"
#include "util/macros.h"
#include "wire/message.h"

enum record_type {
        RECORD_ACCEPTED, /* a new job: spec; PENDING, with run (attempt 0: waiting in the queue) */
        RECORD_ASSIGNED, /* run.attempt is given to executor, or to node; still PENDING */
        RECORD_STARTED,  /* RUNNING since at_usec; may be left out when FINISHED of the same run is in the
                            same commit */
        RECORD_REQUEUED, /* PENDING again, run.attempt is over; retries_used counts those that are used up */
        RECORD_FINISHED, /* status is final; result is NULL for a job that was cancelled before it ran */
        RECORD_CANCEL,   /* a cancel was asked for and is not confirmed yet */
        RECORD_ATTEMPT,  /* run was, or had been, given up: fate, node, started_at and, where it is known,
                            result. Of a LATE one the job may be gone; spec may be NULL. */
        RECORD_PEER,     /* a peer as it is now: peer, at_usec */
        RECORD_PEER_GONE, /* peer->node_id left the list at at_usec */
        /* A run of a job that another node owns. */
        RECORD_GUEST_TAKEN, /* spec; it is here now, and starts when there is room */
        RECORD_GUEST_ENDED, /* result; kept until the owner has it */
        RECORD_GUEST_GONE,  /* nobody needs it any more */
        /* Jobs that change their owner. */
        RECORD_ADOPTED, /* as ACCEPTED, of another owner; epoch; run and node: who has it. Ends its copy */
        RECORD_MOVED,   /* it is another node's now: gone from here */
        RECORD_MERGED,  /* after a split: the end that counts is that of another owner: run.job, status, and
                           run.epoch, the next one after it */
        /* Copies of other owners' jobs; owner, term. */
        RECORD_COPY,         /* spec, run, epoch, node: who has it; cancel_requested */
        RECORD_COPY_ENDED,   /* spec, run, status, result: history; number: as with COPIES_SWEPT */
        RECORD_COPY_GONE,    /* run.job */
        RECORD_COPIES_SWEPT, /* those of earlier terms, unless they have ended, are gone: of this term all
                                are here; number: the instance of the owner that said so */
        RECORD_COPIES_KEPT,  /* all up to number are here; the highest term of this owner */
        RECORD_COPIES_FORGOTTEN, /* all that have not ended are gone, up to this term; and, unless they were
                                    taken over (number: how many), that all were here */
        /* Copies of ours. */
        RECORD_HOLDER,      /* node may have some, of this term or before */
        RECORD_HOLDER_GONE, /* it has none */
        RECORD_DRAIN,       /* uid has asked at at_usec to drain this node; until_usec */
        RECORD_RESUMED,     /* that was taken back */
};

/* Why an attempt is not the one that decides its job. */
enum attempt_fate {
        ATTEMPT_NEVER_BEGAN,   /* refused, or handed back: not worth remembering */
        ATTEMPT_LOST,          /* with its node, or by it */
        ATTEMPT_EXECUTOR_LOST, /* its executor ended, and it was not known to have begun */
        ATTEMPT_FAILED,        /* by itself; the job is tried again */
        ATTEMPT_LATE,          /* given up before, for a reason that is remembered or not: how it ended */
        ATTEMPT_DRAINED,       /* its node was drained, and had no more time for it */
        _ATTEMPT_FATE_MAX,
};

/* "lost", "executor_lost", "failed", "given_up", "drained"; never NULL. */
const char *attempt_fate_to_text(enum attempt_fate fate);
/* -EINVAL: no such word. */
int attempt_fate_from_text(const char *text);

/* The id of a node, shared by all that name it. References as in struct job_spec. */
struct node_name {
        unsigned n_references;
        char text[];
};
int node_name_new(const char *text, struct node_name **ret);
struct node_name *node_name_ref(struct node_name *name);
struct node_name *node_name_unref(struct node_name *name); /* returns NULL; accepts NULL */

struct record {
        enum record_type type;
        enum job_status status;
        struct run_id run;
        struct job_spec *spec;     /* a reference, for every type about a job */
        struct job_result *result; /* a reference */
        struct uuid executor;      /* which executor process has the run: its instance */
        struct node_name *node;    /* a reference: which other node runs it, or owns it; NULL: this one */
        usec_t at_usec;            /* CLOCK_REALTIME */
        uint32_t retries_used;     /* with ACCEPTED and REQUEUED: of spec->rules.retries */
        enum attempt_fate fate;    /* RECORD_ATTEMPT */
        usec_t started_at;         /* likewise; 0: it is not known to have begun */
        bool asked;                /* COPIES_FORGOTTEN: the owner waits for an answer */
        bool taken_over;           /* COPIES_FORGOTTEN: they were */
        bool changed;              /* by the store: an attempt was news to it */
        const char *error_message; /* static text, or NULL: that of result */
        struct node_info *peer;    /* owned */
        struct node_name *owner;   /* a reference */
        uint64_t epoch, term, number;
        bool cancel_requested;
        usec_t until_usec; /* RECORD_DRAIN: USEC_INFINITY: for ever; */
        uid_t uid;         /* (uid_t) -1: not known */
};

struct record_batch {
        struct list_link link; /* for the store */
        size_t size;           /* for the store: bytes that it takes */
        int error;             /* for the store: how it went */
        void *owner;           /* for the mind: what to do when it is durable */
        bool urgent;           /* somebody waits; otherwise the store may gather for RECORD_LINGER_USEC */
        size_t n_records, n_allocated;
        struct record *records;
};

#define RECORD_LINGER_USEC (10 * USEC_PER_MSEC)

int record_batch_new(size_t n_reserve, struct record_batch **ret);
struct record_batch *record_batch_free(struct record_batch *batch); /* drops the references */
DEFINE_CLEANUP(struct record_batch *, record_batch_free)

/* A zeroed record at the end of the batch, to be filled; NULL when out of memory. */
struct record *record_batch_add(struct record_batch *batch, enum record_type type);
/* Takes the last one away again. */
void record_batch_pop(struct record_batch *batch);
