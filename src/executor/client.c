/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The face of the client, and what comes from the executor. */

#include "executor/client.h"

#include <errno.h>

#include "executor/client-internal.h"
#include "wire/executor-codec.h"

int executor_client_new(
        const struct executor_config *config, sd_event *event, const struct executor_handlers *handlers,
        struct executor_client **ret) {

        _cleanup_(executor_client_free_p) struct executor_client *client = malloc(sizeof(*client));
        int r;

        if (!client)
                return -ENOMEM;
        *client = (struct executor_client){
                .slots = config->slots,
                .output_max = config->output_max,
                .kill_grace_usec = config->kill_grace_usec,
                .default_limits = config->default_limits,
                .handlers = *handlers,
                .event = sd_event_ref(event),
                .fd = -EBADF,
        };
        list_init(&client->starts);
        list_init(&client->reads);
        client->socket_path = strdup(config->socket_path);
        client->node_id = strdup(config->node_id);
        client->program = config->program ? strdup(config->program) : NULL;
        if (!client->socket_path || !client->node_id || (config->program && !client->program))
                return -ENOMEM;
        if (strlen(client->socket_path) > SOCKET_PATH_MAX)
                return -ENAMETOOLONG;

        r = client_send_init(client);
        if (r < 0)
                return r;
        r = client_gather_init(client);
        if (r < 0)
                return r;
        r = client_answer_init(client);
        if (r < 0)
                return r;
        r = client_connect_init(client);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(client);
        return 0;
}

struct executor_client *executor_client_free(struct executor_client *client) {
        if (!client)
                return NULL;
        client_connect_done(client);
        client_gather_done(client);
        client_answer_done(client);
        client_send_done(client);
        free(client->known);
        free(client->socket_path);
        free(client->program);
        free(client->node_id);
        (void) sd_event_unref(client->event);
        free(client);
        return NULL;
}

bool executor_client_is_synchronised(const struct executor_client *client) {
        return client->state == CLIENT_SYNCHRONISED;
}

bool executor_client_enforceable(const struct executor_client *client, unsigned *ret) {
        if (client->support_known)
                *ret = limit_support_kinds(&client->support);
        return client->support_known;
}

const struct limit_support *executor_client_support(const struct executor_client *client) {
        return client->support_known ? &client->support : NULL;
}

void executor_client_set_default_limits(struct executor_client *client, const struct job_limits *limits) {
        client->default_limits = *limits;
}
