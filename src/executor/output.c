/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/output.h"

#include <inttypes.h>
#include <stdio.h>

#include "executor/channel.h"

#define ALLOCATION_MIN 1024u
#define GAP_TEXT "\n[… %" PRIu64 " bytes left out …]\n"
#define GAP_TEXT_MAX 64u

/* A stream in pieces: head, the line, and the tail, which may lie in two parts of the ring. */
#define PIECES_MAX 4u
struct pieces {
        struct iovec parts[PIECES_MAX];
        size_t n_parts;
        size_t size;
        size_t head_size, gap_size;
        char gap[GAP_TEXT_MAX];
};

static size_t head_limit(size_t limit) {
        return limit / 2;
}

static size_t tail_limit(size_t limit) {
        return limit - head_limit(limit);
}

void output_done(struct output *output) {
        free(output->data);
        *output = (struct output){ .limit = output->limit };
}

/* Before the ring turns for the first time the data lies in order, so the limit may still come down to what
 * is allocated without moving anything. */
static void output_reserve(struct output *output, size_t size) {
        size_t wanted = (size_t) MIN(output->total + size, (uint64_t) output->limit);
        size_t allocate = MAX(output->allocated, (size_t) ALLOCATION_MIN);
        char *data;

        if (wanted <= output->allocated)
                return;
        while (allocate < wanted)
                allocate *= 2;
        allocate = MIN(allocate, output->limit);
        data = realloc(output->data, allocate);
        if (!data) {
                output->limit = output->allocated;
                return;
        }
        output->data = data;
        output->allocated = allocate;
}

static size_t position_of(const struct output *output, uint64_t offset) {
        size_t head = head_limit(output->limit);

        return offset < head ? (size_t) offset
                             : head + (size_t) ((offset - head) % tail_limit(output->limit));
}

/* Bytes from offset to the end of what lies together in memory there. */
static size_t contiguous_at(const struct output *output, uint64_t offset) {
        return output->limit - position_of(output, offset);
}

void output_append(struct output *output, const void *data, size_t size) {
        const char *from = data;

        output_reserve(output, size);
        /* Of a piece larger than the whole ring only the end would survive. */
        while (size > 0 && output->limit > 0) {
                size_t n = MIN(size, contiguous_at(output, output->total));

                memcpy(output->data + position_of(output, output->total), from, n);
                output->total += n;
                from += n;
                size -= n;
        }
        output->total += size;
}

/* Where the kept end begins. */
static uint64_t tail_start(uint64_t total, size_t limit) {
        return total <= limit ? MIN(total, (uint64_t) head_limit(limit)) : total - tail_limit(limit);
}

size_t
output_read(const struct output *output, uint64_t offset, uint64_t *ret_offset, const char **ret_data) {
        uint64_t end = output->total;

        if (output->total > output->limit) {
                if (offset < head_limit(output->limit))
                        end = head_limit(output->limit);
                else
                        offset = MAX(offset, tail_start(output->total, output->limit));
        }
        *ret_offset = offset;
        if (offset >= end)
                return 0;
        *ret_data = output->data + position_of(output, offset);
        return (size_t) MIN(end - offset, (uint64_t) contiguous_at(output, offset));
}

static void pieces_add(struct pieces *pieces, const void *data, size_t size) {
        if (size == 0)
                return;
        pieces->parts[pieces->n_parts++] = (struct iovec){ .iov_base = (void *) data, .iov_len = size };
        pieces->size += size;
}

/* Cuts the stream to limit, which is at most its own. */
static void pieces_of(const struct output *output, size_t limit, struct pieces *ret) {
        uint64_t offset = tail_start(output->total, limit), first;

        *ret = (struct pieces){};
        if (limit == 0)
                return;
        if (output->total <= limit) {
                ret->head_size = (size_t) output->total;
                pieces_add(ret, output->data, ret->head_size);
                return;
        }
        ret->head_size = head_limit(limit);
        pieces_add(ret, output->data, ret->head_size);
        ret->gap_size = (size_t) snprintf(ret->gap, sizeof(ret->gap), GAP_TEXT, output->total - limit);
        pieces_add(ret, ret->gap, ret->gap_size);
        first = MIN(output->total - offset, (uint64_t) contiguous_at(output, offset));
        pieces_add(ret, output->data + position_of(output, offset), (size_t) first);
        pieces_add(
                ret, output->data + position_of(output, offset + first),
                (size_t) (output->total - offset - first));
}

