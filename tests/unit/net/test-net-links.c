/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Links between peers that do what they should: over loopback, with real sockets. */

#include <sys/socket.h>

#include "links-peer.h"

#define A_ID "node-aaaaaaaaaaaaaaaa"
#define B_ID "node-bbbbbbbbbbbbbbbb"

static sd_event *event;

struct pair {
        struct peer a, b;
};

static void pair_init(struct pair *pair) {
        peer_init(&pair->a, A_ID, 1, event);
        peer_init(&pair->b, B_ID, 2, event);
}

static void pair_link(struct pair *pair) {
        pair_init(pair);
        peer_open(&pair->a, &pair->b);
        RUN_UNTIL(event, peers_are_linked(&pair->a, &pair->b));
}

static void pair_done(struct pair *pair) {
        peer_done(&pair->a);
        peer_done(&pair->b);
}
#define _cleanup_pair_ _cleanup_(pair_done)

static void test_open_and_send(void) {
        _cleanup_pair_ struct pair pair;

        pair_init(&pair);
        ASSERT_ERROR(peer_send(&pair.a, B_ID, 0), ENOTCONN);
        ASSERT_ERROR(links_open(pair.a.links, A_ID, &pair.a.address), ELOOP);
        ASSERT_ERROR(links_open(pair.a.links, "", &pair.b.address), EINVAL);
        peer_open(&pair.a, &pair.b);
        peer_open(&pair.a, &pair.b); /* nothing more happens */
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_up, 0);
        ASSERT_ERROR(peer_send(&pair.a, B_ID, 0), ENOTCONN);
        RUN_UNTIL(event, peers_are_linked(&pair.a, &pair.b));
        ASSERT_STREQ(OTHER(&pair.b, &pair.a)->hello.node_id, A_ID);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->hello.instance, 1);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->hello.instance, 2);

        for (int i = 0; i < 10; i++) {
                ASSERT_OK(peer_send(&pair.a, B_ID, 0));
                ASSERT_OK(peer_send(&pair.b, A_ID, 0));
        }
        ASSERT_GT(links_queued(pair.a.links, B_ID), 0);
        RUN_UNTIL(
                event,
                OTHER(&pair.a, &pair.b)->n_received == 10 && OTHER(&pair.b, &pair.a)->n_received == 10);
        ASSERT_EQ(links_queued(pair.a.links, B_ID), 0);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_up, 1);
        ASSERT_EQ(links_counters(pair.a.links)->opened, 1);
        ASSERT_EQ(links_counters(pair.a.links)->accepted, 0);
        ASSERT_EQ(links_counters(pair.b.links)->accepted, 1);
        /* The hellos count as well. */
        ASSERT_EQ(links_counters(pair.a.links)->messages_sent, 11);
        ASSERT_EQ(links_counters(pair.b.links)->messages_received, 11);
        ASSERT_EQ(links_counters(pair.a.links)->bytes_sent, links_counters(pair.b.links)->bytes_received);
}

/* The socket is taken, whatever becomes of it. */
static void test_wrong_socket(void) {
        const struct links_handlers handlers = {};
        struct links_config config = { .node_id = A_ID, .version = "1" };
        struct links *links;
        int fds[2];

        ASSERT_EQ(pipe(fds), 0);
        config.listen_fd = fds[0];
        ASSERT_ERROR(links_new(&config, event, &handlers, &links), ENOTSOCK);
        ASSERT_EQ(close(fds[0]), -1);
        close(fds[1]);
}

static void test_close(void) {
        _cleanup_pair_ struct pair pair;

        pair_link(&pair);
        ASSERT_OK(peer_send(&pair.a, B_ID, 0));
        links_close(pair.a.links, B_ID);
        ASSERT_FALSE(links_is_up(pair.a.links, B_ID));
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_down == 1);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->error, 0);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->n_received, 1); /* the last words */
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_down, 0);
        links_close(pair.a.links, B_ID);
        links_close(pair.a.links, "node-unknown");
}

/* Nobody listens there: told later, never from within the call. */
static void test_connection_refused(void) {
        _cleanup_pair_ struct pair pair;
        struct sockaddr_in address;

        pair_init(&pair);
        close(raw_listen(&address));
        ASSERT_OK(links_open(pair.a.links, B_ID, &address));
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_down, 0);
        RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_down == 1);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->error, -ECONNREFUSED);

        /* And the next one may succeed. */
        peer_open(&pair.a, &pair.b);
        RUN_UNTIL(event, peers_are_linked(&pair.a, &pair.b));
}

