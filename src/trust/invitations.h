/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The invitations that this node has given out and that were not used yet. Each is good once, and for some
 * time; they are not written down, and end with the daemon. Who guesses is slowed down. */

#include <netinet/in.h>

#include "trust/token.h"
#include "util/time.h"

#define INVITATIONS_MAX 32u
#define INVITATION_SOURCES_MAX 64u
/* Names that are not known, from one address, in a minute; then none is looked up for it. */
#define INVITATION_GUESSES_MAX 10u

struct invitation {
        struct token_key key;
        usec_t expires_usec; /* 0: there is none here */
};

struct invitations_counters {
        uint64_t made, used, expired, unknown, slowed;
};

struct invitations {
        struct invitation all[INVITATIONS_MAX];
        struct {
                in_addr_t address;
                usec_t since_usec; /* 0: nobody */
                unsigned n;
        } guesses[INVITATION_SOURCES_MAX];
        struct invitations_counters counters;
};

/* -ENOSPC: there are INVITATIONS_MAX that are still good. -EIO. */
int invitations_add(
        struct invitations *invitations, const struct token *token, usec_t now_usec, usec_t lifetime_usec);
/* Whether the name is one of an invitation at all. */
bool invitation_is_name(const char *name);
/* The key of the invitation of this name; false: there is none that is good, or too many were asked for from
 * there. */
bool invitations_find(
        struct invitations *invitations, const char *name, in_addr_t address, usec_t now_usec,
        uint8_t ret_secret[static TLS_SECRET_SIZE]);
/* Whoever has shown its key has used it. False: somebody was faster. */
bool invitations_use(struct invitations *invitations, const char *name, usec_t now_usec);
void invitations_erase(struct invitations *invitations);
