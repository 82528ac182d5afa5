/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-encode.h"

static void add_index_entry(struct link_encoder *encoder, const struct link_index_entry *entry) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__IndexEntry part = LINK__INDEX_ENTRY__INIT, *parts = &part;

        part.job = bytes(entry->job.bytes, sizeof(entry->job.bytes));
        part.number = entry->number;
        part.epoch = entry->epoch;
        part.status = (uint32_t) entry->status;
        part.executor = entry->executor;
        part.exit_code_plus_one = entry->has_exit_code ? (uint32_t) entry->exit_code + 1 : 0;
        part.created_at_usec = entry->created_at;
        part.started_at_usec = entry->started_at;
        part.finished_at_usec = entry->finished_at;
        part.kept = entry->kept;
        out.n_index_entries = 1;
        out.index_entries = &parts;
        link_encoder_add(encoder, &out);
}

static void add_overruled(struct link_encoder *encoder, const struct link_overruled *overruled) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Overruled part = LINK__OVERRULED__INIT, *parts = &part;

        part.job = bytes(overruled->job.bytes, sizeof(overruled->job.bytes));
        part.epoch = overruled->epoch;
        part.status = (uint32_t) overruled->status;
        part.owner = unconst(overruled->owner);
        part.kept = overruled->kept;
        out.n_overruled = 1;
        out.overruled = &parts;
        link_encoder_add(encoder, &out);
}

void link_add_index_parts(struct link_encoder *encoder, const struct link_message *message) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__IndexAsk ask = LINK__INDEX_ASK__INIT;
        Link__IndexPart part = LINK__INDEX_PART__INIT;

        ask.generation = message->index_ask.generation;
        ask.after = message->index_ask.after;
        ask.room = message->index_ask.room;
        ask.since_usec = message->index_ask.since;
        part.generation = message->index_part.generation;
        part.head = message->index_part.head;
        part.through = message->index_part.through;
        part.complete = message->index_part.complete;
        out.index_ask = message->has_index_ask ? &ask : NULL;
        out.index_part = message->has_index_part ? &part : NULL;
        out.n_index_nodes = message->n_index_nodes;
        out.index_nodes = (char **) message->index_nodes;
        link_encoder_add(encoder, &out);
        for (size_t i = 0; i < message->n_index_entries; i++)
                add_index_entry(encoder, &message->index_entries[i]);
        for (size_t i = 0; i < message->n_overruled; i++)
                add_overruled(encoder, &message->overruled[i]);
}
