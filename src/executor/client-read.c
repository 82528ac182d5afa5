/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading what runs print: each wish has a number, and is answered once. */

#include <errno.h>

#include "executor/client-internal.h"
#include "wire/executor-codec.h"

static void read_free(struct executor_read *read) {
        list_remove(&read->link);
        read->client->n_reads--;
        free(read);
}

int executor_client_read(
        struct executor_client *client, const struct run_id *run, int stream, uint64_t offset, bool wait,
        executor_output_t handler, void *userdata, struct executor_read **ret) {

        struct executor_read *read;

        if (stream != 1 && stream != 2)
                return -EINVAL;
        if (client->state != CLIENT_SYNCHRONISED)
                return -ENOTCONN;
        if (client->n_reads >= EXECUTOR_READS_MAX)
                return -EBUSY;
        read = malloc(sizeof(*read));
        if (!read)
                return -ENOMEM;
        *read = (struct executor_read){
                .client = client,
                .id = ++client->n_read_ids,
                .run = *run,
                .stream = stream,
                .offset = offset,
                .wait = wait,
                .handler = handler,
                .userdata = userdata,
        };
        list_append(&client->reads, &read->link);
        client->n_reads++;
        executor_client_hurry(client);
        client_wants_flush(client);
        *ret = read;
        return 0;
}

void executor_read_cancel(struct executor_read *read) {
        struct executor_client *client;

        if (!read)
                return;
        client = read->client;
        if (read->sent) {
                /* Until it has been said the executor still holds it, so it still counts. */
                read->cancelled = true;
                client_wants_flush(client);
                return;
        }
        read_free(read);
}

/* Calls the handler of a wish that is over; it may make new ones. */
static void read_finish(struct executor_read *read, const struct executor_output *output) {
        executor_output_t handler = read->cancelled ? NULL : read->handler;
        void *userdata = read->userdata;

        read_free(read);
        if (handler)
                handler(userdata, output);
}

void client_reads_fail(struct executor_client *client, int error) {
        const struct executor_output output = { .error = error };
        struct executor_read *read;

        while ((read = LIST_FIRST(&client->reads, struct executor_read, link)))
                read_finish(read, &output);
}

void client_reads_answer(struct executor_client *client, const struct executor_data *data) {
        const struct executor_output output = {
                .error = data->error,
                .offset = data->offset,
                .data = data->data,
                .size = data->size,
                .ended = data->ended,
                .total = data->total,
        };
        struct executor_read *read;

        LIST_FOREACH(&client->reads, read, struct executor_read, link)
                if (read->id == data->id) {
                        read_finish(read, &output);
                        return;
                }
        /* Cancelled, while the answer was on its way. */
}

static int fill_one(struct executor_client *client, struct executor_read *read) {
        struct executor_read_request request;
        int r;

        if (read->cancelled) {
                r = executor_message_add_cancel_read(&client->outbox.message, read->id);
                if (r >= 0)
                        read_free(read);
                return r;
        }
        if (read->sent)
                return 0;
        request = (struct executor_read_request){
                .id = read->id,
                .run = read->run,
                .stream = read->stream,
                .offset = read->offset,
                .wait = read->wait,
        };
        r = executor_message_add_read(&client->outbox.message, &request);
        if (r >= 0)
                read->sent = true;
        return r;
}

int client_reads_fill(struct executor_client *client) {
        struct executor_read *read;
        int r;

        LIST_FOREACH(&client->reads, read, struct executor_read, link) {
                r = fill_one(client, read);
                if (r < 0)
                        return r;
        }
        return 0;
}
