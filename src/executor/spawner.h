/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Starts "/bin/sh -c command" as a session of its own, without copying the address space of the executor.
 * Called by a process with one thread, which blocks all the signals that it handles and ignores none. */

#include <sys/types.h>

#include "util/macros.h"

struct spawner;

/* Has no signal ignored any more, and raises the limit of descriptors for the executor itself; what
 * it starts gets the old limit back. */
int spawner_new(struct spawner **ret);
struct spawner *spawner_free(struct spawner *spawner); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct spawner *, spawner_free)

struct spawn_request {
        const char *command;
        const char *cwd; /* NULL: home, or the root folder where there is no home */
        const char *home;
        char *const *environment;
        int stdin_fd, stdout_fd, stderr_fd; /* all above 2 */
        int cgroup_fd;                      /* negative: stay in the executor's */
};

/* What could not be done, where spawner_start() fails. */
enum spawn_step {
        SPAWN_CLONE,
        SPAWN_SESSION,
        SPAWN_STDIO,
        SPAWN_LIMITS,
        SPAWN_CHDIR,
        SPAWN_EXEC,
        _SPAWN_STEP_MAX,
};
const char *spawn_step_to_text(enum spawn_step step);

/* Returns when the program runs, or when it is certain that it never will. */
int spawner_start(
        struct spawner *spawner, const struct spawn_request *request, pid_t *ret_pid, int *ret_pidfd,
        enum spawn_step *ret_step);
