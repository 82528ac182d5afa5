/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the disk knows of recent jobs, for the mind's index: first of this node's, then of those of which it
 * has the copies. It is read after the start, a slice at a time, so that neither the loop nor who asks the
 * store waits for it. */

#include "mesh/index.h"
#include "node/internal.h"

#define SLICE 500u
#define BUSY_WAIT_USEC (100 * USEC_PER_MSEC)

static void ask(struct node *node);

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        struct node *node = userdata;

        node->recent_timer = sd_event_source_disable_unref(node->recent_timer);
        ask(node);
        return 0;
}

static void begin(struct node *node, enum recent_part part) {
        node->recent_part = part;
        node->recent_before = UINT64_MAX;
        node->recent_left = node->config->index_max;
        ask(node);
}

static void done(struct node *node, int error) {
        if (error < 0)
                log_warning_errno(
                        error, "Cannot read %s recent jobs, some are missing from the mesh's list: %m",
                        node->recent_part == RECENT_OWN ? "this node's" : "the copies of other nodes'");
        if (node->recent_part == RECENT_COPIES)
                return;
        mesh_index_restored(node->mesh);
        begin(node, RECENT_COPIES);
}

static int take(struct node *node, const struct store_answer *answer) {
        _cleanup_free_ struct mesh_index_item *items = calloc(MAX(answer->n_jobs, 1u), sizeof(*items));

        if (!items)
                return -ENOMEM;
        for (size_t i = 0; i < answer->n_jobs; i++) {
                const struct stored_job *job = &answer->jobs[i];

                items[i] = (struct mesh_index_item){
                        .id = job->id,
                        .owner_node_id = job->owner_node_id,
                        .executor_node_id = job->executor_node_id,
                        .status = job->status,
                        .has_exit_code = job->has_exit_code,
                        .exit_code = job->exit_code,
                        .created_at = job->created_at,
                        .started_at = job->started_at,
                        .finished_at = job->finished_at,
                        .epoch = job->epoch,
                };
        }
        return mesh_index_restore(node->mesh, items, answer->n_jobs);
}

static void on_slice(void *userdata, const struct store_answer *answer) {
        struct node *node = userdata;
        int r = answer->error;

        if (r >= 0)
                r = take(node, answer);
        node->recent_left -= MIN(node->recent_left, answer->n_jobs);
        node->recent_before = answer->next_before;
        if (r < 0 || !answer->more || node->recent_left == 0)
                done(node, r);
        else
                ask(node);
}

static void ask(struct node *node) {
        size_t limit = MIN(node->recent_left, (size_t) SLICE);
        int r;

        if (node->recent_part == RECENT_OWN)
                r = store_list_recent(node->store, node->recent_before, limit, on_slice, node, NULL);
        else
                r = store_list_recent_copies(node->store, node->recent_before, limit, on_slice, node, NULL);
        if (r == -EBUSY)
                r = sd_event_add_time_relative(
                        node->event, &node->recent_timer, CLOCK_MONOTONIC, BUSY_WAIT_USEC, 0, on_retry,
                        node);
        if (r < 0)
                done(node, r);
}

void recent_jobs_read(struct node *node) {
        begin(node, RECENT_OWN);
}
