/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/controllers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "util/file.h"
#include "util/log.h"

#define LIST_MAX (64u * 1024)

/* In the order of the kinds of limits. */
static const char *const controllers[LIMIT_KINDS] = { "memory", "cpu", "pids" };

bool cgroup_is_delegated(const char *path) {
        /* The first can be read by everybody; kernels before 5.7 have the second only. */
        static const char *const names[] = { "user.delegate", "trusted.delegate" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                char value = '\0';

                if (getxattr(path, names[i], &value, sizeof(value)) == 1)
                        return value == '1';
        }
        return false;
}

static int open_folder(const char *path) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* Which of the controllers are among the words of a file; bits in the order above. */
static unsigned words_read(int folder_fd, const char *name, const char *separators) {
        _cleanup_free_ char *text = NULL;
        unsigned found = 0;
        char *saved = NULL;

        if (read_file(folder_fd, name, LIST_MAX, &text, NULL) < 0)
                return 0;
        for (char *word = strtok_r(text, separators, &saved); word;
             word = strtok_r(NULL, separators, &saved))
                for (size_t i = 0; i < LIMIT_KINDS; i++)
                        if (streq(word, controllers[i]))
                                found |= 1u << i;
        return found;
}

static unsigned available(int folder_fd) {
        return words_read(folder_fd, "cgroup.controllers", " \n");
}

/* "4:cpu,cpuacct:/path": a controller that a hierarchy of version 1 has taken. */
static unsigned taken_by_v1(const char *list) {
        return words_read(AT_FDCWD, list, ":,\n");
}

static int write_enabled(int folder_fd, unsigned kinds) {
        _cleanup_close_ int fd = openat(folder_fd, "cgroup.subtree_control", O_WRONLY | O_TRUNC | O_CLOEXEC);
        char text[64] = "";
        size_t size = 0;

        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < LIMIT_KINDS; i++)
                if (kinds & 1u << i)
                        size += (size_t) snprintf(
                                text + size, sizeof(text) - size, "%s+%s", size > 0 ? " " : "",
                                controllers[i]);
        return size > 0 && write(fd, text, size) < 0 ? -errno : 0;
}

/* Together, or, since one that is refused takes the others with it, each by itself. */
static void enable(int folder_fd, unsigned kinds, int errors[static LIMIT_KINDS]) {
        int r = write_enabled(folder_fd, kinds);

        for (size_t i = 0; i < LIMIT_KINDS; i++)
                if (kinds & 1u << i)
                        errors[i] = r < 0 ? write_enabled(folder_fd, 1u << i) : 0;
}

static int move_to_supervisor(int own_fd) {
        _cleanup_close_ int fd = -EBADF;

        if (mkdirat(own_fd, SUPERVISOR_NAME, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(own_fd, SUPERVISOR_NAME "/cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        /* 0 stands for whoever writes it. */
        return write(fd, "0", 1) < 0 ? -errno : 0;
}

/* The subtree has not got it: the first reason on its way from above. */
static enum limit_obstacle
obstacle_above(const struct controllers_place *place, bool in_own, bool in_v1, int error) {
        if (!in_own)
                return in_v1 ? OBSTACLE_V1 : OBSTACLE_ABSENT;
        if (!place->delegated)
                return OBSTACLE_NOT_DELEGATED;
        return error == -EBUSY ? OBSTACLE_BUSY : OBSTACLE_REFUSED;
}

void controllers_enable(const struct controllers_place *place, struct limit_support *ret) {
        int own_errors[LIMIT_KINDS] = {}, tree_errors[LIMIT_KINDS] = {}, r;
        _cleanup_close_ int own_fd = open_folder(place->own_path), tree_fd = open_folder(place->tree_path);
        unsigned in_own = own_fd < 0 ? 0 : available(own_fd), in_tree, in_v1 = taken_by_v1(place->v1_list);

        if (place->delegated && own_fd >= 0) {
                r = move_to_supervisor(own_fd);
                if (r < 0)
                        log_warning_errno(r, "Cannot move to %s/" SUPERVISOR_NAME ": %m", place->own_path);
                enable(own_fd, in_own, own_errors);
        }
        in_tree = tree_fd < 0 ? 0 : available(tree_fd);
        if (tree_fd >= 0)
                enable(tree_fd, in_tree, tree_errors);

        for (size_t i = 0; i < LIMIT_KINDS; i++) {
                unsigned bit = 1u << i;

                if (!(in_tree & bit))
                        ret->obstacles[i] = obstacle_above(place, in_own & bit, in_v1 & bit, own_errors[i]);
                else
                        ret->obstacles[i] = tree_errors[i] == 0 ? OBSTACLE_NONE : OBSTACLE_REFUSED;
        }
}
