/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is due in the world, and when: a binary heap. Nothing is ever taken out of its middle; what does not
 * matter any more is found out when it is due. */

#include "lib/mesh-world.h"

static bool is_before(const struct world_event *a, const struct world_event *b) {
        return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void swap(struct world_event *a, struct world_event *b) {
        struct world_event event = *a;

        *a = *b;
        *b = event;
}

void events_add(
        struct world *world, usec_t due, enum world_event_kind kind, struct world_node *node, void *what) {
        struct world_events *events = &world->events;
        size_t i = events->n++;

        if (events->n > events->n_allocated) {
                events->n_allocated = MAX(events->n_allocated * 2, (size_t) 256);
                events->heap = reallocarray(events->heap, events->n_allocated, sizeof(*events->heap));
                ASSERT_NOT_NULL(events->heap);
        }
        events->heap[i] = (struct world_event){
                .due = due, .number = ++events->n_added, .kind = kind, .node = node, .what = what
        };
        for (; i > 0 && is_before(&events->heap[i], &events->heap[(i - 1) / 2]); i = (i - 1) / 2)
                swap(&events->heap[i], &events->heap[(i - 1) / 2]);
}

static void sink(struct world_events *events) {
        for (size_t i = 0, child; (child = 2 * i + 1) < events->n; i = child) {
                if (child + 1 < events->n && is_before(&events->heap[child + 1], &events->heap[child]))
                        child++;
                if (!is_before(&events->heap[child], &events->heap[i]))
                        return;
                swap(&events->heap[child], &events->heap[i]);
        }
}

bool events_take(struct world *world, usec_t at, struct world_event *ret) {
        struct world_events *events = &world->events;

        if (events->n == 0 || events->heap[0].due > at)
                return false;
        *ret = events->heap[0];
        events->heap[0] = events->heap[--events->n];
        sink(events);
        return true;
}

void events_done(struct world *world) {
        for (size_t i = 0; i < world->events.n; i++) {
                if (world->events.heap[i].kind == EVENT_DATAGRAM)
                        network_free(world->events.heap[i].what);
                else if (world->events.heap[i].kind == EVENT_LINK)
                        links_free(world->events.heap[i].what);
        }
        free(world->events.heap);
        world->events = (struct world_events){};
}

void world_wake(struct world_node *node, usec_t due) {
        due = MAX(due, node->world->now);
        if (due >= node->woken_at)
                return;
        node->woken_at = due;
        events_add(node->world, due, EVENT_NODE, node, NULL);
}
