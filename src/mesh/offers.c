/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A node that has room and nothing of its own that it could run asks for work: first the owner whose job it
 * ran last, which is likely to have more of the kind, then the one with the longest queue. It asks one at a
 * time, and the same one again only when that gave something, or has been heard anew: an owner whose jobs
 * are for others would be asked for ever. An owner whose queue grows says so at once, but not more than once
 * a second. */

#include "mesh/internal.h"

#define BACKLOG_INTERVAL_USEC USEC_PER_SEC

static bool may_be_asked(const struct place *place) {
        return place && place->alive && place->backlog > 0 && !place->offered;
}

static struct place *choose(struct mesh *mesh) {
        struct place *place, *best = mesh->served ? place_find(mesh, mesh->served->text) : NULL;

        if (may_be_asked(best))
                return best;
        best = NULL;
        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (may_be_asked(place) && (!best || place->backlog > best->backlog))
                        best = place;
        return best;
}

/* The owner subtracts from the offer what it gave and what we have not confirmed yet. */
static unsigned count_unconfirmed(const struct place *owner) {
        struct guest *guest;
        unsigned n = 0;

        LIST_FOREACH((struct list *) &owner->guests, guest, struct guest, place_link)
                n += guest->state == GUEST_ARRIVING;
        return n;
}

void offers_make(struct mesh *mesh) {
        size_t limit = hand_limit(mesh), taken = mesh->n_in_hand + mesh->n_guests_in_hand;
        struct link_message message = {};
        struct place *owner;

        if (!jobs_may_start(mesh) || mesh->n_waiting_here > 0 || taken >= limit)
                return;
        owner = choose(mesh);
        if (!owner)
                return;
        if (!owner->link_up || !owner->held_told) {
                place_want_link(mesh, owner);
                return;
        }
        message.room = (uint32_t) (limit - taken + count_unconfirmed(owner));
        owner->offered = place_send(mesh, owner, &message);
}

void backlog_tell(struct mesh *mesh) {
        usec_t now = mesh_now(mesh);

        if (list_is_empty(&mesh->open_classes) || mesh->n_peers == 0)
                return;
        if (now >= usec_add(mesh->backlog_told_usec, BACKLOG_INTERVAL_USEC) && queue_backlog(mesh) > 0) {
                mesh->backlog_told_usec = now;
                heartbeat_send(mesh);
        }
}
