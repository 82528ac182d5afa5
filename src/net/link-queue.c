/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/link-queue.h"

#include "wire/link-codec.h"

#define CHUNK_SIZE (32u * 1024) /* one that holds so much already takes no further frames */

struct chunk {
        struct list_link link;
        struct buffer frames;
        size_t written;
};

void link_queue_init(struct link_queue *queue) {
        list_init(&queue->chunks);
        queue->size = 0;
}

static void chunk_free(struct chunk *chunk) {
        list_remove(&chunk->link);
        buffer_done(&chunk->frames);
        free(chunk);
}

void link_queue_clear(struct link_queue *queue) {
        struct chunk *chunk;

        LIST_FOREACH(&queue->chunks, chunk, struct chunk, link)
                chunk_free(chunk);
        queue->size = 0;
}

/* The last one, or a new one where that is full. */
static struct chunk *chunk_with_room(struct link_queue *queue) {
        struct chunk *chunk;

        if (!list_is_empty(&queue->chunks)) {
                chunk = CONTAINER_OF(queue->chunks.root.prev, struct chunk, link);
                if (chunk->frames.size < CHUNK_SIZE)
                        return chunk;
        }
        chunk = calloc(1, sizeof(*chunk));
        if (chunk)
                list_append(&queue->chunks, &chunk->link);
        return chunk;
}

int link_queue_add(struct link_queue *queue, const struct link_message *message, size_t max) {
        if (queue->size >= max)
                return -ENOBUFS;
        struct chunk *chunk = chunk_with_room(queue);
        if (!chunk)
                return -ENOMEM;

        size_t before = chunk->frames.size;
        chunk->frames.limit = before + (max - queue->size);
        int r = link_message_encode(message, &chunk->frames);
        if (r < 0) {
                if (before == 0)
                        chunk_free(chunk);
                return r == -E2BIG ? -ENOBUFS : r;
        }
        queue->size += chunk->frames.size - before;
        return 0;
}

ssize_t link_queue_write(struct link_queue *queue, struct link_stream *stream, size_t budget) {
        size_t written = 0;

        while (queue->size > 0 && written < budget) {
                struct chunk *chunk = LIST_FIRST(&queue->chunks, struct chunk, link);
                ssize_t n = stream->operations->write(
                        stream, chunk->frames.data + chunk->written, chunk->frames.size - chunk->written);
                if (n == -EAGAIN)
                        break;
                if (n < 0)
                        return n;
                written += (size_t) n;
                queue->size -= (size_t) n;
                chunk->written += (size_t) n;
                if (chunk->written == chunk->frames.size)
                        chunk_free(chunk);
        }
        return (ssize_t) written;
}
