/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/link-stream.h"

#include <stddef.h>
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
        .write = plain_write,
        .wants = plain_wants,
        .close = plain_close,
};

void link_stream_init_plain(struct link_stream *stream, int fd) {
        *stream = (struct link_stream){ .operations = &plain_operations, .fd = fd };
}

void link_stream_close(struct link_stream *stream) {
        if (stream->operations)
                stream->operations->close(stream);
        *stream = (struct link_stream){ .fd = -EBADF };
}
