/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sockets that a service manager hands over (sd_listen_fds(3)): told apart by name, or by kind where they
 * have none. */

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "node/internal.h"
#include "util/log.h"
#include "util/strv.h"

void inherited_sockets_done(struct inherited_sockets *sockets) {
        for (size_t i = 0; i < sockets->n_rest_fds; i++)
                close_fd(sockets->rest_fds[i]);
        free(sockets->rest_fds);
        sockets->rest_fds = NULL;
        sockets->n_rest_fds = 0;
        sockets->discovery_fd = close_fd(sockets->discovery_fd);
        sockets->node_fd = close_fd(sockets->node_fd);
        sockets->node_stream_fd = close_fd(sockets->node_stream_fd);
}

static int fill_slot(int *slot, int fd, const char *name) {
        if (*slot >= 0)
                return log_error_errno(-EEXIST, "Two inherited sockets want to be '%s'.", name);
        *slot = fd;
        return 0;
}

static int place(struct inherited_sockets *sockets, int fd, const char *name) {
        bool is_node = streq(name, "node");

        if (is_node && sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, /* listening= */ 1, 0) > 0)
                return fill_slot(&sockets->node_stream_fd, fd, name);
        if (!is_node && sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, /* listening= */ 1) > 0) {
                sockets->rest_fds[sockets->n_rest_fds++] = fd;
                return 0;
        }
        if (sd_is_socket(fd, AF_INET, SOCK_DGRAM, -1) > 0)
                return fill_slot(is_node ? &sockets->node_fd : &sockets->discovery_fd, fd, name);
        return log_error_errno(
                -EINVAL,
                "Inherited socket '%s' is neither a listening stream socket nor an IPv4 datagram "
                "socket.",
                name);
}

int inherited_sockets_take(struct inherited_sockets *ret) {
        _cleanup_strv_free_ char **names = NULL;
        int n, r;

        *ret = INHERITED_SOCKETS_NONE;

        n = sd_listen_fds_with_names(/* unset_environment= */ true, &names);
        if (n < 0)
                return log_error_errno(n, "Failed to take over inherited sockets: %m");
        if (n == 0)
                return 0;

        ret->rest_fds = calloc((size_t) n, sizeof(*ret->rest_fds));
        if (!ret->rest_fds)
                return log_oom();
        for (int i = 0; i < n; i++) {
                r = place(ret, SD_LISTEN_FDS_START + i, names[i]);
                if (r < 0) {
                        inherited_sockets_done(ret);
                        return r;
                }
        }
        return 0;
}
