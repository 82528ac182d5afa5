/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A request as it comes out of the HTTP parser, through the gate, the routes and operations in memory. The
 * input is the text of the request with lines that end in a newline:
 *
 *         POST /api/v1/jobs?wait=30s HTTP/1.0
 *         Host: localhost:3000
 *
 *         {"command":"true"}
 *
 * A header "!Door" with "unix", "!User" with a number or "nobody", and "!Piece" with the bytes in which the
 * body comes stand for what is not in a request. There is one job that runs and one that has ended.
 *
 * Whatever comes: there is one answer, a refusal says why in one line, and nothing is done for somebody who
 * may not do it, by a method that does nothing, or for a web page. */

#include "api/rest/routes.h"
#include "lib/tests.h"
#include "unit/api/fake-ops.h"
#include "util/parse.h"
#include "util/utf8.h"

#define TURNS_MAX 64
#define STREAM_PIECES_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char running_id[] = "550e8400-e29b-41d4-a716-446655440000";
static const char ended_id[] = "550e8400-e29b-41d4-a716-446655440001";

struct exchange {
        struct rest rest;
        struct client client;
        unsigned n_answers, n_jobs;
        bool aborted, cut_off;
        size_t piece;
};

static struct exchange *exchange_of(struct request *request) {
        return CONTAINER_OF(request_client(request), struct exchange, client);
}

/* What http.c and http-answer.c have otherwise. */

void http_answer(struct request *request, struct answer *answer) {
        exchange_of(request)->n_answers++;
        request->answered = true;
        request->answer = *answer;
        *answer = (struct answer){};
}

void http_abort(struct request *request) {
        exchange_of(request)->aborted = true;
}

void http_watch(struct request *request) {
}

void http_stream_start(struct request *request, struct answer *answer) {
        request->stream.used = true;
        http_answer(request, answer);
}

int http_stream_append(struct request *request, const char *data, size_t size, bool ended) {
        ASSERT_FALSE(request->stream.ended);
        request->stream.asked = false;
        request->stream.ended = ended;
        return buffer_append(&request->stream.data, data, size);
}

void http_stream_fail(struct request *request) {
        exchange_of(request)->cut_off = true;
}

/* The text of a request. */

static char *take_line(char **text) {
        char *line = *text, *end = strchr(line, '\n');

        *text = end ? end + 1 : line + strlen(line);
        if (end)
                *end = '\0';
        return line;
}

static void read_request_line(struct request *request, char *line) {
        char *target = strchr(line, ' '), *version = NULL;

        if (target) {
                *target++ = '\0';
                version = strrchr(target, ' ');
        }
        if (version) {
                *version++ = '\0';
                request->http_1_0 = streq(version, "HTTP/1.0");
        }
        request->method = streq(line, "GET")    ? HTTP_GET
                          : streq(line, "HEAD") ? HTTP_HEAD
                          : streq(line, "POST") ? HTTP_POST
                                                : HTTP_OTHER;
        request->target_too_long = target && strlen(target) > TARGET_MAX;
        request->target = request->target_too_long ? NULL : strdup(target ? target : "");
}

static bool read_pretence(struct exchange *exchange, const char *name, const char *value) {
        struct client *client = &exchange->client;
        unsigned number;

        if (streq(name, "!Door"))
                client->door.is_unix = streq(value, "unix");
        else if (streq(name, "!User")) {
                client->caller.uid_known = parse_unsigned(value, 0, UINT16_MAX, &number) >= 0;
                client->caller.uid = client->caller.uid_known ? number : (uid_t) -1;
        } else if (streq(name, "!Piece")) {
                if (parse_unsigned(value, 1, UINT16_MAX, &number) >= 0)
                        exchange->piece = number;
        } else
                return false;
        return true;
}

static void read_header(struct exchange *exchange, char *line) {
        struct gate_headers *headers = &exchange->client.request.headers;
        char *value = strchr(line, ':');
        const char *known, **field;

        if (!value)
                return;
        *value++ = '\0';
        value += strspn(value, " ");
        if (read_pretence(exchange, line, value))
                return;
        field = gate_header(headers, line, strlen(line), &known);
        if (field && *field)
                headers->repeated = known;
        else if (field)
                *field = value;
}

/* What is behind the empty line is the body. */
static char *read_head(struct exchange *exchange, char *text) {
        struct request *request = &exchange->client.request;
        char *start = text;

        read_request_line(request, take_line(&text));
        while (*text != '\0') {
                char *line = take_line(&text);

                if (*line == '\0')
                        break;
                read_header(exchange, line);
        }
        request->header_too_large = text - start > REQUEST_HEADER_MAX;
        if (request->headers.content_length)
                (void) parse_u64(request->headers.content_length, &request->content_length);
        return text;
}

/* The request's way. */

static void turn(struct exchange *exchange) {
        for (unsigned i = 0; i < TURNS_MAX; i++)
                if (ASSERT_OK(sd_event_run(exchange->rest.ops->event, 0)) == 0)
                        return;
}

static void bring_body(struct exchange *exchange, const char *body, size_t size) {
        struct request *request = &exchange->client.request;
        size_t piece = exchange->piece > 0 ? exchange->piece : size;

        for (size_t n; size > 0 && !request->answered; body += n, size -= n) {
                n = MIN(piece, size);
                request->body_size += n;
                routes_handlers.body(NULL, request, body, n);
        }
        if (!request->answered)
                routes_handlers.end(NULL, request);
}

