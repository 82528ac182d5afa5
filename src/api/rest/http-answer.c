/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients and their answers, as far as the HTTP library need not be asked. */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/rest/http-internal.h"
#include "util/log.h"

#define DRAIN_MAX (256u * 1024) /* bytes that a refused client may have sent in vain */
#define SMALL_ANSWER 4096u      /* bytes; always sent */

usec_t http_now(const struct http *http) {
        uint64_t now;

        return sd_event_now(http->event, CLOCK_MONOTONIC, &now) >= 0 ? now : now_usec(CLOCK_MONOTONIC);
}

void request_reset(struct http *http, struct request *request) {
        struct client *client = request_client(request);

        if (client->begun) {
                http->handlers.gone(http->handlers.userdata, request);
                client->begun = false;
                http->n_pending--;
        }
        client->watch = sd_event_source_disable_unref(client->watch);
        client->suspended = client->was_suspended = false;
        free(request->target);
        http->answers_memory -= request->answer_memory;
        answer_done(&request->answer);
        buffer_done(&request->stream.data);
        *request = (struct request){};
        client->phase = CLIENT_IDLE;
}

struct client *client_free(struct client *client) {
        if (!client)
                return NULL;
        assert(!client->begun);
        list_remove(&client->link);
        deadline_stop(&client->deadline);
        sd_event_source_disable_unref(client->watch);
        close_fd(client->fd);
        if (client->n_clients)
                (*client->n_clients)--;
        free(client->request.target);
        free(client->groups);
        free(client);
        return NULL;
}

/* What the client has sent in vain is read first: closing over it would reset the connection, and the answer
 * could be lost. The library notices the shutdown, and tells the end of the connection. */
void client_answer_and_close(struct client *client, const struct answer *answer) {
        _cleanup_buffer_ struct buffer text = {};
        char scratch[4096];

        if (answer_format(answer, client->http->node_id, &text) >= 0)
                (void) send(client->fd, text.data, text.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        for (size_t drained = 0; drained < DRAIN_MAX; drained += sizeof(scratch))
                if (recv(client->fd, scratch, sizeof(scratch), MSG_DONTWAIT) <= 0)
                        break;
        (void) shutdown(client->fd, SHUT_RDWR);
        deadline_stop(&client->deadline);
        client->phase = CLIENT_ANSWERING;
}

void client_expired(struct client *client) {
        _cleanup_answer_ struct answer answer = {};
        struct fault fault;
        char span[SPAN_TEXT_MAX];

        if (client->phase != CLIENT_HEAD && client->phase != CLIENT_BODY) {
                (void) shutdown(client->fd, SHUT_RDWR);
                return;
        }
        fault_set(
                &fault, FAULT_REQUEST_TIMEOUT, "the %s did not arrive within %s",
                client->phase == CLIENT_HEAD ? "header" : "body",
                format_span(span, sizeof(span), client->http->reading.span_usec));
        if (answer_from_fault(&answer, &fault) >= 0)
                client_answer_and_close(client, &answer);
        else
                (void) shutdown(client->fd, SHUT_RDWR);
}

static int on_client_left(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct client *client = userdata;

        client->request.left = true;
        client_resume(client);
        return 0;
}

void http_watch(struct request *request) {
        struct client *client = request_client(request);

        if (client->watch)
                return;
        int r = sd_event_add_io(
                client->http->event, &client->watch, client->fd, EPOLLRDHUP, on_client_left, client);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->watch, SD_EVENT_ONESHOT);
        if (r < 0)
                log_debug_errno(r, "Cannot watch for a client that leaves, ignoring: %m");
}

void http_abort(struct request *request) {
        request->left = true;
        client_resume(request_client(request));
}

/* All answers together are bounded; one more that is large is told to come back. */
static bool answer_fits(struct http *http, const struct answer *answer) {
        return answer->body.size <= SMALL_ANSWER ||
               http->answers_memory + answer->body.size <= ANSWERS_MEMORY_MAX;
}

void http_answer(struct request *request, struct answer *answer) {
        struct client *client = request_client(request);
        struct http *http = client->http;
        struct fault fault;

        assert(!request->answered);
        if (!answer_fits(http, answer)) {
                answer_done(answer);
                fault_set(
                        &fault, FAULT_BUSY, "too many large answers are being sent; try again in a moment");
                if (answer_from_fault(answer, &fault) < 0) {
                        http_abort(request);
                        return;
                }
        }

        request->answer_memory = answer->body.allocated;
        http->answers_memory += request->answer_memory;
        request->answer = *answer;
        *answer = (struct answer){};
        request->answered = true;
        client_resume(client);
}

void http_stream_start(struct request *request, struct answer *answer) {
        request->stream.used = true;
        http_answer(request, answer);
}

int http_stream_append(struct request *request, const char *data, size_t size, bool ended) {
        struct stream *stream = &request->stream;

        if (stream->sent > 0) {
                buffer_consume(&stream->data, stream->sent);
                stream->sent = 0;
        }
        int r = buffer_append(&stream->data, data, size);
        if (r < 0)
                return r;
        stream->asked = false;
        stream->ended = ended;
        client_resume(request_client(request));
        return 0;
}

void http_stream_fail(struct request *request) {
        http_abort(request);
}
