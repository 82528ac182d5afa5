/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests that are too large, and what is no request at all. */

#include <sys/socket.h>

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

static void test_expect_continue(void) {
        struct response response;

        begin();
        int fd = fixture_connect(&fixture);
        fixture_send_text(&fixture, fd, POST_HEAD JSON "Expect: 100-continue\r\nContent-Length: 15\r\n\r\n");
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 100);
        response_done(&response);
        fixture_send_text(&fixture, fd, "{\"command\":\"a\"}");
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 201);
        response_done(&response);
        close(fd);

        /* Refused before a byte of it is sent. */
        fd = fixture_connect(&fixture);
        fixture_send_text(
                &fixture, fd,
                POST_HEAD "Content-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n");
        fixture_receive(&fixture, fd, false, &response);
        assert_problem(&response, 415, "unsupported_media_type", "");
        response_done(&response);
        close(fd);
        end();
}

static void test_oversized_bodies(void) {
        _cleanup_buffer_ struct buffer chunk = {};
        struct response response;

        begin();
        int fd = fixture_connect(&fixture);
        fixture_send_text(&fixture, fd, POST_HEAD JSON "Content-Length: 99999999999\r\n\r\n{");
        fixture_receive(&fixture, fd, false, &response);
        assert_problem(&response, 413, "body_too_large", "33554432");
        response_done(&response);
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_TRUE(response.closed);
        close(fd);

        /* Without a length. */
        ASSERT_OK(buffer_append_text(&chunk, "10000\r\n"));
        for (size_t i = 0; i < 65536; i++)
                ASSERT_OK(buffer_append(&chunk, " ", 1));
        ASSERT_OK(buffer_append_text(&chunk, "\r\n"));
        fd = fixture_connect(&fixture);
        fixture_send_text(&fixture, fd, POST_HEAD JSON "Transfer-Encoding: chunked\r\n\r\n");
        size_t i;
        for (i = 0; i < 1200 && recv(fd, &(char){ 0 }, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
             i++)
                fixture_send(&fixture, fd, chunk.data, chunk.size);
        ASSERT_LT(i, 1200);
        fixture_receive(&fixture, fd, false, &response);
        assert_problem(&response, 413, "body_too_large", "33554432");
        ASSERT_STREQ(response_header(&response, "Connection"), "close");
        response_done(&response);
        close(fd);
        assert_alive();
        end();
}

static void test_oversized_headers(void) {
        struct response response;
        char text[6001];

        begin();
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';

        /* Within the library's room, and beyond it. */
        for (unsigned n = 2; n < 40; n += 36) {
                int fd = fixture_connect(&fixture);

                fixture_send_text(&fixture, fd, "GET / HTTP/1.1\r\nHost: localhost\r\n");
                for (unsigned i = 0; i < n; i++) {
                        fixture_send_text(&fixture, fd, "X: ");
                        fixture_send(&fixture, fd, text, n == 2 ? 4500 : strlen(text));
                        fixture_send_text(&fixture, fd, "\r\n");
                }
                fixture_send_text(&fixture, fd, "\r\n");
                fixture_receive(&fixture, fd, false, &response);
                ASSERT_EQ(response.status, 431);
                if (n == 2)
                        assert_problem(&response, 431, "header_too_large", "8192");
                response_done(&response);
                close(fd);
        }

        int fd = fixture_connect(&fixture);
        fixture_send_text(&fixture, fd, "GET /");
        fixture_send(&fixture, fd, text, 3000);
        fixture_send_text(&fixture, fd, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        fixture_receive(&fixture, fd, false, &response);
        assert_problem(&response, 414, "target_too_long", "2048");
        response_done(&response);
        close(fd);
        assert_alive();
        end();
}

/* What is no HTTP is no danger either. */
static void test_garbage(void) {
        static const struct {
                const char *data;
                size_t size;
        } cases[] = {
                { "\r\n\r\n", 4 },
                { "GARBAGE\r\n\r\n", 11 },
                { "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 13 },
                { "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 35 },
                { "GET /\r\n\r\n", 9 },
                { "GET / HTTP/1.1\r\nno colon\r\n\r\n", 28 },
                { "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 55 },
                { POST_HEAD JSON "Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n0\r\n\r\n", 0 },
                { POST_HEAD JSON "Content-Length: 2\r\nContent-Length: 15\r\n\r\n{}{}{}{}{}{}{}{", 0 },
        };
        const struct rest_config config = { .connections_max = 100, .read_max_usec = 300 * USEC_PER_MSEC };

        fixture_begin(&fixture, &config);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                size_t size = cases[i].size > 0 ? cases[i].size : strlen(cases[i].data);
                char byte[16] = "";

                int fd = fixture_connect(&fixture);
                fixture_send(&fixture, fd, cases[i].data, size);
                ASSERT_EQ(shutdown(fd, SHUT_WR), 0);
                ssize_t n = -1;
                FIXTURE_WAIT(
                        &fixture,
                        (n = recv(fd, byte, sizeof(byte) - 1, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
                ASSERT_NULL(strstr(byte, " 2"));
                close(fd);
                assert_alive();
        }
        ASSERT_EQ(fixture.ops->n_jobs, 0);
        fixture_end(&fixture);
}

static void test_large_submissions_are_bounded_together(void) {
        _cleanup_buffer_ struct buffer body = {};
        struct response response;
        unsigned refused = 0;
        int fds[40];

        begin();
        /* Half of a job each, held until the other half comes. */
        ASSERT_OK(
                buffer_append_text(&body, POST_HEAD JSON "Content-Length: 30000000\r\n\r\n[{\"stdin\":\""));
        for (size_t i = 0; i < 6000000; i++)
                ASSERT_OK(buffer_append(&body, "x", 1));
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = fixture_connect(&fixture);
                fixture_send(&fixture, fds[i], body.data, body.size);
                /* One that is refused is read on, but only so far. */
                for (unsigned j = 0; j < 20 && i > 20; j++)
                        fixture_send(&fixture, fds[i], body.data + 1000, 100000);
        }
        FIXTURE_WAIT(&fixture, recv(fds[ELEMENTSOF(fds) - 1], &(char){ 0 }, 1, MSG_DONTWAIT | MSG_PEEK) > 0);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                if (recv(fds[i], &(char){ 0 }, 1, MSG_DONTWAIT | MSG_PEEK) > 0) {
                        fixture_receive(&fixture, fds[i], false, &response);
                        assert_problem(&response, 503, "busy", "too many large submissions");
                        response_done(&response);
                        refused++;
                }
                close(fds[i]);
        }
        ASSERT_TRUE(refused > 0 && refused < ELEMENTSOF(fds));
        FIXTURE_WAIT(&fixture, rest_pending(fixture.rest) == 0);
        fixture_post_job(&fixture, "/api/v1/jobs", "{\"command\":\"a\"}", &response);
        ASSERT_EQ(response.status, 201);
        response_done(&response);
        end();
}

static void test_too_many_connections(void) {
        const struct rest_config config = { .connections_max = 8 };
        struct response response;
        int fds[8];

        fixture_begin(&fixture, &config);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = fixture_connect(&fixture);
                fixture_send_text(&fixture, fds[i], HEALTH);
                fixture_receive(&fixture, fds[i], false, &response);
                ASSERT_EQ(response.status, 200);
                response_done(&response);
        }
        int extra = fixture_connect(&fixture);
        fixture_receive(&fixture, extra, false, &response);
        assert_problem(&response, 503, "too_many_connections", "8 connections");
        ASSERT_STREQ(response_header(&response, "Retry-After"), "1");
        response_done(&response);
        close(extra);

        /* The other door has its own count. */
        extra = fixture_connect_unix(&fixture);
        fixture_send_text(&fixture, extra, HEALTH);
        fixture_receive(&fixture, extra, false, &response);
        ASSERT_EQ(response.status, 200);
        response_done(&response);
        close(extra);

        close(fds[3]);
        unsigned status = 0;
        while (status != 200) {
                fds[3] = fixture_connect(&fixture);
                fixture_send_text(&fixture, fds[3], HEALTH);
                fixture_receive(&fixture, fds[3], false, &response);
                status = response.status;
                response_done(&response);
                if (status != 200)
                        close(fds[3]);
        }
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                close(fds[i]);
        fixture_end(&fixture);
}

/* A refusal by the header does not end the connection, when the body is small. */
static void test_refused_body_is_read(void) {
        _cleanup_buffer_ struct buffer body = {};
        struct response response;

        begin();
        for (size_t i = 0; i < 500000; i++)
                ASSERT_OK(buffer_append(&body, "x", 1));
        int fd = fixture_connect(&fixture);
        fixture_send_text(
                &fixture, fd, POST_HEAD "Content-Type: text/plain\r\nContent-Length: 500000\r\n\r\n");
        fixture_send(&fixture, fd, body.data, body.size);
        fixture_receive(&fixture, fd, false, &response);
        assert_problem(&response, 415, "unsupported_media_type", "");
        response_done(&response);
        fixture_send_text(&fixture, fd, POST_HEAD JSON "Content-Length: 500000\r\n\r\n");
        fixture_send(&fixture, fd, body.data, body.size);
        fixture_receive(&fixture, fd, false, &response);
        assert_problem(&response, 400, "bad_json", "byte 0");
        response_done(&response);
        fixture_send_text(&fixture, fd, HEALTH);
        fixture_receive(&fixture, fd, false, &response);
        ASSERT_EQ(response.status, 200);
        response_done(&response);
        close(fd);
        end();
}

int main(void) {
        RUN(test_expect_continue);
        RUN(test_oversized_bodies);
        RUN(test_oversized_headers);
        RUN(test_garbage);
        RUN(test_large_submissions_are_bounded_together);
        RUN(test_too_many_connections);
        RUN(test_refused_body_is_read);
        return 0;
}
