/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fault.h"
#include "util/buffer.h"

static void test_append(void) {
        _cleanup_buffer_ struct buffer buffer = {};

        ASSERT_OK(buffer_append(&buffer, NULL, 0));
        ASSERT_STREQ(buffer.data, "");
        ASSERT_OK(buffer_append(&buffer, "ab\0cd", 5));
        ASSERT_EQ(buffer.size, 5);
        ASSERT_EQ(memcmp(buffer.data, "ab\0cd", 6), 0);
        buffer_consume(&buffer, 3);
        ASSERT_STREQ(buffer.data, "cd");
        ASSERT_OK(buffer_append_text(&buffer, "ef"));
        ASSERT_OK(buffer_printf(&buffer, "-%d-%s", 17, "text"));
        ASSERT_STREQ(buffer.data, "cdef-17-text");
        ASSERT_EQ(buffer.size, strlen("cdef-17-text"));
        buffer_consume(&buffer, buffer.size);
        ASSERT_EQ(buffer.size, 0);
        ASSERT_STREQ(buffer.data, "");
}

static void test_growth(void) {
        _cleanup_buffer_ struct buffer buffer = {};

        for (unsigned i = 0; i < 100000; i++)
                ASSERT_OK(buffer_printf(&buffer, "%u,", i % 10));
        ASSERT_EQ(buffer.size, 200000);
        ASSERT_EQ(buffer.data[199998], '9');

        ASSERT_OK(buffer_reserve(&buffer, 5000));
        memset(buffer.data + buffer.size, 'x', 5000);
        buffer.size += 5000;
        ASSERT_OK(buffer_append_text(&buffer, "y"));
        ASSERT_STREQ(buffer.data + 200000 + 4999, "xy");
}

static void test_limit(void) {
        _cleanup_buffer_ struct buffer buffer = { .limit = 8 };

        ASSERT_OK(buffer_append_text(&buffer, "1234567"));
        ASSERT_ERROR(buffer_append_text(&buffer, "89"), E2BIG);
        ASSERT_ERROR(buffer_printf(&buffer, "%d", 89), E2BIG);
        ASSERT_ERROR(buffer_reserve(&buffer, SIZE_MAX), E2BIG);
        ASSERT_STREQ(buffer.data, "1234567");
        ASSERT_OK(buffer_append_text(&buffer, "8"));
        ASSERT_OK(buffer_append_text(&buffer, ""));
        ASSERT_ERROR(buffer_append_text(&buffer, "9"), E2BIG);

        _cleanup_buffer_ struct buffer endless = {};
        ASSERT_ERROR(buffer_reserve(&endless, SIZE_MAX), E2BIG);
        ASSERT_ERROR(buffer_reserve(&endless, SIZE_MAX / 2), E2BIG);
}

static int fill(void) {
        _cleanup_buffer_ struct buffer buffer = {};

        for (unsigned i = 0; i < 500; i++) {
                int r = buffer_printf(&buffer, "%08u", i);
                if (r < 0) {
                        ASSERT_EQ(buffer.size, i * 8); /* unchanged */
                        return r;
                }
        }
        return 0;
}

static void test_out_of_memory(void) {
        uint64_t failed = FAULT_LOOP(r = fill());
        ASSERT_GE(failed, 4);
}

int main(void) {
        RUN(test_append);
        RUN(test_growth);
        RUN(test_limit);
        RUN(test_out_of_memory);
        return 0;
}
