/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who is at the other end, and which connection to a node stays.
 *
 * The opener says hello first, and whoever was asked decides: by a hello of its own the link is up, on this
 * side at once and on the other when it arrives. So nothing can be sent on a connection that the other side
 * does not want. What if there is one to the same node already?
 *
 * Being connected: ours goes. Nothing was said on it, so the other side has decided nothing.
 *
 * Our hello is said: the one stays that the node with the lower id opened. Both sides know which; the node
 * with the higher id counts on the other's when its own is closed.
 *
 * Up: the later hello counts. Hellos are numbered by whoever says them. A higher number than on the link
 * that is up was said by a side that had said hello there and does not have that link any more; a lower one,
 * before that: it is left from opening both at the same time, and the other side has closed it.
 *
 * Up, and another instance: the node has started anew. */

#include "net/links-internal.h"

int links_say_hello(struct link *link) {
        struct links *links = link->links;
        const struct link_message message = {
                .has_hello = true,
                .hello = {
                        .protocol = LINK_PROTOCOL,
                        .node_id = links->node_id,
                        .version = links->version,
                        .incarnation = links->incarnation,
                        .instance = links->instance,
                        .ordinal = ++links->ordinal,
                },
        };

        return link_send(link, &message);
}

static bool hello_is_later(const struct link *link, const struct link_hello *hello) {
        return hello->instance == link->instance ? hello->ordinal > link->ordinal
                                                 : hello->incarnation >= link->incarnation;
}

/* Whether a connection by which this hello came takes the place of the one that is there. */
static bool link_gives_way(const struct link *link, const struct link_hello *hello) {
        switch (link->state) {
        case LINK_CONNECTING:
        case LINK_FAILED:
                return true;
        case LINK_GREETING:
                return strcmp(link->links->node_id, link->node_id) > 0;
        case LINK_UP:
                return hello_is_later(link, hello);
        case LINK_STRANGER:
        case LINK_CLOSED:
                break;
        }
        return false;
}

/* False: it was closed. */
static bool stranger_introduced(struct link *link, const struct link_hello *hello) {
        struct links *links = link->links;
        struct link *other;

        /* Where down is told, it may begin to open one. */
        while ((other = links_find(links, hello->node_id))) {
                if (!link_gives_way(other, hello)) {
                        links_refuse(link, -EALREADY, "there is a link to its node");
                        return false;
                }
                if (other->state == LINK_UP)
                        links_end(other, -ECONNRESET);
                else
                        links_drop(other);
        }
        strcpy(link->node_id, hello->node_id); /* valid means that it fits */
        int r = map_add(&links->by_node, &link->by_node, link->node_id, strlen(link->node_id));
        if (r >= 0)
                r = links_say_hello(link);
        if (r < 0)
                links_drop(link);
        return r >= 0;
}

static void link_is_up(struct link *link, const struct link_hello *hello) {
        struct links *links = link->links;
        usec_t now = links_now(links);

        if (links->n_up >= links->limits.links_max) {
                links_end(LIST_FIRST(&links->up, struct link, place), -EUSERS);
                if (link->state == LINK_CLOSED)
                        return;
        }
        if (link->state == LINK_STRANGER)
                links->counters.accepted++;
        else
                links->counters.opened++;
        links_enter(link, LINK_UP);
        link->incarnation = hello->incarnation;
        link->instance = hello->instance;
        link->ordinal = hello->ordinal;
        link->used_at = now;
        links_wake_at(links, usec_add(now, links->limits.idle_usec));
        log_debug("The link to %s is up; it is of version %s.", link->node_id, hello->version);

        int r = links->handlers.up(links->handlers.userdata, link->node_id, hello);
        if (r >= 0 || link->state == LINK_CLOSED)
                return;
        links->counters.refused++;
        log_debug_errno(r, "The link to %s is not wanted: %m", link->node_id);
        links_drop(link);
}

void links_greet(struct link *link, const struct link_hello *hello) {
        if (!links_key_counts(link))
                links_refuse(link, -EKEYREJECTED, "its key is not accepted any more");
        else if (hello->protocol != LINK_PROTOCOL)
                links_refuse(link, -EPROTONOSUPPORT, "it speaks another protocol");
        else if (streq(hello->node_id, link->links->node_id))
                links_refuse(link, -ELOOP, "it has the id of this node");
        else if (link->state == LINK_GREETING && !streq(hello->node_id, link->node_id))
                links_refuse(link, -EREMCHG, "another node answers");
        else if (link->state == LINK_GREETING || stranger_introduced(link, hello))
                link_is_up(link, hello);
}
