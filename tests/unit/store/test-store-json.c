/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The column env, there and back, and what is refused on the way back. */

#include "lib/tests.h"
#include "mesh/job.h"
#include "store/store-json.h"
#include "util/strv.h"

static void check_round_trip(const char *const *env, const char *json) {
        _cleanup_buffer_ struct buffer buffer = {};
        _cleanup_strv_free_ char **back = NULL;
        size_t n = 0;

        ASSERT_OK(json_write_env(&buffer, (char *const *) env));
        ASSERT_STREQ(buffer.data, json);
        ASSERT_OK(json_read_env(buffer.data, buffer.size, &back));
        for (; env[n]; n++)
                ASSERT_STREQ(back[n], env[n]);
        ASSERT_EQ(strv_length(back), n);
}

static void test_round_trips(void) {
        check_round_trip((const char *[]){ NULL }, "{}");
        check_round_trip((const char *[]){ "A=", NULL }, "{\"A\":\"\"}");
        check_round_trip(
                (const char *[]){ "A=1", "B=x=y", "A=2", NULL }, "{\"A\":\"1\",\"B\":\"x=y\",\"A\":\"2\"}");
        check_round_trip(
                (const char *[]){ "Q=\"\\/\n\x1f\x7f", NULL }, "{\"Q\":\"\\\"\\\\/\\u000a\\u001f\x7f\"}");
        check_round_trip((const char *[]){ "U=äöü€😀", NULL }, "{\"U\":\"äöü€😀\"}");
}

static void test_other_spellings(void) {
        static const char json[] =
                " { \"A\" : \"\\b\\f\\n\\r\\t\\/\\u00e4\\u20AC\\ud83d\\ude00\" ,\n\"B\":\"\" }\r\n";
        _cleanup_strv_free_ char **env = NULL;

        ASSERT_OK(json_read_env(json, sizeof(json) - 1, &env));
        ASSERT_STREQ(env[0], "A=\b\f\n\r\t/ä€😀");
        ASSERT_STREQ(env[1], "B=");
}

static void test_refused(void) {
        static const char *const wrong[] = {
                "",
                " ",
                "{",
                "}",
                "null",
                "[]",
                "\"A\"",
                "{\"A\"}",
                "{\"A\":}",
                "{\"A\":1}",
                "{\"A\":null}",
                "{\"A\":{}}",
                "{\"A\":\"1\",}",
                "{,\"A\":\"1\"}",
                "{\"A\":\"1\" \"B\":\"2\"}",
                "{\"A\":\"1\"}}",
                "{\"A\":\"1\"} x",
                "{\"A\":\"1",
                "{\"A\":\"1\\",
                "{\"A\":\"\\x\"}",
                "{\"A\":\"\\u12\"}",
                "{\"A\":\"\\u123g\"}",
                "{\"A\":\"\\u0000\"}",
                "{\"A\":\"\\ud800\"}",
                "{\"A\":\"\\ud800\\u0041\"}",
                "{\"A\":\"\\udc00\"}",
                "{\"A\":\"\n\"}",
                "{\"A\":\"\xff\"}",
                "{\"A\":\"\xc0\x80\"}",
                "{\"\":\"1\"}",
                "{\"A=B\":\"1\"}",
                "{'A':'1'}",
                "{A:\"1\"}",
        };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                char **env = NULL;

                ASSERT_ERROR(json_read_env(wrong[i], strlen(wrong[i]), &env), EBADMSG);
                ASSERT_NULL(env);
        }
        ASSERT_ERROR(json_read_env("{}\0", 3, &(char **){ NULL }), EBADMSG);
}

static void test_limits(void) {
        _cleanup_buffer_ struct buffer buffer = {};
        char **env = NULL;

        for (unsigned i = 0; i <= ENV_ENTRIES_MAX; i++)
                ASSERT_OK(buffer_printf(&buffer, "%c\"N%u\":\"\"", i == 0 ? '{' : ',', i));
        ASSERT_OK(buffer_append_text(&buffer, "}"));
        ASSERT_ERROR(json_read_env(buffer.data, buffer.size, &env), EBADMSG);

        buffer.size = 0;
        ASSERT_OK(buffer_append_text(&buffer, "{\"A\":\""));
        for (unsigned i = 0; i < ENV_SIZE_MAX; i++)
                ASSERT_OK(buffer_append(&buffer, "x", 1));
        ASSERT_OK(buffer_append_text(&buffer, "\"}"));
        ASSERT_ERROR(json_read_env(buffer.data, buffer.size, &env), EBADMSG);

        ASSERT_ERROR(json_write_env(&buffer, (char *[]){ (char *) "NOVALUE", NULL }), EINVAL);
}

static void test_labels(void) {
        static const char *const wrong[] = {
                "",        "[]",        "{}",       "[\"a\"",    "[\"a\",]", "[,\"a\"]", "[\"a\" \"b\"]",
                "[\"\"]",  "[\"a b\"]", "[\"a\"]]", "[\"a\"] x", "[1]",      "[null]",   "[[\"a\"]]",
                "[\"=x\"]"
        };
        static char *const labels[] = { (char *) "arch=x86_64", (char *) "gpu", (char *) "x=\\", NULL };
        _cleanup_buffer_ struct buffer buffer = {};
        _cleanup_strv_free_ char **back = NULL;

        ASSERT_OK(json_write_labels(&buffer, labels));
        ASSERT_STREQ(buffer.data, "[\"arch=x86_64\",\"gpu\",\"x=\\\\\"]");
        ASSERT_OK(json_read_labels(buffer.data, buffer.size, &back));
        ASSERT_EQ(strv_length(back), 3);
        for (size_t i = 0; labels[i]; i++)
                ASSERT_STREQ(back[i], labels[i]);

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                char **none = NULL;

                ASSERT_ERROR(json_read_labels(wrong[i], strlen(wrong[i]), &none), EBADMSG);
                ASSERT_NULL(none);
        }
        buffer.size = 0;
        for (unsigned i = 0; i <= REQUIRES_MAX; i++)
                ASSERT_OK(buffer_append_text(&buffer, i == 0 ? "[\"a\"" : ",\"a\""));
        ASSERT_OK(buffer_append_text(&buffer, "]"));
        ASSERT_ERROR(json_read_labels(buffer.data, buffer.size, &(char **){ NULL }), EBADMSG);
}

int main(void) {
        RUN(test_round_trips);
        RUN(test_other_spellings);
        RUN(test_refused);
        RUN(test_limits);
        RUN(test_labels);
        return 0;
}
