/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints what a link between two processes carries over loopback, beside what a bare socket carries there,
 * and what idle links cost. Not a test. */

#include <fcntl.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "links-peer.h"

#define SENDER "node-aaaaaaaaaaaaaaaa"
#define RECEIVER "node-bbbbbbbbbbbbbbbb"

#define SMALL_MESSAGES 1000000u
#define LARGE_MESSAGES 1000u
#define LARGE_PIECES 16u /* a message of 1 MiB */
#define TURNS 20000u
#define BARE_BYTES (UINT64_C(1) << 30)
#define IDLE_LINKS 200u

static sd_event *event;
static clockid_t receiver_clock; /* its processor time */

static double seconds_of(clockid_t clock) {
        struct timespec now;

        ASSERT_EQ(clock_gettime(clock, &now), 0);
        return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static double seconds_since(usec_t begin) {
        return (double) (now_usec(CLOCK_MONOTONIC) - begin) / USEC_PER_SEC;
}

static void say_done(struct peer *peer, struct other *other) {
        if (other->n_received == SMALL_MESSAGES || other->n_received == SMALL_MESSAGES + LARGE_MESSAGES ||
            other->n_received > SMALL_MESSAGES + LARGE_MESSAGES)
                ASSERT_OK(peer_send(peer, other->id, 0));
}

/* Answers the last message of each part, and each of the third part. */
static void receive(int fd) {
        struct peer peer;

        ASSERT_OK(sd_event_new(&event));
        peer_init(&peer, RECEIVER, 2, event);
        peer.on_received = say_done;
        ASSERT_EQ(write(fd, &peer.address, sizeof(peer.address)), sizeof(peer.address));
        while (peer_other(&peer, SENDER)->n_down == 0)
                ASSERT_OK(sd_event_run(event, UINT64_MAX));
        peer_done(&peer);
        sd_event_unref(event);
}

struct cost {
        double seconds, sender_seconds, receiver_seconds; /* the latter of processor time */
};

/* As fast as the queue lets it, some at a time as a node would; until the other has answered. */
static struct cost send_all(struct peer *peer, unsigned n_messages, size_t n_pieces) {
        struct other *other = peer_other(peer, RECEIVER);
        uint32_t answers = other->n_received;
        usec_t begin = now_usec(CLOCK_MONOTONIC);
        double sender = seconds_of(CLOCK_PROCESS_CPUTIME_ID), receiver = seconds_of(receiver_clock);

        for (unsigned i = 0; i < n_messages || other->n_received == answers;) {
                unsigned gathered = 0;

                while (gathered < 64 && i < n_messages && peer_send(peer, RECEIVER, n_pieces) >= 0) {
                        gathered++;
                        i++;
                }
                ASSERT_OK(sd_event_run(event, gathered > 0 ? 0 : UINT64_MAX));
        }
        return (struct cost){
                .seconds = seconds_since(begin),
                .sender_seconds = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - sender,
                .receiver_seconds = seconds_of(receiver_clock) - receiver,
        };
}

static void print_rate(const char *what, double amount, const char *unit, struct cost cost) {
        printf("%s: %.0f %s/s; by processor time of the sender %.0f, of the receiver %.0f\n", what,
               amount / cost.seconds, unit, amount / cost.sender_seconds, amount / cost.receiver_seconds);
}

static void measure_link(void) {
        struct sockaddr_in address;
        int sockets[2];
        struct peer peer;

        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        pid_t pid = fork();
        if (pid == 0) {
                receive(sockets[1]);
                _exit(0);
        }
        ASSERT_OK(sd_event_new(&event));
        peer_init(&peer, SENDER, 1, event);
        struct other *other = peer_other(&peer, RECEIVER);
        ASSERT_EQ(read(sockets[0], &address, sizeof(address)), sizeof(address));
        ASSERT_OK(links_open(peer.links, RECEIVER, &address));
        RUN_UNTIL(event, other->is_up);

        ASSERT_EQ(clock_getcpuclockid(pid, &receiver_clock), 0);
        print_rate("small", SMALL_MESSAGES, "messages", send_all(&peer, SMALL_MESSAGES, 0));
        print_rate("large", LARGE_MESSAGES, "MiB", send_all(&peer, LARGE_MESSAGES, LARGE_PIECES));
        usec_t begin = now_usec(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < TURNS; i++)
                (void) send_all(&peer, 1, 0);
        printf("there and back: %.1f us\n", seconds_since(begin) * 1e6 / TURNS);
        peer_done(&peer);
        event = sd_event_unref(event);
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
}

/* Writes of 64 KiB to a process that reads as much at once, and does nothing with it. */
static void measure_bare(void) {
        static char bytes[64 * 1024];
        struct sockaddr_in address;
        int listen_fd = raw_listen(&address), fd = raw_connect(&address);
        uint64_t n_sent = 0;

        pid_t pid = fork();
        if (pid == 0) {
                int reader = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
                close(fd);
                while (recv(reader, bytes, sizeof(bytes), 0) > 0)
                        ;
                _exit(0);
        }
        ASSERT_EQ(fcntl(fd, F_SETFL, 0), 0); /* it may wait */
        double sender = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        usec_t begin = now_usec(CLOCK_MONOTONIC);
        while (n_sent < BARE_BYTES) {
                ssize_t n = send(fd, bytes, sizeof(bytes), 0);
                if (n > 0)
                        n_sent += (uint64_t) n;
        }
        printf("bare socket: %.0f MiB/s; by processor time of the sender %.0f\n",
               (double) (n_sent >> 20) / seconds_since(begin),
               (double) (n_sent >> 20) / (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - sender));
        close(fd);
        close(listen_fd);
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
}

static void measure_idle(void) {
        static struct peer middle, peers[IDLE_LINKS];
        char id[NODE_ID_MAX + 1];

        ASSERT_OK(sd_event_new(&event));
        peer_init(&middle, "node-mmmmmmmmmmmmmmmm", 1, event);
        for (size_t i = 0; i < IDLE_LINKS; i++) {
                snprintf(id, sizeof(id), "node-%016zx", i);
                peer_init(&peers[i], id, i, event);
        }
        size_t before = mallinfo2().uordblks;
        for (size_t i = 0; i < IDLE_LINKS; i++) {
                peer_open(&peers[i], &middle);
                RUN_UNTIL(event, peers_are_linked(&middle, &peers[i]));
                ASSERT_OK(peer_send(&middle, peers[i].id, 8));
                RUN_UNTIL(event, OTHER(&peers[i], &middle)->n_received == 1);
        }
        while (ASSERT_OK(sd_event_run(event, 0)) > 0)
                ;
        /* Both ends are here. */
        printf("idle links: %zu bytes each\n", (mallinfo2().uordblks - before) / (2 * IDLE_LINKS));
        for (size_t i = 0; i < IDLE_LINKS; i++)
                peer_done(&peers[i]);
        peer_done(&middle);
        event = sd_event_unref(event);
}

int main(void) {
        setlinebuf(stdout);
        measure_link();
        measure_bare();
        measure_idle();
        return 0;
}
