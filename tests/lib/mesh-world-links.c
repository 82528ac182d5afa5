/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Links between the nodes of the world: what is said travels through the real codec, arrives in order and
 * once, or not at all when the link breaks. Each end knows only what reached it: while the way is cut, what
 * was sent is stuck, and an end that waits in vain for long gives up, while the other may learn of that much
 * later. */

#include "lib/mesh-world.h"
#include "wire/link-codec.h"

#define STALL_USEC (30 * USEC_PER_SEC)
#define HANDSHAKE_USEC (5 * USEC_PER_SEC)

enum word {
        WORD_OPEN,     /* the other wants a link */
        WORD_ACCEPTED, /* and has it */
        WORD_FRAME,
        WORD_RESET,   /* the other knows nothing of this link any more */
        WORD_CLOSED,  /* an end hears that it is closed, whoever did that */
        WORD_LATE,    /* nothing came of opening it */
        WORD_IDLE,    /* nothing may have been said for long */
        WORD_STALLED, /* what was sent may not have been acknowledged for long */
};

/* On its way to an end, or for the end itself. */
struct link_event {
        struct list_link link; /* in world_link.held */
        enum word word;
        struct world_node *from;
        uint64_t connection;
        usec_t sent_usec;
        struct buffer frame;
};

static struct world_link *find_end(const struct world_node *node, const struct world_node *other) {
        return MAP_GET(&node->links, &other, sizeof(other), struct world_link, by_other);
}

static struct world_link *get_end(struct world_node *node, struct world_node *other) {
        struct world_link *end = find_end(node, other);

        if (end)
                return end;
        end = calloc(1, sizeof(*end));
        ASSERT_NOT_NULL(end);
        end->node = node;
        end->other = other;
        end->stuck_usec = USEC_INFINITY;
        list_init(&end->held);
        ASSERT_OK(map_add(&node->links, &end->by_other, &end->other, sizeof(end->other)));
        return end;
}

void links_free(void *what) {
        struct link_event *event = what;

        list_remove(&event->link);
        buffer_done(&event->frame);
        free(event);
}

static struct link_event *event_new(struct world_node *from, enum word word, uint64_t connection) {
        struct link_event *event = calloc(1, sizeof(*event));

        ASSERT_NOT_NULL(event);
        event->word = word;
        event->from = from;
        event->connection = connection;
        event->sent_usec = from->world->now;
        return event;
}

/* To the other end, behind all that was said before. */
static void say(struct world_link *end, struct link_event *event) {
        struct world_link *far = get_end(end->other, end->node);
        struct world *world = end->node->world;
        usec_t due = world->now + WORLD_LATENCY_USEC;
        uint32_t drawn;

        if (world->jitter_usec > 0) {
                world_random(world, &drawn, sizeof(drawn));
                due = usec_add(due, drawn % world->jitter_usec);
        }
        far->due_last = MAX(far->due_last, due);
        events_add(world, far->due_last, EVENT_LINK, end->other, event);
}

/* To this end itself. */
static void remind(struct world_link *end, enum word word, usec_t after) {
        events_add(
                end->node->world, usec_add(end->node->world->now, after), EVENT_LINK, end->node,
                event_new(end->other, word, end->connection));
}

static void forget_held(struct world_link *end) {
        struct link_event *event;

        LIST_FOREACH(&end->held, event, struct link_event, link)
                links_free(event);
}

static void clear(struct world_link *end) {
        end->connection = 0;
        end->queued = 0;
        end->was_full = false;
        end->opening = end->up = end->closing = false;
        end->stuck_usec = USEC_INFINITY;
        forget_held(end);
}

/* This end is no more, and hears so in a moment. */
static void close_end(struct world_link *end) {
        if (end->connection == 0 || end->closing)
                return;
        end->opening = end->up = false;
        end->closing = true;
        forget_held(end);
        remind(end, WORD_CLOSED, WORLD_LATENCY_USEC);
}

static void reset_other(struct world_link *end, uint64_t connection) {
        say(end, event_new(end->node, WORD_RESET, connection));
}

/* Both ends hear of it, if there is somebody to hear; what was on its way is lost. */
void world_break_link(struct world_node *a, struct world_node *b) {
        close_end(get_end(a, b));
        close_end(get_end(b, a));
}

void links_open(struct world_node *node, const char *id) {
        struct world_node *other = world_find(node->world, id);
        struct world_link *end;

        ASSERT_NOT_NULL(other);
        end = get_end(node, other);
        if (end->connection > 0)
                return;
        end->connection = ++node->world->n_connections;
        end->opening = true;
        say(end, event_new(node, WORD_OPEN, end->connection));
        remind(end, WORD_LATE, HANDSHAKE_USEC);
}

