/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Plays nodes of this host that have nothing to do: each broadcasts its heartbeat on loopback and answers
 * when it is asked whether it is there. The heartbeats are spread evenly over the interval. Ends by itself.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "bench/measure.h"
#include "bench/options.h"
#include "util/time.h"
#include "wire/codec.h"

#define NODES_MAX 1000u
#define EVENTS_PER_WAIT 64

struct node {
        int fd;
        struct mesh_message heartbeat; /* as it is sent; an answer is made from it */
};

struct nodes {
        int epoll_fd, timer_fd;
        struct sockaddr_in broadcast;
        unsigned n_nodes, next;
        uint64_t n_sent, n_answered;
        struct node nodes[NODES_MAX];
};

static int node_send(struct node *node, struct mesh_message *message, const struct sockaddr_in *address) {
        uint8_t data[DATAGRAM_MAX];
        int size;

        message->sequence = ++node->heartbeat.sequence;
        message->timestamp_usec = now_usec(CLOCK_REALTIME);
        message->node_info.last_heartbeat_usec = message->timestamp_usec;
        size = mesh_message_encode(message, false, data);
        if (size < 0)
                return size;
        if (sendto(node->fd, data, (size_t) size, 0, (const struct sockaddr *) address, sizeof(*address)) <
            0)
                return -errno;
        return 0;
}

/* Whoever asks with a nonce gets it back. */
static int node_receive(struct nodes *nodes, struct node *node) {
        struct sockaddr_in source;
        socklen_t source_size = sizeof(source);
        uint8_t data[DATAGRAM_MAX + 1];
        struct mesh_message question, answer;
        ssize_t n;

        n = recvfrom(node->fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *) &source, &source_size);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        if (mesh_message_decode(data, (size_t) n, &question) < 0 || !question.has_nonce)
                return 0;
        answer = node->heartbeat;
        answer.type = MESSAGE_PROBE_ACK;
        answer.has_echo = true;
        memcpy(answer.echo, question.nonce, sizeof(answer.echo));
        answer.known_incarnation = question.incarnation;
        nodes->n_answered++;
        return node_send(node, &answer, &source);
}

static int node_open(struct node *node, unsigned number, unsigned interval_msec) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t address_size = sizeof(address);
        struct mesh_message *heartbeat = &node->heartbeat;
        int on = 1;

        node->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (node->fd < 0 || setsockopt(node->fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0 ||
            bind(node->fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
            getsockname(node->fd, (struct sockaddr *) &address, &address_size) < 0)
                return -errno;

        *heartbeat = (struct mesh_message){
                .type = MESSAGE_HEARTBEAT,
                .incarnation = 1,
                .has_node_info = true,
                .node_info = {
                        .status = NODE_IDLE,
                        .version = VERSION,
                        .node_port = ntohs(address.sin_port),
                        .slots = 4,
                        .heartbeat_interval_usec = interval_msec * USEC_PER_MSEC,
                },
        };
        (void) snprintf(
                heartbeat->sender_node_id, sizeof(heartbeat->sender_node_id), "node-%016x", number + 1);
        (void) snprintf(
                heartbeat->node_info.node_id, sizeof(heartbeat->node_info.node_id), "%s",
                heartbeat->sender_node_id);
        (void) snprintf(
                heartbeat->node_info.address, sizeof(heartbeat->node_info.address), "127.0.0.1:%u",
                heartbeat->node_info.node_port);
        return getrandom(&heartbeat->instance, sizeof(heartbeat->instance), 0) < 0 ? -errno : 0;
}

static int nodes_watch(struct nodes *nodes, int fd, struct node *node) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = node };

        return epoll_ctl(nodes->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The timer is the event without a node. */
static int nodes_open(struct nodes *nodes, unsigned n_nodes, unsigned interval_msec) {
        uint64_t period_nsec = interval_msec * UINT64_C(1000000) / n_nodes;
        struct itimerspec period = {
                .it_value.tv_nsec = 1,
                .it_interval = { (time_t) (period_nsec / NSEC_PER_SEC),
                                 (long) (period_nsec % NSEC_PER_SEC) },
        };
        int r;

        nodes->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        nodes->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (nodes->epoll_fd < 0 || nodes->timer_fd < 0 ||
            timerfd_settime(nodes->timer_fd, 0, &period, NULL) < 0)
                return -errno;
        r = nodes_watch(nodes, nodes->timer_fd, NULL);
        while (r == 0 && nodes->n_nodes < n_nodes) {
                struct node *node = &nodes->nodes[nodes->n_nodes];

                r = node_open(node, nodes->n_nodes, interval_msec);
                if (r < 0)
                        return r;
                nodes->n_nodes++;
                r = nodes_watch(nodes, node->fd, node);
        }
        return r;
}

/* One heartbeat for each period that has passed. */
static int timer_due(struct nodes *nodes) {
        uint64_t n_periods = 0;
        int r = 0;

        if (read(nodes->timer_fd, &n_periods, sizeof(n_periods)) < 0)
                return errno == EAGAIN ? 0 : -errno;
        for (; n_periods > 0 && r == 0; n_periods--) {
                struct node *node = &nodes->nodes[nodes->next];
                struct mesh_message message = node->heartbeat;

                nodes->next = (nodes->next + 1) % nodes->n_nodes;
                nodes->n_sent++;
                r = node_send(node, &message, &nodes->broadcast);
        }
        return r;
}

static int nodes_run(struct nodes *nodes, unsigned seconds) {
        uint64_t end_nsec = monotonic_nsec() + seconds * NSEC_PER_SEC;
        struct epoll_event events[EVENTS_PER_WAIT];

        while (monotonic_nsec() < end_nsec) {
                int n = epoll_wait(nodes->epoll_fd, events, EVENTS_PER_WAIT, 1000);

                if (n < 0)
                        return -errno;
                for (int i = 0; i < n; i++) {
                        struct node *node = events[i].data.ptr;
                        int r = node ? node_receive(nodes, node) : timer_due(nodes);

                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned discovery_port = 8080, count = 50, interval_msec = 5000, seconds = 60;
        const struct bench_option options[] = {
                { "port", "The discovery port (8080).", 1, UINT16_MAX, &discovery_port, NULL, NULL },
                { "count", "How many nodes (50).", 1, NODES_MAX, &count, NULL, NULL },
                { "interval", "Between two heartbeats of a node, in ms (5000).", 10, 3600000, &interval_msec,
                  NULL, NULL },
                { "seconds", "How long (60).", 1, 3600, &seconds, NULL, NULL },
        };
        static struct nodes nodes;
        int r;

        r = bench_options_parse(argc, argv, "Plays idle nodes on loopback.", options, ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        nodes.broadcast = (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t) discovery_port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK | 0x00ffffff),
        };
        r = nodes_open(&nodes, count, interval_msec);
        if (r == 0)
                r = nodes_run(&nodes, seconds);
        if (r < 0) {
                fprintf(stderr, "Cannot play nodes: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        figure_print("heartbeats", (double) nodes.n_sent);
        figure_print("answers", (double) nodes.n_answered);
        return EXIT_SUCCESS;
}
