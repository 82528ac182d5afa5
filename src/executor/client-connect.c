/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finding the executor, again and again, and understanding what it says. */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "executor/client-internal.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/time.h"
#include "wire/executor-codec.h"

#define RETRY_FIRST_USEC (10 * USEC_PER_MSEC)
#define RETRY_LAST_USEC (2 * USEC_PER_SEC)
#define GREETING_TIMEOUT_USEC (5 * USEC_PER_SEC) /* without a word */
#define ABSENCE_TOLD_USEC (5 * USEC_PER_SEC)
#define TIMER_ACCURACY_USEC (1 * USEC_PER_MSEC)
#define KNOWN_MAX (1024u * 1024)

/* The numbers travel as they are. */
_Static_assert((int) EXECUTOR_EXITED == (int) RUN_EXITED, "outcomes differ");
_Static_assert((int) EXECUTOR_SIGNALLED == (int) RUN_SIGNALLED, "outcomes differ");
_Static_assert((int) EXECUTOR_TIMED_OUT == (int) RUN_TIMED_OUT, "outcomes differ");
_Static_assert((int) EXECUTOR_KILLED == (int) RUN_KILLED, "outcomes differ");
_Static_assert((int) EXECUTOR_NOT_STARTED == (int) RUN_NOT_STARTED, "outcomes differ");
_Static_assert((int) EXECUTOR_LOST == (int) RUN_LOST, "outcomes differ");
_Static_assert((int) _EXECUTOR_OUTCOME_MAX == (int) _RUN_OUTCOME_MAX, "outcomes differ");

static int client_set_timer(struct executor_client *client, usec_t after_usec) {
        int r;

        r = sd_event_source_set_time_relative(client->retry_timer, after_usec);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(client->retry_timer, SD_EVENT_ONESHOT);
}

static void client_retry_later(struct executor_client *client) {
        int r = client_set_timer(client, client->retry_usec);

        if (r < 0)
                (void) log_error_errno(r, "Cannot wait for the executor: %m");
        client->retry_usec = MIN(client->retry_usec * 2, RETRY_LAST_USEC);
}

void client_disconnect(struct executor_client *client) {
        bool was_synchronised = client->state == CLIENT_SYNCHRONISED;

        client->socket_source = sd_event_source_disable_unref(client->socket_source);
        client->peer_source = sd_event_source_disable_unref(client->peer_source);
        client->fd = close_fd(client->fd);
        client->state = client->stopping ? CLIENT_STOPPED : CLIENT_AWAY;
        client->n_known = 0;
        client_gather_end(client);
        client_send_drop(client);
        client_reads_fail(client, -ENOTCONN);
        if (client->state == CLIENT_AWAY)
                client_retry_later(client);
        if (!was_synchronised)
                return;
        client->away_since_usec = now_usec(CLOCK_MONOTONIC);
        client->handlers.disconnected(client->handlers.userdata);
}

static int take_known(struct executor_client *client, const struct executor_events *events) {
        size_t wanted = client->n_known + events->n_known;

        if (wanted > KNOWN_MAX)
                return -E2BIG;
        if (wanted > client->n_known_allocated) {
                struct executor_known_run *longer = realloc(client->known, wanted * sizeof(*longer));

                if (!longer)
                        return -ENOMEM;
                client->known = longer;
                client->n_known_allocated = wanted;
        }
        for (size_t i = 0; i < events->n_known; i++)
                client->known[client->n_known++] = (struct executor_known_run){
                        .run = events->known[i].run,
                        .started = events->known[i].started_at > 0,
                        .started_at = events->known[i].started_at,
                        .ended = events->known[i].ended,
                        .journalled = { events->known[i].journalled[0], events->known[i].journalled[1] },
                };
        return 0;
}

