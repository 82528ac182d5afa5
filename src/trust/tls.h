/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* TLS 1.3 over a connected socket, with a pre-shared key (RFC 8446, psk_dhe_ke): both ends show that they
 * have it, and what was recorded cannot be read by whoever gets the key later. The opener names the key.
 * Nothing here waits, and nothing else of the library is seen outside. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/macros.h"

#define TLS_SECRET_SIZE 32u
#define TLS_NAME_MAX 127u

struct tls;

/* The key of this name. False: there is none. Called from within tls_handshake(). */
typedef bool (*tls_lookup_t)(void *userdata, const char *name, uint8_t ret_secret[static TLS_SECRET_SIZE]);

/* For the side that opened the connection, and for the other. fd: the caller's, valid as long as this.
 * -ENOMEM, -EIO. */
int tls_new_opener(const char *name, const uint8_t secret[static TLS_SECRET_SIZE], int fd, struct tls **ret);
int tls_new_listener(tls_lookup_t lookup, void *userdata, int fd, struct tls **ret);
struct tls *tls_free(struct tls *tls); /* returns NULL; accepts NULL. Says nothing to the other end */
DEFINE_CLEANUP(struct tls *, tls_free)

/* 0: it is over. -EAGAIN: to be called again when the socket is ready for what tls_wants_write() says, or
 * for reading. -EKEYREJECTED: the two have no key in common. -EPROTO: the other end does not speak this.
 * Otherwise an error of the socket. */
int tls_handshake(struct tls *tls);
bool tls_wants_write(const struct tls *tls);
/* By which key; empty before the handshake is over. */
const char *tls_name(const struct tls *tls);

/* 0: the other end has said that it is done. Less than size: there is no more at the moment, or it ends,
 * which comes next. -EAGAIN; -ECONNRESET: it ended without a word; -EBADMSG: it was tampered with. */
ssize_t tls_read(struct tls *tls, void *data, size_t size);
/* Something is to be read, or an end, of which the socket does not tell. */
bool tls_pending(const struct tls *tls);
/* -EAGAIN: to be given again, with the same bytes in front. */
ssize_t tls_write(struct tls *tls, const void *data, size_t size);
/* A last word, if it goes out without waiting. */
void tls_say_goodbye(struct tls *tls);
