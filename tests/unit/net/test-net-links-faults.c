/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every allocation of making links, opening one and talking over it fails once: it goes on or ends with an
 * error that is told, and nothing leaks. */

#include "lib/fault.h"
#include "links-peer.h"

#define A_ID "node-aaaaaaaaaaaaaaaa"
#define B_ID "node-bbbbbbbbbbbbbbbb"

static sd_event *event;

static int make_links(void) {
        const struct links_config config = { .node_id = A_ID, .version = "1", .listen_fd = -EBADF };
        const struct links_handlers handlers = {};
        struct links *links;
        int r = links_new(&config, event, &handlers, &links);

        if (r >= 0)
                links_free(links);
        return r;
}

static void test_new(void) {
        uint64_t n_failed = FAULT_LOOP(r = make_links());

        ASSERT_GE(n_failed, 3);
}

/* Opens, says three things to and fro, and closes; whatever fails, both sides agree in the end, and the next
 * try succeeds. */
static void talk(struct peer *a, struct peer *b) {
        struct other *of_a = OTHER(a, b), *of_b = OTHER(b, a);
        int r;

        of_a->n_down = of_b->n_down = of_a->n_received = of_b->n_received = 0;
        r = links_open(a->links, B_ID, &b->address);
        if (r < 0) {
                ASSERT_EQ(r, -ENOMEM);
                return;
        }
        RUN_UNTIL(event, of_a->n_down > 0 || peers_are_linked(a, b));
        for (int i = 0; i < 3 && peers_are_linked(a, b); i++) {
                size_t n_pieces = i == 1 ? 8 : 0;
                int r_a = peer_send(a, B_ID, n_pieces), r_b = peer_send(b, A_ID, 0);

                ASSERT_TRUE(r_a >= 0 || r_a == -ENOMEM);
                ASSERT_TRUE(r_b >= 0 || r_b == -ENOMEM);
                RUN_UNTIL(
                        event, of_a->n_down + of_b->n_down > 0 || (of_b->n_received == of_a->n_sent &&
                                                                   of_a->n_received == of_b->n_sent));
        }
        if (of_a->is_up) {
                links_close(a->links, B_ID);
                of_a->is_up = false;
        }
        RUN_UNTIL(event, !of_b->is_up);
}

static void test_talk(void) {
        struct peer a, b;
        uint64_t n_failed = 0;
        bool failed;

        peer_init(&a, A_ID, 1, event);
        peer_init(&b, B_ID, 2, event);
        links_limits(a.links)->yield_usec = links_limits(b.links)->yield_usec = 10 * USEC_PER_MSEC;
        do {
                fault_arm(n_failed++);
                talk(&a, &b);
                failed = fault_disarm();
                ASSERT_LT(n_failed, FAULT_LOOP_MAX);
                /* No trace of it is left. */
                talk(&a, &b);
                ASSERT_EQ(OTHER(&a, &b)->n_received, 3);
        } while (failed);
        ASSERT_GE(n_failed, 20);
        ASSERT_NULL(map_first(&a.links->by_node));
        ASSERT_NULL(map_first(&b.links->by_node));
        peer_done(&a);
        peer_done(&b);
}

int main(void) {
        ASSERT_OK(sd_event_new(&event));
        RUN(test_new);
        RUN(test_talk);
        sd_event_unref(event);
        return 0;
}
