/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every endpoint over real sockets: shapes, statuses, headers. */

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

static void assert_has_not(const struct response *response, const char *text) {
        if (response->body.data && strstr(response->body.data, text))
                _TEST_FAIL("%s is in: %s", text, response->body.data);
}

static char *job_path(size_t i, const char *suffix) {
        static char path[128];
        char id[UUID_TEXT_SIZE];

        (void) snprintf(
                path, sizeof(path), "/api/v1/jobs/%s%s", uuid_to_text(&fake_ops_job(fixture.ops, i)->id, id),
                suffix);
        return path;
}

static void test_node_endpoints(void) {
        static const struct {
                const char *path, *text;
        } cases[] = {
                { "/", "\"path\":\"/api/v1/jobs/{id}/cancel\"" },
                { "/api/v1", "\"node_id\":\"" FIXTURE_NODE_ID "\"" },
                { "/api/v1/health", "{\"status\":\"healthy\",\"timestamp\":\"20" },
                { "/api/v1/status",
                  "{\"node_id\":\"" FIXTURE_NODE_ID "\",\"address\":\"127.0.0.1:8081\",\"status\":"
                  "\"IDLE\",\"peer_count\":1,\"metadata\":{\"os\":\"Debian \\\"12\\\"\",\"kernel\":"
                  "\"6.1\"},\"timestamp\":\"20" },
                { "/api/v1/peers",
                  "{\"peers\":[{\"node_id\":\"node-fedcba9876543210\",\"address\":\"127.0.0.1:8082\","
                  "\"status\":\"BUSY\",\"last_heartbeat\":\"20" },
                { "/api/v1/jobs", "{\"jobs\":[],\"count\":0}" },
        };

        begin();
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct response get, head;

                fixture_get(&fixture, cases[i].path, &get);
                ASSERT_EQ(get.status, 200);
                assert_has(&get, cases[i].text);
                ASSERT_STREQ(response_header(&get, "X-Node-ID"), FIXTURE_NODE_ID);
                ASSERT_STREQ(response_header(&get, "Content-Type"), "application/json");
                ASSERT_STREQ(response_header(&get, "X-Content-Type-Options"), "nosniff");
                ASSERT_NULL(response_header(&get, "Access-Control-Allow-Origin"));

                fixture_request(&fixture, "HEAD", cases[i].path, NULL, NULL, 0, &head);
                ASSERT_EQ(head.status, 200);
                ASSERT_EQ(head.body.size, 0);
                ASSERT_STREQ(response_header(&head, "X-Node-ID"), FIXTURE_NODE_ID);
                response_done(&get);
                response_done(&head);
        }
        end();
}

static void test_health_of_a_failing_node(void) {
        struct response response;

        begin();
        fixture.ops->status = NODE_FAILED;
        fixture_get(&fixture, "/api/v1/health", &response);
        ASSERT_EQ(response.status, 503);
        assert_has(&response, "\"status\":\"unhealthy\"");
        assert_has(&response, "\"reason\":\"the disk is full\"");
        response_done(&response);
        end();
}

static void test_limits_of_a_node(void) {
        struct response response;

        begin();
        fixture_get(&fixture, "/api/v1/status", &response);
        assert_has(
                &response,
                "\"limits\":{\"memory_max\":{\"enforced\":true,\"default\":null,\"ceiling\":1099511627776},"
                "\"cpu_weight\":{\"enforced\":false,\"reason\":\"its cgroup tree has no cpu controller\","
                "\"default\":null,\"ceiling\":null},"
                "\"cpu_quota\":{\"enforced\":false,\"reason\":\"its cgroup tree has no cpu controller\","
                "\"default\":null,\"ceiling\":null},"
                "\"tasks_max\":{\"enforced\":true,\"default\":10,\"ceiling\":20}}");
        response_done(&response);

        /* Here: an executor that was never seen. */
        fixture.ops->status = NODE_FAILED;
        fixture_get(&fixture, "/api/v1/status", &response);
        assert_has(&response, "\"tasks_max\":{\"enforced\":null,\"default\":10,\"ceiling\":20}}");
        response_done(&response);
        end();
}

static void test_labels_and_pressure(void) {
        struct response response;

        begin();
        fixture_get(&fixture, "/api/v1/status", &response);
        assert_has(
                &response, "\"pressure\":{\"cpu\":100.0,\"memory\":0.7,\"io\":0.0},"
                           "\"labels\":{\"arch\":\"x86_64\",\"gpu\":\"\"}");
        response_done(&response);

        fixture_get(&fixture, "/api/v1/peers", &response);
        assert_has(
                &response, "\"slots\":4,\"running\":1,\"queued\":9,\"pressure\":null,"
                           "\"labels\":{\"gpu\":\"a100\"}");
        response_done(&response);
        end();
}