static int synchronised(struct executor_client *client) {
        _cleanup_free_ struct executor_known_run *known = TAKE_PTR(client->known);
        size_t n = client->n_known;
        int r;

        client->n_known = client->n_known_allocated = 0;
        client->state = CLIENT_SYNCHRONISED;
        r = client->handlers.synchronised(client->handlers.userdata, &client->instance, known, n);
        if (r < 0) {
                client->state = CLIENT_GREETING;
                return r;
        }
        (void) sd_event_source_set_enabled(client->retry_timer, SD_EVENT_OFF);
        client->retry_usec = RETRY_FIRST_USEC;
        client->start_failed = client->silent = false;
        return 0;
}

static int
output_from_file(int fd, uint64_t offset, const struct executor_stream *stream, struct job_output *ret) {
        if (stream->size == 0)
                return 0;
        ret->data = malloc(stream->size);
        if (!ret->data)
                return -ENOMEM;
        ret->size = stream->size;
        return memory_file_read(fd, offset, ret->data, stream->size);
}

static int output_from_message(const struct executor_stream *stream, struct job_output *ret) {
        if (stream->size == 0)
                return 0;
        ret->data = malloc(stream->size);
        if (!ret->data)
                return -ENOMEM;
        ret->size = stream->size;
        memcpy(ret->data, stream->data, stream->size);
        return 0;
}

static int outputs_take(
        const struct executor_ended *ended, const struct channel_received *received,
        struct job_result *result) {

        const struct executor_stream *out = &ended->stdout_stream, *error = &ended->stderr_stream;
        int fd, r;

        result->stdout_output.total = out->total;
        result->stdout_output.truncated = out->truncated;
        result->stderr_output.total = error->total;
        result->stderr_output.truncated = error->truncated;
        if (ended->output_descriptor == EXECUTOR_NO_DESCRIPTOR) {
                r = output_from_message(out, &result->stdout_output);
                return r < 0 ? r : output_from_message(error, &result->stderr_output);
        }
        fd = received->descriptors[ended->output_descriptor];
        r = output_from_file(fd, 0, out, &result->stdout_output);
        return r < 0 ? r : output_from_file(fd, out->size, error, &result->stderr_output);
}

static int take_end(
        struct executor_client *client, const struct executor_ended *ended,
        const struct channel_received *received) {

        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        int r;

        r = job_result_new(&result);
        if (r < 0)
                return r;
        result->run = ended->run;
        result->outcome = (enum run_outcome) ended->outcome;
        result->exit_code = ended->exit_code;
        result->signal = ended->signal;
        result->started_at = ended->started_at;
        result->finished_at = ended->finished_at;
        result->duration_usec = ended->duration_usec;
        result->oom_killed = ended->oom_killed;
        if (ended->error_message) {
                result->error_message = strdup(ended->error_message);
                if (!result->error_message)
                        return -ENOMEM;
        }
        r = outputs_take(ended, received, result);
        if (r < 0)
                return r;
        client->handlers.exited(client->handlers.userdata, TAKE_PTR(result));
        return 0;
}

static int take_events(
        struct executor_client *client, const struct executor_events *events,
        const struct channel_received *received) {

        int r;

        if (events->has_welcome) {
                client->instance = events->welcome.instance;
                client->support = events->welcome.support;
                client->support_known = true;
        }
        r = take_known(client, events);
        if (r < 0)
                return r;
        if (events->synchronised && client->state == CLIENT_GREETING) {
                if (uuid_is_null(&client->instance))
                        return -EBADMSG;
                r = synchronised(client);
                if (r < 0)
                        return r;
        }
        if (events->held)
                client->awake_usec = 0; /* it is answered, whatever was said before */
        if (events->stopping && client->state == CLIENT_SYNCHRONISED)
                client->handlers.stopping(client->handlers.userdata);
        for (size_t i = 0; i < events->n_started; i++)
                client->handlers.started(
                        client->handlers.userdata, &events->started[i].run, events->started[i].started_at);
        for (size_t i = 0; i < events->n_ended; i++) {
                r = take_end(client, &events->ended[i], received);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < events->n_data; i++)
                client_reads_answer(client, &events->data[i]);
        return 0;
}

