/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everybody who connects has to be root, our own user or the daemon's, and says hello first; then he is the
 * daemon, and the one before is dropped. What cannot be understood ends the connection with a line in the
 * log, nothing else.
 *
 * Nothing is queued to be sent but one message: what there is to say follows from the lists of the executor,
 * and while the socket is full it waits there. A start that could not be told does not begin, so a daemon
 * that does not read gets no further jobs started. */

#include "executor/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "executor/channel.h"
#include "executor/client.h"
#include "util/log.h"
#include "wire/executor-codec.h"

#define STRANGERS_MAX 8u /* connections that have not said hello; the oldest goes */
#define ACCEPT_INTERVAL_USEC (1 * USEC_PER_SEC)
#define ACCEPT_BURST 100u
#define MESSAGES_PER_TURN 16u
#define STARTS_PER_TURN 4u /* each takes about a hundred microseconds, in which nobody else is served */

struct connection {
        struct executor *executor;
        struct list_link link; /* while it has not said hello */
        int fd;
        sd_event_source *source;
        struct outbox outbox;
        bool synchronised; /* all that was known at the beginning has been told */
        bool told_to_stop; /* it has been told that we are being stopped */
};

static struct connection *connection_free(struct connection *connection) {
        struct executor *executor;

        if (!connection)
                return NULL;
        executor = connection->executor;
        if (list_is_linked(&connection->link)) {
                list_remove(&connection->link);
                executor->n_strangers--;
        }
        (void) sd_event_source_disable_unref(connection->source);
        (void) close_fd(connection->fd);
        outbox_done(&connection->outbox);
        free(connection);
        if (executor->daemon == connection) {
                executor->daemon = NULL;
                executor_disconnected(executor);
        }
        return NULL;
}

static void connection_greet(struct connection *connection, const struct executor_hello *hello) {
        struct executor *executor = connection->executor;
        const struct executor_welcome welcome = {
                .protocol = EXECUTOR_PROTOCOL,
                .instance = executor->instance,
                .enforceable = limit_support_kinds(&executor->support),
                .support = executor->support,
        };

        if (executor->daemon) {
                log_info("Another daemon takes over.");
                (void) connection_free(executor->daemon);
        }
        list_remove(&connection->link);
        executor->n_strangers--;
        executor->daemon = connection;
        log_debug("Connected to %s, version %s.", hello->node_id, hello->version);
        executor_set_up(executor, hello);
        /* Into an empty message it fits. */
        (void) executor_message_add_welcome(&connection->outbox.message, &welcome);
        executor_connected(executor);
}

/* The body from its memory file. */
static int
start_from_file(struct executor *executor, const struct executor_start *start, int body_fd, int stdin_fd) {
        _cleanup_close_ int input = stdin_fd;
        _cleanup_free_ void *data = NULL;
        struct executor_body body;
        void *storage;
        size_t size;
        int r;

        r = memory_file_size(body_fd, EXECUTOR_BODY_MAX, &size);
        if (r < 0)
                return r;
        data = malloc(MAX(size, (size_t) 1));
        if (!data)
                return -ENOMEM;
        r = memory_file_read(body_fd, 0, data, size);
        if (r < 0)
                return r;
        r = executor_body_decode(data, size, &body, &storage);
        if (r < 0)
                return r;
        r = executor_start(executor, start, &body, TAKE_FD(input));
        executor_body_release(storage);
        return r;
}

static int apply_start(
        struct executor *executor, const struct executor_start *start, struct channel_received *received) {

        _cleanup_close_ int input = -EBADF;
        size_t size;
        int r;

        if (start->stdin_descriptor != EXECUTOR_NO_DESCRIPTOR) {
                /* Each descriptor is one start's; taken twice it is gone. */
                input = TAKE_FD(received->descriptors[start->stdin_descriptor]);
                if (input < 0)
                        return -EBADMSG;
                r = memory_file_size(input, EXECUTOR_STDIN_MAX, &size);
                if (r < 0)
                        return r;
        }
        if (start->body_descriptor == EXECUTOR_NO_DESCRIPTOR)
                return executor_start(executor, start, &start->body, TAKE_FD(input));
        if (received->descriptors[start->body_descriptor] < 0)
                return -EBADMSG;
        return start_from_file(
                executor, start, received->descriptors[start->body_descriptor], TAKE_FD(input));
}

