/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The HTTP face alone, over operations in memory: for tests and measurements from outside. Prints its port,
 * and ends with its standard input. Jobs end by themselves after FINISH_AFTER_USEC (0: never). */

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/rest/rest.h"
#include "fake-ops.h"
#include "lib/tests.h"
#include "util/log.h"

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        char byte;

        return read(fd, &byte, 1) <= 0 ? sd_event_exit(sd_event_source_get_event(source), 0) : 0;
}

int main(void) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        const char *finish_after = getenv("FINISH_AFTER_USEC");
        sd_event *event = NULL;
        struct rest *rest;

        log_setup("rest-server");
        signal(SIGPIPE, SIG_IGN);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_TRUE(fd >= 0);
        ASSERT_EQ(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(fd, 1024), 0);
        ASSERT_EQ(getsockname(fd, (struct sockaddr *) &address, &size), 0);

        ASSERT_OK(sd_event_new(&event));
        struct ops *ops = fake_ops_new(event);
        ops->finish_after_usec = finish_after ? strtoull(finish_after, NULL, 10) : 1000;
        const struct rest_config config = {
                .node_id = "node-0123456789abcdef",
                .inherited_fds = &fd,
                .n_inherited_fds = 1,
                .connections_max = 4096,
        };
        ASSERT_OK(rest_new(&config, event, ops, &rest, NULL));
        ASSERT_OK(sd_event_add_io(event, NULL, STDIN_FILENO, EPOLLIN, on_input, NULL));
        printf("%u\n", ntohs(address.sin_port));
        fflush(stdout);

        ASSERT_OK(sd_event_loop(event));
        rest_free(rest);
        fake_ops_free(ops);
        sd_event_unref(event);
        return 0;
}
