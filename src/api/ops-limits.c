/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Limits of jobs: what this node allows, and what it can enforce. */

#include <inttypes.h>

#include "api/ops-internal.h"
#include "executor/client.h"
#include "wire/job-limits.h"

void ops_set_limits(struct ops *ops, const struct job_limits *defaults, const struct job_limits *ceilings) {
        ops->default_limits = *defaults;
        ops->limit_ceilings = *ceilings;
}

void ops_fill_limits(const struct ops *ops, struct ops_status *status) {
        status->limit_support = ops->executor ? executor_client_support(ops->executor) : NULL;
        status->default_limits = ops->default_limits;
        status->limit_ceilings = ops->limit_ceilings;
}

static bool is_below_ceilings(
        const struct job_limits *limits, const struct job_limits *ceilings, struct problem *problem) {
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t value = job_limits_get(limits, field), ceiling = job_limits_get(ceilings, field);

                if (ceiling == 0 || value <= ceiling)
                        continue;
                problem_set(
                        problem, PROBLEM_INVALID, "%s is %" PRIu64 "; this node allows at most %" PRIu64,
                        limit_field_to_text(field), value, ceiling);
                problem->field = limit_field_to_text(field);
                return false;
        }
        return true;
}

/* As long as no executor was seen nobody knows, and the executor refuses what it cannot do. */
static bool is_enforceable(const struct ops *ops, const struct job_limits *limits, struct problem *problem) {
        const struct limit_support *support = executor_client_support(ops->executor);
        char text[REFUSAL_TEXT_MAX];
        enum limit_field field;

        if (!support || !job_limits_refused(limits, support, &field))
                return true;
        problem_set(problem, PROBLEM_LIMIT, "%s", limit_refusal_describe(field, support, text));
        problem->field = limit_field_to_text(field);
        return false;
}

bool limits_are_allowed(const struct ops *ops, const struct job_request *request, struct problem *problem) {
        struct job_limits limits;

        job_request_get_limits(request, &limits);
        return job_limits_kinds(&limits) == 0 ||
               (is_below_ceilings(&limits, &ops->limit_ceilings, problem) &&
                is_enforceable(ops, &limits, problem));
}
