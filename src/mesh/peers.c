/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who else is there. A peer is listed when it is first heard, and trusted to be there now (verified) when it
 * has echoed a nonce of ours: everything else may be a recording. Whoever has no key of the mesh can still
 * record, and send on, and get answers to recorded questions: so an answer counts only to who has asked.
 * What that can make us do is bounded: peers in number, questions by the second, and no answer is larger
 * than its question. */

#include <stdio.h>
#include <syslog.h>

#include "mesh/internal.h"

struct peer *peer_free(struct mesh *mesh, struct peer *peer) {
        if (!peer)
                return NULL;
        map_remove(&mesh->peers, &peer->by_id);
        mesh->n_peers--;
        free(peer);
        return NULL;
}

static void store_peer(struct mesh *mesh, struct peer *peer, enum record_type type) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (record_batch_new(1, &batch) < 0 || !(record = record_batch_add(batch, type)) ||
            !(record->peer = malloc(sizeof(*record->peer))))
                return; /* the table is for people to look at; the next change is written again */

        *record->peer = peer->public.info;
        record->peer->last_heartbeat_usec = peer->public.last_heard_at; /* by our clock, not by its own */
        record->at_usec = peer->public.last_heard_at;
        peer->stored_usec = mesh_now(mesh);
        mesh_write(mesh, TAKE_PTR(batch));
}

static void remove_peer(struct mesh *mesh, struct peer *peer) {
        char node_id[sizeof(peer->public.info.node_id)];

        memcpy(node_id, peer->public.info.node_id, sizeof(node_id));
        mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ true);
        if (peer->stored_usec > 0)
                store_peer(mesh, peer, RECORD_PEER_GONE);
        peer_free(mesh, peer);
        place_lost(mesh, node_id);
        claims_owner_gone(mesh, node_id);
        mesh->ops.status_changed(mesh->userdata);
}

static void note_departure(struct mesh *mesh, const struct mesh_message *goodbye) {
        mesh->departed[mesh->n_departed++ % DEPARTED_MAX] = (struct departed){
                .incarnation = goodbye->incarnation,
                .instance = goodbye->instance,
                .sequence = goodbye->sequence,
                .until_usec = usec_add(mesh_now(mesh), DEPARTED_USEC),
        };
}

/* Said before a goodbye that came a moment ago. A life is told by two numbers that no other node draws. */
static bool is_overtaken(const struct mesh *mesh, const struct mesh_message *message) {
        for (size_t i = 0; i < DEPARTED_MAX; i++) {
                const struct departed *departed = &mesh->departed[i];

                if (mesh_now(mesh) < departed->until_usec && message->instance == departed->instance &&
                    message->incarnation == departed->incarnation && message->sequence <= departed->sequence)
                        return true;
        }
        return false;
}

/* Room for one more: a recording or an invention goes before anything that answered. */
static bool make_room(struct mesh *mesh) {
        struct peer *peer, *oldest = NULL;

        if (mesh->n_peers < mesh->config.peers_max)
                return true;
        MAP_FOREACH(&mesh->peers, peer, struct peer, by_id)
                if (!peer->public.verified &&
                    (!oldest || peer->public.last_heard_usec < oldest->public.last_heard_usec))
                        oldest = peer;
        if (!oldest)
                return false;
        remove_peer(mesh, oldest);
        return true;
}

static struct peer *add_peer(struct mesh *mesh, const struct mesh_message *message) {
        struct peer *peer;

        if (!make_room(mesh))
                return NULL;
        peer = calloc(1, sizeof(*peer));
        if (!peer)
                return NULL;

        memcpy(peer->public.info.node_id, message->sender_node_id, sizeof(peer->public.info.node_id));
        peer->public.first_heard_usec = mesh_now(mesh);
        peer->public.trusted = true;
        if (map_add(&mesh->peers, &peer->by_id, peer->public.info.node_id,
                    strlen(peer->public.info.node_id)) < 0) {
                free(peer);
                return NULL;
        }
        mesh->n_peers++;
        return peer;
}

/* Somebody knows a later life of this node than this one: its state directory was put back to an older copy.
 */
static void raise_incarnation(struct mesh *mesh, uint64_t known) {
        if (known <= mesh->config.incarnation || known >= MESH_INCARNATION_MAX)
                return;
        mesh->config.incarnation = known + 1;
        mesh->ops.incarnation_raised(mesh->userdata, mesh->config.incarnation);
        hello_begin(mesh, 1);
        mesh->hello_due = mesh_now(mesh);
}

