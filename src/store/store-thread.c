/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-thread.h"

#include <errno.h>
#include <signal.h>

/* SQLite needs some tens of kilobytes; only what is touched costs memory. */
#define STACK_SIZE (512u * 1024)

struct store_thread {
        pthread_t id;
};

int store_thread_start(
        const char *name, void *(*function)(void *userdata), void *userdata, struct store_thread **ret) {
        _cleanup_free_ struct store_thread *thread = malloc(sizeof(*thread));
        pthread_attr_t attributes;
        sigset_t all, before;
        int r;

        if (!thread)
                return -ENOMEM;
        r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        (void) pthread_attr_setstacksize(&attributes, STACK_SIZE);

        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&thread->id, &attributes, function, userdata);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void) pthread_attr_destroy(&attributes);
        if (r != 0)
                return -r;

        (void) pthread_setname_np(thread->id, name);
        *ret = TAKE_PTR(thread);
        return 0;
}

void store_thread_join(struct store_thread *thread) {
        if (!thread)
                return;
        (void) pthread_join(thread->id, NULL);
        free(thread);
}

void store_condition_init(pthread_cond_t *condition) {
        pthread_condattr_t attributes;

        (void) pthread_condattr_init(&attributes);
        (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void) pthread_cond_init(condition, &attributes);
        (void) pthread_condattr_destroy(&attributes);
}

void store_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, usec_t deadline) {
        if (deadline == USEC_INFINITY)
                (void) pthread_cond_wait(condition, mutex);
        else
                (void) pthread_cond_timedwait(
                        condition, mutex,
                        &(struct timespec){
                                .tv_sec = (time_t) (deadline / USEC_PER_SEC),
                                .tv_nsec = (long) (deadline % USEC_PER_SEC * 1000),
                        });
}
