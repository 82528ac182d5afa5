/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/tests.h"

extern char **environ;

static void write_text(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        ASSERT_GE(fd, 0);
        ASSERT_EQ(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

/* Root in the new namespace, so that ip(8) keeps its capabilities when it is executed. */
static void become_root(uid_t uid, gid_t gid) {
        char map[64];

        write_text("/proc/self/setgroups", "deny");
        snprintf(map, sizeof(map), "0 %u 1", uid);
        write_text("/proc/self/uid_map", map);
        snprintf(map, sizeof(map), "0 %u 1", gid);
        write_text("/proc/self/gid_map", map);
}

bool network_enter_private(void) {
        uid_t uid = geteuid();
        gid_t gid = getegid();

        if (unshare(CLONE_NEWNET) >= 0)
                return true;
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
                return false;
        become_root(uid, gid);
        return true;
}

void network_child_fork(int (*function)(void), struct network_child *ret) {
        int ready[2], start[2];
        char byte = 0;

        ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
        ASSERT_EQ(pipe2(start, O_CLOEXEC), 0);
        pid_t pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(start[1]);
                if (unshare(CLONE_NEWNET) < 0 || write(ready[1], &byte, 1) != 1 ||
                    read(start[0], &byte, 1) != 1)
                        _exit(EXIT_FAILURE);
                _exit(function());
        }
        close(ready[1]);
        close(start[0]);
        ASSERT_EQ(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        *ret = (struct network_child){ .pid = pid, .start_fd = start[1] };
}

void network_child_start(struct network_child *child) {
        ASSERT_EQ(write(child->start_fd, "", 1), 1);
}

int network_child_wait(struct network_child *child) {
        int status;

        close(child->start_fd);
        ASSERT_EQ(waitpid(child->pid, &status, 0), child->pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void network_set_up(const char *interface, bool up) {
        struct ifreq request = { 0 };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ASSERT_GE(fd, 0);
        strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
        ASSERT_EQ(ioctl(fd, SIOCGIFFLAGS, &request), 0);
        request.ifr_flags = (short) (up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
        ASSERT_EQ(ioctl(fd, SIOCSIFFLAGS, &request), 0);
        close(fd);
}

bool network_ip(const char *format, ...) {
        char line[256] = "ip ", *arguments[32] = { NULL };
        size_t prefix = strlen(line);
        size_t n = 0;
        va_list values;
        pid_t pid;
        int status;

        va_start(values, format);
        vsnprintf(line + prefix, sizeof(line) - prefix, format, values);
        va_end(values);
        for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
                ASSERT_LT(n, 31);
                arguments[n++] = word;
        }

        if (posix_spawnp(&pid, "ip", NULL, NULL, arguments, environ) != 0)
                return false;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
