/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The mind of a node: peers, jobs and their states, the queue, placement. A state machine without I/O: it is
 * told what happened through the functions below and answers through struct mesh_ops. It has no clock,
 * thread, global or random source of its own, so that a simulator can run many of them under a virtual
 * clock.
 *
 * No function of struct mesh_ops may tell the same mind anything before it returns; it may ask
 * (mesh_get_state(), mesh_job_is_awaited(), mesh_job_current_run()). */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/job.h"
#include "mesh/record.h"
#include "util/macros.h"
#include "util/time.h"
#include "wire/link-message.h"
#include "wire/message.h"

struct mesh;
struct mesh_job;

/* Far above what counting starts can reach: a node that claims more lies. */
#define MESH_INCARNATION_MAX (UINT64_C(1) << 62)

struct mesh_config {
        char node_id[NODE_ID_MAX + 1];
        uint64_t incarnation;
        uint64_t instance; /* random, of this process */
        unsigned slots;
        unsigned queue_max;
        unsigned peers_max;
        unsigned index_max; /* entries; 0: as many as are usual */
        usec_t heartbeat_interval_usec;
        usec_t peer_timeout_usec;
        usec_t keeper_wait_usec; /* how long clients wait for the second disk at most */
        uint16_t node_port;
        char address[ADDRESS_TEXT_MAX + 1];
        char version[VERSION_TEXT_MAX + 1];
        struct metadata_entry metadata[METADATA_MAX];
        size_t n_metadata;
        struct metadata_entry labels[LABELS_MAX];
        size_t n_labels;
};

struct mesh_peer {
        struct node_info info;
        struct sockaddr_in
                address; /* where it is asked: where its datagrams come from, at the port it names */
        uint64_t incarnation, instance, sequence;
        usec_t first_heard_usec, last_heard_usec; /* the mind's clock */
        usec_t last_heard_at;                     /* CLOCK_REALTIME, to show */
        bool verified;                            /* has echoed a fresh nonce */
        bool trusted;                             /* a member of the mesh; a stranger is only listed */
        bool lost;                                /* it does not answer: nothing is expected of it */
};

/* How the mind reaches the world. All are called on the thread that called the mind. */
struct mesh_ops {
        usec_t (*now)(void *userdata); /* a clock that does not go back and counts sleep: BOOTTIME */
        usec_t (*now_realtime)(void *userdata); /* to show */
        void (*random)(void *userdata, void *buffer, size_t size);

        /* One timer: mesh_timer_due() is to be called at or after at_usec; USEC_INFINITY: not at all. */
        void (*set_timer)(void *userdata, usec_t at_usec);

        /* A datagram to one peer, or to everybody. Losing it is no error. pad: as long as an answer may be.
         */
        void (*send)(
                void *userdata, const struct sockaddr_in *address, const struct mesh_message *message,
                bool pad);
        void (*broadcast)(void *userdata, const struct mesh_message *message, bool pad);

        /* Makes a batch durable; answered by mesh_written(). Takes the batch. */
        void (*store)(void *userdata, struct record_batch *batch);

        /* The executor. start() fails only when it cannot take it now (the mind tries again after
         * mesh_executor_synchronised()). The others never fail: what cannot be said now is said on resync.
         */
        int (*start)(void *userdata, const struct run_id *run, const struct job_spec *spec);
        void (*kill)(void *userdata, const struct run_id *run);
        void (*withdraw)(void *userdata, const struct run_id *run); /* unless it has started */
        void (*release)(void *userdata, const struct run_id *run);
        void (*hurry)(void *userdata); /* somebody waits for one of its runs: see mesh_patience() */

        /* Links to other nodes (see net/links.h). open() is answered by mesh_link_up() or mesh_link_down(),
         * close() by mesh_link_down(). send(): 0; -ENOTCONN: there is none; -ENOBUFS: it is stuffed, and
         * mesh_link_writable() follows. */
        void (*link_open)(void *userdata, const char *node_id, const struct sockaddr_in *address);
        int (*link_send)(void *userdata, const char *node_id, const struct link_message *message);
        void (*link_close)(void *userdata, const char *node_id);

        /* Tells the faces. */
        /* A submission is durable, on so many disks, or was refused. */
        void (*accepted)(void *userdata, void *tag, int error, unsigned copies);
        void (*began_elsewhere)(
                void *userdata, const struct uuid *job); /* a run on another node; NULL: nobody cares */
        void (*job_finished)(
                void *userdata, const struct job_spec *spec, enum job_status status); /* and durable */
        /* It was ours, and is another node's now: who waits for its end has to ask there. */
        void (*job_moved)(void *userdata, const struct uuid *id);
        void (*status_changed)(void *userdata); /* node status, counts or peers */
        void (*peer_changed)(void *userdata, const struct mesh_peer *peer, bool gone);
        /* The node's own incarnation is now this one: to be remembered for the next start. */
        void (*incarnation_raised)(void *userdata, uint64_t incarnation);
        /* What was asked for last about draining is on the disk, or could not be written: then it is tried
         * again.
         */
        void (*drain_written)(void *userdata, int error);
        /* Something that a person must act on; priority as in syslog(3), id of util/message-ids.h. */
        void (*notice)(void *userdata, int priority, const char *message_id, const char *text);
};

