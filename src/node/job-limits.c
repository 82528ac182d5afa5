/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tells the administrator which limits of jobs this machine cannot enforce. */

#include "wire/job-limits.h"
#include "node/internal.h"
#include "util/message-ids.h"

void job_limits_say(struct node *node) {
        const struct limit_support *support = executor_client_support(node->executor);
        char text[SUPPORT_TEXT_MAX];

        if (!support || (node->support_said && memcmp(support, &node->support, sizeof(*support)) == 0))
                return;
        node->support = *support;
        if (limit_support_kinds(support) == LIMITS_ALL) {
                if (node->support_said)
                        log_notice("Every limit of a job can be enforced now.");
        } else
                log_event(
                        LOG_NOTICE, MESSAGE_LIMITS_UNAVAILABLE,
                        "Limits of jobs that cannot be enforced here: %s. A job that asks for one is "
                        "refused, unless it says \"best_effort\".",
                        limit_support_describe(support, text));
        node->support_said = true;
        job_limits_say_defaults(node);
}

void job_limits_say_defaults(const struct node *node) {
        const struct limit_support *support = executor_client_support(node->executor);
        struct job_limits limits = node->config->job_limits;
        enum limit_field field;
        char text[OBSTACLE_TEXT_MAX];

        if (!support || !job_limits_refused(&limits, support, &field))
                return;
        log_warning(
                "The node's setting of %s for its jobs has no effect: %s.", limit_field_to_text(field),
                limit_obstacle_describe(
                        limit_support_obstacle(support, limit_field_kind(field)), limit_field_kind(field),
                        text));
}
