/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The HTTP face: libmicrohttpd inside the loop, routes, JSON. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "api/ops.h"
#include "util/macros.h"

struct rest;

#define REST_READ_MAX_USEC (60 * USEC_PER_SEC)
#define REST_SEND_MAX_USEC (5 * USEC_PER_MINUTE)

struct rest_config {
        const char *node_id; /* X-Node-ID */
        /* TCP on 127.0.0.1; 0: none. */
        uint16_t port;
        /* A unix socket, made with mode 0666: peers are checked one by one; NULL: none. */
        const char *socket_path;
        /* Listening sockets, TCP or unix; taken. With any, port and path are not used. */
        int *inherited_fds;
        size_t n_inherited_fds;
        unsigned connections_max; /* per door */
        /* For a header or a body to arrive, and for an answer to be taken; 0: the defaults below. */
        usec_t read_max_usec, send_max_usec;
};

/* On failure *ret_problem, where given, is a sentence for the person at the terminal (owned by the caller).
 */
int rest_new(
        const struct rest_config *config, sd_event *event, struct ops *ops, struct rest **ret,
        char **ret_problem);

/* No new connections; requests under way may finish. */
void rest_stop_accepting(struct rest *rest);
/* How many requests are still to be answered. */
unsigned rest_pending(const struct rest *rest);
struct rest *rest_free(struct rest *rest); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct rest *, rest_free)

/* "127.0.0.1:3001", or the path of the unix socket: what a person would use. Valid as long as rest. */
const char *rest_address(const struct rest *rest);
