/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What blocks and is rare, in a thread of its own that ends with it: a file that somebody asked to have
 * written, a name that has to be looked up. */

#include <systemd/sd-event.h>

#include "util/macros.h"

struct off_loop;

/* work runs in the thread, and touches nothing but its data; done is told on the loop what it returned, and
 * may free the handle. -ENOMEM, -EAGAIN and the like: neither is called. */
int off_loop_new(
        sd_event *event, int (*work)(void *data), void (*done)(void *userdata, int result), void *data,
        void *userdata, struct off_loop **ret);
/* Waits for the work; done is not called then. Returns NULL; accepts NULL. */
struct off_loop *off_loop_free(struct off_loop *off_loop);
DEFINE_CLEANUP(struct off_loop *, off_loop_free)
