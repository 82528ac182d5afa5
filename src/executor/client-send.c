/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the daemon wants of the executor: gathered during a turn of the loop, and sent as few messages by a
 * source that becomes pending behind all that is pending already. */

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "executor/client-internal.h"
#include "util/array.h"
#include "util/log.h"
#include "util/strv.h"
#include "wire/executor-codec.h"

#define MESSAGES_PER_TURN 32u

struct pending_start {
        struct list_link link;
        struct run_id run;
        struct job_spec *spec;
};

static void pending_start_free(struct executor_client *client, struct pending_start *start) {
        list_remove(&start->link);
        client->n_starts--;
        job_spec_unref(start->spec);
        free(start);
}

static int run_queue_add(struct run_queue *queue, const struct run_id *run) {
        int r;

        if (queue->n - queue->first >= NOTES_MAX)
                return -ENOBUFS;
        r = ARRAY_RESERVE(queue->items, queue->n + 1, queue->allocated, 16);
        if (r >= 0)
                queue->items[queue->n++] = *run;
        return r;
}

static void run_queue_drop(struct run_queue *queue) {
        free(queue->items);
        *queue = (struct run_queue){};
}

/* Who gave a command for which there was no memory need not give it again: it follows from what both sides
 * have. */
static int client_forget(struct executor_client *client) {
        client->forgetful = true;
        client_wants_flush(client);
        return -ENOMEM;
}

int executor_client_start(
        struct executor_client *client, const struct run_id *run, const struct job_spec *spec) {
        struct pending_start *start;

        if (client->state != CLIENT_SYNCHRONISED)
                return -ENOTCONN;
        if (client->n_starts >= STARTS_MAX)
                return -ENOBUFS;
        start = malloc(sizeof(*start));
        if (!start)
                return client_forget(client);
        /* The count of references is no part of what is immutable. */
        *start = (struct pending_start){ .run = *run, .spec = job_spec_ref((struct job_spec *) spec) };
        list_append(&client->starts, &start->link);
        client->n_starts++;
        client_wants_flush(client);
        return 0;
}

static int client_note(struct executor_client *client, struct run_queue *queue, const struct run_id *run) {
        int r;

        if (client->state != CLIENT_SYNCHRONISED)
                return -ENOTCONN;
        r = run_queue_add(queue, run);
        if (r == -ENOMEM)
                return client_forget(client);
        client_wants_flush(client);
        return r;
}

int executor_client_kill(struct executor_client *client, const struct run_id *run) {
        executor_client_hurry(client);
        return client_note(client, &client->kills, run);
}

int executor_client_withdraw(struct executor_client *client, const struct run_id *run) {
        executor_client_hurry(client);
        return client_note(client, &client->withdrawals, run);
}

int executor_client_release(struct executor_client *client, const struct run_id *run) {
        return client_note(client, &client->releases, run);
}

int executor_client_journalled(
        struct executor_client *client, const struct run_id *run, const uint64_t offsets[static 2]) {
        size_t i = 0;

        if (client->state != CLIENT_SYNCHRONISED)
                return -ENOTCONN;
        while (i < client->n_journalled && !run_id_equal(&client->journalled[i].run, run))
                i++;
        if (i >= JOURNALLED_MAX)
                return -ENOBUFS;
        client->n_journalled = MAX(client->n_journalled, i + 1);
        client->journalled[i] =
                (struct executor_journalled){ .run = *run, .offsets = { offsets[0], offsets[1] } };
        client_wants_flush(client);
        return 0;
}

int executor_client_set_slots(struct executor_client *client, unsigned slots) {
        if (slots > EXECUTOR_SLOTS_MAX)
                return -EINVAL;
        /* While there is no connection: hello says it. */
        client->slots = slots;
        client->slots_changed = true;
        client_wants_flush(client);
        return 0;
}

int executor_client_stop(struct executor_client *client, bool kill_jobs) {
        client->stopping = true;
        if (client->state != CLIENT_SYNCHRONISED)
                return -ENOTCONN;
        client->stop = kill_jobs ? EXECUTOR_STOP_WITH_JOBS : EXECUTOR_STOP_WHEN_EMPTY;
        client_wants_flush(client);
        return 0;
}

