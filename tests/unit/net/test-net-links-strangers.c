/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connections that do what they should not: whoever sends garbage, half of something, or nothing, is closed,
 * costs little, and harms nobody else. */

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "links-peer.h"

#define A_ID "node-aaaaaaaaaaaaaaaa"
#define B_ID "node-bbbbbbbbbbbbbbbb"

static sd_event *event;

static void send_hello(int fd, const char *id) {
        const struct link_message hello = raw_hello(id);

        raw_send(fd, &hello);
}

/* A connection that says these bytes to a new peer; it must be closed. In *ret_counters what was counted. */
static void assert_closed_after(const void *data, size_t size, struct links_counters *ret_counters) {
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        _cleanup_close_ int fd = raw_connect(&a.address);
        raw_write(fd, data, size);
        RUN_UNTIL(event, raw_is_closed(fd));
        ASSERT_EQ(a.n_others, 0); /* nobody was told */
        *ret_counters = *links_counters(a.links);
        peer_done(&a);
}

static void assert_message_refused(const struct link_message *message, bool malformed) {
        _cleanup_buffer_ struct buffer buffer = {};
        struct links_counters counters;

        ASSERT_OK(link_message_encode(message, &buffer));
        assert_closed_after(buffer.data, buffer.size, &counters);
        ASSERT_EQ(counters.malformed, malformed);
        ASSERT_EQ(counters.refused, !malformed);
}

static void test_garbage(void) {
        static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        struct links_counters counters;
        uint8_t garbage[4096];

        assert_closed_after(http, sizeof(http) - 1, &counters);
        ASSERT_EQ(counters.malformed, 1);
        assert_closed_after("\xff\xff\xff\xff", 4, &counters); /* a frame of 4 GiB */
        ASSERT_EQ(counters.malformed, 1);
        assert_closed_after("\x00\x20\x00\x01", 4, &counters);
        ASSERT_EQ(counters.malformed, 1);
        /* What only those may send who have said hello. */
        assert_closed_after("\x00\x10\x00\x00", 4, &counters);
        ASSERT_EQ(counters.malformed, 1);
        assert_closed_after("\x00\x00\x00\x02\xff\xff", 6, &counters);
        ASSERT_EQ(counters.malformed, 1);
        for (unsigned seed = 0; seed < 50; seed++) {
                srand(seed);
                for (size_t i = 0; i < sizeof(garbage); i++)
                        garbage[i] = (uint8_t) rand();
                garbage[0] |= 0x80;
                assert_closed_after(garbage, sizeof(garbage), &counters);
                ASSERT_EQ(counters.malformed, 1);
        }
}

static void test_wrong_hello(void) {
        struct link_message message = {};

        assert_message_refused(&message, /* malformed= */ true); /* none */
        message.room = 5;
        assert_message_refused(&message, /* malformed= */ true);
        message = raw_hello(B_ID);
        message.hello.protocol = 0;
        assert_message_refused(&message, /* malformed= */ true);
        message.hello.protocol = LINK_PROTOCOL + 1;
        assert_message_refused(&message, /* malformed= */ false);
        message = raw_hello(A_ID); /* of the node itself */
        assert_message_refused(&message, /* malformed= */ false);
        message = raw_hello("no node");
        assert_message_refused(&message, /* malformed= */ true);
}

static void test_hello_twice(void) {
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        _cleanup_close_ int fd = raw_connect(&a.address);
        send_hello(fd, B_ID);
        RUN_UNTIL(event, peer_other(&a, B_ID)->is_up);
        send_hello(fd, B_ID);
        RUN_UNTIL(event, raw_is_closed(fd));
        ASSERT_EQ(peer_other(&a, B_ID)->n_down, 1);
        ASSERT_EQ(peer_other(&a, B_ID)->error, -EBADMSG);
        ASSERT_EQ(links_counters(a.links)->malformed, 1);
        peer_done(&a);
}

