/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Nodes that are heard and cannot show that they belong to the mesh: another mesh on the same network, a
 * machine that has not joined yet, an invention. They are listed, so that a person sees them, so many and no
 * more; they are asked nothing, answered nothing, and what they say is believed by nobody. */

#include "mesh/internal.h"

static struct stranger *find(const struct mesh *mesh, const char *node_id) {
        return MAP_GET(&mesh->strangers, node_id, strlen(node_id), struct stranger, by_id);
}

static void remove_stranger(struct mesh *mesh, struct stranger *stranger) {
        mesh->ops.peer_changed(mesh->userdata, &stranger->public, /* gone= */ true);
        map_remove(&mesh->strangers, &stranger->by_id);
        mesh->n_strangers--;
        free(stranger);
        mesh->ops.status_changed(mesh->userdata);
}

/* Whoever comes when there is no room is not listed: no churn, however many are invented. */
static struct stranger *add(struct mesh *mesh, const char *node_id) {
        struct stranger *stranger;

        if (mesh->n_strangers >= STRANGERS_MAX)
                return NULL;
        stranger = calloc(1, sizeof(*stranger));
        if (!stranger)
                return NULL;
        strcpy(stranger->public.info.node_id, node_id);
        if (map_add(&mesh->strangers, &stranger->by_id, stranger->public.info.node_id, strlen(node_id)) <
            0) {
                free(stranger);
                return NULL;
        }
        stranger->public.first_heard_usec = mesh_now(mesh);
        mesh->n_strangers++;
        return stranger;
}

void strangers_heard(
        struct mesh *mesh, const struct mesh_message *message, const struct sockaddr_in *source) {
        struct stranger *stranger = find(mesh, message->sender_node_id);
        bool is_new = !stranger;
        enum node_status status;

        if (message->type != MESSAGE_HEARTBEAT || !message->has_node_info)
                return;
        if (is_new)
                stranger = add(mesh, message->sender_node_id);
        if (!stranger)
                return;
        stranger->public.last_heard_usec = mesh_now(mesh);
        stranger->public.last_heard_at = mesh->ops.now_realtime(mesh->userdata);
        status = stranger->public.info.status;
        question_address(message, source, &stranger->public.address);
        peer_take_info(&stranger->public, &message->node_info);
        if (!is_new && status == stranger->public.info.status)
                return;
        mesh->peers_due = MIN(mesh->peers_due, usec_add(mesh_now(mesh), mesh->config.peer_timeout_usec));
        mesh->ops.peer_changed(mesh->userdata, &stranger->public, /* gone= */ false);
        mesh->ops.status_changed(mesh->userdata);
}

/* It has shown that it belongs. */
void strangers_remove(struct mesh *mesh, const char *node_id) {
        struct stranger *stranger = find(mesh, node_id);

        if (stranger)
                remove_stranger(mesh, stranger);
}

/* When one of them is to be looked at next. */
usec_t strangers_check(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), next = USEC_INFINITY;
        struct stranger *stranger;

        MAP_FOREACH(&mesh->strangers, stranger, struct stranger, by_id) {
                /* The interval that it announces is one of the things that are not believed. */
                usec_t limit = usec_add(stranger->public.last_heard_usec, mesh->config.peer_timeout_usec);

                limit = MAX(limit, mesh->judge_after_usec);
                if (now >= limit)
                        remove_stranger(mesh, stranger);
                else
                        next = MIN(next, limit);
        }
        return next;
}

const struct mesh_peer *strangers_get(const struct mesh *mesh, const char *node_id) {
        const struct stranger *stranger = find(mesh, node_id);

        return stranger ? &stranger->public : NULL;
}

void strangers_foreach(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata) {
        struct stranger *stranger;

        MAP_FOREACH(&mesh->strangers, stranger, struct stranger, by_id)
                function(userdata, &stranger->public);
}

void strangers_free(struct mesh *mesh) {
        struct stranger *stranger;

        MAP_FOREACH(&mesh->strangers, stranger, struct stranger, by_id) {
                map_remove(&mesh->strangers, &stranger->by_id);
                free(stranger);
        }
}
