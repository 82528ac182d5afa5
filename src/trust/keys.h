/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The keys of a mesh. Who has one of them belongs to it: the first is used, all are accepted, so that they
 * can be changed while the mesh works. What is used on the network is derived from them (HKDF, RFC 5869,
 * with the id of the mesh as salt), one key for each purpose, so that what one purpose gives away is of no
 * use to another. */

#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

#define MESH_ID_SIZE 16u
#define MESH_KEY_SIZE 32u
#define MESH_KEY_ID_SIZE 4u
#define MESH_MAC_SIZE 16u
/* "MESH-ID/KEY-ID" in hexadecimal digits, and the final NUL: how a pre-shared key is named. */
#define MESH_KEY_NAME_SIZE (2 * MESH_ID_SIZE + 1 + 2 * MESH_KEY_ID_SIZE + 1)
#define MESH_KEYS_MAX 8u
#define MESH_KEYS_TEXT_MAX 4096u /* of a key file, comments included */

struct mesh_key {
        uint8_t secret[MESH_KEY_SIZE];
        /* Derived: */
        uint8_t id[MESH_KEY_ID_SIZE];    /* tells keys apart, and nothing about them */
        uint8_t datagram[MESH_KEY_SIZE]; /* for the MAC of datagrams */
        uint8_t link[MESH_KEY_SIZE];     /* the pre-shared key of links */
};

struct mesh_keys {
        uint8_t mesh_id[MESH_ID_SIZE]; /* stays when keys are changed */
        struct mesh_key keys[MESH_KEYS_MAX];
        size_t n_keys; /* at least 1, unless it is all zero: then there are none */
};

/* New ones: an id and one key. -EIO: the library cannot derive. */
int mesh_keys_make(struct mesh_keys *ret);
/* Where it is another key's place: after the last one. -ENOSPC: there are MESH_KEYS_MAX. -EEXIST: it is
 * there. */
int mesh_keys_add(struct mesh_keys *keys, const uint8_t secret[static MESH_KEY_SIZE]);
/* False: none has this id. The order of the others stays. */
bool mesh_keys_remove(struct mesh_keys *keys, const uint8_t id[static MESH_KEY_ID_SIZE]);
void mesh_keys_erase(struct mesh_keys *keys);
#define _cleanup_mesh_keys_ _cleanup_(mesh_keys_erase)

/* NULL: none has this id. */
const struct mesh_key *
mesh_keys_find(const struct mesh_keys *keys, const uint8_t id[static MESH_KEY_ID_SIZE]);

/* Returns buffer. */
char *mesh_key_name(
        const struct mesh_keys *keys, const struct mesh_key *key, char buffer[static MESH_KEY_NAME_SIZE]);
/* NULL: none has this name. */
const struct mesh_key *mesh_keys_find_name(const struct mesh_keys *keys, const char *name);

struct mesh_keys_problem {
        unsigned line;    /* from 1; 0: of the whole */
        const char *text; /* static: what would be right */
};

/* Lines of hexadecimal digits: the id of the mesh, then its keys; empty ones, and those that begin with #,
 * do not count. -EBADMSG: *ret_problem says what is wrong. *ret is erased on failure. */
int mesh_keys_parse(
        const char *text, size_t size, struct mesh_keys *ret, struct mesh_keys_problem *ret_problem);
/* NUL-terminated. Returns buffer, which the caller erases. */
char *mesh_keys_format(const struct mesh_keys *keys, char buffer[static MESH_KEYS_TEXT_MAX]);

/* HMAC-SHA-256 with the key for datagrams, of which the first half is taken (RFC 2104, section 5). -EIO: the
 * library cannot. */
int mesh_key_mac(
        const struct mesh_key *key, const void *data, size_t size, uint8_t ret[static MESH_MAC_SIZE]);
/* In a time that does not tell how much of it is right. */
bool mesh_key_mac_is_right(
        const struct mesh_key *key, const void *data, size_t size, const uint8_t mac[static MESH_MAC_SIZE]);