static int apply_commands(
        struct executor *executor, const struct executor_commands *commands,
        struct channel_received *received) {

        int r;

        if (commands->awake_usec > 0)
                executor_daemon_is_awake(executor, commands->awake_usec);
        if (commands->has_slots)
                executor_set_slots(executor, commands->slots);
        for (size_t i = 0; i < commands->n_starts; i++) {
                r = apply_start(executor, &commands->starts[i], received);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < commands->n_kills; i++) {
                r = executor_kill(executor, &commands->kills[i]);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < commands->n_withdrawn; i++)
                executor_take_back(executor, &commands->withdrawn[i]);
        for (size_t i = 0; i < commands->n_journalled; i++)
                executor_note_journalled(executor, &commands->journalled[i]);
        for (size_t i = 0; i < commands->n_acknowledged; i++)
                executor_acknowledge(executor, &commands->acknowledged[i]);
        for (size_t i = 0; i < commands->n_reads; i++) {
                r = executor_request_output(executor, &commands->reads[i]);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < commands->n_cancelled_reads; i++)
                executor_cancel_request(executor, commands->cancelled_reads[i]);
        executor_stop(executor, commands->stop);
        return 0;
}

static int connection_receive(struct connection *connection) {
        _cleanup_channel_received_ struct channel_received received;
        _cleanup_executor_commands_ struct executor_commands commands = {};
        uint8_t buffer[EXECUTOR_MESSAGE_MAX];
        int r;

        r = channel_receive(connection->fd, buffer, sizeof(buffer), &received);
        if (r < 0)
                return r;
        r = executor_commands_decode(buffer, received.size, received.n_descriptors, &commands);
        if (r < 0)
                return r;
        /* Hello comes first, and once. */
        if (commands.has_hello != list_is_linked(&connection->link))
                return -EBADMSG;
        if (commands.has_hello)
                connection_greet(connection, &commands.hello);
        return apply_commands(connection->executor, &commands, &received);
}

/* Everybody may connect, and nobody shall fill the log that way. */
static bool may_complain(struct executor *executor) {
        unsigned suppressed;

        if (!ratelimit_below(&executor->complaints, now_usec(CLOCK_MONOTONIC)))
                return false;
        suppressed = executor->complaints.suppressed;
        executor->complaints.suppressed = 0;
        if (suppressed > 0)
                log_warning("Left out %u lines about connections.", suppressed);
        return true;
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct connection *connection = userdata;
        int r = 0;

        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
                r = connection_receive(connection);
        if (r < 0 && r != -EAGAIN) {
                if (r == -ECONNRESET)
                        log_debug("The daemon has gone.");
                else if (may_complain(connection->executor))
                        log_warning_errno(r, "Dropping a connection that cannot be understood: %m");
                (void) connection_free(connection);
                return 0;
        }
        if ((revents & EPOLLOUT) && connection->executor->daemon == connection)
                connection_flush(connection);
        return 0;
}

/* The parts of a message. Each returns -ENOSPC where the message is full. */

static int fill_known(struct connection *connection) {
        struct executor *executor = connection->executor;
        struct run *run;
        int r;

        while ((run = LIST_FIRST(&executor->known, struct run, to_tell))) {
                const struct executor_known known = {
                        .run = run->id,
                        .started_at = run->started_at,
                        .ended = run->state == RUN_ENDED,
                        .journalled = { run->journalled[0], run->journalled[1] },
                };

                r = executor_message_add_known(&connection->outbox.message, &known);
                if (r < 0)
                        return r;
                list_remove(&run->to_tell);
                if (known.ended)
                        list_append(&executor->ends, &run->to_tell);
        }
        r = executor_message_add_synchronised(&connection->outbox.message);
        if (r >= 0)
                connection->synchronised = true;
        return r;
}

