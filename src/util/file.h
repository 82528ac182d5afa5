/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small files and folders, relative to a directory descriptor (AT_FDCWD for the current one). */

#include <stddef.h>
#include <sys/types.h>

/* The whole file, NUL-terminated. -EFBIG above limit bytes. ret_size may be NULL. Caller frees. */
int read_file(int dir_fd, const char *path, size_t limit, char **ret_data, size_t *ret_size);

/* Writes beside, fsyncs, renames over, fsyncs the folder: afterwards either the old or the new content is
 * there. */
int write_file_atomic(int dir_fd, const char *path, const void *data, size_t size, mode_t mode);

/* Likewise, but -EEXIST where it is there already: of several at once one wins, and nobody sees half of it.
 */
int write_file_new(int dir_fd, const char *path, const void *data, size_t size, mode_t mode);

/* mkdir -p; existing parts are left alone, new ones get mode. */
int make_directories(const char *path, mode_t mode);
