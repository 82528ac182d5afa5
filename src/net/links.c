/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table of links, and what is asked of them from outside. */

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/links-internal.h"

struct link *links_find(const struct links *links, const char *node_id) {
        return MAP_GET(&links->by_node, node_id, strlen(node_id), struct link, by_node);
}

struct links_limits *links_limits(struct links *links) {
        return &links->limits;
}

void links_wake(struct links *links) {
        (void) sd_event_source_set_enabled(links->turn_source, SD_EVENT_ONESHOT);
}

static struct list *list_of(struct links *links, enum link_state state) {
        switch (state) {
        case LINK_CONNECTING:
        case LINK_GREETING:
        case LINK_FAILED:
                return &links->opening;
        case LINK_STRANGER:
                return &links->strangers;
        case LINK_UP:
                return &links->up;
        case LINK_CLOSED:
                break;
        }
        return &links->closed;
}

void links_enter(struct link *link, enum link_state state) {
        struct links *links = link->links;

        if (list_is_linked(&link->place)) {
                links->n_up -= link->state == LINK_UP;
                links->n_strangers -= link->state == LINK_STRANGER;
                list_remove(&link->place);
        }
        link->state = state;
        links->n_up += state == LINK_UP;
        links->n_strangers += state == LINK_STRANGER;
        list_append(list_of(links, state), &link->place);
}

void links_touch(struct link *link, usec_t now) {
        link->used_at = now;
        list_remove(&link->place);
        list_append(&link->links->up, &link->place);
}

void links_drop(struct link *link) {
        link_detach(link);
        map_remove(&link->links->by_node, &link->by_node);
        links_enter(link, LINK_CLOSED);
        links_wake(link->links);
}

/* The node with the lower id closes what the other opened while its own is on its way: that is about to
 * come, and until then this is no failure. */
static bool link_may_yield(const struct link *link, int error) {
        return link->state == LINK_GREETING && (error == 0 || error == -ECONNRESET || error == -EPIPE) &&
               strcmp(link->links->node_id, link->node_id) > 0;
}

void links_end(struct link *link, int error) {
        struct links *links = link->links;
        bool concerns = link->state != LINK_STRANGER;

        if (link->state == LINK_CLOSED)
                return;
        if (link_may_yield(link, error)) {
                link_detach(link);
                link->error = -ECONNREFUSED;
                link->deadline = MIN(link->deadline, usec_add(links_now(links), links->limits.yield_usec));
                links_enter(link, LINK_FAILED);
                links_wake_at(links, link->deadline);
                return;
        }
        if (link->state == LINK_GREETING && error == 0)
                error = -ECONNREFUSED;
        if (concerns && error < 0)
                log_debug_errno(error, "The link to %s is closed: %m", link->node_id);
        else if (concerns)
                log_debug("The link to %s is closed in order.", link->node_id);
        links_drop(link);
        if (concerns)
                links->handlers.down(links->handlers.userdata, link->node_id, error);
}

void links_refuse(struct link *link, int error, const char *why) {
        struct links *links = link->links;

        if (error == -EBADMSG)
                links->counters.malformed++;
        else
                links->counters.refused++;
        if (ratelimit_below(&links->refusal_lines, links_now(links)))
                log_debug_errno(
                        error, "Closing the link %s%s: %s.",
                        link->state == LINK_STRANGER ? "of a stranger" : "to ", link->node_id, why);
        links_end(link, error);
}

static void free_list(struct list *list) {
        struct link *link;

        LIST_FOREACH(list, link, struct link, place) {
                list_remove(&link->place);
                link_free(link);
        }
}

/* Handlers add to the lists while they are walked through: that is for the next turn. */
static int on_turn(sd_event_source *source, void *userdata) {
        struct links *links = userdata;
        struct list turns, flushes;
        struct link *link;

        list_move(&links->turns, &turns);
        while ((link = LIST_FIRST(&turns, struct link, turn_place))) {
                list_remove(&link->turn_place);
                if (link->state == LINK_FAILED)
                        links_end(link, link->error);
                else
                        link_take_turn(link);
        }
        list_move(&links->flushes, &flushes);
        while ((link = LIST_FIRST(&flushes, struct link, flush_place)))
                link_flush(link);
        free_list(&links->closed);
        return 0;
}

static void set_limits(struct links *links) {
        links->limits = (struct links_limits){
                .links_max = LINKS_MAX,
                .strangers_max = LINKS_STRANGERS_MAX,
                .handshake_usec = LINK_HANDSHAKE_USEC,
                .idle_usec = LINK_IDLE_USEC,
                .stall_usec = LINK_STALL_USEC,
                .yield_usec = LINK_YIELD_USEC,
                .queue_max = LINK_QUEUE_MAX,
                .queue_low = LINK_QUEUE_LOW,
                .frames_per_turn = LINK_FRAMES_PER_TURN,
        };
        links->listen_warnings = (struct ratelimit){ .interval_usec = USEC_PER_MINUTE, .burst = 1 };
        links->refusal_lines = (struct ratelimit){ .interval_usec = 10 * USEC_PER_SEC, .burst = 10 };
}

