/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The whole HTTP face in this process over fake operations, and clients that speak to it by raw bytes over
 * real sockets. One thread: while a client waits the loop runs. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "api/rest/rest.h"
#include "fake-ops.h"
#include "lib/tests.h"
#include "util/buffer.h"

#define FIXTURE_NODE_ID "node-0123456789abcdef"
#define FIXTURE_DEADLINE_USEC (20 * USEC_PER_SEC)

struct fixture {
        sd_event *event;
        struct ops *ops;
        struct rest *rest;
        uint16_t port;
        char socket_path[64];
};

/* config: limits to be used instead of the usual ones; may be NULL. */
void fixture_begin(struct fixture *fixture, const struct rest_config *config);
void fixture_end(struct fixture *fixture);

/* Lets the loop run until the condition holds; fails after the deadline. */
#define FIXTURE_WAIT(fixture, condition)                                               \
        ({                                                                             \
                usec_t _end = now_usec(CLOCK_MONOTONIC) + FIXTURE_DEADLINE_USEC;       \
                while (!(condition)) {                                                 \
                        if (now_usec(CLOCK_MONOTONIC) > _end)                          \
                                _TEST_FAIL("not within the deadline: %s", #condition); \
                        ASSERT_OK(sd_event_run((fixture)->event, USEC_PER_MSEC));      \
                }                                                                      \
        })

int fixture_connect(struct fixture *fixture); /* TCP */
int fixture_connect_unix(struct fixture *fixture);
void fixture_send(struct fixture *fixture, int fd, const char *data, size_t size);
void fixture_send_text(struct fixture *fixture, int fd, const char *text);

struct response {
        unsigned status;
        struct buffer header, body; /* header with the status line */
        bool closed;                /* the connection ended behind it */
};

void response_done(struct response *response);
/* The value of a header, up to the end of its line, in a static buffer; NULL: absent. */
const char *response_header(const struct response *response, const char *name);

/* The next response; status 0: the connection was closed without one. head: of a HEAD request. */
void fixture_receive(struct fixture *fixture, int fd, bool head, struct response *ret);

/* One request over a connection of its own; headers: lines with their ends, beside Host. */
void fixture_request(
        struct fixture *fixture, const char *method, const char *target, const char *headers,
        const char *body, size_t body_size, struct response *ret);
void fixture_get(struct fixture *fixture, const char *target, struct response *ret);
void fixture_post_job(struct fixture *fixture, const char *target, const char *json, struct response *ret);

/* A refusal: its status, code, and that "error" and "detail" are the same single line that holds hint. */
void assert_problem(struct response *response, unsigned status, const char *code, const char *hint);
