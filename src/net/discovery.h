/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The UDP sockets: one that hears broadcasts on the discovery port (shared by all nodes of the host), and
 * the node's own, from which everything is sent and to which everything that is meant for this node alone
 * comes. Knows interfaces and addresses, and nothing of what the messages mean. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "util/macros.h"
#include "wire/message.h"

#define NODE_PORT_FIRST 8081
#define NODE_PORT_LAST 8180

struct discovery;

struct mesh_keys;

struct discovery_config {
        uint16_t discovery_port; /* 0: any free one */
        uint16_t node_port; /* 0: the first free one of NODE_PORT_FIRST … NODE_PORT_LAST, for UDP and TCP */
        char *const *interfaces; /* names; NULL or empty: all that can broadcast, and loopback */
        /* With which datagrams are sealed; valid as long as the discovery, and may change any time. NULL:
         * there are none, and everybody without any is trusted. */
        const struct mesh_keys *keys;
        int discovery_fd; /* inherited sockets, or -1; taken */
        int node_fd;
};

struct discovery_source {
        struct sockaddr_in address; /* where the datagram came from */
        size_t size;                /* of the datagram: an answer is never larger */
        bool trusted;               /* whoever made it has a key of the mesh; it may be a recording */
};

struct discovery_counters {
        uint64_t received, sent;
        uint64_t malformed; /* not a valid message, or too long */
        uint64_t foreign;   /* from an interface that is not ours to listen on */
        uint64_t strangers; /* without a key of the mesh */
        uint64_t forged;    /* sealed with one, and not as it was then */
        uint64_t send_failed;
};

/* Neither may free the discovery. A node hears its own broadcasts too. */
struct discovery_handlers {
        void (*received)(
                void *userdata, const struct mesh_message *message, const struct discovery_source *source);
        /* An interface or address appeared: a good moment to ask who is there. */
        void (*network_changed)(void *userdata);
        void *userdata;
};

/* On failure *ret_problem, where given, is a sentence for the person at the terminal (owned by the caller),
 * for example that a port is taken, and by what kind of user. */
int discovery_new(
        const struct discovery_config *config, sd_event *event, const struct discovery_handlers *handlers,
        struct discovery **ret, char **ret_problem);
struct discovery *discovery_free(struct discovery *discovery); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct discovery *, discovery_free)

/* The TCP socket of the node port, bound and not listening: the caller's from now on. -EBADF: there is none
 * beside an inherited socket, or it was taken before. */
int discovery_take_stream_fd(struct discovery *discovery);

uint16_t discovery_port(const struct discovery *discovery);
uint16_t discovery_node_port(const struct discovery *discovery);
const struct discovery_counters *discovery_counters(const struct discovery *discovery);

/* To every chosen interface's broadcast address at the discovery port, 127.255.255.255 included. An
 * interface that cannot be reached is not an error of the others. The number of interfaces reached, or a
 * negative errno. */
int discovery_broadcast(struct discovery *discovery, const struct mesh_message *message, bool pad);
int discovery_send(
        struct discovery *discovery, const struct mesh_message *message, bool pad,
        const struct sockaddr_in *address);
