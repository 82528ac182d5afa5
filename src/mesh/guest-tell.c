/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What owners hear of their runs here: what is held when a link is up, ends, and pieces of kept output. */

#include "mesh/internal.h"
#include "mesh/job-link.h"

#define HELD_PER_MESSAGE 1024u

void guest_tell_end(struct mesh *mesh, struct guest *guest) {
        struct link_ended ended;
        const struct link_message message = { .n_ended = 1, .ended = &ended };

        if (guest->told || !guest->owner->held_told)
                return;
        job_result_to_link(guest->result, &ended);
        guest->told = place_send(mesh, guest->owner, &message);
}

/* An end, or that nobody needs it any more. */

void guest_read(struct mesh *mesh, struct place *owner, const struct link_read *read) {
        struct guest *guest = guest_of_owner(mesh, owner, &read->run);
        struct link_piece piece = { .id = read->id, .error = -ENOENT, .offset = read->offset };
        const struct link_message message = { .n_pieces = 1, .pieces = &piece };

        if (guest && guest->result) {
                const struct job_output *output =
                        read->stream == 1 ? &guest->result->stdout_output : &guest->result->stderr_output;

                piece.error = 0;
                piece.total = output->total;
                if (read->offset < output->size) {
                        piece.data = output->data + read->offset;
                        piece.size = MIN(output->size - (size_t) read->offset, (size_t) LINK_PIECE_MAX);
                }
                piece.ended = read->offset + piece.size >= output->size;
        }
        place_send_or_close(mesh, owner, &message);
}

static enum link_held_state held_state(const struct guest *guest) {
        switch (guest->state) {
        case GUEST_RUNNING:
                return LINK_HELD_RUNNING;
        case GUEST_ENDING:
        case GUEST_ENDED:
        case GUEST_GOING:
                return LINK_HELD_ENDED;
        case GUEST_ARRIVING:
        case GUEST_WAITING:
        case GUEST_SENT:
        case _GUEST_STATE_MAX:
                break;
        }
        return LINK_HELD_WAITING;
}

struct link_held guest_held(const struct guest *guest) {
        return (struct link_held){
                .run = guest->run,
                .state = held_state(guest),
                .started_at = guest->started_at,
        };
}

void guest_tell_held(struct mesh *mesh, const struct guest *guest) {
        struct link_held held = guest_held(guest);
        const struct link_message message = { .n_held = 1, .held = &held };

        (void) place_send(mesh, guest->owner, &message);
}

/* All that we have of this owner's. What is on its way to the disk is told of like the rest: the owner sends
 * it again otherwise, and that costs more than a run that may be refused yet. */
void guests_tell_held(struct mesh *mesh, struct place *owner) {
        struct link_held held[HELD_PER_MESSAGE];
        struct link_message message = { .held = held };
        struct guest *guest;

        LIST_FOREACH(&owner->guests, guest, struct guest, place_link) {
                guest->told = false;
                guest->confirmed = false;
                held[message.n_held++] = guest_held(guest);
                if (message.n_held == HELD_PER_MESSAGE) {
                        (void) place_send(mesh, owner, &message);
                        message.n_held = 0;
                }
        }
        message.held_complete = true;
        message.held_version = mesh->held_version;
        owner->held_told = place_send(mesh, owner, &message);
        guests_tell_ends(mesh, owner);
}

/* As many as the link takes now. */
void guests_tell_ends(struct mesh *mesh, struct place *owner) {
        struct guest *guest;

        LIST_FOREACH(&owner->guests, guest, struct guest, place_link)
                if (guest->state == GUEST_ENDED && !guest->told) {
                        guest_tell_end(mesh, guest);
                        if (!guest->told)
                                return;
                }
}

void guests_confirm(struct mesh *mesh, struct place *owner) {
        struct guest *guest;

        LIST_FOREACH(&owner->guests, guest, struct guest, place_link)
                guest->confirmed = true;
        guests_start(mesh);
}
