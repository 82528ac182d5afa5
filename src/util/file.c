/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "util/macros.h"

#define READ_SIZE_MIN 4096

/* Reads until the end of the file; one byte above the limit is enough to know that it is too large. */
static int read_all(int fd, size_t limit, char **ret_data, size_t *ret_size) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (S_ISREG(st.st_mode) && (uint64_t) st.st_size > limit)
                return -EFBIG;

        _cleanup_free_ char *data = NULL;
        size_t size = 0, allocated = 0;
        /* The size that a file of proc(5) claims is 0. */
        size_t expected = S_ISREG(st.st_mode) ? (size_t) st.st_size : 0;
        for (;;) {
                if (size == allocated) {
                        size_t next = allocated > 0 ? allocated * 2 : MAX(expected, (size_t) READ_SIZE_MIN);
                        next = MIN(next, limit) + 1;
                        char *longer = realloc(data, next + 1);
                        if (!longer)
                                return -ENOMEM;
                        data = longer;
                        allocated = next;
                }

                ssize_t n = read(fd, data + size, allocated - size);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                size += (size_t) n;
                if (size > limit)
                        return -EFBIG;
        }

        data[size] = '\0';
        *ret_data = TAKE_PTR(data);
        if (ret_size)
                *ret_size = size;
        return 0;
}

int read_file(int dir_fd, const char *path, size_t limit, char **ret_data, size_t *ret_size) {
        assert(limit < SIZE_MAX / 4);

        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        return read_all(fd, limit, ret_data, ret_size);
}

static int write_all(int fd, const void *data, size_t size) {
        const char *position = data;

        while (size > 0) {
                ssize_t n = write(fd, position, size);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                position += n;
                size -= (size_t) n;
        }
        return 0;
}

/* Opens the folder that path lies in; name is the last part of path. */
static int open_parent(int dir_fd, const char *path, const char **ret_name) {
        _cleanup_free_ char *parent = NULL;
        const char *slash = strrchr(path, '/');

        *ret_name = slash ? slash + 1 : path;
        if (**ret_name == '\0')
                return -EISDIR;
        if (slash) {
                /* The slash of "/name" belongs to the folder. */
                parent = strndup(path, MAX((size_t) (slash - path), (size_t) 1));
                if (!parent)
                        return -ENOMEM;
        }

        int fd = openat(dir_fd, parent ?: ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int write_beside(int dir_fd, const char *name, const void *data, size_t size, mode_t mode) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;

        int r = write_all(fd, data, size);
        if (r < 0)
                return r;
        /* Exactly this mode, whatever the umask. */
        if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

/* Gives what was written its name. link(2) fails where there is one already, rename(2) takes its place. */
static int give_name(int dir_fd, const char *temporary, const char *name, bool replace) {
        int n = replace ? renameat(dir_fd, temporary, dir_fd, name)
                        : linkat(dir_fd, temporary, dir_fd, name, 0);
        int r = n < 0 ? -errno : 0;

        if (r < 0 || !replace)
                (void) unlinkat(dir_fd, temporary, 0);
        return r;
}

static int
write_whole(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, bool replace) {
        char temporary[NAME_MAX + 1];
        uint64_t random;
        const char *name;

        _cleanup_close_ int parent_fd = open_parent(dir_fd, path, &name);
        if (parent_fd < 0)
                return parent_fd;

        /* Not from random_bytes(): this runs on any thread, and rarely. */
        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return -EIO;
        int length = snprintf(temporary, sizeof(temporary), ".%s.%016" PRIx64, name, random);
        if (length < 0 || (size_t) length >= sizeof(temporary))
                return -ENAMETOOLONG;

        int r = write_beside(parent_fd, temporary, data, size, mode);
        if (r < 0)
                (void) unlinkat(parent_fd, temporary, 0);
        else
                r = give_name(parent_fd, temporary, name, replace);
        if (r < 0)
                return r;
        return fsync(parent_fd) < 0 ? -errno : 0;
}

int write_file_atomic(int dir_fd, const char *path, const void *data, size_t size, mode_t mode) {
        return write_whole(dir_fd, path, data, size, mode, /* replace= */ true);
}

int write_file_new(int dir_fd, const char *path, const void *data, size_t size, mode_t mode) {
        return write_whole(dir_fd, path, data, size, mode, /* replace= */ false);
}

static int make_directory(const char *path, mode_t mode) {
        struct stat st;

        if (mkdir(path, mode) >= 0)
                return 0;
        if (errno != EEXIST) {
                /* On a read-only file system, or without permission on the parent, it may well be there
                 * already. */
                int error = errno;
                return stat(path, &st) >= 0 && S_ISDIR(st.st_mode) ? 0 : -error;
        }
        if (stat(path, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int make_directories(const char *path, mode_t mode) {
        _cleanup_free_ char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        if (*copy == '\0')
                return -ENOENT;

        for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                int r = make_directory(copy, mode);
                if (r < 0)
                        return r;
                *slash = '/';
        }
        return make_directory(copy, mode);
}
