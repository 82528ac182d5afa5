/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/discovery.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "net/interfaces.h"
#include "net/seal.h"
#include "net/sockets.h"
#include "util/log.h"
#include "util/time.h"
#include "wire/codec.h"

/* One wake-up reads at most this much, so that a flood leaves the loop time for other things. */
#define RECEIVE_BATCH 16u
#define BATCHES_PER_WAKEUP 4u
/* And so often in this time, on each socket: what floods it beyond that is left to the kernel, which drops
 * it for less than we would. A thousand peers send a hundredth of it. */
#define WAKEUPS_INTERVAL_USEC (10 * USEC_PER_MSEC)
#define WAKEUPS_PER_INTERVAL 4u

struct discovery {
        struct interfaces *interfaces;
        int discovery_fd;
        struct node_sockets node;
        uint16_t discovery_port, node_port;
        const struct mesh_keys *keys;
        sd_event_source *discovery_source, *node_source;
        struct discovery_handlers handlers;
        struct discovery_counters counters;
        struct ratelimit dropped_limit;
};

struct packet_info_control {
        _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

struct receive_batch {
        struct mmsghdr headers[RECEIVE_BATCH];
        struct iovec vectors[RECEIVE_BATCH];
        struct sockaddr_in sources[RECEIVE_BATCH];
        struct packet_info_control controls[RECEIVE_BATCH];
        uint8_t data[RECEIVE_BATCH][DATAGRAM_MAX];
};

static void receive_batch_init(struct receive_batch *batch) {
        for (size_t i = 0; i < RECEIVE_BATCH; i++) {
                batch->vectors[i] = (struct iovec){ batch->data[i], DATAGRAM_MAX };
                batch->headers[i].msg_hdr = (struct msghdr){
                        .msg_name = &batch->sources[i],
                        .msg_namelen = sizeof(batch->sources[i]),
                        .msg_iov = &batch->vectors[i],
                        .msg_iovlen = 1,
                        .msg_control = &batch->controls[i],
                        .msg_controllen = sizeof(batch->controls[i]),
                };
        }
}

/* 0, which no interface has, when the kernel did not say. */
static unsigned interface_index_of(struct msghdr *header) {
        struct in_pktinfo info = { 0 };

        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c))
                if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
                        memcpy(&info, CMSG_DATA(c), sizeof(info));
        return (unsigned) info.ipi_ifindex;
}

static void
drop(struct discovery *discovery, const struct discovery_source *source, uint64_t *counter,
     const char *why) {
        char text[INET_ADDRSTRLEN];

        (*counter)++;
        if (ratelimit_below(&discovery->dropped_limit, now_usec(CLOCK_MONOTONIC)))
                log_debug(
                        "Dropped a datagram of %s:%u: %s.",
                        inet_ntop(AF_INET, &source->address.sin_addr, text, sizeof(text)),
                        ntohs(source->address.sin_port), why);
}

/* False: it is to be dropped. A mesh without keys trusts whoever has none either. */
static bool
judge(struct discovery *discovery, const struct mesh_message *message, const uint8_t *data,
      struct discovery_source *source) {
        switch (seal_check(discovery->keys, message, data, source->size)) {
        case SEAL_NONE:
                source->trusted = !discovery->keys;
                break;
        case SEAL_FOREIGN:
                break;
        case SEAL_RIGHT:
                source->trusted = true;
                break;
        case SEAL_WRONG:
                drop(discovery, source, &discovery->counters.forged, "its MAC is wrong");
                return false;
        }
        discovery->counters.strangers += !source->trusted;
        return true;
}

