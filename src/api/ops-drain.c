/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The node is drained, and resumed: it takes effect at once, and is answered when the disk has it. */

#include "api/ops-internal.h"
#include "mesh/mesh.h"

static bool is_valid(struct ops_call *call, const struct ops_drain_request *request) {
        if (!request || !request->has_timeout)
                return true;
        if (request->timeout_seconds >= 0 && request->timeout_seconds <= OPS_DRAIN_MAX_SEC)
                return true;
        problem_set(
                &call->problem, PROBLEM_INVALID, "timeout_seconds must be from 0 to %d", OPS_DRAIN_MAX_SEC);
        call->problem.field = "timeout_seconds";
        return false;
}

int ops_set_drain(
        struct ops *ops, const struct caller *caller, const struct ops_drain_request *request,
        ops_done_t handler, void *userdata, struct ops_call **ret) {
        usec_t limit_usec = USEC_INFINITY;
        struct ops_call *call;
        int r;

        r = managing_call_new(ops, CALL_DRAIN, caller, handler, userdata, &call);
        if (r < 0)
                return r;
        if (call->problem.code != PROBLEM_NONE || !is_valid(call, request)) {
                call_later(call, managing_call_answer);
                *ret = call;
                return 0;
        }

        if (request && request->has_timeout)
                limit_usec = (usec_t) request->timeout_seconds * USEC_PER_SEC;
        r = request ? mesh_drain_asked(ops->mesh, caller->uid, limit_usec)
                    : mesh_resume_asked(ops->mesh, caller->uid);
        if (r < 0) {
                call_free(call);
                return r;
        }
        call->done.waits = true;
        *ret = call;
        return 0;
}

/* Also one that could not be written is in effect, and is tried again: what is told of the node says so. */
void ops_drain_written(struct ops *ops, int error) {
        struct ops_call *call;

        LIST_FOREACH(&ops->calls, call, struct ops_call, link)
                if (call->type == CALL_DRAIN && call->done.waits) {
                        call->done.waits = false;
                        call_later(call, managing_call_answer);
                }
}
