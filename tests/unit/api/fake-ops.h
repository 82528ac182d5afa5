/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The operations of api/ops.h in memory, without the rest of a node: for tests of the faces. Jobs do nothing
 * until a test ends them. Answers come in a later turn of the loop, as real ones do. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "api/ops.h"

#define FAKE_NODE_ID "node-0123456789abcdef"

struct fake_job {
        struct stored_job job;
        char *key; /* the Idempotency-Key of its request */
};

struct ops {
        sd_event *event;
        sd_event_source *defer;
        struct list ready, waiting; /* calls */

        struct fake_job *jobs; /* in order of acceptance */
        size_t n_jobs;

        /* What the next answers say. */
        struct problem problem; /* with a code other than NONE: every call fails with it */
        enum node_status status;
        bool cancel_pending;      /* a cancel is under way when it is answered */
        usec_t finish_after_usec; /* jobs end by themselves; 0: never */

        unsigned n_started, n_cancelled; /* calls */
        struct ops_drain_request drain;  /* the last one */
        /* Of the last request to join. */
        char token[OPS_INVITATION_TEXT_MAX + 1], inviter[64];
        struct mesh_drain told_drain; /* while the status is DRAINING */
};

struct ops *fake_ops_new(sd_event *event);
struct ops *fake_ops_free(struct ops *ops);

/* The job by its order of acceptance, from 0. */
struct stored_job *fake_ops_job(struct ops *ops, size_t i);
struct stored_job *fake_ops_add(struct ops *ops, const char *command, uid_t submitter);
/* Text that the job has written by now. */
void fake_ops_write(struct ops *ops, size_t i, const char *data, size_t size);
void fake_ops_finish(struct ops *ops, size_t i, int exit_code);
unsigned fake_ops_calls(const struct ops *ops); /* under way */