int executor_client_let_go(struct executor_client *client) {
        if (client->state != CLIENT_SYNCHRONISED)
                return -ENOTCONN;
        client->stop = EXECUTOR_STOP_WITH_JOBS;
        client_wants_flush(client);
        return 0;
}

/* A default is no reason to refuse a job that did not ask for it. */
static struct job_limits limits_of(const struct executor_client *client, const struct job_spec *spec) {
        struct job_limits limits = spec->limits,
                          defaults = job_limits_reduced(
                                  &client->default_limits, limit_support_kinds(&client->support));

        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                if (job_limits_get(&limits, field) == 0)
                        job_limits_set(&limits, field, job_limits_get(&defaults, field));
        return limits;
}

/* The parts of a message. Each returns -ENOSPC where the message is full. */

static int add_start(struct executor_client *client, const struct pending_start *pending) {
        struct outbox *outbox = &client->outbox;
        const struct job_spec *spec = pending->spec;
        size_t n_descriptors = outbox->n_descriptors;
        struct executor_start start = {
                .run = pending->run,
                .timeout_usec = spec->timeout_usec,
                .body = {
                        .command = spec->command,
                        .cwd = spec->cwd,
                        .env = spec->env,
                        .n_env = strv_length(spec->env),
                },
                .body_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .stdin_descriptor = EXECUTOR_NO_DESCRIPTOR,
                .limits = limits_of(client, spec),
        };
        int fd, r;

        if (!outbox_has_room_for(outbox, 2))
                return -ENOSPC;
        if (executor_body_size(&start.body) > EXECUTOR_BODY_INLINE_MAX) {
                _cleanup_free_ void *data = NULL;
                size_t size;

                r = executor_body_encode(&start.body, &data, &size);
                if (r < 0)
                        return r;
                r = memory_file_new(&(const struct iovec){ .iov_base = data, .iov_len = size }, 1, &fd);
                if (r < 0)
                        return r;
                start.body_descriptor = outbox_add_descriptor(outbox, fd);
        }
        if (spec->stdin_data) {
                const struct iovec input = { .iov_base = (void *) spec->stdin_data,
                                             .iov_len = spec->stdin_size };

                r = memory_file_new(&input, 1, &fd);
                if (r < 0) {
                        outbox_forget_descriptors(outbox, n_descriptors);
                        return r;
                }
                start.stdin_descriptor = outbox_add_descriptor(outbox, fd);
        }
        r = executor_message_add_start(&outbox->message, &start);
        if (r < 0)
                outbox_forget_descriptors(outbox, n_descriptors);
        return r;
}

/* It cannot be handed over: that is its end. */
static int start_fails(struct executor_client *client, const struct run_id *run, int error) {
        struct job_result *result;
        int r;

        r = job_result_new(&result);
        if (r < 0)
                return r;
        result->run = *run;
        result->outcome = RUN_NOT_STARTED;
        result->finished_at = now_usec(CLOCK_REALTIME);
        if (asprintf(&result->error_message, "cannot be handed to the executor: %s", strerror(-error)) < 0)
                result->error_message = NULL;
        client->handlers.exited(client->handlers.userdata, result);
        return 0;
}

