/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libmicrohttpd without threads and without a listening socket of its own: the daemon accepts, and hands
 * sockets over. Its epoll descriptor is one source of the loop. This is easily got wrong with 0.9.75:
 *
 * It holds edge-triggered events inside, so that its descriptor may be quiet while there is work. After each
 * run MHD_get_timeout() is asked, and 0 means another run at once.
 *
 * An answer queued while the header is looked at closes the connection, even when there is no body. So
 * answers wait for the end of the request, except where closing is meant.
 *
 * A suspended connection is not in its epoll set. Nothing tells that the client left (see http_watch()), and
 * nothing wakes the library when the connection is resumed.
 *
 * It never closes a connection because a header or body comes in byte by byte: hence the deadlines.
 *
 * What it cannot parse, or has no room for, it answers with a page of its own that cannot be replaced. So
 * its room is twice what we allow, and a header that is somewhat too large gets the kind of answer that all
 * else gets. */

#include "api/rest/http.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/rest/http-internal.h"
#include "api/rest/target.h"
#include "util/log.h"
#include "util/parse.h"

/* Half of it is for reading; what is left behind the header takes the body in pieces, and the header of the
 * answer. */
#define CONNECTION_MEMORY (16u * 1024)
#define STREAM_BLOCK_SIZE (32u * 1024) /* at most, between two calls for more */

/* Arms the one timer for whatever is due first. It is never moved to a later time: firing early costs one
 * look, moving it with every request would cost a system call. */
static void schedule(struct http *http) {
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        usec_t at = MIN(deadlines_next(&http->reading), deadlines_next(&http->answering));

        if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES) {
                if (timeout_ms == 0)
                        (void) sd_event_source_set_enabled(http->again_source, SD_EVENT_ONESHOT);
                else
                        at = MIN(at, http_now(http) + timeout_ms * USEC_PER_MSEC);
        }
        if (at >= http->timer_usec)
                return;
        http->timer_usec = at;
        (void) sd_event_source_set_time(http->timer_source, at);
        (void) sd_event_source_set_enabled(http->timer_source, SD_EVENT_ONESHOT);
}

static void run(struct http *http) {
        if (MHD_run(http->daemon) != MHD_YES)
                log_warning("The HTTP library could not look after its connections, ignoring.");
        schedule(http);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        run(userdata);
        return 0;
}

static int on_again(sd_event_source *source, void *userdata) {
        run(userdata);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct http *http = userdata;
        struct deadlines *all[] = { &http->reading, &http->answering };
        struct deadline *deadline;
        usec_t now = http_now(http);

        http->timer_usec = USEC_INFINITY;
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                while ((deadline = deadlines_pop(all[i], now)))
                        client_expired(CONTAINER_OF(deadline, struct client, deadline));
        run(http);
        return 0;
}

void client_resume(struct client *client) {
        if (!client->suspended)
                return;
        client->suspended = false;
        MHD_resume_connection(client->connection);
        (void) sd_event_source_set_enabled(client->http->again_source, SD_EVENT_ONESHOT);
}

static void suspend(struct client *client) {
        client->suspended = client->was_suspended = true;
        deadline_stop(&client->deadline);
        MHD_suspend_connection(client->connection);
}

static void ask_for_more(struct client *client) {
        if (client->request.stream.asked)
                return;
        client->request.stream.asked = true;
        client->http->handlers.stream_more(client->http->handlers.userdata, &client->request);
}

/* The library wants the next bytes of a stream. */
static ssize_t on_stream_read(void *userdata, uint64_t position, char *buffer, size_t size) {
        struct client *client = userdata;
        struct stream *stream = &client->request.stream;

        if (client->request.left)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (stream->sent == stream->data.size) {
                if (stream->ended)
                        return MHD_CONTENT_READER_END_OF_STREAM;
                ask_for_more(client);
                suspend(client);
                return 0;
        }

        size_t n = MIN(size, stream->data.size - stream->sent);
        memcpy(buffer, stream->data.data + stream->sent, n);
        stream->sent += n;
        deadline_start(&client->http->answering, &client->deadline, http_now(client->http));
        if (stream->sent == stream->data.size && !stream->ended)
                ask_for_more(client);
        return (ssize_t) n;
}

static int add_response_header(void *userdata, const char *name, const char *value) {
        return MHD_add_response_header(userdata, name, value) == MHD_YES ? 0 : -ENOMEM;
}

static struct MHD_Response *response_new(struct client *client) {
        struct request *request = &client->request;
        struct answer *answer = &request->answer;
        struct MHD_Response *response;

        if (request->stream.used)
                response = MHD_create_response_from_callback(
                        MHD_SIZE_UNKNOWN, STREAM_BLOCK_SIZE, on_stream_read, client, NULL);
        else {
                response = MHD_create_response_from_buffer(
                        answer->body.size, answer->body.data, MHD_RESPMEM_MUST_FREE);
                if (response)
                        answer->body = (struct buffer){};
        }
        if (!response)
                return NULL;

