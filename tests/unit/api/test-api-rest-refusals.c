/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every way of asking wrongly, over real sockets: status, code, one line. */

#include "api/rest/routes.h"
#include "rest-fixture.h"

#define JSON "Content-Type: application/json\r\n"
#define NDJSON "Content-Type: application/x-ndjson\r\n"

static struct fixture fixture;

static void begin(void) {
        fixture_begin(&fixture, NULL);
}

static void end(void) {
        fixture_end(&fixture);
}

static void assert_has(const struct response *response, const char *text) {
        if (!response->body.data || !strstr(response->body.data, text))
                _TEST_FAIL("%s is not in: %s", text, response->body.data ?: "");
}

static char *job_path(size_t i, const char *suffix) {
        static char path[128];
        char id[UUID_TEXT_SIZE];

        (void) snprintf(
                path, sizeof(path), "/api/v1/jobs/%s%s", uuid_to_text(&fake_ops_job(fixture.ops, i)->id, id),
                suffix);
        return path;
}

struct wrong_body {
        const char *body;
        unsigned status;
        const char *code, *hint;
};

static void test_wrong_bodies(void) {
        static const struct wrong_body cases[] = {
                { "", 400, "bad_json", "the body is empty" },
                { "not json", 400, "bad_json", "byte 0: expected an object or an array" },
                { "{\"command\":\"a\"", 400, "bad_json", "not the end of the body" },
                { "{\"command\":\"a\"} x", 400, "bad_json", "expected nothing more" },
                { "{\"command\":7}", 400, "invalid", "command must be a string, not a number" },
                { "{\"command\":\"a\",\"comand\":1}", 400, "unknown_field", "unknown field \\\"comand\\\"" },
                { "{}", 400, "invalid", "command is missing" },
                { "{\"command\":\" \"}", 400, "invalid", "command is empty" },
                { "{\"command\":\"a\\u0000\"}", 400, "bad_json", "NUL" },
                { "{\"command\":\"\xff\"}", 400, "bad_json", "not valid UTF-8 at byte 12" },
                { "{\"command\":\"a\",\"timeout_seconds\":-1}", 400, "invalid", "timeout_seconds" },
                { "{\"command\":\"a\",\"timeout_seconds\":0}", 400, "invalid", "timeout_seconds" },
                { "{\"command\":\"a\",\"timeout_seconds\":604801}", 400, "invalid", "604800" },
                { "{\"command\":\"a\",\"timeout_seconds\":1e999}", 400, "invalid", "timeout_seconds" },
                { "{\"command\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", 400, "bad_json",
                  "nested too deep" },
                { "[{\"command\":\"a\"},{\"command\":7}]", 400, "invalid",
                  "job 1: command must be a string" },
                { "[{\"command\":\"a\"},{\"command\":\"\"}]", 400, "invalid", "job 1: command is empty" },
        };
        struct response response;

        begin();
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                fixture_post_job(&fixture, "/api/v1/jobs", cases[i].body, &response);
                assert_problem(&response, cases[i].status, cases[i].code, cases[i].hint);
                response_done(&response);
        }
        fixture_request(&fixture, "POST", "/api/v1/jobs", JSON, NULL, 0, &response);
        assert_problem(&response, 400, "bad_json", "the body is empty");
        response_done(&response);

        /* Where in the request. */
        fixture_post_job(
                &fixture, "/api/v1/jobs", "[{\"command\":\"a\"},{\"command\":\"b\",\"cwd\":\"x\"}]",
                &response);
        assert_problem(&response, 400, "invalid", "job 1: cwd must be an absolute path");
        assert_has(&response, "\"field\":\"cwd\",\"index\":1}");
        response_done(&response);
        static const char lines[] = "\n{\"command\":\"a\"}\n\n{\"command\":\"b\",\"cwd\":\"x\"}";
        fixture_request(&fixture, "POST", "/api/v1/jobs", NDJSON, lines, strlen(lines), &response);
        assert_problem(&response, 400, "invalid", "line 4: cwd");
        assert_has(&response, "\"index\":1,\"line\":4}");
        response_done(&response);
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        end();
}

static void test_too_long_a_command(void) {
        _cleanup_buffer_ struct buffer body = {};
        struct response response;

        begin();
        ASSERT_OK(buffer_append_text(&body, "{\"command\":\""));
        for (size_t i = 0; i < COMMAND_MAX; i++)
                ASSERT_OK(buffer_append(&body, "x", 1));
        size_t size = body.size;
        ASSERT_OK(buffer_append_text(&body, "\"}"));
        fixture_request(&fixture, "POST", "/api/v1/jobs", JSON, body.data, body.size, &response);
        ASSERT_EQ(response.status, 201);
        response_done(&response);
        body.size = size;
        ASSERT_OK(buffer_append_text(&body, "y\"}"));
        fixture_request(&fixture, "POST", "/api/v1/jobs", JSON, body.data, body.size, &response);
        assert_problem(&response, 400, "invalid", "at most 65536");
        response_done(&response);
        end();
}

