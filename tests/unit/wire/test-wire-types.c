/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "wire/types.h"

static void test_node_status(void) {
        for (int status = 0; status < _NODE_STATUS_MAX; status++)
                ASSERT_EQ(node_status_from_text(node_status_to_text(status)), status);
        ASSERT_STREQ(node_status_to_text(NODE_DRAINING), "DRAINING");
        ASSERT_EQ(node_status_from_text("idle"), NODE_IDLE);
        ASSERT_ERROR(node_status_from_text(""), EINVAL);
        ASSERT_ERROR(node_status_from_text("IDLE "), EINVAL);
        ASSERT_STREQ(node_status_to_text((enum node_status) 99), "UNKNOWN");
        ASSERT_STREQ(node_status_to_text((enum node_status) - 1), "UNKNOWN");
}

static void test_job_status(void) {
        for (int status = 0; status < _JOB_STATUS_MAX; status++)
                ASSERT_EQ(job_status_from_text(job_status_to_text(status)), status);
        ASSERT_STREQ(job_status_to_text(JOB_PENDING), "JOB_PENDING");
        ASSERT_EQ(job_status_from_text("pending"), JOB_PENDING);
        ASSERT_EQ(job_status_from_text("Job_Timeout"), JOB_TIMEOUT);
        ASSERT_EQ(job_status_from_text("CANCELLED"), JOB_CANCELLED);
        ASSERT_ERROR(job_status_from_text(""), EINVAL);
        ASSERT_ERROR(job_status_from_text("JOB_"), EINVAL);
        ASSERT_ERROR(job_status_from_text("JOB_JOB_PENDING"), EINVAL);
        ASSERT_ERROR(job_status_from_text("DONE"), EINVAL);
        ASSERT_STREQ(job_status_to_text((enum job_status) 99), "JOB_UNKNOWN");
}

static void test_final(void) {
        ASSERT_FALSE(job_status_is_final(JOB_UNKNOWN));
        ASSERT_FALSE(job_status_is_final(JOB_PENDING));
        ASSERT_FALSE(job_status_is_final(JOB_RUNNING));
        ASSERT_TRUE(job_status_is_final(JOB_COMPLETED));
        ASSERT_TRUE(job_status_is_final(JOB_FAILED));
        ASSERT_TRUE(job_status_is_final(JOB_TIMEOUT));
        ASSERT_TRUE(job_status_is_final(JOB_CANCELLED));
        ASSERT_FALSE(job_status_is_final((enum job_status) 99));
}

static void test_node_id(void) {
        char text[NODE_ID_MAX + 2];

        ASSERT_TRUE(node_id_is_valid("node-0123456789abcdef"));
        ASSERT_TRUE(node_id_is_valid("build_host.Example-1"));
        ASSERT_FALSE(node_id_is_valid(""));
        ASSERT_FALSE(node_id_is_valid("a b"));
        ASSERT_FALSE(node_id_is_valid("a/b"));
        ASSERT_FALSE(node_id_is_valid("n\xc3\xb6"
                                      "de"));
        ASSERT_FALSE(node_id_is_valid("a\n"));

        memset(text, 'a', sizeof(text));
        text[NODE_ID_MAX] = '\0';
        ASSERT_TRUE(node_id_is_valid(text));
        text[NODE_ID_MAX] = 'a';
        text[NODE_ID_MAX + 1] = '\0';
        ASSERT_FALSE(node_id_is_valid(text));
}

int main(void) {
        RUN(test_node_status);
        RUN(test_job_status);
        RUN(test_final);
        RUN(test_node_id);
        return EXIT_SUCCESS;
}