static int links_start(struct links *links, const struct links_config *config) {
        int r;

        links->node_id = strdup(config->node_id);
        links->version = strdup(config->version);
        if (!links->node_id || !links->version)
                return -ENOMEM;
        r = sd_event_add_defer(links->event, &links->turn_source, on_turn, links);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(links->turn_source, "links-turn");
        r = sd_event_source_set_enabled(links->turn_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = links_time_init(links);
        return r < 0 || links->listen_fd < 0 ? r : links_listen(links, links->listen_fd);
}

int links_new(
        const struct links_config *config, sd_event *event, const struct links_handlers *handlers,
        struct links **ret) {
        _cleanup_close_ int listen_fd = config->listen_fd;
        _cleanup_(links_free_p) struct links *links = NULL;

        links = calloc(1, sizeof(*links));
        if (!links)
                return -ENOMEM;
        links->listen_fd = TAKE_FD(listen_fd);
        links->event = sd_event_ref(event);
        links->incarnation = config->incarnation;
        links->instance = config->instance;
        links->handlers = *handlers;
        links->keys = config->keys;
        links->invitations = config->invitations;
        list_init(&links->opening);
        list_init(&links->strangers);
        list_init(&links->up);
        list_init(&links->closed);
        list_init(&links->turns);
        list_init(&links->flushes);
        set_limits(links);

        int r = links_start(links, config);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(links);
        return 0;
}

struct links *links_free(struct links *links) {
        struct link *link;

        if (!links)
                return NULL;
        MAP_FOREACH(&links->by_node, link, struct link, by_node)
                map_remove(&links->by_node, &link->by_node);
        free_list(&links->opening);
        free_list(&links->strangers);
        free_list(&links->up);
        free_list(&links->closed);
        sd_event_source_disable_unref(links->turn_source);
        sd_event_source_disable_unref(links->timer_source);
        sd_event_source_disable_unref(links->listen_source);
        close_fd(links->listen_fd);
        sd_event_unref(links->event);
        free(links->node_id);
        free(links->version);
        free(links);
        return NULL;
}

/* Without a socket: told when the loop comes round. */
static void fail_later(struct link *link, int error) {
        link->error = error;
        links_enter(link, LINK_FAILED);
        list_append(&link->links->turns, &link->turn_place);
        links_wake(link->links);
}

static int open_socket(const struct links *links, int *ret_fd) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        links_prepare_socket(links, fd);
        *ret_fd = fd;
        return 0;
}

int links_open(struct links *links, const char *node_id, const struct sockaddr_in *address) {
        _cleanup_close_ int fd = -EBADF;
        struct link *link;
        int r;

        if (!node_id_is_valid(node_id))
                return -EINVAL;
        if (streq(node_id, links->node_id))
                return -ELOOP;
        if (links_find(links, node_id))
                return 0;

        r = open_socket(links, &fd);
        if (r < 0)
                return r;
        r = link_new(links, LINK_CONNECTING, &link);
        if (r < 0)
                return r;
        strcpy(link->node_id, node_id); /* valid means that it fits */
        r = map_add(&links->by_node, &link->by_node, link->node_id, strlen(link->node_id));
        if (r < 0) {
                links_drop(link);
                return r;
        }
        if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) < 0 && errno != EINPROGRESS) {
                fail_later(link, -errno);
                return 0;
        }
        r = link_attach(link, TAKE_FD(fd));
        if (r < 0)
                links_drop(link);
        return r;
}

bool links_is_up(const struct links *links, const char *node_id) {
        const struct link *link = links_find(links, node_id);

        return link && link->state == LINK_UP;
}

int links_send(struct links *links, const char *node_id, const struct link_message *message) {
        struct link *link = links_find(links, node_id);

        if (!link || link->state != LINK_UP)
                return -ENOTCONN;
        int r = link_send(link, message);
        if (r < 0)
                return r;
        links_touch(link, links_now(links));
        return 0;
}

size_t links_queued(const struct links *links, const char *node_id) {
        const struct link *link = links_find(links, node_id);

        return link ? link->out.size : 0;
}

void links_close(struct links *links, const char *node_id) {
        struct link *link = links_find(links, node_id);

        if (!link)
                return;
        /* The last words, if they go out without waiting. */
        if (link->established) {
                ssize_t n = link_queue_write(&link->out, &link->stream, links->limits.queue_max);
                links->counters.bytes_sent += n > 0 ? (uint64_t) n : 0;
        }
        links_drop(link);
}

const struct links_counters *links_counters(const struct links *links) {
        return &links->counters;
}
