/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Frames that wait to be written to one node. Small ones share a piece of memory, so that one write takes
 * many of them; a large one is encoded where it will be written from, and nowhere else. */

#include <stddef.h>

#include "net/link-stream.h"
#include "util/list.h"
#include "wire/link-message.h"

struct link_queue {
        struct list chunks;
        size_t size; /* bytes that wait */
};

void link_queue_init(struct link_queue *queue);
void link_queue_clear(struct link_queue *queue);

/* -ENOBUFS: there would be more than max bytes. -EMSGSIZE, -ENOMEM. The queue is then as it was. */
int link_queue_add(struct link_queue *queue, const struct link_message *message, size_t max);

/* As much as the stream takes, but no more once budget bytes were written. The number of bytes, or an error
 * of the stream other than -EAGAIN. */
ssize_t link_queue_write(struct link_queue *queue, struct link_stream *stream, size_t budget);