int mesh_new(
        const struct mesh_config *config, const struct mesh_ops *ops, void *userdata, struct mesh **ret);
struct mesh *mesh_free(struct mesh *mesh); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct mesh *, mesh_free)

/* Brings back an unfinished job, before mesh_start(). Takes a reference. */
int mesh_restore(
        struct mesh *mesh, struct job_spec *spec, enum job_status status, const struct run_id *run,
        uint64_t epoch, bool in_executor, const struct uuid *executor, const char *executor_node_id,
        usec_t started_at, bool cancel_requested, uint32_t retries_used);
/* Likewise a copy of a job that another node owns, for which this one is the keeper. Takes a reference. */
int mesh_restore_copy(
        struct mesh *mesh, struct job_spec *spec, const struct run_id *run, uint64_t epoch, uint64_t term,
        const char *owner_node_id, const char *executor_node_id, uint32_t retries_used,
        bool cancel_requested);
/* After those: everything that this owner had was here, under this term; owner_instance: of the process
 * that said so. */
int mesh_restore_swept(struct mesh *mesh, const char *owner_node_id, uint64_t term, uint64_t owner_instance);
/* Likewise a node that may have copies of our jobs, up to this term. */
int mesh_restore_holder(struct mesh *mesh, const char *node_id, uint64_t term);
/* Likewise a run of a job that another node owns; result: NULL while it has not ended. Takes references. */
int mesh_restore_guest(
        struct mesh *mesh, struct job_spec *spec, const struct run_id *run, const char *owner_node_id,
        const struct uuid *executor, struct job_result *result);

/* Says hello to the network and begins to work. */
void mesh_start(struct mesh *mesh);

enum mesh_submit_outcome {
        MESH_ACCEPTED = 0, /* ops->accepted() follows with the tag */
        MESH_QUEUE_FULL = 1,
        MESH_TARGET_UNKNOWN = 2, /* a target_node_id that is neither this node nor a peer that is there */
        MESH_DRAINING = 3,
        MESH_STORE_FAILING = 4,
        MESH_DUPLICATE = 5,   /* another live node has our id */
        MESH_ID_TAKEN = 6,    /* a job with one of these ids is unfinished here */
        MESH_LABELS_FULL = 7, /* unfinished jobs ask for too many different sets of labels */
};

/* All or nothing. Takes references. A negative errno, or an outcome. */
int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag);

enum mesh_cancel_outcome {
        MESH_CANCEL_UNKNOWN = 0, /* not unfinished here: ended, or never seen */
        MESH_CANCEL_STARTED =
                1, /* ops->job_finished() follows when it is certain that it does not and will not run */
};
int mesh_cancel(struct mesh *mesh, const struct uuid *id);

/* Somebody waits for the end of this job: do not gather. False: it is not unfinished here. */
bool mesh_job_is_awaited(struct mesh *mesh, const struct uuid *id);
/* For how long the mind may be told later of what runs have done, a few milliseconds at most, without
 * anybody being worse off: half the time for which the executor has something to start. 0: not at all, since
 * somebody waits for a run that it has, or since no more work waits behind these. ops->hurry() tells when
 * somebody begins to wait. */
usec_t mesh_patience(const struct mesh *mesh);
/* It has not stood still, or has listened again since: what it was given before is still its to run. */
bool mesh_is_awake(struct mesh *mesh);
/* The current run of an unfinished job that is in the executor. */
bool mesh_job_current_run(struct mesh *mesh, const struct uuid *id, struct run_id *ret);
/* Likewise of one that another node has, until its end is durable here. */
bool mesh_job_place(
        struct mesh *mesh, const struct uuid *id, struct run_id *ret_run,
        char ret_node_id[static NODE_ID_MAX + 1]);
/* How a run ended that another node owns, as long as that node does not have it. NULL: there is no such run,
 * or it has not ended. Valid until the mind is told something. */
const struct job_result *mesh_guest_result(const struct mesh *mesh, const struct run_id *run);
/* Whose job it is of which this node has a run. */
bool mesh_guest_owner(
        const struct mesh *mesh, const struct uuid *id, char ret_node_id[static NODE_ID_MAX + 1]);

/* On how many disks an unfinished job of this node is, as far as is known. 0: it is not unfinished here. */
unsigned mesh_job_copies(struct mesh *mesh, const struct uuid *id);

/* Why a job of this node does not run yet, in a few words (static); NULL: it is not waiting, or not known.
 */
