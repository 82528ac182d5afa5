/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Without cgroups: what a job leaves behind. The executor is the subreaper, so a process whose parents have
 * died becomes its child; whose job it was is told by a marker in its environment, which it inherits. One
 * that scrubs its environment is found only when no job runs any more. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ORPHAN_MARKER "WORKER_MESH_EXECUTOR"

/* Asks whether a child of ours is the main process of a run, which somebody else waits for. */
typedef bool (*orphan_is_main_t)(void *userdata, pid_t pid);

int orphans_become_subreaper(void);

/* Reaps all children that have ended and are no main process. */
void orphans_reap(orphan_is_main_t is_main, void *userdata);

/* Sends SIGKILL to the children that carry the marker, or to all that are no main process where marker is
 * NULL, and reaps them. The number of those that were still there: only 0 is proof that none is left. Or a
 * negative errno. */
int orphans_kill(const char *marker, orphan_is_main_t is_main, void *userdata);

/* Sends SIGKILL to every process, child or not, whose marker begins with prefix. The number of them. */
int orphans_kill_everywhere(const char *prefix);
