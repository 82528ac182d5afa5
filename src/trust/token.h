/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An invitation to a mesh, as one word that a person carries from one machine to another: which mesh, which
 * node invites, and 128 random bits that only the two know. Its last bytes tell a word that was mistyped
 * from one that is not known (any more). */

#include "trust/keys.h"
#include "trust/tls.h"

#define TOKEN_SECRET_SIZE 16u
#define TOKEN_NODE_ID_SIZE 22u /* "node-", 16 hexadecimal digits, and the final NUL */
#define TOKEN_TEXT_SIZE 76u    /* "wm1" and 72 letters and digits, and the final NUL */

struct token {
        uint8_t mesh_id[MESH_ID_SIZE];
        char node_id[TOKEN_NODE_ID_SIZE];
        uint8_t secret[TOKEN_SECRET_SIZE];
};

/* -EINVAL: it is no id that nodes make for themselves. */
int token_make(const uint8_t mesh_id[static MESH_ID_SIZE], const char *node_id, struct token *ret);
void token_erase(struct token *token);
#define _cleanup_token_ _cleanup_(token_erase)

/* Returns buffer, which the caller erases. */
char *token_format(const struct token *token, char buffer[static TOKEN_TEXT_SIZE]);
/* Upper case will do, and O for 0, I and L for 1. -EBADMSG: mistyped, or no token. -EPROTONOSUPPORT: of
 * another version. */
int token_parse(const char *text, struct token *ret);

#define TOKEN_NAME_MIDDLE "/join/"

/* The pre-shared key of the connection over which the keys of the mesh are handed over, and its name. -EIO.
 */
struct token_key {
        char name[TLS_NAME_MAX + 1]; /* "MESH-ID/join/…", which gives nothing away */
        uint8_t secret[TLS_SECRET_SIZE];
};
int token_derive(const struct token *token, struct token_key *ret);
