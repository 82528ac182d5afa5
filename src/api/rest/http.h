/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* HTTP/1.1 over accepted sockets: libmicrohttpd inside of the loop. http.c is the only file that sees it. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "api/rest/request.h"
#include "util/macros.h"

#define REQUEST_HEADER_MAX (8u * 1024)     /* bytes of request line and headers */
#define REQUEST_DISCARD_MAX (1024u * 1024) /* of a body that is not wanted: more closes the connection */
#define ANSWERS_MEMORY_MAX (256u * 1024 * 1024) /* bytes of all answers that are being sent */

struct http_handlers {
        /* The header is there. May answer at once; the body is then read and thrown away. */
        void (*begin)(void *userdata, struct request *request);
        /* A piece of the body; not when answered. */
        void (*body)(void *userdata, struct request *request, const char *data, size_t size);
        /* The body is complete. Answers, or makes sure that it will. Not when answered. */
        void (*end)(void *userdata, struct request *request);
        /* All of the stream so far was taken: give more, now or later. */
        void (*stream_more)(void *userdata, struct request *request);
        /* The request is over, answered or not. Once after each begin. */
        void (*gone)(void *userdata, struct request *request);
        void *userdata;
};

struct http_config {
        const char *node_id; /* borrowed */
        unsigned connections_max;
        usec_t read_max_usec; /* from one request to the next header, and for a body */
        usec_t send_max_usec; /* for an answer; for each piece of a stream */
};

int http_new(
        const struct http_config *config, sd_event *event, const struct http_handlers *handlers,
        struct http **ret);
/* Ends all connections. Returns NULL; accepts NULL. */
struct http *http_free(struct http *http);
DEFINE_CLEANUP(struct http *, http_free)

/* Takes the client with its socket, also on failure. */
int http_add_client(struct http *http, struct client *client);
/* Frees a client that was never handed over. */
struct client *client_free(struct client *client);
DEFINE_CLEANUP(struct client *, client_free)

/* Answers close their connections from now on; idle ones are closed at once. */
void http_close_idle(struct http *http);
unsigned http_pending(const struct http *http);

/* Takes the answer; the request must not have one. */
void http_answer(struct request *request, struct answer *answer);
/* The connection is closed without an answer: there is no memory for one. */
void http_abort(struct request *request);
/* From here on a client that leaves is noticed although nothing is sent to it; gone() follows. Costs a few
 * microseconds: for what may take long. */
void http_watch(struct request *request);

/* An answer of unknown length: takes status and headers; stream_more() asks for the body. */
void http_stream_start(struct request *request, struct answer *answer);
int http_stream_append(struct request *request, const char *data, size_t size, bool ended);
/* The stream cannot go on: the client sees that it is cut off. */
void http_stream_fail(struct request *request);

static inline struct client *request_client(struct request *request) {
        return CONTAINER_OF(request, struct client, request);
}