/* A hello may bring further parts, and comes byte by byte where the network is like that. */
static void test_hello_in_pieces(void) {
        struct link_message message = raw_hello(B_ID);
        _cleanup_buffer_ struct buffer buffer = {};
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        _cleanup_close_ int fd = raw_connect(&a.address);
        message.room = 1;
        ASSERT_OK(link_message_encode(&message, &buffer));
        message = (struct link_message){ .room = 2 };
        ASSERT_OK(link_message_encode(&message, &buffer));
        for (size_t i = 0; i < buffer.size; i++) {
                raw_write(fd, buffer.data + i, 1);
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        }
        RUN_UNTIL(event, peer_other(&a, B_ID)->n_received == 2);
        ASSERT_EQ(peer_other(&a, B_ID)->n_up, 1);
        peer_done(&a);
}

/* Cut at every byte: what arrived whole counts, and the end is told. */
static void test_closed_in_the_middle(void) {
        struct link_message message = raw_hello(B_ID);
        _cleanup_buffer_ struct buffer buffer = {};
        struct peer a;

        ASSERT_OK(link_message_encode(&message, &buffer));
        size_t hello_size = buffer.size;
        message = (struct link_message){ .room = 1 };
        ASSERT_OK(link_message_encode(&message, &buffer));
        size_t first_size = buffer.size;
        message = (struct link_message){ .room = 2 };
        ASSERT_OK(link_message_encode(&message, &buffer));

        peer_init(&a, A_ID, 1, event);
        struct other *other = peer_other(&a, B_ID);
        for (size_t size = 0; size <= buffer.size; size++) {
                size_t n_up = other->n_up;
                int fd = raw_connect(&a.address);
                raw_write(fd, buffer.data, size);
                if (size >= hello_size)
                        RUN_UNTIL(event, other->is_up);
                ASSERT_EQ(shutdown(fd, SHUT_WR), 0);
                RUN_UNTIL(event, raw_is_closed(fd));
                close(fd);
                ASSERT_EQ(other->n_up - n_up, size >= hello_size);
                ASSERT_EQ(other->n_down, other->n_up);
                if (size < hello_size)
                        continue;
                ASSERT_EQ(other->n_received, size == buffer.size ? 2 : size >= first_size);
                bool in_order = size == hello_size || size == first_size || size == buffer.size;
                ASSERT_EQ(other->error, in_order ? 0 : -ECONNRESET);
        }
        ASSERT_EQ(links_counters(a.links)->malformed, 0);
        peer_done(&a);
}

/* Whoever has hung up already is greeted no more: its hello may be from long ago. */
static void test_closed_after_hello(void) {
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        for (int i = 0; i < 20; i++) {
                int fd = raw_connect(&a.address);
                send_hello(fd, B_ID);
                close(fd);
        }
        RUN_UNTIL(event, links_counters(a.links)->bytes_received > 0 && a.links->n_strangers == 0);
        while (ASSERT_OK(sd_event_run(event, 0)) > 0)
                ;
        ASSERT_EQ(a.n_others, 0);
        peer_done(&a);
}

/* A frame that never ends reserves no more than what has come of it, and the link ends as an idle one. */
static void test_half_a_frame(void) {
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        links_limits(a.links)->idle_usec = 500 * USEC_PER_MSEC;
        _cleanup_close_ int fd = raw_connect(&a.address);
        send_hello(fd, B_ID);
        RUN_UNTIL(event, peer_other(&a, B_ID)->is_up);
        uint64_t received = links_counters(a.links)->bytes_received;
        raw_write(fd, "\x00\x20\x00\x00half", 8);
        RUN_UNTIL(event, links_counters(a.links)->bytes_received == received + 8);
        ASSERT_LE(links_find(a.links, B_ID)->in.allocated, 128 * 1024);
        RUN_UNTIL(event, raw_is_closed(fd));
        ASSERT_EQ(peer_other(&a, B_ID)->n_down, 1);
        peer_done(&a);
}

static void test_handshake_timeout(void) {
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        links_limits(a.links)->handshake_usec = 300 * USEC_PER_MSEC;
        _cleanup_close_ int silent = raw_connect(&a.address), slow = raw_connect(&a.address);
        raw_write(slow, "\x00\x00\x00\x10", 4);
        RUN_UNTIL(event, raw_is_closed(silent) && raw_is_closed(slow));
        ASSERT_EQ(links_counters(a.links)->refused, 2);
        ASSERT_EQ(a.n_others, 0);
        peer_done(&a);
}

