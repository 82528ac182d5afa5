/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Links to other nodes: framed messages over TCP, opened when somebody wants to say something, closed when
 * nothing was said for a while. Knows addresses, bytes and limits; what the messages mean is the mind's
 * business. Loop thread only; nothing waits.
 *
 * There is one link a node. Between its up and its down, messages arrive in the order in which they were
 * sent, each once; when it goes down the last of them may be lost, on either side. Where both sides opened
 * one at the same time, the one stays that was opened by the node with the lower id, or the first that is
 * connected at all; up is told once. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "util/macros.h"
#include "wire/link-message.h"

/* Named limits. */
#define LINKS_MAX 512u                         /* with a hello, at once; the longest idle one goes */
#define LINKS_STRANGERS_MAX 64u                /* accepted, and without a hello */
#define LINK_HANDSHAKE_USEC (5 * USEC_PER_SEC) /* from connect() or accept() to both hellos */
#define LINK_IDLE_USEC (60 * USEC_PER_SEC)     /* without a message in either direction */
#define LINK_QUEUE_MAX (8u * 1024 * 1024)      /* bytes that wait to be written to one node */
#define LINK_QUEUE_LOW (1u * 1024 * 1024)      /* once it was fuller than that, writable is told below */
#define LINK_STALL_USEC (30 * USEC_PER_SEC)    /* with bytes to write and none taken: it goes down */
#define LINK_FRAMES_PER_TURN 32u               /* read from one link in one turn of the loop */

struct invitations;
struct links;
struct mesh_keys;

struct links_config {
        const char *node_id, *version;
        uint64_t incarnation, instance;
        /* Both ends have to show that they have one of them, and nobody else can read what is said; valid as
         * long as the links, and may change any time: for links that are opened then. NULL: everybody is let
         * in, and everything is in the clear. */
        const struct mesh_keys *keys;
        /* Of this node, whose holders get the keys; valid as long as the links. NULL: there are none. */
        struct invitations *invitations;
        int listen_fd; /* a bound stream socket, or an inherited one that listens; taken. Negative: none */
};

/* None may free the links; all may call everything else. */
struct links_handlers {
        /* Both have said hello. hello is the other's. A negative errno refuses it: the link is closed
         * without a down. */
        int (*up)(void *userdata, const char *node_id, const struct link_hello *hello);
        void (*received)(void *userdata, const char *node_id, const struct link_message *message);
        /* It was up, or was being opened by links_open(). 0: it was closed in order, by either side, since
         * it was idle for one. Otherwise, among others: -ECONNREFUSED: nobody listens there, or the other
         * does not want it; -EREMCHG: another node is at that address; -EPROTONOSUPPORT; -EBADMSG: it sent
         * what is no message; -EKEYREJECTED: it has no key of the mesh; -ETIMEDOUT; -EUSERS: there were too
         * many; -ECONNRESET: also when the node has started anew or opened another one, whose up follows at
         * once. */
        void (*down)(void *userdata, const char *node_id, int error);
        /* More than LINK_QUEUE_LOW waited, or a message was not taken, and there is room again. */
        void (*writable)(void *userdata, const char *node_id);
        /* Somebody who held an invitation has got the keys of the mesh. NULL: nobody cares. */
        void (*admitted)(void *userdata, const struct sockaddr_in *address);
        void *userdata;
};

/* refused: by the other's hello, by up, for want of room or time. malformed: for what was sent. */
struct links_counters {
        uint64_t opened, accepted, refused, malformed, stalled;
        uint64_t strangers; /* without a key of the mesh, on either side */
        uint64_t messages_sent, messages_received, bytes_sent, bytes_received;
};

int links_new(
        const struct links_config *config, sd_event *event, const struct links_handlers *handlers,
        struct links **ret);
struct links *links_free(struct links *links); /* returns NULL; accepts NULL. No handler runs */
DEFINE_CLEANUP(struct links *, links_free)

/* Begins to open a link; up or down follows, never from within this call. Nothing happens where there is one
 * or one is being opened. A negative errno: there is no memory or no descriptor, the id is no id (-EINVAL)
 * or this node's own (-ELOOP), and nothing follows. */
int links_open(struct links *links, const char *node_id, const struct sockaddr_in *address);
bool links_is_up(const struct links *links, const char *node_id);

/* Everything that is sent in one turn of the loop travels together. -ENOTCONN: not up. -ENOBUFS: the queue
 * is full; -EMSGSIZE: see link_message_encode(); -ENOMEM. Nothing was sent then. */
int links_send(struct links *links, const char *node_id, const struct link_message *message);
size_t links_queued(const struct links *links, const char *node_id); /* bytes; 0 where there is no link */

/* The keys are others now: links over one that is not accepted any more go down, which is told from within
 * this call. */
void links_check_keys(struct links *links);

/* Closes it, after one try to write what waits; down is not told. */
void links_close(struct links *links, const char *node_id);
const struct links_counters *links_counters(const struct links *links);
