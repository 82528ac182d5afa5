/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/off-loop.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define STACK_SIZE (256u * 1024)

struct off_loop {
        pthread_t thread;
        bool running;
        int fd; /* becomes readable when the work is over */
        sd_event_source *source;
        int (*work)(void *data);
        void (*done)(void *userdata, int result);
        void *data, *userdata;
        int result;
};

static void *run(void *argument) {
        struct off_loop *off_loop = argument;

        off_loop->result = off_loop->work(off_loop->data);
        (void) eventfd_write(off_loop->fd, 1);
        return NULL;
}

static void join(struct off_loop *off_loop) {
        if (off_loop->running)
                (void) pthread_join(off_loop->thread, NULL);
        off_loop->running = false;
}

static int on_over(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        struct off_loop *off_loop = userdata;

        off_loop->source = sd_event_source_disable_unref(off_loop->source);
        join(off_loop);
        off_loop->done(off_loop->userdata, off_loop->result);
        return 0;
}

/* Signals belong to the loop. */
static int start(struct off_loop *off_loop) {
        sigset_t all, before;
        pthread_attr_t attributes;

        int r = -pthread_attr_init(&attributes);
        if (r < 0)
                return r;
        (void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = -pthread_create(&off_loop->thread, &attributes, run, off_loop);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void) pthread_attr_destroy(&attributes);
        off_loop->running = r >= 0;
        return r;
}

int off_loop_new(
        sd_event *event, int (*work)(void *data), void (*done)(void *userdata, int result), void *data,
        void *userdata, struct off_loop **ret) {
        _cleanup_(off_loop_free_p) struct off_loop *off_loop = calloc(1, sizeof(*off_loop));

        if (!off_loop)
                return -ENOMEM;
        *off_loop = (struct off_loop){ .work = work, .done = done, .data = data, .userdata = userdata };
        off_loop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (off_loop->fd < 0)
                return -errno;
        int r = sd_event_add_io(event, &off_loop->source, off_loop->fd, EPOLLIN, on_over, off_loop);
        if (r >= 0)
                r = start(off_loop);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(off_loop);
        return 0;
}

struct off_loop *off_loop_free(struct off_loop *off_loop) {
        if (!off_loop)
                return NULL;
        join(off_loop);
        sd_event_source_disable_unref(off_loop->source);
        close_fd(off_loop->fd);
        free(off_loop);
        return NULL;
}
