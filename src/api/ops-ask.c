/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions to other nodes: one is sent when a link is there, which is opened for it, and is answered, or
 * fails with the link or by its deadline. Nothing waits for a node that is slow or gone but the question
 * itself. */

#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"

struct ask {
        struct list_link link; /* in neighbour.asks */
        struct ops *ops;
        struct neighbour *neighbour;
        struct link_call call;
        bool sent;
        sd_event_source *timer;
        ask_handler_t handler;
        void *userdata;
};

static struct neighbour *neighbour_find(const struct ops *ops, const char *node_id) {
        return MAP_GET(&ops->neighbours, node_id, strlen(node_id), struct neighbour, by_node);
}

int neighbour_get(struct ops *ops, const char *node_id, struct neighbour **ret) {
        struct neighbour *neighbour = neighbour_find(ops, node_id);
        int r;

        if (!neighbour) {
                neighbour = calloc(1, sizeof(*neighbour));
                if (!neighbour)
                        return -ENOMEM;
                (void) snprintf(neighbour->node_id, sizeof(neighbour->node_id), "%s", node_id);
                list_init(&neighbour->asks);
                list_init(&neighbour->served);
                r =
                        map_add(&ops->neighbours, &neighbour->by_node, neighbour->node_id,
                                strlen(neighbour->node_id));
                if (r < 0) {
                        free(neighbour);
                        return r;
                }
        }
        *ret = neighbour;
        return 0;
}

void neighbour_check(struct ops *ops, struct neighbour *neighbour) {
        if (neighbour->busy > 0 || neighbour->n_asks > 0 || neighbour->n_served > 0)
                return;
        map_remove(&ops->neighbours, &neighbour->by_node);
        free(neighbour);
}

static void ask_free(struct ask *ask) {
        struct neighbour *neighbour = ask->neighbour;

        sd_event_source_disable_unref(ask->timer);
        list_remove(&ask->link);
        neighbour->n_asks--;
        ask->ops->n_asks--;
        neighbour_check(ask->ops, neighbour);
        free(ask);
}

static void say_cancelled(const struct ask *ask) {
        uint64_t id = ask->call.id;
        const struct link_message message = { .n_cancelled_calls = 1, .cancelled_calls = &id };

        if (ask->sent)
                (void) ask->ops->links.send(ask->ops->links.userdata, ask->neighbour->node_id, &message);
}

static void ask_finish(struct ask *ask, int error, const struct link_answer *answer) {
        ask_handler_t handler = ask->handler;
        void *userdata = ask->userdata;

        ask_free(ask);
        handler(userdata, error, answer);
}

struct ask *ask_cancel(struct ask *ask) {
        if (ask) {
                say_cancelled(ask);
                ask_free(ask);
        }
        return NULL;
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata) {
        struct ask *ask = userdata;

        say_cancelled(ask);
        ask_finish(ask, -ETIMEDOUT, NULL);
        return 0;
}

/* A link that is stuffed tells when there is room; without one, it is sent when that is up. */
static int ask_send(struct ask *ask) {
        const struct ops_links *links = &ask->ops->links;
        const char *node_id = ask->neighbour->node_id;
        const struct mesh_peer *peer;
        int r;

        if (links->is_up(links->userdata, node_id)) {
                const struct link_message message = { .n_calls = 1, .calls = &ask->call };

                r = links->send(links->userdata, node_id, &message);
                ask->sent = r >= 0;
                return r == -ENOBUFS ? 0 : r;
        }
        peer = mesh_get_peer(ask->ops->mesh, node_id);
        if (!peer)
                return -EHOSTUNREACH;
        return links->open(links->userdata, node_id, &peer->address);
}

static int set_deadline(struct ask *ask, usec_t timeout_usec) {
        int r = sd_event_add_time_relative(
                ask->ops->event, &ask->timer, CLOCK_BOOTTIME, timeout_usec, USEC_PER_MSEC, on_late, ask);

        if (r >= 0)
                (void) sd_event_source_set_description(ask->timer, "ask-deadline");
        return r;
}