static void test_too_many_jobs(void) {
        _cleanup_buffer_ struct buffer body = {};
        struct response response;

        begin();
        for (unsigned i = 0; i <= JOBS_PER_REQUEST_MAX; i++)
                ASSERT_OK(buffer_append_text(&body, "{\"command\":\"a\"}\n"));
        fixture_request(&fixture, "POST", "/api/v1/jobs", NDJSON, body.data, body.size, &response);
        assert_problem(&response, 413, "body_too_large", "10000 jobs");
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        response_done(&response);
        fixture_request(
                &fixture, "POST", "/api/v1/jobs", NDJSON, body.data,
                body.size - strlen("{\"command\":\"a\"}\n"), &response);
        ASSERT_EQ(response.status, 201);
        ASSERT_EQ(fixture.ops->n_jobs, JOBS_PER_REQUEST_MAX);
        response_done(&response);
        end();
}

static void test_wrong_headers(void) {
        static const char body[] = "{\"command\":\"a\"}";
        static const struct {
                const char *headers;
                unsigned status;
                const char *code, *hint;
        } cases[] = {
                { "", 415, "unsupported_media_type", "Content-Type is missing; send application/json" },
                { "Content-Type: text/plain\r\n", 415, "unsupported_media_type", "\\\"text/plain\\\"" },
                { "Content-Type: application/x-www-form-urlencoded\r\n", 415, "unsupported_media_type",
                  "application/json" },
                { JSON "Content-Type: text/plain\r\n", 400, "bad_request",
                  "Content-Type came more than once" },
                { JSON "Host: evil.example\r\n", 403, "forbidden_host",
                  "Host \\\"evil.example\\\" is not this node" },
                { JSON "Host: localhost\r\nHost: localhost\r\n", 400, "bad_request",
                  "Host came more than once" },
                { JSON "Origin: http://evil.example\r\n", 403, "forbidden_origin", "Origin" },
                { JSON "Origin: null\r\n", 403, "forbidden_origin", "Origin" },
                { JSON "Sec-Fetch-Site: cross-site\r\n", 403, "forbidden_origin", "Sec-Fetch-Site" },
                { JSON "Idempotency-Key: \r\n", 400, "bad_parameter", "Idempotency-Key" },
                { JSON "Idempotency-Key: gr\xc3\xbcn\r\n", 400, "bad_parameter", "Idempotency-Key" },
                { JSON "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", 400, "bad_request",
                  "more than once" },
                { JSON "Transfer-Encoding: chunked\r\n", 400, "bad_request", "exclude each other" },
                { JSON "Transfer-Encoding: gzip\r\n", 400, "bad_request", "exclude each other" },
        };
        struct response response;

        begin();
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                fixture_request(
                        &fixture, "POST", "/api/v1/jobs", cases[i].headers, body, strlen(body), &response);
                assert_problem(&response, cases[i].status, cases[i].code, cases[i].hint);
                ASSERT_NULL(response_header(&response, "Access-Control-Allow-Origin"));
                response_done(&response);
        }
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        end();
}

static void test_wrong_paths_and_methods(void) {
        static const struct {
                const char *method, *path;
                unsigned status;
                const char *allow;
        } cases[] = {
                { "GET", "/nowhere", 404, NULL },
                { "GET", "/api", 404, NULL },
                { "GET", "/api/v1/", 404, NULL },
                { "GET", "/api/v1/jobs/", 404, NULL },
                { "GET", "/api/v1/health%00", 404, NULL },
                { "GET", "/%61pi/v1", 404, NULL },
                { "GET", "/../api/v1", 404, NULL },
                { "GET", "//", 404, NULL },
                { "GET", "*", 404, NULL },
                { "GET", "/api/v1/jobs/x", 404, NULL },
                { "GET", "/api/v1/jobs/550e8400-e29b-41d4-a716-44665544000", 404, NULL },
                { "GET", "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000", 404, NULL },
                { "POST", "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000/cancel", 404, NULL },
                { "GET", "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000/stdout", 404, NULL },
                { "DELETE", "/api/v1/jobs", 405, "GET, HEAD, POST" },
                { "OPTIONS", "/api/v1/jobs", 405, "GET, HEAD, POST" },
                { "get", "/api/v1/jobs", 405, "GET, HEAD, POST" },
                { "POST", "/api/v1/health", 405, "GET, HEAD" },
                { "PUT", "/", 405, "GET, HEAD" },
                { "GET", "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000/cancel", 405, "POST" },
                { "DELETE", "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000", 405, "GET, HEAD" },
        };
        struct response response;

        begin();
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                fixture_request(&fixture, cases[i].method, cases[i].path, NULL, NULL, 0, &response);
                assert_problem(
                        &response, cases[i].status,
                        cases[i].status == 404 ? "not_found" : "method_not_allowed", "");
                if (cases[i].allow)
                        ASSERT_STREQ(response_header(&response, "Allow"), cases[i].allow);
                else
                        ASSERT_NULL(response_header(&response, "Allow"));
                response_done(&response);
        }
        end();
}

