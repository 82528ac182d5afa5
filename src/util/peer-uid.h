/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which user is at the other end of a TCP connection that does not leave this host: asked of the kernel with
 * NETLINK_SOCK_DIAG, for exactly one socket. The kernel answers within the system call that asks, so that
 * nothing waits; it takes some 20 microseconds and no privilege. */

#include <sys/socket.h>
#include <sys/types.h>

#include "util/macros.h"

struct peer_uid;

int peer_uid_new(struct peer_uid **ret);
struct peer_uid *peer_uid_free(struct peer_uid *diag); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct peer_uid *, peer_uid_free)

/* client and server are the two ends as accept(2) and getsockname(2) give them, of the same family.
 * -ENOENT: the client has no such socket any more: it has closed it, or is on another host. Never a guess.
 */
int peer_uid_ask(
        struct peer_uid *diag, const struct sockaddr *client, const struct sockaddr *server, uid_t *ret);
