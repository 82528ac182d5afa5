/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When a peer is lost. Each is judged by the heartbeat interval that it announces. One heartbeat missed: it
 * is asked directly, some times, and over a link, which is opened for that: a datagram may get lost, while
 * what is on a link is sent again by the kernel. Whatever it says counts as life. No answer: it is
 * suspected, and a moment later it is lost: its attempts are given up, while it stays in the list until
 * PeerTimeout=. A node that was paused itself judges nobody before it has listened again (Lifeguard, arXiv
 * 1707.00788). */

#include "mesh/internal.h"

/* When the next heartbeat is certainly late: the interval, its jitter of a tenth, and some more for the way.
 */
static usec_t heartbeat_missed_at(const struct mesh *mesh, const struct peer *peer) {
        usec_t interval = peer->public.info.heartbeat_interval_usec;

        if (interval == 0)
                interval = mesh->config.heartbeat_interval_usec;
        interval = MIN(interval, PEER_INTERVAL_MAX_USEC);
        return usec_add(peer->public.last_heard_usec, interval + interval / 5);
}

/* Whether there is another one to come. */
static bool probe(struct mesh *mesh, struct peer *peer) {
        struct place *place = place_find(mesh, peer->public.info.node_id);
        const struct link_message ping = { .ping = true };

        question_probe(mesh, peer);
        if (place && !place->link_up)
                place_want_link(mesh, place);
        if (place && place->link_up && peer->n_probes % 3 == 0)
                (void) place_send(mesh, place, &ping);
        peer->n_probes++;
        return peer->n_probes < SUSPICION_PROBES;
}

static void lose(struct mesh *mesh, struct peer *peer) {
        char node_id[sizeof(peer->public.info.node_id)];

        peer->public.lost = true;
        memcpy(node_id, peer->public.info.node_id, sizeof(node_id));
        mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ false);
        place_lost(mesh, node_id);
}

void suspicion_heard(struct mesh *mesh, struct peer *peer) {
        peer->n_probes = 0;
        peer->doubted = false;
        peer->probe_due = 0;
        peer->public.lost = false;
        if (peer->public.verified)
                mesh->peers_due = MIN(mesh->peers_due, heartbeat_missed_at(mesh, peer));
}

/* Something came that it has made, and may have made before it was gone. Once, it is asked some more. */
void suspicion_doubt(struct mesh *mesh, struct peer *peer) {
        if (!peer->public.verified || peer->public.lost || peer->doubted ||
            peer->n_probes <= SUSPICION_PROBES - SUSPICION_MORE)
                return;
        peer->doubted = true;
        peer->n_probes = SUSPICION_PROBES - SUSPICION_MORE;
}

/* When this peer is to be looked at again; USEC_INFINITY: not before it is heard. */
usec_t suspicion_check(struct mesh *mesh, struct peer *peer) {
        usec_t now = mesh_now(mesh), missed = heartbeat_missed_at(mesh, peer);

        if (!peer->public.verified || peer->public.lost)
                return USEC_INFINITY;
        missed = MAX(missed, mesh->judge_after_usec);
        if (now < missed)
                return missed;
        if (now < peer->probe_due)
                return peer->probe_due;
        if (peer->n_probes >= SUSPICION_PROBES) {
                lose(mesh, peer);
                return USEC_INFINITY;
        }
        peer->probe_due = usec_add(now, probe(mesh, peer) ? SUSPICION_PROBE_USEC : SUSPICION_WAIT_USEC);
        return peer->probe_due;
}
