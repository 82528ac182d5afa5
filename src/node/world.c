/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The real world of the mind: its questions to clock, random source, network, store and executor, and what
 * these report. Nothing here decides anything. */

#include "node/internal.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/random.h"

static usec_t world_now(void *userdata) {
        return now_usec(CLOCK_BOOTTIME);
}

static usec_t world_now_realtime(void *userdata) {
        return now_usec(CLOCK_REALTIME);
}

static void world_random(void *userdata, void *buffer, size_t size) {
        random_bytes(buffer, size);
}

static void world_set_timer(void *userdata, usec_t at_usec) {
        struct node *node = userdata;
        int r;

        r = sd_event_source_set_time(node->mesh_timer, at_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(
                        node->mesh_timer, at_usec == USEC_INFINITY ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        if (r < 0)
                log_error_errno(r, "Failed to set the mesh timer: %m");
}

static void
world_send(void *userdata, const struct sockaddr_in *address, const struct mesh_message *message, bool pad) {
        struct node *node = userdata;

        (void) discovery_send(node->discovery, message, pad, address);
}

static void world_broadcast(void *userdata, const struct mesh_message *message, bool pad) {
        struct node *node = userdata;

        (void) discovery_broadcast(node->discovery, message, pad);
}

static void world_store(void *userdata, struct record_batch *batch) {
        struct node *node = userdata;

        store_write(node->store, batch);
}

static int world_start(void *userdata, const struct run_id *run, const struct job_spec *spec) {
        struct node *node = userdata;

        return executor_client_start(node->executor, run, spec);
}

static void world_kill(void *userdata, const struct run_id *run) {
        struct node *node = userdata;

        (void) executor_client_kill(node->executor, run);
}

static void world_withdraw(void *userdata, const struct run_id *run) {
        struct node *node = userdata;

        (void) executor_client_withdraw(node->executor, run);
}

static void world_release(void *userdata, const struct run_id *run) {
        struct node *node = userdata;

        if (!journal_holds(node->journal, run))
                (void) executor_client_release(node->executor, run);
}

static void world_hurry(void *userdata) {
        struct node *node = userdata;

        executor_client_hurry(node->executor);
}

static void world_accepted(void *userdata, void *tag, int error, unsigned copies) {
        struct node *node = userdata;

        ops_accepted(node->ops, tag, error, copies);
}

static void world_job_finished(void *userdata, const struct job_spec *spec, enum job_status status) {
        struct node *node = userdata;

        if (log_max_level() >= LOG_DEBUG && !log_is_journal()) {
                char id[UUID_TEXT_SIZE];

                log_debug("Job %s: %s.", uuid_to_text(&spec->id, id), job_status_to_text(status));
        }
        ops_job_finished(node->ops, &spec->id, status);
}

static void world_began_elsewhere(void *userdata, const struct uuid *job) {
        struct node *node = userdata;

        ops_run_started(node->ops, job);
}

static void world_job_moved(void *userdata, const struct uuid *id) {
        struct node *node = userdata;

        ops_job_moved(node->ops, id);
}

static void world_status_changed(void *userdata) {
        struct node *node = userdata;

        status_touch(node);
        if (node->ops)
                ops_status_changed(node->ops);
}

/* Anybody can invent peers; only those that have answered a fresh question are worth a line each. */
static bool peer_is_worth_a_line(struct node *node, const struct mesh_peer *peer) {
        unsigned suppressed;

        if (peer->verified)
                return true;
        if (!ratelimit_below(&node->strangers, now_usec(CLOCK_BOOTTIME)))
                return false;
        suppressed = node->strangers.suppressed;
        node->strangers.suppressed = 0;
        if (suppressed > 0)
                log_info("Left out %u lines about nodes that have not proven to be there.", suppressed);
        return true;
}

static void world_peer_changed(void *userdata, const struct mesh_peer *peer, bool gone) {
        const struct node_info *info = &peer->info;
        struct node *node = userdata;

        bool found = !gone && !peer->verified && peer->first_heard_usec == peer->last_heard_usec;

        if (peer->verified && peer->lost && !gone)
                log_event(
                        LOG_NOTICE, MESSAGE_PEER_LOST,
                        "Peer %s at %s does not answer; what it had of our jobs begins again elsewhere.",
                        info->node_id, info->address);
        else if (peer->verified && !gone)
                log_debug(
                        "Peer %s at %s is here: %s.", info->node_id, info->address,
                        node_status_to_text(info->status));
        else if ((gone || found) && peer_is_worth_a_line(node, peer))
                log_info(
                        "%s %s at %s %s.", peer->trusted ? "Peer" : "A node that is not of this mesh,",
                        info->node_id, info->address, gone ? "has left" : "has been found");
        ops_peer_changed(node->ops, peer, gone);
}

static void world_incarnation_raised(void *userdata, uint64_t incarnation) {
        struct node *node = userdata;

        /* Written when the node stops: until then the peers' memory is as good, and the loop must not wait.
         */
        node->incarnation = incarnation;
        log_warning(
                "Peers have heard a later start of this node; continuing above it, as start %" PRIu64 ".",
                incarnation);
}

static void world_drain_written(void *userdata, int error) {
        struct node *node = userdata;

        ops_drain_written(node->ops, error);
}

static void world_notice(void *userdata, int priority, const char *message_id, const char *text) {
        log_event(priority, message_id, "%s.", text);
}

const struct mesh_ops world_mesh_ops = {
        .now = world_now,
        .now_realtime = world_now_realtime,
        .random = world_random,
        .set_timer = world_set_timer,
        .send = world_send,
        .broadcast = world_broadcast,
        .store = world_store,
        .start = world_start,
        .kill = world_kill,
        .withdraw = world_withdraw,
        .release = world_release,
        .link_open = world_link_open,
        .link_send = world_link_send,
        .link_close = world_link_close,
        .hurry = world_hurry,
        .accepted = world_accepted,
        .began_elsewhere = world_began_elsewhere,
        .job_finished = world_job_finished,
        .job_moved = world_job_moved,
        .status_changed = world_status_changed,
        .peer_changed = world_peer_changed,
        .incarnation_raised = world_incarnation_raised,
        .drain_written = world_drain_written,
        .notice = world_notice,
};

static void on_written(void *userdata, struct record_batch *batch, int error) {
        struct node *node = userdata;

        journal_written(node->journal, batch, error);
        mesh_written(node->mesh, batch, error);
}

static void on_store_health(void *userdata, int error, const char *reason) {
        struct node *node = userdata;

        mesh_store_health(node->mesh, error, reason);
}

static int on_guest(void *userdata, struct store_guest *guest) {
        struct node *node = userdata;
        int r;

        r = mesh_restore_guest(
                node->mesh, guest->spec, &guest->run, guest->owner_node_id, &guest->executor, guest->result);
        job_spec_unref(guest->spec);
        job_result_unref(guest->result);
        return r;
}

static int on_copy(void *userdata, struct store_copy *copy) {
        struct node *node = userdata;
        int r;

        r = mesh_restore_copy(
                node->mesh, copy->spec, &copy->run, copy->epoch, copy->term, copy->owner_node_id,
                copy->executor_node_id[0] != '\0' ? copy->executor_node_id : NULL, copy->retries_used,
                copy->cancel_requested);
        job_spec_unref(copy->spec);
        return r;
}

static int on_swept(void *userdata, const char *owner_node_id, uint64_t term, uint64_t owner_instance) {
        struct node *node = userdata;

        return mesh_restore_swept(node->mesh, owner_node_id, term, owner_instance);
}

static int on_holder(void *userdata, const char *node_id, uint64_t term) {
        struct node *node = userdata;

        return mesh_restore_holder(node->mesh, node_id, term);
}

static void on_drain(void *userdata, const struct store_drain *found) {
        const struct mesh_drain drain = { .since = found->since, .until = found->until, .uid = found->uid };
        struct node *node = userdata;

        mesh_restore_drain(node->mesh, &drain);
}

const struct store_handlers world_store_handlers = {
        .drain = on_drain,
        .guest = on_guest,
        .copy = on_copy,
        .swept = on_swept,
        .holder = on_holder,
        .written = on_written,
        .health_changed = on_store_health,
};

int world_restore_job(void *userdata, struct store_unfinished *job) {
        struct node *node = userdata;
        int r;

        if (job->executor_node_id[0] == '\0' || streq(job->executor_node_id, node->identity.node_id))
                journal_restored(node->journal, job);
        r = mesh_restore(
                node->mesh, job->spec, job->status, &job->run, job->epoch, job->in_executor, &job->executor,
                job->executor_node_id[0] != '\0' ? job->executor_node_id : NULL, job->started_at,
                job->cancel_requested, job->retries_used);
        job_spec_unref(job->spec);
        return r;
}

static int on_executor_synchronised(
        void *userdata, const struct uuid *instance, const struct executor_known_run *runs, size_t n_runs) {
        _cleanup_free_ struct mesh_known_run *known = NULL;
        struct node *node = userdata;

        known = calloc(MAX(n_runs, (size_t) 1), sizeof(*known));
        if (!known)
                return -ENOMEM;
        for (size_t i = 0; i < n_runs; i++)
                known[i] = (struct mesh_known_run){
                        .run = runs[i].run,
                        .started = runs[i].started,
                        .ended = runs[i].ended,
                        .started_at = runs[i].started_at,
                };
        log_debug("Executor connected; it has %zu runs.", n_runs);
        journal_synchronised(node->journal, runs, n_runs);
        mesh_executor_synchronised(node->mesh, instance, known, n_runs);
        ops_executor_synchronised(node->ops);
        job_limits_say(node);
        stop_executor_is_back(node);
        return 0;
}

static void tell_executor_gone(struct node *node) {
        char span[SPAN_TEXT_MAX];

        if (ratelimit_below(&node->executors, now_usec(CLOCK_BOOTTIME))) {
                node->executors.suppressed = 0;
                log_warning("The executor is gone; connecting again.");
                return;
        }
        log_event(
                LOG_ERR, MESSAGE_EXECUTOR_GONE,
                "The executor is gone, for the %u. time within %s; connecting again.",
                node->executors.used + node->executors.suppressed,
                format_span(span, sizeof(span), EXECUTOR_GONE_USEC));
}

static void on_executor_disconnected(void *userdata) {
        struct node *node = userdata;

        if (!node->stopping && !node->executor_let_go)
                tell_executor_gone(node);
        journal_disconnected(node->journal);
        mesh_executor_lost(node->mesh);
        stop_check(node);
}

static void on_run_started(void *userdata, const struct run_id *run, usec_t started_at) {
        struct node *node = userdata;

        mesh_run_started(node->mesh, run, started_at);
        ops_run_started(node->ops, &run->job);
}

static void on_run_exited(void *userdata, struct job_result *result) {
        struct node *node = userdata;

        journal_exited(node->journal, result);
        mesh_run_ended(node->mesh, result);
}

static void on_executor_stopping(void *userdata) {
        stop_executor_stops(userdata);
}

/* Who has subscribed waits for every job. */
static usec_t on_executor_patience(void *userdata) {
        struct node *node = userdata;

        return dbus_has_subscribers(node->dbus) ? 0 : mesh_patience(node->mesh);
}

static bool on_executor_awake(void *userdata) {
        struct node *node = userdata;

        return mesh_is_awake(node->mesh);
}

const struct executor_handlers world_executor_handlers = {
        .synchronised = on_executor_synchronised,
        .disconnected = on_executor_disconnected,
        .started = on_run_started,
        .exited = on_run_exited,
        .stopping = on_executor_stopping,
        .patience = on_executor_patience,
        .awake = on_executor_awake,
};

static void
on_datagram(void *userdata, const struct mesh_message *message, const struct discovery_source *source) {
        const struct mesh_origin origin = {
                .address = source->address,
                .size = source->size,
                .trusted = source->trusted,
        };
        struct node *node = userdata;

        membership_heard(node, message, &source->address);
        mesh_received(node->mesh, message, &origin);
}

static void on_network_changed(void *userdata) {
        struct node *node = userdata;

        mesh_network_changed(node->mesh);
}

const struct discovery_handlers world_discovery_handlers = {
        .received = on_datagram,
        .network_changed = on_network_changed,
};
