/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/network.h"
#include "lib/tests.h"
#include "net/discovery.h"
#include "net/sockets.h"

static sd_event *event;

/* A socket of somebody else at this port, or -1 where there is one already. 0: any. */
static int occupy(int type, uint16_t port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        ASSERT_GE(fd, 0);
        if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                ASSERT_EQ(errno, EADDRINUSE);
                close(fd);
                return -1;
        }
        return fd;
}

static uint16_t port_of(int fd) {
        uint16_t port;

        ASSERT_OK(socket_port(fd, &port));
        return port;
}

static int open_discovery(
        uint16_t discovery_port_wanted, uint16_t node_port, int discovery_fd, int node_fd,
        struct discovery **ret, char **ret_problem) {
        char *interfaces[] = { (char *) "lo", NULL };
        const struct discovery_config config = {
                .discovery_port = discovery_port_wanted,
                .node_port = node_port,
                .interfaces = interfaces,
                .discovery_fd = discovery_fd,
                .node_fd = node_fd,
        };
        const struct discovery_handlers handlers = { 0 };

        *ret_problem = NULL;
        return discovery_new(&config, event, &handlers, ret, ret_problem);
}

/* Holds the expected sentence; %u stands for the port. */
static void assert_refused(
        uint16_t discovery_port_wanted, uint16_t node_port, int error, const char *format, uint16_t port) {
        _cleanup_free_ char *problem = NULL;
        struct discovery *discovery;
        char expected[256];

        ASSERT_ERROR(open_discovery(discovery_port_wanted, node_port, -1, -1, &discovery, &problem), error);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(expected, sizeof(expected), format, port);
#pragma GCC diagnostic pop
        ASSERT_STREQ(problem, expected);
}

static void test_discovery_port_taken(void) {
        int fd = occupy(SOCK_DGRAM, 0);

        assert_refused(
                port_of(fd), 0, EADDRINUSE,
                "UDP port %u is taken by a program that does not share it; choose another for all nodes "
                "with "
                "--discovery-port",
                port_of(fd));
        close(fd);
}

static void test_node_port_taken(void) {
        int udp_fd = occupy(SOCK_DGRAM, 0), tcp_fd = occupy(SOCK_STREAM, 0);

        assert_refused(
                0, port_of(udp_fd), EADDRINUSE,
                "UDP port %u is taken by another program; choose another with --node-port", port_of(udp_fd));

        ASSERT_EQ(listen(tcp_fd, 1), 0);
        assert_refused(
                0, port_of(tcp_fd), EADDRINUSE,
                "TCP port %u is taken by another program; choose another with --node-port", port_of(tcp_fd));
        close(udp_fd);
        close(tcp_fd);
}

static void test_fixed_node_port(void) {
        _cleanup_(discovery_free_p) struct discovery *discovery = NULL;
        _cleanup_free_ char *problem = NULL;
        int fd = occupy(SOCK_STREAM, 0);
        uint16_t port = port_of(fd);

        close(fd);
        ASSERT_OK(open_discovery(0, port, -1, -1, &discovery, &problem));
        ASSERT_EQ(discovery_node_port(discovery), port);

        /* Both numbers are ours now. */
        ASSERT_EQ(occupy(SOCK_STREAM, port), -1);
        ASSERT_EQ(occupy(SOCK_DGRAM, port), -1);
        discovery = discovery_free(discovery);
        fd = occupy(SOCK_STREAM, port);
        ASSERT_GE(fd, 0);
        close(fd);
}

/* The TCP socket is handed over once, and what is left of its connections does not keep the next daemon from
 * the port. */
