/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A made-up world for minds: a virtual clock, a network that goes through the real codec, and for each node
 * a disk and an executor. Nothing waits: a minute passes in as many steps as there are events. Include as
 * "lib/mesh-world.h". */

#include "lib/tests.h"
#include "mesh/index.h"
#include "mesh/mesh.h"
#include "util/list.h"
#include "util/map.h"

#define WORLD_NODES_MAX 1024
#define WORLD_SEEN_MAX 4096 /* of what is remembered for the test: more is a mistake of the test */
#define WORLD_LATENCY_USEC USEC_PER_MSEC

/* What a disk knows of a job. */
struct disk_job {
        struct map_link by_id;
        struct job_spec *spec;
        uint64_t arrival; /* its place in the order of acceptance */
        enum job_status status;
        struct run_id run;
        uint64_t epoch, merged_epoch;
        bool moved; /* to another owner: not restored */
        bool in_executor;
        struct uuid executor;
        usec_t started_at;
        bool cancel_requested;
        uint32_t retries_used;
        char executor_node[NODE_ID_MAX + 1]; /* empty: this one */
        const char *error_message;           /* of the end, where the mind gave one */
        struct job_result *result;
        struct list attempts; /* struct disk_attempt, oldest first */
};

/* An attempt that was given up. */
struct disk_attempt {
        struct list_link link;
        struct run_id run;
        char node[NODE_ID_MAX + 1];
        enum attempt_fate fate;
        usec_t started_at;
        struct job_result *result; /* NULL: not known */
};

/* A run of somebody else's job. */
struct disk_guest {
        struct map_link by_id;
        struct job_spec *spec;
        struct run_id run;
        char owner[NODE_ID_MAX + 1];
        struct uuid executor;
        struct job_result *result;
};

/* A copy of somebody else's job. */
struct disk_copy {
        struct map_link by_id;
        struct job_spec *spec;
        struct run_id run;
        uint64_t epoch, term;
        char owner[NODE_ID_MAX + 1], executor_node[NODE_ID_MAX + 1];
        uint32_t retries_used;
        bool cancel_requested, ended;
        enum job_status status; /* of one that has ended */
        struct job_result *result;
        usec_t written_usec;
};

struct disk_sweep {
        struct map_link by_owner;
        char owner[NODE_ID_MAX + 1];
        uint64_t term, owner_instance;
};

struct disk_holder {
        struct map_link by_id;
        char node[NODE_ID_MAX + 1];
        uint64_t term;
};

enum disk_mode {
        DISK_WORKS,
        DISK_HOLDS, /* takes batches and says nothing, until it works or fails */
        DISK_FAILS, /* refuses batches with -ENOSPC */
};

struct world_disk {
        enum disk_mode mode;
        struct list batches; /* not written yet */
        usec_t due;          /* when the first of them is; USEC_INFINITY: none, or held */
        usec_t slow_usec; /* a commit takes up to that much longer, and all that has gathered goes with it */
        uint64_t n_taken, n_written; /* batches, ever */
        uint64_t commit_through;     /* the commit that is being made takes those up to this one */
        uint64_t n_accepted;         /* jobs, ever: their order */
        struct map jobs;
        struct map guests, copies, sweeps, holders;
        uint64_t incarnation;
        size_t n_peer_records;
        struct mesh_drain drain; /* since: 0: none */
};

enum world_run_state {
        WORLD_RUN_WAITING, /* for a slot */
        WORLD_RUN_RUNNING,
        WORLD_RUN_ENDED, /* kept until it is released */
};

struct world_run {
        struct list_link link;
        struct job_spec *spec;
        struct run_id run;
        enum world_run_state state;
        usec_t started_at, ends_at;
        bool killed;
        struct job_result *result;
};

struct world_executor {
        bool connected;
        bool loses_starts; /* what is sent to it gets lost, as when the connection is about to end */
        struct uuid instance;
        unsigned slots;
        unsigned speed;    /* percent; a job takes so much less */
        struct list runs;  /* in order of arrival */
        struct list tells; /* on the way to the daemon */
        unsigned n_running, n_running_max;
        size_t n_held_max; /* runs that had not ended, at most */
        size_t n_starts;   /* really started, with these ids */
        struct uuid starts[WORLD_SEEN_MAX];
};

