/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Links that remember what they were told, and plain sockets that play the other side, for the tests of this
 * room. What a peer sends carries a running number, so that everything that is lost, repeated or out of
 * order fails the test. */

#include <systemd/sd-event.h>

#include "lib/tests.h"
#include "net/links-internal.h"
#include "trust/keys.h"
#include "wire/link-codec.h"

#define OTHERS_MAX 256

/* With which peers are made from now on; NULL, as at the beginning: without. */
extern const struct mesh_keys *links_keys;
extern struct invitations *links_invitations;
/* "tls" on the command line: with keys. Whether it was said; then there can be no raw sockets. */
bool links_keys_from_arguments(int argc, char *argv[]);

/* What a peer knows of another one. */
struct other {
        char id[NODE_ID_MAX + 1];
        bool is_up;
        size_t n_up, n_down, n_writable;
        int error; /* of the last down */
        struct link_hello hello;
        uint32_t n_sent, n_received; /* since it is up */
        uint64_t n_bytes;            /* received in pieces */
};

struct peer {
        char id[NODE_ID_MAX + 1];
        struct links *links;
        struct sockaddr_in address;
        unsigned n_admitted;
        int up_result;                                         /* what up answers */
        void (*on_up)(struct peer *peer, struct other *other); /* NULL: nothing more happens then */
        void (*on_received)(struct peer *peer, struct other *other);
        void (*on_down)(struct peer *peer, struct other *other);
        size_t n_others;
        struct other others[OTHERS_MAX];
};

/* Runs the loop until the condition holds; aborts the test after 20 seconds. */
#define RUN_UNTIL(event, condition)                                                \
        ({                                                                         \
                usec_t _deadline = now_usec(CLOCK_MONOTONIC) + 20 * USEC_PER_SEC;  \
                while (!(condition)) {                                             \
                        ASSERT_OK(sd_event_run((event), 10 * USEC_PER_MSEC));      \
                        if (now_usec(CLOCK_MONOTONIC) > _deadline)                 \
                                _TEST_FAIL("not true after 20 s: %s", #condition); \
                }                                                                  \
        })

void peer_init(struct peer *peer, const char *id, uint64_t instance, sd_event *event);
void peer_done(struct peer *peer);
struct other *peer_other(struct peer *peer, const char *id); /* what it knows of this one */
#define OTHER(peer, of) peer_other((peer), (of)->id)
void peer_open(struct peer *peer, const struct peer *to);
bool peers_are_linked(struct peer *a, struct peer *b);

/* The next number, and n_pieces of LINK_PIECE_MAX bytes. */
int peer_send(struct peer *peer, const char *id, size_t n_pieces);

/* Sockets of the other side that do what they are told. */
int raw_listen(struct sockaddr_in *ret_address);
int raw_connect(const struct sockaddr_in *address);
struct link_message raw_hello(const char *id);
void raw_write(int fd, const void *data, size_t size);
void raw_send(int fd, const struct link_message *message);
/* Reads and forgets what there is. True: the other side has closed it. */
bool raw_is_closed(int fd);
/* A connection that a says hello on and is answered, as by the node of this id. */
int raw_accept_link(struct peer *peer, const char *id, int listen_fd, sd_event *event);
