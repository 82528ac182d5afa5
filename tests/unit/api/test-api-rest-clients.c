/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that are many, slow, gone, or somebody else. */

#include <pwd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "api/rest/http.h"
#include "api/rest/routes.h"
#include "rest-fixture.h"

#define JSON "Content-Type: application/json\r\n"
#define HEALTH "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST_HEAD "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"

static struct fixture fixture;

static void begin(void) {
        fixture_begin(&fixture, NULL);
}

static void end(void) {
        fixture_end(&fixture);
}

static void assert_alive(void) {
        struct response response;

        fixture_get(&fixture, "/api/v1/health", &response);
        ASSERT_EQ(response.status, 200);
        response_done(&response);
}

static void ask_for_job(int fd, const char *suffix) {
        char text[200], id[UUID_TEXT_SIZE];

        (void) snprintf(
                text, sizeof(text), "GET /api/v1/jobs/%s%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                uuid_to_text(&fake_ops_job(fixture.ops, 0)->id, id), suffix);
        fixture_send_text(&fixture, fd, text);
}

static void test_keep_alive_and_pipelining(void) {
        static const char one[] = POST_HEAD JSON "Content-Length: 15\r\n\r\n{\"command\":\"a\"}";
        struct response response;

        begin();
        int fd = fixture_connect(&fixture);
        for (unsigned i = 0; i < 100; i++) {
                fixture_send_text(&fixture, fd, one);
                fixture_receive(&fixture, fd, false, &response);
                ASSERT_EQ(response.status, 201);
                ASSERT_NULL(response_header(&response, "Connection"));
                response_done(&response);
        }
        fixture_send_text(
                &fixture, fd,
                HEALTH "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n" POST_HEAD JSON
                       "Content-Length: 15\r\n\r\n{\"command\":\"a\"}" HEALTH);
        static const unsigned expected[] = { 200, 404, 201, 200 };
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                fixture_receive(&fixture, fd, false, &response);
                ASSERT_EQ(response.status, expected[i]);
                response_done(&response);
        }
        close(fd);
        end();
}

/* A client may say that it has nothing more to ask, and wait for its answers: they come, and then the end.
 */
static void test_half_closed_client(void) {
        struct response response;

        begin();
        int fd = fixture_connect(&fixture);
        fixture_send_text(
                &fixture, fd, HEALTH POST_HEAD JSON "Content-Length: 15\r\n\r\n{\"command\":\"a\"}" HEALTH);
        ASSERT_EQ(shutdown(fd, SHUT_WR), 0);
        static const unsigned expected[] = { 200, 201, 200, 0 };
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                fixture_receive(&fixture, fd, false, &response);
                ASSERT_EQ(response.status, expected[i]);
                response_done(&response);
        }
        close(fd);
        end();
}

static void test_slow_clients(void) {
        static const char *const halves[] = {
                "",
                "POST /api/v1/jobs HT",
                POST_HEAD,
                POST_HEAD JSON "Content-Length: 100\r\n\r\n{\"command\":\"a\"}",
                POST_HEAD JSON "Transfer-Encoding: chunked\r\n\r\nf\r\n{\"command\":\"a\"}\r\n",
        };
        static const bool answered[] = { false, false, true, true, true };
        const struct rest_config config = { .connections_max = 100, .read_max_usec = 300 * USEC_PER_MSEC };
        struct response response;
        int fds[ELEMENTSOF(halves)];

        fixture_begin(&fixture, &config);
        usec_t start = now_usec(CLOCK_MONOTONIC);
        for (size_t i = 0; i < ELEMENTSOF(halves); i++) {
                fds[i] = fixture_connect(&fixture);
                fixture_send_text(&fixture, fds[i], halves[i]);
        }
        assert_alive();
        /* Byte by byte does not help. */
        for (unsigned i = 1; i <= 25; i++) {
                fixture_send_text(&fixture, fds[2], "X");
                fixture_send_text(&fixture, fds[3], " ");
                FIXTURE_WAIT(&fixture, now_usec(CLOCK_MONOTONIC) - start > i * 10 * USEC_PER_MSEC);
        }
        for (size_t i = 0; i < ELEMENTSOF(halves); i++) {
                fixture_receive(&fixture, fds[i], false, &response);
                ASSERT_EQ(response.status, answered[i] ? 408 : 0);
                if (answered[i])
                        assert_problem(&response, 408, "request_timeout", "within 300ms");
                response_done(&response);
                close(fds[i]);
        }
        ASSERT_LE(now_usec(CLOCK_MONOTONIC) - start, 5 * USEC_PER_SEC);
        ASSERT_EQ(rest_pending(fixture.rest), 0);
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        fixture_end(&fixture);
}