struct world_answer {
        void *tag;
        int error;
        unsigned copies;
};

struct world_end {
        struct uuid id;
        enum job_status status;
};

/* One end of a link. */
struct world_link {
        struct map_link by_other;
        struct world_node *node, *other;
        uint64_t connection; /* 0: none */
        bool opening, up, closing;
        bool was_full;     /* that there is room again is to be told */
        size_t queued;     /* bytes that are on the way to the other end */
        usec_t due_last;   /* nothing overtakes what was sent before */
        usec_t moved_usec; /* when something was last said, by either */
        usec_t stuck_usec; /* since when the other has acknowledged nothing; USEC_INFINITY: it does */
        struct list held;  /* on the way to this end, and stuck */
};

struct world_node {
        struct world *world;
        size_t index; /* in world.nodes */
        struct map_link by_id;
        struct map links;               /* struct world_link, by the other node */
        uint64_t n_frames, frame_bytes; /* sent */
        usec_t woken_at;                /* an event of this node is due then */
        struct mesh_config config;
        struct sockaddr_in address;
        struct mesh *mesh; /* NULL: the node is down */
        usec_t timer_at;
        bool is_paused;                         /* hears, and does, nothing until it is resumed */
        bool is_detached;                       /* its cable is pulled out */
        bool gone;                              /* destroyed */
        uint64_t deaf_to[WORLD_NODES_MAX / 64]; /* a bit a node: nothing comes from there */
        struct list held;                       /* datagrams that came while it was paused */
        struct world_disk disk;
        struct world_executor executor;

        /* What the mind told. */
        size_t n_answers;
        struct world_answer answers[WORLD_SEEN_MAX];
        size_t n_ends;
        struct world_end ends[WORLD_SEEN_MAX];
        size_t n_lost;  /* peers that were lost and may be back */
        size_t n_moved; /* jobs that became another node's */
        size_t n_notices, n_peers_gone, n_sent, n_broadcasts, n_hurries;
        char notice[256]; /* the last one */
        size_t n_drains_written;
        int drain_error; /* of the last */
};

/* A datagram as it was sent. */
struct world_datagram {
        struct sockaddr_in source, destination; /* of a broadcast: INADDR_BROADCAST */
        size_t size;
        uint8_t bytes[DATAGRAM_MAX];
};

enum world_event_kind {
        EVENT_NODE, /* something of the node itself is due */
        EVENT_DATAGRAM,
        EVENT_LINK,
};

struct world_event {
        usec_t due;
        uint64_t number; /* those that are due together happen in the order in which they were added */
        enum world_event_kind kind;
        struct world_node *node;
        void *what;
};

/* A heap; the first is due first. */
struct world_events {
        size_t n, n_allocated;
        uint64_t n_added;
        struct world_event *heap;
};

struct world {
        /* What really happens in an executor; may be NULL. */
        void (*run_begins)(struct world_node *node, const struct run_id *run);
        void (*run_ends)(struct world_node *node, const struct run_id *run);
        void (*run_taken)(struct world_node *node, const struct run_id *run);
        /* What the mind told, which is not remembered then. */
        void (*accepted)(struct world_node *node, void *tag, int error, unsigned copies);
        void (*finished)(struct world_node *node, const struct job_spec *spec, enum job_status status);
        void (*lost)(struct world_node *node, const char *peer_id);
        void (*stored)(struct world_node *node, const struct record_batch *batch); /* handed over */
        /* A message of another node came, sent at that time; or it did not. */
        void (*heard)(struct world_node *node, struct world_node *from, usec_t sent_usec);
        void (*missed)(struct world_node *node, struct world_node *from);
        void *userdata;
        bool any_split; /* set by the test: two nodes could not speak for longer than the loss time */
        bool any_gone;
        /* Datagrams: so many of a hundred are lost, come twice, and come up to late_usec late. */
        unsigned loss, repeated, late;
        usec_t late_usec;
        size_t queue_max;   /* bytes that may be on the way over one link; 0: any number */
        usec_t idle_usec;   /* a link on which nothing was said for so long is closed; 0: none is */
        usec_t jitter_usec; /* what is said on a link takes up to that much longer */
        usec_t now;         /* CLOCK_BOOTTIME of every node */
        uint64_t random_state;
        size_t n_nodes;
        struct world_node *nodes[WORLD_NODES_MAX];
        struct map by_id;
        struct world_events events;
        uint64_t n_connections, n_frames, n_datagrams, n_bytes; /* ever; of the two sent */
        bool recording;
        size_t n_recorded;
        struct world_datagram *recorded; /* while recording is on: all that was sent */
        size_t n_strays, stray_bytes;    /* what was sent to addresses where no node is */
        struct world_datagram last_stray;
};

