/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ways down.
 *
 * From a terminal, orderly: drain, let running jobs end for DrainTimeout=, end what is left, which begins
 * again elsewhere or after the next start, say goodbye, end the executor. At once (a second signal): the
 * same without waiting; what is not written is left to the next start.
 *
 * Where a service manager runs daemon and executor, the daemon's signal alone cannot tell a stop from a
 * restart: a stop reaches the executor first, which says so and waits. Then the node drains as above, lets
 * the executor go, and has nothing left to do but to say goodbye when its own signal comes. A signal without
 * that is a restart: answer who waits, write what was handed to the store, and go silently; the jobs go on.
 */

#include <systemd/sd-daemon.h>

#include "node/internal.h"
#include "util/log.h"

/* After the grace of a kill, for the executor to report and the store to write. */
#define STOP_MARGIN_USEC (5 * USEC_PER_SEC)
/* For the last answers to reach their clients, and the executor to leave. */
#define STOP_FLUSH_USEC USEC_PER_SEC
#define ABORT_FLUSH_USEC (50 * USEC_PER_MSEC)

static bool executor_is_managed(const struct node *node) {
        return node->config->executor_socket != NULL;
}

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

/* The last part of every way: nothing is decided any more, clients get their last answers. */
static void leave(struct node *node, bool say_goodbye) {
        if (node->leaving)
                return;
        node->leaving = true;
        if (say_goodbye)
                mesh_say_goodbye(node->mesh);
        rest_stop_accepting(node->rest);
        /* An executor that keeps results which could not be written stays with them for the next start. */
        if (!executor_is_managed(node) && mesh_is_idle(node->mesh))
                (void) executor_client_stop(node->executor, /* kill_jobs= */ true);
        set_stop_timer(node, STOP_FLUSH_USEC, on_flushed);
        stop_check(node);
}

/* All has ended that is going to: what waits for that goes on. */
static void drained(struct node *node) {
        if (node->stopping)
                leave(node, /* say_goodbye= */ true);
        else if (!node->executor_let_go) {
                node->executor_let_go = true;
                node->stop_timer = sd_event_source_disable_unref(node->stop_timer);
                (void) executor_client_let_go(node->executor);
        }
}

static int on_kill_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        log_warning("Some jobs did not end or could not be written; leaving them to the next start.");
        drained(node);
        return 0;
}

static int on_drain_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        mesh_hand_back(node->mesh);
        set_stop_timer(node, usec_add(node->config->kill_grace_usec, STOP_MARGIN_USEC), on_kill_over);
        return 0;
}

static void drain(struct node *node, const char *how_to_hurry) {
        char span[SPAN_TEXT_MAX];
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        if (state.running > 0)
                log_notice(
                        "Stopping: %u %s; waiting up to %s for %s.%s", state.running,
                        state.running == 1 ? "job still runs" : "jobs still run",
                        format_span(span, sizeof(span), node->config->drain_timeout_usec),
                        state.running == 1 ? "it" : "them", how_to_hurry);
        set_stop_timer(node, node->config->drain_timeout_usec, on_drain_over);
        mesh_drain(node->mesh, MESH_DRAIN_STOP);
        status_touch(node);
}

/* Is there anything left to wait for? */
void stop_check(struct node *node) {
        if (node->leaving) {
                if (rest_pending(node->rest) == 0 &&
                    (executor_is_managed(node) || !executor_client_is_synchronised(node->executor)))
                        (void) sd_event_exit(node->event, 0);
                return;
        }
        if ((node->stopping || node->executor_stopping) && mesh_is_idle(node->mesh))
                drained(node);
        else if (
                node->stopping && executor_is_managed(node) &&
                !executor_client_is_synchronised(node->executor))
                /* It was to drain, and is gone: what it had is told by the next one. */
                leave(node, /* say_goodbye= */ true);
}

void stop_executor_stops(struct node *node) {
        if (node->stopping || node->executor_stopping)
                return;
        node->executor_stopping = true;
        drain(node, "");
}

void stop_executor_is_back(struct node *node) {
        if (node->stopping || !node->executor_stopping)
                return;
        log_info("The executor was stopped alone, and is back: taking jobs again.");
        node->executor_stopping = node->executor_let_go = false;
        node->stop_timer = sd_event_source_disable_unref(node->stop_timer);
        mesh_resume(node->mesh, MESH_DRAIN_STOP);
        status_touch(node);
}

void node_stop(struct node *node) {
        if (node->stopping)
                return;
        node->stopping = true;
        (void) sd_notify(/* unset_environment= */ false, "STOPPING=1");

        if (!executor_is_managed(node))
                drain(node, " A second signal ends them at once.");
        else if (node->executor_stopping)
                stop_check(node);
        else
                leave(node, /* say_goodbye= */ false);
}

static void kill_jobs(struct node *node) {
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        if (state.running > 0 && state.executor_connected)
                log_warning("Stopping at once: %u jobs are killed.", state.running);
        else if (state.running > 0)
                log_warning(
                        "Stopping at once; the executor cannot be reached, and its %u jobs go on.",
                        state.running);
        /* What they come to, as far as it is heard, is that they begin again. */
        mesh_hand_back(node->mesh);
        mesh_say_goodbye(node->mesh);
        (void) executor_client_stop(node->executor, /* kill_jobs= */ true);
}

void node_abort(struct node *node) {
        node->stopping = node->leaving = true;
        if (!executor_is_managed(node))
                kill_jobs(node);
        set_stop_timer(node, ABORT_FLUSH_USEC, on_flushed);
}
