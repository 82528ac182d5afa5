/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One daemon at a time in a state directory: a lock on the file "lock" there, which goes with the process
 * that holds it, however that ends. The file holds the pid, for messages. */

#include <sys/types.h>

/* The descriptor that holds the lock until it is closed. -EBUSY: another process has it; ret_holder is then
 * its pid, or 0 where it cannot be read. */
int state_lock(int state_fd, pid_t *ret_holder);
