/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions and answers: who echoes a fresh nonce is there now, and no recording. A forger must not make us
 * a lever against others: questions are counted by the second, and no answer is larger than its question. */

#include "mesh/internal.h"

/* Questions that come from nobody in particular must not use up our own. */
static bool spend(struct second_budget *budget, usec_t now) {
        if (now / USEC_PER_SEC != budget->second) {
                budget->second = now / USEC_PER_SEC;
                budget->left = PROBES_PER_SEC;
        }
        if (budget->left == 0)
                return false;
        budget->left--;
        return true;
}

static void set_nonce(struct mesh *mesh, struct question *question, struct mesh_message *message) {
        mesh->ops.random(mesh->userdata, question->nonce, sizeof(question->nonce));
        question->asked = true;
        question->asked_usec = mesh_now(mesh);
        message->has_nonce = true;
        memcpy(message->nonce, question->nonce, sizeof(message->nonce));
}

void question_probe(struct mesh *mesh, struct peer *peer) {
        struct mesh_message message;

        heartbeat_fill(mesh, MESSAGE_PROBE, &message);
        /* The same question again: whichever answer comes counts, however late it is. */
        if (peer->n_probes > 0 && peer->question.asked) {
                message.has_nonce = true;
                memcpy(message.nonce, peer->question.nonce, sizeof(message.nonce));
        } else
                set_nonce(mesh, &peer->question, &message);
        mesh->ops.send(mesh->userdata, &peer->public.address, &message, /* pad= */ false);
}

bool question_is_answered(const struct question *question, const struct mesh_message *message) {
        return question->asked && message->has_echo &&
               memcmp(message->echo, question->nonce, NONCE_SIZE) == 0;
}

/* Where a node is asked: where its datagram came from, at the port that it names. */
void question_address(
        const struct mesh_message *message, const struct sockaddr_in *source, struct sockaddr_in *ret) {
        uint16_t port = message->node_info.node_port;

        *ret = *source;
        if (port > 0)
                memcpy(&ret->sin_port, (uint8_t[]){ (uint8_t) (port >> 8), (uint8_t) port },
                       sizeof(ret->sin_port));
}

void question_ask(
        struct mesh *mesh, struct question *question, const struct sockaddr_in *address,
        size_t datagram_size) {
        usec_t now = mesh_now(mesh);
        struct mesh_message message;

        if (datagram_size < PROBE_SIZE)
                return; /* the question would be larger than what gave rise to it */
        if (question->asked && now < usec_add(question->asked_usec, PROBE_AGAIN_USEC))
                return;
        if (!spend(&mesh->probes, now))
                return;

        heartbeat_fill(mesh, MESSAGE_PROBE, &message);
        set_nonce(mesh, question, &message);
        mesh->ops.send(mesh->userdata, address, &message, /* pad= */ false);
}

void question_acknowledge(
        struct mesh *mesh, uint64_t known_incarnation, const struct mesh_message *question,
        const struct sockaddr_in *address, size_t datagram_size) {
        struct mesh_message message;

        if (datagram_size < PROBE_SIZE || !spend(&mesh->acknowledgements, mesh_now(mesh)))
                return;
        /* Who says hello may not know us yet, and only a heartbeat makes us known. */
        heartbeat_fill(
                mesh, datagram_size >= DATAGRAM_MAX ? MESSAGE_HEARTBEAT : MESSAGE_PROBE_ACK, &message);
        message.has_echo = true;
        message.known_incarnation = known_incarnation;
        memcpy(message.echo, question->nonce, sizeof(message.echo));
        mesh->ops.send(mesh->userdata, address, &message, /* pad= */ false);
}

/* A hello is answered in full, after a random moment: many answer the same one. */
void question_answer_later(struct mesh *mesh, struct peer *peer, const uint8_t nonce[static NONCE_SIZE]) {
        uint64_t jitter;

        mesh->ops.random(mesh->userdata, &jitter, sizeof(jitter));
        memcpy(peer->answer_echo, nonce, sizeof(peer->answer_echo));
        if (peer->answer_wanted)
                return;
        peer->answer_wanted = true;
        peer->answer_at_usec = usec_add(mesh_now(mesh), jitter % ANSWER_JITTER_USEC);
        mesh->answers_due = MIN(mesh->answers_due, peer->answer_at_usec);
}

/* A peer asks: a probe is answered at once and briefly. */
void question_answer(
        struct mesh *mesh, struct peer *peer, const struct mesh_message *message, size_t datagram_size) {
        if (message->type == MESSAGE_PROBE || datagram_size < DATAGRAM_MAX)
                question_acknowledge(
                        mesh, peer->public.incarnation, message, &peer->public.address, datagram_size);
        else
                question_answer_later(mesh, peer, message->nonce);
}

void questions_send_answers(struct mesh *mesh) {
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
                        set_nonce(mesh, &peer->question, &message);
                mesh->ops.send(mesh->userdata, &peer->public.address, &message, /* pad= */ false);
        }
        mesh->answers_due = next;
}