static void test_many_messages(void) {
        _cleanup_pair_ struct pair pair;
        size_t n_refused = 0;

        pair_link(&pair);
        links_limits(pair.a.links)->queue_max = 256 * 1024;
        links_limits(pair.a.links)->queue_low = 64 * 1024;
        for (uint32_t i = 0; i < 100000;) {
                int r = peer_send(&pair.a, B_ID, 0);
                if (r == -ENOBUFS) {
                        size_t n_writable = OTHER(&pair.a, &pair.b)->n_writable;
                        n_refused++;
                        RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_writable > n_writable);
                } else {
                        ASSERT_OK(r);
                        i++;
                }
        }
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_received == 100000);
        ASSERT_GT(n_refused, 0);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_down, 0);
}

static void test_large_messages(void) {
        _cleanup_pair_ struct pair pair;
        const size_t n_pieces = LINK_FRAME_MAX / LINK_PIECE_MAX - 1;

        pair_link(&pair);
        ASSERT_ERROR(peer_send(&pair.a, B_ID, n_pieces + 1), EMSGSIZE);
        for (int i = 0; i < 20; i++) {
                int r;
                RUN_UNTIL(event, (r = peer_send(&pair.a, B_ID, n_pieces)) != -ENOBUFS);
                ASSERT_OK(r);
                ASSERT_OK(peer_send(&pair.a, B_ID, 0));
        }
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_received == 40);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->n_bytes, 20 * n_pieces * LINK_PIECE_MAX);

        /* What the burst took is given back. */
        const struct link *link = links_find(pair.b.links, A_ID);
        ASSERT_EQ(link->in.allocated, 0);
        ASSERT_EQ(links_find(pair.a.links, B_ID)->out.size, 0);
}

/* One turn of the loop, one write: so says the number of segments that the kernel was given. */
static void test_gathering(void) {
        _cleanup_pair_ struct pair pair;

        pair_link(&pair);
        uint64_t bytes = links_counters(pair.b.links)->bytes_received;
        for (int i = 0; i < 50; i++)
                ASSERT_OK(peer_send(&pair.a, B_ID, 0));
        size_t queued = links_queued(pair.a.links, B_ID);
        RUN_UNTIL(event, links_queued(pair.a.links, B_ID) == 0);
        ASSERT_EQ(links_find(pair.a.links, B_ID)->events & EPOLLOUT, 0);
        RUN_UNTIL(event, links_counters(pair.b.links)->bytes_received > bytes);
        ASSERT_EQ(links_counters(pair.b.links)->bytes_received, bytes + queued);
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_received == 50);
}

/* Of many messages that arrive at once a turn takes some; they keep their order, and none waits for more
 * to arrive. */
static void test_frames_per_turn(void) {
        _cleanup_pair_ struct pair pair;

        pair_link(&pair);
        links_limits(pair.b.links)->frames_per_turn = 3;
        for (int i = 0; i < 100; i++)
                ASSERT_OK(peer_send(&pair.a, B_ID, 0));
        uint32_t before = 0, most = 0;
        while (before < 100) {
                ASSERT_OK(sd_event_run(event, USEC_PER_SEC));
                uint32_t now = OTHER(&pair.b, &pair.a)->n_received;
                most = MAX(most, now - before);
                before = now;
        }
        ASSERT_EQ(most, 3);

        /* Also what came before the other side closed. */
        for (int i = 0; i < 10; i++)
                ASSERT_OK(peer_send(&pair.a, B_ID, 0));
        links_close(pair.a.links, B_ID);
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_down == 1);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->n_received, 110);
}

static void test_slow_reader(void) {
        struct sockaddr_in address;
        _cleanup_close_ int listen_fd = raw_listen(&address);
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        ASSERT_OK(links_open(a.links, B_ID, &address));
        _cleanup_close_ int fd = raw_accept_link(&a, B_ID, listen_fd, event);

        /* Fill the sockets and the queue. */
        int r;
        while ((r = peer_send(&a, B_ID, 1)) >= 0)
                ASSERT_OK(sd_event_run(event, 0));
        ASSERT_ERROR(r, ENOBUFS);
        ASSERT_GT(links_queued(a.links, B_ID), LINK_QUEUE_MAX - 2 * LINK_PIECE_MAX);
        ASSERT_LE(links_queued(a.links, B_ID), LINK_QUEUE_MAX);
        ASSERT_EQ(peer_other(&a, B_ID)->n_writable, 0);
        /* A small one may still fit, until nothing does. */
        while ((r = peer_send(&a, B_ID, 0)) >= 0)
                ;
        ASSERT_ERROR(r, ENOBUFS);

        RUN_UNTIL(event, raw_is_closed(fd) || peer_other(&a, B_ID)->n_writable == 1);
        ASSERT_TRUE(peer_other(&a, B_ID)->is_up);
        ASSERT_OK(peer_send(&a, B_ID, 1));
        RUN_UNTIL(event, raw_is_closed(fd) || links_queued(a.links, B_ID) == 0);
        ASSERT_EQ(peer_other(&a, B_ID)->n_down, 0);
        peer_done(&a);
}

