/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/socket.h>

#include "lib/tests.h"
#include "trust/keys.h"
#include "trust/tls.h"

struct pair {
        int fds[2];
        struct mesh_keys keys[2]; /* of the opener, of the listener */
        struct tls *tls[2];
};

static bool on_lookup(void *userdata, const char *name, uint8_t ret_secret[static TLS_SECRET_SIZE]) {
        const struct mesh_key *key = mesh_keys_find_name(userdata, name);

        if (key)
                memcpy(ret_secret, key->link, TLS_SECRET_SIZE);
        return key;
}

static void pair_begin(struct pair *pair) {
        const struct mesh_keys *keys = &pair->keys[0];
        char name[MESH_KEY_NAME_SIZE];

        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair->fds), 0);
        mesh_key_name(keys, &keys->keys[0], name);
        ASSERT_OK(tls_new_opener(name, keys->keys[0].link, pair->fds[0], &pair->tls[0]));
        ASSERT_OK(tls_new_listener(on_lookup, &pair->keys[1], pair->fds[1], &pair->tls[1]));
}

static void pair_done(struct pair *pair) {
        for (int i = 0; i < 2; i++) {
                tls_free(pair->tls[i]);
                close_fd(pair->fds[i]);
                mesh_keys_erase(&pair->keys[i]);
        }
}

/* Both in turn, until both know how it went. */
static void shake_hands(struct pair *pair, int ret[static 2]) {
        ret[0] = ret[1] = -EAGAIN;
        for (int i = 0; i < 20; i++) {
                int side = i % 2;

                if (ret[side] == -EAGAIN)
                        ret[side] = tls_handshake(pair->tls[side]);
        }
}

static void same_keys(struct pair *pair) {
        *pair = (struct pair){};
        ASSERT_OK(mesh_keys_make(&pair->keys[0]));
        pair->keys[1] = pair->keys[0];
}

static void test_common_key(void) {
        struct pair pair;
        char text[64], name[MESH_KEY_NAME_SIZE];
        int r[2];

        same_keys(&pair);
        pair_begin(&pair);
        shake_hands(&pair, r);
        ASSERT_OK(r[0]);
        ASSERT_OK(r[1]);
        mesh_key_name(&pair.keys[0], &pair.keys[0].keys[0], name);
        ASSERT_STREQ(tls_name(pair.tls[0]), name);
        ASSERT_STREQ(tls_name(pair.tls[1]), name);
        ASSERT_EQ(tls_read(pair.tls[1], text, sizeof(text)), -EAGAIN);
        ASSERT_EQ(tls_write(pair.tls[0], "question", 8), 8);
        ASSERT_EQ(tls_read(pair.tls[1], text, sizeof(text)), 8);
        ASSERT_EQ(memcmp(text, "question", 8), 0);
        ASSERT_EQ(tls_write(pair.tls[1], "answer", 6), 6);
        tls_say_goodbye(pair.tls[1]);
        ASSERT_EQ(tls_read(pair.tls[0], text, 3), 3);
        ASSERT_EQ(tls_read(pair.tls[0], text, sizeof(text)), 3);
        ASSERT_EQ(tls_read(pair.tls[0], text, sizeof(text)), 0);
        ASSERT_EQ(tls_read(pair.tls[0], text, sizeof(text)), 0);
        pair_done(&pair);
}

/* Nothing of what is said is on the wire as it is. */
static void test_nothing_in_clear(void) {
        struct pair pair;
        char wire[4096];
        int r[2];

        same_keys(&pair);
        pair_begin(&pair);
        shake_hands(&pair, r);
        ASSERT_OK(r[0]);
        ASSERT_EQ(tls_write(pair.tls[0], "attack at dawn", 14), 14);
        ssize_t n = recv(pair.fds[1], wire, sizeof(wire), 0);
        ASSERT_GT(n, 14);
        ASSERT_NULL(memmem(wire, (size_t) n, "dawn", 4));
        pair_done(&pair);
}

/* In the middle of a change one has a key more, and uses it already or not yet. */
static void test_another_key_is_used(void) {
        static const uint8_t secret[MESH_KEY_SIZE] = { 7 };
        struct pair pair;
        int r[2];

        same_keys(&pair);
        struct mesh_keys both = pair.keys[0];
        ASSERT_OK(mesh_keys_add(&both, secret));
        pair.keys[1] = both;
        pair_begin(&pair);
        shake_hands(&pair, r);
        ASSERT_OK(r[0]);
        ASSERT_OK(r[1]);
        pair_done(&pair);

        same_keys(&pair);
        pair.keys[0] = pair.keys[1] = both;
        pair.keys[0].keys[0] = both.keys[1];
        pair.keys[0].keys[1] = both.keys[0];
        pair_begin(&pair);
        shake_hands(&pair, r);
        ASSERT_OK(r[0]);
        ASSERT_OK(r[1]);
        pair_done(&pair);
}

static void assert_rejected(struct pair *pair) {
        int r[2];

        pair_begin(pair);
        shake_hands(pair, r);
        ASSERT_STREQ(tls_name(pair->tls[1]), "");
        ASSERT_EQ(r[1], -EKEYREJECTED);
        ASSERT_EQ(r[0], -EKEYREJECTED);
        pair_done(pair);
}

