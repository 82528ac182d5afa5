/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the made-up operations tell of the node, at once. */

#include "fake-ops.h"

int ops_invite(
        struct ops *ops, const struct caller *caller, int64_t expires_seconds, struct ops_invitation *ret,
        struct problem *ret_problem) {
        *ret = (struct ops_invitation){ .token = "wm1invited",
                                        .expires_at = (usec_t) expires_seconds * USEC_PER_SEC };
        *ret_problem = (struct problem){};
        if (expires_seconds < 1) {
                ret_problem->code = PROBLEM_INVALID;
                strcpy(ret_problem->detail, "it would have expired");
        }
        return 0;
}

void ops_get_status(struct ops *ops, struct ops_status *ret) {
        static const struct metadata_entry metadata[] = { { "os", "Debian \"12\"" }, { "kernel", "6.1" } };
        static const struct metadata_entry labels[] = { { "arch", "x86_64" }, { "gpu", "" } };

        static const struct limit_support support = { { OBSTACLE_NONE, OBSTACLE_ABSENT, OBSTACLE_NONE } };

        *ret = (struct ops_status){
                .limit_support = ops->status == NODE_FAILED ? NULL : &support,
                .default_limits = { .tasks_max = 10 },
                .limit_ceilings = { .tasks_max = 20, .memory_max = UINT64_C(1) << 40 },
                .node_id = FAKE_NODE_ID,
                .version = "0.1.0",
                .address = "127.0.0.1:8081",
                .status = ops->status,
                .status_reason = ops->status == NODE_FAILED ? "the disk is full" : NULL,
                .slots = 2,
                .queued = (unsigned) ops->n_jobs,
                .peer_count = 1,
                .started_at = now_usec(CLOCK_REALTIME),
                .executor_connected = true,
                .metadata = metadata,
                .n_metadata = ELEMENTSOF(metadata),
                .labels = labels,
                .n_labels = ELEMENTSOF(labels),
                .drain = ops->status == NODE_DRAINING ? &ops->told_drain : NULL,
                .pressure = { .known = ops->status != NODE_FAILED, .cpu = 1000, .memory = 7, .io = 0 },
        };
}

void ops_foreach_peer(
        struct ops *ops, void (*function)(void *userdata, const struct ops_peer *peer), void *userdata) {
        const struct node_info info = {
                .node_id = "node-fedcba9876543210",
                .address = "127.0.0.1:8082",
                .status = NODE_BUSY,
                .metadata = { { "os", "Debian" } },
                .n_metadata = 1,
                .version = "0.1.0",
                .slots = 4,
                .running = 1,
                .queued = 9,
                .labels = { { "gpu", "a100" } },
                .n_labels = 1,
        };
        const struct ops_peer peer = { .info = &info,
                                       .last_heard_at = now_usec(CLOCK_REALTIME),
                                       .verified = true };

        function(userdata, &peer);
}