static void test_stall(void) {
        struct sockaddr_in address;
        _cleanup_close_ int listen_fd = raw_listen(&address);
        struct peer a;

        peer_init(&a, A_ID, 1, event);
        links_limits(a.links)->stall_usec = 300 * USEC_PER_MSEC;
        ASSERT_OK(links_open(a.links, B_ID, &address));
        _cleanup_close_ int fd = raw_accept_link(&a, B_ID, listen_fd, event);
        ASSERT_GE(fd, 0); /* which nobody reads */
        while (peer_send(&a, B_ID, 1) >= 0)
                ASSERT_OK(sd_event_run(event, 0));
        RUN_UNTIL(event, peer_other(&a, B_ID)->n_down == 1);
        ASSERT_EQ(peer_other(&a, B_ID)->error, -ETIMEDOUT);
        ASSERT_EQ(links_counters(a.links)->stalled, 1);
        ASSERT_EQ(links_queued(a.links, B_ID), 0);
        peer_done(&a);
}

static void test_idle(void) {
        _cleanup_pair_ struct pair pair;

        pair_init(&pair);
        links_limits(pair.a.links)->idle_usec = 300 * USEC_PER_MSEC;
        peer_open(&pair.a, &pair.b);
        RUN_UNTIL(event, peers_are_linked(&pair.a, &pair.b));
        usec_t start = now_usec(CLOCK_MONOTONIC);
        /* As long as something is said, in either direction, it stays. */
        while (now_usec(CLOCK_MONOTONIC) < start + 900 * USEC_PER_MSEC) {
                uint32_t n = OTHER(&pair.a, &pair.b)->n_received;
                ASSERT_OK(peer_send(&pair.b, A_ID, 0));
                RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_received > n);
                ASSERT_OK(sd_event_run(event, 20 * USEC_PER_MSEC));
        }
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_down, 0);
        RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_down == 1 && OTHER(&pair.b, &pair.a)->n_down == 1);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->error, 0);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->error, 0);

        peer_open(&pair.b, &pair.a);
        RUN_UNTIL(event, peers_are_linked(&pair.a, &pair.b));
}

static void test_unwanted(void) {
        _cleanup_pair_ struct pair pair;

        pair_init(&pair);
        pair.b.up_result = -EPERM;
        peer_open(&pair.a, &pair.b);
        RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_down == 1);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->error, -ECONNREFUSED);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_up, 0);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->n_down, 0);
        ASSERT_EQ(links_counters(pair.b.links)->refused, 1);

        /* Whoever opens it may refuse as well. */
        peer_open(&pair.b, &pair.a);
        RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_down == 2);
        ASSERT_EQ(OTHER(&pair.a, &pair.b)->n_up, 1);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->n_down, 0);
        ASSERT_FALSE(links_is_up(pair.b.links, A_ID));
}

static void close_at_once(struct peer *peer, struct other *other) {
        links_close(peer->links, other->id);
}

static void reopen_at_once(struct peer *peer, struct other *other) {
        static struct sockaddr_in nowhere = { .sin_family = AF_INET };

        nowhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        (void) links_open(peer->links, other->id, &nowhere);
        links_close(peer->links, other->id);
        (void) links_open(peer->links, other->id, &peer->address);
}

/* A link that is closed from within what it tells. */
static void test_close_in_handlers(void) {
        _cleanup_pair_ struct pair pair;

        pair_init(&pair);
        pair.b.on_up = close_at_once;
        peer_open(&pair.a, &pair.b);
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_up == 1 && OTHER(&pair.a, &pair.b)->n_down == 1);
        OTHER(&pair.b, &pair.a)->is_up = false; /* no down was told */

        pair.b.on_up = NULL;
        pair.b.on_received = close_at_once;
        peer_open(&pair.a, &pair.b);
        RUN_UNTIL(event, peers_are_linked(&pair.a, &pair.b));
        for (int i = 0; i < 5; i++)
                ASSERT_OK(peer_send(&pair.a, B_ID, 0));
        RUN_UNTIL(event, OTHER(&pair.a, &pair.b)->n_down == 2);
        ASSERT_EQ(OTHER(&pair.b, &pair.a)->n_received, 1);
        OTHER(&pair.b, &pair.a)->is_up = false;

        /* And one that is opened again from within its down: it reaches itself, which is refused. */
        pair.b.on_received = NULL;
        pair.b.on_down = reopen_at_once;
        peer_open(&pair.a, &pair.b);
        RUN_UNTIL(event, peers_are_linked(&pair.a, &pair.b));
        size_t n_down = OTHER(&pair.b, &pair.a)->n_down;
        links_close(pair.a.links, B_ID);
        RUN_UNTIL(event, OTHER(&pair.b, &pair.a)->n_down >= n_down + 3);
        ASSERT_GE(links_counters(pair.b.links)->refused, 1);
}