static int client_receive(struct executor_client *client) {
        _cleanup_channel_received_ struct channel_received received;
        _cleanup_executor_events_ struct executor_events events = {};
        uint8_t buffer[EXECUTOR_MESSAGE_MAX];
        int r;

        r = channel_receive(client->fd, buffer, sizeof(buffer), &received);
        if (r < 0)
                return r;
        r = executor_events_decode(buffer, received.size, received.n_descriptors, &events);
        if (r >= 0 && client->state == CLIENT_GREETING)
                r = client_set_timer(client, GREETING_TIMEOUT_USEC);
        if (r < 0)
                return r;
        return take_events(client, &events, &received);
}

void client_take(struct executor_client *client, unsigned n_messages) {
        unsigned n = 0;
        int r = 0;

        while (n < n_messages && (r = client_receive(client)) >= 0)
                n++;
        if (r < 0 && r != -EAGAIN) {
                if (r != -ECONNRESET)
                        log_warning_errno(r, "Cannot go on with the executor, connecting anew: %m");
                client_disconnect(client);
        } else if (n > 0) {
                client_answer(client);
                client_gather(client);
        }
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct executor_client *client = userdata;

        if (revents & EPOLLOUT)
                client_wants_flush(client);
        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
                client_take(client, 1);
        return 0;
}

static int on_peer_ended(sd_event_source *source, int pidfd, uint32_t revents, void *userdata) {
        struct executor_client *client = userdata;

        if (client->gathering)
                client_gather_end(client); /* the socket comes first, and then this again */
        else
                client_disconnect(client);
        return 0;
}

/* The connection lives as long as anybody holds the executor's end of it, and a job's process that has not
 * become its program yet (frozen, say) does. So its process is watched, too, where it is the one that
 * listens; where a service manager listens for it, that ends what an executor leaves behind. What it said
 * last is read first. Should the number be another process's by now, the worst is one connection too many.
 */
static void client_watch_peer(struct executor_client *client) {
        pid_t pid = channel_peer_pid(client->fd);
        _cleanup_close_ int pidfd = -EBADF;

        if (pid <= 1 || pid == getpid())
                return;
        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0 ||
            sd_event_add_io(client->event, &client->peer_source, pidfd, EPOLLIN, on_peer_ended, client) < 0)
                return;
        (void) sd_event_source_set_description(client->peer_source, "executor-process");
        (void) sd_event_source_set_priority(client->peer_source, SD_EVENT_PRIORITY_NORMAL + 1);
        if (sd_event_source_set_io_fd_own(client->peer_source, /* own= */ true) >= 0)
                (void) TAKE_FD(pidfd);
        else
                client->peer_source = sd_event_source_disable_unref(client->peer_source);
}

static int client_greet(struct executor_client *client) {
        uid_t uid = (uid_t) -1;
        int r;

        r = channel_check_peer(client->fd, /* allowed= */ (uid_t) -1, &uid);
        if (r < 0)
                return log_warning_errno(
                        r, "Not talking to user %d on %s: %m", (int) uid, client->socket_path);
        r = sd_event_add_io(client->event, &client->socket_source, client->fd, EPOLLIN, on_socket, client);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(client->socket_source, "executor");
        client_watch_peer(client);
        r = client_set_timer(client, GREETING_TIMEOUT_USEC);
        if (r < 0)
                return r;
        outbox_clear(&client->outbox);
        r = executor_message_add_hello(
                &client->outbox.message, &(const struct executor_hello){
                                                 .protocol = EXECUTOR_PROTOCOL,
                                                 .version = VERSION,
                                                 .node_id = client->node_id,
                                                 .slots = client->slots,
                                                 .output_max = client->output_max,
                                                 .kill_grace_usec = client->kill_grace_usec,
                                                 .silence_usec = EXECUTOR_SILENCE_USEC,
                                         });
        if (r < 0)
                return r;
        client->slots_changed = false;
        client->instance = UUID_NULL;
        client->state = CLIENT_GREETING;
        client_wants_flush(client);
        return 0;
}

