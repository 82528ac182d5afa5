/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The body of a submission to requests, and JSON text out. */

#include "api/rest/job-reader.h"
#include "api/rest/json-scan.h"
#include "api/rest/json-write.h"
#include "lib/tests.h"

static struct json_parser *parser;

/* The same in one piece and byte by byte; the caller frees. */
static struct job_reader *read_body(enum job_format format, const char *body, size_t size, int expected) {
        struct job_reader *whole, *pieces;

        ASSERT_OK(job_reader_new(parser, format, &whole));
        int r = job_reader_feed(whole, body, size);
        if (r >= 0)
                r = job_reader_finish(whole);
        if (r != expected)
                _TEST_FAIL(
                        "%.*s: %d, expected %d: %s", (int) MIN(size, (size_t) 100), body, r, expected,
                        r < 0 ? job_reader_problem(whole)->detail : "");

        ASSERT_OK(job_reader_new(parser, format, &pieces));
        r = 0;
        for (size_t i = 0; i < size && r >= 0; i++)
                r = job_reader_feed(pieces, body + i, 1);
        if (r >= 0)
                r = job_reader_finish(pieces);
        ASSERT_EQ(r, expected);
        if (expected < 0)
                ASSERT_STREQ(job_reader_problem(whole)->detail, job_reader_problem(pieces)->detail);
        job_reader_free(pieces);
        return whole;
}

static void
assert_wrong(enum job_format format, const char *body, enum json_refusal refusal, const char *hint) {
        struct job_reader *reader = read_body(format, body, strlen(body), -EBADMSG);
        const struct json_problem *problem = job_reader_problem(reader);

        if (!strstr(problem->detail, hint))
                _TEST_FAIL("%s: \"%s\" is not in: %s", body, hint, problem->detail);
        ASSERT_EQ(problem->refusal, refusal);
        ASSERT_NULL(strchr(problem->detail, '\n'));
        job_reader_free(reader);
}

static void test_one_job(void) {
        static const char body[] =
                " {\"command\": \"echo \\\"\\u00e9\\ud800\\udf48\\n\\\"\", \"target_node_id\": \"node-1\",\n"
                "\"env\": {\"A\": \"1\", \"B\": \"\"}, \"timeout_seconds\": 60, \"cwd\": \"/srv\", "
                "\"stdin\": \"x\\ty\"} \n";
        struct job_reader *reader = read_body(JOB_FORMAT_JSON, body, strlen(body), 0);
        size_t n;
        const struct job_request *job = job_reader_jobs(reader, &n);

        ASSERT_EQ(n, 1);
        ASSERT_FALSE(job_reader_is_list(reader));
        ASSERT_STREQ(job->command, "echo \"é𐍈\n\"");
        ASSERT_EQ(job->command_size, strlen(job->command));
        ASSERT_STREQ(job->target_node_id, "node-1");
        ASSERT_EQ(job->n_env, 2);
        ASSERT_STREQ(job->env[0].name, "A");
        ASSERT_STREQ(job->env[0].value, "1");
        ASSERT_STREQ(job->env[1].name, "B");
        ASSERT_EQ(job->env[1].value_size, 0);
        ASSERT_TRUE(job->has_timeout);
        ASSERT_EQ(job->timeout_seconds, 60);
        ASSERT_STREQ(job->cwd, "/srv");
        ASSERT_STREQ(job->stdin_data, "x\ty");
        ASSERT_EQ(job->stdin_size, 3);
        job_reader_free(reader);
}

