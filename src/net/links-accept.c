/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Strangers at the door: let in a few at a time, so many in all, and none while there are no descriptors. */

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/links-internal.h"

#define BACKLOG 128
#define ACCEPTS_PER_TURN 16u
#define LISTEN_PAUSE_USEC (1 * USEC_PER_SEC)

/* Messages are gathered already; bytes that nobody confirms end the connection when bytes that nobody takes
 * would. Where one cannot be had, things are only slower. */
void links_prepare_socket(const struct links *links, int fd) {
        const int on = 1;
        const unsigned milliseconds = (unsigned) (links->limits.stall_usec / USEC_PER_MSEC);

        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
}

/* Whoever floods the door is pushed out by his own: before those that have shown a key. */
static struct link *least_welcome(struct links *links) {
        struct link *link;

        LIST_FOREACH(&links->strangers, link, struct link, place)
                if (!link->established)
                        return link;
        return LIST_FIRST(&links->strangers, struct link, place);
}

static void admit(struct links *links, int stranger_fd) {
        _cleanup_close_ int fd = stranger_fd;
        struct link *link;

        links_prepare_socket(links, fd);
        if (links->n_strangers >= links->limits.strangers_max)
                links_refuse(least_welcome(links), -EUSERS, "too many strangers");
        int r = link_new(links, LINK_STRANGER, &link);
        if (r >= 0) {
                r = link_attach(link, TAKE_FD(fd));
                if (r < 0)
                        links_drop(link);
        }
        if (r < 0)
                log_debug_errno(r, "Cannot take up a link: %m");
}

static bool is_shortage(int error) {
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void pause_listening(struct links *links, int error) {
        usec_t now = links_now(links);

        links->listen_again_at = usec_add(now, LISTEN_PAUSE_USEC);
        (void) sd_event_source_set_enabled(links->listen_source, SD_EVENT_OFF);
        links_wake_at(links, links->listen_again_at);
        if (ratelimit_below(&links->listen_warnings, now))
                log_warning_errno(-error, "Cannot accept links of other nodes, trying again: %m");
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t events, void *userdata) {
        struct links *links = userdata;

        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0) {
                        admit(links, fd);
                        continue;
                }
                /* Anything else is an error of a connection that is gone already. */
                if (is_shortage(errno))
                        pause_listening(links, errno);
                if (is_shortage(errno) || errno == EAGAIN)
                        return 0;
        }
        return 0;
}

int links_listen(struct links *links, int fd) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return -errno;
        if (listen(fd, BACKLOG) < 0)
                return -errno;
        int r = sd_event_add_io(links->event, &links->listen_source, fd, EPOLLIN, on_connection, links);
        if (r >= 0)
                (void) sd_event_source_set_description(links->listen_source, "links-listen");
        return r;
}

void links_listen_again(struct links *links, usec_t now) {
        if (links->listen_again_at == 0 || links->listen_again_at > now)
                return;
        links->listen_again_at = 0;
        (void) sd_event_source_set_enabled(links->listen_source, SD_EVENT_ON);
}