const char *mesh_job_pending_reason(struct mesh *mesh, const struct uuid *id);

void mesh_written(struct mesh *mesh, struct record_batch *batch, int error); /* takes the batch */
void mesh_store_health(struct mesh *mesh, int error, const char *reason);

struct mesh_known_run {
        struct run_id run;
        bool started, ended;
        usec_t started_at;
};
void mesh_executor_synchronised(
        struct mesh *mesh, const struct uuid *instance, const struct mesh_known_run *runs, size_t n_runs);
void mesh_executor_lost(struct mesh *mesh);
void mesh_run_started(struct mesh *mesh, const struct run_id *run, usec_t started_at);
void mesh_run_ended(struct mesh *mesh, struct job_result *result); /* takes a reference */

/* Of a datagram. */
struct mesh_origin {
        struct sockaddr_in address; /* where it came from */
        size_t size;                /* an answer is never larger */
        bool trusted;               /* only a member of the mesh can have made it, once */
};
void mesh_received(struct mesh *mesh, const struct mesh_message *message, const struct mesh_origin *origin);
void mesh_network_changed(struct mesh *mesh);
/* -EEXIST: it has our own id. -ESHUTDOWN. */
int mesh_link_up(struct mesh *mesh, const char *node_id, const struct link_hello *hello);
void mesh_link_down(struct mesh *mesh, const char *node_id);
void mesh_link_writable(struct mesh *mesh, const char *node_id);
void mesh_link_received(struct mesh *mesh, const char *node_id, const struct link_message *message);
void mesh_timer_due(struct mesh *mesh);

/* Nothing new from now on; running jobs go on, what the executor has not started comes back into the queue,
 * what others own is handed back, and what waits goes to other nodes. mesh_is_idle() tells when nothing runs
 * and all is durable. It lasts until every reason has been taken back. */
enum mesh_drain_reason {
        MESH_DRAIN_STOP = 1 << 0,  /* the node is about to stop */
        MESH_DRAIN_ASKED = 1 << 1, /* somebody asked for it */
};
void mesh_drain(struct mesh *mesh, enum mesh_drain_reason reason);
void mesh_resume(struct mesh *mesh, enum mesh_drain_reason reason);

/* A drain that somebody asked for is remembered until somebody takes it back. */
struct mesh_drain {
        usec_t since; /* CLOCK_REALTIME, like until */
        usec_t until; /* what runs then is ended, and begins again elsewhere; USEC_INFINITY: it has all its
                         time */
        uid_t uid;    /* who asked for it; (uid_t) -1: not known */
        bool saved;   /* on the disk */
};
/* Takes effect at once; ops->drain_written() follows. Asked again, the last limit counts; USEC_INFINITY:
 * none. -ENOMEM: nothing happens. */
int mesh_drain_asked(struct mesh *mesh, uid_t uid, usec_t limit_usec);
int mesh_resume_asked(struct mesh *mesh, uid_t uid);
/* Brings back a drain, before mesh_start(). */
void mesh_restore_drain(struct mesh *mesh, const struct mesh_drain *drain);

bool mesh_is_idle(const struct mesh *mesh);
/* A drain has taken long enough: what runs is ended, and begins again elsewhere, or here after the next
 * start. */
void mesh_hand_back(struct mesh *mesh);
void mesh_say_goodbye(struct mesh *mesh);

void mesh_set_slots(struct mesh *mesh, unsigned slots);
void mesh_set_intervals(struct mesh *mesh, usec_t heartbeat_interval_usec, usec_t peer_timeout_usec);

/* Peers are told at once. At most LABELS_MAX of LABELS_SIZE_MAX. */
void mesh_set_labels(struct mesh *mesh, const struct metadata_entry *labels, size_t n_labels);
/* Travels with the next heartbeat. */
void mesh_set_pressure(struct mesh *mesh, const struct node_pressure *pressure);

struct mesh_state {
        enum node_status status;
        const char *status_reason;           /* static; NULL */
        const struct metadata_entry *labels; /* valid until they are set again */
        size_t n_labels;
        struct node_pressure pressure;
        unsigned slots, running, queued;
        unsigned n_peers, n_strangers; /* members of the mesh, and nodes that are not */
        uint64_t incarnation;
        bool executor_connected;
        const struct mesh_drain
                *drain; /* NULL: nobody asked for one. Valid until the mind is told something */
};
void mesh_get_state(const struct mesh *mesh, struct mesh_state *ret);
/* A member of the mesh. NULL: it is not known. Valid until the mind is told something. */
const struct mesh_peer *mesh_get_peer(const struct mesh *mesh, const char *node_id);
/* Likewise, or a node that is none, and is only listed. */
const struct mesh_peer *mesh_get_listed(const struct mesh *mesh, const char *node_id);
/* Both kinds. */
void mesh_foreach_peer(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata);
