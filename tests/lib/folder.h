/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A folder below $TMPDIR that is gone, with all in it, when the variable goes out of scope. */

struct folder {
        char path[128];
        int fd;
};

void folder_make(struct folder *folder);
void folder_remove(struct folder *folder);
#define _cleanup_folder_ __attribute__((__cleanup__(folder_remove)))

/* Writes a file; the folders of its name are made. */
void folder_write(const struct folder *folder, const char *name, const char *text);
