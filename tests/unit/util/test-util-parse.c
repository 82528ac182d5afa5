/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/macros.h"
#include "util/parse.h"

static void test_u64(void) {
        static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "0x1", "1a", "a", "1.0" };
        uint64_t value = 42;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (parse_u64(bad[i], &value) != -EINVAL)
                        _TEST_FAIL("\"%s\"", bad[i]);
        ASSERT_ERROR(parse_u64("18446744073709551616", &value), ERANGE);
        ASSERT_ERROR(parse_u64("99999999999999999999999", &value), ERANGE);
        ASSERT_ERROR(parse_u64("99999999999999999999999x", &value), EINVAL);
        ASSERT_EQ(value, 42);
        ASSERT_OK(parse_u64("18446744073709551615", &value));
        ASSERT_TRUE(value == UINT64_MAX);
        ASSERT_OK(parse_u64("007", &value));
        ASSERT_EQ(value, 7);
}

static void test_unsigned(void) {
        unsigned value = 42;

        ASSERT_ERROR(parse_unsigned("4", 5, 10, &value), ERANGE);
        ASSERT_ERROR(parse_unsigned("11", 5, 10, &value), ERANGE);
        ASSERT_ERROR(parse_unsigned("4294967296", 0, UINT32_MAX, &value), ERANGE);
        ASSERT_ERROR(parse_unsigned("x", 5, 10, &value), EINVAL);
        ASSERT_EQ(value, 42);
        ASSERT_OK(parse_unsigned("5", 5, 10, &value));
        ASSERT_EQ(value, 5);
        ASSERT_OK(parse_unsigned("10", 5, 10, &value));
        ASSERT_EQ(value, 10);
}

static void test_boolean(void) {
        static const char *const yes[] = { "1", "yes", "Y", "True", "t", "ON" };
        static const char *const no[] = { "0", "no", "N", "False", "f", "OFF" };
        static const char *const bad[] = { "", "2", "yess", " yes", "o" };
        bool value;

        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                ASSERT_TRUE(parse_boolean(yes[i], &value) == 0 && value);
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                ASSERT_TRUE(parse_boolean(no[i], &value) == 0 && !value);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ASSERT_ERROR(parse_boolean(bad[i], &value), EINVAL);
}

static void test_size(void) {
        static const struct {
                const char *text;
                uint64_t bytes;
        } good[] = {
                { "0", 0 },
                { "4096", 4096 },
                { "4096B", 4096 },
                { "64K", 65536 },
                { "1.5M", 1536 * 1024 },
                { "2G", UINT64_C(2) << 30 },
                { "1T", UINT64_C(1) << 40 },
                { "0.5P", UINT64_C(1) << 49 },
                { "15E", UINT64_C(15) << 60 },
                { "0.0001K", 0 },
                { "infinity", UINT64_MAX },
        };
        static const char *const bad[] = {
                "",       "K",   "1KB",           "1k",  "-1", " 1", "1 K", "1.K", ".5K",
                "1.5.5K", "1KK", "1.0000000001K", "inf",
        };
        uint64_t bytes = 42;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (parse_size(bad[i], &bytes) != -EINVAL)
                        _TEST_FAIL("\"%s\"", bad[i]);
        ASSERT_ERROR(parse_size("16E", &bytes), ERANGE);
        ASSERT_ERROR(parse_size("18446744073709551616", &bytes), ERANGE);
        ASSERT_ERROR(parse_size("18446744073709551615", &bytes), ERANGE); /* would read as infinity */
        ASSERT_EQ(bytes, 42);
        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                if (parse_size(good[i].text, &bytes) < 0 || bytes != good[i].bytes)
                        _TEST_FAIL("\"%s\"", good[i].text);
}

int main(void) {
        RUN(test_u64);
        RUN(test_unsigned);
        RUN(test_boolean);
        RUN(test_size);
        return 0;
}