static void test_stream_socket(void) {
        _cleanup_(discovery_free_p) struct discovery *discovery = NULL;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_free_ char *problem = NULL;
        uint16_t port;

        ASSERT_OK(open_discovery(0, 0, -1, -1, &discovery, &problem));
        port = discovery_node_port(discovery);
        int listen_fd = discovery_take_stream_fd(discovery);
        ASSERT_EQ(port_of(listen_fd), port);
        ASSERT_EQ(discovery_take_stream_fd(discovery), -EBADF);
        discovery = discovery_free(discovery);

        address.sin_port = htons(port);
        ASSERT_EQ(listen(listen_fd, 1), 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_EQ(connect(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
        int other_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        ASSERT_GE(other_fd, 0);
        close(other_fd); /* this side closes first, and its end waits for a minute */
        close(fd);
        close(listen_fd);
        ASSERT_OK(open_discovery(0, port, -1, -1, &discovery, &problem));
}

static void test_automatic_node_port(void) {
        struct discovery *discovery;
        _cleanup_free_ char *problem = NULL;
        int fds[NODE_PORT_LAST - NODE_PORT_FIRST + 1];

        /* The first is taken for UDP, the second for TCP. */
        fds[0] = occupy(SOCK_DGRAM, NODE_PORT_FIRST);
        fds[1] = occupy(SOCK_STREAM, NODE_PORT_FIRST + 1);
        ASSERT_OK(open_discovery(0, 0, -1, -1, &discovery, &problem));
        ASSERT_GE(discovery_node_port(discovery), NODE_PORT_FIRST + 2);
        ASSERT_LE(discovery_node_port(discovery), NODE_PORT_LAST);
        discovery = discovery_free(discovery);

        for (size_t i = 2; i < ELEMENTSOF(fds); i++)
                fds[i] = occupy(i % 2 == 0 ? SOCK_DGRAM : SOCK_STREAM, (uint16_t) (NODE_PORT_FIRST + i));
        ASSERT_ERROR(open_discovery(0, 0, -1, -1, &discovery, &problem), EADDRINUSE);
        ASSERT_STREQ(
                problem, "Of the ports 8081 to 8180 none is free for both UDP and TCP; choose another with "
                         "--node-port");

        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                close_fd(fds[i]);
}

static void test_inherited(void) {
        _cleanup_(discovery_free_p) struct discovery *discovery = NULL;
        _cleanup_free_ char *problem = NULL;
        int discovery_fd = occupy(SOCK_DGRAM, 0), node_fd = occupy(SOCK_DGRAM, 0);
        uint16_t port = port_of(discovery_fd), node_port = port_of(node_fd);

        /* Their ports count, whatever the configuration says. */
        ASSERT_OK(open_discovery(1, 2, discovery_fd, node_fd, &discovery, &problem));
        ASSERT_EQ(discovery_port(discovery), port);
        ASSERT_EQ(discovery_node_port(discovery), node_port);

        const struct mesh_message message = { .type = MESSAGE_HEARTBEAT, .sender_node_id = "a" };
        ASSERT_EQ(discovery_broadcast(discovery, &message, /* pad= */ false), 1);
        discovery = discovery_free(discovery);

        /* They were taken, and are closed. */
        discovery_fd = occupy(SOCK_DGRAM, port);
        ASSERT_GE(discovery_fd, 0);
        close(discovery_fd);
}

static void assert_not_inherited(int discovery_fd, int node_fd, const char *expected) {
        _cleanup_free_ char *problem = NULL;
        struct discovery *discovery;

        ASSERT_TRUE(open_discovery(0, 0, discovery_fd, node_fd, &discovery, &problem) < 0);
        ASSERT_NOT_NULL(problem);
        ASSERT_EQ(strncmp(problem, expected, strlen(expected)), 0);
}

static void test_inherited_wrong(void) {
        static const char discovery_refused[] =
                "The inherited discovery socket is not a bound IPv4 UDP socket: ";
        static const char node_refused[] = "The inherited node socket is not a bound IPv4 UDP socket: ";

        assert_not_inherited(occupy(SOCK_STREAM, 0), -1, discovery_refused);
        assert_not_inherited(-1, occupy(SOCK_STREAM, 0), node_refused);
        assert_not_inherited(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), -1, discovery_refused);
        assert_not_inherited(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), -1, discovery_refused);
        assert_not_inherited(-1, dup(STDERR_FILENO), node_refused);
}

/* Without somebody to read the sentence. */
static void test_no_problem_wanted(void) {
        const struct discovery_config config = { .node_port = 1,
                                                 .discovery_fd = dup(STDERR_FILENO),
                                                 .node_fd = -1 };
        const struct discovery_handlers handlers = { 0 };
        struct discovery *discovery;

        ASSERT_TRUE(discovery_new(&config, event, &handlers, &discovery, NULL) < 0);
        ASSERT_NULL(discovery_free(NULL));
}

int main(void) {
        if (network_enter_private())
                network_set_up("lo", true);
        ASSERT_OK(sd_event_new(&event));

        RUN(test_discovery_port_taken);
        RUN(test_node_port_taken);
        RUN(test_fixed_node_port);
        RUN(test_stream_socket);
        RUN(test_automatic_node_port);
        RUN(test_inherited);
        RUN(test_inherited_wrong);
        RUN(test_no_problem_wanted);

        sd_event_unref(event);
        return EXIT_SUCCESS;
}
