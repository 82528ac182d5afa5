/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* TLS 1.3 over a connected socket, with a key of the mesh as pre-shared key (RFC 8446, psk_dhe_ke): both
 * ends show that they have it, and what was recorded cannot be read by whoever gets the key later. The
 * opener names the key by "MESH-ID/KEY-ID" in hexadecimal digits. Nothing here waits, and nothing else of
 * the library is seen outside. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "trust/keys.h"

enum tls_role {
        TLS_OPENER,
        TLS_LISTENER,
};

struct tls;

/* keys: valid until the handshake is over. fd: the caller's, valid as long as this. -ENOMEM, -EIO. */
int tls_new(const struct mesh_keys *keys, enum tls_role role, int fd, struct tls **ret);
struct tls *tls_free(struct tls *tls); /* returns NULL; accepts NULL. Says nothing to the other end */
DEFINE_CLEANUP(struct tls *, tls_free)

/* 0: it is over. -EAGAIN: to be called again when the socket is ready for what tls_wants_write() says, or
 * for reading. -EKEYREJECTED: the two have no key in common. -EPROTO: the other end does not speak this.
 * Otherwise an error of the socket. */
int tls_handshake(struct tls *tls);
bool tls_wants_write(const struct tls *tls);

/* 0: the other end has said that it is done. Less than size: there is no more at the moment, or it ends.
 * -EAGAIN; -ECONNRESET: it ended without a word; -EBADMSG: it was tampered with. */
ssize_t tls_read(struct tls *tls, void *data, size_t size);
/* -EAGAIN: to be given again, with the same bytes in front. */
ssize_t tls_write(struct tls *tls, const void *data, size_t size);
/* A last word, if it goes out without waiting. */
void tls_say_goodbye(struct tls *tls);