/* One that does not take its answer. */
static void test_lazy_reader(void) {
        const struct rest_config config = { .connections_max = 100, .send_max_usec = 300 * USEC_PER_MSEC };
        _cleanup_free_ char *output = malloc(8 * 1024 * 1024);
        const int small = 4096;

        fixture_begin(&fixture, &config);
        memset(output, 'x', 8 * 1024 * 1024);
        fake_ops_add(fixture.ops, "a", 0);
        fake_ops_write(fixture.ops, 0, output, 8 * 1024 * 1024);
        int fds[] = { fixture_connect(&fixture), fixture_connect(&fixture) };
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                ASSERT_EQ(setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
        ask_for_job(fds[0], "");
        ask_for_job(fds[1], "/stdout");
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 2);
        assert_alive();
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 0);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                close(fds[i]);
        fixture_end(&fixture);
}

static void test_clients_that_leave(void) {
        static const char *const suffixes[] = { "?wait=5min", "/stdout?follow=1" };
        struct response response;
        int fds[50];

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        for (size_t s = 0; s < ELEMENTSOF(suffixes); s++) {
                unsigned cancelled = fixture.ops->n_cancelled;

                for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                        fds[i] = i % 2 == 0 ? fixture_connect(&fixture) : fixture_connect_unix(&fixture);
                        ask_for_job(fds[i], suffixes[s]);
                }
                FIXTURE_WAIT(&fixture, fake_ops_calls(fixture.ops) == ELEMENTSOF(fds));
                ASSERT_EQ(rest_pending(fixture.rest), ELEMENTSOF(fds));
                for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                        close(fds[i]);
                FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 0);
                ASSERT_EQ(fixture.ops->n_cancelled - cancelled, ELEMENTSOF(fds));
                ASSERT_EQ(fake_ops_calls(fixture.ops), 0);
        }

        /* In the wait of a submission: the job stays. */
        int fd = fixture_connect(&fixture);
        fixture_send_text(
                &fixture, fd,
                "POST /api/v1/jobs?wait=1min HTTP/1.1\r\nHost: localhost\r\n" JSON
                "Content-Length: 15\r\n\r\n{\"command\":\"b\"}");
        FIXTURE_WAIT(&fixture, fixture.ops->n_jobs == 2);
        close(fd);
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 0);
        ASSERT_EQ(fake_ops_calls(fixture.ops), 0);

        /* In the middle of a stream. */
        fd = fixture_connect(&fixture);
        ask_for_job(fd, "/stdout?follow=1");
        FIXTURE_WAIT(&fixture, fake_ops_calls(fixture.ops) == 1);
        fake_ops_write(fixture.ops, 0, "begin", 5);
        char bytes[10];
        FIXTURE_WAIT(&fixture, recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
        close(fd);
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 0);
        ASSERT_EQ(fake_ops_calls(fixture.ops), 0);

        fixture_get(&fixture, "/api/v1/jobs", &response);
        ASSERT_EQ(response.status, 200);
        response_done(&response);
        end();
}

static void test_follow(void) {
        struct response response;
        char expected[4000] = "";

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        int fd = fixture_connect(&fixture);
        ask_for_job(fd, "/stdout?follow=1&offset=2");
        FIXTURE_WAIT(&fixture, fake_ops_calls(fixture.ops) == 1);
        for (unsigned i = 0; i < 300; i++) {
                char line[32];

                (void) snprintf(line, sizeof(line), "line %u\n", i);
                strcat(expected, line);
                fake_ops_write(fixture.ops, 0, line, strlen(line));
                ASSERT_OK(sd_event_run(fixture.event, 0));
        }
        fake_ops_finish(fixture.ops, 0, 0);
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_STREQ(response.body.data, expected + 2);
        response_done(&response);
        /* And the connection goes on. */
        fixture_send_text(&fixture, fd, HEALTH);
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 200);
        response_done(&response);
        close(fd);
        end();
}