static int fill_starts(struct connection *connection, unsigned *ret_n_starts) {
        struct executor *executor = connection->executor;
        struct run *run;
        int r;

        *ret_n_starts = 0;
        while (*ret_n_starts < STARTS_PER_TURN && (run = executor_next_start(executor))) {
                executor_announce(executor, run);
                r = executor_message_add_started(
                        &connection->outbox.message,
                        &(const struct executor_started){ .run = run->id, .started_at = run->started_at });
                if (r < 0) {
                        executor_withdraw(executor, run);
                        return r;
                }
                ++*ret_n_starts;
        }
        return 0;
}

static struct executor_stream stream_of(const struct kept_stream *kept) {
        return (struct executor_stream){
                .data = kept->data, .size = kept->size, .total = kept->total, .truncated = kept->truncated
        };
}

static int fill_end(struct connection *connection, const struct run *run) {
        struct outbox *outbox = &connection->outbox;
        const struct run_end *end = &run->end;
        size_t n_descriptors = outbox->n_descriptors;
        struct executor_ended ended = {
                .run = run->id,
                .outcome = (enum executor_outcome) end->outcome,
                .exit_code = end->exit_code,
                .signal = end->signal,
                .started_at = run->started_at,
                .finished_at = end->finished_at,
                .duration_usec = end->duration_usec,
                .stdout_stream = stream_of(&end->outputs.streams[0]),
                .stderr_stream = stream_of(&end->outputs.streams[1]),
                .output_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .error_message = end->error_message,
                .oom_killed = end->oom_killed,
        };
        int r;

        if (end->outputs.file >= 0) {
                int copy;

                if (!outbox_has_room_for(outbox, 1))
                        return -ENOSPC;
                /* The end may be acknowledged, and forgotten, while the message waits. */
                copy = fcntl(end->outputs.file, F_DUPFD_CLOEXEC, 3);
                if (copy < 0)
                        return -errno;
                ended.output_descriptor = outbox_add_descriptor(outbox, copy);
        }
        r = executor_message_add_ended(&outbox->message, &ended);
        if (r < 0)
                outbox_forget_descriptors(outbox, n_descriptors);
        return r;
}

static int fill_ends(struct connection *connection) {
        struct run *run;
        int r;

        while ((run = LIST_FIRST(&connection->executor->ends, struct run, to_tell))) {
                r = fill_end(connection, run);
                if (r < 0)
                        return r;
                list_remove(&run->to_tell);
        }
        return 0;
}

static int fill_answers(struct connection *connection) {
        struct executor *executor = connection->executor;
        struct output_request *request;
        char buffer[EXECUTOR_DATA_MAX];
        struct executor_data data;
        int r;

        while ((request = LIST_FIRST(&executor->answers, struct output_request, link))) {
                if (!output_request_answer(request, buffer, &data)) {
                        list_remove(&request->link);
                        list_append(&request->run->reads, &request->link);
                        continue;
                }
                r = executor_message_add_data(&connection->outbox.message, &data);
                if (r < 0)
                        return r;
                output_request_free(executor, request);
        }
        return 0;
}

/* Or the daemon, which has nothing to say, would never know. */
static int fill_held(struct connection *connection) {
        struct executor *executor = connection->executor;
        int r;

        if (!executor->held || executor->held_told)
                return 0;
        r = executor_message_add_held(&connection->outbox.message);
        if (r >= 0)
                executor->held_told = true;
        return r;
}

static int fill_stopping(struct connection *connection) {
        int r;

        if (!connection->executor->stopping || connection->told_to_stop)
                return 0;
        r = executor_message_add_stopping(&connection->outbox.message);
        if (r >= 0)
                connection->told_to_stop = true;
        return r;
}

/* A start that is told with the ends of others travels first, as the client reads them in that order anyway.
 */
static int connection_fill(struct connection *connection, unsigned *ret_n_starts) {
        int r = 0;

        *ret_n_starts = 0;
        if (!connection->synchronised)
                r = fill_known(connection);
        if (r >= 0)
                r = fill_stopping(connection);
        if (r >= 0)
                r = fill_starts(connection, ret_n_starts);
        if (r >= 0)
                r = fill_held(connection);
        if (r >= 0)
                r = fill_ends(connection);
        if (r >= 0)
                r = fill_answers(connection);
        return r == -ENOSPC ? 0 : r;
}

