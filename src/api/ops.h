/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every operation of the node, once, for all faces: who may, what happens, and the answer, which may come
 * later. The faces (REST, D-Bus) parse, call one of these, and format. Loop thread only.
 *
 * An operation that answers later returns a call; its handler runs exactly once, unless the call is
 * cancelled first. It never runs before the function has returned. What a handler gets is valid until it
 * returns. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mesh/index.h"
#include "mesh/job.h"
#include "mesh/mesh.h"
#include "store/store.h"
#include "util/list.h"
#include "util/macros.h"
#include "wire/job-limits.h"
#include "wire/link-message.h"
#include "wire/message.h"

struct caller;
struct mesh_peer;
struct ops;
struct problem;
struct mesh;
struct executor_client;

struct ops_config {
        const char *node_id, *version, *address;
        const struct metadata_entry *metadata;
        size_t n_metadata;
        const char *group;    /* whose members may do everything; NULL: nobody's */
        const char *job_user; /* as whom jobs run, and who may do nothing; NULL: the node's own user */
        /* In hexadecimal digits; empty: there are no keys, and everybody belongs to it. */
        const char *mesh_id;
};

/* Borrows all that it is given; they outlive it. The parts behind it are set by ops_connect(), since they
 * are told what happened by way of these operations, too. */
int ops_new(const struct ops_config *config, sd_event *event, struct ops **ret);
void ops_connect(struct ops *ops, struct mesh *mesh, struct store *store, struct executor_client *executor);
struct ops *ops_free(struct ops *ops); /* returns NULL; accepts NULL. No call may be under way. */
DEFINE_CLEANUP(struct ops *, ops_free)

/* What jobs get that ask for nothing, and the most that they may ask for; 0: none. May be said again. */
void ops_set_limits(struct ops *ops, const struct job_limits *defaults, const struct job_limits *ceilings);

/* What the mind tells of; see struct mesh_ops. */
void ops_accepted(struct ops *ops, void *tag, int error, unsigned copies);
void ops_job_finished(struct ops *ops, const struct uuid *id, enum job_status status);
void ops_job_moved(struct ops *ops, const struct uuid *id);
void ops_drain_written(struct ops *ops, int error);
/* What the executor tells: it has begun this job's run; it is back, and both know what it has. */
void ops_run_started(struct ops *ops, const struct uuid *id);
void ops_executor_synchronised(struct ops *ops);
void ops_status_changed(struct ops *ops);
void ops_peer_changed(struct ops *ops, const struct mesh_peer *peer, bool gone);

/* Other nodes. A job that is not this one's is asked for where it is: an operation answers on every node.
 * Links are opened when there is something to ask (see net/links.h). Without this nobody is asked. */
struct ops_links {
        int (*open)(void *userdata, const char *node_id, const struct sockaddr_in *address);
        bool (*is_up)(void *userdata, const char *node_id);
        int (*send)(void *userdata, const char *node_id, const struct link_message *message);
        void *userdata;
};
void ops_set_links(struct ops *ops, const struct ops_links *links);
/* What links tell; see struct links_handlers. No function of struct ops_links calls one of these before it
 * returns. */
void ops_link_up(struct ops *ops, const char *node_id);
/* opening: another one to it may be on its way. */
void ops_link_down(struct ops *ops, const char *node_id, bool opening);
void ops_link_writable(struct ops *ops, const char *node_id);
void ops_link_received(struct ops *ops, const char *node_id, const struct link_message *message);

/* Who wants to hear of changes without having asked for each. Called on the loop, from within what caused
 * them: a watcher notes what changed and returns. Any member may be NULL. job_new: accepted and durable, in
 * order of acceptance; job_started: its process runs; job_finished: its end is durable; job_moved: another
 * node owns it now, and it is no longer here. */
struct ops_watcher {
        struct list_link link; /* the operations' */
        void (*job_new)(void *userdata, const struct job_spec *spec);
        void (*job_started)(void *userdata, const struct uuid *id);
        void (*job_finished)(void *userdata, const struct uuid *id, enum job_status status);
        void (*job_moved)(void *userdata, const struct uuid *id);
        void (*status_changed)(void *userdata);
        void (*peer_changed)(void *userdata, const char *node_id, bool gone);
        /* Who asked for the end of an unfinished job, and may. */
        void (*job_cancel)(void *userdata, const struct uuid *id, const struct caller *caller);
        void (*submission_refused)(void *userdata, const struct caller *caller, const struct problem *why);
        void *userdata;
};
/* The watcher belongs to the caller and stays until it is removed. */
void ops_watch(struct ops *ops, struct ops_watcher *watcher);
void ops_watcher_remove(struct ops_watcher *watcher); /* one that was never added is fine */

