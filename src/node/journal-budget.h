/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How many lines and bytes of output may be written now: a store that is filled at a steady rate up to a
 * limit. One for each job that is followed, and one for the node. */

#include <stdbool.h>
#include <stddef.h>

#include "util/time.h"

struct budget_limits {
        int64_t lines, bytes; /* what can be saved up */
        int64_t lines_per_sec, bytes_per_sec;
};

extern const struct budget_limits budget_of_job, budget_of_node;

struct budget {
        const struct budget_limits *limits;
        int64_t lines, bytes; /* below zero after one that was larger than what was left */
        usec_t filled_usec;
};

void budget_init(struct budget *budget, const struct budget_limits *limits, usec_t now);
void budget_fill(struct budget *budget, usec_t now);

static inline bool budget_has_some(const struct budget *budget) {
        return budget->lines > 0 && budget->bytes > 0;
}

static inline void budget_spend(struct budget *budget, size_t bytes) {
        budget->lines--;
        budget->bytes -= (int64_t) bytes;
}
