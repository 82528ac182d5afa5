/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/discovery.h"
#include "util/macros.h"

/* Returns error; %m in format prints it. */
static int problem(char **ret_problem, int error, const char *format, ...) _printf_(3, 4);
static int problem(char **ret_problem, int error, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        errno = -error;
        if (vasprintf(ret_problem, format, arguments) < 0)
                *ret_problem = NULL;
        va_end(arguments);
        return error;
}

static int set_flag(int fd, int level, int option) {
        const int on = 1;
        return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int bind_any(int fd, uint16_t port) {
        const struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_ANY),
        };
        return bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
}

int socket_port(int fd, uint16_t *ret) {
        struct sockaddr_in address = { 0 };
        socklen_t size = sizeof(address);

        if (getsockname(fd, (struct sockaddr *) &address, &size) < 0)
                return -errno;
        if (address.sin_family != AF_INET)
                return -EAFNOSUPPORT;
        *ret = ntohs(address.sin_port);
        return 0;
}

static int new_socket(int type, int *ret_fd) {
        int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/* Every UDP socket here tells the interface that a datagram came by; only the node's own one sends. */
static int prepare_udp(int fd, bool sends) {
        int r = set_flag(fd, IPPROTO_IP, IP_PKTINFO);
        return r < 0 || !sends ? r : set_flag(fd, SOL_SOCKET, SO_BROADCAST);
}

static int check_inherited(int fd) {
        int type;
        socklen_t size = sizeof(type);
        uint16_t port;

        int r = socket_port(fd, &port);
        if (r < 0)
                return r;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
                return -errno;
        if (type != SOCK_DGRAM || port == 0)
                return -EPROTOTYPE;
        if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        return 0;
}

static int adopt_inherited(int fd, const char *name, bool sends, char **ret_problem) {
        int r = check_inherited(fd);
        if (r >= 0)
                r = prepare_udp(fd, sends);
        if (r < 0)
                return problem(
                        ret_problem, r, "The inherited %s socket is not a bound IPv4 UDP socket: %m", name);
        return 0;
}

static int bind_discovery(uint16_t port, int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = new_socket(SOCK_DGRAM, &fd);
        if (r < 0)
                return r;
        r = prepare_udp(fd, /* sends= */ false);
        if (r < 0)
                return r;
        r = set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
        if (r < 0)
                return r;
        r = bind_any(fd, port);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int open_discovery_socket(uint16_t port, int inherited_fd, int *ret_fd, char **ret_problem) {
        int r;

        if (inherited_fd >= 0) {
                r = adopt_inherited(inherited_fd, "discovery", /* sends= */ false, ret_problem);
                if (r >= 0)
                        *ret_fd = inherited_fd;
                return r;
        }

        r = bind_discovery(port, ret_fd);
        if (r == -EADDRINUSE)
                return problem(
                        ret_problem, r,
                        "UDP port %u is taken by a program that does not share it; choose another for all "
                        "nodes with --discovery-port",
                        port);
        if (r < 0)
                return problem(ret_problem, r, "Cannot open UDP port %u (see --discovery-port): %m", port);
        return 0;
}

/* On failure *ret_protocol says whose port it was. */
static int bind_node(uint16_t port, struct node_sockets *ret, const char **ret_protocol) {
        _cleanup_close_ int udp_fd = -EBADF, tcp_fd = -EBADF;
        int r;

        *ret_protocol = "UDP";
        r = new_socket(SOCK_DGRAM, &udp_fd);
        if (r < 0)
                return r;
        r = prepare_udp(udp_fd, /* sends= */ true);
        if (r < 0)
                return r;
        r = bind_any(udp_fd, port);
        if (r < 0)
                return r;

        *ret_protocol = "TCP";
        r = new_socket(SOCK_STREAM, &tcp_fd);
        if (r < 0)
                return r;
        /* What is left of the connections of the daemon before this one is not in the way; a program that
         * listens is. */
        r = set_flag(tcp_fd, SOL_SOCKET, SO_REUSEADDR);
        if (r < 0)
                return r;
        r = bind_any(tcp_fd, port);
        if (r < 0)
                return r;

        *ret = (struct node_sockets){ .udp_fd = TAKE_FD(udp_fd), .tcp_fd = TAKE_FD(tcp_fd) };
        return 0;
}

static int bind_first_free(struct node_sockets *ret, char **ret_problem) {
        for (uint16_t port = NODE_PORT_FIRST; port <= NODE_PORT_LAST; port++) {
                const char *protocol;
                int r = bind_node(port, ret, &protocol);
                if (r >= 0)
                        return 0;
                if (r != -EADDRINUSE)
                        return problem(ret_problem, r, "Cannot open %s port %u: %m", protocol, port);
        }
        return problem(
                ret_problem, -EADDRINUSE,
                "Of the ports %u to %u none is free for both UDP and TCP; choose another with --node-port",
                NODE_PORT_FIRST, NODE_PORT_LAST);
}

int open_node_sockets(uint16_t port, int inherited_fd, struct node_sockets *ret, char **ret_problem) {
        const char *protocol;
        int r;

        if (inherited_fd >= 0) {
                r = adopt_inherited(inherited_fd, "node", /* sends= */ true, ret_problem);
                if (r >= 0)
                        *ret = (struct node_sockets){ .udp_fd = inherited_fd, .tcp_fd = -EBADF };
                return r;
        }
        if (port == 0)
                return bind_first_free(ret, ret_problem);

        r = bind_node(port, ret, &protocol);
        if (r == -EADDRINUSE)
                return problem(
                        ret_problem, r,
                        "%s port %u is taken by another program; choose another with --node-port", protocol,
                        port);
        if (r < 0)
                return problem(
                        ret_problem, r, "Cannot open %s port %u (see --node-port): %m", protocol, port);
        return 0;
}
