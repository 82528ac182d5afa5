/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Life of the mind, its one timer, and what it says of itself. */

#include <stdio.h>
#include <syslog.h>

#include "mesh/internal.h"
#include "util/message-ids.h"

usec_t mesh_now(const struct mesh *mesh) {
        return mesh->ops.now(mesh->userdata);
}

uint64_t mesh_random_below(struct mesh *mesh, uint64_t limit) {
        uint64_t value;

        mesh->ops.random(mesh->userdata, &value, sizeof(value));
        return limit > 0 ? value % limit : 0;
}

int mesh_new(
        const struct mesh_config *config, const struct mesh_ops *ops, void *userdata, struct mesh **ret) {
        struct mesh *mesh = calloc(1, sizeof(*mesh));
        int r;

        if (!mesh)
                return -ENOMEM;

        mesh->config = *config;
        mesh->ops = *ops;
        mesh->userdata = userdata;
        mesh->started_usec = mesh_now(mesh);
        class_init(&mesh->open_class, NULL, /* here_only= */ false);
        class_init(&mesh->own_class, NULL, /* here_only= */ true);
        list_init(&mesh->open_classes);
        list_init(&mesh->own_classes);
        list_init(&mesh->pinned_classes);
        list_init(&mesh->distant);
        list_init(&mesh->guests_waiting);
        list_init(&mesh->guests_unsaved);
        list_init(&mesh->in_hand);
        list_init(&mesh->started);
        list_init(&mesh->unsaved);
        list_init(&mesh->late_unsaved);
        list_init(&mesh->answers);
        list_init(&mesh->unmerged);
        list_init(&mesh->keeper.unsent);
        list_init(&mesh->keeper.sent);
        mesh->heartbeat_due = mesh->hello_due = mesh->peers_due = mesh->answers_due = mesh->started_due =
                mesh->retry_due = mesh->links_due = mesh->keeper_due = mesh->claims_due = mesh->index_due =
                        mesh->rooms_due = mesh->delayed_due = mesh->drain_due = mesh->timer_at =
                                mesh->held_back_until = mesh->announce_due = USEC_INFINITY;
        mesh->held_version = 1;
        r = index_new(mesh);
        if (r < 0) {
                mesh_free(mesh);
                return r;
        }

        *ret = mesh;
        return 0;
}

struct mesh *mesh_free(struct mesh *mesh) {
        struct mesh_job *job;
        struct peer *peer;

        if (!mesh)
                return NULL;

        MAP_FOREACH(&mesh->jobs, job, struct mesh_job, by_id)
                job_free(mesh, job);
        guests_free(mesh);
        MAP_FOREACH(&mesh->peers, peer, struct peer, by_id)
                peer_free(mesh, peer);
        strangers_free(mesh);
        late_free(mesh);
        places_free(mesh);
        keeper_free(mesh);
        merges_drop(mesh, /* write= */ false);
        index_free(mesh);
        free(mesh->ready);
        node_name_unref(mesh->served);
        free(mesh);
        return NULL;
}

void mesh_start(struct mesh *mesh) {
        mesh->working = true;
        drain_start(mesh);
        hello_begin(mesh, 3);
        hello_send(mesh);
        mesh->peers_due = usec_add(mesh_now(mesh), mesh->config.peer_timeout_usec);
        claims_start(mesh);
        keeper_start(mesh);
        takeover_start(mesh);
        jobs_schedule(mesh);
        mesh_arm(mesh);
}

/* The earliest of all that is due decides when the timer runs; it is set anew only when that changes. */
void mesh_arm(struct mesh *mesh) {
        usec_t at = mesh->heartbeat_due;

        at = MIN(at, mesh->hello_due);
        at = MIN(at, mesh->peers_due);
        at = MIN(at, mesh->answers_due);
        at = MIN(at, mesh->started_due);
        at = MIN(at, mesh->retry_due);
        at = MIN(at, mesh->links_due);
        at = MIN(at, mesh->keeper_due);
        at = MIN(at, mesh->claims_due);
        at = MIN(at, mesh->index_due);
        at = MIN(at, mesh->rooms_due);
        at = MIN(at, mesh->delayed_due);
        at = MIN(at, mesh->drain_due);
        if (!mesh->working || at == mesh->timer_at)
                return;

        mesh->timer_at = at;
        mesh->ops.set_timer(mesh->userdata, at);
}

