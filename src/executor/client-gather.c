/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* While many short runs wait in the executor, and nobody waits for one of them, its messages are left in the
 * socket for some milliseconds: a turn of the loop for each would cost more than all the rest that is done
 * for such a run. The socket is not watched meanwhile. */

#include "executor/client-internal.h"
#include "util/log.h"

#define GATHER_ACCURACY_USEC UINT64_C(500)
#define GATHERED_MAX 64u /* messages that are read in one turn */

static int client_leave_alone(struct executor_client *client, usec_t usec) {
        int r;

        r = sd_event_source_set_time_relative(client->gather_timer, usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->gather_timer, SD_EVENT_ONESHOT);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->socket_source, SD_EVENT_OFF);
        return r;
}

void client_gather(struct executor_client *client) {
        usec_t usec;

        if (client->state != CLIENT_SYNCHRONISED || client->n_reads > 0 ||
            !outbox_is_empty(&client->outbox) || !client->handlers.patience)
                return;
        usec = client->handlers.patience(client->handlers.userdata);
        if (usec == 0)
                return;
        client->gathering = client_leave_alone(client, usec) >= 0;
        if (!client->gathering)
                client_gather_end(client);
}

void client_gather_end(struct executor_client *client) {
        int r;

        client->gathering = false;
        (void) sd_event_source_set_enabled(client->gather_timer, SD_EVENT_OFF);
        if (!client->socket_source)
                return;
        r = sd_event_source_set_enabled(client->socket_source, SD_EVENT_ON);
        if (r < 0)
                log_error_errno(r, "Cannot watch the executor's socket: %m");
}

void executor_client_hurry(struct executor_client *client) {
        if (client->gathering)
                client_gather_end(client);
}

static int on_gathered(sd_event_source *source, uint64_t usec, void *userdata) {
        struct executor_client *client = userdata;

        client->gathering = false;
        client_take(client, GATHERED_MAX);
        if (!client->gathering)
                client_gather_end(
                        client); /* nothing has come, or somebody waits: the next one is read at once */
        return 0;
}

int client_gather_init(struct executor_client *client) {
        int r;

        r = sd_event_add_time(
                client->event, &client->gather_timer, CLOCK_MONOTONIC, USEC_INFINITY, GATHER_ACCURACY_USEC,
                on_gathered, client);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(client->gather_timer, "executor-gather");
        return sd_event_source_set_enabled(client->gather_timer, SD_EVENT_OFF);
}

void client_gather_done(struct executor_client *client) {
        client->gather_timer = sd_event_source_disable_unref(client->gather_timer);
}
