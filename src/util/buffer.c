/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BUFFER_ALLOCATED_MIN 256

void buffer_done(struct buffer *buffer) {
        free(buffer->data);
        buffer->data = NULL;
        buffer->size = buffer->allocated = 0;
}

int buffer_reserve(struct buffer *buffer, size_t size) {
        /* One byte more than asked for, so that there is always room for the NUL behind text. */
        if (size >= SIZE_MAX / 2 - buffer->size)
                return -E2BIG;
        if (buffer->limit > 0 && (buffer->size > buffer->limit || size > buffer->limit - buffer->size))
                return -E2BIG;

        size_t needed = buffer->size + size + 1;
        if (needed <= buffer->allocated)
                return 0;

        size_t allocated = MAX(MAX(needed, buffer->allocated * 2), (size_t) BUFFER_ALLOCATED_MIN);
        char *data = realloc(buffer->data, allocated);
        if (!data)
                return -ENOMEM;
        buffer->data = data;
        buffer->allocated = allocated;
        return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t size) {
        int r = buffer_reserve(buffer, size);
        if (r < 0)
                return r;
        if (size > 0)
                memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
        buffer->data[buffer->size] = '\0';
        return 0;
}

int buffer_append_text(struct buffer *buffer, const char *text) {
        return buffer_append(buffer, text, strlen(text));
}

int buffer_printf(struct buffer *buffer, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        int length = vsnprintf(NULL, 0, format, arguments);
        va_end(arguments);
        if (length < 0)
                return -EINVAL;

        int r = buffer_reserve(buffer, (size_t) length);
        if (r < 0)
                return r;

        va_start(arguments, format);
        (void) vsnprintf(buffer->data + buffer->size, (size_t) length + 1, format, arguments);
        va_end(arguments);
        buffer->size += (size_t) length;
        return 0;
}

void buffer_consume(struct buffer *buffer, size_t size) {
        assert(size <= buffer->size);
        if (size == 0)
                return;
        buffer->size -= size;
        memmove(buffer->data, buffer->data + size, buffer->size);
        buffer->data[buffer->size] = '\0';
}