static void test_rules_of_a_job(void) {
        static char *labels[] = { (char *) "arch=x86_64", (char *) "gpu", NULL };
        struct stored_job *job;
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "true", 0);
        fixture_get(&fixture, job_path(0, ""), &response);
        assert_has(
                &response, "\"pending_reason\":null,\"priority\":0,\"retries\":0,\"retries_used\":0,"
                           "\"on_node_loss\":\"requeue\",\"requires\":[]");
        response_done(&response);

        job = fake_ops_job(fixture.ops, 0);
        job->pending_reason = "waits for a free slot";
        job->rules = (struct job_rules){ .priority = -3, .retries = 2, .loss_is_failure = true };
        job->retries_used = 1;
        job->requires = labels;
        fixture_get(&fixture, "/api/v1/jobs", &response);
        assert_has(
                &response, "\"pending_reason\":\"waits for a free slot\",\"priority\":-3,\"retries\":2,"
                           "\"retries_used\":1,\"on_node_loss\":\"fail\","
                           "\"requires\":[\"arch=x86_64\",\"gpu\"]");
        response_done(&response);
        job->requires = NULL;
        end();
}

static void test_limits_of_a_job(void) {
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "true", 0);
        fixture_get(&fixture, job_path(0, ""), &response);
        assert_has_not(&response, "memory_max");
        assert_has_not(&response, "best_effort");
        assert_has_not(&response, "oom_killed");
        response_done(&response);

        fake_ops_job(fixture.ops, 0)->limits = (struct job_limits){ .memory_max = UINT64_C(1) << 40,
                                                                    .cpu_weight = 1,
                                                                    .cpu_quota = 150,
                                                                    .tasks_max = 7,
                                                                    .best_effort = true };
        fake_ops_job(fixture.ops, 0)->oom_killed = true;
        fake_ops_finish(fixture.ops, 0, 137);
        fixture_get(&fixture, "/api/v1/jobs", &response);
        assert_has(
                &response, "\"memory_max\":1099511627776,\"cpu_weight\":1,\"cpu_quota\":150,\"tasks_max\":7,"
                           "\"best_effort\":true,\"oom_killed\":true");
        response_done(&response);
        end();
}

static void test_submit_one(void) {
        struct response response;
        char expected[128];

        begin();
        fixture_post_job(
                &fixture, "/api/v1/jobs", "{\"command\":\"echo \\\"hi\\\"\",\"env\":{\"A\":\"secret\"}}",
                &response);
        ASSERT_EQ(response.status, 201);
        assert_has(
                &response,
                "\",\"target_node\":\"" FIXTURE_NODE_ID "\",\"command\":\"echo \\\"hi\\\"\",\"status\":"
                "\"JOB_PENDING\",\"created_at\":\"20");
        ASSERT_STREQ(response_header(&response, "Location"), job_path(0, ""));
        (void) snprintf(expected, sizeof(expected), "{\"job_id\":\"%s\"", strrchr(job_path(0, ""), '/') + 1);
        assert_has(&response, expected);
        response_done(&response);

        fixture_get(&fixture, job_path(0, ""), &response);
        ASSERT_EQ(response.status, 200);
        assert_has(&response, "\"env_names\":[\"A\"]");
        assert_has_not(&response, "secret");
        assert_has(&response, "\"exit_code\":null");
        assert_has(&response, "\"status\":\"JOB_PENDING\"");
        response_done(&response);

        fixture_post_job(
                &fixture, "/api/v1/jobs", "{\"command\":\"a\",\"target_node_id\":\"node-9\"}", &response);
        ASSERT_EQ(response.status, 201);
        assert_has(&response, "\"target_node\":\"node-9\"");
        response_done(&response);
        end();
}

