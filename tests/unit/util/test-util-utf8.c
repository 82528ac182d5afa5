/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/macros.h"
#include "util/utf8.h"

static void test_good(void) {
        static const char *const texts[] = {
                "",
                "plain",
                "eight by",
                "sixteen bytes ok",
                "\x7f",
                "\u00e4",
                "\u07ff",
                "\u0800",
                "\u20ac",
                "\ud7ff",
                "\ue000",
                "\uffff",
                "\U00010000",
                "\U0010ffff",
                "long enough for a word: \u20ac and more",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (!utf8_is_valid(texts[i], strlen(texts[i])))
                        _TEST_FAIL("text %zu", i);
        ASSERT_TRUE(utf8_is_valid("a\0b", 3));
        ASSERT_EQ(utf8_sequence("\u20ac", 3), 3);
        ASSERT_EQ(utf8_sequence("\U0010ffff", 4), 4);
        ASSERT_EQ(utf8_sequence("", 0), 0);
}

static void test_bad(void) {
        static const char *const texts[] = {
                "\x80",             /* a continuation alone */
                "\xc0\x80",         /* overlong NUL */
                "\xc1\xbf",         /* overlong DEL */
                "\xe0\x9f\xbf",     /* overlong U+07FF */
                "\xf0\x8f\xbf\xbf", /* overlong U+FFFF */
                "\xed\xa0\x80",     /* the first surrogate */
                "\xed\xbf\xbf",     /* the last surrogate */
                "\xf4\x90\x80\x80", /* U+110000 */
                "\xf8\x88\x80\x80\x80",
                "\xfe",
                "\xff",
                "\xc3",         /* cut */
                "\xe2\x82",     /* cut */
                "\xf0\x9f\x98", /* cut */
                "\xc3(",
                "\xe2\x28\xa1",
                "only the last byte is wrong \xff",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (utf8_is_valid(texts[i], strlen(texts[i])))
                        _TEST_FAIL("text %zu", i);
        /* The size counts, not what lies behind it. */
        ASSERT_EQ(utf8_sequence("\u20ac", 2), 0);
        ASSERT_FALSE(utf8_is_valid("\u20ac", 2));
}

int main(void) {
        RUN(test_good);
        RUN(test_bad);
        return 0;
}