/* Every node has a link to the one in the middle. */
static void test_many_links(void) {
        static struct peer middle, peers[200];
        char id[NODE_ID_MAX + 1];

        peer_init(&middle, "node-mmmmmmmmmmmmmmmm", 1, event);
        for (size_t i = 0; i < ELEMENTSOF(peers); i++) {
                snprintf(id, sizeof(id), "node-%016zx", i);
                peer_init(&peers[i], id, i, event);
                if (i % 2 == 0)
                        peer_open(&peers[i], &middle);
                else
                        peer_open(&middle, &peers[i]);
        }
        for (size_t i = 0; i < ELEMENTSOF(peers); i++)
                RUN_UNTIL(event, peers_are_linked(&middle, &peers[i]));
        for (int n = 0; n < 10; n++)
                for (size_t i = 0; i < ELEMENTSOF(peers); i++) {
                        ASSERT_OK(peer_send(&middle, peers[i].id, 0));
                        ASSERT_OK(peer_send(&peers[i], middle.id, 0));
                }
        for (size_t i = 0; i < ELEMENTSOF(peers); i++) {
                RUN_UNTIL(event, OTHER(&middle, &peers[i])->n_received == 10);
                RUN_UNTIL(event, OTHER(&peers[i], &middle)->n_received == 10);
                ASSERT_EQ(OTHER(&middle, &peers[i])->n_up, 1);
                ASSERT_EQ(OTHER(&middle, &peers[i])->n_down, 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(peers); i++)
                peer_done(&peers[i]);
        peer_done(&middle);
}

/* With as many links as there may be, the one that was idle longest goes. */
static void test_links_max(void) {
        static struct peer middle, peers[5];
        char id[NODE_ID_MAX + 1];

        peer_init(&middle, "node-mmmmmmmmmmmmmmmm", 1, event);
        links_limits(middle.links)->links_max = 3;
        for (size_t i = 0; i < ELEMENTSOF(peers); i++) {
                snprintf(id, sizeof(id), "node-%016zx", i);
                peer_init(&peers[i], id, i, event);
                peer_open(&peers[i], &middle);
                RUN_UNTIL(event, OTHER(&peers[i], &middle)->n_up == 1);
                if (i == 2) {
                        /* The first is used once more. */
                        ASSERT_OK(peer_send(&middle, peers[0].id, 0));
                        RUN_UNTIL(event, OTHER(&peers[0], &middle)->n_received == 1);
                }
        }
        RUN_UNTIL(event, OTHER(&peers[1], &middle)->n_down == 1 && OTHER(&peers[2], &middle)->n_down == 1);
        ASSERT_EQ(OTHER(&middle, &peers[1])->error, -EUSERS);
        ASSERT_TRUE(peers_are_linked(&middle, &peers[0]));
        ASSERT_TRUE(peers_are_linked(&middle, &peers[3]));
        ASSERT_TRUE(peers_are_linked(&middle, &peers[4]));
        for (size_t i = 0; i < ELEMENTSOF(peers); i++)
                peer_done(&peers[i]);
        peer_done(&middle);
}

/* Freed in every state, with things to write and things half read. */
static void test_free(void) {
        struct pair pair;

        pair_init(&pair);
        peer_open(&pair.a, &pair.b);
        pair_done(&pair);

        pair_link(&pair);
        for (int i = 0; i < 3; i++)
                ASSERT_OK(peer_send(&pair.a, B_ID, 20));
        ASSERT_OK(sd_event_run(event, 0));
        pair_done(&pair);
        ASSERT_NULL(links_free(NULL));
}

int main(int argc, char *argv[]) {
        bool encrypted = links_keys_from_arguments(argc, argv);

        ASSERT_OK(sd_event_new(&event));
        RUN(test_open_and_send);
        RUN(test_wrong_socket);
        RUN(test_close);
        RUN(test_connection_refused);
        RUN(test_many_messages);
        RUN(test_large_messages);
        RUN(test_gathering);
        RUN(test_frames_per_turn);
        if (!encrypted) {
                RUN(test_slow_reader);
                RUN(test_stall);
        }
        RUN(test_idle);
        RUN(test_unwanted);
        RUN(test_close_in_handlers);
        RUN(test_many_links);
        RUN(test_links_max);
        RUN(test_free);
        sd_event_unref(event);
        return 0;
}
