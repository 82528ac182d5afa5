/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A keep-alive HTTP/1.1 connection to the node on this host: as little work per request as a client can do,
 * so that what is measured is the server. Understands answers with Content-Length, which is what the node
 * sends. */

#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/macros.h"

struct http_connection {
        int fd;
        struct buffer input;
        size_t answered; /* bytes of input that the last answer took; dropped before the next one */
};

#define HTTP_CONNECTION_NULL ((struct http_connection){ .fd = -EBADF })

struct http_answer {
        unsigned status;
        const char *body; /* valid until the next call for this connection; not NUL-terminated */
        size_t body_size;
};

int http_connect(uint16_t port, struct http_connection *ret);
int http_connect_unix(const char *path, struct http_connection *ret);
void http_disconnect(struct http_connection *connection);
#define _cleanup_http_ _cleanup_(http_disconnect)

/* Appends a request to text. content_type NULL: without a body. */
int http_format(
        struct buffer *text, const char *method, const char *path, const char *content_type,
        const void *body, size_t body_size);

/* All of it, waiting where it must. */
int http_send(struct http_connection *connection, const void *data, size_t size);

/* Takes what has arrived. 1: *ret is an answer; 0: it has not come completely. flags: of recv(2). */
int http_receive(struct http_connection *connection, int flags, struct http_answer *ret);

/* Sends a request and waits for its answer. -EPROTO, which has been said: another status. */
int http_exchange(
        struct http_connection *connection, const struct buffer *request, unsigned status,
        struct http_answer *ret);

/* Says what came instead of what was expected. Returns -EPROTO. */
int http_unexpected(const struct http_answer *answer);
