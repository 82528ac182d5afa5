/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Network namespaces for tests, so that no port is taken and nothing leaves the machine. Include as
 * "lib/network.h". */

#include <stdbool.h>
#include <sys/types.h>

/* Moves this process into a network namespace of its own with nothing but a loopback that is down; as
 * another user than root into a user namespace as well. False: not allowed here. */
bool network_enter_private(void);

/* A child that waits in a private namespace of its own: runs function there, once told to go by the parent
 * with network_child_start(), and exits with what it returns. Aborts where it is not allowed. */
struct network_child {
        pid_t pid;
        int start_fd;
};
void network_child_fork(int (*function)(void), struct network_child *ret);
void network_child_start(struct network_child *child);
int network_child_wait(struct network_child *child); /* exit status; -1: by a signal */

void network_set_up(const char *interface, bool up);

/* Runs ip(8) with the arguments, separated by single spaces. False: it failed, or is not installed. */
bool network_ip(const char *format, ...) __attribute__((__format__(printf, 1, 2)));