static void handle_datagram(struct discovery *discovery, struct mmsghdr *header) {
        const uint8_t *data = header->msg_hdr.msg_iov->iov_base;
        struct discovery_source source = {
                .address = *(struct sockaddr_in *) header->msg_hdr.msg_name,
                .size = header->msg_len,
        };
        struct mesh_message message;

        discovery->counters.received++;
        if (!interfaces_may_hear(
                    discovery->interfaces, interface_index_of(&header->msg_hdr), source.address.sin_addr)) {
                discovery->counters.foreign++;
                return;
        }
        if ((header->msg_hdr.msg_flags & MSG_TRUNC) || mesh_message_decode(data, source.size, &message) < 0)
                drop(discovery, &source, &discovery->counters.malformed, "no message, or too long for one");
        else if (judge(discovery, &message, data, &source))
                discovery->handlers.received(discovery->handlers.userdata, &message, &source);
}

static int on_readable(sd_event_source *event_source, int fd, uint32_t events, void *userdata) {
        struct discovery *discovery = userdata;
        struct receive_batch batch;

        for (unsigned round = 0; round < BATCHES_PER_WAKEUP; round++) {
                receive_batch_init(&batch);
                int n = recvmmsg(fd, batch.headers, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
                if (n < 0) {
                        if (errno != EAGAIN && errno != EINTR)
                                log_debug_errno(-errno, "Cannot receive datagrams, trying again: %m");
                        return 0;
                }
                for (int i = 0; i < n; i++)
                        handle_datagram(discovery, &batch.headers[i]);
                if (n < (int) RECEIVE_BATCH)
                        return 0;
        }
        return 0;
}

/* via: the interface to leave by and the address to come from, or NULL for what the routes say. A link that
 * is down, a full queue or a firewall is what networks are like: counted, and the answer says so. */
static int send_datagram(
        struct discovery *discovery, const uint8_t *data, size_t size, const struct sockaddr_in *address,
        const struct interface_address *via) {
        struct packet_info_control control = { 0 };
        struct iovec vector = { (uint8_t *) data, size };
        struct msghdr header = {
                .msg_name = (struct sockaddr_in *) address,
                .msg_namelen = sizeof(*address),
                .msg_iov = &vector,
                .msg_iovlen = 1,
        };

        if (via) {
                const struct in_pktinfo info = {
                        .ipi_ifindex = (int) via->index,
                        .ipi_spec_dst = via->local,
                };
                header.msg_control = &control;
                header.msg_controllen = sizeof(control);
                struct cmsghdr *c = CMSG_FIRSTHDR(&header);
                c->cmsg_level = IPPROTO_IP;
                c->cmsg_type = IP_PKTINFO;
                c->cmsg_len = CMSG_LEN(sizeof(info));
                memcpy(CMSG_DATA(c), &info, sizeof(info));
        }

        if (sendmsg(discovery->node.udp_fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
                discovery->counters.send_failed++;
                return -errno;
        }
        discovery->counters.sent++;
        return 0;
}

int discovery_broadcast(struct discovery *discovery, const struct mesh_message *message, bool pad) {
        const struct interface_address *addresses;
        uint8_t data[DATAGRAM_MAX];
        int n_reached = 0;

        int size = seal_encode(discovery->keys, message, pad, data);
        if (size < 0)
                return size;

        size_t n_addresses = interfaces_get(discovery->interfaces, &addresses);
        for (size_t i = 0; i < n_addresses; i++) {
                if (addresses[i].broadcast.s_addr == INADDR_ANY)
                        continue;
                const struct sockaddr_in to = {
                        .sin_family = AF_INET,
                        .sin_port = htons(discovery->discovery_port),
                        .sin_addr = addresses[i].broadcast,
                };
                if (send_datagram(discovery, data, (size_t) size, &to, &addresses[i]) >= 0)
                        n_reached++;
        }
        return n_reached;
}

int discovery_send(
        struct discovery *discovery, const struct mesh_message *message, bool pad,
        const struct sockaddr_in *address) {
        uint8_t data[DATAGRAM_MAX];

        int size = seal_encode(discovery->keys, message, pad, data);
        return size < 0 ? size : send_datagram(discovery, data, (size_t) size, address, /* via= */ NULL);
}

static void on_interfaces_appeared(void *userdata) {
        struct discovery *discovery = userdata;
        discovery->handlers.network_changed(discovery->handlers.userdata);
}

static int watch_socket(
        struct discovery *discovery, sd_event *event, int fd, const char *description,
        sd_event_source **ret) {
        int r = sd_event_add_io(event, ret, fd, EPOLLIN, on_readable, discovery);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*ret, description);
        return sd_event_source_set_ratelimit(*ret, WAKEUPS_INTERVAL_USEC, WAKEUPS_PER_INTERVAL);
}

static int
open_sockets(struct discovery *discovery, const struct discovery_config *config, char **ret_problem) {
        int r;

        r = open_discovery_socket(
                config->discovery_port, discovery->discovery_fd, &discovery->discovery_fd, ret_problem);
        if (r < 0)
                return r;
        r = open_node_sockets(config->node_port, discovery->node.udp_fd, &discovery->node, ret_problem);
        if (r < 0)
                return r;
        /* Inherited sockets, and a discovery port of 0, have numbers that the configuration does not say. */
        r = socket_port(discovery->discovery_fd, &discovery->discovery_port);
        return r < 0 ? r : socket_port(discovery->node.udp_fd, &discovery->node_port);
}

static int open_all(
        struct discovery *discovery, const struct discovery_config *config, sd_event *event,
        char **ret_problem) {
        int r;

        r = open_sockets(discovery, config, ret_problem);
        if (r < 0)
                return r;
        r = interfaces_new(
                config->interfaces, event, on_interfaces_appeared, discovery, &discovery->interfaces);
        if (r < 0)
                return r;
        r = watch_socket(
                discovery, event, discovery->discovery_fd, "discovery", &discovery->discovery_source);
        if (r < 0)
                return r;
        return watch_socket(
                discovery, event, discovery->node.udp_fd, "node-datagrams", &discovery->node_source);
}

int discovery_new(
        const struct discovery_config *config, sd_event *event, const struct discovery_handlers *handlers,
        struct discovery **ret, char **ret_problem) {
        _cleanup_close_ int discovery_fd = config->discovery_fd, node_fd = config->node_fd;
        _cleanup_(discovery_free_p) struct discovery *discovery = NULL;
        _cleanup_free_ char *problem = NULL;

        discovery = calloc(1, sizeof(*discovery));
        if (!discovery)
                return -ENOMEM;
        discovery->discovery_fd = TAKE_FD(discovery_fd);
        discovery->node = (struct node_sockets){ .udp_fd = TAKE_FD(node_fd), .tcp_fd = -EBADF };
        discovery->handlers = *handlers;
        discovery->keys = config->keys;
        discovery->dropped_limit = (struct ratelimit){ .interval_usec = 10 * USEC_PER_SEC, .burst = 5 };

        int r = open_all(discovery, config, event, &problem);
        if (r < 0) {
                if (ret_problem)
                        *ret_problem = TAKE_PTR(problem);
                return r;
        }
        *ret = TAKE_PTR(discovery);
        return 0;
}

struct discovery *discovery_free(struct discovery *discovery) {
        if (!discovery)
                return NULL;
        sd_event_source_disable_unref(discovery->discovery_source);
        sd_event_source_disable_unref(discovery->node_source);
        interfaces_free(discovery->interfaces);
        close_fd(discovery->discovery_fd);
        close_fd(discovery->node.udp_fd);
        close_fd(discovery->node.tcp_fd);
        free(discovery);
        return NULL;
}

int discovery_take_stream_fd(struct discovery *discovery) {
        return TAKE_FD(discovery->node.tcp_fd);
}

uint16_t discovery_port(const struct discovery *discovery) {
        return discovery->discovery_port;
}

uint16_t discovery_node_port(const struct discovery *discovery) {
        return discovery->node_port;
}

const struct discovery_counters *discovery_counters(const struct discovery *discovery) {
        return &discovery->counters;
}
