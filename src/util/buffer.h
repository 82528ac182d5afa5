/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A growing byte buffer with a limit of its own. Text written by buffer_printf() is always followed by a NUL
 * that is not counted in size. */

#include <stddef.h>

#include "util/macros.h"

struct buffer {
        char *data;
        size_t size;
        size_t allocated;
        size_t limit; /* 0: none */
};

void buffer_done(struct buffer *buffer);
#define _cleanup_buffer_ _cleanup_(buffer_done)

/* -ENOMEM, or -E2BIG past the limit; the buffer is then unchanged. */
int buffer_append(struct buffer *buffer, const void *data, size_t size);
int buffer_append_text(struct buffer *buffer, const char *text);
int buffer_printf(struct buffer *buffer, const char *format, ...) _printf_(2, 3);
/* Room for size more bytes at data + size, which the caller fills and counts himself. */
int buffer_reserve(struct buffer *buffer, size_t size);
/* Drops size bytes from the front. */
void buffer_consume(struct buffer *buffer, size_t size);
