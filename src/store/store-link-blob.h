/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Columns that hold what a link carries: a message without the header of its frame. */

#include "store/store-column.h"
#include "store/store-sqlite.h"
#include "util/buffer.h"
#include "wire/link-codec.h"

/* frame is kept between records, so that they do not each allocate. -EFBIG: larger than any frame. */
int link_blob_encode(const struct link_message *message, struct buffer *frame);
/* What was encoded last, until the step. */
void bind_link_blob(struct binder *binder, const struct buffer *frame);
/* After the step: a frame with the largest job is not worth keeping until the next one. */
void link_blob_trim(struct buffer *frame);

/* Points into the row where its text is not copied. -EBADMSG, -ENOMEM. */
int row_link_message(struct row *row, int column, struct link_message *ret);