#define OPS_WAIT_MAX_USEC (5 * USEC_PER_MINUTE)
#define OPS_CALLS_MAX 4096u /* under way at once, over all faces */
#define OPS_LIST_DEFAULT 50u
#define OPS_LIST_MAX STORE_LIST_MAX
#define OPS_STREAM_PIECE (64u * 1024)
#define OPS_CANCEL_WAIT_USEC                                                         \
        USEC_PER_SEC /* then a cancel that is not confirmed is answered as under way \
                      */

/* Why something was not done. The names are stable: REST sends them as "code" (lower case), D-Bus as error
 * names. */
enum problem_code {
        PROBLEM_NONE = 0,
        PROBLEM_INVALID,            /* the request is wrong: 400 */
        PROBLEM_FORBIDDEN,          /* 403 */
        PROBLEM_NOT_FOUND,          /* 404 */
        PROBLEM_TARGET_UNKNOWN,     /* target_node_id names no node that could run it: 422 */
        PROBLEM_KEY_REUSED,         /* the Idempotency-Key came with another request before: 422 */
        PROBLEM_QUEUE_FULL,         /* 429 */
        PROBLEM_TOO_MANY_CALLS,     /* 429 */
        PROBLEM_DRAINING,           /* 503 */
        PROBLEM_STORAGE,            /* full or failing: 503 */
        PROBLEM_DUPLICATE_NODE,     /* another live node has this one's id: 503 */
        PROBLEM_EXECUTOR_AWAY,      /* what it has cannot be told before it is back: 503 */
        PROBLEM_NODE_AWAY,          /* the node that has the job, or runs it, does not answer: 503 */
        PROBLEM_GONE,               /* the output is no longer to be had: 410 */
        PROBLEM_LIMIT,              /* a limit of a job that this node cannot enforce: 422 */
        PROBLEM_CONFLICT,           /* not as the node is now: 409 */
        PROBLEM_INVITER_AWAY,       /* the node that invites cannot be reached: 503 */
        PROBLEM_INVITATION_UNKNOWN, /* it was used, has expired, or never was: 422 */
        PROBLEM_INTERNAL,           /* 500 */
        _PROBLEM_CODE_MAX,
};

const char *problem_code_to_text(enum problem_code code); /* "queue_full"; never NULL */

struct problem {
        enum problem_code code;
        const char *field; /* static, or NULL */
        size_t index;      /* which job of the request */
        bool has_index;
        char detail[256]; /* one line */
};

/* Who asks. */
struct caller {
        bool uid_known;
        uid_t uid;
        gid_t gid;
        const gid_t *groups; /* supplementary; may be NULL: looked up by uid when needed */
        size_t n_groups;
        unsigned granted;    /* bits of enum access that an authority (polkit) gave beyond the rule */
        const char *node_id; /* where he asked, when that was another node; NULL: here */
};

enum access {
        ACCESS_NONE = 0,
        ACCESS_READ_STATE = 1 << 0, /* node state, peers, a job's id, state, times: anybody on this host */
        ACCESS_SUBMIT = 1 << 1,
        ACCESS_MANAGE = 1 << 3,   /* the node itself */
        ACCESS_READ_ALL = 1 << 2, /* command, env names, output of every job, not only one's own */
};

/* root, the daemon's own user, group worker-mesh: everything; a job's user: nothing, also where it is one of
 * these; any other known user: READ_STATE. An unknown one: nothing. What was granted is added, but never to
 * a job's user. *ret_reason says why not more, in one sentence (static). */
unsigned ops_access(const struct ops *ops, const struct caller *caller, const char **ret_reason);

/* Whether the caller may see command and output of the job. */
bool ops_may_read(const struct ops *ops, const struct caller *caller, const struct stored_job *job);

struct ops_call;                             /* under way */
void ops_call_cancel(struct ops_call *call); /* accepts NULL; the handler will not run */

