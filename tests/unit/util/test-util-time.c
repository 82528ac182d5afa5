/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/macros.h"
#include "util/time.h"

static void test_arithmetic(void) {
        ASSERT_EQ(usec_add(1, 2), 3);
        ASSERT_TRUE(usec_add(USEC_INFINITY, 1) == USEC_INFINITY);
        ASSERT_TRUE(usec_add(USEC_INFINITY - 1, 5) == USEC_INFINITY);
        ASSERT_EQ(usec_sub(5, 2), 3);
        ASSERT_EQ(usec_sub(2, 5), 0);
        ASSERT_TRUE(usec_sub(USEC_INFINITY, 5) == USEC_INFINITY);
}

static void test_clocks(void) {
        usec_t before = now_usec(CLOCK_MONOTONIC);
        ASSERT_LE(before, now_usec(CLOCK_MONOTONIC));
        ASSERT_GT(now_usec(CLOCK_REALTIME), UINT64_C(1600000000) * USEC_PER_SEC);
}

static void test_span_good(void) {
        static const struct {
                const char *text;
                usec_t usec;
        } cases[] = {
                { "0", 0 },
                { "5", 5 * USEC_PER_SEC },
                { "5s", 5 * USEC_PER_SEC },
                { "5 sec", 5 * USEC_PER_SEC },
                { " 5s ", 5 * USEC_PER_SEC },
                { "1min 30s", 90 * USEC_PER_SEC },
                { "1min30", 90 * USEC_PER_SEC },
                { "2.5h", 150 * USEC_PER_MINUTE },
                { "0.5", 500 * USEC_PER_MSEC },
                { "250ms", 250 * USEC_PER_MSEC },
                { "1.5ms", 1500 },
                { "7us", 7 },
                { "7µs", 7 },
                { "0.0000001s", 0 },
                { "3 days", 3 * USEC_PER_DAY },
                { "2w", 14 * USEC_PER_DAY },
                { "1M", 2629800 * USEC_PER_SEC },
                { "1m", USEC_PER_MINUTE },
                { "1y", 31557600 * USEC_PER_SEC },
                { "infinity", USEC_INFINITY },
                { "18446744073709551614us", USEC_INFINITY - 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                usec_t usec;
                if (parse_span(cases[i].text, &usec) < 0 || usec != cases[i].usec)
                        _TEST_FAIL("\"%s\"", cases[i].text);
        }
}

static void test_span_bad(void) {
        static const char *const texts[] = {
                "",     " ",     "s",    "-1s",        "+1s",     "1x", "1.s",   ".5s", "1..5s",  "1,5",
                "5s x", "1 2 z", "0x10", "infinity s", "infinit", "1S", "1 Min", "1s,", "1.5.5s",
        };
        usec_t usec = 42;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (parse_span(texts[i], &usec) != -EINVAL)
                        _TEST_FAIL("\"%s\"", texts[i]);
        ASSERT_ERROR(parse_span("18446744073709551615us", &usec), ERANGE);
        ASSERT_ERROR(parse_span("18446744073709551616us", &usec), ERANGE);
        ASSERT_ERROR(parse_span("99999999999999999999999s", &usec), ERANGE);
        ASSERT_ERROR(parse_span("600000y", &usec), ERANGE);
        ASSERT_ERROR(parse_span("18446744073709551614us 1us", &usec), ERANGE);
        ASSERT_EQ(usec, 42);
}

static void test_span_format(void) {
        static const struct {
                usec_t usec;
                const char *text;
        } cases[] = {
                { 0, "0" },
                { 5 * USEC_PER_SEC, "5s" },
                { 90 * USEC_PER_SEC, "1min 30s" },
                { 250 * USEC_PER_MSEC, "250ms" },
                { 1500, "1ms 500us" },
                { 30 * USEC_PER_DAY, "30d" },
                { USEC_PER_HOUR + 1, "1h 1us" },
                { USEC_INFINITY, "infinity" },
                { USEC_INFINITY - 1, "213503982d 8h 1min 49s 551ms 614us" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char text[SPAN_TEXT_MAX];
                usec_t usec;
                ASSERT_STREQ(format_span(text, sizeof(text), cases[i].usec), cases[i].text);
                ASSERT_OK(parse_span(text, &usec));
                ASSERT_TRUE(usec == cases[i].usec);
        }

        char small[4];
        ASSERT_STREQ(format_span(small, sizeof(small), USEC_INFINITY - 1), "213");
}

static void test_time_format(void) {
        char text[TIME_TEXT_MAX];

        ASSERT_STREQ(format_time(text, sizeof(text), 0, 0), "1970-01-01T00:00:00Z");
        ASSERT_STREQ(format_time(text, sizeof(text), 123456, 3), "1970-01-01T00:00:00.123Z");
        ASSERT_STREQ(format_time(text, sizeof(text), 123456, 6), "1970-01-01T00:00:00.123456Z");
        ASSERT_STREQ(
                format_time(text, sizeof(text), UINT64_C(1764082445123000), 3), "2025-11-25T14:54:05.123Z");
        ASSERT_STREQ(format_time(text, sizeof(text), USEC_INFINITY, 6), "9999-12-31T23:59:59.999999Z");
}

/* Against the C library: every day until 2400 and some random seconds. */
static void test_time_calendar(void) {
        for (uint64_t day = 0; day < 157000; day++) {
                char expected[TIME_TEXT_MAX], text[TIME_TEXT_MAX];
                time_t seconds = (time_t) (day * 86400 + day * 7919 % 86400);
                usec_t usec;
                struct tm tm;

                ASSERT_NOT_NULL(gmtime_r(&seconds, &tm));
                ASSERT_GT(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &tm), 0);
                ASSERT_STREQ(format_time(text, sizeof(text), (usec_t) seconds * USEC_PER_SEC, 0), expected);
                ASSERT_OK(parse_time(text, &usec));
                ASSERT_EQ(usec, (usec_t) seconds * USEC_PER_SEC);
        }
}

static void test_time_parse(void) {
        static const char *const bad[] = {
                "",
                "2025-11-25",
                "2025-11-25T14:54:05",
                "2025-11-25 14:54:05Z",
                "2025-11-25T14:54:05z",
                "2025-11-25T14:54:05.Z",
                "2025-11-25T14:54:05.1234567Z",
                "2025-11-25T14:54:05+00:00",
                "2025-11-25T14:54:05ZZ",
                "2025-11-25T24:00:00Z",
                "2025-11-25T14:60:00Z",
                "2025-11-25T14:54:60Z",
                "2025-02-29T00:00:00Z",
                "2100-02-29T00:00:00Z",
                "2025-00-01T00:00:00Z",
                "2025-13-01T00:00:00Z",
                "2025-04-31T00:00:00Z",
                "2025-04-00T00:00:00Z",
                "1969-12-31T23:59:59Z",
                "+025-11-25T14:54:05Z",
                "2025-1-25T14:54:05Z",
                "20251125T145405Z",
        };
        usec_t usec = 42;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (parse_time(bad[i], &usec) != -EINVAL)
                        _TEST_FAIL("\"%s\"", bad[i]);
        ASSERT_EQ(usec, 42);

        ASSERT_OK(parse_time("2024-02-29T23:59:59.5Z", &usec));
        ASSERT_EQ(usec, UINT64_C(1709251199500000));
        ASSERT_OK(parse_time("2000-02-29T00:00:00.000001Z", &usec));
        ASSERT_EQ(usec, UINT64_C(951782400000001));
}

int main(void) {
        RUN(test_arithmetic);
        RUN(test_clocks);
        RUN(test_span_good);
        RUN(test_span_bad);
        RUN(test_span_format);
        RUN(test_time_format);
        RUN(test_time_calendar);
        RUN(test_time_parse);
        return 0;
}
