/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who is let in by which key: members by one of the mesh, and those who were invited by the word that they
 * got, who are handed the keys and come back with them. */

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/links-internal.h"
#include "trust/invitations.h"

static struct sockaddr_in address_of(const struct link *link) {
        struct sockaddr_in address = {};
        socklen_t size = sizeof(address);

        if (getpeername(link->stream.fd, (struct sockaddr *) &address, &size) < 0)
                return (struct sockaddr_in){};
        return address;
}

bool links_find_invitation(
        const struct link *link, const char *name, uint8_t ret_secret[static TLS_SECRET_SIZE]) {
        struct links *links = link->links;

        return links->invitations && invitation_is_name(name) &&
               invitations_find(
                       links->invitations, name, address_of(link).sin_addr.s_addr, links_now(links),
                       ret_secret);
}

/* Little enough for a socket to which nothing was written yet. */
static int hand_over(struct link *link) {
        char text[MESH_KEYS_TEXT_MAX];
        size_t size = strlen(mesh_keys_format(link->links->keys, text));

        ssize_t n = link->stream.operations->write(&link->stream, text, size);
        explicit_bzero(text, sizeof(text));
        if (n < 0)
                return (int) n;
        return (size_t) n == size ? 0 : -EMSGSIZE;
}

bool links_admit(struct link *link) {
        const struct sockaddr_in address = address_of(link);
        struct links *links = link->links;
        const char *name = link_stream_key_name(&link->stream);

        if (link->state != LINK_STRANGER || !invitation_is_name(name))
                return false;
        if (!invitations_use(links->invitations, name, links_now(links))) {
                links_refuse(link, -EKEYREJECTED, "its invitation was used meanwhile");
                return true;
        }
        int r = hand_over(link);
        if (r < 0) {
                links_refuse(link, r, "it does not take the keys");
                return true;
        }
        links_drop(link);
        if (links->handlers.admitted)
                links->handlers.admitted(links->handlers.userdata, &address);
        return true;
}

bool links_key_counts(const struct link *link) {
        const char *name = link_stream_key_name(&link->stream);

        return !link->links->keys || *name == '\0' || mesh_keys_find_name(link->links->keys, name);
}

/* Those that have not said hello are looked at when they do. */
static struct link *first_without_key(struct links *links) {
        struct list *const lists[] = { &links->opening, &links->up };
        struct link *link;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                LIST_FOREACH(lists[i], link, struct link, place)
                        if (!links_key_counts(link))
                                return link;
        return NULL;
}

void links_check_keys(struct links *links) {
        struct link *link;

        /* Each may change the lists, by what it tells. */
        while ((link = first_without_key(links)))
                links_end(link, -EKEYREJECTED);
}
