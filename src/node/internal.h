/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files that compose the node share. */

#include "api/dbus/dbus.h"
#include "api/ops.h"
#include "api/rest/rest.h"
#include "executor/client.h"
#include "mesh/mesh.h"
#include "net/discovery.h"
#include "node/identity.h"
#include "node/journal.h"
#include "node/node.h"
#include "node/pressure.h"
#include "store/store.h"
#include "trust/key-file.h"
#include "util/log.h"

/* Recent jobs on the disk: of this node, and those of which it has the copies. */
enum recent_part {
        RECENT_OWN,
        RECENT_COPIES,
};

struct node {
        const struct config *config;
        sd_event *event;
        int state_fd, lock_fd;
        struct identity identity;
        uint64_t incarnation; /* raised above the identity's by what peers have heard; 0: it was not */
        struct mesh_config mesh_config;
        char *executor_socket;
        struct mesh_keys keys; /* none: Security=open */
        char *key_path;
        enum key_file_kind key_kind;
        struct membership *membership;
        sd_event_source *key_source; /* the file of the keys, which other nodes of the host write, too */
        char mesh_id[2 * MESH_ID_SIZE + 1]; /* in hexadecimal digits; empty where there are no keys */

        struct store *store;
        struct executor_client *executor;
        struct discovery *discovery;
        struct links *links;
        char **closed_links; /* of which the mind has to be told */
        sd_event_source *closed_source;
        struct mesh *mesh;
        struct ops *ops;
        struct rest *rest;
        struct dbus *dbus;
        struct journal *journal;
        struct ratelimit strangers; /* of what is logged about peers that have not proven to be there */
        struct ratelimit executors; /* of its executor's going away without being told */

        bool support_said;            /* which limits of jobs can be enforced; */
        struct limit_support support; /* these, when it was said last */

        sd_event_source *log_source; /* what the journal did not take at once */
        struct pressure_files pressure;
        sd_event_source *pressure_timer;
        enum recent_part recent_part;
        uint64_t recent_before; /* of that part of the recent jobs, what has been read */
        size_t recent_left;     /* and how many are still of interest */
        sd_event_source *recent_timer;

        sd_event_source *mesh_timer;
        sd_event_source *status_source; /* runs when something changed, once a turn of the loop */
        sd_event_source *trim_timer;
        sd_event_source *stop_timer;
        sd_event_source *status_timer;
        usec_t status_told_usec;
        bool managed;           /* a service manager wants to be told */
        bool status_waits;      /* for its timer */
        bool quiet;             /* nothing runs or waits */
        bool stopping;          /* the daemon is to end */
        bool leaving;           /* and only answers whom it has to */
        bool executor_stopping; /* the service manager stops the executor, which waits until we have drained
                                 */
        bool executor_let_go;   /* it has been told that we have */
        char status_text[384];
};

/* An executor that goes away more than twice in this time has something that a person should look at. */
#define EXECUTOR_GONE_USEC (10 * USEC_PER_MINUTE)

/* What only tells about the node comes after everything that moves it. */
#define PRIORITY_STATUS (SD_EVENT_PRIORITY_IDLE - 10)

/* world.c: the mind's way to the world, and the world's way to the mind. */
extern const struct mesh_ops world_mesh_ops;
extern const struct store_handlers world_store_handlers;
extern const struct executor_handlers world_executor_handlers;
extern const struct discovery_handlers world_discovery_handlers;
int world_restore_job(void *userdata, struct store_unfinished *job);

/* mesh-keys.c */
/* Says what is wrong. -ENOKEY: it is no better at the next start. */
int mesh_keys_load(struct node *node);
void mesh_keys_reload(struct node *node);                   /* likewise */
const struct mesh_keys *node_keys(const struct node *node); /* NULL: there are none */
void mesh_keys_adopt(struct node *node, const struct mesh_keys *keys);
int mesh_keys_watch(struct node *node);
bool mesh_keys_can_be_written(const struct node *node); /* says why not */

/* membership.c */
struct invitations;
int membership_new(struct node *node);
void membership_connect(struct node *node); /* the operations with it */
struct invitations *membership_invitations(struct node *node);
void membership_heard(
        struct node *node, const struct mesh_message *message, const struct sockaddr_in *source);
void membership_done(struct node *node);

/* job-limits.c */
/* Once, and when it has changed. */
void job_limits_say(struct node *node);
void job_limits_say_defaults(const struct node *node);

/* world-links.c: the mind's links to other nodes. */
void world_link_open(void *userdata, const char *node_id, const struct sockaddr_in *address);
int world_link_send(void *userdata, const char *node_id, const struct link_message *message);
void world_link_close(void *userdata, const char *node_id);
int world_links_new(struct node *node, int stream_fd); /* takes stream_fd; negative: none */
void world_links_connect(struct node *node);           /* the operations with them */
void world_links_done(struct node *node);

/* status.c */
int status_new(struct node *node);
void status_touch(struct node *node);
void status_print_start(const struct node *node);

/* recent-jobs.c */
void recent_jobs_read(struct node *node);

/* stop.c */
void stop_check(struct node *node);
void stop_executor_stops(struct node *node);
void stop_executor_is_back(struct node *node);

/* sockets.c */
struct inherited_sockets {
        int discovery_fd, node_fd; /* -EBADF: none */
        int node_stream_fd;        /* for links */
        int *rest_fds;
        size_t n_rest_fds;
};
#define INHERITED_SOCKETS_NONE \
        ((struct inherited_sockets){ .discovery_fd = -EBADF, .node_fd = -EBADF, .node_stream_fd = -EBADF })
int inherited_sockets_take(struct inherited_sockets *ret);
void inherited_sockets_done(struct inherited_sockets *sockets);

/* about.c: what the node tells of its machine. */
void about_fill(struct mesh_config *config, char *const *interfaces, bool open);
