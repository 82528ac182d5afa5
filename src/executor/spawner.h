/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Starts "/bin/sh -c command" as a session of its own, without copying the address space of the executor and
 * without waiting for it. Called by a process with one thread, which has no handler for a signal (signalfd
 * is none) and ignores none. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/macros.h"

struct job_user;
struct spawner;
struct spawn_place;

/* Has no signal ignored any more, and raises the limit of descriptors for the executor itself; what it
 * starts gets the old limit back. */
int spawner_new(struct spawner **ret);
struct spawner *spawner_free(struct spawner *spawner); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct spawner *, spawner_free)

/* What is started becomes this user, without any capability, and fails where it cannot. Borrowed; NULL:
 * stays who we are. */
void spawner_set_user(struct spawner *spawner, const struct job_user *user);

struct spawn_request {
        const char *command;
        const char *cwd; /* NULL: home, or the root folder where there is no home */
        const char *home;
        char *const *environment;
        int stdin_fd, stdout_fd, stderr_fd; /* all above 2 */
        int cgroup_fd;                      /* negative: stay in the executor's */
};

/* What could not be done. */
enum spawn_step {
        SPAWN_CLONE,
        SPAWN_SESSION,
        SPAWN_STDIO,
        SPAWN_CGROUP, /* by whoever asks for the process */
        SPAWN_LIMITS,
        SPAWN_USER,
        SPAWN_CHDIR,
        SPAWN_EXEC,
        _SPAWN_STEP_MAX,
};
const char *spawn_step_to_text(enum spawn_step step);

struct spawned {
        pid_t pid;
        int pidfd;
        struct spawn_place *place; /* where it was before it became the program; may serve another by now */
        uint64_t number;
};

/* Returns as soon as there is a process. Its strings, home and environment have to stay until
 * spawned_has_left(); the descriptors may be closed at once. A negative errno: there is no process. */
int spawner_start(struct spawner *spawner, const struct spawn_request *request, struct spawned *ret);

/* It has become the program, or has been killed before: it needs nothing more of the request. */
bool spawned_has_left(const struct spawned *spawned);

/* Of a process that has been reaped: 0, or a negative errno where it never became the program. To be asked
 * once of each. */
int spawned_result(const struct spawned *spawned, enum spawn_step *ret_step);
