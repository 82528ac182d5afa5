/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One connection, and the one request at a time on it. The parts are marked with the file that owns them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "api/ops.h"
#include "api/rest/answer.h"
#include "api/rest/deadline.h"
#include "api/rest/gate.h"
#include "api/rest/job-reader.h"
#include "util/buffer.h"
#include "util/list.h"
#include "util/uuid.h"

struct MHD_Connection;
struct http;
struct rest;
struct endpoint;

enum http_method {
        HTTP_GET,
        HTTP_HEAD,
        HTTP_POST,
        HTTP_OTHER,
};

/* An answer that is sent while it is made (http.c). */
struct stream {
        bool used;
        bool ended; /* nothing follows what is in data */
        bool asked; /* routes were asked for more */
        struct buffer data;
        size_t sent; /* of data */
};

struct request {
        /* http.c: set before routes hear of the request. */
        char *target;         /* "/path?query", owned; NULL: too long, or there was no memory for it */
        bool target_too_long; /* longer than TARGET_MAX */
        enum http_method method;
        bool http_1_0;
        struct gate_headers headers; /* borrowed from the connection until the request is over */
        uint64_t content_length;     /* 0 also when unknown */
        bool header_too_large;
        size_t body_size; /* that has arrived */
        size_t discarded; /* of it, because there was an answer already */

        /* http.c: the answer. */
        bool answered; /* answer is final */
        bool close;    /* the connection is of no use after it */
        bool left;     /* the client is gone */
        struct answer answer;
        size_t answer_memory; /* as counted in the sum of all */
        struct stream stream;

        /* routes*.c */
        const struct endpoint *endpoint;
        struct uuid job_id;
        usec_t wait_usec;
        uint64_t offset;
        bool follow;
        struct store_list list;
        enum ops_scope scope;
        char cursor_kind; /* of the scope that the cursor is from; '\0': there is none */
        struct job_reader *reader;
        struct buffer small; /* a body of a few fields */
        size_t memory;       /* of reader, as counted in the node's sum */
        struct ops_call *call;
        /* What became of a submission. */
        usec_t created_at;
        bool repeated;
        unsigned copies;
};

enum client_phase {
        CLIENT_IDLE,      /* nothing of a request is known */
        CLIENT_HEAD,      /* the request line is there */
        CLIENT_BODY,      /* the header is there, the body is awaited */
        CLIENT_HANDLED,   /* all is there; the answer is being made */
        CLIENT_ANSWERING, /* the answer is being sent */
};

struct client {
        struct http *http;
        struct rest *rest;
        struct list_link link;
        struct MHD_Connection *connection;
        int fd; /* owned by the HTTP library once it has the connection */
        struct gate_door door;
        unsigned *n_clients; /* of its door */

        /* Who is at the other end: asked once, when the connection came in. */
        struct caller caller;
        gid_t *groups;
        bool access_known;
        unsigned access;
        const char *access_reason;

        /* http.c */
        enum client_phase phase;
        bool begun;     /* routes know of the request, and will be told of its end */
        bool suspended; /* the library does nothing with the connection */
        bool was_suspended;
        struct deadline deadline;
        sd_event_source *watch;
        struct request request;
};
