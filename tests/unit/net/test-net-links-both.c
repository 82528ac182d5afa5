/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two connections between the same two nodes: both opened one at the same time, or one of them has started
 * anew. Both sides must end up with the same one, and with nothing lost on a link whose end was not told. */

#include <sys/socket.h>
#include <sys/wait.h>

#include "links-peer.h"

#define LOW_ID "node-aaaaaaaaaaaaaaaa"
#define HIGH_ID "node-bbbbbbbbbbbbbbbb"

#define ROUNDS 200
#define MESSAGES 20u /* said by each side as soon as it is up */

static sd_event *event;

static void say_all(struct peer *peer, struct other *other) {
        for (unsigned i = 0; i < MESSAGES; i++)
                ASSERT_OK(peer_send(peer, other->id, 0));
}

static bool all_arrived(struct peer *a, struct peer *b) {
        return peers_are_linked(a, b) && OTHER(a, b)->n_received == MESSAGES &&
               OTHER(b, a)->n_received == MESSAGES;
}

/* In one loop, so many turns apart. */
static void open_both(struct peer *first, struct peer *second, int turns) {
        size_t n_down = OTHER(first, second)->n_down + OTHER(second, first)->n_down;

        peer_open(first, second);
        for (int i = 0; i < turns; i++)
                ASSERT_OK(sd_event_run(event, 0));
        peer_open(second, first);
        RUN_UNTIL(event, all_arrived(first, second));
        ASSERT_EQ(OTHER(first, second)->n_down + OTHER(second, first)->n_down, n_down);

        links_close(first->links, second->id);
        OTHER(first, second)->is_up = false;
        RUN_UNTIL(event, !OTHER(second, first)->is_up);
        ASSERT_EQ(OTHER(second, first)->error, 0);
}

static void test_same_loop(void) {
        struct peer low, high;

        peer_init(&low, LOW_ID, 1, event);
        peer_init(&high, HIGH_ID, 2, event);
        low.on_up = high.on_up = say_all;
        for (int i = 0; i < ROUNDS; i++) {
                open_both(&low, &high, i % 12);
                open_both(&high, &low, i % 12);
        }
        ASSERT_EQ(OTHER(&low, &high)->n_up, 2 * ROUNDS);
        ASSERT_EQ(OTHER(&high, &low)->n_up, 2 * ROUNDS);
        /* Both kinds of end came about. */
        ASSERT_GT(links_counters(low.links)->opened, 10);
        ASSERT_GT(links_counters(high.links)->opened, 10);
        peer_done(&low);
        peer_done(&high);
}

static struct sockaddr_in other_address;

static void pause_randomly(void) {
        const struct timespec pause = { .tv_nsec = rand() % 800 * 1000 };

        (void) nanosleep(&pause, NULL);
}

/* One of two processes, each with a loop of its own. A round ends when the one that leads has heard
 * everything and closes the link, by which the other knows. */
static void talk(struct peer *peer, const char *other_id, bool leads) {
        struct other *other = peer_other(peer, other_id);

        peer->on_up = say_all;
        for (unsigned i = 0; i < ROUNDS; i++) {
                pause_randomly();
                ASSERT_OK(links_open(peer->links, other_id, &other_address));
                RUN_UNTIL(
                        event, (leads && other->n_down > 0) ||
                                       (other->n_up == i + 1 && other->n_received >= MESSAGES));
                ASSERT_EQ(other->n_down, leads ? 0 : i);
                if (!leads) {
                        /* The last word is that everything was heard. */
                        ASSERT_OK(peer_send(peer, other_id, 0));
                        RUN_UNTIL(event, other->n_down == i + 1);
                        /* The leader's next hello may be here before the end of its last link. */
                        ASSERT_TRUE(other->error == 0 || other->error == -ECONNRESET);
                        continue;
                }
                RUN_UNTIL(event, other->n_received == MESSAGES + 1);
                links_close(peer->links, other_id);
                other->is_up = false;
        }
}

