/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "util/file.h"
#include "util/macros.h"
#include "util/parse.h"

#define STAT_MAX 4096u
#define ENVIRONMENT_MAX (1024u * 1024)
#define CHILDREN_MAX (1024u * 1024)
#define CHILDREN_READINGS_MAX 8u

int orphans_become_subreaper(void) {
        return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : 0;
}

void orphans_reap(orphan_is_main_t is_main, void *userdata) {
        siginfo_t info = {};

        /* A main process that has ended hides what ended after it; when it has been reaped we are called
         * again. */
        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
                if (is_main(userdata, info.si_pid))
                        return;
                (void) waitid(P_PID, (id_t) info.si_pid, &info, WEXITED | WNOHANG);
                info.si_pid = 0;
        }
}

/* State and parent from /proc/PID/stat. The name before them may hold any character, so the last ')' counts.
 */
static int state_and_parent_of(int process_fd, char *ret_state, pid_t *ret_parent) {
        _cleanup_free_ char *text = NULL;
        const char *after;
        int parent, r;

        r = read_file(process_fd, "stat", STAT_MAX, &text, NULL);
        if (r < 0)
                return r;
        after = strrchr(text, ')');
        if (!after || sscanf(after + 1, " %c %d", ret_state, &parent) != 2)
                return -EBADMSG;
        *ret_parent = parent;
        return 0;
}

/* Its environment has NAME=value of the marker; value may be the beginning only. */
static bool has_marker(int process_fd, const char *value, bool prefix) {
        _cleanup_free_ char *text = NULL;
        size_t size, name_size = strlen(ORPHAN_MARKER "="), value_size = strlen(value);

        if (read_file(process_fd, "environ", ENVIRONMENT_MAX, &text, &size) < 0)
                return false;
        for (const char *entry = text; entry < text + size; entry += strlen(entry) + 1) {
                if (strncmp(entry, ORPHAN_MARKER "=", name_size) != 0)
                        continue;
                return prefix ? strncmp(entry + name_size, value, value_size) == 0
                              : streq(entry + name_size, value);
        }
        return false;
}

/* Calls function for every process. The number of times that it returned true, or a negative errno. */
static int processes_count(bool (*function)(void *userdata, pid_t pid, int process_fd), void *userdata) {
        DIR *directory = opendir("/proc");
        struct dirent *entry;
        int n = 0;

        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                _cleanup_close_ int fd = -EBADF;
                unsigned pid;

                if (parse_unsigned(entry->d_name, 1, INT32_MAX, &pid) < 0)
                        continue;
                fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0 && function(userdata, (pid_t) pid, fd))
                        n++;
        }
        (void) closedir(directory);
        return n;
}

/* What the kernel lists as our children. While one of them exits the list may leave out another, so two
 * readings have to agree. NULL where the kernel has no such list (CONFIG_PROC_CHILDREN), or where it never
 * stands still. */
static char *read_children(void) {
        _cleanup_free_ char *before = NULL;
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int) gettid());
        for (unsigned i = 0; i < CHILDREN_READINGS_MAX; i++) {
                _cleanup_free_ char *now = NULL;

                if (read_file(AT_FDCWD, path, CHILDREN_MAX, &now, NULL) < 0)
                        return NULL;
                if (before && streq(before, now))
                        return TAKE_PTR(now);
                free(before);
                before = TAKE_PTR(now);
        }
        return NULL;
}

/* As processes_count(), but of our children alone, without a look at every process of the machine for each
 * job. */
static int children_count(bool (*function)(void *userdata, pid_t pid, int process_fd), void *userdata) {
        _cleanup_free_ char *children = read_children();
        char *rest = children, *word;
        int n = 0;

        if (!children)
                return processes_count(function, userdata);
        while ((word = strsep(&rest, " "))) {
                _cleanup_close_ int fd = -EBADF;
                char path[32];
                unsigned pid;

                if (parse_unsigned(word, 1, INT32_MAX, &pid) < 0)
                        continue;
                (void) snprintf(path, sizeof(path), "/proc/%u", pid);
                fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0 && function(userdata, (pid_t) pid, fd))
                        n++;
        }
        return n;
}

struct children_search {
        const char *marker;
        orphan_is_main_t is_main;
        void *userdata;
        pid_t self;
};

/* True where something was there: its own children, which may have been passed already, are ours only now,
 * so all has to be looked at once more. */
static bool kill_child(void *userdata, pid_t pid, int process_fd) {
        const struct children_search *search = userdata;
        siginfo_t info;
        pid_t parent;
        char state;

        if (state_and_parent_of(process_fd, &state, &parent) < 0 || parent != search->self)
                return false;
        if (search->is_main(search->userdata, pid))
                return false;
        /* It has no environment any more, so it may be anybody's. */
        if (state != 'Z') {
                if (search->marker && !has_marker(process_fd, search->marker, /* prefix= */ false))
                        return false;
                (void) kill(pid, SIGKILL);
        }
        (void) waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG);
        return true;
}

int orphans_kill(const char *marker, orphan_is_main_t is_main, void *userdata) {
        struct children_search search = {
                .marker = marker, .is_main = is_main, .userdata = userdata, .self = getpid()
        };

        return children_count(kill_child, &search);
}

static bool kill_marked(void *userdata, pid_t pid, int process_fd) {
        if (pid == getpid() || !has_marker(process_fd, userdata, /* prefix= */ true))
                return false;
        return kill(pid, SIGKILL) == 0;
}

int orphans_kill_everywhere(const char *prefix) {
        return processes_count(kill_marked, (void *) prefix);
}
