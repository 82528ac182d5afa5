/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "util/log-loop.h"

#include <sys/epoll.h>

#include "util/log.h"

static int on_queue(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        log_flush();
        return 0;
}

int log_watch(sd_event *event, sd_event_source **ret) {
        _cleanup_(sd_event_source_unrefp) sd_event_source *source = NULL;
        int fd = log_queue_fd(), r;

        if (fd < 0)
                return fd;
        r = sd_event_add_io(event, &source, fd, EPOLLIN, on_queue, NULL);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(source, "log-queue");
        *ret = TAKE_PTR(source);
        return 0;
}
