/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Datagrams that only members of the mesh can have made: each names the mesh and one of its keys, and ends
 * in a MAC over everything before. That it is no recording is for the mind to find out, by numbers and
 * nonces, which lie under the MAC. */

#include "trust/keys.h"
#include "wire/message.h"

enum seal {
        SEAL_NONE,    /* there is no seal: a node without keys, or an older one */
        SEAL_FOREIGN, /* of another mesh, or by a key that we do not have (any more) */
        SEAL_WRONG,   /* of our mesh and key, and not right: altered, or made up */
        SEAL_RIGHT,
};

/* keys: NULL or none: it goes as it is. As mesh_message_encode(); -EIO: there is no MAC. */
int seal_encode(
        const struct mesh_keys *keys, const struct mesh_message *message, bool pad,
        uint8_t buffer[static DATAGRAM_MAX]);
/* The datagram from which the message was decoded. */
enum seal seal_check(
        const struct mesh_keys *keys, const struct mesh_message *message, const uint8_t *data, size_t size);