int links_send(struct world_node *node, const char *id, const struct link_message *message) {
        struct world_node *other = world_find(node->world, id);
        struct world_link *end = other ? find_end(node, other) : NULL;
        struct link_event *event;

        if (!end || !end->up)
                return -ENOTCONN;
        end->moved_usec = node->world->now;
        event = event_new(node, WORD_FRAME, end->connection);
        ASSERT_OK(link_message_encode(message, &event->frame));
        if (node->world->queue_max > 0 && end->queued + event->frame.size > node->world->queue_max) {
                end->was_full = true;
                links_free(event);
                return -ENOBUFS;
        }
        end->queued += event->frame.size;
        node->n_frames++;
        node->frame_bytes += event->frame.size;
        node->world->n_frames++;
        node->world->n_bytes += event->frame.size;
        say(end, event);
        return 0;
}

/* The one who closes hears of it as the other does, a moment later. */
void links_close(struct world_node *node, const char *id) {
        struct world_node *other = world_find(node->world, id);
        struct world_link *end = other ? find_end(node, other) : NULL;

        if (!end || end->connection == 0 || end->closing)
                return;
        reset_other(end, end->connection);
        close_end(end);
}

/* The kernel of the host says so to the others, where that reaches them. */
void links_crash(struct world_node *node) {
        struct world_link *end;

        MAP_FOREACH(&node->links, end, struct world_link, by_other) {
                if (end->connection > 0)
                        reset_other(end, end->connection);
                clear(end);
        }
}

bool links_are_up(const struct world_node *node, const struct world_node *other) {
        const struct world_link *end = find_end(node, other);

        return end && end->up;
}

static void come_up(struct world_link *end, uint64_t connection) {
        const struct link_hello hello = {
                .protocol = LINK_PROTOCOL,
                .node_id = end->other->config.node_id,
                .version = end->other->config.version,
                .incarnation = end->other->config.incarnation,
                .instance = end->other->config.instance,
        };

        end->connection = connection;
        end->opening = false;
        end->up = true;
        end->moved_usec = end->node->world->now;
        if (end->node->world->idle_usec > 0)
                remind(end, WORD_IDLE, end->node->world->idle_usec);
        if (mesh_link_up(end->node->mesh, end->other->config.node_id, &hello) < 0) {
                reset_other(end, connection);
                clear(end);
        }
}

static void go_down(struct world_link *end) {
        clear(end);
        if (end->node->mesh)
                mesh_link_down(end->node->mesh, end->other->config.node_id);
}

/* Of two that were opened at the same time the one stays that the node with the lower id opened. */
static void take_open(struct world_link *end, uint64_t connection) {
        const struct world_link *far = find_end(end->other, end->node);

        if (far->connection != connection || !far->opening)
                return; /* it has given up meanwhile */
        if (end->opening && strcmp(end->node->config.node_id, end->other->config.node_id) < 0)
                return;
        if (end->up || end->closing)
                go_down(end);
        say(end, event_new(end->node, WORD_ACCEPTED, connection));
        come_up(end, connection);
}

/* The sender has room again. */
static void left_queue(struct world_link *far, const struct link_event *event) {
        if (!far || far->connection != event->connection)
                return;
        far->queued -= MIN(far->queued, event->frame.size);
        if (!far->was_full || far->queued > far->node->world->queue_max / 8)
                return;
        far->was_full = false;
        if (far->node->mesh && far->up)
                mesh_link_writable(far->node->mesh, far->other->config.node_id);
}

static void take_frame(struct world_link *end, const struct link_event *event) {
        _cleanup_link_message_ struct link_message message = {};
        size_t size;

        if (end->connection != event->connection || !end->up) {
                if (end->connection != event->connection)
                        reset_other(end, event->connection);
                return;
        }
        end->moved_usec = end->node->world->now;
        left_queue(find_end(end->other, end->node), event);
        if (end->node->world->heard)
                end->node->world->heard(end->node, end->other, event->sent_usec);
        ASSERT_OK(link_frame_size(event->frame.data, event->frame.size, &size));
        ASSERT_EQ(size, event->frame.size);
        ASSERT_OK(link_message_decode(
                event->frame.data + LINK_FRAME_HEADER_SIZE, size - LINK_FRAME_HEADER_SIZE, &message));
        mesh_link_received(end->node->mesh, end->other->config.node_id, &message);
}