/* Whether the datagram is newer than all that was heard of this life of the peer. Incarnation 0 does not
 * count, and is taken as it comes. */
static bool is_news(struct peer *peer, const struct mesh_message *message) {
        if (message->incarnation == 0)
                return peer->public.incarnation == 0;
        return message->incarnation == peer->public.incarnation &&
               message->instance == peer->public.instance && message->sequence > peer->public.sequence;
}

static void begin_life(struct peer *peer, const struct mesh_message *message, bool verified) {
        peer->public.incarnation = message->incarnation;
        peer->public.instance = message->instance;
        peer->public.sequence = 0;
        peer->public.verified = verified;
        peer->question = peer->renewal.question = (struct question){ 0 };
}

/* A verified peer seems to have started anew. Until that has been proven the old life goes on: a forged
 * number must not make us deaf to a node that is there. Returns whether the message may be processed. */
static bool
renew(struct mesh *mesh, struct peer *peer, const struct mesh_message *message,
      const struct sockaddr_in *source, size_t datagram_size) {
        struct renewal *renewal = &peer->renewal;
        struct sockaddr_in address;
        bool claimed =
                message->incarnation == renewal->incarnation && message->instance == renewal->instance;

        /* Asked whether it still is there it says so in its new life: that is proof, too. */
        if ((claimed && question_is_answered(&renewal->question, message)) ||
            question_is_answered(&peer->question, message)) {
                begin_life(peer, message, /* verified= */ true);
                peer->public.address = *source;
                peer->here_usec = mesh_now(mesh);
                if (claimed && renewal->asks)
                        question_answer_later(mesh, peer, renewal->nonce);
                renewal->asks = false;
                return true;
        }
        /* The question, or its answer, may have been lost. */
        if (claimed && mesh_now(mesh) >= usec_add(renewal->question.asked_usec, RENEWAL_WAIT_USEC))
                renewal->question.asked = false;
        if (message->type != MESSAGE_HEARTBEAT || !message->has_node_info ||
            message->node_info.node_port == 0) {
                if (claimed)
                        question_ask(mesh, &renewal->question, &renewal->address, datagram_size);
                return false;
        }

        question_address(message, source, &address);
        if (!claimed) {
                if (renewal->question.asked &&
                    mesh_now(mesh) < usec_add(renewal->question.asked_usec, RENEWAL_WAIT_USEC))
                        return false;
                *renewal = (struct renewal){ .incarnation = message->incarnation,
                                             .instance = message->instance };
        }
        renewal->address = address;
        if (message->has_nonce && datagram_size >= DATAGRAM_MAX) {
                renewal->asks = true;
                memcpy(renewal->nonce, message->nonce, sizeof(renewal->nonce));
        }
        question_ask(mesh, &renewal->question, &address, datagram_size);
        return false;
}

/* Whether this message is to be processed, as part of the peer's present life or of a new one. */
static bool
belongs(struct mesh *mesh, struct peer *peer, const struct mesh_message *message,
        const struct sockaddr_in *source, size_t datagram_size) {
        if (message->incarnation > MESH_INCARNATION_MAX)
                return false;
        if (message->incarnation > peer->public.incarnation) {
                if (peer->public.verified)
                        return renew(mesh, peer, message, source, datagram_size);
                begin_life(peer, message, /* verified= */ false);
                return true;
        }
        if (is_news(peer, message))
                return true;

        /* An older life of a peer asks: it is told so where the peer is, since it may be a recording that
         * comes from anywhere, and nothing else. */
        if (message->has_nonce && message->incarnation > 0 &&
            message->incarnation < peer->public.incarnation)
                question_acknowledge(
                        mesh, peer->public.incarnation, message, &peer->public.address, datagram_size);
        return false;
}

void peer_take_info(struct mesh_peer *peer, const struct node_info *info) {
        const uint8_t *octets = (const uint8_t *) &peer->address.sin_addr;
        const uint8_t *port = (const uint8_t *) &peer->address.sin_port;
        char node_id[sizeof(info->node_id)];
        char host[INET_ADDRSTRLEN];

        /* The map's key is this very text: it stays where it is. */
        memcpy(node_id, peer->info.node_id, sizeof(node_id));
        peer->info = *info;
        memcpy(peer->info.node_id, node_id, sizeof(node_id));
        (void) snprintf(host, sizeof(host), "%u.%u.%u.%u", octets[0], octets[1], octets[2], octets[3]);
        (void) snprintf(
                peer->info.address, sizeof(peer->info.address), "%s:%u", host, port[0] << 8 | port[1]);
}

