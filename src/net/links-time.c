/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One timer for all links. It is armed for the earliest time at which something may be due; what has
 * happened meanwhile is looked at only then, so that a message costs nothing here. */

#include "net/links-internal.h"

void links_wake_at(struct links *links, usec_t at) {
        if (at >= links->timer_at)
                return;
        links->timer_at = at;
        (void) sd_event_source_set_time(links->timer_source, at);
        (void) sd_event_source_set_enabled(links->timer_source, SD_EVENT_ONESHOT);
}

/* When something is due with it if nothing happens. */
static usec_t link_due(const struct link *link) {
        const struct links_limits *limits = &link->links->limits;

        if (link->state != LINK_UP)
                return link->deadline;
        return link->out.size > 0 ? usec_add(link->taken_at, limits->stall_usec)
                                  : usec_add(MAX(link->used_at, link->taken_at), limits->idle_usec);
}

static struct link *first_due(struct list *list, usec_t now) {
        struct link *link;

        LIST_FOREACH(list, link, struct link, place)
                if (link_due(link) <= now)
                        return link;
        return NULL;
}

static void link_is_late(struct link *link) {
        switch (link->state) {
        case LINK_CONNECTING:
        case LINK_GREETING:
                links_end(link, -ETIMEDOUT);
                break;
        case LINK_STRANGER:
                links_refuse(link, -ETIMEDOUT, "it says nothing");
                break;
        case LINK_FAILED:
                links_end(link, link->error);
                break;
        case LINK_UP:
                link->links->counters.stalled += link->out.size > 0;
                links_end(link, link->out.size > 0 ? -ETIMEDOUT : 0);
                break;
        case LINK_CLOSED:
                break;
        }
}

static int on_time(sd_event_source *source, usec_t usec, void *userdata) {
        struct links *links = userdata;
        struct list *const lists[] = { &links->opening, &links->strangers, &links->up };
        usec_t now = links_now(links), next = USEC_INFINITY;
        struct link *link;

        links->timer_at = USEC_INFINITY;
        links_listen_again(links, now);
        if (links->listen_again_at > 0)
                next = links->listen_again_at;
        for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
                /* Each may change the list, by what it tells. */
                while ((link = first_due(lists[i], now)))
                        link_is_late(link);
                LIST_FOREACH(lists[i], link, struct link, place)
                        next = MIN(next, link_due(link));
        }
        links_wake_at(links, next);
        return 0;
}

int links_time_init(struct links *links) {
        int r = sd_event_add_time(
                links->event, &links->timer_source, CLOCK_BOOTTIME, USEC_INFINITY, 0, on_time, links);

        if (r < 0)
                return r;
        (void) sd_event_source_set_description(links->timer_source, "links-time");
        links->timer_at = USEC_INFINITY;
        return sd_event_source_set_enabled(links->timer_source, SD_EVENT_OFF);
}