static void
kept_describe(const struct output *output, const struct pieces *pieces, struct kept_stream *ret) {
        *ret = (struct kept_stream){
                .size = pieces->size,
                .total = output->total,
                .truncated = pieces->size - pieces->gap_size < output->total,
                .head_size = pieces->head_size,
                .gap_size = pieces->gap_size,
        };
}

static int keep_in_file(struct output outputs[static 2], struct kept_outputs *ret) {
        struct iovec parts[2 * PIECES_MAX];
        struct pieces pieces[2];
        size_t n = 0;

        for (size_t i = 0; i < 2; i++) {
                pieces_of(&outputs[i], outputs[i].limit, &pieces[i]);
                kept_describe(&outputs[i], &pieces[i], &ret->streams[i]);
                memcpy(parts + n, pieces[i].parts, pieces[i].n_parts * sizeof(parts[0]));
                n += pieces[i].n_parts;
        }
        return memory_file_new(parts, n, &ret->file);
}

static int keep_in_memory(const struct output *output, size_t limit, struct kept_stream *ret) {
        struct pieces pieces;
        char *to;

        pieces_of(output, MIN(limit, output->limit), &pieces);
        kept_describe(output, &pieces, ret);
        if (pieces.size == 0)
                return 0;
        ret->data = to = malloc(pieces.size);
        if (!to) {
                ret->size = ret->head_size = ret->gap_size = 0;
                ret->truncated = true;
                return -ENOMEM;
        }
        for (size_t i = 0; i < pieces.n_parts; i++) {
                memcpy(to, pieces.parts[i].iov_base, pieces.parts[i].iov_len);
                to += pieces.parts[i].iov_len;
        }
        return 0;
}

/* What can be had when both go into one message; the lines for what is left out come on top. */
#define MEMORY_LIMIT ((EXECUTOR_INLINE_MAX - 2 * GAP_TEXT_MAX) / 2)

int kept_outputs_take(struct output outputs[static 2], struct kept_outputs *ret) {
        bool large = outputs[0].total > MEMORY_LIMIT || outputs[1].total > MEMORY_LIMIT;
        int r = 0;

        *ret = KEPT_OUTPUTS_NONE;
        /* Where no file can be had, less is kept. */
        if (!large || keep_in_file(outputs, ret) < 0)
                for (size_t i = 0; i < 2; i++) {
                        int q = keep_in_memory(&outputs[i], MEMORY_LIMIT, &ret->streams[i]);

                        r = r < 0 ? r : q;
                }
        output_done(&outputs[0]);
        output_done(&outputs[1]);
        return r;
}

void kept_outputs_done(struct kept_outputs *kept) {
        free(kept->streams[0].data);
        free(kept->streams[1].data);
        (void) close_fd(kept->file);
        *kept = KEPT_OUTPUTS_NONE;
}

ssize_t kept_outputs_read(
        const struct kept_outputs *kept, int stream, uint64_t offset, void *buffer, size_t size,
        uint64_t *ret_offset) {

        const struct kept_stream *from = &kept->streams[stream - 1];
        size_t tail_size = from->size - from->head_size - from->gap_size, position, n;
        int r;

        if (offset < from->head_size) {
                position = (size_t) offset;
                n = from->head_size - position;
        } else {
                offset = MAX(offset, from->total - tail_size);
                if (offset >= from->total) {
                        *ret_offset = from->total;
                        return 0;
                }
                position = from->head_size + from->gap_size + (size_t) (offset - (from->total - tail_size));
                n = from->size - position;
        }
        n = MIN(n, size);
        *ret_offset = offset;
        if (from->data)
                memcpy(buffer, from->data + position, n);
        else {
                r = memory_file_read(
                        kept->file, (stream == 1 ? 0 : kept->streams[0].size) + position, buffer, n);
                if (r < 0)
                        return r;
        }
        return (ssize_t) n;
}
