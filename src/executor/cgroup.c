/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "executor/leaf-limits.h"
#include "util/file.h"
#include "util/parse.h"
#include "util/uuid.h"

#define MOUNTINFO_MAX (1024u * 1024)
#define CGROUP_FILE_MAX (64u * 1024)
#define PROCESSES_MAX (1024u * 1024) /* bytes of cgroup.procs */
#define DEPTH_MAX 16u                /* of groups that a job made below its leaf */
#define SEARCH_MAX 16u               /* leaves to look at for one with the right limits */
#define LEFT_SHARE 16u               /* of a job's memory, the part that may be taken already */
#define CLEAR_POLL_USEC (2 * USEC_PER_MSEC)

struct cgroup_tree {
        char *path;
        int fd;
        int parent_processes_fd;
        struct list free;
        unsigned n_free;
        unsigned n_made;
        unsigned enforceable;
};

/* One line of /proc/self/mountinfo: root (4th field) and mount point (5th) where the file system is cgroup2.
 */
static bool mount_line_parse(char *line, char **ret_root, char **ret_point) {
        char *type = strstr(line, " - cgroup2 "), *saved = NULL, *field = NULL;

        if (!type)
                return false;
        for (unsigned i = 1; i <= 5; i++) {
                field = strtok_r(i == 1 ? line : NULL, " ", &saved);
                if (!field)
                        return false;
                if (i == 4)
                        *ret_root = field;
        }
        *ret_point = field;
        return true;
}