int ask_begin(
        struct ops *ops, const char *node_id, const struct link_call *call, usec_t timeout_usec,
        ask_handler_t handler, void *userdata, struct ask **ret) {
        struct neighbour *neighbour;
        struct ask *ask;
        int r;

        if (!ops->has_links)
                return -EHOSTUNREACH;
        if (ops->n_asks >= ASKS_MAX)
                return -EBUSY;
        r = neighbour_get(ops, node_id, &neighbour);
        if (r < 0)
                return r;
        ask = neighbour->n_asks < ASKS_PER_NODE_MAX ? calloc(1, sizeof(*ask)) : NULL;
        if (!ask) {
                r = neighbour->n_asks < ASKS_PER_NODE_MAX ? -ENOMEM : -EBUSY;
                neighbour_check(ops, neighbour);
                return r;
        }
        *ask = (struct ask){
                .ops = ops, .neighbour = neighbour, .call = *call, .handler = handler, .userdata = userdata
        };
        ask->call.id = ++ops->n_ask_ids;
        list_append(&neighbour->asks, &ask->link);
        neighbour->n_asks++;
        ops->n_asks++;
        r = set_deadline(ask, timeout_usec);
        if (r >= 0)
                r = ask_send(ask);
        if (r < 0) {
                ask_free(ask);
                return r;
        }
        *ret = ask;
        return 0;
}

enum problem_code answer_problem_code(const struct link_answer *answer) {
        if (!answer->problem)
                return PROBLEM_NONE;
        for (enum problem_code code = PROBLEM_NONE + 1; code < _PROBLEM_CODE_MAX; code++)
                if (streq(problem_code_to_text(code), answer->problem))
                        return code;
        return PROBLEM_INTERNAL;
}

void ops_set_links(struct ops *ops, const struct ops_links *links) {
        ops->has_links = true;
        ops->links = *links;
}

static void send_unsent(struct ops *ops, const char *node_id) {
        struct neighbour *neighbour = neighbour_find(ops, node_id);
        struct ask *ask;

        if (!neighbour)
                return;
        /* What cannot be sent now is told by the link, or by its deadline. */
        LIST_FOREACH(&neighbour->asks, ask, struct ask, link)
                if (!ask->sent)
                        (void) ask_send(ask);
}

void ops_link_up(struct ops *ops, const char *node_id) {
        send_unsent(ops, node_id);
}

void ops_link_writable(struct ops *ops, const char *node_id) {
        send_unsent(ops, node_id);
}

/* Each may ask anew, over another link. */
void ops_link_down(struct ops *ops, const char *node_id, bool opening) {
        struct neighbour *neighbour = neighbour_find(ops, node_id);
        struct list broken;
        struct ask *ask;

        if (!neighbour)
                return;
        neighbour->busy++;
        serve_end(neighbour);
        list_init(&broken);
        LIST_FOREACH(&neighbour->asks, ask, struct ask, link) {
                if (!ask->sent && opening)
                        continue;
                list_remove(&ask->link);
                list_append(&broken, &ask->link);
                ask->sent = false;
        }
        while ((ask = LIST_FIRST(&broken, struct ask, link)))
                ask_finish(ask, -ECONNRESET, NULL);
        neighbour->busy--;
        neighbour_check(ops, neighbour);
}

static void take_answer(struct neighbour *neighbour, const struct link_answer *answer) {
        struct ask *ask;

        LIST_FOREACH(&neighbour->asks, ask, struct ask, link)
                if (ask->sent && ask->call.id == answer->id) {
                        ask_finish(ask, 0, answer);
                        return;
                }
        /* Cancelled, or too late. */
}

void ops_link_received(struct ops *ops, const char *node_id, const struct link_message *message) {
        struct neighbour *neighbour;

        if (message->n_calls == 0 && message->n_answers == 0 && message->n_cancelled_calls == 0)
                return;
        if (neighbour_get(ops, node_id, &neighbour) < 0)
                return; /* they ask again */
        neighbour->busy++;
        for (size_t i = 0; i < message->n_calls; i++)
                serve_call(ops, neighbour, &message->calls[i]);
        for (size_t i = 0; i < message->n_answers; i++)
                take_answer(neighbour, &message->answers[i]);
        for (size_t i = 0; i < message->n_cancelled_calls; i++)
                serve_cancel(neighbour, message->cancelled_calls[i]);
        neighbour->busy--;
        neighbour_check(ops, neighbour);
}
