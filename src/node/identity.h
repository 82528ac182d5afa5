/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who this node is: a name made once, and a counter of its starts, in the file "identity" of the state
 * directory. The file also knows which machine it was made on, so that a copied disk image does not go on
 * under the name of the original. */

#include <stdint.h>

#include "util/macros.h"

#define IDENTITY_NODE_ID_SIZE sizeof("node-0123456789abcdef")
#define IDENTITY_MACHINE_SIZE 33 /* 32 hexadecimal digits and the final NUL */

/* Far above what counting starts can reach; a peer that claims more is lying. */
#define IDENTITY_INCARNATION_MAX (UINT64_C(1) << 62)

struct identity {
        char node_id[IDENTITY_NODE_ID_SIZE];
        char machine[IDENTITY_MACHINE_SIZE]; /* empty: made where there was no machine id */
        uint64_t incarnation;                /* of this start; from 1 */
};

enum identity_outcome {
        IDENTITY_LOADED = 0,
        IDENTITY_CREATED = 1,  /* there was none */
        IDENTITY_CLONED = 2,   /* it was made on another machine: a new name; the old database is history */
        IDENTITY_REPLACED = 3, /* it was damaged, and is kept as identity.damaged-<time>: a new name */
};

/* The id of this machine for this program (machine-id(5), hashed, so that the real one is not shown to
 * peers). Empty where there is none. Returns buffer. */
char *identity_machine(char buffer[static IDENTITY_MACHINE_SIZE]);

/* The identity for one start: the incarnation was counted up, and is on disk, before this returns. machine
 * comes from identity_machine(). One of enum identity_outcome, or a negative errno: -EPROTONOSUPPORT is a
 * file of a newer version, which is left alone. Logs what a person should know. */
int identity_load_or_create(int state_fd, const char *machine, struct identity *ret);

/* Goes above an incarnation that somebody has seen for our name, on disk first. -ERANGE: it cannot be true.
 */
int identity_raise_incarnation(int state_fd, struct identity *identity, uint64_t above);
