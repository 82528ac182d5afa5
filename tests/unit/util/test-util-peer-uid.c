/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which user is at the other end: the kernel's word, and never root by mistake. */

#include <arpa/inet.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/tests.h"
#include "util/peer-uid.h"
#include "util/time.h"

union address {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
};

struct pair {
        int listening, client, server;
        union address client_end, server_end; /* as the server sees them */
};

static struct peer_uid *diag;

static void listen_on(struct pair *pair, int family, union address *ret) {
        socklen_t size = sizeof(*ret);

        *ret = (union address){};
        ret->any.sa_family = (sa_family_t) family;
        if (family == AF_INET)
                ret->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        else
                ret->in6.sin6_addr = in6addr_loopback;
        pair->listening = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(pair->listening >= 0);
        ASSERT_EQ(bind(pair->listening, &ret->any, sizeof(*ret)), 0);
        ASSERT_EQ(listen(pair->listening, 8), 0);
        ASSERT_EQ(getsockname(pair->listening, &ret->any, &size), 0);
}

static void accept_one(struct pair *pair) {
        socklen_t size = sizeof(pair->client_end);

        pair->server = accept4(pair->listening, &pair->client_end.any, &size, SOCK_CLOEXEC);
        ASSERT_TRUE(pair->server >= 0);
        size = sizeof(pair->server_end);
        ASSERT_EQ(getsockname(pair->server, &pair->server_end.any, &size), 0);
}

static void pair_open(struct pair *pair, int family) {
        union address address;

        listen_on(pair, family, &address);
        pair->client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(pair->client >= 0);
        ASSERT_EQ(connect(pair->client, &address.any, sizeof(address)), 0);
        accept_one(pair);
}

static void pair_close(struct pair *pair) {
        close_fd(pair->client);
        close_fd(pair->server);
        close_fd(pair->listening);
}

static void test_own_uid(void) {
        uid_t uid = 12345;
        struct pair pair;

        pair_open(&pair, AF_INET);
        ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        ASSERT_EQ(uid, geteuid());
        pair_close(&pair);
}

static void test_ipv6(void) {
        uid_t uid = 12345;
        struct pair pair;

        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        union address address = { .in6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback } };
        if (fd < 0 || bind(fd, &address.any, sizeof(address.in6)) < 0) {
                fprintf(stderr, "  SKIPPED: no IPv6 loopback on this machine\n");
                close_fd(fd);
                return;
        }
        close_fd(fd);
        pair_open(&pair, AF_INET6);
        ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        ASSERT_EQ(uid, geteuid());
        pair_close(&pair);
}

/* A client may speak IPv4 through an IPv6 socket. */
static void test_mapped_client(void) {
        struct pair pair;
        union address address, mapped = { .in6 = { .sin6_family = AF_INET6 } };
        uid_t uid = 12345;

        listen_on(&pair, AF_INET, &address);
        pair.client = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (pair.client < 0) {
                fprintf(stderr, "  SKIPPED: no IPv6 on this machine\n");
                close_fd(pair.listening);
                return;
        }
        ASSERT_EQ(inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.in6.sin6_addr), 1);
        mapped.in6.sin6_port = address.in.sin_port;
        ASSERT_EQ(connect(pair.client, &mapped.any, sizeof(mapped.in6)), 0);
        accept_one(&pair);
        ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        ASSERT_EQ(uid, geteuid());
        pair_close(&pair);
}

/* A socket whose owner is gone is reported by the kernel as root's. */
static void test_a_client_that_closed(void) {
        struct pair pair;
        uid_t uid = 12345;

        pair_open(&pair, AF_INET);
        pair.client = close_fd(pair.client);
        ASSERT_TRUE(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid) < 0);
        ASSERT_EQ(uid, 12345);
        pair.server = close_fd(pair.server);
        ASSERT_TRUE(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid) < 0);
        ASSERT_EQ(uid, 12345);
        pair_close(&pair);
}

static void test_a_client_that_has_sent_its_last(void) {
        struct pair pair;
        uid_t uid = 12345;

        pair_open(&pair, AF_INET);
        ASSERT_EQ(shutdown(pair.client, SHUT_WR), 0);
        ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        ASSERT_EQ(uid, geteuid());
        pair_close(&pair);
}

