/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages of a link into frames. Every part is encoded as a message of its own: put one behind the other
 * they are the encoding of the whole. They are walked through twice, to measure and to write, so that
 * nothing is allocated but the room in the buffer, once. */

#include <errno.h>

#include "wire/link-codec.h"
#include "wire/link-encode.h"

static void add_hello(struct link_encoder *encoder, const struct link_hello *hello) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Hello part = LINK__HELLO__INIT;

        part.protocol = hello->protocol;
        part.node_id = unconst(hello->node_id);
        part.version = unconst(hello->version);
        part.incarnation = hello->incarnation;
        part.instance = hello->instance;
        part.ordinal = hello->ordinal;
        out.hello = &part;
        link_encoder_add(encoder, &out);
}

/* What is no message of its own. */
static void add_numbers(struct link_encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;

        out.held_complete = message->held_complete;
        out.held_version = message->held_version;
        out.compared = message->compared;
        out.ping = message->ping;
        out.pong = message->pong;
        out.room = message->room;
        out.n_cancel_read = message->n_cancelled_reads;
        out.cancel_read = message->cancelled_reads;
        out.n_cancel_call = message->n_cancelled_calls;
        out.cancel_call = message->cancelled_calls;
        out.forget_copies = message->forget_copies;
        out.copies_forgotten = message->copies_forgotten;
        link_encoder_add(encoder, &out);
}

static void add_message(struct link_encoder *encoder, const struct link_message *message) {
        if (message->has_hello)
                add_hello(encoder, &message->hello);
        link_add_run_parts(encoder, message);
        link_add_call_parts(encoder, message);
        link_add_keeping_parts(encoder, message);
        link_add_index_parts(encoder, message);
        add_numbers(encoder, message);
}

static bool has_too_many_parts(const struct link_message *message) {
        return message->n_held > LINK_PARTS_MAX || message->n_assignments > LINK_PARTS_MAX ||
               message->n_taken > LINK_PARTS_MAX || message->n_refused > LINK_PARTS_MAX ||
               message->n_started > LINK_PARTS_MAX || message->n_ended > LINK_PARTS_MAX ||
               message->n_kills > LINK_PARTS_MAX || message->n_withdrawn > LINK_PARTS_MAX ||
               message->n_retired > LINK_PARTS_MAX || message->n_reads > LINK_PARTS_MAX ||
               message->claim_answer.n_held > LINK_PARTS_MAX || message->n_takeovers > LINK_PARTS_MAX ||
               message->n_pieces > LINK_PARTS_MAX || message->n_cancelled_reads > LINK_PARTS_MAX ||
               message->n_calls > LINK_PARTS_MAX || message->n_answers > LINK_PARTS_MAX ||
               message->n_cancelled_calls > LINK_PARTS_MAX ||
               message->n_index_nodes > LINK_INDEX_ENTRIES_MAX ||
               message->n_index_entries > LINK_INDEX_ENTRIES_MAX ||
               message->n_overruled > LINK_OVERRULED_MAX;
}

int link_message_encode(const struct link_message *message, struct buffer *buffer) {
        struct link_encoder measure = {}, encoder = {};
        int r;

        if (has_too_many_parts(message))
                return -EMSGSIZE;
        add_message(&measure, message);
        if (measure.size > LINK_FRAME_MAX)
                return -EMSGSIZE;
        r = buffer_reserve(buffer, LINK_FRAME_HEADER_SIZE + measure.size);
        if (r < 0)
                return r;

        uint8_t *frame = (uint8_t *) buffer->data + buffer->size;
        for (unsigned i = 0; i < LINK_FRAME_HEADER_SIZE; i++)
                frame[i] = (uint8_t) (measure.size >> 8 * (LINK_FRAME_HEADER_SIZE - 1 - i));
        encoder.to = frame + LINK_FRAME_HEADER_SIZE;
        add_message(&encoder, message);
        assert(encoder.size == measure.size);
        buffer->size += LINK_FRAME_HEADER_SIZE + encoder.size;
        buffer->data[buffer->size] = '\0';
        return 0;
}
