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
#define STATUS_INTERVAL_USEC USEC_PER_SEC

/* "the node is being drained, since 2026-01-01T00:00:00Z by user 1000" */
static const char *format_reason(const struct mesh_state *state, char *buffer, size_t size) {
        const struct mesh_drain *drain = state->drain;
        char since[TIME_TEXT_MAX], user[32] = "";

        if (!state->status_reason || !drain || state->status != NODE_DRAINING)
                return state->status_reason ? state->status_reason : "";
        if (drain->uid != (uid_t) -1)
                (void) snprintf(user, sizeof(user), " by user %u", (unsigned) drain->uid);
        (void) snprintf(
                buffer, size, "%s, since %s%s", state->status_reason,
                format_time(since, sizeof(since), drain->since, 0), user);
        return buffer;
}

static bool is_quiet(const struct mesh_state *state) {
        return state->running == 0 && state->queued == 0;
}

static int on_trim(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        if (is_quiet(&state))
                (void) malloc_trim(0);
        return 0;
}

/* A machine that has not joined yet is what somebody looks for who counts his nodes. */
static const char *
format_strangers(const struct node *node, const struct mesh_state *state, char *buffer, size_t size) {
        (void) snprintf(
                buffer, size, "; %u node%s %s", state->n_strangers, state->n_strangers == 1 ? "" : "s",
                node_keys(node) ? "without its key" : "of closed meshes");
        return state->n_strangers > 0 ? buffer : "";
}

/* Tells the service manager, at most once a second: a busy node changes its counts thousands of times. */
static void tell_service_manager(struct node *node, const struct mesh_state *state) {
        char text[sizeof(node->status_text)], reason[sizeof(node->status_text) / 2], strangers[64];
        usec_t now = now_usec(CLOCK_BOOTTIME), next = usec_add(node->status_told_usec, STATUS_INTERVAL_USEC);

        (void) snprintf(
                text, sizeof(text), "STATUS=%u peer%s, %u running, %u queued%s%s%s%s%s", state->n_peers,
                state->n_peers == 1 ? "" : "s", state->running, state->queued,
                format_strangers(node, state, strangers, sizeof(strangers)),
                node_keys(node) ? "" : "; OPEN TO EVERYBODY",
                state->executor_connected ? "" : "; no executor", state->status_reason ? "; " : "",
                format_reason(state, reason, sizeof(reason)));
        if (!node->managed || strcmp(text, node->status_text) == 0)
                return;
        if (now < next) {
                (void) sd_event_source_set_time(node->status_timer, next);
                (void) sd_event_source_set_enabled(node->status_timer, SD_EVENT_ONESHOT);
                node->status_waits = true;
                return;
        }
        memcpy(node->status_text, text, sizeof(text));
        node->status_told_usec = now;
        (void) sd_notify(/* unset_environment= */ false, text);
}

static int on_status_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        node->status_waits = false;
        status_touch(node);
        return 0;
}

static int on_status(sd_event_source *source, void *userdata) {
        struct node *node = userdata;
        struct mesh_state state;
        bool quiet;

        mesh_get_state(node->mesh, &state);
        tell_service_manager(node, &state);

        quiet = is_quiet(&state);
        if (quiet != node->quiet) {
                node->quiet = quiet;
                (void) sd_event_source_set_time_relative(node->trim_timer, TRIM_AFTER_USEC);
                (void) sd_event_source_set_enabled(
                        node->trim_timer, quiet ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        }
        stop_check(node);
        return 0;
}

static int
add_timer(struct node *node, sd_event_source **ret, sd_event_time_handler_t handler, const char *name) {
        int r;

        r = sd_event_add_time(node->event, ret, CLOCK_BOOTTIME, 0, USEC_PER_SEC / 10, handler, node);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*ret, name);
        (void) sd_event_source_set_priority(*ret, PRIORITY_STATUS);
        return sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
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

        node->managed = getenv("NOTIFY_SOCKET");
        r = add_timer(node, &node->trim_timer, on_trim, "trim");
        if (r < 0)
                return r;
        return add_timer(node, &node->status_timer, on_status_timer, "status-timer");
}

/* Called for every change of a count, thousands of times a second: a turn of the loop is spent only where
 * somebody will be told, or where the node has become quiet or busy. */
void status_touch(struct node *node) {
        struct mesh_state state;

        if (!node->stopping && !node->executor_stopping) {
                mesh_get_state(node->mesh, &state);
                if (is_quiet(&state) == node->quiet && (!node->managed || node->status_waits))
                        return;
        }
        (void) sd_event_source_set_enabled(node->status_source, SD_EVENT_ONESHOT);
}

void status_print_start(const struct node *node) {
        const char *address = rest_address(node->rest);
        const char *scheme = address[0] == '/' ? "unix:" : "http://";

        if (log_is_journal()) {
                log_info(
                        "Node %s is ready: REST on %s%s, discovery on UDP port %u, %u slots.",
                        node->identity.node_id, scheme, address, node->config->discovery_port,
                        node->config->slots);
                return;
        }
        printf("Worker Mesh %s\n"
               "  node id         %s\n"
               "  REST API        %s%s\n"
               "  discovery port  %u (node port %u)\n"
               "  database        %s\n"
               "  slots           %u\n",
               VERSION, node->identity.node_id, scheme, address, node->config->discovery_port,
               discovery_node_port(node->discovery), store_path(node->store), node->config->slots);
        fflush(stdout);
}