static void take_stream(struct exchange *exchange) {
        struct request *request = &exchange->client.request;

        for (unsigned i = 0; i < STREAM_PIECES_MAX && !request->stream.ended && !request->stream.asked;
             i++) {
                request->stream.asked = true;
                routes_handlers.stream_more(NULL, request);
                turn(exchange);
        }
}

/* What came of it. */

static void check_text(const struct buffer *text) {
        ASSERT_TRUE(utf8_is_valid(text->data, text->size));
        ASSERT_NULL(memchr(text->data, '\0', text->size));
        ASSERT_TRUE(memchr(text->data, '\n', text->size) == text->data + text->size - 1);
}

static int check_header(void *userdata, const char *name, const char *value) {
        for (const char *position = value; *position != '\0'; position++)
                ASSERT_TRUE((unsigned char) *position >= 0x20 && *position != 0x7f);
        return 0;
}

static void check_answer(struct exchange *exchange) {
        const struct request *request = &exchange->client.request;
        const struct answer *answer = &request->answer;

        ASSERT_EQ(exchange->n_answers, 1);
        ASSERT_TRUE(answer->status >= 200 && answer->status < 600);
        ASSERT_OK(answer_foreach_header(answer, exchange->rest.node_id, check_header, NULL));
        if (streq(answer->content_type, CONTENT_TYPE_BYTES))
                return;
        check_text(&answer->body);
        ASSERT_EQ(streq(answer->content_type, CONTENT_TYPE_PROBLEM), answer->status >= 400);
}

static bool something_was_done(struct exchange *exchange) {
        struct ops *ops = exchange->rest.ops;

        return ops->n_jobs != exchange->n_jobs || fake_ops_job(ops, 0)->status != JOB_RUNNING ||
               fake_ops_job(ops, 0)->cancel_requested;
}

static void check_deed(struct exchange *exchange) {
        const struct client *client = &exchange->client;
        const struct gate_headers *headers = &client->request.headers;

        if (!something_was_done(exchange))
                return;
        ASSERT_EQ(client->request.method, HTTP_POST);
        ASSERT_TRUE(client->caller.uid_known && client->caller.uid == 0);
        ASSERT_TRUE(client->request.answer.status < 400);
        ASSERT_NULL(headers->repeated);
        ASSERT_TRUE(headers->host || client->request.http_1_0);
        if (headers->origin)
                ASSERT_TRUE(headers->host && strcasestr(headers->origin, headers->host));
        if (headers->fetch_site)
                ASSERT_TRUE(strcasestr("same-origin none", headers->fetch_site));
}

static void serve(struct exchange *exchange, const char *body, size_t size) {
        struct request *request = &exchange->client.request;

        routes_handlers.begin(NULL, request);
        if (!request->answered)
                bring_body(exchange, body, size);
        turn(exchange);
        if (request->answered)
                check_answer(exchange);
        else
                /* Only what waits for something may keep a client waiting. */
                ASSERT_TRUE(request->call && (request->wait_usec > 0 || request->follow));
        ASSERT_FALSE(exchange->aborted || exchange->cut_off);
        if (request->stream.used)
                take_stream(exchange);
        check_deed(exchange);
        routes_handlers.gone(NULL, request);
        ASSERT_EQ(fake_ops_calls(exchange->rest.ops), 0);
        ASSERT_EQ(exchange->rest.bodies_memory, 0);
}

static void add_jobs(struct exchange *exchange) {
        struct ops *ops = exchange->rest.ops;

        ASSERT_OK(uuid_from_text(running_id, &fake_ops_add(ops, "sleep 1", 0)->id));
        fake_ops_write(ops, 0, "output\n", 7);
        ASSERT_OK(uuid_from_text(ended_id, &fake_ops_add(ops, "false", 1000)->id));
        fake_ops_write(ops, 1, "caf\xe9\n", 5);
        fake_ops_finish(ops, 1, 1);
        exchange->n_jobs = (unsigned) ops->n_jobs;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct exchange exchange = { .rest.node_id = (char *) "node-0123456789abcdef" };
        struct client *client = &exchange.client;
        sd_event *event;
        char *text, *body;

        ASSERT_OK(sd_event_new(&event));
        exchange.rest.ops = fake_ops_new(event);
        add_jobs(&exchange);
        ASSERT_OK(json_parser_new(&exchange.rest.parser));
        client->rest = &exchange.rest;
        client->door.port = 3000;
        client->caller = (struct caller){ .uid_known = true, .uid = 0 };

        text = malloc(size + 1);
        ASSERT_NOT_NULL(text);
        memcpy(text, data, size);
        text[size] = '\0';
        body = read_head(&exchange, text);
        serve(&exchange, body, size - (size_t) (body - text));

        answer_done(&client->request.answer);
        buffer_done(&client->request.stream.data);
        free(client->request.target);
        free(text);
        exchange.rest.parser = json_parser_free(exchange.rest.parser);
        exchange.rest.ops = fake_ops_free(exchange.rest.ops);
        sd_event_unref(event);
        return 0;
}