static int on_child(sd_event_source *source, int pidfd, uint32_t revents, void *userdata) {
        struct executor_client *client = userdata;
        siginfo_t info = {};

        (void) waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED | WNOHANG);
        client->child_source = sd_event_source_disable_unref(client->child_source);
        return 0;
}

static int client_watch_child(struct executor_client *client, pid_t pid) {
        _cleanup_close_ int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        int r;

        if (pidfd < 0)
                return -errno;
        r = sd_event_add_io(client->event, &client->child_source, pidfd, EPOLLIN, on_child, client);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(client->child_source, /* own= */ true);
        if (r < 0)
                return r;
        (void) TAKE_FD(pidfd);
        return 0;
}

/* Nobody listens: an executor of our own is started again. */
static void client_start_program(struct executor_client *client) {
        pid_t pid;
        int r;

        if (!client->program || client->child_source)
                return;
        r = executor_spawn(client->program, client->socket_path, &pid);
        if (r >= 0)
                r = client_watch_child(client, pid);
        if (r < 0 && !client->start_failed) {
                log_event_errno(
                        LOG_ERR, r, MESSAGE_EXECUTOR_FAILED, "Cannot start %s, trying on: %m",
                        client->program);
                client->start_failed = true;
        }
}

/* A service manager that runs the executor may be slow, but not for ever. */
static void client_tell_absence(struct executor_client *client, int error) {
        usec_t away_usec = usec_sub(now_usec(CLOCK_MONOTONIC), client->away_since_usec);

        if (client->program || client->start_failed || away_usec < ABSENCE_TOLD_USEC)
                return;
        log_event_errno(
                LOG_WARNING, error, MESSAGE_EXECUTOR_FAILED,
                "Jobs wait: nobody runs the executor on %s, trying on: %m", client->socket_path);
        client->start_failed = true;
}

static void client_connect(struct executor_client *client) {
        int r;

        r = channel_connect(client->socket_path, &client->fd);
        if (r >= 0)
                r = client_greet(client);
        if (r >= 0)
                return;
        if (r == -ENOENT || r == -ECONNREFUSED)
                client_start_program(client);
        client_tell_absence(client, r);
        client->socket_source = sd_event_source_disable_unref(client->socket_source);
        client->peer_source = sd_event_source_disable_unref(client->peer_source);
        client->fd = close_fd(client->fd);
        client_retry_later(client);
}

static void client_give_up_greeting(struct executor_client *client) {
        if (!client->silent) {
                char span[SPAN_TEXT_MAX];

                log_event(
                        LOG_WARNING, MESSAGE_EXECUTOR_SILENT,
                        "The executor on %s takes connections and says nothing for %s (stopped?); trying "
                        "on.",
                        client->socket_path, format_span(span, sizeof(span), GREETING_TIMEOUT_USEC));
                client->silent = true;
        }
        client_disconnect(client);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        struct executor_client *client = userdata;

        if (client->state == CLIENT_GREETING)
                client_give_up_greeting(client);
        else if (client->state == CLIENT_AWAY)
                client_connect(client);
        return 0;
}

int client_connect_init(struct executor_client *client) {
        int r;

        client->retry_usec = RETRY_FIRST_USEC;
        client->away_since_usec = now_usec(CLOCK_MONOTONIC);
        r = sd_event_add_time(
                client->event, &client->retry_timer, CLOCK_MONOTONIC, USEC_INFINITY, TIMER_ACCURACY_USEC,
                on_retry, client);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(client->retry_timer, "executor-retry");
        client_connect(client);
        return 0;
}

void client_connect_done(struct executor_client *client) {
        client_reads_fail(client, -ENOTCONN);
        client->socket_source = sd_event_source_disable_unref(client->socket_source);
        client->peer_source = sd_event_source_disable_unref(client->peer_source);
        client->retry_timer = sd_event_source_disable_unref(client->retry_timer);
        client->child_source = sd_event_source_disable_unref(client->child_source);
}
