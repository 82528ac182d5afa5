/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the operations share: the call that is under way. Jobs of other nodes: ops-remote.h. */

#include "api/ops.h"
#include "executor/client.h"
#include "util/list.h"
#include "util/map.h"

struct ops {
        struct ops_config config;
        sd_event *event;
        struct mesh *mesh;
        struct store *store;
        struct executor_client *executor;
        uid_t own_uid;
        bool has_group;
        gid_t group_gid;
        uid_t *members; /* of the group, as of the start */
        size_t n_members;
        usec_t started_at;
        struct job_limits default_limits, limit_ceilings;
        struct sha256 *hash;

        struct list calls;
        size_t n_calls;
        struct map waiters;   /* struct waiter, by job id */
        struct list watchers; /* struct ops_watcher */
        bool has_job_uid;
        uid_t job_uid;
        bool has_trust;
        struct ops_trust trust;
        bool has_links;
        struct ops_links links;
        struct map neighbours; /* struct neighbour, by node id */
        size_t n_asks, n_served;
        uint64_t n_ask_ids;

        struct list ready; /* calls that have something to do in the next turn of the loop */
        sd_event_source *ready_source;
};

/* All calls that wait for the end of one job, or for output of it. */
struct waiter {
        struct map_link by_id;
        struct uuid id;
        struct list calls;
};

enum call_type {
        CALL_SUBMIT,
        CALL_GET,
        CALL_CANCEL,
        CALL_LIST,
        CALL_OUTPUT,
        CALL_DRAIN,
        CALL_MEMBERSHIP,
};

struct ops_call {
        struct ops *ops;
        enum call_type type;
        struct list_link link;       /* in ops.calls */
        struct list_link ready_link; /* in ops.ready */
        struct list_link wait_link;  /* in waiter.calls */
        struct waiter *waiter;
        void (*run)(struct ops_call *call); /* for ops.ready */
        void *userdata;
        struct caller caller; /* without the groups: access is decided when the call begins */
        unsigned access;
        struct store_query *query;
        sd_event_source *timer;
        struct uuid id;
        struct problem problem;
        struct remote *remote; /* another node has the job, or is asked whether it has; else NULL */
        bool served;           /* for another node, which has decided who may: answered from here alone */
        bool copy_seen;        /* this node has a copy of the job as it ended; its owner can tell more */
        bool copy_will_do;     /* since the owner is not to be found */
        bool dead;             /* cancelled while the mind holds it as a tag */

        union {
                struct {
                        ops_submitted_t handler;
                        struct job_spec **specs;
                        struct job_spec *one_spec; /* specs of a single job points here */
                        struct uuid *ids;
                        struct uuid one_id;
                        size_t n;
                        usec_t created_at;
                        unsigned tries, copies;
                        bool keyed;
                        bool taken; /* there are jobs with some of the ids, whether or not with the first */
                        bool held;  /* by the mind */
                        bool asked; /* other nodes, whether they have seen the key */
                } submit;
                struct {
                        ops_job_t handler;
                        usec_t wait_usec;
                        bool timed_out;
                        bool bare; /* without outputs */
                } job;
                struct {
                        ops_done_t handler;
                        bool waits; /* for the disk, or another node */
                } done;
                struct {
                        ops_list_t handler;
                        struct store_list query;
                } list;
                struct {
                        ops_output_t handler;
                        struct executor_read *read;
                        struct ask *ask;   /* of the node that runs it */
                        usec_t asks_until; /* while that does not answer; 0: it does */
                        int stream;
                        uint64_t offset; /* of what was passed on: in the stream, or in what the store keeps
                                          */
                        uint64_t
                                end; /* where to stop: without follow, at what there was at the first look */
                        struct run_id stored_run; /* the last one that the store knows of; attempt 0: none */
                        bool follow;
                        bool wanted;     /* a piece has been asked for */
                        bool allowed;    /* the caller may read it: the store has told whose it is */
                        bool unknown;    /* to the mind, when the store said that it has not ended */
                        bool from_store; /* offset is one of what the store keeps */
                } output;
        };
};