static bool same_address(const struct sockaddr_in *a, const struct sockaddr_in *b) {
        return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

/* Somebody may send on what he overheard, from an address of his own: a peer that is known to be somewhere
 * has moved only when it answers from the new place; it is asked when nothing comes from the old one any
 * more. */
static void
take_address(struct mesh *mesh, struct peer *peer, const struct sockaddr_in *address, size_t datagram_size) {
        usec_t now = mesh_now(mesh), interval = peer->public.info.heartbeat_interval_usec;

        if (!peer->public.verified || same_address(address, &peer->public.address)) {
                peer->public.address = *address;
                peer->here_usec = now;
                return;
        }
        if (now < usec_add(peer->here_usec, MIN(interval, PEER_INTERVAL_MAX_USEC)))
                return;
        if (!same_address(address, &peer->move_address)) {
                if (peer->move.asked && now < usec_add(peer->move.asked_usec, RENEWAL_WAIT_USEC))
                        return;
                peer->move = (struct question){ 0 };
                peer->move_address = *address;
        }
        question_ask(mesh, &peer->move, address, datagram_size);
}

static void
heard(struct mesh *mesh, struct peer *peer, const struct mesh_message *message,
      const struct mesh_origin *origin, bool is_new) {
        enum node_status status = peer->public.info.status;
        usec_t now = mesh_now(mesh);
        struct sockaddr_in address;
        bool changed;

        peer->public.sequence = message->sequence;
        peer->public.last_heard_usec = now;
        peer->public.last_heard_at = mesh->ops.now_realtime(mesh->userdata);
        suspicion_heard(mesh, peer);
        if (!message->has_node_info)
                return;

        question_address(message, &origin->address, &address);
        take_address(mesh, peer, &address, origin->size);
        peer_take_info(&peer->public, &message->node_info);
        changed = is_new || status != peer->public.info.status;
        if (changed) {
                mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ false);
                mesh->ops.status_changed(mesh->userdata);
        }
        if (peer->public.verified &&
            now >= usec_add(peer->stored_usec, changed ? PEER_STORE_CHANGE_USEC : PEER_STORE_INTERVAL_USEC))
                store_peer(mesh, peer, RECORD_PEER);
}

static bool answers_hello(const struct mesh *mesh, const struct mesh_message *message) {
        return message->has_echo && mesh->hello_sent_usec > 0 &&
               mesh_now(mesh) < usec_add(mesh->hello_sent_usec, HELLO_ANSWER_USEC) &&
               memcmp(message->echo, mesh->hello_nonce, NONCE_SIZE) == 0;
}

/* An answer to a question of ours, and not a recording, or an answer to somebody else. */
static bool is_answer(const struct mesh *mesh, const struct peer *peer, const struct mesh_message *message) {
        return answers_hello(mesh, message) || question_is_answered(&peer->question, message) ||
               question_is_answered(&peer->move, message) ||
               question_is_answered(&peer->renewal.question, message);
}

/* It is there. A peer that was not known yet is where its answer comes from, since everything is sent from
 * the node port; another one where it was, unless it was asked whether it has moved, and answers from there.
 */
static void take_answer(
        struct mesh *mesh, struct peer *peer, const struct mesh_message *message,
        const struct sockaddr_in *source) {
        bool moves = question_is_answered(&peer->move, message) && same_address(source, &peer->move_address);

        if (!peer->public.verified || moves) {
                peer->public.address = *source;
                peer->here_usec = mesh_now(mesh);
                peer->move = (struct question){ 0 };
        }
        raise_incarnation(mesh, message->known_incarnation);
        if (peer->public.verified)
                return;
        peer->public.verified = true;
        peer->question.asked = false;
        suspicion_heard(mesh, peer); /* from now on it is judged */
        mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ false);
        store_peer(mesh, peer, RECORD_PEER);
}

struct peer *peer_find(struct mesh *mesh, const char *node_id) {
        return MAP_GET(&mesh->peers, node_id, strlen(node_id), struct peer, by_id);
}

bool peer_is_here(struct mesh *mesh, const char *node_id) {
        const struct peer *peer = peer_find(mesh, node_id);

        return peer && peer->public.verified && !peer->public.lost;
}