static void run_process(const char *id, const char *other_id, bool leads, const int sockets[2]) {
        struct peer peer;

        srand((unsigned) leads);
        ASSERT_OK(sd_event_new(&event));
        peer_init(&peer, id, leads, event);
        ASSERT_EQ(write(sockets[leads], &peer.address, sizeof(peer.address)), sizeof(peer.address));
        ASSERT_EQ(read(sockets[leads], &other_address, sizeof(other_address)), sizeof(other_address));
        talk(&peer, other_id, leads);
        peer_done(&peer);
        event = sd_event_unref(event);
}

static void run_both(bool low_leads) {
        int sockets[2], status;

        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        event = sd_event_unref(event);
        pid_t pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
                run_process(HIGH_ID, LOW_ID, !low_leads, sockets);
                _exit(0);
        }
        run_process(LOW_ID, HIGH_ID, low_leads, sockets);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        close(sockets[0]);
        close(sockets[1]);
        ASSERT_OK(sd_event_new(&event));
}

static void test_two_processes(void) {
        run_both(/* low_leads= */ true);
        run_both(/* low_leads= */ false);
}

static int raw_hello_of(struct peer *peer, const char *id, uint64_t instance, uint64_t ordinal) {
        struct link_message hello = raw_hello(id);
        int fd = raw_connect(&peer->address);

        hello.hello.incarnation = hello.hello.instance = instance;
        hello.hello.ordinal = ordinal;
        raw_send(fd, &hello);
        return fd;
}

/* A later hello of the same node means that it has given up the link that there was, an earlier one that it
 * was under way for long. */
static void test_later_hello(void) {
        struct peer peer;

        peer_init(&peer, LOW_ID, 1, event);
        struct other *other = peer_other(&peer, HIGH_ID);
        int first = raw_hello_of(&peer, HIGH_ID, 7, 10);
        RUN_UNTIL(event, other->n_up == 1);
        int earlier = raw_hello_of(&peer, HIGH_ID, 7, 9);
        RUN_UNTIL(event, raw_is_closed(earlier));
        ASSERT_TRUE(other->is_up);
        ASSERT_EQ(other->n_down, 0);
        ASSERT_FALSE(raw_is_closed(first));
        int later = raw_hello_of(&peer, HIGH_ID, 7, 11);
        RUN_UNTIL(event, other->n_up == 2);
        ASSERT_EQ(other->n_down, 1);
        ASSERT_EQ(other->error, -ECONNRESET);
        RUN_UNTIL(event, raw_is_closed(first));
        ASSERT_EQ(other->hello.ordinal, 11);
        close(first);
        close(earlier);
        close(later);
        peer_done(&peer);
}

static void test_new_instance(void) {
        struct peer peer;

        peer_init(&peer, LOW_ID, 1, event);
        struct other *other = peer_other(&peer, HIGH_ID);
        int first = raw_hello_of(&peer, HIGH_ID, 7, 10);
        RUN_UNTIL(event, other->n_up == 1);
        int second = raw_hello_of(&peer, HIGH_ID, 8, 1);
        RUN_UNTIL(event, other->n_up == 2 && raw_is_closed(first));
        ASSERT_EQ(other->n_down, 1);
        ASSERT_EQ(other->hello.instance, 8);
        /* What the one before said late. */
        int late = raw_hello_of(&peer, HIGH_ID, 7, 20);
        RUN_UNTIL(event, raw_is_closed(late));
        ASSERT_TRUE(other->is_up);
        ASSERT_EQ(other->n_down, 1);
        close(first);
        close(second);
        close(late);
        peer_done(&peer);
}