static void test_wrong_parameters(void) {
        static const struct {
                const char *target, *hint;
        } cases[] = {
                { "/api/v1/jobs?limit=0", "limit must be a number from 1 to 1000" },
                { "/api/v1/jobs?limit=1001", "limit" },
                { "/api/v1/jobs?limit=-1", "limit" },
                { "/api/v1/jobs?limit=5x", "limit" },
                { "/api/v1/jobs?limit=", "limit" },
                { "/api/v1/jobs?status=nothing", "status" },
                { "/api/v1/jobs?status=", "status" },
                { "/api/v1/jobs?status=UNKNOWN", "status" },
                { "/api/v1/jobs?cursor=1", "next_cursor" },
                { "/api/v1/jobs?scope=all", "node or mesh" },
                { "/api/v1/jobs?cursor=c0000000000000001&scope=mesh", "same scope" },
                { "/api/v1/jobs?scope=node&cursor=m0000000000000001", "same scope" },
                { "/api/v1/jobs?colour=red", "unknown parameter \\\"colour\\\"" },
                { "/api/v1/jobs?limit=%", "escape" },
                { "/api/v1/jobs?a%0ab=1", "unknown parameter \\\"a?b\\\"" },
                { "/api/v1/health?x", "unknown parameter \\\"x\\\"" },
                { "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000?wait=soon", "wait must be a time" },
                { "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000?wait=6min", "at most 5 minutes" },
                { "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000?wait=infinity", "at most 5 minutes" },
                { "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000/stdout?offset=-1", "offset" },
                { "/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000/stdout?follow=maybe", "follow" },
        };
        struct response response;

        begin();
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                fixture_get(&fixture, cases[i].target, &response);
                assert_problem(&response, 400, "bad_parameter", cases[i].hint);
                response_done(&response);
        }
        fixture_post_job(&fixture, "/api/v1/jobs?wait=1s", "[{\"command\":\"a\"}]", &response);
        assert_problem(&response, 400, "bad_parameter", "wait is for a single job");
        response_done(&response);
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        end();
}

static void test_problems_of_operations(void) {
        static const struct {
                enum problem_code code;
                unsigned status;
                const char *retry_after;
        } cases[] = {
                { PROBLEM_INVALID, 400, NULL },       { PROBLEM_FORBIDDEN, 403, NULL },
                { PROBLEM_NOT_FOUND, 404, NULL },     { PROBLEM_TARGET_UNKNOWN, 422, NULL },
                { PROBLEM_KEY_REUSED, 422, NULL },    { PROBLEM_QUEUE_FULL, 429, "1" },
                { PROBLEM_TOO_MANY_CALLS, 429, "1" }, { PROBLEM_DRAINING, 503, "10" },
                { PROBLEM_STORAGE, 503, "10" },       { PROBLEM_DUPLICATE_NODE, 503, "10" },
                { PROBLEM_EXECUTOR_AWAY, 503, "1" },  { PROBLEM_GONE, 410, NULL },
                { PROBLEM_NODE_AWAY, 503, "1" },      { PROBLEM_LIMIT, 422, NULL },
                { PROBLEM_INTERNAL, 500, NULL },
        };
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "true", 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *code = problem_code_to_text(cases[i].code);

                fixture.ops->problem = (struct problem){ .code = cases[i].code, .detail = "because" };
                fixture_post_job(&fixture, "/api/v1/jobs", "{\"command\":\"a\"}", &response);
                assert_problem(&response, cases[i].status, code, "because");
                if (cases[i].retry_after)
                        ASSERT_STREQ(response_header(&response, "Retry-After"), cases[i].retry_after);
                else
                        ASSERT_NULL(response_header(&response, "Retry-After"));
                response_done(&response);

                static const char *const suffixes[] = { "", "?wait=1s", "/stdout", "/stderr?follow=1" };
                for (size_t j = 0; j < ELEMENTSOF(suffixes); j++) {
                        fixture_get(&fixture, job_path(0, suffixes[j]), &response);
                        assert_problem(&response, cases[i].status, code, "because");
                        response_done(&response);
                }
                fixture_request(&fixture, "POST", job_path(0, "/cancel"), NULL, NULL, 0, &response);
                assert_problem(&response, cases[i].status, code, "because");
                response_done(&response);
                fixture_get(&fixture, "/api/v1/jobs", &response);
                assert_problem(&response, cases[i].status, code, "because");
                response_done(&response);
        }
        end();
}

int main(void) {
        RUN(test_wrong_bodies);
        RUN(test_too_long_a_command);
        RUN(test_too_many_jobs);
        RUN(test_wrong_headers);
        RUN(test_wrong_paths_and_methods);
        RUN(test_wrong_parameters);
        RUN(test_problems_of_operations);
        return 0;
}
