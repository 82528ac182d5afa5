/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "links-peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

struct other *peer_other(struct peer *peer, const char *id) {
        for (size_t i = 0; i < peer->n_others; i++)
                if (streq(peer->others[i].id, id))
                        return &peer->others[i];
        ASSERT_LT(peer->n_others, OTHERS_MAX);
        strcpy(peer->others[peer->n_others].id, id);
        return &peer->others[peer->n_others++];
}

static int on_up(void *userdata, const char *node_id, const struct link_hello *hello) {
        struct peer *peer = userdata;
        struct other *other = peer_other(peer, node_id);

        ASSERT_FALSE(other->is_up);
        ASSERT_TRUE(links_is_up(peer->links, node_id));
        ASSERT_STREQ(hello->node_id, node_id);
        if (peer->up_result < 0)
                return peer->up_result;
        other->is_up = true;
        other->n_up++;
        other->hello = *hello;
        other->hello.node_id = other->id;
        other->n_sent = other->n_received = 0;
        if (peer->on_up)
                peer->on_up(peer, other);
        return 0;
}

static void on_received(void *userdata, const char *node_id, const struct link_message *message) {
        struct peer *peer = userdata;
        struct other *other = peer_other(peer, node_id);

        ASSERT_TRUE(other->is_up);
        ASSERT_FALSE(message->has_hello);
        ASSERT_EQ(message->room, other->n_received + 1);
        other->n_received = message->room;
        for (size_t i = 0; i < message->n_pieces; i++) {
                const uint8_t *data = message->pieces[i].data;

                ASSERT_EQ(data[0], (uint8_t) message->room);
                ASSERT_EQ(data[message->pieces[i].size - 1], (uint8_t) message->room);
                other->n_bytes += message->pieces[i].size;
        }
        if (peer->on_received)
                peer->on_received(peer, other);
}

static void on_down(void *userdata, const char *node_id, int error) {
        struct peer *peer = userdata;
        struct other *other = peer_other(peer, node_id);

        ASSERT_FALSE(links_is_up(peer->links, node_id));
        other->is_up = false;
        other->n_down++;
        other->error = error;
        if (peer->on_down)
                peer->on_down(peer, other);
}

static void on_writable(void *userdata, const char *node_id) {
        struct peer *peer = userdata;

        ASSERT_LE(links_queued(peer->links, node_id), links_limits(peer->links)->queue_low);
        peer_other(peer, node_id)->n_writable++;
}

static int bound_socket(struct sockaddr_in *ret_address) {
        socklen_t size = sizeof(*ret_address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ASSERT_GE(fd, 0);
        *ret_address =
                (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        ASSERT_EQ(bind(fd, (struct sockaddr *) ret_address, size), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) ret_address, &size), 0);
        return fd;
}

const struct mesh_keys *links_keys;
struct invitations *links_invitations;

static void on_admitted(void *userdata, const struct sockaddr_in *address) {
        struct peer *peer = userdata;

        ASSERT_EQ(ntohl(address->sin_addr.s_addr), INADDR_LOOPBACK);
        peer->n_admitted++;
}

bool links_keys_from_arguments(int argc, char *argv[]) {
        static struct mesh_keys keys;

        if (argc < 2)
                return false;
        ASSERT_STREQ(argv[1], "tls");
        ASSERT_OK(mesh_keys_make(&keys));
        links_keys = &keys;
        return true;
}

void peer_init(struct peer *peer, const char *id, uint64_t instance, sd_event *event) {
        const struct links_handlers handlers = {
                .up = on_up,
                .received = on_received,
                .down = on_down,
                .writable = on_writable,
                .admitted = on_admitted,
                .userdata = peer,
        };
        struct links_config config = {
                .node_id = id,
                .version = "1.2.3",
                .incarnation = instance,
                .instance = instance,
                .keys = links_keys,
                .invitations = links_invitations,
        };

        memset(peer, 0, sizeof(*peer));
        snprintf(peer->id, sizeof(peer->id), "%s", id);
        config.listen_fd = bound_socket(&peer->address);
        ASSERT_OK(links_new(&config, event, &handlers, &peer->links));
}

void peer_done(struct peer *peer) {
        peer->links = links_free(peer->links);
}

void peer_open(struct peer *peer, const struct peer *to) {
        ASSERT_OK(links_open(peer->links, to->id, &to->address));
}

bool peers_are_linked(struct peer *a, struct peer *b) {
        return OTHER(a, b)->is_up && OTHER(b, a)->is_up;
}

int peer_send(struct peer *peer, const char *id, size_t n_pieces) {
        static uint8_t data[LINK_PIECE_MAX];
        struct other *other = peer_other(peer, id);
        struct link_piece pieces[64] = {};
        const struct link_message message = { .room = other->n_sent + 1,
                                              .n_pieces = n_pieces,
                                              .pieces = pieces };

        ASSERT_LE(n_pieces, ELEMENTSOF(pieces));
        if (n_pieces > 0)
                memset(data, (int) message.room, sizeof(data));
        for (size_t i = 0; i < n_pieces; i++)
                pieces[i] = (struct link_piece){ .data = data, .size = sizeof(data) };
        int r = links_send(peer->links, id, &message);
        if (r >= 0)
                other->n_sent++;
        return r;
}

int raw_listen(struct sockaddr_in *ret_address) {
        int fd = bound_socket(ret_address);

        ASSERT_EQ(listen(fd, 16), 0);
        return fd;
}

int raw_connect(const struct sockaddr_in *address) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_GE(fd, 0);
        ASSERT_EQ(connect(fd, (const struct sockaddr *) address, sizeof(*address)), 0);
        ASSERT_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        return fd;
}

struct link_message raw_hello(const char *id) {
        return (struct link_message){
                .has_hello = true,
                .hello = { .protocol = LINK_PROTOCOL, .node_id = id, .version = "raw", .ordinal = 1 },
        };
}

void raw_write(int fd, const void *data, size_t size) {
        ASSERT_EQ(send(fd, data, size, MSG_NOSIGNAL), (ssize_t) size);
}

void raw_send(int fd, const struct link_message *message) {
        _cleanup_buffer_ struct buffer buffer = {};

        ASSERT_OK(link_message_encode(message, &buffer));
        raw_write(fd, buffer.data, buffer.size);
}

bool raw_is_closed(int fd) {
        char bytes[4096];
        ssize_t n;

        while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
                ;
        return n == 0 || errno != EAGAIN;
}

int raw_accept_link(struct peer *peer, const char *id, int listen_fd, sd_event *event) {
        const struct link_message hello = raw_hello(id);
        int fd;

        RUN_UNTIL(event, (fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
        raw_send(fd, &hello);
        RUN_UNTIL(event, peer_other(peer, id)->is_up);
        return fd;
}