void world_init(struct world *world, uint64_t seed);
void world_done(struct world *world);

/* A node that is down; its config may be changed before the first start. */
struct world_node *world_add(struct world *world, const char *id, unsigned slots);
/* Starts it from what is on its disk, with the next incarnation, and connects it to its executor. */
void world_start(struct world_node *node);
/* As by a power cut of the daemon: what was not on the disk is forgotten; the executor stays. */
void world_crash(struct world_node *node);
/* It is gone for ever, with its disk and its executor. */
void world_destroy(struct world_node *node);
struct world_node *world_find(struct world *world, const char *id);

void world_pause(struct world_node *node);
void world_resume(struct world_node *node);
void world_detach(struct world_node *node); /* its cable is pulled out */
void world_attach(struct world_node *node);
/* Whether what one says reaches the other; the other way round is another matter. */
void world_set_deaf(struct world_node *node, const struct world_node *to, bool deaf);
bool world_is_deaf(const struct world_node *node, const struct world_node *to);
bool world_reaches(const struct world_node *from, const struct world_node *to);

/* Until the clock is at this time; whatever is due by then has happened. */
void world_run_until_time(struct world *world, usec_t at);
void world_run_for(struct world *world, usec_t usec);
/* The next event. False: there is none before at, and the clock is there. */
bool world_step(struct world *world, usec_t at);

