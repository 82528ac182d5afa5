/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Random bytes from getrandom(2), drawn in larger pieces so that an id does not cost a system call. Loop
 * thread only. Fails never: getrandom() with a seeded pool cannot, and before that it waits. */

#include <stddef.h>

void random_bytes(void *buffer, size_t size);