static void test_submit_several(void) {
        static const char array[] = "[{\"command\":\"a\"},{\"command\":\"b\"}]";
        static const char lines[] = "{\"command\":\"c\"}\n{\"command\":\"d\"}\n";
        struct response response;
        char expected[200], first[64], second[64];

        begin();
        fixture_request(&fixture, "POST", "/api/v1/jobs", JSON, array, strlen(array), &response);
        ASSERT_EQ(response.status, 201);
        strcpy(first, strrchr(job_path(0, ""), '/') + 1);
        strcpy(second, strrchr(job_path(1, ""), '/') + 1);
        (void) snprintf(
                expected, sizeof(expected),
                "{\"count\":2,\"jobs\":[{\"job_id\":\"%s\",\"copies\":2},{\"job_id\":\"%s\",\"copies\":2}]}"
                "\n",
                first, second);
        ASSERT_STREQ(response.body.data, expected);
        ASSERT_NULL(response_header(&response, "Location"));
        response_done(&response);

        fixture_request(&fixture, "POST", "/api/v1/jobs", NDJSON, lines, strlen(lines), &response);
        ASSERT_EQ(response.status, 201);
        assert_has(&response, "{\"count\":2,\"jobs\":[");
        ASSERT_EQ(fixture.ops->n_jobs, 4);
        ASSERT_STREQ(fake_ops_job(fixture.ops, 3)->command, "d");
        response_done(&response);
        end();
}

static void test_idempotency_key(void) {
        static const char body[] = "{\"command\":\"a\"}";
        struct response first, again;

        begin();
        fixture_request(
                &fixture, "POST", "/api/v1/jobs", JSON "Idempotency-Key: k 1\r\n", body, strlen(body),
                &first);
        ASSERT_EQ(first.status, 201);
        ASSERT_NULL(response_header(&first, "Idempotency-Replayed"));
        fixture_request(
                &fixture, "POST", "/api/v1/jobs", JSON "Idempotency-Key: k 1\r\n", body, strlen(body),
                &again);
        ASSERT_EQ(again.status, 201);
        ASSERT_STREQ(response_header(&again, "Idempotency-Replayed"), "true");
        ASSERT_EQ(memcmp(first.body.data, again.body.data, 50), 0);
        ASSERT_EQ(fixture.ops->n_jobs, 1);
        response_done(&first);
        response_done(&again);
        end();
}

static void test_list(void) {
        struct response response;
        char target[64];
        char *cursor;

        begin();
        for (size_t i = 0; i < 25; i++) {
                fake_ops_add(fixture.ops, "true", 0);
                if (i % 5 == 0)
                        fake_ops_finish(fixture.ops, i, i % 2 == 0 ? 0 : 1);
        }
        fixture_get(&fixture, "/api/v1/jobs", &response);
        assert_has(&response, "\"count\":25}");
        assert_has_not(&response, "next_cursor");
        response_done(&response);

        fixture_get(&fixture, "/api/v1/jobs?limit=20", &response);
        assert_has(&response, "\"count\":20,\"next_cursor\":\"");
        cursor = strstr(response.body.data, "next_cursor\":\"") + strlen("next_cursor\":\"");
        (void) snprintf(target, sizeof(target), "/api/v1/jobs?limit=20&cursor=%.17s", cursor);
        response_done(&response);
        fixture_get(&fixture, target, &response);
        assert_has(&response, "\"count\":5}");
        response_done(&response);

        fixture_get(&fixture, "/api/v1/jobs?status=JOB_COMPLETED", &response);
        assert_has(&response, "\"count\":3}");
        response_done(&response);
        fixture_get(&fixture, "/api/v1/jobs?status=completed,FAILED", &response);
        assert_has(&response, "\"count\":5}");
        assert_has(&response, "\"error_message\":\"exit status 1\"");
        response_done(&response);
        end();
}

/* Of all nodes: without what only the owner has. */
static void test_list_of_the_mesh(void) {
        struct response response;
        char target[96];
        char *cursor;

        begin();
        for (size_t i = 0; i < 3; i++)
                fake_ops_add(fixture.ops, "secret", 0);
        fake_ops_finish(fixture.ops, 2, 7);
        fixture_get(&fixture, "/api/v1/jobs?scope=mesh&limit=2", &response);
        assert_has(&response, "\"status\":\"JOB_FAILED\",\"exit_code\":7,");
        assert_has(&response, "\"exit_code\":null,");
        assert_has(&response, "\"owner_node_id\":\"");
        assert_has(&response, "\"executor_node_id\":null}");
        assert_has_not(&response, "secret");
        assert_has(&response, "\"count\":2,\"next_cursor\":\"m");
        cursor = strstr(response.body.data, "next_cursor\":\"") + strlen("next_cursor\":\"");
        (void) snprintf(target, sizeof(target), "/api/v1/jobs?cursor=%.17s&scope=mesh", cursor);
        response_done(&response);
        fixture_get(&fixture, target, &response);
        assert_has(&response, "\"count\":1}");
        response_done(&response);
        end();
}

