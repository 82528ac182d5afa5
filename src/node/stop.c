/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The two ways down from a terminal. Orderly: drain, let running jobs end for DrainTimeout=, kill what is
 * left, say goodbye, end the executor. At once: kill, and leave what is not written to the next start. */

#include <systemd/sd-daemon.h>

#include "node/internal.h"
#include "util/log.h"

/* After the grace of a kill, for the executor to report and the store to write. */
#define STOP_MARGIN_USEC (5 * USEC_PER_SEC)
/* For the last answers to reach their clients, and the executor to leave. */
#define STOP_FLUSH_USEC USEC_PER_SEC
#define ABORT_FLUSH_USEC (50 * USEC_PER_MSEC)

static void set_stop_timer(struct node *node, usec_t after_usec, sd_event_time_handler_t handler) {
        int r;

        node->stop_timer = sd_event_source_disable_unref(node->stop_timer);
        r = sd_event_add_time_relative(
                node->event, &node->stop_timer, CLOCK_BOOTTIME, after_usec, USEC_PER_MSEC, handler, node);
        if (r < 0) {
                log_error_errno(r, "Failed to set a timer for stopping, stopping at once: %m");
                (void) sd_event_exit(node->event, 0);
        }
}

static int on_flushed(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        (void) sd_event_exit(node->event, 0);
        return 0;
}

/* An executor that keeps results which could not be written stays with them for the next start. */
static void leave(struct node *node) {
        if (node->said_goodbye)
                return;
        node->said_goodbye = true;
        mesh_say_goodbye(node->mesh);
        rest_stop_accepting(node->rest);
        if (mesh_is_idle(node->mesh))
                (void) executor_client_stop(node->executor, /* kill_jobs= */ true);
        set_stop_timer(node, STOP_FLUSH_USEC, on_flushed);
        stop_check(node);
}

static int on_kill_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        log_warning("Some jobs did not end or could not be written; leaving them to the next start.");
        leave(node);
        return 0;
}

static int on_drain_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        if (state.running > 0)
                log_warning("%u jobs still run after DrainTimeout=; killing them.", state.running);
        mesh_kill_all(node->mesh);
        set_stop_timer(node, usec_add(node->config->kill_grace_usec, STOP_MARGIN_USEC), on_kill_over);
        return 0;
}

/* Is there anything left to wait for? */
void stop_check(struct node *node) {
        if (!node->stopping)
                return;
        if (!node->said_goodbye) {
                if (mesh_is_idle(node->mesh))
                        leave(node);
                return;
        }
        if (rest_pending(node->rest) == 0 && !executor_client_is_synchronised(node->executor))
                (void) sd_event_exit(node->event, 0);
}

void node_stop(struct node *node) {
        char span[SPAN_TEXT_MAX];
        struct mesh_state state;

        if (node->stopping)
                return;
        node->stopping = true;
        (void) sd_notify(/* unset_environment= */ false, "STOPPING=1");

        mesh_get_state(node->mesh, &state);
        if (state.running > 0)
                log_notice(
                        "Stopping: %u jobs still run; waiting up to %s for them. A second signal ends them "
                        "at once.",
                        state.running, format_span(span, sizeof(span), node->config->drain_timeout_usec));
        set_stop_timer(node, node->config->drain_timeout_usec, on_drain_over);
        mesh_drain(node->mesh);
        status_touch(node);
}

void node_abort(struct node *node) {
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        if (state.running > 0 && state.executor_connected)
                log_warning("Stopping at once: %u jobs are killed.", state.running);
        else if (state.running > 0)
                log_warning(
                        "Stopping at once; the executor cannot be reached, and its %u jobs go on.",
                        state.running);
        node->stopping = true;
        mesh_say_goodbye(node->mesh);
        (void) executor_client_stop(node->executor, /* kill_jobs= */ true);
        set_stop_timer(node, ABORT_FLUSH_USEC, on_flushed);
}