/* The client leaves, and its port is ours; false: another process of this machine was quicker. */
static bool leave_and_take_port(struct pair *pair, struct pair *other) {
        const struct linger at_once = { .l_onoff = 1 };
        union address address = pair->client_end;

        ASSERT_EQ(setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
        pair->client = close_fd(pair->client);
        other->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(other->listening >= 0);
        return bind(other->listening, &address.any, sizeof(address.in)) == 0;
}

/* Somebody else may listen on the port that the client had. */
static void test_a_listener_in_its_place(void) {
        struct pair pair, other = {};
        unsigned n_tries = 0;
        uid_t uid = 12345;

        pair_open(&pair, AF_INET);
        while (!leave_and_take_port(&pair, &other)) {
                ASSERT_LT(++n_tries, 100);
                close_fd(other.listening);
                pair_close(&pair);
                pair_open(&pair, AF_INET);
        }
        ASSERT_EQ(listen(other.listening, 1), 0);
        ASSERT_TRUE(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid) < 0);
        ASSERT_EQ(uid, 12345);
        close_fd(other.listening);
        pair_close(&pair);
}

static void test_nobody_there(void) {
        struct pair pair;
        uid_t uid = 12345;

        pair_open(&pair, AF_INET);
        union address wrong = pair.client_end;
        wrong.in.sin_port = (in_port_t) ~wrong.in.sin_port;
        ASSERT_TRUE(peer_uid_ask(diag, &wrong.any, &pair.server_end.any, &uid) < 0);
        wrong.any.sa_family = AF_UNIX;
        ASSERT_ERROR(peer_uid_ask(diag, &wrong.any, &pair.server_end.any, &uid), EAFNOSUPPORT);
        ASSERT_EQ(uid, 12345);
        /* The socket to the kernel is still in step. */
        ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        ASSERT_EQ(uid, geteuid());
        pair_close(&pair);
}

static void test_another_user(void) {
        const struct passwd *nobody = getpwnam("nobody");
        union address address;
        struct pair pair;
        uid_t uid = 12345;
        int end[2], status;

        if (geteuid() != 0 || !nobody) {
                fprintf(stderr, "  SKIPPED: needs root, to be another user\n");
                return;
        }
        listen_on(&pair, AF_INET, &address);
        ASSERT_EQ(pipe(end), 0);
        pid_t pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                char byte;

                close_fd(end[1]);
                if (setgid(nobody->pw_gid) < 0 || setuid(nobody->pw_uid) < 0)
                        _exit(1);
                int fd = socket(AF_INET, SOCK_STREAM, 0);
                if (fd < 0 || connect(fd, &address.any, sizeof(address.in)) < 0)
                        _exit(1);
                /* Until the other end has seen enough. */
                _exit(read(end[0], &byte, 1) == 0 ? 0 : 1);
        }
        pair.client = -EBADF;
        accept_one(&pair);
        ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        ASSERT_EQ(uid, nobody->pw_uid);
        close_fd(end[0]);
        close_fd(end[1]);
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        ASSERT_EQ(status, 0);
        pair_close(&pair);
}

/* It is asked on the loop, once for each connection. */
static void test_it_is_quick(void) {
        struct pair pair;
        uid_t uid;
        const unsigned n = 2000;

        pair_open(&pair, AF_INET);
        usec_t begin = now_usec(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < n; i++)
                ASSERT_OK(peer_uid_ask(diag, &pair.client_end.any, &pair.server_end.any, &uid));
        usec_t each = (now_usec(CLOCK_MONOTONIC) - begin) / n;
        fprintf(stderr, "  %" PRIu64 " us each\n", each);
        ASSERT_LT(each, 1000);
        pair_close(&pair);
}

int main(void) {
        ASSERT_OK(peer_uid_new(&diag));
        RUN(test_own_uid);
        RUN(test_ipv6);
        RUN(test_mapped_client);
        RUN(test_a_client_that_closed);
        RUN(test_a_client_that_has_sent_its_last);
        RUN(test_a_listener_in_its_place);
        RUN(test_nobody_there);
        RUN(test_another_user);
        RUN(test_it_is_quick);
        peer_uid_free(diag);
        return 0;
}
