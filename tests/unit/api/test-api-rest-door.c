/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Doors that open, and those that must not. */

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/rest/rest.h"
#include "fake-ops.h"
#include "lib/tests.h"

static sd_event *event;
static struct ops *ops;

/* 0, or the error with the sentence that says why. */
static int try_rest(const struct rest_config *config, struct rest **ret, char **ret_problem) {
        struct rest_config own = *config;

        own.node_id = "node-0123456789abcdef";
        own.connections_max = 10;
        *ret = NULL;
        return rest_new(&own, event, ops, ret, ret_problem);
}

static int make_socket(int family, int type, const char *address, uint16_t *ret_port) {
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        } name = { .any.sa_family = (sa_family_t) family };
        socklen_t size = sizeof(name);

        ASSERT_EQ(
                inet_pton(
                        family, address,
                        family == AF_INET ? (void *) &name.in.sin_addr : &name.in6.sin6_addr),
                1);
        int fd = socket(family, type | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, &name.any, sizeof(name)) < 0) {
                close_fd(fd);
                return -errno;
        }
        ASSERT_EQ(getsockname(fd, &name.any, &size), 0);
        *ret_port = ntohs(name.in.sin_port);
        return fd;
}

static void test_tcp(void) {
        _cleanup_free_ char *problem = NULL;
        struct rest *rest, *second;
        char address[64];
        uint16_t port;

        /* A number that was free a moment ago. */
        int fd = make_socket(AF_INET, SOCK_STREAM, "127.0.0.1", &port);
        ASSERT_OK(fd);
        close_fd(fd);
        ASSERT_OK(try_rest(&(struct rest_config){ .port = port }, &rest, &problem));
        (void) snprintf(address, sizeof(address), "127.0.0.1:%u", port);
        ASSERT_STREQ(rest_address(rest), address);
        ASSERT_NULL(problem);

        ASSERT_ERROR(try_rest(&(struct rest_config){ .port = port }, &second, &problem), EADDRINUSE);
        ASSERT_NOT_NULL(strstr(problem, "is taken by another program; choose another one with --api-port"));
        rest_free(rest);
}

static void test_unix(void) {
        _cleanup_free_ char *problem = NULL;
        char folder[] = "/tmp/test-api-rest-door-XXXXXX", path[64];
        struct rest *rest, *second;
        struct stat status;

        ASSERT_NOT_NULL(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/api.sock", folder);
        const struct rest_config config = { .socket_path = path };

        ASSERT_OK(try_rest(&config, &rest, &problem));
        ASSERT_STREQ(rest_address(rest), path);
        ASSERT_EQ(stat(path, &status), 0);
        ASSERT_TRUE(S_ISSOCK(status.st_mode));
        ASSERT_EQ(status.st_mode & 0777, 0666);

        ASSERT_ERROR(try_rest(&config, &second, &problem), EADDRINUSE);
        ASSERT_NOT_NULL(strstr(problem, "Another program listens on"));
        free(TAKE_PTR(problem));
        rest_free(rest);
        ASSERT_TRUE(stat(path, &status) < 0 && errno == ENOENT);

        /* One that a killed process left behind is in nobody's way. */
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        strcpy(address.sun_path, path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        close_fd(fd);
        ASSERT_OK(try_rest(&config, &rest, &problem));
        rest_free(rest);

        /* But nothing else is removed. */
        FILE *file = fopen(path, "we");
        ASSERT_NOT_NULL(file);
        fclose(file);
        ASSERT_ERROR(try_rest(&config, &rest, &problem), EEXIST);
        ASSERT_NOT_NULL(strstr(problem, "is not a socket"));
        free(TAKE_PTR(problem));
        ASSERT_EQ(stat(path, &status), 0);
        ASSERT_EQ(unlink(path), 0);
        ASSERT_EQ(rmdir(folder), 0);

        char longest[200];
        memset(longest, 'x', sizeof(longest) - 1);
        longest[0] = '/';
        longest[sizeof(longest) - 1] = '\0';
        ASSERT_ERROR(
                try_rest(&(struct rest_config){ .socket_path = longest }, &rest, &problem), ENAMETOOLONG);
}

static void assert_not_inherited(int fd, int error, const char *hint) {
        _cleanup_free_ char *problem = NULL;
        struct rest *rest;
        const struct rest_config config = { .inherited_fds = &fd, .n_inherited_fds = 1 };

        ASSERT_OK(fd);
        ASSERT_ERROR(try_rest(&config, &rest, &problem), error);
        ASSERT_NULL(rest);
        ASSERT_NOT_NULL(strstr(problem, hint));
        /* It was taken. */
        ASSERT_ERROR(fd, EBADF);
}

static void test_not_loopback(void) {
        uint16_t port;

        int fd = make_socket(AF_INET, SOCK_STREAM, "0.0.0.0", &port);
        ASSERT_EQ(listen(fd, 1), 0);
        assert_not_inherited(fd, EADDRNOTAVAIL, "would be open to the network at 0.0.0.0:");
        fd = make_socket(AF_INET6, SOCK_STREAM, "::", &port);
        if (fd < 0) {
                fprintf(stderr, "  SKIPPED: no IPv6 on this machine\n");
                return;
        }
        ASSERT_EQ(listen(fd, 1), 0);
        assert_not_inherited(fd, EADDRNOTAVAIL, "would be open to the network at [::]:");
}

static void test_not_listening(void) {
        uint16_t port;

        assert_not_inherited(
                make_socket(AF_INET, SOCK_STREAM, "127.0.0.1", &port), ENOTSOCK,
                "not a listening stream socket");
        assert_not_inherited(
                make_socket(AF_INET, SOCK_DGRAM, "127.0.0.1", &port), ENOTSOCK,
                "not a listening stream socket");
}

static void test_one_wrong_among_several(void) {
        _cleanup_free_ char *problem = NULL;
        struct rest *rest;
        uint16_t port;
        int fds[] = {
                make_socket(AF_INET, SOCK_STREAM, "127.0.0.1", &port),
                make_socket(AF_INET, SOCK_STREAM, "0.0.0.0", &port),
                make_socket(AF_INET, SOCK_STREAM, "127.0.0.1", &port),
        };
        const struct rest_config config = { .inherited_fds = fds, .n_inherited_fds = ELEMENTSOF(fds) };

        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                ASSERT_EQ(listen(fds[i], 1), 0);
        ASSERT_ERROR(try_rest(&config, &rest, &problem), EADDRNOTAVAIL);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                ASSERT_ERROR(fds[i], EBADF);
}

static void test_no_door(void) {
        _cleanup_free_ char *problem = NULL;
        struct rest *rest;

        ASSERT_OK(try_rest(&(struct rest_config){}, &rest, &problem));
        ASSERT_NULL(rest_address(rest));
        ASSERT_EQ(rest_pending(rest), 0);
        rest_stop_accepting(rest);
        rest_stop_accepting(rest);
        rest_free(rest);
}

int main(void) {
        ASSERT_OK(sd_event_new(&event));
        ops = fake_ops_new(event);
        RUN(test_tcp);
        RUN(test_unix);
        RUN(test_not_loopback);
        RUN(test_not_listening);
        RUN(test_one_wrong_among_several);
        RUN(test_no_door);
        fake_ops_free(ops);
        sd_event_unref(event);
        return 0;
}
