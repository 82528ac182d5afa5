/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who else is there. A peer is listed when it is first heard, and trusted to be there now (verified) when it
 * has echoed a nonce of ours: everything else may be a recording. What strangers can make us do is bounded:
 * peers in number, questions by the second, and no answer is larger than its question. */

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
        mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ true);
        if (peer->stored_usec > 0)
                store_peer(mesh, peer, RECORD_PEER_GONE);
        peer_free(mesh, peer);
        mesh->ops.status_changed(mesh->userdata);
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
        if (map_add(&mesh->peers, &peer->by_id, peer->public.info.node_id,
                    strlen(peer->public.info.node_id)) < 0) {
                free(peer);
                return NULL;
        }
        mesh->n_peers++;
        return peer;
}

/* Small messages to addresses that a datagram claims to come from: a forger must not make us a lever. */
static bool may_ask(struct mesh *mesh, usec_t now) {
        if (now / USEC_PER_SEC != mesh->probes_second) {
                mesh->probes_second = now / USEC_PER_SEC;
                mesh->probes_left = PROBES_PER_SEC;
        }
        if (mesh->probes_left == 0)
                return false;
        mesh->probes_left--;
        return true;
}

static void set_nonce(struct mesh *mesh, struct peer *peer, struct mesh_message *message) {
        mesh->ops.random(mesh->userdata, peer->nonce, sizeof(peer->nonce));
        peer->asked = true;
        peer->asked_usec = mesh_now(mesh);
        message->has_nonce = true;
        memcpy(message->nonce, peer->nonce, sizeof(message->nonce));
}

/* Asks a peer that was heard and has not proven to be there. */
static void probe(struct mesh *mesh, struct peer *peer, size_t datagram_size) {
        usec_t now = mesh_now(mesh);
        struct mesh_message message;

        if (peer->public.info.node_port == 0 || datagram_size < PROBE_SIZE - 2)
                return; /* a node that cannot be asked stays unverified */
        if (peer->asked && now < usec_add(peer->asked_usec, PROBE_AGAIN_USEC))
                return;
        if (!may_ask(mesh, now))
                return;

        heartbeat_fill(mesh, MESSAGE_PROBE, &message);
        set_nonce(mesh, peer, &message);
        mesh->ops.send(mesh->userdata, &peer->public.address, &message, /* pad= */ false);
}

static void acknowledge(
        struct mesh *mesh, const struct peer *peer, const uint8_t nonce[static NONCE_SIZE],
        const struct sockaddr_in *address) {
        struct mesh_message message;

        if (!may_ask(mesh, mesh_now(mesh)))
                return;
        heartbeat_fill(mesh, MESSAGE_PROBE_ACK, &message);
        message.has_echo = true;
        message.known_incarnation = peer ? peer->public.incarnation : 0;
        memcpy(message.echo, nonce, sizeof(message.echo));
        mesh->ops.send(mesh->userdata, address, &message, /* pad= */ false);
}

/* A question: a probe is answered at once and briefly, a hello after a random moment and in full. */
static void
answer(struct mesh *mesh, struct peer *peer, const struct mesh_message *message, size_t datagram_size) {
        uint64_t jitter;

        if (datagram_size < PROBE_SIZE - 2)
                return; /* the answer would be larger than the question */
        if (message->type == MESSAGE_PROBE || datagram_size < HELLO_SIZE) {
                acknowledge(mesh, peer, message->nonce, &peer->public.address);
                return;
        }

        mesh->ops.random(mesh->userdata, &jitter, sizeof(jitter));
        memcpy(peer->answer_echo, message->nonce, sizeof(peer->answer_echo));
        if (peer->answer_wanted)
                return;
        peer->answer_wanted = true;
        peer->answer_at_usec = usec_add(mesh_now(mesh), jitter % ANSWER_JITTER_USEC);
        mesh->answers_due = MIN(mesh->answers_due, peer->answer_at_usec);
}

void peers_send_answers(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), next = USEC_INFINITY;
        struct peer *peer;

        MAP_FOREACH(&mesh->peers, peer, struct peer, by_id) {
                struct mesh_message message;

                if (!peer->answer_wanted)
                        continue;
                if (peer->answer_at_usec > now) {
                        next = MIN(next, peer->answer_at_usec);
                        continue;
                }
                peer->answer_wanted = false;
                heartbeat_fill(mesh, MESSAGE_HEARTBEAT, &message);
                message.has_echo = true;
                message.known_incarnation = peer->public.incarnation;
                memcpy(message.echo, peer->answer_echo, sizeof(message.echo));
                if (!peer->public.verified)
                        set_nonce(mesh, peer, &message);
                mesh->ops.send(mesh->userdata, &peer->public.address, &message, /* pad= */ false);
        }
        mesh->answers_due = next;
}

