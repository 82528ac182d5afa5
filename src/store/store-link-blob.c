/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-link-blob.h"

#include <errno.h>

#define FRAME_KEPT_MAX 4096u

int link_blob_encode(const struct link_message *message, struct buffer *frame) {
        int r;

        frame->size = 0;
        r = link_message_encode(message, frame);
        return r == -EMSGSIZE ? -EFBIG : r;
}

void bind_link_blob(struct binder *binder, const struct buffer *frame) {
        bind_blob(binder, frame->data + LINK_FRAME_HEADER_SIZE, frame->size - LINK_FRAME_HEADER_SIZE);
}

void link_blob_trim(struct buffer *frame) {
        if (frame->allocated > FRAME_KEPT_MAX)
                buffer_done(frame);
}

int row_link_message(struct row *row, int column, struct link_message *ret) {
        size_t size;
        const void *data = row_bytes(row, column, &size);

        return data ? link_message_decode(data, size, ret) : -EBADMSG;
}