/* A node that was killed and comes back at another port, while the other still has its link. */
static void test_restart(void) {
        struct peer low, high, again;

        peer_init(&low, LOW_ID, 1, event);
        peer_init(&high, HIGH_ID, 2, event);
        peer_open(&low, &high);
        RUN_UNTIL(event, peers_are_linked(&low, &high));
        peer_init(&again, HIGH_ID, 3, event);
        peer_open(&again, &low);
        RUN_UNTIL(event, peers_are_linked(&low, &again) && OTHER(&high, &low)->n_down == 1);
        ASSERT_EQ(OTHER(&low, &high)->n_up, 2);
        ASSERT_EQ(OTHER(&low, &high)->n_down, 1);
        ASSERT_OK(peer_send(&low, HIGH_ID, 0));
        RUN_UNTIL(event, OTHER(&again, &low)->n_received == 1);
        peer_done(&low);
        peer_done(&high);
        peer_done(&again);
}

/* The node with the higher id counts on the link of the other when its own is closed before the hello: not
 * for ever, and without a down when that comes. */
static void test_yield(void) {
        struct sockaddr_in address;
        _cleanup_close_ int listen_fd = raw_listen(&address);
        struct peer high, low;

        peer_init(&high, HIGH_ID, 2, event);
        peer_init(&low, LOW_ID, 1, event);
        struct other *other = peer_other(&high, LOW_ID);
        for (size_t comes = 0; comes <= 1; comes++) {
                int fd;

                links_limits(high.links)->yield_usec = (comes ? 20000 : 200) * USEC_PER_MSEC;
                links_limits(high.links)->handshake_usec = 20 * USEC_PER_SEC;
                ASSERT_OK(links_open(high.links, LOW_ID, &address));
                RUN_UNTIL(event, (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
                RUN_UNTIL(event, links_find(high.links, LOW_ID)->state == LINK_GREETING);
                close(fd);
                RUN_UNTIL(event, links_find(high.links, LOW_ID)->state == LINK_FAILED);
                ASSERT_EQ(other->n_down, comes);
                ASSERT_OK(links_open(high.links, LOW_ID, &address)); /* it is being opened */
                if (comes)
                        peer_open(&low, &high);
                else
                        RUN_UNTIL(event, other->n_down == 1);
        }
        ASSERT_EQ(other->error, -ECONNREFUSED);
        RUN_UNTIL(event, peers_are_linked(&low, &high));
        ASSERT_EQ(other->n_down, 1);

        /* The node with the lower id has nobody to count on. */
        links_close(low.links, HIGH_ID);
        RUN_UNTIL(event, !other->is_up);
        OTHER(&low, &high)->is_up = false;
        int fd;
        ASSERT_OK(links_open(low.links, HIGH_ID, &address));
        RUN_UNTIL(event, (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
        RUN_UNTIL(event, links_find(low.links, HIGH_ID)->state == LINK_GREETING);
        close(fd);
        RUN_UNTIL(event, !links_find(low.links, HIGH_ID));
        ASSERT_EQ(OTHER(&low, &high)->n_down, 1);
        peer_done(&low);
        peer_done(&high);
}

/* While a connection is only being made, the one of the other side is taken: nothing was said yet. */
static void test_connecting_gives_way(void) {
        /* Nobody answers there (TEST-NET-1), or the machine has no way there at all. */
        const struct sockaddr_in nowhere = { .sin_family = AF_INET,
                                             .sin_port = htons(9),
                                             .sin_addr.s_addr = htonl(0xc0000201) };
        struct peer low, high;

        peer_init(&low, LOW_ID, 1, event);
        peer_init(&high, HIGH_ID, 2, event);
        ASSERT_OK(links_open(low.links, HIGH_ID, &nowhere));
        peer_open(&high, &low);
        RUN_UNTIL(event, peers_are_linked(&low, &high));
        peer_done(&low);
        peer_done(&high);
}

int main(int argc, char *argv[]) {
        bool encrypted = links_keys_from_arguments(argc, argv);

        ASSERT_OK(sd_event_new(&event));
        RUN(test_same_loop);
        RUN(test_two_processes);
        RUN(test_restart);
        if (!encrypted) {
                RUN(test_later_hello);
                RUN(test_new_instance);
                RUN(test_yield);
                RUN(test_connecting_gives_way);
        }
        sd_event_unref(event);
        return 0;
}