/* Another process speaks under our id: a copied state directory. Whoever came later gives way. */
static void rival_heard(struct mesh *mesh, const struct mesh_message *message) {
        struct rival *rival = &mesh->rival;
        usec_t now = mesh_now(mesh), uptime = usec_sub(now, mesh->started_usec);
        usec_t its_uptime = message->node_info.uptime_usec;
        bool elder;

        if (message->type == MESSAGE_GOODBYE) {
                if (rival->instance == message->instance)
                        rival->last_heard_usec = 0;
                peers_rival_check(mesh);
                return;
        }
        if (!message->has_node_info)
                return;
        if (rival->instance != message->instance)
                *rival = (struct rival){ .instance = message->instance,
                                         .elder = rival->elder,
                                         .reported = rival->reported };
        if (rival->heard > 0 && message->sequence <= rival->sequence)
                return;
        rival->sequence = message->sequence;
        rival->heard++;
        rival->last_heard_usec = now;
        if (rival->heard < 2)
                return;

        elder = its_uptime > uptime || (its_uptime == uptime && message->instance > mesh->config.instance);
        if (!rival->reported || elder != rival->elder) {
                rival->reported = true;
                rival->elder = elder;
                mesh->ops.notice(
                        mesh->userdata, elder ? LOG_ERR : LOG_WARNING,
                        elder ? "another node with this node's id is running, and was there before: this "
                                "one takes no work; give it a state directory of its own"
                              : "another node with this node's id has started; it should give way");
                mesh->ops.status_changed(mesh->userdata);
        }
}

void peers_rival_check(struct mesh *mesh) {
        struct rival *rival = &mesh->rival;

        if (!rival->reported ||
            mesh_now(mesh) < usec_add(rival->last_heard_usec, mesh->config.peer_timeout_usec))
                return;
        *rival = (struct rival){ 0 };
        mesh->ops.notice(mesh->userdata, LOG_NOTICE, "the other node with this node's id is gone");
        mesh->ops.status_changed(mesh->userdata);
        jobs_schedule(mesh);
}

/* Somebody knows a later life of this node than this one: its state directory was put back to an older copy.
 */
static void raise_incarnation(struct mesh *mesh, uint64_t known) {
        if (known <= mesh->config.incarnation || known == UINT64_MAX)
                return;
        mesh->config.incarnation = known + 1;
        mesh->ops.incarnation_raised(mesh->userdata, mesh->config.incarnation);
        hello_begin(mesh, 1);
        mesh->hello_due = mesh_now(mesh);
}

/* Whether the datagram is newer than all that was heard of this peer. Incarnation 0 does not count, and is
 * taken as it comes. */
static bool is_news(struct mesh *mesh, struct peer *peer, const struct mesh_message *message) {
        if (message->incarnation == 0)
                return peer->public.incarnation == 0;
        if (message->incarnation < peer->public.incarnation)
                return false;
        if (message->incarnation == peer->public.incarnation)
                return message->instance == peer->public.instance &&
                       message->sequence > peer->public.sequence;

        /* A new life: what it proved before counts no more. */
        peer->public.incarnation = message->incarnation;
        peer->public.instance = message->instance;
        peer->public.verified = false;
        peer->asked = false;
        return true;
}

static void
take_node_info(struct peer *peer, const struct mesh_message *message, const struct sockaddr_in *source) {
        struct node_info *info = &peer->public.info;
        char node_id[sizeof(info->node_id)];
        char host[INET_ADDRSTRLEN];
        const uint8_t *octets = (const uint8_t *) &source->sin_addr;

        /* The map's key is this very text: it stays where it is. */
        memcpy(node_id, info->node_id, sizeof(node_id));
        *info = message->node_info;
        memcpy(info->node_id, node_id, sizeof(node_id));

        peer->public.address = *source;
        if (info->node_port > 0) {
                uint8_t port[2] = { (uint8_t) (info->node_port >> 8), (uint8_t) info->node_port };

                memcpy(&peer->public.address.sin_port, port, sizeof(port));
        }
        (void) snprintf(host, sizeof(host), "%u.%u.%u.%u", octets[0], octets[1], octets[2], octets[3]);
        {
                const uint8_t *port = (const uint8_t *) &peer->public.address.sin_port;

                (void) snprintf(info->address, sizeof(info->address), "%s:%u", host, port[0] << 8 | port[1]);
        }
}

