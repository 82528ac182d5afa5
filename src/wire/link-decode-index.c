/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-decode.h"

static bool index_entry_decode(const Link__IndexEntry *in, struct link_index_entry *ret) {
        *ret = (struct link_index_entry){
                .number = in->number,
                .epoch = in->epoch,
                .status = (enum job_status) in->status,
                .executor = in->executor,
                .has_exit_code = in->exit_code_plus_one > 0,
                .exit_code = in->exit_code_plus_one > 0 ? (int) (in->exit_code_plus_one - 1) : 0,
                .created_at = usec_decode(in->created_at_usec),
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .kept = in->kept,
        };
        if (in->status == JOB_UNKNOWN || in->status >= _JOB_STATUS_MAX || in->created_at_usec == 0 ||
            in->exit_code_plus_one > EXIT_CODE_MAX + 1 || in->executor > LINK_INDEX_ENTRIES_MAX ||
            in->epoch > LINK_EPOCH_MAX)
                return false;
        /* It has ended when it has an end, and only then. */
        return job_status_is_final(ret->status) == (in->finished_at_usec > 0) &&
               link_uuid_decode(&in->job, &ret->job);
}

static bool overruled_decode(const Link__Overruled *in, struct link_overruled *ret) {
        *ret = (struct link_overruled){
                .epoch = in->epoch,
                .status = (enum job_status) in->status,
                .owner = in->owner,
                .kept = in->kept,
        };
        return in->status < _JOB_STATUS_MAX && job_status_is_final(ret->status) &&
               in->epoch <= LINK_EPOCH_MAX && node_id_is_valid(in->owner) &&
               link_uuid_decode(&in->job, &ret->job);
}

static bool index_nodes_decode(const Link__LinkMessage *in, struct link_message *message) {
        if (in->n_index_nodes > LINK_INDEX_ENTRIES_MAX)
                return false;
        for (size_t i = 0; i < in->n_index_nodes; i++)
                if (!node_id_is_valid(in->index_nodes[i]))
                        return false;
        message->n_index_nodes = in->n_index_nodes;
        message->index_nodes = in->n_index_nodes > 0 ? (const char **) in->index_nodes : NULL;
        return true;
}

DEFINE_LIST_DECODE(index_entry, Link__IndexEntry, struct link_index_entry)
DEFINE_LIST_DECODE(overruled, Link__Overruled, struct link_overruled)

bool link_index_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {
        const Link__IndexAsk *ask = in->index_ask;
        const Link__IndexPart *part = in->index_part;

        message->has_index_ask = ask != NULL;
        if (ask)
                message->index_ask = (struct link_index_ask){
                        .generation = ask->generation,
                        .after = ask->after,
                        .room = ask->room,
                        .since = usec_decode(ask->since_usec),
                };
        message->has_index_part = part != NULL;
        if (part)
                message->index_part = (struct link_index_part){
                        .generation = part->generation,
                        .head = part->head,
                        .through = part->through,
                        .complete = part->complete,
                };
        if (part && (part->through > part->head || (part->complete && part->through < part->head)))
                return false;
        if (in->n_index_entries > (part ? LINK_INDEX_ENTRIES_MAX : 0))
                return false;
        if (!index_nodes_decode(in, message) || !index_entry_list_decode(
                                                        memory, in->index_entries, in->n_index_entries,
                                                        &message->index_entries, &message->n_index_entries))
                return false;
        for (size_t i = 0; i < message->n_index_entries; i++)
                if (message->index_entries[i].executor > message->n_index_nodes ||
                    message->index_entries[i].number > part->through)
                        return false;
        return in->n_overruled <= LINK_OVERRULED_MAX &&
               overruled_list_decode(
                       memory, in->overruled, in->n_overruled, &message->overruled, &message->n_overruled);
}
