/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The bytes below the frames of a link: a connected socket that never waits, and a table of what can be done
 * with it, so that they may be plain or come through something that encrypts them. */

#include <stdint.h>
#include <sys/types.h>

#include "trust/tls.h"

struct link_stream;

/* -EAGAIN: not now; again after the events that wants() names. Other negative values end the connection. */
struct link_stream_operations {
        /* Whatever the two ends say to each other before the first byte of ours. 0: it is over. */
        int (*handshake)(struct link_stream *stream);
        /* 0: the other end has closed. Less than size: there is no more at the moment. */
        ssize_t (*read)(struct link_stream *stream, void *data, size_t size);
        /* There is something to read, or the end, of which the loop will not tell. */
        bool (*pending)(const struct link_stream *stream);
        /* What was not taken is given again, with the same bytes in front. */
        ssize_t (*write)(struct link_stream *stream, const void *data, size_t size);
        /* EPOLLIN, EPOLLOUT: for the handshake to go on. */
        uint32_t (*wants)(const struct link_stream *stream);
        void (*close)(struct link_stream *stream);
};

struct link_stream {
        const struct link_stream_operations *operations;
        int fd; /* owned; -EBADF: closed */
        struct tls *tls;
};

/* Takes the descriptor. */
void link_stream_init_plain(struct link_stream *stream, int fd);
/* Likewise, also on failure; what is said can be read by the two ends only, which have a key in common (see
 * trust/tls.h). -ENOMEM, -EIO: the stream is closed. */
int link_stream_init_opener(
        struct link_stream *stream, int fd, const char *name, const uint8_t secret[static TLS_SECRET_SIZE]);
int link_stream_init_listener(struct link_stream *stream, int fd, tls_lookup_t lookup, void *userdata);
/* By which key; empty where there is none, or not yet. */
const char *link_stream_key_name(const struct link_stream *stream);
/* Harmless where it is closed, or was never opened (a zeroed one). */
void link_stream_close(struct link_stream *stream);
