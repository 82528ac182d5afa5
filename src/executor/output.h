/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is kept of one stream of a job: the first half of the limit from its beginning, the rest as a ring
 * that holds its end. Memory is taken as output comes; most jobs print nothing and cost nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/macros.h"

struct output {
        size_t limit;   /* bytes kept */
        uint64_t total; /* bytes the job wrote */
        char *data;
        size_t allocated;
};

void output_done(struct output *output);

/* Never fails: without memory for more, what is there is all that is kept. */
void output_append(struct output *output, const void *data, size_t size);

/* What is kept from offset on, as far as it lies together: *ret_offset is past offset where the middle was
 * left out. 0: nothing after offset. */
size_t
output_read(const struct output *output, uint64_t offset, uint64_t *ret_offset, const char **ret_data);

/* The outputs of a run that has ended: small ones in memory, larger ones in one memory file. */
struct kept_stream {
        char *data;  /* NULL: nothing, or in the file */
        size_t size; /* head, line and tail */
        uint64_t total;
        bool truncated;
        size_t head_size; /* then, where truncated, the line of gap_size that stands for the middle */
        size_t gap_size;
};

struct kept_outputs {
        struct kept_stream streams[2];
        int file; /* negative: none. stdout's bytes, then stderr's */
};

#define KEPT_OUTPUTS_NONE ((struct kept_outputs){ .file = -EBADF })

/* Takes over what the two hold; they are empty afterwards. -ENOMEM: nothing could be kept but the counts. */
int kept_outputs_take(struct output outputs[static 2], struct kept_outputs *ret);
void kept_outputs_done(struct kept_outputs *kept);

/* As output_read(), copied into buffer. A negative errno, or the number of bytes. */
ssize_t kept_outputs_read(
        const struct kept_outputs *kept, int stream, uint64_t offset, void *buffer, size_t size,
        uint64_t *ret_offset);

static inline size_t kept_outputs_size(const struct kept_outputs *kept) {
        return kept->streams[0].size + kept->streams[1].size;
}