static bool take_due(usec_t *due, usec_t now) {
        if (*due > now)
                return false;
        *due = USEC_INFINITY;
        return true;
}

static bool has_slept(const struct mesh *mesh) {
        return mesh->timer_at != USEC_INFINITY && mesh_now(mesh) > usec_add(mesh->timer_at, PAUSE_USEC);
}

bool mesh_is_awake(struct mesh *mesh) {
        /* Who came back has to hear what was given up; alone there is nobody who could have. */
        if (mesh->n_peers == 0)
                return true;
        return !has_slept(mesh) && mesh_now(mesh) >= usec_add(mesh->started_usec, AWAKE_USEC) &&
               (mesh->paused_usec == 0 || mesh_now(mesh) >= usec_add(mesh->paused_usec, AWAKE_USEC));
}

void mesh_timer_due(struct mesh *mesh) {
        usec_t now = mesh_now(mesh);

        /* Silence that we slept through is not the peers' (Lifeguard, arXiv 1707.00788). */
        if (has_slept(mesh)) {
                mesh->paused_usec = now;
                mesh->judge_after_usec = usec_add(now, mesh->config.heartbeat_interval_usec * 2);
        }
        mesh->timer_at = USEC_INFINITY;

        if (take_due(&mesh->hello_due, now))
                hello_send(mesh);
        if (take_due(&mesh->heartbeat_due, now))
                heartbeat_send(mesh);
        if (take_due(&mesh->answers_due, now))
                questions_send_answers(mesh);
        if (take_due(&mesh->peers_due, now)) {
                peers_check(mesh);
                rival_check(mesh);
        }
        if (take_due(&mesh->started_due, now))
                runs_write_started(mesh);
        if (take_due(&mesh->retry_due, now))
                jobs_retry_unsaved(mesh);
        if (take_due(&mesh->links_due, now))
                places_open_links(mesh);
        if (take_due(&mesh->keeper_due, now))
                keeper_check(mesh);
        if (take_due(&mesh->claims_due, now))
                claims_check(mesh);
        if (take_due(&mesh->index_due, now))
                index_timer(mesh);
        if (take_due(&mesh->rooms_due, now))
                places_review(mesh);
        if (take_due(&mesh->delayed_due, now))
                retries_begin(mesh);
        if (take_due(&mesh->drain_due, now))
                mesh_hand_back(mesh);
        mesh_arm(mesh);
}

/* Hands a batch to the store; an empty one is dropped. */
void mesh_write(struct mesh *mesh, struct record_batch *batch) {
        if (batch->n_records == 0) {
                record_batch_free(batch);
                return;
        }
        mesh->n_batches++;
        mesh->ops.store(mesh->userdata, batch);
}

enum node_status mesh_status(const struct mesh *mesh, const char **ret_reason) {
        const char *reason = NULL;
        enum node_status status;

        if (mesh->rival.elder) {
                status = NODE_FAILED;
                reason = "another node with the same id is running";
        } else if (mesh->store_failing) {
                status = NODE_FAILED;
                reason = mesh->store_reason;
        } else if (mesh->draining) {
                status = NODE_DRAINING;
                reason = mesh->draining & MESH_DRAIN_STOP ? "the node is stopping"
                                                          : "the node is being drained";
        } else
                status = mesh->n_running + mesh->n_guests_running > 0 ? NODE_BUSY : NODE_IDLE;

        if (ret_reason)
                *ret_reason = reason;
        return status;
}