static void connection_watch(struct connection *connection, bool writable) {
        int r = sd_event_source_set_io_events(connection->source, EPOLLIN | (writable ? EPOLLOUT : 0));

        if (r < 0)
                log_warning_errno(r, "Cannot watch the daemon's socket: %m");
}

static bool has_more_to_say(struct executor *executor) {
        return executor_next_start(executor) || !list_is_empty(&executor->ends) ||
               !list_is_empty(&executor->answers);
}

static int connection_try_flush(struct connection *connection) {
        unsigned n_starts = 0;
        int r;

        for (unsigned i = 0; i < MESSAGES_PER_TURN && n_starts == 0; i++) {
                /* What could not be sent the last time has been built already; a welcome waits to be
                 * completed. */
                if (outbox_is_empty(&connection->outbox) || !connection->synchronised) {
                        r = connection_fill(connection, &n_starts);
                        if (r < 0)
                                return r;
                }
                if (outbox_is_empty(&connection->outbox))
                        return 0;
                r = outbox_send(&connection->outbox, connection->fd);
                if (r < 0)
                        return r;
                executor_start_announced(connection->executor);
        }
        /* The others have their turn first. */
        if (has_more_to_say(connection->executor))
                executor_wants_flush(connection->executor);
        return 0;
}

void connection_flush(struct connection *connection) {
        int r = connection_try_flush(connection);

        if (r == -EAGAIN) {
                connection_watch(connection, /* writable= */ true);
                return;
        }
        if (r < 0) {
                if (r != -EPIPE && r != -ECONNRESET)
                        log_warning_errno(r, "Cannot talk to the daemon, dropping the connection: %m");
                (void) connection_free(connection);
                return;
        }
        connection_watch(connection, /* writable= */ false);
}

static int connection_new(struct executor *executor, int connected_fd) {
        _cleanup_close_ int fd = connected_fd;
        struct connection *connection;
        int r;

        connection = malloc(sizeof(*connection));
        if (!connection)
                return -ENOMEM;
        *connection = (struct connection){ .executor = executor, .fd = TAKE_FD(fd) };
        r = outbox_init(&connection->outbox);
        if (r >= 0)
                r = sd_event_add_io(
                        executor->event, &connection->source, connection->fd, EPOLLIN, on_socket,
                        connection);
        if (r < 0) {
                (void) connection_free(connection);
                return r;
        }
        if (executor->n_strangers >= STRANGERS_MAX)
                (void) connection_free(LIST_FIRST(&executor->strangers, struct connection, link));
        list_append(&executor->strangers, &connection->link);
        executor->n_strangers++;
        return 0;
}

static int on_connect(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata) {
        struct executor *executor = userdata;
        _cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        uid_t uid = (uid_t) -1;
        int r;

        if (fd < 0) {
                log_debug_errno(-errno, "Cannot accept a connection, ignoring: %m");
                return 0;
        }
        r = channel_check_peer(fd, executor->daemon_uid, &uid);
        if (r < 0) {
                if (may_complain(executor))
                        log_warning_errno(r, "Refusing a connection by user %d: %m", (int) uid);
                return 0;
        }
        r = connection_new(executor, TAKE_FD(fd));
        if (r < 0 && may_complain(executor))
                log_warning_errno(r, "Cannot take a connection: %m");
        return 0;
}

int executor_listen(struct executor *executor, int listen_fd) {
        int r;

        executor->listen_fd = listen_fd;
        r = sd_event_add_io(
                executor->event, &executor->listen_source, listen_fd, EPOLLIN, on_connect, executor);
        if (r < 0)
                return r;
        /* Where no descriptor is left, trying again and again would take the processor. */
        r = sd_event_source_set_ratelimit(executor->listen_source, ACCEPT_INTERVAL_USEC, ACCEPT_BURST);
        if (r < 0)
                return r;
        executor_check_life(executor);
        return sd_event_source_set_description(executor->listen_source, "listen");
}

void executor_connections_close(struct executor *executor) {
        struct connection *connection;

        executor->listen_source = sd_event_source_disable_unref(executor->listen_source);
        executor->listen_fd = close_fd(executor->listen_fd);
        (void) connection_free(executor->daemon);
        while ((connection = LIST_FIRST(&executor->strangers, struct connection, link)))
                (void) connection_free(connection);
}
