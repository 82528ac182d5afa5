/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whole messages, with descriptors, over the SOCK_SEQPACKET socket between daemon and executor; and the
 * memory files that carry what is too large for a message. Used by both sides. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util/macros.h"
#include "wire/executor-message.h"

#define SOCKET_PATH_MAX 107u /* bytes; sockaddr_un has room for one more, the NUL */

/* What was received: the bytes belong to the caller's buffer, the descriptors to this struct. */
struct channel_received {
        size_t size;
        int descriptors[EXECUTOR_DESCRIPTORS_MAX];
        size_t n_descriptors;
};

/* Closes the descriptors that were not taken (TAKE_FD). */
void channel_received_done(struct channel_received *received);
#define _cleanup_channel_received_ _cleanup_(channel_received_done)

/* One message, or -EAGAIN. -ECONNRESET: the other side is gone. -EBADMSG: cut off, or with too many
 * descriptors. */
int channel_receive(int fd, void *buffer, size_t buffer_size, struct channel_received *ret);

/* The whole message or nothing; -EAGAIN: no room now. The descriptors stay the caller's. */
int channel_send(int fd, const void *data, size_t size, const int *descriptors, size_t n_descriptors);

/* One message being built or waiting to be sent. Its descriptors are its own. */
struct outbox {
        struct executor_message message;
        int descriptors[EXECUTOR_DESCRIPTORS_MAX];
        size_t n_descriptors;
};

int outbox_init(struct outbox *outbox);
void outbox_done(struct outbox *outbox);
void outbox_clear(struct outbox *outbox);
/* Takes fd, and returns its position. There must be room: outbox_has_room_for(). */
int outbox_add_descriptor(struct outbox *outbox, int fd);
static inline bool outbox_has_room_for(const struct outbox *outbox, size_t n_descriptors) {
        return outbox->n_descriptors + n_descriptors <= EXECUTOR_DESCRIPTORS_MAX;
}
static inline bool outbox_is_empty(const struct outbox *outbox) {
        return outbox->message.size == 0;
}
/* Drops the descriptors from position on: the part that they belong to did not fit. */
void outbox_forget_descriptors(struct outbox *outbox, size_t position);
/* Afterwards empty, unless it is -EAGAIN. */
int outbox_send(struct outbox *outbox, int fd);

/* The other side is root, our own user, or the one that is allowed ((uid_t) -1: nobody else). Otherwise
 * -EPERM, with its uid in *ret_uid. */
int channel_check_peer(int fd, uid_t allowed, uid_t *ret_uid);
/* The process that listens there, or that connected; 0: not to be seen from here. */
pid_t channel_peer_pid(int fd);

/* -EINVAL: the path is empty or too long. -ENOENT, -ECONNREFUSED: nobody listens. -EAGAIN: its queue is
 * full. */
int channel_connect(const char *path, int *ret_fd);

/* A sealed file in memory with these bytes, its offset at the start. */
int memory_file_new(const struct iovec *pieces, size_t n_pieces, int *ret_fd);

/* Its size, where it is a regular file of at most max bytes; otherwise -EBADMSG. */
int memory_file_size(int fd, size_t max, size_t *ret_size);

/* Exactly size bytes from offset; -EIO if there are fewer. */
int memory_file_read(int fd, uint64_t offset, void *buffer, size_t size);
