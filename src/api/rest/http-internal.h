/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What http.c, which speaks with the library, and http-answer.c, which does not, share. */

#include "api/rest/deadline.h"
#include "api/rest/http.h"

struct MHD_Daemon;

struct http {
        const char *node_id;
        sd_event *event;
        struct http_handlers handlers;
        struct MHD_Daemon *daemon;
        sd_event_source *io_source;
        sd_event_source *again_source; /* there is work although epoll is quiet */
        sd_event_source *timer_source;
        usec_t timer_usec; /* when it is due; USEC_INFINITY: not armed */

        struct list clients;
        struct deadlines reading, answering;
        unsigned n_pending;
        size_t answers_memory;
        bool closing;
        struct client *adding; /* its socket is being handed over */
};

/* The time of this turn of the loop; CLOCK_MONOTONIC. */
usec_t http_now(const struct http *http);

/* http.c: the library goes on with the connection. */
void client_resume(struct client *client);

/* The end of a request, and the beginning of the next. */
void request_reset(struct http *http, struct request *request);

/* An answer past the library, for a request that it is still reading; then the connection ends. */
void client_answer_and_close(struct client *client, const struct answer *answer);

/* What was to happen by the client's deadline did not. */
void client_expired(struct client *client);