static void allow_descriptors(rlim_t n) {
        struct rlimit limit;

        ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = MAX(limit.rlim_cur, MIN(n, limit.rlim_max));
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_a_thousand_idle_connections(void) {
        struct response response;
        int fds[1000];

        allow_descriptors(4096);
        begin();
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = fixture_connect(&fixture);
                if (i % 2 == 0)
                        fixture_send_text(
                                &fixture, fds[i], "GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n");
        }
        usec_t start = now_usec(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < 100; i++) {
                fixture_post_job(&fixture, "/api/v1/jobs", "{\"command\":\"a\"}", &response);
                ASSERT_EQ(response.status, 201);
                response_done(&response);
        }
        usec_t each = (now_usec(CLOCK_MONOTONIC) - start) / 100;
        fprintf(stderr, "  %" PRIu64 " us a request beside them\n", each);
        ASSERT_LT(each, 50 * USEC_PER_MSEC);

        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fixture_send_text(&fixture, fds[i], i % 2 == 0 ? "\r\n" : HEALTH);
                fixture_receive(&fixture, fds[i], false, &response);
                ASSERT_EQ(response.status, 200);
                response_done(&response);
                close(fds[i]);
        }
        end();
}

/* Runs as another user, in a process of its own: asks, and compares the status. */
static int ask_as(const struct passwd *user, bool by_unix, const char *request, unsigned status) {
        char text[64] = "", expected[32];

        if (setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
                return 2;
        int fd = by_unix ? fixture_connect_unix(&fixture) : fixture_connect(&fixture);
        if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0 ||
            recv(fd, text, sizeof(text) - 1, MSG_WAITALL) < 0)
                return 3;
        (void) snprintf(expected, sizeof(expected), "HTTP/1.1 %u ", status);
        return strncmp(text, expected, strlen(expected)) == 0 ? 0 : 4;
}

static void assert_ask_as(const struct passwd *user, bool by_unix, const char *request, unsigned status) {
        int result = -1;

        pid_t pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0)
                _exit(ask_as(user, by_unix, request, status));
        FIXTURE_WAIT(&fixture, waitpid(pid, &result, WNOHANG) == pid);
        if (!WIFEXITED(result) || WEXITSTATUS(result) != 0)
                _TEST_FAIL("%s by %s: %#x", request, by_unix ? "unix" : "TCP", (unsigned) result);
}