        int r = answer_foreach_header(answer, client->http->node_id, add_response_header, response);
        if (r >= 0 && (request->close || client->http->closing))
                r = add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
        if (r < 0) {
                MHD_destroy_response(response);
                return NULL;
        }
        return response;
}

static enum MHD_Result send_answer(struct client *client) {
        struct MHD_Response *response = response_new(client);
        if (!response)
                return MHD_NO;

        client->phase = CLIENT_ANSWERING;
        deadline_start(&client->http->answering, &client->deadline, http_now(client->http));
        enum MHD_Result result =
                MHD_queue_response(client->connection, client->request.answer.status, response);
        MHD_destroy_response(response);
        return result;
}

/* Sends the answer, or sets the connection aside until there is one. */
static enum MHD_Result answer_or_wait(struct client *client) {
        if (client->request.left)
                return MHD_NO;
        if (client->request.answered)
                return send_answer(client);
        suspend(client);
        return MHD_YES;
}

static enum MHD_Result on_header_value(
        void *userdata, enum MHD_ValueKind kind, const char *name, size_t name_size, const char *value,
        size_t value_size) {
        struct gate_headers *headers = userdata;
        const char *known;

        const char **field = gate_header(headers, name, name_size, &known);
        if (field && *field)
                headers->repeated = known;
        else if (field)
                *field = value ? value : "";
        return MHD_YES;
}

static enum http_method method_from_text(const char *text) {
        return streq(text, "POST")   ? HTTP_POST
               : streq(text, "GET")  ? HTTP_GET
               : streq(text, "HEAD") ? HTTP_HEAD
                                     : HTTP_OTHER;
}

/* The header is there. The body has its own deadline. */
static enum MHD_Result on_header(struct client *client, const char *method, const char *version) {
        struct http *http = client->http;
        struct request *request = &client->request;

        request->method = method_from_text(method);
        request->http_1_0 = streq(version, "HTTP/1.0");
        (void) MHD_get_connection_values_n(
                client->connection, MHD_HEADER_KIND, on_header_value, &request->headers);
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(client->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        request->header_too_large = !info || info->header_size > REQUEST_HEADER_MAX;
        if (request->headers.content_length)
                (void) parse_u64(request->headers.content_length, &request->content_length);

        client->phase = CLIENT_BODY;
        client->begun = true;
        http->n_pending++;
        deadline_start(&http->reading, &client->deadline, http_now(http));
        http->handlers.begin(http->handlers.userdata, request);
        if (request->left)
                return MHD_NO;

        /* A client that asks first is told now, and one whose body is too much to be read in vain. */
        if (request->answered && (request->headers.expect || request->content_length > REQUEST_DISCARD_MAX))
                request->close = true;
        return request->answered && request->close ? send_answer(client) : MHD_YES;
}

/* The library takes no answer in the middle of a body. */
static enum MHD_Result on_body(struct client *client, const char *data, size_t size) {
        struct request *request = &client->request;

