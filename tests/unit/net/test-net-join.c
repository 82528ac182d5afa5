/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Invitations over real sockets: who holds one gets the keys, once, and nobody else does. */

#include <sys/socket.h>

#include "links-peer.h"
#include "net/join.h"
#include "trust/invitations.h"

#define HOST_ID "node-aaaaaaaaaaaaaaaa"

static sd_event *event;
static struct mesh_keys ours;
static struct invitations invitations;

struct outcome {
        unsigned n;
        int error;
        struct mesh_keys keys;
};

static void on_joined(void *userdata, int error, const struct mesh_keys *keys) {
        struct outcome *outcome = userdata;

        outcome->n++;
        outcome->error = error;
        if (keys)
                outcome->keys = *keys;
}

static struct token invite(void) {
        struct token token;

        ASSERT_OK(token_make(ours.mesh_id, HOST_ID, &token));
        ASSERT_OK(invitations_add(&invitations, &token, now_usec(CLOCK_BOOTTIME), USEC_PER_MINUTE));
        return token;
}

static struct outcome join(const struct token *token, const struct sockaddr_in *address) {
        _cleanup_(join_free_p) struct join *join = NULL;
        struct outcome outcome = {};

        ASSERT_OK(join_new(token, address, event, on_joined, &outcome, &join));
        RUN_UNTIL(event, outcome.n == 1);
        return outcome;
}

static void host_init(struct peer *host) {
        links_keys = &ours;
        links_invitations = &invitations;
        peer_init(host, HOST_ID, 1, event);
}

static void test_join(void) {
        struct peer host;

        host_init(&host);
        struct token token = invite();
        struct outcome outcome = join(&token, &host.address);
        ASSERT_EQ(outcome.error, 0);
        ASSERT_EQ(memcmp(&outcome.keys, &ours, sizeof(ours)), 0);
        ASSERT_EQ(host.n_admitted, 1);
        ASSERT_EQ(links_counters(host.links)->accepted, 0);

        /* Once. */
        outcome = join(&token, &host.address);
        ASSERT_EQ(outcome.error, -EKEYREJECTED);
        ASSERT_EQ(host.n_admitted, 1);
        peer_done(&host);
}

/* Two at once: one of them is too late. */
static void test_used_by_two(void) {
        struct outcome outcomes[2] = {};
        struct join *joins[2];
        struct peer host;

        host_init(&host);
        struct token token = invite();
        for (int i = 0; i < 2; i++)
                ASSERT_OK(join_new(&token, &host.address, event, on_joined, &outcomes[i], &joins[i]));
        RUN_UNTIL(event, outcomes[0].n + outcomes[1].n == 2);
        ASSERT_EQ(MIN(outcomes[0].error, outcomes[1].error), -EKEYREJECTED);
        ASSERT_EQ(MAX(outcomes[0].error, outcomes[1].error), 0);
        ASSERT_EQ(host.n_admitted, 1);
        join_free(joins[0]);
        join_free(joins[1]);
        peer_done(&host);
}

static void test_not_invited(void) {
        struct peer host;
        struct token token;

        host_init(&host);
        ASSERT_OK(token_make(ours.mesh_id, HOST_ID, &token));
        ASSERT_EQ(join(&token, &host.address).error, -EKEYREJECTED);

        /* To another mesh, by a node that lies about its own. */
        token = invite();
        struct token changed = token;
        changed.mesh_id[0] ^= 1;
        ASSERT_EQ(join(&changed, &host.address).error, -EKEYREJECTED);
        ASSERT_EQ(join(&token, &host.address).error, 0);
        peer_done(&host);
}

/* What somebody invites to has to be what it hands over. */
static void test_other_keys_than_promised(void) {
        struct peer host;

        host_init(&host);
        struct token token = invite();
        ours.mesh_id[0] ^= 1;
        ASSERT_EQ(join(&token, &host.address).error, -EBADMSG);
        ours.mesh_id[0] ^= 1;
        peer_done(&host);
}

