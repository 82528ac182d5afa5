/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Frames of a link: messages to bytes and back. What comes out of the decoder has been checked: lengths,
 * ids, ranges, UTF-8 where it is text. A version or a submitter that is too long is cut at a whole
 * character, a time that is absurd at LINK_USEC_MAX. */

#include "util/buffer.h"
#include "wire/link-message.h"

/* Appends one frame, header and message. -EMSGSIZE: the message is larger than a frame may be, or has more
 * than LINK_PARTS_MAX parts of a kind; the buffer is as it was. -ENOMEM, -E2BIG: likewise, for the buffer.
 */
int link_message_encode(const struct link_message *message, struct buffer *buffer);

/* How long the frame is whose first bytes are there: 0: the header is not complete. -EBADMSG: longer than
 * any. */
int link_frame_size(const void *data, size_t size, size_t *ret_size);

/* The message of a whole frame, without its header. -EBADMSG, -ENOMEM: *ret is then empty. Takes at most
 * LINK_DECODE_FACTOR times the size of the frame and LINK_DECODE_BASE, whatever is in it. */
#define LINK_DECODE_FACTOR 16u
#define LINK_DECODE_BASE (1024u * 1024)
int link_message_decode(const void *data, size_t size, struct link_message *ret);
void link_message_done(struct link_message *message); /* one that was never filled is fine */
#define _cleanup_link_message_ _cleanup_(link_message_done)
