/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/link-stream.h"

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/macros.h"

static int plain_handshake(struct link_stream *stream) {
        return 0;
}

static ssize_t plain_read(struct link_stream *stream, void *data, size_t size) {
        ssize_t n = recv(stream->fd, data, size, MSG_DONTWAIT);

        if (n < 0)
                return errno == EINTR ? -EAGAIN : -errno;
        return n;
}

static bool plain_pending(const struct link_stream *stream) {
        return false;
}

static ssize_t plain_write(struct link_stream *stream, const void *data, size_t size) {
        ssize_t n = send(stream->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0)
                return errno == EINTR ? -EAGAIN : -errno;
        return n;
}

static uint32_t plain_wants(const struct link_stream *stream) {
        return 0;
}

static void plain_close(struct link_stream *stream) {
        stream->fd = close_fd(stream->fd);
}

static const struct link_stream_operations plain_operations = {
        .handshake = plain_handshake,
        .read = plain_read,
        .pending = plain_pending,
        .write = plain_write,
        .wants = plain_wants,
        .close = plain_close,
};

void link_stream_init_plain(struct link_stream *stream, int fd) {
        *stream = (struct link_stream){ .operations = &plain_operations, .fd = fd };
}

static int encrypted_handshake(struct link_stream *stream) {
        return tls_handshake(stream->tls);
}

static ssize_t encrypted_read(struct link_stream *stream, void *data, size_t size) {
        return tls_read(stream->tls, data, size);
}

static bool encrypted_pending(const struct link_stream *stream) {
        return tls_pending(stream->tls);
}

static ssize_t encrypted_write(struct link_stream *stream, const void *data, size_t size) {
        return tls_write(stream->tls, data, size);
}

static uint32_t encrypted_wants(const struct link_stream *stream) {
        return tls_wants_write(stream->tls) ? EPOLLOUT : EPOLLIN;
}

static void encrypted_close(struct link_stream *stream) {
        tls_say_goodbye(stream->tls);
        stream->tls = tls_free(stream->tls);
        stream->fd = close_fd(stream->fd);
}

static const struct link_stream_operations encrypted_operations = {
        .handshake = encrypted_handshake,
        .read = encrypted_read,
        .pending = encrypted_pending,
        .write = encrypted_write,
        .wants = encrypted_wants,
        .close = encrypted_close,
};

/* r: of making its TLS. */
static int begin_encrypted(struct link_stream *stream, int r) {
        if (r >= 0)
                stream->operations = &encrypted_operations;
        else
                link_stream_close(stream);
        return r;
}

int link_stream_init_opener(
        struct link_stream *stream, int fd, const char *name, const uint8_t secret[static TLS_SECRET_SIZE]) {
        link_stream_init_plain(stream, fd);
        return begin_encrypted(stream, tls_new_opener(name, secret, fd, &stream->tls));
}

int link_stream_init_listener(struct link_stream *stream, int fd, tls_lookup_t lookup, void *userdata) {
        link_stream_init_plain(stream, fd);
        return begin_encrypted(stream, tls_new_listener(lookup, userdata, fd, &stream->tls));
}

const char *link_stream_key_name(const struct link_stream *stream) {
        return stream->tls ? tls_name(stream->tls) : "";
}

void link_stream_close(struct link_stream *stream) {
        if (stream->operations)
                stream->operations->close(stream);
        *stream = (struct link_stream){ .fd = -EBADF };
}
