/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where a byte that the job wrote stands in the text that is kept of its output. */

#include <inttypes.h>
#include <stdio.h>

#include "mesh/job.h"

uint64_t job_output_gap(uint64_t kept, uint64_t total, bool truncated) {
        char text[JOB_OUTPUT_GAP_MAX];
        uint64_t size = 0;

        if (!truncated)
                return 0;
        /* The number in the line depends on the length of the line. */
        for (unsigned i = 0; i < 3; i++) {
                uint64_t missing = total + size > kept ? total + size - kept : 0;

                size = (uint64_t) snprintf(text, sizeof(text), JOB_OUTPUT_GAP_FORMAT, missing);
        }
        return MIN(size, kept);
}

uint64_t job_output_position(uint64_t kept, uint64_t total, bool truncated, uint64_t offset) {
        uint64_t gap = job_output_gap(kept, total, truncated);
        uint64_t head = (kept - gap) / 2, tail = kept - gap - head;
        uint64_t left = total > offset ? total - offset : 0;

        if (!truncated)
                return MIN(offset, kept);
        if (offset <= head)
                return offset;
        return left <= tail ? kept - left : head;
}