/* What became of a submission. */
struct ops_submitted {
        struct problem problem; /* code PROBLEM_NONE: accepted and durable, and the rest is valid */
        const struct uuid *ids; /* in order of the requests */
        size_t n_ids;
        usec_t created_at; /* of the first */
        unsigned copies;   /* on how many disks each of them is at least */
        bool repeated;     /* an Idempotency-Key that was seen before: these are the first answer's jobs */
};
typedef void (*ops_submitted_t)(void *userdata, const struct ops_submitted *answer);

/* 1 to IDEMPOTENCY_KEY_MAX printable ASCII characters. */
bool ops_key_is_valid(const char *key);

/* All of the requests or none. Checks each with job_request_check() and answers with index and field of the
 * first wrong one. idempotency_key: NULL for none. Copies what it needs. Immediate refusals come through the
 * handler too. Returns 0, or -ENOMEM. */
int ops_submit(
        struct ops *ops, const struct caller *caller, const struct job_request *requests, size_t n_requests,
        const char *idempotency_key, ops_submitted_t handler, void *userdata, struct ops_call **ret);

struct ops_job {
        struct problem problem;
        const struct stored_job *job;
        bool may_read;  /* the caller may see command and output */
        bool timed_out; /* a wait that ended before the job did: job is as it is now */
        bool accepted;  /* a cancel that is under way, and not confirmed yet: 202 */
};
typedef void (*ops_job_t)(void *userdata, const struct ops_job *answer);

/* wait_usec: 0: as it is now; else answer when it has ended, at the latest then. */
int ops_get_job(
        struct ops *ops, const struct caller *caller, const struct uuid *id, usec_t wait_usec,
        ops_job_t handler, void *userdata, struct ops_call **ret);
/* Idempotent: a job that has ended is answered as it is. */
int ops_cancel_job(
        struct ops *ops, const struct caller *caller, const struct uuid *id, ops_job_t handler,
        void *userdata, struct ops_call **ret);

/* Whose jobs are listed. */
enum ops_scope {
        OPS_SCOPE_NODE, /* this node's, with all that is kept of them */
        OPS_SCOPE_MESH, /* the recent ones of all nodes, as far as this one was told of them */
};
int ops_scope_from_text(const char *text, enum ops_scope *ret); /* "node", "mesh"; else -EINVAL */

struct ops_list {
        struct problem problem;
        const struct stored_job *jobs; /* OPS_SCOPE_NODE */
        size_t n_jobs;
        const struct mesh_index_item *items; /* OPS_SCOPE_MESH; who may read the state may read all of it */
        size_t n_items;
        bool more;
        uint64_t next_before; /* the cursor of the next page */
};
typedef void (*ops_list_t)(void *userdata, const struct ops_list *answer);
/* A page may be shorter than its limit, also when there are more. A cursor is of one scope. */
int ops_list_jobs(
        struct ops *ops, const struct caller *caller, enum ops_scope scope, const struct store_list *list,
        ops_list_t handler, void *userdata, struct ops_call **ret);

/* A stream of pieces: the handler runs for each piece that was asked for, and the last time with ended. */
struct ops_output {
        struct problem problem; /* only in the first piece */
        const char *data;
        size_t size;
        bool ended;                /* nothing follows */
        struct link_position next; /* where another call goes on */
};
typedef void (*ops_output_t)(void *userdata, const struct ops_output *piece);

/* stream: 1 stdout, 2 stderr. From offset in what the job wrote on; where that was not kept, a line says how
 * much is missing. follow: until the job has ended; else what there is now. The first piece is asked for by
 * this call, each further one by ops_output_next(). After ended or a problem the call is gone. */
int ops_read_output(
        struct ops *ops, const struct caller *caller, const struct uuid *id, int stream, uint64_t offset,
        bool follow, ops_output_t handler, void *userdata, struct ops_call **ret);
void ops_output_next(struct ops_call *call);

#define OPS_DRAIN_MAX_SEC TIMEOUT_MAX_SEC

/* As a client asks for it; nothing is checked. */
struct ops_drain_request {
        bool has_timeout; /* else what runs has all the time that it needs */
        int64_t timeout_seconds;
};
typedef void (*ops_done_t)(void *userdata, const struct problem *problem); /* its code NONE: done */