void mesh_get_state(const struct mesh *mesh, struct mesh_state *ret) {
        *ret = (struct mesh_state){
                .slots = mesh->config.slots,
                .running = (unsigned) (mesh->n_running + mesh->n_guests_running),
                .queued = (unsigned) mesh->n_queued,
                .n_peers = (unsigned) mesh->n_peers,
                .n_strangers = (unsigned) mesh->n_strangers,
                .incarnation = mesh->config.incarnation,
                .executor_connected = mesh->executor_connected,
                .labels = mesh->config.labels,
                .n_labels = mesh->config.n_labels,
                .pressure = mesh->pressure,
                .drain = mesh->drain.since > 0 ? &mesh->drain : NULL,
        };
        ret->status = mesh_status(mesh, &ret->status_reason);
}

const struct mesh_peer *mesh_get_peer(const struct mesh *mesh, const char *node_id) {
        const struct peer *peer = peer_find((struct mesh *) mesh, node_id);

        return peer ? &peer->public : NULL;
}

const struct mesh_peer *mesh_get_listed(const struct mesh *mesh, const char *node_id) {
        const struct mesh_peer *peer = mesh_get_peer(mesh, node_id);

        return peer ? peer : strangers_get(mesh, node_id);
}

void mesh_foreach_peer(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata) {
        struct peer *peer;

        MAP_FOREACH(&mesh->peers, peer, struct peer, by_id)
                function(userdata, &peer->public);
        strangers_foreach(mesh, function, userdata);
}

void mesh_store_health(struct mesh *mesh, int error, const char *reason) {
        bool failing = error < 0;

        if (failing)
                (void) snprintf(
                        mesh->store_reason, sizeof(mesh->store_reason), "%s",
                        reason ? reason : "the database cannot be written");
        if (failing == mesh->store_failing)
                return;

        mesh->store_failing = failing;
        if (failing)
                mesh->ops.notice(mesh->userdata, LOG_ERR, MESSAGE_DATABASE_FAILING, mesh->store_reason);
        else {
                mesh->ops.notice(
                        mesh->userdata, LOG_NOTICE, MESSAGE_DATABASE_RECOVERED,
                        "the database can be written again");
                jobs_retry_unsaved(mesh);
                jobs_schedule(mesh);
        }
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}

void mesh_set_slots(struct mesh *mesh, unsigned slots) {
        mesh->config.slots = slots;
        jobs_schedule(mesh);
        mesh_arm(mesh);
}

void mesh_set_intervals(struct mesh *mesh, usec_t heartbeat_interval_usec, usec_t peer_timeout_usec) {
        mesh->config.heartbeat_interval_usec = heartbeat_interval_usec;
        mesh->config.peer_timeout_usec = peer_timeout_usec;
        if (!mesh->working)
                return;
        mesh->heartbeat_due = mesh->peers_due = mesh_now(mesh);
        mesh_arm(mesh);
}

void mesh_set_labels(struct mesh *mesh, const struct metadata_entry *labels, size_t n_labels) {
        mesh->config.n_labels = MIN(n_labels, (size_t) LABELS_MAX);
        if (n_labels > 0)
                memcpy(mesh->config.labels, labels, mesh->config.n_labels * sizeof(labels[0]));
        if (!mesh->working)
                return;
        classes_match_here(mesh);
        mesh->heartbeat_due = mesh_now(mesh);
        jobs_schedule(mesh);
        mesh_arm(mesh);
}

void mesh_set_pressure(struct mesh *mesh, const struct node_pressure *pressure) {
        mesh->pressure = *pressure;
}

void mesh_network_changed(struct mesh *mesh) {
        if (!mesh->working || mesh->stopping)
                return;
        hello_begin(mesh, 2);
        mesh->hello_due = mesh_now(mesh);
        mesh_arm(mesh);
}

bool mesh_is_idle(const struct mesh *mesh) {
        return mesh->n_in_hand == 0 && mesh->n_batches == 0 && list_is_empty(&mesh->unsaved) &&
               keeper_is_idle(mesh) && guests_are_delivered(mesh);
}