static void test_limits_of_a_job(void) {
        static const char body[] =
                "[{\"command\":\"a\",\"memory_max\":1099511627776,\"cpu_weight\":50,\"cpu_quota\":150,"
                "\"tasks_max\":-7,\"best_effort\":true},"
                "{\"command\":\"b\",\"memory_max\":null,\"cpu_weight\":null,\"cpu_quota\":null,"
                "\"tasks_max\":null,\"best_effort\":null},"
                "{\"command\":\"c\",\"cpu_quota\":0,\"best_effort\":false}]";
        struct job_reader *reader = read_body(JOB_FORMAT_JSON, body, strlen(body), 0);
        size_t n;
        const struct job_request *jobs = job_reader_jobs(reader, &n);
        const struct job_request_limits *limits = &jobs[0].limits;

        ASSERT_EQ(n, 3);
        ASSERT_TRUE(limits->has_memory_max && limits->has_cpu_weight && limits->has_cpu_quota);
        ASSERT_EQ(limits->memory_max, INT64_C(1) << 40);
        ASSERT_EQ(limits->cpu_weight, 50);
        ASSERT_EQ(limits->cpu_quota, 150);
        ASSERT_TRUE(limits->has_tasks_max);
        ASSERT_EQ(limits->tasks_max, -7);
        ASSERT_TRUE(limits->best_effort);

        limits = &jobs[1].limits;
        ASSERT_FALSE(limits->has_memory_max || limits->has_cpu_weight);
        ASSERT_FALSE(limits->has_cpu_quota || limits->has_tasks_max || limits->best_effort);

        /* What is given is checked, and 0 is not "none". */
        ASSERT_TRUE(jobs[2].limits.has_cpu_quota);
        ASSERT_EQ(jobs[2].limits.cpu_quota, 0);
        ASSERT_FALSE(jobs[2].limits.best_effort);
        job_reader_free(reader);
}

static void test_rules_of_a_job(void) {
        static const char body[] =
                "[{\"command\":\"a\",\"priority\":-5,\"retries\":3,\"on_node_loss\":\"fail\","
                "\"requires\":[\"arch=x86_64\",\"gpu\"]},"
                "{\"command\":\"b\",\"priority\":null,\"retries\":null,\"on_node_loss\":null,"
                "\"requires\":null},{\"command\":\"c\",\"requires\":[]}]";
        struct job_reader *reader = read_body(JOB_FORMAT_JSON, body, strlen(body), 0);
        size_t n;
        const struct job_request *jobs = job_reader_jobs(reader, &n);

        ASSERT_EQ(n, 3);
        ASSERT_EQ(jobs[0].rules.priority, -5);
        ASSERT_EQ(jobs[0].rules.retries, 3);
        ASSERT_STREQ(jobs[0].rules.on_node_loss, "fail");
        ASSERT_EQ(jobs[0].rules.on_node_loss_size, 4);
        ASSERT_EQ(jobs[0].n_requires, 2);
        ASSERT_STREQ(jobs[0].requires[0].text, "arch=x86_64");
        ASSERT_EQ(jobs[0].requires[1].size, 3);
        for (size_t i = 1; i < n; i++) {
                ASSERT_EQ(jobs[i].rules.priority, 0);
                ASSERT_EQ(jobs[i].rules.retries, 0);
                ASSERT_NULL(jobs[i].rules.on_node_loss);
                ASSERT_EQ(jobs[i].n_requires, 0);
        }
        job_reader_free(reader);
}

static void test_absent_fields(void) {
        static const char body[] = "{\"command\":\"true\",\"target_node_id\":\"\",\"env\":null,\"timeout_"
                                   "seconds\":null,\"cwd\":null,"
                                   "\"stdin\":null}";
        struct job_reader *reader = read_body(JOB_FORMAT_JSON, body, strlen(body), 0);
        size_t n;
        const struct job_request *job = job_reader_jobs(reader, &n);

        ASSERT_NULL(job->target_node_id);
        ASSERT_NULL(job->cwd);
        ASSERT_NULL(job->stdin_data);
        ASSERT_EQ(job->n_env, 0);
        ASSERT_FALSE(job->has_timeout);
        job_reader_free(reader);
}

static void test_array(void) {
        static const char body[] =
                "[ {\"command\":\"a\"} ,\n{\"command\":\"b]}\"},{\"command\":\"c\",\"env\":{}}]\r\n";
        struct job_reader *reader = read_body(JOB_FORMAT_JSON, body, strlen(body), 0);
        size_t n;
        const struct job_request *jobs = job_reader_jobs(reader, &n);

        ASSERT_EQ(n, 3);
        ASSERT_TRUE(job_reader_is_list(reader));
        ASSERT_STREQ(jobs[1].command, "b]}");
        ASSERT_EQ(job_reader_line(reader, 1), 0);
        job_reader_free(reader);
}