static void
heard(struct mesh *mesh, struct peer *peer, const struct mesh_message *message,
      const struct sockaddr_in *source, bool is_new) {
        enum node_status status = peer->public.info.status;
        usec_t now = mesh_now(mesh);
        bool changed;

        peer->public.sequence = message->sequence;
        peer->public.last_heard_usec = now;
        peer->public.last_heard_at = mesh->ops.now_realtime(mesh->userdata);
        if (!message->has_node_info)
                return;

        take_node_info(peer, message, source);
        changed = is_new || status != peer->public.info.status;
        if (changed) {
                mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ false);
                mesh->ops.status_changed(mesh->userdata);
        }
        if (peer->public.verified &&
            now >= usec_add(peer->stored_usec, changed ? PEER_STORE_CHANGE_USEC : PEER_STORE_INTERVAL_USEC))
                store_peer(mesh, peer, RECORD_PEER);
}

/* An answer to a fresh question of ours, and not a recording of an older one. */
static void take_echo(struct mesh *mesh, struct peer *peer, const struct mesh_message *message) {
        bool ours = memcmp(message->echo, mesh->hello_nonce, NONCE_SIZE) == 0 ||
                    (peer->asked && memcmp(message->echo, peer->nonce, NONCE_SIZE) == 0);

        if (!ours)
                return;
        raise_incarnation(mesh, message->known_incarnation);
        if (peer->public.verified)
                return;
        peer->public.verified = true;
        peer->asked = false;
        mesh->ops.peer_changed(mesh->userdata, &peer->public, /* gone= */ false);
        store_peer(mesh, peer, RECORD_PEER);
}

void mesh_received(
        struct mesh *mesh, const struct mesh_message *message, const struct sockaddr_in *source,
        size_t datagram_size) {
        struct peer *peer;
        bool is_new = false;

        if (!mesh->working || mesh->stopping)
                return;
        if (streq(message->sender_node_id, mesh->config.node_id)) {
                if (message->instance != mesh->config.instance)
                        rival_heard(mesh, message);
                return;
        }

        peer = MAP_GET(
                &mesh->peers, message->sender_node_id, strlen(message->sender_node_id), struct peer, by_id);
        if (!peer) {
                if (message->type != MESSAGE_HEARTBEAT || !message->has_node_info)
                        return;
                peer = add_peer(mesh, message);
                if (!peer)
                        return;
                is_new = true;
        }

        if (!is_news(mesh, peer, message)) {
                /* An older life of a peer asks: it is told so, and nothing else. */
                if (message->has_nonce && message->incarnation > 0 &&
                    message->incarnation < peer->public.incarnation && datagram_size >= PROBE_SIZE - 2)
                        acknowledge(mesh, peer, message->nonce, source);
                return;
        }
        if (message->type == MESSAGE_GOODBYE) {
                remove_peer(mesh, peer);
                mesh_arm(mesh);
                return;
        }

        heard(mesh, peer, message, source, is_new);
        if (message->has_echo)
                take_echo(mesh, peer, message);
        if (message->has_nonce)
                answer(mesh, peer, message, datagram_size);
        if (!peer->public.verified && !message->has_nonce)
                probe(mesh, peer, datagram_size);
        mesh_arm(mesh);
}

/* How long this peer may be silent: our limit, or three of the intervals that it announces. */
static usec_t silence_limit(const struct mesh *mesh, const struct peer *peer) {
        usec_t announced = MIN(peer->public.info.heartbeat_interval_usec, PEER_INTERVAL_MAX_USEC);

        return MAX(mesh->config.peer_timeout_usec, announced * 3);
}

void peers_check(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), next = usec_add(now, mesh->config.peer_timeout_usec);
        struct peer *peer;

        MAP_FOREACH(&mesh->peers, peer, struct peer, by_id) {
                usec_t limit = usec_add(peer->public.last_heard_usec, silence_limit(mesh, peer));

                limit = MAX(limit, mesh->judge_after_usec);
                if (now >= limit)
                        remove_peer(mesh, peer);
                else
                        next = MIN(next, limit);
        }
        /* Not more often than it matters to anybody. */
        mesh->peers_due = MAX(next, usec_add(now, 100 * USEC_PER_MSEC));
}
