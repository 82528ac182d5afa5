/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames of a link into messages. Each *_decode() returns false for what must not be believed. */

#include <errno.h>

#include "wire/link-codec.h"
#include "wire/link-decode.h"

int link_frame_size(const void *data, size_t size, size_t *ret_size) {
        const uint8_t *header = data;
        size_t length = 0;

        *ret_size = 0;
        if (size < LINK_FRAME_HEADER_SIZE)
                return 0;
        for (unsigned i = 0; i < LINK_FRAME_HEADER_SIZE; i++)
                length = length << 8 | header[i];
        if (length > LINK_FRAME_MAX)
                return -EBADMSG;
        *ret_size = LINK_FRAME_HEADER_SIZE + length;
        return 0;
}

static bool hello_decode(const Link__Hello *in, struct link_hello *ret) {
        if (in->protocol == 0 || !node_id_is_valid(in->node_id) ||
            !link_words_cut(in->version, LINK_VERSION_MAX))
                return false;
        *ret = (struct link_hello){
                .protocol = in->protocol,
                .node_id = in->node_id,
                .version = in->version,
                .incarnation = in->incarnation,
                .instance = in->instance,
                .ordinal = in->ordinal,
        };
        return true;
}

static bool
message_convert(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {

        if (in->hello) {
                message->has_hello = true;
                if (!hello_decode(in->hello, &message->hello))
                        return false;
        }
        message->held_complete = in->held_complete;
        message->held_version = in->held_version;
        message->compared = in->compared;
        message->ping = in->ping;
        message->pong = in->pong;
        message->room = in->room;
        return link_run_parts_decode(in, memory, message) && link_call_parts_decode(in, memory, message) &&
               link_keeping_parts_decode(in, memory, message) &&
               link_index_parts_decode(in, memory, message);
}

int link_message_decode(const void *data, size_t size, struct link_message *ret) {
        _cleanup_link_message_ struct link_message message = {};
        struct unpack_memory *memory;
        Link__LinkMessage *in;
        int r;

        *ret = (struct link_message){};
        if (size > LINK_FRAME_MAX)
                return -EBADMSG;
        r = unpack_memory_new(size * LINK_DECODE_FACTOR + LINK_DECODE_BASE, size * 4, &memory);
        if (r < 0)
                return r;
        message.storage = memory;
        in = link__link_message__unpack(unpack_memory_allocator(memory), size, data);
        if (!in || !message_convert(in, memory, &message))
                return unpack_memory_ran_out(memory) ? -ENOMEM : -EBADMSG;

        *ret = message;
        message = (struct link_message){};
        return 0;
}

void link_message_done(struct link_message *message) {
        unpack_memory_free(message->storage);
        *message = (struct link_message){};
}
