/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Jobs that other nodes have: questions to them and theirs to us. ops-ask.c sends one question to one node,
 * ops-search.c finds the node that has a job, ops-remote.c carries a client's call on there, and ops-serve.c
 * answers what others ask, from what this node has itself: it never asks a third one who owns a job. */

#include "api/ops-internal.h"

/* Named limits. */
#define ASKS_MAX 4096u              /* questions without an answer, over all nodes */
#define ASKS_PER_NODE_MAX 512u      /* to one node */
#define SERVED_MAX 2048u            /* of others, under way here */
#define SERVED_PER_NODE_MAX 512u    /* of one other */
#define SEARCH_FANOUT_MAX 64u       /* nodes that are asked at once for one job */
#define ASK_USEC (5 * USEC_PER_SEC) /* for an answer, beyond what is waited for on purpose */
#define ASK_WAIT_USEC                                                                                      \
        (10 * USEC_PER_SEC) /* the longest that is waited for on purpose: then asked again, which is how a \
                               node is noticed that does not answer any more */
#define SEARCH_USEC (2 * USEC_PER_SEC)
#define SEARCH_HINT_USEC USEC_PER_SEC /* for the node that is asked first, before the others are */
#define SEARCH_KEY_USEC USEC_PER_SEC  /* who has seen an Idempotency-Key */
#define REMOTE_RETRY_USEC (250 * USEC_PER_MSEC)
/* How long a node may be away in the middle of a call: long enough for its daemon to be restarted, or for
 * another one to take its jobs over, where somebody waits anyway. */
#define REMOTE_PATIENCE_USEC (5 * USEC_PER_SEC)
#define REMOTE_LONG_PATIENCE_USEC (30 * USEC_PER_SEC)

/* Another node, while something is asked of it, or it asks for something. */
struct neighbour {
        struct map_link by_node;
        char node_id[NODE_ID_MAX + 1];
        struct list asks, served;
        size_t n_asks, n_served;
        unsigned busy; /* it stays, whatever is freed */
};
int neighbour_get(struct ops *ops, const char *node_id, struct neighbour **ret);
void neighbour_check(struct ops *ops, struct neighbour *neighbour); /* frees it where nothing is left */

struct ask;
/* error: -ECONNRESET: the link is gone or could not be opened; -ETIMEDOUT. Else answer is valid. */
typedef void (*ask_handler_t)(void *userdata, int error, const struct link_answer *answer);
/* The handler runs once, later. -EHOSTUNREACH: the node is not known; -EBUSY: too many questions. */
int ask_begin(
        struct ops *ops, const char *node_id, const struct link_call *call, usec_t timeout_usec,
        ask_handler_t handler, void *userdata, struct ask **ret);
struct ask *ask_cancel(struct ask *ask); /* returns NULL; accepts NULL. The handler will not run */
/* PROBLEM_INTERNAL: also what this version does not know. */
enum problem_code answer_problem_code(const struct link_answer *answer);

struct search;
/* node_id: who has the job, and its answer; NULL: nobody, and n_silent nodes could not be asked. */
typedef void (*search_handler_t)(
        void *userdata, const char *node_id, const struct link_answer *answer, size_t n_silent);
/* hint: whom to ask first; NULL or empty: nobody in particular. The handler runs once, later. */
int search_begin(
        struct ops *ops, const struct link_call *call, const char *hint, usec_t timeout_usec,
        search_handler_t handler, void *userdata, struct search **ret);
struct search *search_cancel(struct search *search);

/* Begins to look for the call's job on other nodes, and goes on with the call there. -ENOENT: there are no
 * others. */
int remote_begin(struct ops_call *call);
/* Whether what the store has of the job is what is to be told: it is not a copy, or its owner is not there.
 */
bool remote_is_not_needed(struct ops_call *call, const struct stored_job *job);
struct remote *remote_free(struct remote *remote); /* returns NULL; accepts NULL */
void remote_output_next(struct ops_call *call);

/* ops-record.c: a job as the store has it, on its way to another node and back. */
struct record_draft {
        struct link_record record; /* borrows from the job, and from the rest */
        char *env[ENV_ENTRIES_MAX];
        char *names;
        struct link_attempt attempts[LINK_ATTEMPTS_MAX];
        struct record_words {
                char text[LINK_ERROR_MAX + 1];
        } error_message, *attempt_errors;
};
/* -EBADMSG: no other node would take it. */
int record_draft_init(struct record_draft *draft, const struct stored_job *job);
void record_draft_done(struct record_draft *draft);
int record_to_job(const struct link_record *record, struct stored_job *ret);

/* ops-serve.c */
void serve_call(struct ops *ops, struct neighbour *neighbour, const struct link_call *call);
void serve_cancel(struct neighbour *neighbour, uint64_t id);
void serve_end(struct neighbour *neighbour); /* its link is gone */
