/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who is let in where only the nodes of this host are wanted: connections that do not leave the host, and of
 * a process of root or of our own user at the other end. Any user can open a connection on loopback, jobs
 * too. */

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/links-internal.h"
#include "util/peer-uid.h"

static bool both_ends(int fd, struct sockaddr_storage *ret_own, struct sockaddr_storage *ret_other) {
        socklen_t own_size = sizeof(*ret_own), other_size = sizeof(*ret_other);

        return getsockname(fd, (struct sockaddr *) ret_own, &own_size) >= 0 &&
               getpeername(fd, (struct sockaddr *) ret_other, &other_size) >= 0 &&
               ret_own->ss_family == ret_other->ss_family;
}

/* Both ends have the same address only where it is this host's. */
bool links_is_from_this_host(int fd) {
        struct sockaddr_storage own = {}, other = {};

        if (!both_ends(fd, &own, &other))
                return false;
        if (own.ss_family == AF_INET) {
                const struct sockaddr_in *a = (const struct sockaddr_in *) &own;
                const struct sockaddr_in *b = (const struct sockaddr_in *) &other;

                return a->sin_addr.s_addr == b->sin_addr.s_addr;
        }
        return own.ss_family == AF_INET6 &&
               memcmp(&((const struct sockaddr_in6 *) &own)->sin6_addr,
                      &((const struct sockaddr_in6 *) &other)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* Once the other end has said something its socket has an owner, whichever side opened the connection. */
bool links_user_is_ours(const struct link *link) {
        struct sockaddr_storage own = {}, other = {};
        uid_t uid = (uid_t) -1;

        if (!both_ends(link->stream.fd, &own, &other) ||
            peer_uid_ask(
                    link->links->peer_uid, (const struct sockaddr *) &other, (const struct sockaddr *) &own,
                    &uid) < 0)
                return false;
        return uid == 0 || uid == geteuid();
}
