/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The executor's own subtree of the unified cgroup hierarchy, and the leaves in it: one for each job that
 * runs, proven empty before the next job gets it. Making a cgroup for every job would cost far more than
 * keeping them. */

#include <stdbool.h>
#include <sys/types.h>

#include "util/list.h"
#include "util/macros.h"
#include "util/time.h"
#include "wire/types.h"

struct cgroup_tree;

struct cgroup_leaf {
        struct cgroup_tree *tree;
        struct list_link link; /* while it is free */
        unsigned number;
        bool killed; /* not to be used again */
        int directory_fd;
        int events_fd;
        int processes_fd;
        int memory_events_fd;     /* -EBADF: no memory controller */
        uint64_t oom_kills;       /* that were counted there before */
        struct job_limits limits; /* that are in force */
};

/* Where a subtree of this name would be: below the cgroup that the process is in. -ENOENT: no unified
 * hierarchy. */
int cgroup_tree_path(const char *name, char **ret_path);

/* Creates it. A negative errno where that is not possible or a process cannot be started in it. */
int cgroup_tree_new(const char *path, struct cgroup_tree **ret);
/* A folder that is there; goes when it is freed. */
int cgroup_tree_adopt(const char *path, struct cgroup_tree **ret);
/* Bits of enum limit_kind: the controllers that its leaves have. */
void cgroup_tree_set_enforceable(struct cgroup_tree *tree, unsigned kinds);
const char *cgroup_tree_name(const struct cgroup_tree *tree); /* its path */
/* Removes what is empty; returns NULL; accepts NULL. */
struct cgroup_tree *cgroup_tree_free(struct cgroup_tree *tree);
DEFINE_CLEANUP(struct cgroup_tree *, cgroup_tree_free)

/* Makes it again where somebody has removed it; its limits have to be enabled again, too. */
int cgroup_tree_renew(struct cgroup_tree *tree);
/* Free leaves are not what they were. */
void cgroup_tree_drop_free(struct cgroup_tree *tree);

/* A free leaf, or a new one, with these limits in force, all of them enforceable. */
/* -ENOENT: the tree is gone. */
int cgroup_tree_take(struct cgroup_tree *tree, const struct job_limits *limits, struct cgroup_leaf **ret);
/* Back into the pool, if that has fewer than keep and nothing speaks against it; the leaf must be empty. */
void cgroup_leaf_give_back(struct cgroup_leaf *leaf, unsigned keep);
/* For one that is broken: removes what there is of it. */
struct cgroup_leaf *cgroup_leaf_discard(struct cgroup_leaf *leaf);

/* 1: processes are in it or below it. 0: none. */
int cgroup_leaf_is_populated(const struct cgroup_leaf *leaf);
/* Whether the kernel has ended processes of the leaf for want of memory, since it was made or asked last. */
bool cgroup_leaf_take_oom(struct cgroup_leaf *leaf);
/* Sends a signal to each process; those that begin meanwhile may be missed. */
int cgroup_leaf_signal(const struct cgroup_leaf *leaf, int signal);
/* SIGKILL to all, those that begin meanwhile included. The leaf is not used for another job: Linux (seen
 * with 6.18) counts the kills of a cgroup, compares with the count of where the new process comes from, and
 * kills every process that is cloned into a cgroup that was killed once. */
int cgroup_leaf_kill(struct cgroup_leaf *leaf);

/* Removes the subtrees of the same folder whose names are prefix and a UUID, that belong to no living
 * executor and are empty. */
void cgroup_tree_remove_stale(const char *path, const char *prefix);

/* Kills all that is left in a subtree of a process that is gone, and removes it; waits at most timeout. */
int cgroup_tree_clear(const char *path, usec_t timeout);
