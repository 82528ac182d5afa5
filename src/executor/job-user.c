/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "executor/job-user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define GROUPS_MAX 1024

static int find_groups(struct job_user *user) {
        int n = GROUPS_MAX;

        user->groups = calloc(GROUPS_MAX, sizeof(*user->groups));
        if (!user->groups)
                return -ENOMEM;
        if (getgrouplist(user->name, user->gid, user->groups, &n) < 0)
                return -E2BIG;
        user->n_groups = (size_t) n;
        return 0;
}

static bool may_drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

        return syscall(SYS_capget, &header, data) >= 0 &&
               (data[CAP_TO_INDEX(CAP_SETPCAP)].effective & CAP_TO_MASK(CAP_SETPCAP)) != 0;
}

static void find_capabilities(struct job_user *user) {
        if (!may_drop_capabilities())
                return;
        for (unsigned i = 0; i < JOB_USER_CAPABILITIES_MAX; i++)
                if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) > 0)
                        user->capabilities[user->n_capabilities++] = i;
}

static const char *or_root(const char *folder) {
        return folder && folder[0] == '/' ? folder : "/";
}

int job_user_new(const char *name, struct job_user **ret) {
        _cleanup_(job_user_free_p) struct job_user *user = calloc(1, sizeof(*user));
        const struct passwd *entry;
        int r;

        if (!user)
                return -ENOMEM;
        errno = 0;
        entry = getpwnam(name);
        if (!entry)
                return errno > 0 && errno != ENOENT ? -errno : -ESRCH;
        if (entry->pw_uid == 0)
                return -EPERM;
        user->uid = entry->pw_uid;
        user->gid = entry->pw_gid;
        user->name = strdup(entry->pw_name);
        user->home = strdup(or_root(entry->pw_dir));
        if (!user->name || !user->home)
                return -ENOMEM;
        r = find_groups(user);
        if (r < 0)
                return r;
        find_capabilities(user);
        *ret = TAKE_PTR(user);
        return 0;
}

struct job_user *job_user_free(struct job_user *user) {
        if (!user)
                return NULL;
        free(user->name);
        free(user->home);
        free(user->groups);
        free(user);
        return NULL;
}
