/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node/state-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>

#include "util/macros.h"
#include "util/parse.h"

/* The pid in the file, or 0: the holder may not have written it yet. */
static pid_t read_holder(int fd) {
        char text[32];
        unsigned pid;

        ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
        if (size <= 0)
                return 0;
        text[size] = '\0';
        text[strcspn(text, "\n")] = '\0';
        return parse_unsigned(text, 1, INT_MAX, &pid) < 0 ? 0 : (pid_t) pid;
}

static int write_holder(int fd) {
        char text[32];

        int size = snprintf(text, sizeof(text), "%d\n", (int) getpid());
        if (ftruncate(fd, 0) < 0)
                return -errno;
        ssize_t n = pwrite(fd, text, (size_t) size, 0);
        if (n < 0)
                return -errno;
        return n == size ? 0 : -EIO;
}

int state_lock(int state_fd, pid_t *ret_holder) {
        _cleanup_close_ int fd =
                openat(state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return -errno;

        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return -errno;
                *ret_holder = read_holder(fd);
                return -EBUSY;
        }

        /* On a full disk the pid is missing; the lock holds all the same. */
        (void) write_holder(fd);
        return TAKE_FD(fd);
}
