/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Opens the sockets of discovery, or takes over inherited ones. Where it fails, *ret_problem is a sentence
 * for the person at the terminal (owned by the caller); NULL when even for that there is no memory. */

#include <stdint.h>

/* Bound to every address at port (0: any), shared with the other nodes of this host. inherited_fd is used
 * instead unless it is negative; it stays the caller's on failure. */
int open_discovery_socket(uint16_t port, int inherited_fd, int *ret_fd, char **ret_problem);

struct node_sockets {
        int udp_fd;
        int tcp_fd; /* bound, not listening: keeps the number ours; -EBADF beside an inherited socket */
};

/* One number for UDP and TCP, for this node alone; port 0: the first free one of NODE_PORT_FIRST to
 * NODE_PORT_LAST. */
int open_node_sockets(uint16_t port, int inherited_fd, struct node_sockets *ret, char **ret_problem);

/* The port that an IPv4 socket is bound to. */
int socket_port(int fd, uint16_t *ret);