static int fill_starts(struct executor_client *client) {
        struct pending_start *start;
        int r;

        while ((start = LIST_FIRST(&client->starts, struct pending_start, link))) {
                struct run_id run = start->run;

                r = add_start(client, start);
                if (r == -ENOSPC)
                        return r;
                pending_start_free(client, start);
                if (r < 0) {
                        r = start_fails(client, &run, r);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int fill_runs(
        struct executor_client *client, struct run_queue *queue,
        int (*add)(struct executor_message *message, const struct run_id *run)) {

        for (; queue->first < queue->n; queue->first++) {
                int r = add(&client->outbox.message, &queue->items[queue->first]);

                if (r < 0)
                        return r;
        }
        queue->first = queue->n = 0;
        return 0;
}

static int fill_settings(struct executor_client *client) {
        int r;

        if (!client->slots_changed)
                return 0;
        r = executor_message_add_slots(&client->outbox.message, client->slots);
        if (r >= 0)
                client->slots_changed = false;
        return r;
}

static int fill_journalled(struct executor_client *client) {
        while (client->n_journalled > 0) {
                int r = executor_message_add_journalled(
                        &client->outbox.message, &client->journalled[client->n_journalled - 1]);

                if (r < 0)
                        return r;
                client->n_journalled--;
        }
        return 0;
}

static int fill_stop(struct executor_client *client) {
        int r;

        if (client->stop == EXECUTOR_STOP_NOT)
                return 0;
        r = executor_message_add_stop(&client->outbox.message, client->stop);
        if (r >= 0)
                client->stop = EXECUTOR_STOP_NOT;
        return r;
}

/* A kill follows the start that it means, and a stop everything. */
static int client_fill(struct executor_client *client) {
        int r;

        r = fill_settings(client);
        if (r >= 0)
                r = fill_starts(client);
        if (r >= 0)
                r = fill_runs(client, &client->kills, executor_message_add_kill);
        if (r >= 0)
                r = fill_runs(client, &client->withdrawals, executor_message_add_withdrawal);
        if (r >= 0)
                r = fill_runs(client, &client->releases, executor_message_add_acknowledgement);
        if (r >= 0)
                r = client_reads_fill(client);
        if (r >= 0)
                r = fill_journalled(client);
        if (r >= 0)
                r = fill_stop(client);
        if (r >= 0)
                r = client_answer_fill(client);
        return r == -ENOSPC ? 0 : r;
}

static int client_try_flush(struct executor_client *client) {
        int r;

        for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
                if (outbox_is_empty(&client->outbox) && client->state == CLIENT_SYNCHRONISED) {
                        r = client_fill(client);
                        if (r < 0)
                                return r;
                }
                if (outbox_is_empty(&client->outbox))
                        return 0;
                r = outbox_send(&client->outbox, client->fd);
                if (r < 0)
                        return r;
        }
        client_wants_flush(client);
        return 0;
}

static void client_watch(struct executor_client *client, bool writable) {
        int r = sd_event_source_set_io_events(client->socket_source, EPOLLIN | (writable ? EPOLLOUT : 0));

        if (writable)
                executor_client_hurry(client);
        if (r < 0)
                log_warning_errno(r, "Cannot watch the executor's socket: %m");
}

static int on_flush(sd_event_source *source, void *userdata) {
        struct executor_client *client = userdata;
        int r;

        if (client->fd < 0)
                return 0;
        r = client->forgetful ? -ENOMEM : client_try_flush(client);
        if (r < 0 && r != -EAGAIN) {
                if (r != -EPIPE && r != -ECONNRESET)
                        log_warning_errno(r, "Cannot talk to the executor, connecting anew: %m");
                client_disconnect(client);
                return 0;
        }
        client_watch(client, /* writable= */ r == -EAGAIN);
        return 0;
}

void client_wants_flush(struct executor_client *client) {
        (void) sd_event_source_set_enabled(client->flush_source, SD_EVENT_ONESHOT);
}

void client_send_drop(struct executor_client *client) {
        struct pending_start *start;

        outbox_clear(&client->outbox);
        while ((start = LIST_FIRST(&client->starts, struct pending_start, link)))
                pending_start_free(client, start);
        run_queue_drop(&client->kills);
        run_queue_drop(&client->withdrawals);
        run_queue_drop(&client->releases);
        client->n_journalled = 0;
        client->forgetful = false;
        client->stop = EXECUTOR_STOP_NOT;
}

int client_send_init(struct executor_client *client) {
        int r;

        r = outbox_init(&client->outbox);
        if (r < 0)
                return r;
        r = sd_event_add_defer(client->event, &client->flush_source, on_flush, client);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(client->flush_source, "executor-flush");
        return sd_event_source_set_enabled(client->flush_source, SD_EVENT_OFF);
}

void client_send_done(struct executor_client *client) {
        /* The last releases, or a stop, should not get lost where the socket has room. */
        if (client->fd >= 0)
                (void) client_try_flush(client);
        client->flush_source = sd_event_source_disable_unref(client->flush_source);
        client_send_drop(client);
        outbox_done(&client->outbox);
        client->fd = close_fd(client->fd);
}
