/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/peer-uid.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <unistd.h>

#define CONNECTED_STATES (1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2)

struct peer_uid {
        int fd;
        uint32_t sequence;
};

struct question {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
};

int peer_uid_new(struct peer_uid **ret) {
        _cleanup_(peer_uid_free_p) struct peer_uid *diag = malloc(sizeof(*diag));
        if (!diag)
                return -ENOMEM;

        *diag = (struct peer_uid){
                .fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG),
        };
        if (diag->fd < 0)
                return -errno;

        *ret = TAKE_PTR(diag);
        return 0;
}

struct peer_uid *peer_uid_free(struct peer_uid *diag) {
        if (!diag)
                return NULL;
        close_fd(diag->fd);
        free(diag);
        return NULL;
}

/* The client's socket is the one whose own end is the client's address. */
static int
fill_id(const struct sockaddr *client, const struct sockaddr *server, struct inet_diag_sockid *ret_id) {
        struct inet_diag_sockid id = { .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } };

        if (client->sa_family != server->sa_family)
                return -EAFNOSUPPORT;
        if (client->sa_family == AF_INET) {
                const struct sockaddr_in *from = (const struct sockaddr_in *) client;
                const struct sockaddr_in *to = (const struct sockaddr_in *) server;

                id.idiag_sport = from->sin_port;
                id.idiag_dport = to->sin_port;
                memcpy(id.idiag_src, &from->sin_addr, sizeof(from->sin_addr));
                memcpy(id.idiag_dst, &to->sin_addr, sizeof(to->sin_addr));
        } else if (client->sa_family == AF_INET6) {
                const struct sockaddr_in6 *from = (const struct sockaddr_in6 *) client;
                const struct sockaddr_in6 *to = (const struct sockaddr_in6 *) server;

                id.idiag_sport = from->sin6_port;
                id.idiag_dport = to->sin6_port;
                memcpy(id.idiag_src, &from->sin6_addr, sizeof(from->sin6_addr));
                memcpy(id.idiag_dst, &to->sin6_addr, sizeof(to->sin6_addr));
        } else
                return -EAFNOSUPPORT;

        *ret_id = id;
        return 0;
}

/* A socket that its owner has closed, or that is not fully there yet, is reported with uid 0 and inode 0:
 * that must not be taken for root. When nobody connects from that port any more the kernel looks for one who
 * listens there. So only a connection that a file descriptor still refers to has an owner to name; it may
 * have sent its last. */
static int read_answer(const struct nlmsghdr *header, const struct inet_diag_sockid *id, uid_t *ret) {
        const struct inet_diag_msg *message = NLMSG_DATA(header);

        if (header->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *error = NLMSG_DATA(header);

                if (header->nlmsg_len < NLMSG_LENGTH(sizeof(error->error)))
                        return -EBADMSG;
                return error->error < 0 ? error->error : -EBADMSG;
        }
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)))
                return -EBADMSG;
        if (message->id.idiag_sport != id->idiag_sport || message->id.idiag_dport != id->idiag_dport)
                return -EBADMSG;
        if ((1u << message->idiag_state & CONNECTED_STATES) == 0 || message->idiag_inode == 0)
                return -ENOENT;

        *ret = message->idiag_uid;
        return 0;
}

int peer_uid_ask(
        struct peer_uid *diag, const struct sockaddr *client, const struct sockaddr *server, uid_t *ret) {
        struct question question = {
                .header = {
                        .nlmsg_len = sizeof(question),
                        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                        .nlmsg_flags = NLM_F_REQUEST,
                        .nlmsg_seq = ++diag->sequence,
                },
                .body = {
                        .sdiag_family = (uint8_t) client->sa_family,
                        .sdiag_protocol = IPPROTO_TCP,
                        .idiag_states = UINT32_MAX,
                },
        };
        union {
                struct nlmsghdr header;
                char bytes[4096];
        } answer;

        int r = fill_id(client, server, &question.body.id);
        if (r < 0)
                return r;
        if (send(diag->fd, &question, sizeof(question), 0) < 0)
                return -errno;

        for (;;) {
                struct sockaddr_nl source;
                socklen_t source_size = sizeof(source);

                ssize_t n = recvfrom(
                        diag->fd, &answer, sizeof(answer), MSG_DONTWAIT, (struct sockaddr *) &source,
                        &source_size);
                if (n < 0)
                        return -errno;
                /* Another process may write to our netlink port; the kernel's is 0. */
                if (source_size != sizeof(source) || source.nl_pid != 0)
                        continue;
                if (!NLMSG_OK(&answer.header, (size_t) n))
                        return -EBADMSG;
                if (answer.header.nlmsg_seq == question.header.nlmsg_seq)
                        return read_answer(&answer.header, &question.body.id, ret);
        }
}