static void test_no_common_key(void) {
        struct pair pair;

        /* Another mesh. */
        same_keys(&pair);
        ASSERT_OK(mesh_keys_make(&pair.keys[1]));
        assert_rejected(&pair);

        /* A key that is not accepted any more. */
        same_keys(&pair);
        pair.keys[1].n_keys = 0;
        static const uint8_t secret[MESH_KEY_SIZE] = { 7 };
        ASSERT_OK(mesh_keys_add(&pair.keys[1], secret));
        assert_rejected(&pair);

        /* The right names, which are no secret, and another key. */
        same_keys(&pair);
        pair.keys[1].keys[0].link[0] ^= 1;
        assert_rejected(&pair);
}

static void test_rubbish(void) {
        static const char hello[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        struct pair pair;

        same_keys(&pair);
        pair_begin(&pair);
        ASSERT_EQ(send(pair.fds[0], hello, sizeof(hello) - 1, 0), (ssize_t) sizeof(hello) - 1);
        ASSERT_EQ(tls_handshake(pair.tls[1]), -EPROTO);
        ASSERT_EQ(send(pair.fds[1], hello, sizeof(hello) - 1, 0), (ssize_t) sizeof(hello) - 1);
        int r = tls_handshake(pair.tls[0]);
        ASSERT_TRUE(r == -EPROTO);
        pair_done(&pair);
}

static void test_ends_without_a_word(void) {
        struct pair pair;
        char text[8];
        int r[2];

        same_keys(&pair);
        pair_begin(&pair);
        ASSERT_EQ(tls_handshake(pair.tls[1]), -EAGAIN);
        ASSERT_FALSE(tls_wants_write(pair.tls[1]));
        pair.fds[0] = close_fd(pair.fds[0]);
        ASSERT_EQ(tls_handshake(pair.tls[1]), -ECONNRESET);
        pair_done(&pair);

        same_keys(&pair);
        pair_begin(&pair);
        shake_hands(&pair, r);
        ASSERT_OK(r[1]);
        pair.fds[0] = close_fd(pair.fds[0]);
        ASSERT_EQ(tls_read(pair.tls[1], text, sizeof(text)), -ECONNRESET);
        pair_done(&pair);
}

/* What was said before is read first; how it ended is told as often as somebody asks. */
static void test_data_and_an_end(void) {
        struct pair pair;
        char text[8];
        int r[2];

        for (int orderly = 0; orderly <= 1; orderly++) {
                int end = orderly ? 0 : -ECONNRESET;

                same_keys(&pair);
                pair_begin(&pair);
                shake_hands(&pair, r);
                ASSERT_OK(r[1]);
                ASSERT_EQ(tls_write(pair.tls[0], "last", 4), 4);
                if (orderly)
                        tls_say_goodbye(pair.tls[0]);
                ASSERT_FALSE(tls_pending(pair.tls[1]));
                pair.fds[0] = close_fd(pair.fds[0]);
                ASSERT_EQ(tls_read(pair.tls[1], text, sizeof(text)), 4);
                ASSERT_TRUE(tls_pending(pair.tls[1]));
                for (int i = 0; i < 3; i++)
                        ASSERT_EQ(tls_read(pair.tls[1], text, sizeof(text)), end);
                pair_done(&pair);
        }
}

/* One bit on the way, wherever it is. */
static void test_tampered_with(void) {
        char record[64];
        struct pair pair;
        int r[2];

        for (size_t bit = 5 * 8; bit < 30 * 8; bit += 7) {
                same_keys(&pair);
                pair_begin(&pair);
                shake_hands(&pair, r);
                ASSERT_OK(r[1]);
                ASSERT_EQ(tls_write(pair.tls[0], "0123456789", 10), 10);
                ssize_t n = recv(pair.fds[1], record, sizeof(record), 0);
                ASSERT_GE(n, 30);
                record[bit / 8] ^= (char) (1 << bit % 8);
                ASSERT_EQ(send(pair.fds[0], record, (size_t) n, 0), n);
                ASSERT_EQ(tls_read(pair.tls[1], record, sizeof(record)), -EBADMSG);
                pair_done(&pair);
        }
}

/* As much as there is through sockets that hold little: every byte once, in order. */
static void test_much(void) {
        enum { SIZE = 4 * 1024 * 1024 };
        uint8_t *from = malloc(SIZE), *to = malloc(SIZE);
        size_t sent = 0, received = 0;
        unsigned n_full = 0;
        struct pair pair;
        int r[2];

        ASSERT_TRUE(from && to);
        for (size_t i = 0; i < SIZE; i++)
                from[i] = (uint8_t) (i * 2654435761u >> 13);
        same_keys(&pair);
        pair_begin(&pair);
        shake_hands(&pair, r);
        ASSERT_OK(r[1]);
        while (received < SIZE) {
                ssize_t n = sent < SIZE ? tls_write(pair.tls[0], from + sent, SIZE - sent) : -EAGAIN;

                if (n >= 0) {
                        sent += (size_t) n;
                        continue;
                }
                ASSERT_EQ(n, -EAGAIN);
                n_full += sent < SIZE;
                n = tls_read(pair.tls[1], to + received, MIN((size_t) 50000, SIZE - received));
                ASSERT_GT(n, 0);
                received += (size_t) n;
        }
        ASSERT_GT(n_full, 0);
        ASSERT_EQ(memcmp(from, to, SIZE), 0);
        pair_done(&pair);
        free(from);
        free(to);
}

int main(void) {
        RUN(test_common_key);
        RUN(test_nothing_in_clear);
        RUN(test_another_key_is_used);
        RUN(test_no_common_key);
        RUN(test_rubbish);
        RUN(test_ends_without_a_word);
        RUN(test_data_and_an_end);
        RUN(test_tampered_with);
        RUN(test_much);
        return 0;
}