static void test_nobody_there(void) {
        struct sockaddr_in address;
        struct token token = invite();

        close(raw_listen(&address));
        ASSERT_EQ(join(&token, &address).error, -ECONNREFUSED);

        /* Somebody else is. */
        _cleanup_close_ int listen_fd = raw_listen(&address);
        _cleanup_(join_free_p) struct join *running = NULL;
        struct outcome outcome = {};
        ASSERT_OK(join_new(&token, &address, event, on_joined, &outcome, &running));
        _cleanup_close_ int fd = -EBADF;
        RUN_UNTIL(event, (fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
        raw_write(fd, "220 mail.example ESMTP\r\n", 24);
        RUN_UNTIL(event, outcome.n == 1);
        ASSERT_EQ(outcome.error, -EPROTO);

        /* Given up in the middle. */
        struct join *given_up;
        outcome.n = 0;
        ASSERT_OK(join_new(&token, &address, event, on_joined, &outcome, &given_up));
        join_free(given_up);
        ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        ASSERT_EQ(outcome.n, 0);
}

/* An invitation opens no link. */
static void test_a_link_over_an_invitation(void) {
        struct peer host, guest;
        struct token_key key;
        struct mesh_keys guests;

        host_init(&host);
        struct token token = invite();
        ASSERT_OK(token_derive(&token, &key));
        ASSERT_OK(mesh_keys_make(&guests));
        links_keys = &guests;
        peer_init(&guest, "node-bbbbbbbbbbbbbbbb", 2, event);
        peer_open(&guest, &host);
        RUN_UNTIL(event, OTHER(&guest, &host)->n_down == 1);
        ASSERT_EQ(OTHER(&guest, &host)->error, -EKEYREJECTED);
        ASSERT_EQ(OTHER(&host, &guest)->n_up, 0);
        peer_done(&guest);
        peer_done(&host);
}

/* Links over a key that is not accepted any more are closed; others stay. */
static void test_dropped_key(void) {
        static const uint8_t secret[MESH_KEY_SIZE] = { 9 };
        static struct mesh_keys a_keys, b_keys;
        struct peer a, b;

        a_keys = b_keys = ours;
        links_keys = &a_keys;
        peer_init(&a, HOST_ID, 1, event);
        links_keys = &b_keys;
        peer_init(&b, "node-bbbbbbbbbbbbbbbb", 2, event);
        peer_open(&a, &b);
        RUN_UNTIL(event, peers_are_linked(&a, &b));

        ASSERT_OK(mesh_keys_add(&a_keys, secret));
        links_check_keys(a.links);
        ASSERT_TRUE(OTHER(&a, &b)->is_up);
        ASSERT_TRUE(mesh_keys_remove(&a_keys, ours.keys[0].id));
        links_check_keys(a.links);
        ASSERT_EQ(OTHER(&a, &b)->error, -EKEYREJECTED);
        ASSERT_FALSE(OTHER(&a, &b)->is_up);
        RUN_UNTIL(event, !OTHER(&b, &a)->is_up);
        peer_done(&a);
        peer_done(&b);
}

/* A key is taken away while a link over it is being made, at every step of that. */
static void test_dropped_key_on_the_way(void) {
        static const uint8_t secret[MESH_KEY_SIZE] = { 9 };
        static struct mesh_keys a_keys, b_keys;
        unsigned n_refused = 0;
        struct peer a, b;

        for (int steps = 0; steps < 12; steps++) {
                a_keys = b_keys = ours;
                ASSERT_OK(mesh_keys_add(&a_keys, secret));
                links_keys = &a_keys;
                peer_init(&a, HOST_ID, 1, event);
                links_keys = &b_keys;
                peer_init(&b, "node-bbbbbbbbbbbbbbbb", 2, event);
                peer_open(&b, &a);
                for (int i = 0; i < steps; i++)
                        ASSERT_OK(sd_event_run(event, USEC_PER_MSEC));
                ASSERT_TRUE(mesh_keys_remove(&a_keys, ours.keys[0].id));
                links_check_keys(a.links);
                RUN_UNTIL(event, OTHER(&b, &a)->n_down == 1);
                RUN_UNTIL(event, a.links->n_strangers == 0);
                ASSERT_FALSE(OTHER(&a, &b)->is_up);
                n_refused += OTHER(&a, &b)->n_up == 0;
                peer_done(&a);
                peer_done(&b);
        }
        ASSERT_GT(n_refused, 2);
}

int main(void) {
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(mesh_keys_make(&ours));
        RUN(test_join);
        RUN(test_used_by_two);
        RUN(test_not_invited);
        RUN(test_other_keys_than_promised);
        RUN(test_nobody_there);
        RUN(test_a_link_over_an_invitation);
        RUN(test_dropped_key);
        RUN(test_dropped_key_on_the_way);
        sd_event_unref(event);
        return 0;
}