static void test_another_user(void) {
        const struct passwd *nobody = getpwnam("nobody");
        struct response response;
        char id[UUID_TEXT_SIZE], text[200];

        if (geteuid() != 0 || !nobody) {
                fprintf(stderr, "  SKIPPED: needs root, to be another user\n");
                return;
        }
        begin();
        fake_ops_add(fixture.ops, "secret", 0);
        uuid_to_text(&fake_ops_job(fixture.ops, 0)->id, id);
        for (unsigned by_unix = 0; by_unix < 2; by_unix++) {
                assert_ask_as(nobody, by_unix, HEALTH, 200);
                assert_ask_as(nobody, by_unix, "GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n", 200);
                assert_ask_as(
                        nobody, by_unix, POST_HEAD JSON "Content-Length: 15\r\n\r\n{\"command\":\"a\"}",
                        403);
                (void) snprintf(
                        text, sizeof(text),
                        "POST /api/v1/jobs/%s/cancel HTTP/1.1\r\nHost: localhost\r\n\r\n", id);
                assert_ask_as(nobody, by_unix, text, 403);
                (void) snprintf(
                        text, sizeof(text), "GET /api/v1/jobs/%s/stdout HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        id);
                assert_ask_as(nobody, by_unix, text, 403);
        }
        ASSERT_EQ(fixture.ops->n_jobs, 1);

        fixture_get(&fixture, "/api/v1/jobs", &response);
        ASSERT_NOT_NULL(strstr(response.body.data, "secret"));
        response_done(&response);
        end();
}

/* What a user sees of jobs that are not his. */
static void test_redaction(void) {
        static const char *const hidden[] = { "command", "stdout",    "stderr",      "error_message",
                                              "cwd",     "env_names", "stdin_bytes", "submitter" };
        static const char *const shown[] = { "job_id",      "status", "exit_code", "created_at",
                                             "finished_at", "signal", "attempts",  "outcome" };
        static struct stored_attempt attempt = { .epoch = 1,
                                                 .attempt = 1,
                                                 .node_id = "node-b",
                                                 .fate = ATTEMPT_LOST,
                                                 .error_message = (char *) "of nobody's concern" };
        const struct passwd *nobody = getpwnam("nobody");
        char bytes[4096] = "", text[64];

        if (geteuid() != 0 || !nobody) {
                fprintf(stderr, "  SKIPPED: needs root, to be another user\n");
                return;
        }
        begin();
        fake_ops_add(fixture.ops, "x", 0);
        fake_ops_finish(fixture.ops, 0, 1);
        fake_ops_job(fixture.ops, 0)->attempts = &attempt;
        fake_ops_job(fixture.ops, 0)->n_attempts = 1;
        /* The user of a socket is the one who made it. */
        ASSERT_EQ(seteuid(nobody->pw_uid), 0);
        int fd = fixture_connect(&fixture);
        ASSERT_EQ(seteuid(0), 0);
        ask_for_job(fd, "");
        FIXTURE_WAIT(&fixture, recv(fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT) > 0);
        for (size_t i = 0; i < ELEMENTSOF(hidden); i++) {
                (void) snprintf(text, sizeof(text), "\"%s\":", hidden[i]);
                ASSERT_NULL(strstr(bytes, text));
        }
        for (size_t i = 0; i < ELEMENTSOF(shown); i++) {
                (void) snprintf(text, sizeof(text), "\"%s\":", shown[i]);
                ASSERT_NOT_NULL(strstr(bytes, text));
        }
        ASSERT_NOT_NULL(strstr(bytes, "\"redacted\":true"));
        close(fd);
        end();
}

/* The kernel calls a socket that was closed root's. */
static void test_who_asks_and_leaves_is_not_root(void) {
        begin();
        int fd = fixture_connect(&fixture);
        static const char request[] = POST_HEAD JSON "Content-Length: 15\r\n\r\n{\"command\":\"a\"}";
        ASSERT_EQ(send(fd, request, strlen(request), 0), (ssize_t) strlen(request));
        close(fd);
        assert_alive();
        assert_alive();
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        end();
}

static void test_stopping(void) {
        struct response response;

        begin();
        fake_ops_add(fixture.ops, "a", 0);
        int idle = fixture_connect(&fixture), waiting = fixture_connect(&fixture);
        ask_for_job(waiting, "?wait=1min");
        FIXTURE_WAIT(&fixture, fake_ops_calls(fixture.ops) == 1);
        rest_stop_accepting(fixture.rest);
        ASSERT_EQ(rest_pending(fixture.rest), 1);
        fixture_receive(&fixture, idle, false, &response);
        ASSERT_TRUE(response.closed);
        response_done(&response);
        fake_ops_finish(fixture.ops, 0, 0);
        fixture_receive(&fixture, waiting, false, &response);
        ASSERT_EQ(response.status, 200);
        ASSERT_STREQ(response_header(&response, "Connection"), "close");
        response_done(&response);
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 0);
        close(idle);
        close(waiting);
        end();
}

/* The end comes while everything is under way. */
static void test_freed_in_the_middle(void) {
        begin();
        fake_ops_add(fixture.ops, "a", 0);
        int fds[6];
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                fds[i] = fixture_connect(&fixture);
        ask_for_job(fds[0], "?wait=1min");
        ask_for_job(fds[1], "/stdout?follow=1");
        fixture_send_text(
                &fixture, fds[2], POST_HEAD JSON "Content-Length: 100\r\n\r\n[{\"command\":\"a\"},");
        fixture_send_text(&fixture, fds[3], "GET / HT");
        fixture_send_text(&fixture, fds[4], "GET / HTTP/1.1\r\nHost");
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 3 && fake_ops_calls(fixture.ops) == 2);
        end();
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                close(fds[i]);
}

int main(void) {
        RUN(test_keep_alive_and_pipelining);
        RUN(test_half_closed_client);
        RUN(test_slow_clients);
        RUN(test_lazy_reader);
        RUN(test_clients_that_leave);
        RUN(test_follow);
        RUN(test_a_thousand_idle_connections);
        RUN(test_another_user);
        RUN(test_redaction);
        RUN(test_who_asks_and_leaves_is_not_root);
        RUN(test_stopping);
        RUN(test_freed_in_the_middle);
        return 0;
}
