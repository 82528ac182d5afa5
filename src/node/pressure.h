/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How much tasks of this machine wait for CPU, memory and disk, as the kernel says (PSI). */

#include "util/macros.h"
#include "wire/message.h"

enum {
        PRESSURE_CPU,
        PRESSURE_MEMORY,
        PRESSURE_IO,
        _PRESSURE_FILES,
};

/* The files stay open: reading one is a call that waits for nothing. */
struct pressure_files {
        int fds[_PRESSURE_FILES]; /* -EBADF: the kernel has none */
};

#define PRESSURE_FILES_NONE ((struct pressure_files){ .fds = { -EBADF, -EBADF, -EBADF } })

/* folder: "/proc/pressure". */
void pressure_open(const char *folder, struct pressure_files *ret);
void pressure_close(struct pressure_files *files);

/* Not known unless all three are. */
void pressure_read(const struct pressure_files *files, struct node_pressure *ret);
