/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lifecycle of the HTTP face: parts in order, and out again. */

#include "api/rest/rest.h"

#include "api/rest/door.h"
#include "api/rest/http.h"
#include "api/rest/json.h"
#include "api/rest/routes.h"
#include "util/log.h"
#include "util/peer-uid.h"

/* Gives the door to rest when it is there. */
static int add_door(struct rest *rest, sd_event *event, struct door *door) {
        struct door **doors = reallocarray(rest->doors, rest->n_doors + 1, sizeof(*doors));
        if (!doors) {
                door_free(door);
                return -ENOMEM;
        }
        rest->doors = doors;
        rest->doors[rest->n_doors++] = door;
        return door_open(door, event);
}

static int
add_inherited(struct rest *rest, sd_event *event, const struct rest_config *config, char **ret_problem) {
        struct door *door;
        int r = 0;

        for (size_t i = 0; i < config->n_inherited_fds; i++) {
                int fd = TAKE_FD(config->inherited_fds[i]);

                if (r < 0) {
                        close_fd(fd);
                        continue;
                }
                r = door_new_inherited(rest, fd, config->connections_max, &door, ret_problem);
                if (r >= 0)
                        r = add_door(rest, event, door);
        }
        return r;
}

static int
add_doors(struct rest *rest, sd_event *event, const struct rest_config *config, char **ret_problem) {
        struct door *door;
        int r = 0;

        if (config->n_inherited_fds > 0)
                return add_inherited(rest, event, config, ret_problem);
        if (config->port > 0) {
                r = door_new_tcp(rest, config->port, config->connections_max, &door, ret_problem);
                if (r >= 0)
                        r = add_door(rest, event, door);
        }
        if (r >= 0 && config->socket_path) {
                r = door_new_unix(rest, config->socket_path, config->connections_max, &door, ret_problem);
                if (r >= 0)
                        r = add_door(rest, event, door);
        }
        return r;
}

int rest_new(
        const struct rest_config *config, sd_event *event, struct ops *ops, struct rest **ret,
        char **ret_problem) {
        const size_t n_doors = MAX(config->n_inherited_fds, (size_t) 2);

        if (ret_problem)
                *ret_problem = NULL;
        _cleanup_(rest_free_p) struct rest *rest = calloc(1, sizeof(*rest));
        if (!rest)
                return -ENOMEM;
        rest->ops = ops;
        rest->node_id = strdup(config->node_id);
        if (!rest->node_id)
                return -ENOMEM;

        int r = json_parser_new(&rest->parser);
        if (r < 0)
                return r;
        r = peer_uid_new(&rest->peer_uid);
        if (r < 0)
                log_warning_errno(
                        r, "Cannot ask the kernel who is at the other end of a TCP connection; requests "
                           "over TCP "
                           "will be refused: %m");

        const struct http_config http_config = {
                .node_id = rest->node_id,
                .connections_max = config->connections_max * (unsigned) n_doors,
                .read_max_usec = config->read_max_usec ?: REST_READ_MAX_USEC,
                .send_max_usec = config->send_max_usec ?: REST_SEND_MAX_USEC,
        };
        r = http_new(&http_config, event, &routes_handlers, &rest->http);
        if (r < 0)
                return r;
        r = add_doors(rest, event, config, ret_problem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(rest);
        return 0;
}

void rest_stop_accepting(struct rest *rest) {
        for (size_t i = 0; i < rest->n_doors; i++)
                door_close(rest->doors[i]);
        http_close_idle(rest->http);
}

unsigned rest_pending(const struct rest *rest) {
        return http_pending(rest->http);
}

/* The connections go before the doors that count them. */
struct rest *rest_free(struct rest *rest) {
        if (!rest)
                return NULL;
        http_free(rest->http);
        for (size_t i = 0; i < rest->n_doors; i++)
                door_free(rest->doors[i]);
        free(rest->doors);
        peer_uid_free(rest->peer_uid);
        json_parser_free(rest->parser);
        free(rest->node_id);
        free(rest);
        return NULL;
}

const char *rest_address(const struct rest *rest) {
        /* Sockets are inherited in any order; a person tries the port first. */
        for (size_t i = 0; i < rest->n_doors; i++)
                if (door_address(rest->doors[i])[0] != '/')
                        return door_address(rest->doors[i]);
        return rest->n_doors > 0 ? door_address(rest->doors[0]) : NULL;
}
