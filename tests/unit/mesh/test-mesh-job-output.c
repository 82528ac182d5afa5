/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every byte of a kept text is found again by its place in the stream. */

#include <inttypes.h>
#include <stdio.h>

#include "lib/tests.h"
#include "mesh/job.h"

static void test_whole(void) {
        ASSERT_EQ(job_output_gap(10, 10, false), 0);
        ASSERT_EQ(job_output_position(10, 10, false, 0), 0);
        ASSERT_EQ(job_output_position(10, 10, false, 7), 7);
        ASSERT_EQ(job_output_position(10, 10, false, 11), 10);
}

/* head bytes, the line, tail bytes of a stream. */
static void check_truncated(uint64_t head, uint64_t tail, uint64_t total) {
        char text[JOB_OUTPUT_GAP_MAX];
        uint64_t gap = (uint64_t) snprintf(text, sizeof(text), JOB_OUTPUT_GAP_FORMAT, total - head - tail);
        uint64_t kept = head + gap + tail;

        ASSERT_EQ(job_output_gap(kept, total, true), gap);
        for (uint64_t offset = 0; offset < head; offset++)
                ASSERT_EQ(job_output_position(kept, total, true, offset), offset);
        ASSERT_EQ(job_output_position(kept, total, true, head), head);
        ASSERT_EQ(job_output_position(kept, total, true, total - tail - 1), head);
        for (uint64_t offset = total - tail; offset < total; offset++)
                ASSERT_EQ(job_output_position(kept, total, true, offset), kept - (total - offset));
        ASSERT_EQ(job_output_position(kept, total, true, total), kept);
        ASSERT_EQ(job_output_position(kept, total, true, total + 1), kept);
}

static void test_truncated(void) {
        for (uint64_t total = 65; total < UINT64_C(1) << 40; total *= 3)
                for (uint64_t head = 30; head < 33; head++) {
                        check_truncated(head, head, total);
                        check_truncated(head, head + 1, total + 1);
                }
}

int main(void) {
        RUN(test_whole);
        RUN(test_truncated);
        return 0;
}
