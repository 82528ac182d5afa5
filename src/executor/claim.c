/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "executor/cgroup.h"
#include "executor/channel.h"
#include "executor/orphans.h"
#include "util/buffer.h"
#include "util/file.h"
#include "util/log.h"

#define STATE_MAX 8192u
#define CLEAR_TIMEOUT_USEC (5 * USEC_PER_SEC)
#define CLEAR_POLL_USEC (2 * USEC_PER_MSEC)
#define LISTEN_BACKLOG 64

struct claim {
        char *socket_path;
        char *state_path;
        int lock_fd;
        bool recorded;
        bool listening;
};

int claim_new(const char *socket_path, struct claim **ret) {
        _cleanup_(claim_free_p) struct claim *claim = calloc(1, sizeof(*claim));
        _cleanup_free_ char *lock_path = NULL;

        if (!claim)
                return -ENOMEM;
        claim->lock_fd = -EBADF;
        claim->socket_path = strdup(socket_path);
        if (!claim->socket_path)
                return -ENOMEM;
        if (asprintf(&claim->state_path, "%s.state", socket_path) < 0) {
                claim->state_path = NULL;
                return -ENOMEM;
        }
        if (asprintf(&lock_path, "%s.lock", socket_path) < 0) {
                lock_path = NULL;
                return -ENOMEM;
        }

        /* The file stays when we go: one who removed it could remove the lock of another. */
        claim->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (claim->lock_fd < 0)
                return -errno;
        if (flock(claim->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? CLAIM_TAKEN : -errno;
        *ret = TAKE_PTR(claim);
        return CLAIM_OK;
}

struct claim *claim_free(struct claim *claim) {
        if (!claim)
                return NULL;
        if (claim->listening)
                (void) unlink(claim->socket_path);
        if (claim->recorded)
                (void) unlink(claim->state_path);
        (void) close_fd(claim->lock_fd);
        free(claim->socket_path);
        free(claim->state_path);
        free(claim);
        return NULL;
}

char *claim_tree_name(const struct uuid *instance, char buffer[static CLAIM_TREE_NAME_MAX]) {
        char id[UUID_TEXT_SIZE];

        (void) snprintf(buffer, CLAIM_TREE_NAME_MAX, CLAIM_TREE_PREFIX "%s", uuid_to_text(instance, id));
        return buffer;
}

static int clear_marked(const struct uuid *instance) {
        usec_t deadline = usec_add(now_usec(CLOCK_MONOTONIC), CLEAR_TIMEOUT_USEC);
        char prefix[UUID_TEXT_SIZE + 1];
        int r;

        uuid_to_text(instance, prefix);
        strcat(prefix, ":");
        while ((r = orphans_kill_everywhere(prefix)) > 0) {
                if (now_usec(CLOCK_MONOTONIC) > deadline)
                        return -ETIMEDOUT;
                (void) usleep(CLEAR_POLL_USEC);
        }
        return r;
}

/* Clears nothing but a subtree that has the name of this very executor. */
static int clear_tree(const struct uuid *instance, const char *path) {
        char name[CLAIM_TREE_NAME_MAX];
        const char *last = strrchr(path, '/');

        if (!last || !streq(last + 1, claim_tree_name(instance, name)))
                return -EBADMSG;
        return cgroup_tree_clear(path, CLEAR_TIMEOUT_USEC);
}

int claim_clear_predecessor(struct claim *claim) {
        _cleanup_free_ char *text = NULL;
        char *instance_text, *path;
        struct uuid instance;
        int r;

        r = read_file(AT_FDCWD, claim->state_path, STATE_MAX, &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;

        /* Two lines: instance, and the path of the cgroup, which may be empty. */
        path = text;
        instance_text = strsep(&path, "\n");
        if (!path || uuid_from_text(instance_text, &instance) < 0)
                return -EBADMSG;
        path = strsep(&path, "\n");
        log_info("The executor before was killed; ending what is left of its jobs.");
        return path[0] == '\0' ? clear_marked(&instance) : clear_tree(&instance, path);
}

int claim_record(struct claim *claim, const struct uuid *instance, const char *cgroup_path) {
        _cleanup_buffer_ struct buffer text = {};
        char id[UUID_TEXT_SIZE];
        int r;

        r = buffer_printf(&text, "%s\n%s\n", uuid_to_text(instance, id), cgroup_path ? cgroup_path : "");
        if (r < 0)
                return r;
        r = write_file_atomic(AT_FDCWD, claim->state_path, text.data, text.size, 0600);
        if (r < 0)
                return r;
        claim->recorded = true;
        return 0;
}

int claim_listen(struct claim *claim, int *ret_fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        size_t size = strlen(claim->socket_path);
        mode_t mask;
        int r;

        if (size > SOCKET_PATH_MAX)
                return -ENAMETOOLONG;
        memcpy(address.sun_path, claim->socket_path, size + 1);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;

        /* We hold the lock, so nobody listens there. */
        if (unlink(claim->socket_path) < 0 && errno != ENOENT)
                return -errno;
        mask = umask(0177);
        r = bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        (void) umask(mask);
        if (r < 0)
                return r;
        claim->listening = true;
        if (listen(fd, LISTEN_BACKLOG) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}
