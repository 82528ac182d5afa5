/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files of one cgroup that hold the limits of its job. */

#include <stdint.h>

#include "wire/types.h"

/* Writes what differs between the two; 0 in a field is no limit. A negative errno: some of it may be
 * written. */
int leaf_limits_write(int directory_fd, const struct job_limits *old, const struct job_limits *new);

/* How many processes the kernel has ended in it for want of memory, ever. */
int leaf_oom_kills_read(int events_fd, uint64_t *ret);

/* Bytes that are charged to it; files of a job that has ended may be among them. */
int leaf_memory_read(int directory_fd, uint64_t *ret);
