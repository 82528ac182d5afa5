/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bench/http.h"

#define RECEIVE_PIECE (64u * 1024)
#define HEADER_MAX (16u * 1024)
#define QUOTED_MAX 300 /* bytes of an unexpected answer that are shown */

int http_connect(uint16_t port, struct http_connection *ret) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        _cleanup_close_ int fd = -EBADF;
        int on = 1;

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
                return -errno;
        *ret = (struct http_connection){ .fd = TAKE_FD(fd) };
        return 0;
}

int http_connect_unix(const char *path, struct http_connection *ret) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret = (struct http_connection){ .fd = TAKE_FD(fd) };
        return 0;
}

void http_disconnect(struct http_connection *connection) {
        connection->fd = close_fd(connection->fd);
        buffer_done(&connection->input);
}

int http_format(
        struct buffer *text, const char *method, const char *path, const char *content_type,
        const void *body, size_t body_size) {
        int r;

        r = buffer_printf(text, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path);
        if (r < 0)
                return r;
        if (!content_type)
                return buffer_append_text(text, "\r\n");
        r = buffer_printf(text, "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n", content_type, body_size);
        return r < 0 ? r : buffer_append(text, body, body_size);
}

int http_send(struct http_connection *connection, const void *data, size_t size) {
        const char *next = data;

        while (size > 0) {
                ssize_t n = send(connection->fd, next, size, MSG_NOSIGNAL);

                if (n < 0)
                        return -errno;
                next += n;
                size -= (size_t) n;
        }
        return 0;
}

/* Finds status and length in a complete header. */
static int
header_parse(const char *header, size_t header_size, unsigned *ret_status, size_t *ret_body_size) {
        static const char name[] = "\r\nContent-Length:";
        char text[HEADER_MAX + 1];
        const char *length;

        if (header_size > HEADER_MAX)
                return -EBADMSG;
        memcpy(text, header, header_size);
        text[header_size] = 0;

        length = strcasestr(text, name);
        if (!length || sscanf(text, "HTTP/1.1 %3u", ret_status) != 1 ||
            sscanf(length + strlen(name), "%zu", ret_body_size) != 1)
                return -EBADMSG;
        return 0;
}

/* Whether the input begins with a whole answer. */
static int answer_parse(struct http_connection *connection, struct http_answer *ret) {
        const struct buffer *input = &connection->input;
        const char *end = memmem(input->data, input->size, "\r\n\r\n", 4);
        size_t header_size, body_size = 0;
        unsigned status = 0;
        int r;

        if (!end)
                return 0;
        header_size = (size_t) (end - input->data) + 4;
        r = header_parse(input->data, header_size, &status, &body_size);
        if (r < 0)
                return r;
        if (input->size - header_size < body_size)
                return 0;
        connection->answered = header_size + body_size;
        *ret = (struct http_answer){ status, input->data + header_size, body_size };
        return 1;
}

int http_receive(struct http_connection *connection, int flags, struct http_answer *ret) {
        struct buffer *input = &connection->input;
        ssize_t n;
        int r;

        if (connection->answered > 0) {
                buffer_consume(input, connection->answered);
                connection->answered = 0;
        }
        r = buffer_reserve(input, RECEIVE_PIECE);
        if (r < 0)
                return r;
        n = recv(connection->fd, input->data + input->size, RECEIVE_PIECE, flags);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        if (n == 0)
                return -ECONNRESET;
        input->size += (size_t) n;
        return answer_parse(connection, ret);
}

int http_exchange(
        struct http_connection *connection, const struct buffer *request, unsigned status,
        struct http_answer *ret) {
        int r;

        r = http_send(connection, request->data, request->size);
        while (r == 0)
                r = http_receive(connection, 0, ret);
        if (r < 0) {
                fprintf(stderr, "No answer: %s\n", strerror(-r));
                return r;
        }
        return ret->status == status ? 0 : http_unexpected(ret);
}

int http_unexpected(const struct http_answer *answer) {
        fprintf(stderr, "Unexpected answer %u: %.*s\n", answer->status,
                (int) MIN(answer->body_size, (size_t) QUOTED_MAX), answer->body);
        return -EPROTO;
}
