/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The controllers of the unified hierarchy that limits need, made to reach the executor's subtree. */

#include <stdbool.h>

#include "wire/job-limits.h"

/* Where the executor itself goes: a group with processes of its own may not hand controllers down. */
#define SUPERVISOR_NAME "supervisor"

struct controllers_place {
        const char *own_path;  /* the cgroup that the executor was started in */
        const char *tree_path; /* its subtree, below that; without processes */
        bool delegated;        /* own_path is ours to arrange; else it is not touched */
        const char *v1_list;   /* "/proc/self/cgroup" */
};

/* Whether the service manager says so. */
bool cgroup_is_delegated(const char *path);

/* What can be had for the leaves of the subtree, and why not the rest. Where own_path is delegated, this
 * process moves to its supervisor leaf. */
void controllers_enable(const struct controllers_place *place, struct limit_support *ret);
