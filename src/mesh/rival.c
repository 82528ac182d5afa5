/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Another process that speaks under this node's id: a copied state directory. Whoever came later gives way.
 * A recording of this node's own past must not be taken for one: a rival counts only while it echoes our
 * nonces. */

#include <syslog.h>

#include "mesh/internal.h"
#include "util/message-ids.h"

static void report(struct mesh *mesh, bool elder) {
        struct rival *rival = &mesh->rival;

        if (rival->reported && elder == rival->elder)
                return;
        rival->reported = true;
        rival->elder = elder;
        mesh->ops.notice(
                mesh->userdata, elder ? LOG_ERR : LOG_WARNING, MESSAGE_DUPLICATE_NODE,
                elder ? "another node with this node's id is running, and was there before: this one takes "
                        "no "
                        "work; give it a state directory of its own"
                      : "another node with this node's id has started; it should give way");
        mesh->ops.status_changed(mesh->userdata);
}

/* It is there: whose life is longer? Both count from their own start, so that no two clocks are compared. */
static void proven(struct mesh *mesh) {
        struct rival *rival = &mesh->rival;
        usec_t now = mesh_now(mesh);
        usec_t uptime = usec_sub(now, mesh->started_usec);
        usec_t its_uptime = usec_add(rival->uptime_usec, usec_sub(now, rival->uptime_heard_usec));

        rival->last_proven_usec = now;
        report(mesh,
               its_uptime > uptime || (its_uptime == uptime && rival->instance > mesh->config.instance));
}

static bool is_asked(const struct mesh *mesh) {
        const struct question *question = &mesh->rival.question;

        return question->asked && mesh_now(mesh) < usec_add(question->asked_usec, PROBE_AGAIN_USEC);
}

static void gone(struct mesh *mesh) {
        mesh->rival = (struct rival){ 0 };
        mesh->ops.notice(
                mesh->userdata, LOG_NOTICE, MESSAGE_DUPLICATE_NODE_GONE,
                "the other node with this node's id is gone");
        mesh->ops.status_changed(mesh->userdata);
        jobs_schedule(mesh);
}

void rival_heard(
        struct mesh *mesh, const struct mesh_message *message, const struct sockaddr_in *source,
        size_t datagram_size) {
        struct rival *rival = &mesh->rival;
        struct sockaddr_in address;

        /* Its questions are answered, or neither would ever be proven to the other. */
        if (message->has_nonce && mesh_now(mesh) >= usec_add(rival->answered_usec, RIVAL_ANSWER_USEC)) {
                rival->answered_usec = mesh_now(mesh);
                question_acknowledge(mesh, mesh->config.incarnation, message, source, datagram_size);
        }

        if (message->instance == rival->instance && question_is_answered(&rival->question, message)) {
                rival->question.asked = false;
                proven(mesh);
                return;
        }
        if (message->type == MESSAGE_GOODBYE && message->instance == rival->instance && rival->reported) {
                gone(mesh);
                return;
        }
        if (message->type != MESSAGE_HEARTBEAT || !message->has_node_info ||
            message->node_info.node_port == 0)
                return;
        /* One at a time: while one is proven to live, or has a moment left to answer, another one changes
         * nothing. */
        if (message->instance != rival->instance) {
                if (rival->reported || is_asked(mesh))
                        return;
                *rival = (struct rival){ .instance = message->instance,
                                         .answered_usec = rival->answered_usec };
        }
        rival->uptime_usec = message->node_info.uptime_usec;
        rival->uptime_heard_usec = mesh_now(mesh);
        question_address(message, source, &address);
        question_ask(mesh, &rival->question, &address, datagram_size);
}

void rival_check(struct mesh *mesh) {
        const struct rival *rival = &mesh->rival;

        if (rival->reported &&
            mesh_now(mesh) >= usec_add(rival->last_proven_usec, mesh->config.peer_timeout_usec))
                gone(mesh);
}
