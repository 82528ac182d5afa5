/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Links between the nodes of the world: what is said travels through the real codec, arrives in order and
 * once, or not at all when the link breaks. A node that is paused or whose cable is out hears nothing until
 * it is back; a link on which nothing moved for long breaks. */

#include "lib/mesh-world.h"
#include "wire/link-codec.h"

#define STALL_USEC (30 * USEC_PER_SEC)

enum event_kind { EVENT_UP, EVENT_FRAME, EVENT_DOWN };

struct link_event {
        struct list_link link;
        usec_t due;
        struct world_node *from, *to;
        enum event_kind kind;
        struct buffer frame;
};

static size_t index_of(const struct world_node *node) {
        for (size_t i = 0; i < node->world->n_nodes; i++)
                if (node->world->nodes[i] == node)
                        return i;
        ASSERT_TRUE(false);
        return 0;
}

/* Of the one end; the other has its own. */
static struct world_link *link_of(struct world_node *node, const struct world_node *other) {
        return &node->links[index_of(other)];
}

static struct world_node *node_named(struct world *world, const char *id) {
        for (size_t i = 0; i < world->n_nodes; i++)
                if (streq(world->nodes[i]->config.node_id, id))
                        return world->nodes[i];
        return NULL;
}

static void event_free(struct link_event *event) {
        list_remove(&event->link);
        buffer_done(&event->frame);
        free(event);
}

static struct link_event *
event_add(struct world_node *from, struct world_node *to, enum event_kind kind, usec_t after) {
        struct link_event *event = calloc(1, sizeof(*event));

        ASSERT_NOT_NULL(event);
        event->due = usec_add(from->world->now, after);
        event->from = from;
        event->to = to;
        event->kind = kind;
        list_append(&from->world->link_events, &event->link);
        return event;
}

/* That a link is down is never lost. */
static void forget_events(struct world_node *a, const struct world_node *b) {
        struct link_event *event;

        LIST_FOREACH(&a->world->link_events, event, struct link_event, link)
                if (event->kind != EVENT_DOWN &&
                    ((event->from == a && event->to == b) || (event->from == b && event->to == a)))
                        event_free(event);
}

/* Both ends hear of it, if there is somebody to hear; what was on its way is lost. */
void world_break_link(struct world_node *a, struct world_node *b) {
        bool a_up = link_of(a, b)->up, b_up = link_of(b, a)->up;
        bool opening = link_of(a, b)->opening || link_of(b, a)->opening;

        forget_events(a, b);
        *link_of(a, b) = *link_of(b, a) = (struct world_link){};
        if (a->mesh && (a_up || opening))
                event_add(b, a, EVENT_DOWN, WORLD_LATENCY_USEC);
        if (b->mesh && (b_up || opening))
                event_add(a, b, EVENT_DOWN, WORLD_LATENCY_USEC);
}

void links_open(struct world_node *node, const char *id) {
        struct world_node *other = node_named(node->world, id);
        struct world_link *own;

        ASSERT_NOT_NULL(other);
        own = link_of(node, other);
        if (own->up || own->opening || link_of(other, node)->opening)
                return;
        own->opening = true;
        own->moved_usec = node->world->now;
        event_add(node, other, EVENT_UP, 2 * WORLD_LATENCY_USEC);
        event_add(other, node, EVENT_UP, 3 * WORLD_LATENCY_USEC);
}

int links_send(struct world_node *node, const char *id, const struct link_message *message) {
        struct world_node *other = node_named(node->world, id);
        struct world_link *link;
        struct link_event *event;

        ASSERT_NOT_NULL(other);
        link = link_of(node, other);
        if (!link->up)
                return -ENOTCONN;
        event = event_add(node, other, EVENT_FRAME, WORLD_LATENCY_USEC);
        ASSERT_OK(link_message_encode(message, &event->frame));
        if (node->world->queue_max > 0 && link->queued + event->frame.size > node->world->queue_max) {
                event_free(event);
                link->was_full = true;
                return -ENOBUFS;
        }
        link->queued += event->frame.size;
        node->n_frames++;
        node->frame_bytes += event->frame.size;
        return 0;
}