/* Our own path in the unified hierarchy, from the line "0::/path" of /proc/self/cgroup. */
static int own_cgroup(char **ret) {
        _cleanup_free_ char *text = NULL;
        char *saved = NULL;
        int r;

        r = read_file(AT_FDCWD, "/proc/self/cgroup", CGROUP_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;
        for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
                if (strncmp(line, "0::/", 4) == 0) {
                        *ret = strdup(line + 3);
                        return *ret ? 0 : -ENOMEM;
                }
        return -ENOENT;
}

int cgroup_tree_path(const char *name, char **ret_path) {
        _cleanup_free_ char *mounts = NULL, *own = NULL;
        char *saved = NULL, *root, *point;
        int r;

        r = own_cgroup(&own);
        if (r < 0)
                return r;
        r = read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &mounts, NULL);
        if (r < 0)
                return r;
        for (char *line = strtok_r(mounts, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
                const char *below = own;
                size_t root_size;

                if (!mount_line_parse(line, &root, &point))
                        continue;
                /* In a container the mount may show only a part of the hierarchy. */
                root_size = streq(root, "/") ? 0 : strlen(root);
                if (strncmp(own, root, root_size) == 0 && (own[root_size] == '/' || own[root_size] == '\0'))
                        below += root_size;
                if (asprintf(ret_path, "%s%s/%s", point, streq(below, "/") ? "" : below, name) < 0)
                        return -ENOMEM;
                return 0;
        }
        return -ENOENT;
}

static int tree_open(const char *path, int *ret_fd, int *ret_parent_processes_fd) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        /* As long as we live it is ours, empty or not. */
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return -errno;
        /* At every clone3() the kernel looks at the mode of two files: cgroup.procs of the new group and of
         * the one above both. Open, they need not be made anew in its memory each time, which costs some
         * microseconds. */
        *ret_parent_processes_fd = openat(fd, "../cgroup.procs", O_PATH | O_CLOEXEC);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int cgroup_tree_adopt(const char *path, struct cgroup_tree **ret) {
        _cleanup_(cgroup_tree_free_p) struct cgroup_tree *tree = calloc(1, sizeof(*tree));
        int r;

        if (!tree)
                return -ENOMEM;
        tree->fd = tree->parent_processes_fd = -EBADF;
        list_init(&tree->free);
        tree->path = strdup(path);
        if (!tree->path)
                return -ENOMEM;
        r = tree_open(path, &tree->fd, &tree->parent_processes_fd);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(tree);
        return 0;
}

int cgroup_tree_new(const char *path, struct cgroup_tree **ret) {
        int r;

        if (mkdir(path, 0755) < 0)
                return -errno;
        r = cgroup_tree_adopt(path, ret);
        if (r < 0)
                (void) rmdir(path);
        return r;
}

const char *cgroup_tree_name(const struct cgroup_tree *tree) {
        return tree->path;
}

void cgroup_tree_set_enforceable(struct cgroup_tree *tree, unsigned kinds) {
        tree->enforceable = kinds;
}

static void leaf_name(unsigned number, char buffer[static 32]) {
        (void) snprintf(buffer, 32, "job-%u", number);
}

static int leaf_new(struct cgroup_tree *tree, struct cgroup_leaf **ret) {
        struct cgroup_leaf *leaf = calloc(1, sizeof(*leaf));
        char name[32];
        int r;

        if (!leaf)
                return -ENOMEM;
        *leaf = (struct cgroup_leaf){
                .tree = tree,
                .number = tree->n_made++,
                .directory_fd = -EBADF,
                .events_fd = -EBADF,
                .processes_fd = -EBADF,
                .memory_events_fd = -EBADF,
        };
        leaf_name(leaf->number, name);
        r = mkdirat(tree->fd, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
        if (r == 0) {
                leaf->directory_fd = openat(tree->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = leaf->directory_fd < 0 ? -errno : 0;
        }
        if (r == 0) {
                leaf->events_fd = openat(leaf->directory_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
                r = leaf->events_fd < 0 ? -errno : 0;
        }
        if (r == 0 && (tree->enforceable & LIMIT_MEMORY)) {
                leaf->memory_events_fd = openat(leaf->directory_fd, "memory.events", O_RDONLY | O_CLOEXEC);
                r = leaf->memory_events_fd < 0 ? -errno : 0;
                (void) cgroup_leaf_take_oom(leaf);
        }
        if (r < 0) {
                (void) cgroup_leaf_discard(leaf);
                return r;
        }
        leaf->processes_fd = openat(leaf->directory_fd, "cgroup.procs", O_PATH | O_CLOEXEC);
        *ret = leaf;
        return 0;
}

static struct cgroup_leaf *leaf_unlink(struct cgroup_leaf *leaf) {
        list_remove(&leaf->link);
        leaf->tree->n_free--;
        return leaf;
}

int cgroup_tree_renew(struct cgroup_tree *tree) {
        int fd = -EBADF, parent_processes_fd = -EBADF, r;

        if (mkdir(tree->path, 0755) < 0 && errno != EEXIST)
                return -errno;
        r = tree_open(tree->path, &fd, &parent_processes_fd);
        if (r < 0)
                return r;
        (void) close_fd(tree->fd);
        (void) close_fd(tree->parent_processes_fd);
        tree->fd = fd;
        tree->parent_processes_fd = parent_processes_fd;
        return 0;
}

void cgroup_tree_drop_free(struct cgroup_tree *tree) {
        struct cgroup_leaf *leaf;

        while ((leaf = LIST_FIRST(&tree->free, struct cgroup_leaf, link)))
                (void) cgroup_leaf_discard(leaf_unlink(leaf));
}

/* Among the leaves with limits, which come last: one with the very same ones; else one that can be changed.
 * Memory may be charged to a leaf whose job has ended (files in memory, caches): only one that had the same
 * limit was checked for that, and lowering the limit of another would make the kernel search and us wait. */
static struct cgroup_leaf *take_limited(struct cgroup_tree *tree, const struct job_limits *limits) {
        struct list_link *link = tree->free.root.prev;

        for (unsigned i = 0; i < SEARCH_MAX && link != &tree->free.root; i++, link = link->prev) {
                struct cgroup_leaf *leaf = CONTAINER_OF(link, struct cgroup_leaf, link);

                if (job_limits_equal(&leaf->limits, limits))
                        return leaf_unlink(leaf);
        }
        if (limits->memory_max > 0 || list_is_empty(&tree->free))
                return NULL;
        return leaf_unlink(CONTAINER_OF(tree->free.root.prev, struct cgroup_leaf, link));
}

/* Those without limits come first. */
static struct cgroup_leaf *take_unlimited(struct cgroup_tree *tree) {
        struct cgroup_leaf *leaf = LIST_FIRST(&tree->free, struct cgroup_leaf, link);

        return leaf ? leaf_unlink(leaf) : NULL;
}

int cgroup_tree_take(struct cgroup_tree *tree, const struct job_limits *limits, struct cgroup_leaf **ret) {
        struct cgroup_leaf *leaf =
                job_limits_kinds(limits) == 0 ? take_unlimited(tree) : take_limited(tree, limits);
        int r = 0;

        if (!leaf)
                r = leaf_new(tree, &leaf);
        if (r < 0)
                return r;
        if (!job_limits_equal(&leaf->limits, limits)) {
                r = leaf_limits_write(leaf->directory_fd, &leaf->limits, limits);
                if (r < 0) {
                        (void) cgroup_leaf_discard(leaf);
                        return r;
                }
                leaf->limits = *limits;
        }
        *ret = leaf;
        return 0;
}

/* Through a descriptor of its own. */
static DIR *directory_open(int fd) {
        int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory;

        if (copy < 0)
                return NULL;
        directory = fdopendir(copy);
        if (!directory)
                (void) close_fd(copy);
        return directory;
}

/* Removes the groups below, deepest first; busy ones stay. */
static void remove_below(int fd, unsigned depth) {
        DIR *directory = directory_open(fd);
        struct dirent *entry;

        if (!directory)
                return;
        while ((entry = readdir(directory))) {
                _cleanup_close_ int child = -EBADF;

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child >= 0 && depth < DEPTH_MAX)
                        remove_below(child, depth + 1);
                (void) unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
        (void) closedir(directory);
}

struct cgroup_leaf *cgroup_leaf_discard(struct cgroup_leaf *leaf) {
        char name[32];

        if (!leaf)
                return NULL;
        if (list_is_linked(&leaf->link)) {
                list_remove(&leaf->link);
                leaf->tree->n_free--;
        }
        if (leaf->directory_fd >= 0)
                remove_below(leaf->directory_fd, 0);
        (void) close_fd(leaf->directory_fd);
        (void) close_fd(leaf->events_fd);
        (void) close_fd(leaf->processes_fd);
        (void) close_fd(leaf->memory_events_fd);
        leaf_name(leaf->number, name);
        (void) unlinkat(leaf->tree->fd, name, AT_REMOVEDIR);
        free(leaf);
        return NULL;
}

struct cgroup_tree *cgroup_tree_free(struct cgroup_tree *tree) {
        if (!tree)
                return NULL;
        cgroup_tree_drop_free(tree);
        if (tree->fd >= 0)
                remove_below(tree->fd, 0);
        (void) close_fd(tree->fd);
        (void) close_fd(tree->parent_processes_fd);
        if (tree->path)
                (void) rmdir(tree->path);
        free(tree->path);
        free(tree);
        return NULL;
}

/* cgroup.events has a line "name 0" or "name 1". */
static int events_read(int events_fd, const char *name) {
        char text[128];
        const char *found;
        ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        found = strstr(text, name);
        return found ? found[strlen(name)] == '1' : -EBADMSG;
}

static int events_are_populated(int events_fd) {
        return events_read(events_fd, "populated ");
}

/* A job may have frozen it, or made groups below it (a directory has two links, and one for each of these):
 * the next job must find neither. */
static bool leaf_is_as_made(const struct cgroup_leaf *leaf) {
        struct stat status;

        return !leaf->killed && events_read(leaf->events_fd, "frozen ") <= 0 &&
               fstat(leaf->directory_fd, &status) == 0 && status.st_nlink <= 2;
}

/* What is left of a job, files in memory for the most part, is taken from what the next one may have. */
static bool leaf_memory_is_free(const struct cgroup_leaf *leaf) {
        uint64_t memory;

        return leaf->limits.memory_max == 0 || (leaf_memory_read(leaf->directory_fd, &memory) >= 0 &&
                                                memory <= leaf->limits.memory_max / LEFT_SHARE);
}

void cgroup_leaf_give_back(struct cgroup_leaf *leaf, unsigned keep) {
        struct cgroup_tree *tree = leaf->tree;

        if (tree->n_free >= keep || !leaf_is_as_made(leaf) || !leaf_memory_is_free(leaf)) {
                (void) cgroup_leaf_discard(leaf);
                return;
        }
        /* The last one first: it is still in the processor's cache. Those with limits are behind those
         * without, and the last one last. */
        if (job_limits_kinds(&leaf->limits) == 0)
                list_prepend(&tree->free, &leaf->link);
        else
                list_append(&tree->free, &leaf->link);
        tree->n_free++;
}

int cgroup_leaf_is_populated(const struct cgroup_leaf *leaf) {
        return events_are_populated(leaf->events_fd);
}

bool cgroup_leaf_take_oom(struct cgroup_leaf *leaf) {
        uint64_t before = leaf->oom_kills;

        if (leaf->memory_events_fd < 0 || leaf_oom_kills_read(leaf->memory_events_fd, &leaf->oom_kills) < 0)
                return false;
        return leaf->oom_kills > before;
}

static int write_text(int directory_fd, const char *name, const char *text) {
        _cleanup_close_ int fd = openat(directory_fd, name, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* Signals the processes of one group, and those of the groups below it. */
static int signal_below(int directory_fd, int signal, unsigned depth) {
        _cleanup_free_ char *text = NULL;
        char *saved = NULL;
        int r;
        DIR *directory;
        struct dirent *entry;

        r = read_file(directory_fd, "cgroup.procs", PROCESSES_MAX, &text, NULL);
        if (r < 0)
                return r;
        for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
                unsigned pid;

                /* 0 stands for a process outside of our pid namespace, and would mean ourselves to kill().
                 */
                if (parse_unsigned(line, 1, INT32_MAX, &pid) >= 0)
                        (void) kill((pid_t) pid, signal);
        }

        directory = directory_open(directory_fd);
        if (!directory)
                return -errno;
        while (depth < DEPTH_MAX && (entry = readdir(directory))) {
                _cleanup_close_ int child = -EBADF;

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                child = openat(directory_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (child >= 0)
                        (void) signal_below(child, signal, depth + 1);
        }
        (void) closedir(directory);
        return 0;
}

int cgroup_leaf_signal(const struct cgroup_leaf *leaf, int signal) {
        return signal_below(leaf->directory_fd, signal, 0);
}

/* Before Linux 5.14 there is no cgroup.kill: frozen, no process can have children that the list does not
 * show. SIGKILL reaches frozen processes. */
static int kill_frozen(int directory_fd) {
        int r, q;

        r = write_text(directory_fd, "cgroup.freeze", "1");
        if (r < 0)
                return r;
        r = signal_below(directory_fd, SIGKILL, 0);
        q = write_text(directory_fd, "cgroup.freeze", "0");
        return r < 0 ? r : q;
}

static int kill_group(int directory_fd) {
        int r = write_text(directory_fd, "cgroup.kill", "1");

        return r == -ENOENT ? kill_frozen(directory_fd) : r;
}

int cgroup_leaf_kill(struct cgroup_leaf *leaf) {
        leaf->killed = true;
        return kill_group(leaf->directory_fd);
}

int cgroup_tree_clear(const char *path, usec_t timeout) {
        _cleanup_close_ int fd = -EBADF, events_fd = -EBADF;
        usec_t deadline = usec_add(now_usec(CLOCK_MONOTONIC), timeout);
        int r;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        events_fd = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
        if (events_fd < 0)
                return -errno;

        while ((r = events_are_populated(events_fd)) > 0) {
                r = kill_group(fd);
                if (r < 0)
                        return r;
                if (now_usec(CLOCK_MONOTONIC) > deadline)
                        return -ETIMEDOUT;
                (void) usleep(CLEAR_POLL_USEC);
        }
        if (r < 0)
                return r;
        remove_below(fd, 0);
        return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

static bool tree_is_stale(int fd) {
        _cleanup_close_ int events_fd = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);

        /* Of a living executor it is locked. */
        return events_fd >= 0 && events_are_populated(events_fd) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* Behind the prefix there is an instance: what others give a similar name is theirs. */
static bool is_name_of_tree(const char *name, const char *prefix) {
        struct uuid instance;

        return strncmp(name, prefix, strlen(prefix)) == 0 &&
               uuid_from_text(name + strlen(prefix), &instance) >= 0;
}

void cgroup_tree_remove_stale(const char *path, const char *prefix) {
        _cleanup_free_ char *folder = strndup(path, (size_t) (strrchr(path, '/') - path));
        DIR *directory = folder ? opendir(folder) : NULL;
        struct dirent *entry;

        if (!directory)
                return;
        while ((entry = readdir(directory))) {
                _cleanup_close_ int fd = -EBADF;

                if (!is_name_of_tree(entry->d_name, prefix))
                        continue;
                fd = openat(
                        dirfd(directory), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0 || !tree_is_stale(fd))
                        continue;
                remove_below(fd, 0);
                (void) unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
        }
        (void) closedir(directory);
}
