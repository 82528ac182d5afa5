/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mesh/job-end.h"

#include <assert.h>
#include <string.h>

/* The order of the numbers is that of precedence. */
static_assert(
        JOB_COMPLETED < JOB_FAILED && JOB_FAILED < JOB_TIMEOUT && JOB_TIMEOUT < JOB_CANCELLED, "order");

static int compare_epochs(const struct job_end *a, const struct job_end *b) {
        return (a->epoch > b->epoch) - (a->epoch < b->epoch);
}

int job_end_compare(const struct job_end *a, const struct job_end *b) {
        bool a_is_final = job_status_is_final(a->status), b_is_final = job_status_is_final(b->status);
        int by_epoch = compare_epochs(a, b), by_owner = strcmp(a->owner_node_id, b->owner_node_id);

        if (a_is_final != b_is_final)
                return a_is_final ? 1 : -1;
        if (!a_is_final)
                return by_epoch != 0 ? by_epoch : by_owner;
        if (a->status != b->status)
                return a->status < b->status ? 1 : -1;
        return by_epoch != 0 ? -by_epoch : -by_owner;
}
