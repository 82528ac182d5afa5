/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a changed configuration means for a node that runs. */

#include "node/internal.h"
#include "node/labels.h"
#include "util/log.h"
#include "util/message-ids.h"

static void say_what_waits(const struct config *old, const struct config *new) {
        _cleanup_free_ char *keys = NULL;
        int r;

        r = config_list_changes_for_start(old, new, &keys);
        if (r < 0)
                (void) log_oom();
        else if (keys)
                log_event(
                        LOG_WARNING, MESSAGE_CONFIG_NEEDS_RESTART,
                        "Changed, and to take effect at the next start: %s.", keys);
}

static void reload_labels(struct node *node) {
        struct metadata_entry labels[LABELS_MAX];
        size_t n_labels;

        labels_fill(node->config->labels, labels, &n_labels);
        mesh_set_labels(node->mesh, labels, n_labels);
}

void node_reload(struct node *node, const struct config *old, const struct config *config) {
        node->config = config;
        log_set_max_level(config->log_level);
        journal_set_output(node->journal, config->journal_output);
        reload_labels(node);
        mesh_keys_reload(node);
        mesh_set_slots(node->mesh, config->slots);
        (void) executor_client_set_slots(node->executor, config->slots);
        executor_client_set_default_limits(node->executor, &config->job_limits);
        ops_set_limits(node->ops, &config->job_limits, &config->job_ceilings);
        job_limits_say_defaults(node);
        mesh_set_intervals(node->mesh, config->heartbeat_interval_usec, config->peer_timeout_usec);
        store_set_history_limits(
                node->store, config->history_max_age_usec, config->history_max_jobs,
                config->history_max_bytes);
        say_what_waits(old, config);
}
