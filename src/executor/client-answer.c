/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A daemon that hangs is given up by the other nodes, and what waits in its executor begins elsewhere. The
 * executor starts nothing when it has not heard for a while that we are awake; so we say that with what we
 * send, and where we have sent nothing for some time as an answer. After we stood still ourselves the others
 * are heard first. */

#include "executor/client-internal.h"
#include "util/log.h"
#include "wire/executor-codec.h"

#define ANSWER_USEC (EXECUTOR_SILENCE_USEC / 3)
#define AGAIN_USEC (200 * USEC_PER_MSEC)

static bool is_awake(const struct executor_client *client) {
        return !client->handlers.awake || client->handlers.awake(client->handlers.userdata);
}

static void answer_later(struct executor_client *client) {
        int r;

        r = sd_event_source_set_time_relative(client->answer_timer, AGAIN_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->answer_timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_error_errno(r, "Cannot set the timer of the executor's answers: %m");
}

static int on_answer(sd_event_source *source, uint64_t usec, void *userdata) {
        client_answer(userdata);
        return 0;
}

void client_answer(struct executor_client *client) {
        if (client->state != CLIENT_SYNCHRONISED ||
            now_usec(CLOCK_BOOTTIME) < usec_add(client->awake_usec, ANSWER_USEC))
                return;
        if (!is_awake(client)) {
                answer_later(client);
                return;
        }
        client->answers = true;
        client_wants_flush(client);
}

int client_answer_fill(struct executor_client *client) {
        usec_t now;
        int r;

        if (outbox_is_empty(&client->outbox) && !client->answers)
                return 0;
        if (!is_awake(client)) {
                client->answers = false;
                answer_later(client);
                return 0;
        }
        now = now_usec(CLOCK_BOOTTIME);
        r = executor_message_add_awake(&client->outbox.message, now);
        client->answers = r < 0; /* in a message of its own */
        if (r >= 0)
                client->awake_usec = now;
        return r;
}

int client_answer_init(struct executor_client *client) {
        int r;

        r = sd_event_add_time(
                client->event, &client->answer_timer, CLOCK_MONOTONIC, USEC_INFINITY, 0, on_answer, client);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(client->answer_timer, "executor-answer");
        return sd_event_source_set_enabled(client->answer_timer, SD_EVENT_OFF);
}

void client_answer_done(struct executor_client *client) {
        client->answer_timer = sd_event_source_disable_unref(client->answer_timer);
}