/* Whoever was asked says nothing. */
static void test_no_answer(void) {
        struct sockaddr_in address;
        _cleanup_close_ int listen_fd = raw_listen(&address);
        struct peer a;

        ASSERT_GE(listen_fd, 0); /* where nobody accepts */
        peer_init(&a, A_ID, 1, event);
        links_limits(a.links)->handshake_usec = 300 * USEC_PER_MSEC;
        ASSERT_OK(links_open(a.links, B_ID, &address));
        RUN_UNTIL(event, peer_other(&a, B_ID)->n_down == 1);
        ASSERT_EQ(peer_other(&a, B_ID)->error, -ETIMEDOUT);
        ASSERT_EQ(peer_other(&a, B_ID)->n_up, 0);
        peer_done(&a);
}

/* Another node, the node itself, or something else is at that address. */
static void test_wrong_answer(void) {
        static const struct {
                const char *id;
                uint32_t protocol;
                int error;
        } answers[] = {
                { "node-cccccccccccccccc", LINK_PROTOCOL, -EREMCHG },
                { A_ID, LINK_PROTOCOL, -ELOOP },
                { B_ID, LINK_PROTOCOL + 1, -EPROTONOSUPPORT },
                { B_ID, 0, -EBADMSG },
        };
        struct sockaddr_in address;
        _cleanup_close_ int listen_fd = raw_listen(&address);
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        struct other *other = peer_other(&a, B_ID);
        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                struct link_message answer = raw_hello(answers[i].id);
                int fd;

                answer.hello.protocol = answers[i].protocol;
                ASSERT_OK(links_open(a.links, B_ID, &address));
                RUN_UNTIL(event, (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
                raw_send(fd, &answer);
                RUN_UNTIL(event, other->n_down == i + 1 && raw_is_closed(fd));
                ASSERT_EQ(other->error, answers[i].error);
                close(fd);
        }
        ASSERT_EQ(other->n_up, 0);
        ASSERT_EQ(a.n_others, 1);
        peer_done(&a);
}

/* With as many strangers as there may be, the oldest goes. */
static void test_strangers_max(void) {
        struct peer a;
        int fds[5];

        peer_init(&a, A_ID, 1, event);
        links_limits(a.links)->strangers_max = 3;
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = raw_connect(&a.address);
                RUN_UNTIL(event, a.links->n_strangers == MIN(i + 1, (size_t) 3));
                if (i >= 3)
                        RUN_UNTIL(event, raw_is_closed(fds[i - 3]));
        }
        for (size_t i = 2; i < ELEMENTSOF(fds); i++)
                ASSERT_FALSE(raw_is_closed(fds[i]));
        /* Those who have said hello do not count any more. */
        send_hello(fds[2], "node-2");
        send_hello(fds[3], "node-3");
        send_hello(fds[4], "node-4");
        RUN_UNTIL(
                event, peer_other(&a, "node-2")->is_up && peer_other(&a, "node-3")->is_up &&
                               peer_other(&a, "node-4")->is_up);
        ASSERT_EQ(a.links->n_strangers, 0);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                close(fds[i]);
        peer_done(&a);
}

