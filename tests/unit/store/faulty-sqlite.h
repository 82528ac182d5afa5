/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SQLite on a file system and a memory that fail on request: the n-th call from now, and as many after it as
 * are asked for. All threads count together. */

#include <stdbool.h>
#include <stdint.h>

enum faulty_what {
        FAULTY_WRITE, /* writing, and growing the shared memory: the disk is full */
        FAULTY_SYNC,  /* fsync() fails */
        FAULTY_READ,
        FAULTY_OPEN, /* of a file */
        FAULTY_MEMORY,
        _FAULTY_MAX,
};

/* Before SQLite is used for the first time. */
void faulty_sqlite_install(void);

/* call: how many go well before it. n_calls: how many then fail. */
void faulty_sqlite_arm(enum faulty_what what, unsigned call, unsigned n_calls);
/* Back to normal. Whether one has failed. */
bool faulty_sqlite_disarm(void);