/* The one who closes hears of it as the other does, a moment later. */
void links_close(struct world_node *node, const char *id) {
        struct world_node *other = node_named(node->world, id);
        bool other_up = link_of(other, node)->up || link_of(other, node)->opening;

        forget_events(node, other);
        *link_of(node, other) = *link_of(other, node) = (struct world_link){};
        if (other->mesh && other_up)
                event_add(node, other, EVENT_DOWN, WORLD_LATENCY_USEC);
        event_add(other, node, EVENT_DOWN, WORLD_LATENCY_USEC);
}

void links_crash(struct world_node *node) {
        for (size_t i = 0; i < node->world->n_nodes; i++)
                if (node->world->nodes[i] != node)
                        world_break_link(node, node->world->nodes[i]);
}

static bool can_move(const struct link_event *event) {
        return !event->to->paused && !event->from->detached && !event->to->detached &&
               (event->kind != EVENT_UP || !event->from->paused);
}

/* What the peer's kernel would do about a peer that says nothing. */
static bool has_stalled(const struct link_event *event) {
        return event->kind != EVENT_DOWN && !can_move(event) &&
               event->to->world->now >= usec_add(event->due, STALL_USEC);
}

static struct link_event *next_event(struct world *world, usec_t *ret_due) {
        struct link_event *event, *first = NULL;

        *ret_due = USEC_INFINITY;
        LIST_FOREACH(&world->link_events, event, struct link_event, link) {
                usec_t due = event->due;

                /* A reset gets through when there is somebody again. */
                if (event->kind == EVENT_DOWN ? event->to->paused : !can_move(event))
                        due = event->kind == EVENT_DOWN ? USEC_INFINITY : usec_add(due, STALL_USEC);
                if (due < *ret_due) {
                        *ret_due = due;
                        first = event;
                }
        }
        return first;
}

usec_t links_due(struct world *world) {
        usec_t due;

        (void) next_event(world, &due);
        return due;
}

static void come_up(struct world_node *from, struct world_node *to) {
        const struct link_hello hello = {
                .protocol = LINK_PROTOCOL,
                .node_id = from->config.node_id,
                .version = from->config.version,
                .incarnation = from->config.incarnation,
                .instance = from->config.instance,
        };
        struct world_link *link = link_of(to, from);

        link->opening = false;
        if (!to->mesh || !from->mesh)
                return;
        link->up = true;
        if (mesh_link_up(to->mesh, from->config.node_id, &hello) < 0)
                world_break_link(from, to);
}

static void take_frame(struct link_event *event) {
        _cleanup_link_message_ struct link_message message = {};
        size_t size;

        if (!event->to->mesh || !link_of(event->to, event->from)->up)
                return;
        ASSERT_OK(link_frame_size(event->frame.data, event->frame.size, &size));
        ASSERT_EQ(size, event->frame.size);
        ASSERT_OK(link_message_decode(
                event->frame.data + LINK_FRAME_HEADER_SIZE, size - LINK_FRAME_HEADER_SIZE, &message));
        mesh_link_received(event->to->mesh, event->from->config.node_id, &message);
}

static void left_queue(struct link_event *event) {
        struct world_link *link = link_of(event->from, event->to);

        link->queued -= MIN(link->queued, event->frame.size);
        if (!link->was_full || link->queued > event->from->world->queue_max / 8)
                return;
        link->was_full = false;
        if (event->from->mesh && link->up)
                mesh_link_writable(event->from->mesh, event->to->config.node_id);
}

void links_step(struct world *world) {
        usec_t due;
        struct link_event *event = next_event(world, &due);

        list_remove(&event->link);
        if (has_stalled(event))
                world_break_link(event->from, event->to);
        else if (event->kind == EVENT_UP)
                come_up(event->from, event->to);
        else if (event->kind == EVENT_FRAME) {
                left_queue(event);
                take_frame(event);
        } else if (event->to->mesh)
                mesh_link_down(event->to->mesh, event->from->config.node_id);
        event_free(event);
}

void links_done(struct world *world) {
        struct link_event *event;

        LIST_FOREACH(&world->link_events, event, struct link_event, link)
                event_free(event);
}
