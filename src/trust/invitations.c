/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust/invitations.h"

static void drop(struct invitation *invitation) {
        explicit_bzero(invitation, sizeof(*invitation));
}

static void drop_expired(struct invitations *invitations, usec_t now) {
        for (size_t i = 0; i < INVITATIONS_MAX; i++) {
                struct invitation *invitation = &invitations->all[i];

                if (invitation->expires_usec == 0 || invitation->expires_usec > now)
                        continue;
                invitations->counters.expired++;
                drop(invitation);
        }
}

int invitations_add(
        struct invitations *invitations, const struct token *token, usec_t now_usec, usec_t lifetime_usec) {
        drop_expired(invitations, now_usec);
        for (size_t i = 0; i < INVITATIONS_MAX; i++) {
                struct invitation *invitation = &invitations->all[i];

                if (invitation->expires_usec > 0)
                        continue;
                int r = token_derive(token, &invitation->key);
                if (r < 0) {
                        drop(invitation);
                        return r;
                }
                invitation->expires_usec = usec_add(now_usec, lifetime_usec);
                invitations->counters.made++;
                return 0;
        }
        return -ENOSPC;
}

bool invitation_is_name(const char *name) {
        return strstr(name, TOKEN_NAME_MIDDLE) != NULL;
}

static struct invitation *find(struct invitations *invitations, const char *name, usec_t now) {
        drop_expired(invitations, now);
        for (size_t i = 0; i < INVITATIONS_MAX; i++)
                if (invitations->all[i].expires_usec > 0 && streq(invitations->all[i].key.name, name))
                        return &invitations->all[i];
        return NULL;
}

/* How often it has guessed in this minute; whoever did so longest ago makes room. */
static unsigned *guesses_of(struct invitations *invitations, in_addr_t address, usec_t now) {
        size_t oldest = 0;

        for (size_t i = 0; i < INVITATION_SOURCES_MAX; i++) {
                if (invitations->guesses[i].since_usec > 0 && invitations->guesses[i].address == address) {
                        oldest = i;
                        break;
                }
                if (invitations->guesses[i].since_usec < invitations->guesses[oldest].since_usec)
                        oldest = i;
        }
        if (invitations->guesses[oldest].address != address ||
            now >= usec_add(invitations->guesses[oldest].since_usec, USEC_PER_MINUTE)) {
                invitations->guesses[oldest].address = address;
                invitations->guesses[oldest].since_usec = MAX(now, (usec_t) 1);
                invitations->guesses[oldest].n = 0;
        }
        return &invitations->guesses[oldest].n;
}

bool invitations_find(
        struct invitations *invitations, const char *name, in_addr_t address, usec_t now_usec,
        uint8_t ret_secret[static TLS_SECRET_SIZE]) {
        unsigned *n_guesses = guesses_of(invitations, address, now_usec);
        const struct invitation *invitation;

        if (*n_guesses >= INVITATION_GUESSES_MAX) {
                invitations->counters.slowed++;
                return false;
        }
        invitation = find(invitations, name, now_usec);
        if (!invitation) {
                (*n_guesses)++;
                invitations->counters.unknown++;
                return false;
        }
        memcpy(ret_secret, invitation->key.secret, TLS_SECRET_SIZE);
        return true;
}

bool invitations_use(struct invitations *invitations, const char *name, usec_t now_usec) {
        struct invitation *invitation = find(invitations, name, now_usec);

        if (!invitation)
                return false;
        invitations->counters.used++;
        drop(invitation);
        return true;
}

void invitations_erase(struct invitations *invitations) {
        explicit_bzero(invitations, sizeof(*invitations));
}
