/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* As whom jobs run, where that is another user than the executor's. */

#include <stddef.h>
#include <sys/types.h>

#include "util/macros.h"

#define JOB_USER_CAPABILITIES_MAX 64u

struct job_user {
        char *name, *home;
        uid_t uid;
        gid_t gid;
        gid_t *groups; /* supplementary ones, gid included */
        size_t n_groups;
        /* What the executor's bounding set has, and a job's is not to have. Only a process with CAP_SETPCAP
         * can drop them; without it the list is empty. */
        unsigned capabilities[JOB_USER_CAPABILITIES_MAX];
        size_t n_capabilities;
};

/* -ESRCH: there is no such user. -EPERM: it is root. */
int job_user_new(const char *name, struct job_user **ret);
struct job_user *job_user_free(struct job_user *user); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct job_user *, job_user_free)