static void test_attempts(void) {
        static struct stored_attempt attempts[] = {
                { .epoch = 1, .attempt = 1, .node_id = "node-b", .fate = ATTEMPT_LOST },
                { .epoch = 1,
                  .attempt = 2,
                  .node_id = "node-c",
                  .fate = ATTEMPT_FAILED,
                  .started_at = 1700000000123456,
                  .finished_at = 1700000001123456,
                  .has_exit_code = true,
                  .exit_code = 3,
                  .error_message = (char *) "exited with status 3" },
        };
        char target[128], id[UUID_TEXT_SIZE];
        struct response response;
        struct stored_job *job;

        begin();
        job = fake_ops_add(fixture.ops, "true", 0);
        (void) snprintf(target, sizeof(target), "/api/v1/jobs/%s", uuid_to_text(&job->id, id));
        fixture_get(&fixture, target, &response);
        assert_has(&response, "\"attempts\":[]");
        response_done(&response);

        job->attempts = attempts;
        job->n_attempts = ELEMENTSOF(attempts);
        fixture_get(&fixture, target, &response);
        assert_has(
                &response,
                "\"attempts\":[{\"attempt\":1,\"epoch\":1,\"node_id\":\"node-b\",\"outcome\":\"lost\","
                "\"started_at\":null,\"finished_at\":null,\"exit_code\":null,\"signal\":null,"
                "\"error_message\":null},{\"attempt\":2,\"epoch\":1,\"node_id\":\"node-c\","
                "\"outcome\":\"failed\",\"started_at\":\"2023-11-14T22:13:20.123Z\","
                "\"finished_at\":\"2023-11-14T22:13:21.123Z\",\"exit_code\":3,\"signal\":null,"
                "\"error_message\":\"exited with status 3\"}]");
        response_done(&response);
        fixture_get(&fixture, "/api/v1/jobs", &response);
        assert_has(&response, "\"count\":1}");
        assert_has_not(&response, "\"attempts\"");
        response_done(&response);
        end();
}

static void test_outputs_in_json(void) {
        _cleanup_buffer_ struct buffer large = {};
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        fake_ops_write(
                fixture.ops, 0,
                "a\xff"
                "b\n",
                4);
        fixture_get(&fixture, job_path(0, ""), &response);
        assert_has(
                &response, "\"stdout\":\"a\xef\xbf\xbd"
                           "b\\n\"");
        assert_has(&response, "\"stdout_binary\":true");
        assert_has(&response, "\"status\":\"JOB_RUNNING\"");
        response_done(&response);

        /* A character that the excerpt of a list cuts in two makes nothing binary. */
        fake_ops_add(fixture.ops, "b", 0);
        for (size_t i = 0; i < 3000; i++)
                ASSERT_OK(buffer_append_text(&large, "é"));
        fake_ops_write(fixture.ops, 1, "x", 1);
        fake_ops_write(fixture.ops, 1, large.data, large.size);
        fixture_get(&fixture, "/api/v1/jobs?limit=1", &response);
        assert_has(&response, "\"stdout_partial\":true");
        assert_has(&response, "\"stdout_total_bytes\":6001");
        assert_has_not(&response, "stdout_binary");
        assert_has_not(&response, "\xef\xbf\xbd");
        response_done(&response);
        fixture_get(&fixture, job_path(1, ""), &response);
        assert_has_not(&response, "stdout_partial");
        response_done(&response);
        end();
}

static void test_cancel(void) {
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        fixture.ops->cancel_pending = true;
        fixture_request(&fixture, "POST", job_path(0, "/cancel"), NULL, NULL, 0, &response);
        ASSERT_EQ(response.status, 202);
        assert_has(&response, "\"cancel_requested\":true");
        response_done(&response);
        fixture.ops->cancel_pending = false;
        for (unsigned i = 0; i < 2; i++) {
                fixture_request(&fixture, "POST", job_path(0, "/cancel"), JSON, "{}", 2, &response);
                ASSERT_EQ(response.status, 200);
                assert_has(&response, "\"status\":\"JOB_CANCELLED\"");
                response_done(&response);
        }
        fixture_request(
                &fixture, "POST", job_path(0, "/cancel"),
                "Content-Type: application/x-www-form-urlencoded\r\n", "a=b", 3, &response);
        assert_problem(&response, 415, "unsupported_media_type", "no body");
        response_done(&response);
        end();
}

