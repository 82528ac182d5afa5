/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The mesh's recent jobs, from the mind's index: id, state and times, which are free to read. */

#include "api/ops-internal.h"

int ops_scope_from_text(const char *text, enum ops_scope *ret) {
        if (streq(text, "node"))
                *ret = OPS_SCOPE_NODE;
        else if (streq(text, "mesh"))
                *ret = OPS_SCOPE_MESH;
        else
                return -EINVAL;
        return 0;
}

void index_call_answer(struct ops_call *call) {
        const struct index_query query = {
                .limit = call->list.query.limit,
                .before = call->list.query.before,
                .status_mask = call->list.query.status_mask,
        };
        _cleanup_free_ struct mesh_index_item *items = calloc(query.limit, sizeof(*items));
        struct ops_list answer = {};
        int r = items ? mesh_index_list(call->ops->mesh, &query, items, &answer.next_before) : -ENOMEM;

        if (r < 0)
                problem_set_errno(&answer.problem, r);
        else {
                answer.items = items;
                answer.n_items = (size_t) r;
                answer.more = answer.next_before > 0;
        }
        call->list.handler(call->userdata, &answer);
        call_free(call);
}
