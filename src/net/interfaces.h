/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The IPv4 addresses that the node speaks and listens on, kept up to date while interfaces come and go. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "util/macros.h"

#define INTERFACE_ADDRESSES_MAX 256u /* further ones are left out */

/* An address of an interface that is up and chosen. */
struct interface_address {
        unsigned index; /* of the interface */
        struct in_addr local;
        struct in_addr
                broadcast; /* INADDR_ANY: none, or another address of the interface has the same one */
};

struct interfaces;

/* names: those to use, or NULL or empty for all; one that does not exist yet is used once it does. appeared
 * is called some 100 ms after the first change that brought a new broadcast address, once for all that came
 * meanwhile; it must not free the object. */
int interfaces_new(
        char *const *names, sd_event *event, void (*appeared)(void *userdata), void *userdata,
        struct interfaces **ret);
struct interfaces *interfaces_free(struct interfaces *interfaces); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct interfaces *, interfaces_free)

/* The number of addresses; they stay valid until the loop runs again. */
size_t interfaces_get(const struct interfaces *interfaces, const struct interface_address **ret);

/* Whether a datagram that came in by the interface of this index is one to listen to. What this host sends
 * to an address of its own comes in by loopback, whatever interface the address belongs to. */
bool interfaces_may_hear(const struct interfaces *interfaces, unsigned index, struct in_addr source);
