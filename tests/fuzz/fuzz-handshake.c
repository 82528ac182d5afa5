/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What whoever connects to the node port says before anything is known of him: the records of a handshake.
 * None of it makes him a member. */

#include <sys/socket.h>

#include "lib/tests.h"
#include "trust/keys.h"
#include "trust/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The key of tests/fuzz/corpus/handshake, so that what was recorded gets further than its name. */
static const char keys_text[] = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\n"
                                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

static bool on_lookup(void *userdata, const char *name, uint8_t ret_secret[static TLS_SECRET_SIZE]) {
        const struct mesh_key *key = mesh_keys_find_name(userdata, name);

        ASSERT_LE(strlen(name), TLS_NAME_MAX);
        if (key)
                memcpy(ret_secret, key->link, TLS_SECRET_SIZE);
        return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct mesh_keys keys;
        struct mesh_keys_problem problem;
        struct tls *tls;
        int fds[2];

        if (keys.n_keys == 0)
                ASSERT_OK(mesh_keys_parse(keys_text, sizeof(keys_text) - 1, &keys, &problem));
        if (size > 60000)
                return 0; /* the socket would not take it at once */
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
        ASSERT_OK(tls_new_listener(on_lookup, &keys, fds[1], &tls));
        ASSERT_EQ(send(fds[0], data, size, MSG_NOSIGNAL), (ssize_t) size);
        int r = tls_handshake(tls);
        for (int i = 0; i < 10 && r == -EAGAIN; i++)
                r = tls_handshake(tls);
        /* Without the other half of the conversation it never ends well. */
        ASSERT_LT(r, 0);
        ASSERT_STREQ(tls_name(tls), "");
        (void) tls_wants_write(tls);
        tls_say_goodbye(tls);
        tls_free(tls);
        close(fds[0]);
        close(fds[1]);
        return 0;
}
