/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reads the whole file once, after an unclean stop, and says whether it is sound. This takes seconds for a
 * large history and cannot be divided, so it has a thread of its own, of the lowest priority, which ends
 * with the check. */

#include "util/macros.h"

struct store_check;

/* wake_fd: an eventfd, written when the check is over. */
int store_check_start(const char *path, int wake_fd, struct store_check **ret);
/* Ends it, finished or not. Returns NULL; accepts NULL. */
struct store_check *store_check_stop(struct store_check *check);
DEFINE_CLEANUP(struct store_check *, store_check_stop)

/* Any time. 0: still at it. 1: the file is sound. -EUCLEAN: it is damaged. Else: it could not be checked. */
int store_check_outcome(const struct store_check *check);
