/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which of two answers about one job counts. After a long split a job may have had two owners, each of which
 * was right on its side: every node has to choose the same one, whatever it heard first. */

#include <stdint.h>

#include "wire/types.h"

struct job_end {
        enum job_status status;
        uint64_t epoch;
        const char *owner_node_id;
};

/* Above 0: a counts; below: b does; 0: they are the same. What has ended comes before what has not; of two
 * ends COMPLETED, FAILED, TIMEOUT, CANCELLED, then the lower epoch, then the smaller owner; of two that have
 * not ended the higher epoch, then the larger owner. A total order. */
int job_end_compare(const struct job_end *a, const struct job_end *b);
