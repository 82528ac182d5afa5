/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the node says of itself to the service manager and to the person who started it. */

#include <malloc.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "node/internal.h"
#include "util/log.h"

/* After a burst the heap is full of holes; what can be given back is given back once it has been quiet this
 * long. */
#define TRIM_AFTER_USEC (3 * USEC_PER_SEC)

static int on_trim(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        if (state.running == 0 && state.queued == 0)
                (void) malloc_trim(0);
        return 0;
}

static int on_status(sd_event_source *source, void *userdata) {
        struct node *node = userdata;
        char text[sizeof(node->status_text)];
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        (void) snprintf(
                text, sizeof(text), "STATUS=%u peer%s, %u running, %u queued", state.n_peers,
                state.n_peers == 1 ? "" : "s", state.running, state.queued);
        if (strcmp(text, node->status_text) != 0) {
                memcpy(node->status_text, text, sizeof(text));
                (void) sd_notify(/* unset_environment= */ false, text);
        }
        if (state.running == 0 && state.queued == 0)
                (void) sd_event_source_set_time_relative(node->trim_timer, TRIM_AFTER_USEC);
        (void) sd_event_source_set_enabled(
                node->trim_timer, state.running == 0 && state.queued == 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        stop_check(node);
        return 0;
}

int status_new(struct node *node) {
        int r;

        r = sd_event_add_defer(node->event, &node->status_source, on_status, node);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(node->status_source, "status");
        r = sd_event_source_set_priority(node->status_source, PRIORITY_STATUS);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(node->status_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        r = sd_event_add_time(
                node->event, &node->trim_timer, CLOCK_BOOTTIME, 0, USEC_PER_SEC, on_trim, node);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(node->trim_timer, "trim");
        return sd_event_source_set_enabled(node->trim_timer, SD_EVENT_OFF);
}

void status_touch(struct node *node) {
        (void) sd_event_source_set_enabled(node->status_source, SD_EVENT_ONESHOT);
}

void status_print_start(const struct node *node) {
        const char *address = rest_address(node->rest);

        printf("Worker Mesh %s\n"
               "  node id         %s\n"
               "  REST API        %s%s\n"
               "  discovery port  %u (node port %u)\n"
               "  database        %s\n"
               "  slots           %u\n",
               VERSION, node->identity.node_id, address[0] == '/' ? "unix:" : "http://", address,
               node->config->discovery_port, discovery_node_port(node->discovery), store_path(node->store),
               node->config->slots);
        fflush(stdout);
}
