/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "node/journal-budget.h"

#include "util/macros.h"

/* A person can read what one job may write; a thousand short jobs a second find room. */
const struct budget_limits budget_of_job = { .lines = 2000,
                                             .bytes = 256 * 1024,
                                             .lines_per_sec = 200,
                                             .bytes_per_sec = 64 * 1024 };
const struct budget_limits budget_of_node = { .lines = 20000,
                                              .bytes = 8 * 1024 * 1024,
                                              .lines_per_sec = 5000,
                                              .bytes_per_sec = 1024 * 1024 };

void budget_init(struct budget *budget, const struct budget_limits *limits, usec_t now) {
        *budget = (struct budget){
                .limits = limits, .lines = limits->lines, .bytes = limits->bytes, .filled_usec = now
        };
}

void budget_fill(struct budget *budget, usec_t now) {
        const struct budget_limits *limits = budget->limits;
        /* Longer than it takes to fill it from any debt means nothing more. */
        int64_t passed = (int64_t) MIN(usec_sub(now, budget->filled_usec), USEC_PER_HOUR);
        int64_t lines = passed * limits->lines_per_sec / (int64_t) USEC_PER_SEC;

        /* Only whole lines are given out; the rest of the time counts the next time. */
        if (lines < 1)
                return;
        budget->lines = MIN(budget->lines + lines, limits->lines);
        budget->bytes =
                MIN(budget->bytes + passed * limits->bytes_per_sec / (int64_t) USEC_PER_SEC, limits->bytes);
        budget->filled_usec = now;
}