/* Without descriptors it waits a while, and then goes on; the loop does not spin meanwhile. */
static void test_no_descriptors(void) {
        struct rlimit limit, none;
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        int first = raw_connect(&a.address);
        RUN_UNTIL(event, a.links->n_strangers == 1);
        _cleanup_close_ int second = raw_connect(&a.address);
        /* One that is free, and none above it. */
        ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = limit;
        none.rlim_cur = (rlim_t) second;
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
        int gap;
        while ((gap = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0)
                ; /* whatever is free below; closed with the program */
        ASSERT_EQ(errno, EMFILE);
        RUN_UNTIL(event, a.links->listen_again_at > 0);
        send_hello(first, B_ID); /* the others go on */
        RUN_UNTIL(event, peer_other(&a, B_ID)->is_up);
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        RUN_UNTIL(event, a.links->n_strangers == 1);
        ASSERT_EQ(a.links->listen_again_at, 0);
        close(first);
        peer_done(&a);
}

/* While somebody floods it with connections and garbage, two others talk to each other undisturbed. */
static void test_flood(void) {
        uint8_t garbage[1024];
        struct peer a, b;

        peer_init(&a, A_ID, 1, event);
        peer_init(&b, B_ID, 2, event);
        peer_open(&a, &b);
        RUN_UNTIL(event, peers_are_linked(&a, &b));
        memset(garbage, 0xa5, sizeof(garbage));
        for (uint32_t i = 0; i < 500; i++) {
                int fd = raw_connect(&a.address);
                if (i % 3 > 0)
                        raw_write(fd, garbage, i % 3 == 1 ? 3 : sizeof(garbage));
                ASSERT_OK(peer_send(&b, A_ID, 0));
                while (ASSERT_OK(sd_event_run(event, 0)) > 0)
                        ;
                close(fd);
        }
        RUN_UNTIL(event, OTHER(&a, &b)->n_received == 500);
        ASSERT_EQ(OTHER(&a, &b)->n_down, 0);
        ASSERT_EQ(a.n_others, 1);
        RUN_UNTIL(event, a.links->n_strangers == 0);
        peer_done(&a);
        peer_done(&b);
}

/* Who has no key of the mesh does not get as far as a hello, whoever opened the link. */
static void assert_strangers(const struct mesh_keys *a_keys, const struct mesh_keys *b_keys, int error) {
        struct peer a, b;

        links_keys = a_keys;
        peer_init(&a, A_ID, 1, event);
        links_keys = b_keys;
        peer_init(&b, B_ID, 2, event);
        links_keys = NULL;
        peer_open(&a, &b);
        RUN_UNTIL(event, OTHER(&a, &b)->n_down == 1);
        if (error < 0)
                ASSERT_EQ(OTHER(&a, &b)->error, error);
        RUN_UNTIL(event, b.links->n_strangers == 0);
        ASSERT_EQ(OTHER(&a, &b)->n_up + OTHER(&b, &a)->n_up, 0);
        peer_done(&a);
        peer_done(&b);
}

static void test_keys(void) {
        struct mesh_keys ours, others;

        ASSERT_OK(mesh_keys_make(&ours));
        ASSERT_OK(mesh_keys_make(&others));
        assert_strangers(&ours, &others, -EKEYREJECTED);
        assert_strangers(NULL, &ours, 0);
        assert_strangers(&ours, NULL, 0);
}

/* Those that say nothing, and those that say something else. */
static void test_rubbish_for_a_handshake(void) {
        struct mesh_keys ours;
        struct peer a;

        ASSERT_OK(mesh_keys_make(&ours));
        links_keys = &ours;
        peer_init(&a, A_ID, 1, event);
        links_keys = NULL;
        links_limits(a.links)->handshake_usec = 100 * USEC_PER_MSEC;
        _cleanup_close_ int silent = raw_connect(&a.address), rude = raw_connect(&a.address);
        raw_write(rude, "GET / HTTP/1.1\r\n\r\n", 18);
        RUN_UNTIL(event, raw_is_closed(rude));
        RUN_UNTIL(event, raw_is_closed(silent));
        ASSERT_EQ(links_counters(a.links)->strangers, 0);
        ASSERT_EQ(links_counters(a.links)->refused, 2);
        ASSERT_EQ(links_counters(a.links)->accepted, 0);
        peer_done(&a);
}

int main(void) {
        ASSERT_OK(sd_event_new(&event));
        RUN(test_garbage);
        RUN(test_wrong_hello);
        RUN(test_hello_twice);
        RUN(test_hello_in_pieces);
        RUN(test_closed_in_the_middle);
        RUN(test_closed_after_hello);
        RUN(test_half_a_frame);
        RUN(test_handshake_timeout);
        RUN(test_no_answer);
        RUN(test_wrong_answer);
        RUN(test_strangers_max);
        RUN(test_no_descriptors);
        RUN(test_flood);
        RUN(test_keys);
        RUN(test_rubbish_for_a_handshake);
        sd_event_unref(event);
        return 0;
}