static inline bool call_may_read(const struct ops_call *call, const struct stored_job *job) {
        return (call->access & ACCESS_READ_ALL) || ops_may_read(call->ops, &call->caller, job);
}

/* ops.c */
/* For another node: whatever the caller may here, and he may be nobody. */
void call_serve(struct ops_call *call);
int call_new(
        struct ops *ops, enum call_type type, const struct caller *caller, void *userdata,
        struct ops_call **ret);
struct ops_call *call_free(struct ops_call *call);
/* Of what takes ACCESS_MANAGE, and is answered by whether it was done: forbidden is a problem of the call.
 */
int managing_call_new(
        struct ops *ops, enum call_type type, const struct caller *caller, ops_done_t handler,
        void *userdata, struct ops_call **ret);
void managing_call_answer(struct ops_call *call); /* it is gone then */
/* run() is called in the next turn of the loop. */
void call_later(struct ops_call *call, void (*run)(struct ops_call *call));
int call_wait_for_job(struct ops_call *call, const struct uuid *id);
void call_stop_waiting(struct ops_call *call);
int call_set_timer(struct ops_call *call, usec_t after_usec, sd_event_time_handler_t handler);
void problem_set(struct problem *problem, enum problem_code code, const char *format, ...) _printf_(3, 4);
/* For a negative errno of the store or the system. */
void problem_set_errno(struct problem *problem, int error);

/* ops-limits.c */
/* False: refused, with the problem set. */
bool limits_are_allowed(const struct ops *ops, const struct job_request *request, struct problem *problem);
void ops_fill_limits(const struct ops *ops, struct ops_status *status);

/* ops-watch.c */
void ops_tell_new(struct ops *ops, const struct job_spec *spec);
void ops_tell_started(struct ops *ops, const struct uuid *id);
void ops_tell_finished(struct ops *ops, const struct uuid *id, enum job_status status);
void ops_tell_moved(struct ops *ops, const struct uuid *id);
void ops_tell_cancel(struct ops *ops, const struct uuid *id, const struct caller *caller);
void ops_tell_refused(struct ops *ops, const struct caller *caller, const struct problem *why);

/* ops-submit.c */
void submit_call_done(struct ops_call *call);
/* What other nodes said of the key; NULL: they do not know it. */
void submit_call_found(struct ops_call *call, const struct stored_job *job);

/* ops-jobs.c. These two make the call, and answer even what it may not do through the handler. */
int get_call_new(
        struct ops *ops, const struct caller *caller, const struct uuid *id, usec_t wait_usec,
        ops_job_t handler, void *userdata, struct ops_call **ret);
int cancel_call_new(
        struct ops *ops, const struct caller *caller, const struct uuid *id, ops_job_t handler,
        void *userdata, struct ops_call **ret);
void job_call_begin(struct ops_call *call);
void job_call_finished(struct ops_call *call);
/* Answers; the call is gone then. job: NULL: with the problem. */
void job_call_answer(struct ops_call *call, const struct stored_job *job);
bool may_cancel(struct ops_call *call, const struct stored_job *job); /* false: with the problem */

/* ops-output.c */
int output_call_new(
        struct ops *ops, const struct caller *caller, const struct uuid *id, int stream, bool follow,
        ops_output_t handler, void *userdata, struct ops_call **ret);
void output_call_begin(struct ops_call *call);
void output_call_done(struct ops_call *call);
void output_call_retry(struct ops_call *call);
/* Passes a piece on. After the last one the call is gone. */
void output_call_deliver(struct ops_call *call, const char *data, size_t size, bool ended);
bool output_is_allowed(struct ops_call *call, const struct stored_job *job); /* false: with the problem */

/* ops-index.c */
void index_call_answer(struct ops_call *call); /* a list of OPS_SCOPE_MESH */