/* A word over its link is as good as a heartbeat. */
void peer_heard_on_link(struct mesh *mesh, const char *node_id) {
        struct peer *peer = peer_find(mesh, node_id);

        if (!peer || !peer->public.verified)
                return;
        peer->public.last_heard_usec = mesh_now(mesh);
        peer->public.last_heard_at = mesh->ops.now_realtime(mesh->userdata);
        if (!peer->public.lost && peer->n_probes == 0)
                return;
        suspicion_heard(mesh, peer);
        place_heard(mesh, peer);
}

/* A member that is not listed yet; NULL: it is not to be, or cannot. */
static struct peer *
meet(struct mesh *mesh, const struct mesh_message *message, const struct mesh_origin *origin) {
        /* A node that has just started does not know yet who asks whether it is there. */
        if (message->type == MESSAGE_PROBE && message->has_nonce)
                question_acknowledge(mesh, 0, message, &origin->address, origin->size);
        if (message->type != MESSAGE_HEARTBEAT || !message->has_node_info || is_overtaken(mesh, message) ||
            (message->has_echo && !answers_hello(mesh, message)))
                return NULL;
        strangers_remove(mesh, message->sender_node_id);
        return add_peer(mesh, message);
}

static void
peer_received(struct mesh *mesh, const struct mesh_message *message, const struct mesh_origin *origin) {
        struct peer *peer = peer_find(mesh, message->sender_node_id);
        bool is_new = !peer;

        if (is_new)
                peer = meet(mesh, message, origin);
        if (!peer)
                return;
        bool answers = is_answer(mesh, peer, message);
        if (!belongs(mesh, peer, message, &origin->address, origin->size))
                return;
        if (message->type == MESSAGE_GOODBYE) {
                note_departure(mesh, message);
                remove_peer(mesh, peer);
                return;
        }

        /* Anybody can have a node answer, as often as he likes: that it did is no sign of its life. That it
         * asks is one: it does so rarely, unless it is in doubt itself. */
        if (message->has_echo && !answers) {
                suspicion_doubt(mesh, peer);
                if (message->has_nonce)
                        question_answer(mesh, peer, message, origin->size);
                return;
        }

        heard(mesh, peer, message, origin, is_new);
        if (answers)
                take_answer(mesh, peer, message, &origin->address);
        if (message->has_nonce)
                question_answer(mesh, peer, message, origin->size);
        else if (!peer->public.verified && peer->public.info.node_port > 0)
                question_ask(mesh, &peer->question, &peer->public.address, origin->size);
        place_heard(mesh, peer);
}

void mesh_received(struct mesh *mesh, const struct mesh_message *message, const struct mesh_origin *origin) {
        bool is_own = streq(message->sender_node_id, mesh->config.node_id);

        if (!mesh->working || mesh->stopping)
                return;
        if (!origin->trusted) {
                /* A member's name in the mouth of a stranger changes nothing. */
                if (!is_own && !peer_find(mesh, message->sender_node_id))
                        strangers_heard(mesh, message, &origin->address);
        } else if (!is_own)
                peer_received(mesh, message, origin);
        else if (message->instance != mesh->config.instance)
                rival_heard(mesh, message, &origin->address, origin->size);
        mesh_arm(mesh);
}

/* Our limit, or three of the intervals that it announces. */
static usec_t silence_limit(const struct mesh *mesh, const struct node_info *info) {
        usec_t announced = MIN(info->heartbeat_interval_usec, PEER_INTERVAL_MAX_USEC);

        return MAX(mesh->config.peer_timeout_usec, announced * 3);
}

void peers_check(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), next = usec_add(now, mesh->config.peer_timeout_usec);
        struct peer *peer;

        MAP_FOREACH(&mesh->peers, peer, struct peer, by_id) {
                usec_t limit =
                        usec_add(peer->public.last_heard_usec, silence_limit(mesh, &peer->public.info));

                limit = MAX(limit, mesh->judge_after_usec);
                if (now >= limit)
                        remove_peer(mesh, peer);
                else
                        next = MIN(next, MIN(limit, suspicion_check(mesh, peer)));
        }
        next = MIN(next, strangers_check(mesh));
        places_check_unheard(mesh);
        if (mesh->rival.reported)
                next = MIN(next, usec_add(mesh->rival.last_proven_usec, mesh->config.peer_timeout_usec));
        /* Not more often than it matters to anybody. */
        mesh->peers_due = MAX(next, usec_add(now, 100 * USEC_PER_MSEC));
}
