/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The way into a mesh: with an invitation, the keys are fetched from the node that has given it out. */

#include <netinet/in.h>
#include <systemd/sd-event.h>

#include "trust/keys.h"
#include "trust/token.h"

#define JOIN_WAIT_USEC (10 * USEC_PER_SEC) /* for all of it */

struct join;

/* keys: NULL where there is an error: -EKEYREJECTED: the node does not know the invitation (any more);
 * -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT …: it cannot be reached; -EPROTO, -EBADMSG: it is no node, or
 * hands over no keys. Called once, and not from within join_new(); it may free the join. */
typedef void (*join_handler_t)(void *userdata, int error, const struct mesh_keys *keys);

int join_new(
        const struct token *token, const struct sockaddr_in *address, sd_event *event,
        join_handler_t handler, void *userdata, struct join **ret);
struct join *join_free(struct join *join); /* returns NULL; accepts NULL. The handler is not called then */
DEFINE_CLEANUP(struct join *, join_free)
