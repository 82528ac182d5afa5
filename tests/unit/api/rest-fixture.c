/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rest-fixture.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/parse.h"

static int listen_tcp(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);

        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(fd, 2048), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &address, &size), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

static int listen_unix(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(address.sun_path, path);
        (void) unlink(path); /* of a process that had the same id and failed */
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(chmod(path, 0666), 0);
        ASSERT_EQ(listen(fd, 128), 0);
        return fd;
}

void fixture_begin(struct fixture *fixture, const struct rest_config *config) {
        struct rest_config own = config ? *config : (struct rest_config){ .connections_max = 2048 };
        static unsigned n;

        signal(SIGPIPE, SIG_IGN);
        *fixture = (struct fixture){};
        ASSERT_OK(sd_event_new(&fixture->event));
        fixture->ops = fake_ops_new(fixture->event);
        (void) snprintf(
                fixture->socket_path, sizeof(fixture->socket_path), "/tmp/test-api-rest-%d-%u.sock",
                getpid(), n++);
        int fds[] = { listen_tcp(&fixture->port), listen_unix(fixture->socket_path) };
        own.node_id = FIXTURE_NODE_ID;
        own.inherited_fds = fds;
        own.n_inherited_fds = ELEMENTSOF(fds);
        ASSERT_OK(rest_new(&own, fixture->event, fixture->ops, &fixture->rest, NULL));
}

void fixture_end(struct fixture *fixture) {
        rest_free(fixture->rest);
        ASSERT_EQ(fake_ops_calls(fixture->ops), 0);
        fake_ops_free(fixture->ops);
        sd_event_unref(fixture->event);
        ASSERT_EQ(unlink(fixture->socket_path), 0);
}

int fixture_connect(struct fixture *fixture) {
        const struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(fixture->port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };

        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(connect(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
        return fd;
}

int fixture_connect_unix(struct fixture *fixture) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(address.sun_path, fixture->socket_path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(connect(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
        return fd;
}

/* A server that refuses may close before it has taken everything. */
void fixture_send(struct fixture *fixture, int fd, const char *data, size_t size) {
        usec_t end = now_usec(CLOCK_MONOTONIC) + FIXTURE_DEADLINE_USEC;

        while (size > 0) {
                ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
                        return;
                ASSERT_TRUE(n >= 0 || errno == EAGAIN);
                if (n > 0) {
                        data += n;
                        size -= (size_t) n;
                }
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), end);
                if (size > 0)
                        ASSERT_OK(sd_event_run(fixture->event, USEC_PER_MSEC));
        }
}

void fixture_send_text(struct fixture *fixture, int fd, const char *text) {
        fixture_send(fixture, fd, text, strlen(text));
}

void response_done(struct response *response) {
        buffer_done(&response->header);
        buffer_done(&response->body);
        *response = (struct response){};
}

const char *response_header(const struct response *response, const char *name) {
        static char value[512];
        const char *line = response->header.data;

        while (line && (line = strstr(line, "\r\n"))) {
                line += 2;
                if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
                        line += strlen(name) + 1;
                        line += strspn(line, " ");
                        size_t size = MIN(strcspn(line, "\r\n"), sizeof(value) - 1);
                        memcpy(value, line, size);
                        value[size] = '\0';
                        return value;
                }
        }
        return NULL;
}

/* More bytes; false: the connection has ended. */
static bool receive_some(struct fixture *fixture, int fd, struct buffer *buffer, size_t most) {
        usec_t end = now_usec(CLOCK_MONOTONIC) + FIXTURE_DEADLINE_USEC;
        char bytes[65536];

        for (;;) {
                ssize_t n = recv(fd, bytes, MIN(most, sizeof(bytes)), MSG_DONTWAIT);
                if (n > 0) {
                        ASSERT_OK(buffer_append(buffer, bytes, (size_t) n));
                        return true;
                }
                if (n == 0 || errno == ECONNRESET)
                        return false;
                ASSERT_EQ(errno, EAGAIN);
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), end);
                ASSERT_OK(sd_event_run(fixture->event, USEC_PER_MSEC));
        }
}

/* Byte by byte, so that nothing of the next response is taken. */
static bool receive_line(struct fixture *fixture, int fd, struct buffer *buffer) {
        size_t begin = buffer->size;

        do
                if (!receive_some(fixture, fd, buffer, 1))
                        return false;
        while (buffer->size - begin < 2 || memcmp(buffer->data + buffer->size - 2, "\r\n", 2) != 0);
        return true;
}