/* Nobody acknowledges: after some time the end that sent it gives up. */
static void note_stuck(struct world_link *end) {
        if (end->stuck_usec != USEC_INFINITY || end->connection == 0)
                return;
        end->stuck_usec = end->node->world->now;
        remind(end, WORD_STALLED, STALL_USEC);
}

/* True: it cannot be heard now, and is kept, or lost. */
static bool is_stuck(struct world_link *end, struct link_event *event) {
        bool comes = world_reaches(end->other, end->node), returns = world_reaches(end->node, end->other);
        struct world_link *far = find_end(end->other, end->node);

        if ((!comes || !returns) && far && event->word == WORD_FRAME)
                note_stuck(far);
        if (comes && !end->node->is_paused && (event->word != WORD_OPEN || returns) &&
            list_is_empty(&end->held))
                return false;
        if (!comes && end->node->world->missed)
                end->node->world->missed(end->node, end->other);
        if (!comes && (event->word == WORD_RESET || event->word == WORD_OPEN))
                links_free(event); /* said once; who opens asks again */
        else
                list_append(&end->held, &event->link);
        return true;
}

static void check_idle(struct world_link *end) {
        usec_t idle_at = usec_add(end->moved_usec, end->node->world->idle_usec);

        if (!end->up)
                return;
        if (end->node->world->now < idle_at) {
                remind(end, WORD_IDLE, idle_at - end->node->world->now);
                return;
        }
        reset_other(end, end->connection);
        go_down(end);
}

static void hear_own(struct world_link *end, const struct link_event *event) {
        const struct world_node *node = end->node;

        if (end->connection != event->connection || end->connection == 0)
                return;
        switch (event->word) {
        case WORD_CLOSED:
                if (end->closing)
                        go_down(end);
                break;
        case WORD_LATE:
                if (end->opening)
                        go_down(end);
                break;
        case WORD_IDLE:
                check_idle(end);
                break;
        case WORD_STALLED:
                if (end->up && node->world->now >= usec_add(end->stuck_usec, STALL_USEC)) {
                        reset_other(end, end->connection);
                        go_down(end);
                }
                break;
        case WORD_OPEN:
        case WORD_ACCEPTED:
        case WORD_FRAME:
        case WORD_RESET:
                break;
        }
}

static void hear_other(struct world_link *end, const struct link_event *event) {
        switch (event->word) {
        case WORD_OPEN:
                take_open(end, event->connection);
                break;
        case WORD_ACCEPTED:
                if (end->connection == event->connection && end->opening)
                        come_up(end, event->connection);
                break;
        case WORD_FRAME:
                take_frame(end, event);
                break;
        case WORD_RESET:
                if (end->connection == event->connection && !end->closing)
                        go_down(end);
                break;
        case WORD_CLOSED:
        case WORD_LATE:
        case WORD_IDLE:
        case WORD_STALLED:
                break;
        }
}

void links_step(struct world_node *node, void *what) {
        struct link_event *event = what;
        struct world_link *end = get_end(node, event->from);
        bool own = event->word == WORD_CLOSED || event->word == WORD_LATE || event->word == WORD_IDLE ||
                   event->word == WORD_STALLED;

        if (own && node->is_paused) {
                list_append(&end->held, &event->link);
                return;
        }
        if (!own && node->mesh && is_stuck(end, event))
                return;
        if (own)
                hear_own(end, event);
        else if (node->mesh)
                hear_other(end, event);
        else if (event->word != WORD_RESET && world_reaches(event->from, node))
                reset_other(end, event->connection);
        links_free(event);
}

/* At once: what is on its way must not overtake it. */
static void release_end(struct world_link *end) {
        struct link_event *event;
        struct list held;

        if (world_reaches(end->other, end->node) && world_reaches(end->node, end->other))
                end->stuck_usec = USEC_INFINITY;
        list_move(&end->held, &held);
        while ((event = LIST_FIRST(&held, struct link_event, link))) {
                list_remove(&event->link);
                links_step(end->node, event);
        }
}

void links_release(struct world_node *node) {
        struct world_link *end, *far;

        MAP_FOREACH(&node->links, end, struct world_link, by_other) {
                release_end(end);
                far = find_end(end->other, node);
                if (far)
                        release_end(far);
        }
}

void links_done(struct world_node *node) {
        struct world_link *end;

        MAP_FOREACH(&node->links, end, struct world_link, by_other) {
                map_remove(&node->links, &end->by_other);
                forget_held(end);
                free(end);
        }
}
