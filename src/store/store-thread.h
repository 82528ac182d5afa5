/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Threads with a small stack and all signals blocked: those belong to the loop. */

#include <pthread.h>

#include "util/macros.h"
#include "util/time.h"

struct store_thread;

/* name: at most 15 characters. */
int store_thread_start(
        const char *name, void *(*function)(void *userdata), void *userdata, struct store_thread **ret);
/* Waits for its end; accepts NULL. */
void store_thread_join(struct store_thread *thread);

/* A condition whose deadlines are CLOCK_MONOTONIC. */
void store_condition_init(pthread_cond_t *condition);
/* USEC_INFINITY: no deadline. May return early. */
void store_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, usec_t deadline);