/* Begins to drain the node, or takes that back (request: NULL). A node that stops goes on to do so. It takes
 * effect at once, and is answered when it is on the disk, or could not be written (struct ops_status says
 * which); refusals come through the handler, too. Returns 0, or -ENOMEM. */
int ops_set_drain(
        struct ops *ops, const struct caller *caller, const struct ops_drain_request *request,
        ops_done_t handler, void *userdata, struct ops_call **ret);

/* Who belongs to the mesh. */
#define OPS_INVITATION_TEXT_MAX 95u
#define OPS_INVITATION_DEFAULT_SEC 600
#define OPS_INVITATION_MAX_SEC (7 * 24 * 3600)

struct ops_invitation {
        char token[OPS_INVITATION_TEXT_MAX + 1];
        usec_t expires_at; /* CLOCK_REALTIME */
};
/* A word with which another node can join, once. The problem's code is PROBLEM_NONE where it was made;
 * -ENOMEM. */
int ops_invite(
        struct ops *ops, const struct caller *caller, int64_t expires_seconds, struct ops_invitation *ret,
        struct problem *ret_problem);
/* peer: where the node that invites is, NULL: it is looked for. Answered when this node has the keys of that
 * mesh, on the disk, and goes by them, or why not. */
int ops_join(
        struct ops *ops, const struct caller *caller, const char *token, const char *peer,
        ops_done_t handler, void *userdata, struct ops_call **ret);
/* The node has a mesh of its own afterwards, with a new key. */
int ops_leave(
        struct ops *ops, const struct caller *caller, ops_done_t handler, void *userdata,
        struct ops_call **ret);

/* What has the keys. join and leave begin something, of which ops_membership_changed() tells the end: 0, or
 * as they refuse it. -ENOTSUP: there are no keys. -EROFS: they cannot be changed here. -EBUSY. -EBADMSG,
 * -EPROTONOSUPPORT: the token is none. -EALREADY: it is of this very mesh. -EINVAL: peer is no address.
 * -ENOENT: the node that invites is not heard. -EIO: the file cannot be written, which was logged.
 * -ECANCELED: somebody else has changed it meanwhile. -EKEYREJECTED: it does not know the token. -ENOSPC:
 * there are too many invitations. */
struct ops_trust {
        int (*invite)(void *userdata, usec_t lifetime_usec, struct ops_invitation *ret);
        int (*join)(void *userdata, const char *token, const char *peer);
        int (*leave)(void *userdata);
        void *userdata;
};
void ops_set_trust(struct ops *ops, const struct ops_trust *trust);
void ops_membership_changed(struct ops *ops, int error);

/* The node as it is now; no waiting. */
struct ops_status {
        const char *node_id, *version;
        const char *address; /* "127.0.0.1:8081": where peers reach it */
        enum node_status status;
        const char *status_reason; /* why it is FAILED or DRAINING; NULL */
        /* In hexadecimal digits; NULL: there are no keys, and everybody belongs to it. */
        const char *mesh_id;
        unsigned slots, running, queued;
        unsigned peer_count, stranger_count; /* members of the mesh, and nodes that are not */
        usec_t started_at;                   /* CLOCK_REALTIME */
        bool executor_connected;
        const struct limit_support *limit_support; /* which limits can be enforced; NULL: not known yet */
        struct job_limits default_limits, limit_ceilings; /* 0: none */
        const struct metadata_entry *metadata, *labels;
        size_t n_metadata, n_labels;
        struct node_pressure pressure;
        const struct mesh_drain *drain; /* NULL: nobody asked for one. Valid until the loop goes on */
};
void ops_get_status(struct ops *ops, struct ops_status *ret);

struct ops_peer {
        const struct node_info *info;
        usec_t last_heard_at; /* CLOCK_REALTIME of this node */
        bool trusted;         /* a member of the mesh: jobs may go there, and come from there */
        bool verified;        /* has answered a fresh question: not a recording */
};
/* One peer; false: it is not known. What it points to is valid until the loop goes on. */
bool ops_get_peer(struct ops *ops, const char *node_id, struct ops_peer *ret);
/* Calls for each peer, in order of node id. */
void ops_foreach_peer(
        struct ops *ops, void (*function)(void *userdata, const struct ops_peer *peer), void *userdata);