static void receive_exactly(struct fixture *fixture, int fd, struct buffer *buffer, size_t size) {
        size_t end = buffer->size + size;

        while (buffer->size < end)
                ASSERT_TRUE(receive_some(fixture, fd, buffer, end - buffer->size));
}

static void receive_chunked(struct fixture *fixture, int fd, struct response *response) {
        for (;;) {
                _cleanup_buffer_ struct buffer line = {};

                if (!receive_line(fixture, fd, &line)) {
                        response->closed = true;
                        return;
                }
                size_t size = strtoul(line.data, NULL, 16);
                receive_exactly(fixture, fd, &response->body, size);
                line.size = 0;
                ASSERT_TRUE(receive_line(fixture, fd, &line));
                if (size == 0)
                        return;
        }
}

void fixture_receive(struct fixture *fixture, int fd, bool head, struct response *ret) {
        size_t begin;

        *ret = (struct response){};
        do {
                begin = ret->header.size;
                if (!receive_line(fixture, fd, &ret->header)) {
                        ASSERT_EQ(ret->header.size, 0);
                        ret->closed = true;
                        return;
                }
        } while (ret->header.size - begin > 2);
        ASSERT_EQ(sscanf(ret->header.data, "HTTP/1.1 %u", &ret->status), 1);

        const char *encoding = response_header(ret, "Transfer-Encoding");
        if (head || ret->status == 100)
                return;
        if (encoding && streq(encoding, "chunked")) {
                receive_chunked(fixture, fd, ret);
                return;
        }
        const char *length = response_header(ret, "Content-Length");
        uint64_t size;
        if (length) {
                ASSERT_OK(parse_u64(length, &size));
                receive_exactly(fixture, fd, &ret->body, size);
                return;
        }
        while (receive_some(fixture, fd, &ret->body, SIZE_MAX))
                ;
        ret->closed = true;
}

void fixture_request(
        struct fixture *fixture, const char *method, const char *target, const char *headers,
        const char *body, size_t body_size, struct response *ret) {
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_close_ int fd = fixture_connect(fixture);

        ASSERT_OK(buffer_printf(&text, "%s %s HTTP/1.1\r\n%s", method, target, headers ?: ""));
        if (!headers || !strcasestr(headers, "Host:"))
                ASSERT_OK(buffer_append_text(&text, "Host: localhost\r\n"));
        if (body)
                ASSERT_OK(buffer_printf(&text, "Content-Length: %zu\r\n", body_size));
        ASSERT_OK(buffer_append_text(&text, "\r\n"));
        ASSERT_OK(buffer_append(&text, body, body_size));
        fixture_send(fixture, fd, text.data, text.size);
        fixture_receive(fixture, fd, streq(method, "HEAD"), ret);
}

void fixture_get(struct fixture *fixture, const char *target, struct response *ret) {
        fixture_request(fixture, "GET", target, NULL, NULL, 0, ret);
}

void fixture_post_job(struct fixture *fixture, const char *target, const char *json, struct response *ret) {
        fixture_request(
                fixture, "POST", target, "Content-Type: application/json\r\n", json, strlen(json), ret);
}

void assert_problem(struct response *response, unsigned status, const char *code, const char *hint) {
        char text[128];

        if (response->status != status)
                _TEST_FAIL(
                        "status %u, expected %u: %s", response->status, status, response->body.data ?: "");
        ASSERT_STREQ(response_header(response, "Content-Type"), "application/problem+json");
        ASSERT_STREQ(response_header(response, "X-Node-ID"), FIXTURE_NODE_ID);
        (void) snprintf(text, sizeof(text), "\"code\":\"%s\"", code);
        if (!strstr(response->body.data, text))
                _TEST_FAIL("%s is not in: %s", text, response->body.data);
        (void) snprintf(text, sizeof(text), "\"status\":%u", status);
        ASSERT_NOT_NULL(strstr(response->body.data, text));

        const char *error = strstr(response->body.data, "\"error\":\"");
        const char *detail = strstr(response->body.data, "\"detail\":\"");
        ASSERT_TRUE(error && detail);
        error += strlen("\"error\":\"");
        detail += strlen("\"detail\":\"");
        size_t size = (size_t) (strstr(detail, "\",\"code\"") - detail);
        ASSERT_TRUE(size > 0 && strncmp(detail, error, size) == 0);
        ASSERT_NULL(memmem(detail, size, "\\n", 2));
        if (!memmem(detail, size, hint, strlen(hint)))
                _TEST_FAIL("\"%s\" is not in: %s", hint, response->body.data);
}