static void test_lines(void) {
        static const char body[] = "\n{\"command\":\"a\"}\r\n  \n {\"command\":\"b\"} \n{\"command\":\"c\"}";
        struct job_reader *reader = read_body(JOB_FORMAT_NDJSON, body, strlen(body), 0);
        size_t n;
        const struct job_request *jobs = job_reader_jobs(reader, &n);

        ASSERT_EQ(n, 3);
        ASSERT_TRUE(job_reader_is_list(reader));
        ASSERT_STREQ(jobs[2].command, "c");
        ASSERT_EQ(job_reader_line(reader, 0), 2);
        ASSERT_EQ(job_reader_line(reader, 1), 4);
        ASSERT_EQ(job_reader_line(reader, 2), 5);
        job_reader_free(reader);
}

static void test_not_json(void) {
        static const struct {
                const char *body, *hint;
        } cases[] = {
                { "", "the body is empty" },
                { " \n ", "the body is empty" },
                { "null", "byte 0: expected an object or an array" },
                { "\"true\"", "expected an object or an array" },
                { "{", "not the end of the body" },
                { "{\"command\":\"a\"", "not the end of the body" },
                { "{\"command\":\"a\"}x", "byte 15: expected nothing more" },
                { "{\"command\":\"a\"}{\"command\":\"a\"}", "expected nothing more" },
                { "{'command':'a'}", "byte 1: a character that has no place outside" },
                { "{\"command\":\"a\",}", "byte 15:" },
                { "{\"command\" \"a\"}", "byte 11:" },
                { "{/**/\"command\":\"a\"}", "byte 1:" },
                { "{\"command\":\"a\",\"timeout_seconds\":NaN}", "byte 33:" },
                { "{\"command\":\"a\",\"timeout_seconds\":Infinity}", "byte 33:" },
                { "{\"command\":\"a\",\"timeout_seconds\":nan}", "byte" },
                { "{\"command\":\"a\",\"timeout_seconds\":01}", "byte" },
                { "{\"command\":\"a\nb\"}", "byte 13: a control character in a string" },
                { "{\"command\":\"\\x\"}", "byte 13: an escape" },
                { "{\"command\":\"\\u00g0\"}", "an escape" },
                { "{\"command\":\"\\u0000\"}", "NUL" },
                { "{\"com\\u0000mand\":\"a\"}", "NUL" },
                { "{\"command\":\"\\ud800\"}", "surrogate" },
                { "{\"command\":\"\\ud800x\"}", "surrogate" },
                { "{\"command\":\"\\ud800\\n\"}", "surrogate" },
                { "{\"command\":\"\\ud800\\ud800\"}", "surrogate" },
                { "{\"command\":\"\\udc00\"}", "surrogate" },
                { "{\"command\":\"\xff\"}", "not valid UTF-8 at byte 12" },
                { "{\"command\":\"\xc0\xaf\"}", "not valid UTF-8 at byte 12" },
                { "{\"command\":\"\xed\xa0\x80\"}", "not valid UTF-8 at byte 12" },
                { "\xef\xbb\xbf{}", "byte 0" },
                { "{\"command\":\"a\",\"command\":\"b\"}", "\"command\" is given more than once" },
                { "{\"command\":\"a\",\"env\":{\"X\":\"1\",\"Y\":\"\",\"X\":\"2\"}}",
                  "\"X\" is given more than once" },
                { "{\"command\":\"a\",\"c\\u006fmmand\":\"b\"}", "given more than once" },
                { "[]", "the array is empty" },
                { "[", "expected an object" },
                { "[{\"command\":\"a\"}", "a comma or the end of the array" },
                { "[{\"command\":\"a\"},]", "expected an object" },
                { "[{\"command\":\"a\"} {\"command\":\"a\"}]", "a comma or the end of the array" },
                { "[[{\"command\":\"a\"}]]", "expected an object" },
                { "[{\"command\":\"a\"}]]", "expected nothing more" },
                { "[{\"command\":\"a\"},7]", "byte 17: expected an object" },
                { "{\"command\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", "nested too deep" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_wrong(JOB_FORMAT_JSON, cases[i].body, JSON_NOT_JSON, cases[i].hint);
}

static void test_wrong_lines(void) {
        assert_wrong(JOB_FORMAT_NDJSON, "", JSON_NOT_JSON, "empty");
        assert_wrong(JOB_FORMAT_NDJSON, "[{\"command\":\"a\"}]", JSON_NOT_JSON, "an object on each line");
        assert_wrong(JOB_FORMAT_NDJSON, "{\"command\":\n\"a\"}", JSON_NOT_JSON, "the line ends inside");
        assert_wrong(
                JOB_FORMAT_NDJSON, "{\"command\":\"a\"} {\"command\":\"a\"}", JSON_NOT_JSON,
                "end of the line");
        assert_wrong(JOB_FORMAT_NDJSON, "{\"command\":\"a\"},\n", JSON_NOT_JSON, "end of the line");
        assert_wrong(
                JOB_FORMAT_NDJSON, "{\"command\":\"a\"}\n{\"command\"", JSON_NOT_JSON, "end of the body");
}

static void test_wrong_types(void) {
        static const struct {
                const char *body, *hint;
        } cases[] = {
                { "{\"command\":7}", "command must be a string, not a number" },
                { "{\"command\":null}", "command must be a string, not null" },
                { "{\"command\":[\"a\"]}", "command must be a string, not an array" },
                { "{\"command\":{}}", "command must be a string, not an object" },
                { "{\"command\":true}", "command must be a string, not a boolean" },
                { "{\"command\":\"a\",\"timeout_seconds\":\"60\"}",
                  "timeout_seconds must be a whole number" },
                { "{\"command\":\"a\",\"timeout_seconds\":1.5}", "with a fraction or exponent" },
                { "{\"command\":\"a\",\"timeout_seconds\":1e400}",
                  "timeout_seconds must be a whole number" },
                { "{\"command\":\"a\",\"timeout_seconds\":true}", "not a boolean" },
                { "{\"command\":\"a\",\"env\":[]}", "env must be an object of strings" },
                { "{\"command\":\"a\",\"env\":{\"A\":1}}", "env \"A\" must be a string, not a number" },
                { "{\"command\":\"a\",\"env\":{\"A\":null}}", "env \"A\" must be a string, not null" },
                { "{\"command\":\"a\",\"cwd\":1}", "cwd must be a string" },
                { "{\"command\":\"a\",\"stdin\":{}}", "stdin must be a string" },
                { "{\"command\":\"a\",\"memory_max\":\"64M\"}",
                  "memory_max must be a whole number, not a string" },
                { "{\"command\":\"a\",\"cpu_weight\":true}", "cpu_weight must be a whole number" },
                { "{\"command\":\"a\",\"cpu_quota\":12.5}", "with a fraction or exponent" },
                { "{\"command\":\"a\",\"tasks_max\":[]}", "tasks_max must be a whole number" },
                { "{\"command\":\"a\",\"best_effort\":1}",
                  "best_effort must be true or false, not a number" },
                { "{\"command\":\"a\",\"target_node_id\":1}", "target_node_id must be a string" },
                { "{\"command\":\"a\",\"priority\":\"high\"}",
                  "priority must be a whole number, not a string" },
                { "{\"command\":\"a\",\"retries\":1.5}", "with a fraction or exponent" },
                { "{\"command\":\"a\",\"on_node_loss\":true}", "on_node_loss must be a string" },
                { "{\"command\":\"a\",\"requires\":\"gpu\"}", "requires must be an array of labels" },
                { "{\"command\":\"a\",\"requires\":[\"gpu\",1]}", "one of them is a number" },
                { "{\"command\":\"a\",\"requires\":[{\"a\":\"b\"}]}", "one of them is an object" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_wrong(JOB_FORMAT_JSON, cases[i].body, JSON_WRONG_TYPE, cases[i].hint);
        assert_wrong(
                JOB_FORMAT_JSON, "{\"comand\":\"a\"}", JSON_UNKNOWN_FIELD,
                "unknown field \"comand\"; a job has");
        assert_wrong(
                JOB_FORMAT_JSON, "{\"ääääääääääääääääääääääääääääääääääääääääääääääääääää\":1}",
                JSON_UNKNOWN_FIELD, "ää...\"; a job");
}

static void test_numbers_beyond_64_bits_stay_wrong(void) {
        static const char body[] = "{\"command\":\"a\",\"timeout_seconds\":99999999999999999999}";
        struct job_reader *reader = read_body(JOB_FORMAT_JSON, body, strlen(body), 0);
        struct job_problem problem;
        size_t n;

        ASSERT_ERROR(job_request_check(job_reader_jobs(reader, &n), &problem), EINVAL);
        ASSERT_STREQ(problem.field, "timeout_seconds");
        job_reader_free(reader);
}

static void test_place_of_a_problem(void) {
        static const char array[] = "[{\"command\":\"a\"},{\"command\":\"b\"},{\"command\":3}]";
        static const char lines[] = "{\"command\":\"a\"}\n\n{\"command\":3}\n";
        static const char one[] = "{\"command\":3}";
        struct job_reader *reader;
        size_t index;

        reader = read_body(JOB_FORMAT_JSON, array, strlen(array), -EBADMSG);
        ASSERT_TRUE(job_reader_problem_index(reader, &index));
        ASSERT_EQ(index, 2);
        ASSERT_STREQ(job_reader_problem(reader)->field, "command");
        job_reader_free(reader);

        reader = read_body(JOB_FORMAT_NDJSON, lines, strlen(lines), -EBADMSG);
        ASSERT_TRUE(job_reader_problem_index(reader, &index));
        ASSERT_EQ(index, 1);
        ASSERT_EQ(job_reader_line(reader, index), 3);
        job_reader_free(reader);

        reader = read_body(JOB_FORMAT_JSON, one, strlen(one), -EBADMSG);
        ASSERT_FALSE(job_reader_problem_index(reader, &index));
        job_reader_free(reader);
}

static void test_limits(void) {
        _cleanup_buffer_ struct buffer body = {};
        struct job_reader *reader;
        size_t n;

        for (unsigned i = 0; i < JOBS_PER_REQUEST_MAX; i++)
                ASSERT_OK(buffer_printf(&body, "{\"command\":\"echo %u\"}\n", i));
        ASSERT_OK(job_reader_new(parser, JOB_FORMAT_NDJSON, &reader));
        ASSERT_OK(job_reader_feed(reader, body.data, body.size));
        ASSERT_OK(job_reader_finish(reader));
        const struct job_request *jobs = job_reader_jobs(reader, &n);
        ASSERT_EQ(n, JOBS_PER_REQUEST_MAX);
        ASSERT_STREQ(jobs[9999].command, "echo 9999");
        ASSERT_LT(job_reader_memory(reader), 4 * 1024 * 1024);
        ASSERT_ERROR(job_reader_feed(reader, "\n{\"command\":\"one more\"}", 23), EBADMSG);
        ASSERT_EQ(job_reader_problem(reader)->refusal, JSON_TOO_MANY);
        ASSERT_NOT_NULL(strstr(job_reader_problem(reader)->detail, "10000"));
        job_reader_free(reader);

        /* The text of one job, however it comes in. */
        ASSERT_OK(job_reader_new(parser, JOB_FORMAT_JSON, &reader));
        ASSERT_OK(job_reader_feed(reader, "{\"stdin\":\"", 10));
        int r = 0;
        for (size_t i = 0; i < 2 * JOB_TEXT_MAX / body.size && r >= 0; i++) {
                memset(body.data, 'x', body.size);
                r = job_reader_feed(reader, body.data, body.size);
                ASSERT_LT(job_reader_memory(reader), 3 * JOB_TEXT_MAX);
        }
        ASSERT_ERROR(r, EBADMSG);
        ASSERT_NOT_NULL(strstr(job_reader_problem(reader)->detail, "longer than"));
        job_reader_free(reader);
}

static void test_many_keys_are_no_work(void) {
        _cleanup_buffer_ struct buffer body = {};
        struct job_reader *reader;

        ASSERT_OK(buffer_append_text(&body, "{\"command\":\"a\",\"env\":{\"K0\":\"\""));
        for (unsigned i = 0; i < 100000; i++)
                ASSERT_OK(buffer_printf(&body, ",\"K%u\":\"\"", i));
        ASSERT_OK(buffer_append_text(&body, "}}"));
        ASSERT_OK(job_reader_new(parser, JOB_FORMAT_JSON, &reader));
        ASSERT_ERROR(job_reader_feed(reader, body.data, body.size), EBADMSG);
        ASSERT_NOT_NULL(strstr(job_reader_problem(reader)->detail, "\"K0\" is given more than once"));
        job_reader_free(reader);
}

static void assert_written(const char *data, size_t size, const char *expected, bool replaced) {
        _cleanup_writer_ struct writer writer = {};
        _cleanup_buffer_ struct buffer text = {};

        ASSERT_EQ(writer_bytes(&writer, NULL, data, size), replaced);
        ASSERT_OK(writer_finish(&writer, &text));
        ASSERT_STREQ(text.data, expected);
}

static void test_write_text(void) {
        assert_written("", 0, "\"\"\n", false);
        assert_written("plain", 5, "\"plain\"\n", false);
        assert_written("a\"b\\c\n\t\r\b\f", 10, "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\"\n", false);
        assert_written("\0\x1b[31m\x7f", 7, "\"\\u0000\\u001b[31m\\u007f\"\n", false);
        assert_written("é𐍈", 6, "\"é𐍈\"\n", false);
        assert_written(
                "a\xff\xfe"
                "b",
                4,
                "\"a\xef\xbf\xbd\xef\xbf\xbd"
                "b\"\n",
                true);
        assert_written("\xc3", 1, "\"\xef\xbf\xbd\"\n", true);
        assert_written("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"\n", true);
}

static void test_write_structure(void) {
        _cleanup_writer_ struct writer writer = {};
        _cleanup_buffer_ struct buffer text = {};

        writer_open(&writer, NULL, '{');
        writer_text(&writer, "text", "x");
        writer_text(&writer, "none", NULL);
        writer_unsigned(&writer, "large", UINT64_MAX);
        writer_integer(&writer, "small", INT64_MIN);
        writer_boolean(&writer, "yes", true);
        writer_open(&writer, "empty", '[');
        writer_close(&writer, ']');
        writer_open(&writer, "list", '[');
        writer_text(&writer, NULL, "a");
        writer_open(&writer, NULL, '{');
        writer_pair(&writer, "k\"", "v");
        writer_close(&writer, '}');
        writer_close(&writer, ']');
        writer_time(&writer, "never", 0);
        writer_time(&writer, "then", 1500 * USEC_PER_MSEC);
        writer_close(&writer, '}');
        ASSERT_OK(writer_finish(&writer, &text));
        ASSERT_STREQ(
                text.data, "{\"text\":\"x\",\"none\":null,\"large\":18446744073709551615,\"small\":-"
                           "9223372036854775808,"
                           "\"yes\":true,\"empty\":[],\"list\":[\"a\",{\"k\\\"\":\"v\"}],\"never\":null,"
                           "\"then\":\"1970-01-01T00:00:01.500Z\"}\n");
}

static void test_write_failure_sticks(void) {
        _cleanup_writer_ struct writer writer = { .buffer.limit = 10 };
        _cleanup_buffer_ struct buffer text = {};

        writer_text(&writer, NULL, "longer than ten bytes");
        writer_text(&writer, NULL, "x");
        ASSERT_ERROR(writer_finish(&writer, &text), E2BIG);
        ASSERT_NULL(text.data);
}

int main(void) {
        ASSERT_OK(json_parser_new(&parser));
        RUN(test_one_job);
        RUN(test_limits_of_a_job);
        RUN(test_rules_of_a_job);
        RUN(test_absent_fields);
        RUN(test_array);
        RUN(test_lines);
        RUN(test_not_json);
        RUN(test_wrong_lines);
        RUN(test_wrong_types);
        RUN(test_numbers_beyond_64_bits_stay_wrong);
        RUN(test_place_of_a_problem);
        RUN(test_limits);
        RUN(test_many_keys_are_no_work);
        RUN(test_write_text);
        RUN(test_write_structure);
        RUN(test_write_failure_sticks);
        json_parser_free(parser);
        return 0;
}
