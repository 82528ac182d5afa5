/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The place of an executor: its socket, the lock beside it that only one process holds, and the file beside
 * it by which a successor finds what a killed executor left behind. */

#include "util/macros.h"
#include "util/uuid.h"

struct claim;

/* Positive outcome of claim_new(). */
enum claim_outcome {
        CLAIM_OK = 0,
        CLAIM_TAKEN = 1, /* another executor lives there */
};

/* Takes the lock; nothing else is touched. */
int claim_new(const char *socket_path, struct claim **ret);
/* Removes what claim_record() and claim_listen() made; returns NULL; accepts NULL. */
struct claim *claim_free(struct claim *claim);
DEFINE_CLEANUP(struct claim *, claim_free)

/* Ends what runs on of a predecessor that was killed. */
int claim_clear_predecessor(struct claim *claim);
/* What a successor has to look for: to be written before the first process. cgroup_path: NULL for none. */
int claim_record(struct claim *claim, const struct uuid *instance, const char *cgroup_path);
/* Replaces a socket that nobody listens on. */
int claim_listen(struct claim *claim, int *ret_fd);

/* The name of the subtree of cgroups of an executor. */
#define CLAIM_TREE_PREFIX "worker-mesh-"
#define CLAIM_TREE_NAME_MAX (sizeof(CLAIM_TREE_PREFIX) + UUID_TEXT_SIZE)
char *claim_tree_name(const struct uuid *instance, char buffer[static CLAIM_TREE_NAME_MAX]);
