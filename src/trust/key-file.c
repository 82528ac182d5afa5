/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "trust/key-file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util/file.h"

#define FILE_MODE 0600

_printf_(3, 4) static int tell(char **ret_problem, int error, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        int n = vasprintf(ret_problem, format, arguments);
        va_end(arguments);
        if (n < 0) {
                *ret_problem = NULL;
                return -ENOMEM;
        }
        return error;
}

/* As ssh(1) does with its keys: what others can read is no secret, and what others can write is not ours. */
static int check_owner(const char *path, int fd, char **ret_problem) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return tell(ret_problem, -EBADMSG, "The key file %s is not a regular file.", path);
        if ((st.st_mode & 077) != 0)
                return tell(
                        ret_problem, -EPERM,
                        "The key file %s may be used by others (mode %04o): who reads it can run jobs on "
                        "every "
                        "node. Set mode 0600; if somebody may have read it, change the key.",
                        path, (unsigned) (st.st_mode & 07777));
        if (st.st_uid != 0 && st.st_uid != geteuid())
                return tell(
                        ret_problem, -EPERM, "The key file %s belongs to another user (uid %u).", path,
                        (unsigned) st.st_uid);
        return 0;
}

/* A byte more than there may be. */
static ssize_t read_text(int fd, char text[static MESH_KEYS_TEXT_MAX]) {
        size_t size = 0;
        ssize_t n;

        do {
                n = read(fd, text + size, MESH_KEYS_TEXT_MAX - size);
                size += n > 0 ? (size_t) n : 0;
        } while ((n > 0 && size < MESH_KEYS_TEXT_MAX) || (n < 0 && errno == EINTR));
        return n < 0 ? -errno : (ssize_t) size;
}

int key_file_read(const char *path, enum key_file_kind kind, struct mesh_keys *ret, char **ret_problem) {
        struct mesh_keys_problem problem = {};
        char text[MESH_KEYS_TEXT_MAX];
        int r = 0;

        *ret = (struct mesh_keys){};
        *ret_problem = NULL;
        /* Not waiting for whoever writes into a pipe. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (kind == KEY_FILE_OWN)
                r = check_owner(path, fd, ret_problem);
        if (r < 0)
                return r;
        ssize_t size = read_text(fd, text);
        r = size < 0 ? (int) size : mesh_keys_parse(text, (size_t) size, ret, &problem);
        explicit_bzero(text, sizeof(text));
        if (r == -EBADMSG && problem.line > 0)
                return tell(ret_problem, r, "%s:%u: %s.", path, problem.line, problem.text);
        if (r == -EBADMSG && problem.text)
                return tell(ret_problem, r, "%s is no key file: %s.", path, problem.text);
        return r;
}

static int write_keys(
        const char *path, const struct mesh_keys *keys,
        int (*write)(int dir_fd, const char *path, const void *data, size_t size, mode_t mode)) {
        char text[MESH_KEYS_TEXT_MAX];

        mesh_keys_format(keys, text);
        int r = write(AT_FDCWD, path, text, strlen(text), FILE_MODE);
        explicit_bzero(text, sizeof(text));
        return r;
}

int key_file_read_or_make(const char *path, struct mesh_keys *ret, bool *ret_made, char **ret_problem) {
        _cleanup_mesh_keys_ struct mesh_keys keys = {};
        int r;

        *ret_made = false;
        r = key_file_read(path, KEY_FILE_OWN, ret, ret_problem);
        if (r != -ENOENT)
                return r;
        r = mesh_keys_make(&keys);
        if (r >= 0)
                r = write_keys(path, &keys, write_file_new);
        if (r < 0 && r != -EEXIST)
                return r;
        *ret_made = r >= 0;
        return key_file_read(path, KEY_FILE_OWN, ret, ret_problem);
}

int key_file_replace(const char *path, const struct mesh_keys *keys) {
        return write_keys(path, keys, write_file_atomic);
}
