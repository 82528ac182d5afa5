/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fault.h"
#include "util/strv.h"

static int append_three(void) {
        _cleanup_strv_free_ char **strv = NULL;

        for (unsigned i = 0; i < 3; i++) {
                int r = strv_append(&strv, "text");
                if (r < 0) {
                        ASSERT_EQ(strv_length(strv), i);
                        return r;
                }
        }
        return 0;
}

static void test_strv(void) {
        _cleanup_strv_free_ char **strv = NULL;
        size_t count = 0;

        ASSERT_EQ(strv_length(NULL), 0);
        ASSERT_NULL(strv_free(NULL));
        ASSERT_OK(strv_append(&strv, "a"));
        ASSERT_OK(strv_append(&strv, ""));
        ASSERT_EQ(strv_length(strv), 2);
        STRV_FOREACH(text, strv)
                ASSERT_STREQ(*text, strv[count++]);
        ASSERT_EQ(count, 2);
        uint64_t failed = FAULT_LOOP(r = append_three());
        ASSERT_EQ(failed, 6);
}

int main(void) {
        RUN(test_strv);
        return 0;
}