static void test_wait(void) {
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        fixture_get(&fixture, job_path(0, "?wait=20ms"), &response);
        ASSERT_EQ(response.status, 200);
        assert_has(&response, "\"status\":\"JOB_PENDING\"");
        response_done(&response);

        int fd = fixture_connect(&fixture);
        char text[200];
        (void) snprintf(
                text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", job_path(0, "?wait=30s"));
        fixture_send_text(&fixture, fd, text);
        FIXTURE_WAIT(&fixture, fake_ops_calls(fixture.ops) == 1);
        fake_ops_finish(fixture.ops, 0, 7);
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 200);
        assert_has(&response, "\"status\":\"JOB_FAILED\",\"exit_code\":7");
        response_done(&response);
        close(fd);

        fixture.ops->finish_after_usec = 1000;
        fixture_post_job(&fixture, "/api/v1/jobs?wait=30s", "{\"command\":\"b\"}", &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_STREQ(response_header(&response, "Location"), job_path(1, ""));
        assert_has(&response, "\"status\":\"JOB_COMPLETED\"");
        assert_has(&response, "\"stdout\":\"output\\n\"");
        response_done(&response);

        fixture.ops->finish_after_usec = 0;
        fixture_post_job(&fixture, "/api/v1/jobs?wait=10ms", "{\"command\":\"c\"}", &response);
        ASSERT_EQ(response.status, 202);
        ASSERT_STREQ(response_header(&response, "Location"), job_path(2, ""));
        assert_has(&response, "\"status\":\"JOB_PENDING\"");
        response_done(&response);
        end();
}

static void test_raw_output(void) {
        _cleanup_buffer_ struct buffer large = {};
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        fixture_get(&fixture, job_path(0, "/stdout"), &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_EQ(response.body.size, 0);
        ASSERT_STREQ(response_header(&response, "Content-Type"), "application/octet-stream");
        ASSERT_STREQ(response_header(&response, "X-Content-Type-Options"), "nosniff");
        response_done(&response);

        for (unsigned i = 0; i < 20000; i++)
                ASSERT_OK(buffer_printf(&large, "%c%u", i % 256, i));
        fake_ops_write(fixture.ops, 0, large.data, large.size);
        fixture_get(&fixture, job_path(0, "/stdout"), &response);
        ASSERT_EQ(response.body.size, large.size);
        ASSERT_EQ(memcmp(response.body.data, large.data, large.size), 0);
        ASSERT_STREQ(response_header(&response, "Transfer-Encoding"), "chunked");
        response_done(&response);
        fixture_get(&fixture, job_path(0, "/stdout?offset=5000"), &response);
        ASSERT_EQ(response.body.size, large.size - 5000);
        ASSERT_EQ(memcmp(response.body.data, large.data + 5000, response.body.size), 0);
        response_done(&response);
        fixture_get(&fixture, job_path(0, "/stdout?offset=99999999999"), &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_EQ(response.body.size, 0);
        response_done(&response);
        fixture_get(&fixture, job_path(0, "/stderr"), &response);
        ASSERT_EQ(response.body.size, 0);
        response_done(&response);
        fixture_request(&fixture, "HEAD", job_path(0, "/stdout"), NULL, NULL, 0, &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_EQ(response.body.size, 0);
        response_done(&response);
        end();
}

static void test_http_1_0(void) {
        char text[256];
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        for (unsigned i = 0; i < 1000; i++)
                fake_ops_write(fixture.ops, 0, "0123456789", 10);
        int fd = fixture_connect(&fixture);
        fixture_send_text(&fixture, fd, "GET /api/v1/health HTTP/1.0\r\n\r\n");
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 200);
        response_done(&response);
        close(fd);

        fd = fixture_connect(&fixture);
        (void) snprintf(
                text, sizeof(text), "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", job_path(0, "/stdout"));
        fixture_send_text(&fixture, fd, text);
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_EQ(response.body.size, 10000);
        response_done(&response);
        close(fd);
        end();
}

static void test_drain(void) {
        static const char drain[] = "/api/v1/node/drain";
        struct response response;

        begin();
        fixture_post_job(&fixture, drain, "{\"timeout_seconds\":60}", &response);
        assert_has(
                &response,
                "\"drain\":{\"since\":\"2026-01-01T00:00:00.000Z\",\"until\":\"2026-01-01T00:01:00.000Z\"");
        assert_has(&response, "\"remembered\":true}");
        response_done(&response);
        ASSERT_TRUE(fixture.ops->drain.has_timeout);
        ASSERT_EQ(fixture.ops->drain.timeout_seconds, 60);
        fixture_post_job(&fixture, drain, " ", &response);
        assert_has(&response, "\"until\":null");
        response_done(&response);
        ASSERT_FALSE(fixture.ops->drain.has_timeout);
        fixture_post_job(&fixture, drain, "{\"timeout_seconds\":\"1\"}", &response);
        assert_problem(&response, 400, "invalid", "must be a whole number of seconds");
        response_done(&response);
        fixture_post_job(&fixture, drain, "{\"timeout\":1}", &response);
        assert_problem(&response, 400, "unknown_field", "a drain has timeout_seconds");
        response_done(&response);
        fixture_post_job(&fixture, drain, "{\"timeout_seconds\":1", &response);
        assert_problem(&response, 400, "bad_json", "the rest of the object");
        response_done(&response);
        fixture_post_job(&fixture, "/api/v1/node/resume", "", &response);
        assert_has(&response, "\"drain\":null");
        response_done(&response);
        end();
}

static void test_membership(void) {
        static const char invite[] = "/api/v1/mesh/invite", join[] = "/api/v1/mesh/join";
        struct response response;

        begin();
        fixture_post_job(&fixture, invite, "", &response);
        assert_has(
                &response,
                "{\"token\":\"wm1invited\",\"node_id\":\"" FIXTURE_NODE_ID "\",\"mesh_id\":null,");
        assert_has(&response, "\"expires_at\":\"1970-01-01T00:10:00.000Z\"");
        response_done(&response);
        fixture_post_job(&fixture, invite, "{\"expires_seconds\":60}", &response);
        assert_has(&response, "\"expires_at\":\"1970-01-01T00:01:00.000Z\"");
        response_done(&response);
        fixture_post_job(&fixture, invite, "{\"expires_seconds\":0}", &response);
        assert_problem(&response, 400, "invalid", "");
        response_done(&response);
        fixture_post_job(&fixture, invite, "{\"expires\":0}", &response);
        assert_problem(&response, 400, "unknown_field", "an invitation has expires_seconds");
        response_done(&response);

        fixture_post_job(&fixture, join, "{\"token\":\"wm1invited\",\"peer\":\"192.0.2.7\"}", &response);
        assert_has(&response, "\"security\":\"open\"");
        response_done(&response);
        ASSERT_STREQ(fixture.ops->token, "wm1invited");
        ASSERT_STREQ(fixture.ops->inviter, "192.0.2.7");
        fixture_post_job(&fixture, join, "{\"token\":\"x\",\"peer\":null}", &response);
        response_done(&response);
        ASSERT_STREQ(fixture.ops->inviter, "(none)");
        fixture_post_job(&fixture, join, "{}", &response);
        assert_problem(&response, 422, "invitation_unknown", "");
        response_done(&response);
        fixture_post_job(&fixture, join, "{\"token\":7}", &response);
        assert_problem(&response, 400, "invalid", "token must be a string, not a number");
        response_done(&response);
        fixture_post_job(&fixture, join, "{\"token\":\"a\\u0000b\"}", &response);
        assert_problem(&response, 400, "bad_json", "a NUL character");
        response_done(&response);
        fixture_post_job(&fixture, join, "{\"token\":\"a\",\"token\":\"b\"}", &response);
        assert_problem(&response, 400, "bad_json", "more than once");
        response_done(&response);
        fixture_post_job(&fixture, join, "{\"word\":\"a\"}", &response);
        assert_problem(&response, 400, "unknown_field", "a request to join has token and peer");
        response_done(&response);
        fixture_post_job(&fixture, "/api/v1/mesh/leave", "", &response);
        response_done(&response);
        ASSERT_STREQ(fixture.ops->token, "(leaves)");
        end();
}

int main(void) {
        RUN(test_node_endpoints);
        RUN(test_drain);
        RUN(test_membership);
        RUN(test_health_of_a_failing_node);
        RUN(test_limits_of_a_node);
        RUN(test_labels_and_pressure);
        RUN(test_rules_of_a_job);
        RUN(test_limits_of_a_job);
        RUN(test_submit_one);
        RUN(test_submit_several);
        RUN(test_idempotency_key);
        RUN(test_list);
        RUN(test_list_of_the_mesh);
        RUN(test_attempts);
        RUN(test_outputs_in_json);
        RUN(test_cancel);
        RUN(test_wait);
        RUN(test_raw_output);
        RUN(test_http_1_0);
        return 0;
}