        request->body_size += size;
        if (!request->answered)
                client->http->handlers.body(client->http->handlers.userdata, request, data, size);
        else {
                request->discarded += size;
                if (request->discarded > REQUEST_DISCARD_MAX) {
                        client_answer_and_close(client, &request->answer);
                        return MHD_NO;
                }
        }
        return request->left ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_end(struct client *client) {
        client->phase = CLIENT_HANDLED;
        deadline_stop(&client->deadline);
        if (!client->request.answered)
                client->http->handlers.end(client->http->handlers.userdata, &client->request);
        return answer_or_wait(client);
}

static enum MHD_Result on_request(
        void *userdata, struct MHD_Connection *connection, const char *url, const char *method,
        const char *version, const char *data, size_t *size, void **context) {
        struct client *client = *context;
        enum MHD_Result result;

        switch (client->phase) {
        case CLIENT_HEAD:
                return on_header(client, method, version);
        case CLIENT_BODY:
                if (*size == 0)
                        return on_end(client);
                result = on_body(client, data, *size);
                *size = 0;
                return result;
        case CLIENT_HANDLED:
                return answer_or_wait(client);
        case CLIENT_IDLE:
        case CLIENT_ANSWERING:
                break;
        }
        return MHD_NO;
}

static struct client *client_of(struct MHD_Connection *connection) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

/* The request line is there, untouched; what is returned becomes the context of the request. */
static void *on_target(void *userdata, const char *target, struct MHD_Connection *connection) {
        struct client *client = client_of(connection);

        client->phase = CLIENT_HEAD;
        client->request.target_too_long = strnlen(target, TARGET_MAX + 1) > TARGET_MAX;
        client->request.target = client->request.target_too_long ? NULL : strdup(target);
        return client;
}

/* The library would decode the path and the parameters; target.c does it by stricter rules. */
static size_t leave_escapes(void *userdata, struct MHD_Connection *connection, char *text) {
        return strlen(text);
}

/* The library takes a short read for all there is, and misses an end that came along with the data. It looks
 * again at a connection that was suspended; at others it is done here. */
static bool client_has_ended(struct client *client) {
        char byte;

        return !client->was_suspended && recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void on_completed(
        void *userdata, struct MHD_Connection *connection, void **context,
        enum MHD_RequestTerminationCode code) {
        struct http *http = userdata;
        struct client *client = *context;

        if (!client)
                return;
        /* This makes it look; requests that it has read already are still answered. */
        if (http->closing || client_has_ended(client))
                (void) shutdown(client->fd, SHUT_RD);
        request_reset(http, &client->request);
        deadline_start(&http->reading, &client->deadline, http_now(http));
}

static void on_connection(
        void *userdata, struct MHD_Connection *connection, void **context,
        enum MHD_ConnectionNotificationCode code) {
        struct http *http = userdata;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                struct client *client = TAKE_PTR(http->adding);

                client->connection = connection;
                *context = client;
                return;
        }

        struct client *client = *context;
        *context = NULL;
        if (!client)
                return;
        request_reset(http, &client->request);
        client->fd = -EBADF; /* the library closes it */
        client_free(client);
}

int http_add_client(struct http *http, struct client *client) {
        struct sockaddr address = { .sa_family = AF_UNSPEC };
        int fd = client->fd;

        client->http = http;
        list_append(&http->clients, &client->link);
        deadline_start(&http->reading, &client->deadline, http_now(http));

        /* It wants an address, and does nothing with it but to store it. */
        http->adding = client;
        enum MHD_Result result = MHD_add_connection(http->daemon, fd, &address, sizeof(address));
        if (result != MHD_YES && http->adding) {
                http->adding = NULL;
                client->fd = -EBADF; /* closed already */
                client_free(client);
        }
        schedule(http);
        return result == MHD_YES ? 0 : -ENOMEM;
}

static void on_log(void *userdata, const char *format, va_list arguments) _printf_(2, 0);

static void on_log(void *userdata, const char *format, va_list arguments) {
        char text[256];

        if (log_max_level() < LOG_DEBUG)
                return;
        (void) vsnprintf(text, sizeof(text), format, arguments);
        text[strcspn(text, "\n")] = '\0';
        log_debug("HTTP: %s", text);
}

static int start_library(struct http *http, unsigned connections_max) {
        const unsigned flags =
                MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

        http->daemon = MHD_start_daemon(
                flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, http,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
                connections_max, MHD_OPTION_URI_LOG_CALLBACK, on_target, http, MHD_OPTION_UNESCAPE_CALLBACK,
                leave_escapes, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
                MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
        return http->daemon ? 0 : -ENOMEM;
}

static int add_sources(struct http *http) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info || info->epoll_fd < 0)
                return -EIO;

        int r = sd_event_add_io(http->event, &http->io_source, info->epoll_fd, EPOLLIN, on_io, http);
        if (r < 0)
                return r;
        r = sd_event_add_defer(http->event, &http->again_source, on_again, http);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(http->again_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_event_add_time(
                http->event, &http->timer_source, CLOCK_MONOTONIC, USEC_INFINITY, USEC_PER_MSEC, on_timer,
                http);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(http->timer_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        (void) sd_event_source_set_description(http->io_source, "http-io");
        (void) sd_event_source_set_description(http->again_source, "http-again");
        (void) sd_event_source_set_description(http->timer_source, "http-timer");
        return 0;
}

int http_new(
        const struct http_config *config, sd_event *event, const struct http_handlers *handlers,
        struct http **ret) {
        _cleanup_(http_free_p) struct http *http = malloc(sizeof(*http));
        if (!http)
                return -ENOMEM;

        *http = (struct http){
                .node_id = config->node_id,
                .event = sd_event_ref(event),
                .handlers = *handlers,
                .timer_usec = USEC_INFINITY,
        };
        list_init(&http->clients);
        deadlines_init(&http->reading, config->read_max_usec);
        deadlines_init(&http->answering, config->send_max_usec);

        int r = start_library(http, config->connections_max);
        if (r < 0)
                return r;
        r = add_sources(http);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(http);
        return 0;
}

struct http *http_free(struct http *http) {
        struct client *client;

        if (!http)
                return NULL;

        /* The library gives up on a connection that is suspended when it ends. */
        LIST_FOREACH(&http->clients, client, struct client, link)
                client_resume(client);
        if (http->daemon)
                MHD_stop_daemon(http->daemon);
        sd_event_source_disable_unref(http->io_source);
        sd_event_source_disable_unref(http->again_source);
        sd_event_source_disable_unref(http->timer_source);
        sd_event_unref(http->event);
        free(http);
        return NULL;
}

void http_close_idle(struct http *http) {
        struct client *client;

        http->closing = true;
        LIST_FOREACH(&http->clients, client, struct client, link)
                if (client->phase == CLIENT_IDLE)
                        (void) shutdown(client->fd, SHUT_RDWR);
}

unsigned http_pending(const struct http *http) {
        return http->n_pending;
}