#define WORLD_UNTIL(world, usec, condition)                                                                \
        ({                                                                                                 \
                usec_t _at = usec_add((world)->now, (usec));                                               \
                while (!(condition))                                                                       \
                        if (!world_step((world), _at))                                                     \
                                _TEST_FAIL(                                                                \
                                        "not true after %" PRIu64 " us: %s", (usec_t) (usec), #condition); \
        })

void world_random(struct world *world, void *buffer, size_t size);
usec_t world_realtime(const struct world *world);

/* Network. */
struct sockaddr_in world_address(unsigned host, uint16_t port);
void world_deliver(struct world_node *node, const struct sockaddr_in *source, const void *data, size_t size);
void world_deliver_message(
        struct world_node *node, const struct sockaddr_in *source, const struct mesh_message *message,
        bool pad);
/* Whoever sent it has no key of the mesh. */
void world_deliver_from_stranger(
        struct world_node *node, const struct sockaddr_in *source, const struct mesh_message *message,
        bool pad);
/* What node knows of the other; NULL: nothing. Valid until the next step. */
const struct mesh_peer *world_peer(struct world_node *node, const char *id);
unsigned world_n_peers(struct world_node *node);

void network_send(
        struct world_node *node, const struct sockaddr_in *address, const struct mesh_message *message,
        bool pad);
void network_broadcast(struct world_node *node, const struct mesh_message *message, bool pad);
void network_step(struct world_node *node, void *what);
void network_resume(struct world_node *node); /* what came while it was paused */
void network_forget(struct world_node *node);
void network_free(void *what);

/* Links. */
void world_break_link(struct world_node *a, struct world_node *b);
void links_open(struct world_node *node, const char *id);
int links_send(struct world_node *node, const char *id, const struct link_message *message);
void links_close(struct world_node *node, const char *id);
void links_crash(struct world_node *node);
void links_step(struct world_node *node, void *what);
void links_release(struct world_node *node); /* what was stuck may move now */
void links_done(struct world_node *node);
void links_free(void *what);
bool links_are_up(const struct world_node *node, const struct world_node *other);

/* Events. */
void events_add(
        struct world *world, usec_t due, enum world_event_kind kind, struct world_node *node, void *what);
/* False: nothing is due by then. */
bool events_take(struct world *world, usec_t at, struct world_event *ret);
void events_done(struct world *world);
void world_wake(struct world_node *node, usec_t due); /* something of it is due then */

/* Disk. */
void disk_init(struct world_disk *disk);
void disk_done(struct world_disk *disk);
void disk_take(struct world_node *node, struct record_batch *batch);
void disk_set_mode(struct world_node *node, enum disk_mode mode);
void disk_write_next(struct world_node *node); /* the first batch, as the mode has it */
void disk_forget(struct world_disk *disk);     /* what is not written yet */
void disk_wipe(struct world_disk *disk);       /* and what is */
void disk_restore(struct world_node *node);
/* mesh-world-copies.c */
void disk_copies_write(struct world_node *node, const struct record *record);
void disk_copy_drop(struct world_disk *disk, const struct uuid *id);
void disk_copies_wipe(struct world_disk *disk);
void disk_copies_restore(struct world_node *node);
void disk_holder_write(struct world_disk *disk, const struct record *record);

struct disk_job *disk_find(struct world_node *node, const struct uuid *id); /* NULL: never durable */
/* NULL: it is not kept as one that was given up. */
struct disk_attempt *disk_find_attempt(struct world_node *node, const struct run_id *run);
enum job_status disk_status(struct world_node *node, const struct uuid *id);

/* Executor. A command is "MILLISECONDS [EXIT-STATUS]", or "forever". */
void executor_init(struct world_node *node, unsigned slots);
void executor_done(struct world_node *node);
int executor_take(struct world_node *node, const struct run_id *run, const struct job_spec *spec);
void executor_withdraw(struct world_node *node, const struct run_id *id);
void executor_kill(struct world_node *node, const struct run_id *run);
void executor_release(struct world_node *node, const struct run_id *run);
usec_t executor_due(const struct world_node *node);
void executor_step(struct world_node *node);
void executor_disconnect(struct world_node *node); /* the connection ends; its jobs go on */
void executor_connect(struct world_node *node);
void executor_crash(struct world_node *node); /* its jobs are gone with it; connect for the next one */
size_t executor_n_runs(const struct world_node *node);
size_t executor_n_held(const struct world_node *node); /* that have not ended */
const struct world_run *executor_find(const struct world_node *node, const struct uuid *job); /* the last */

/* Jobs. */
int world_submit(struct world_node *node, const char *command, struct uuid *ret_id);
int world_submit_batch(
        struct world_node *node, const char *command, size_t n, struct uuid *ret_ids, void *tag);
/* What jobs ask for beside being run. The strings stay the caller's, and must stay. */
struct world_wishes {
        struct job_rules rules;
        char *const *requires; /* labels, NULL-terminated; NULL: none */
        const char *target;    /* NULL: any node */
};
int world_submit_wishes(
        struct world_node *node, const char *command, size_t n, const struct world_wishes *wishes,
        struct uuid *ret_ids, void *tag);
/* The end that the mind told of; JOB_UNKNOWN: none. Fails the test if there were two. */
enum job_status world_end(struct world_node *node, const struct uuid *id);
/* 0, a negative errno, or 1: not answered. */
int world_answer(struct world_node *node, const void *tag);
struct mesh_state world_state(struct world_node *node);
/* What this node's index says of the job; JOB_UNKNOWN: nothing. */
enum job_status world_index_status(struct world_node *node, const struct uuid *id);
/* Fails the test when two nodes' indexes tell different things, or other things than the disks. */
void world_check_indexes(struct world *world);
