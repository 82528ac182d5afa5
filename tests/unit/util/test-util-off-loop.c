/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>

#include "lib/tests.h"
#include "util/off-loop.h"

static sd_event *event;

struct task {
        struct off_loop *off_loop;
        pthread_t thread;
        int answer, result;
        unsigned n_worked, n_done;
};

static int work(void *data) {
        struct task *task = data;

        task->thread = pthread_self();
        task->n_worked++;
        return task->answer;
}

static void done(void *userdata, int result) {
        struct task *task = userdata;

        task->n_done++;
        task->result = result;
        task->off_loop = off_loop_free(task->off_loop);
}

static void test_work(void) {
        for (int answer = -2; answer <= 2; answer++) {
                struct task task = { .answer = answer };

                ASSERT_OK(off_loop_new(event, work, done, &task, &task, &task.off_loop));
                while (task.n_done == 0)
                        ASSERT_OK(sd_event_run(event, 1000000));
                ASSERT_EQ(task.result, answer);
                ASSERT_EQ(task.n_worked, 1);
                ASSERT_FALSE(pthread_equal(task.thread, pthread_self()));
                ASSERT_NULL(task.off_loop);
        }
}

/* Who gives it up waits for the work, and is told nothing. */
static void test_given_up(void) {
        struct task task = {};

        ASSERT_OK(off_loop_new(event, work, done, &task, &task, &task.off_loop));
        off_loop_free(task.off_loop);
        ASSERT_EQ(task.n_worked, 1);
        ASSERT_OK(sd_event_run(event, 1000));
        ASSERT_EQ(task.n_done, 0);
        ASSERT_NULL(off_loop_free(NULL));
}

int main(void) {
        ASSERT_OK(sd_event_new(&event));
        RUN(test_work);
        RUN(test_given_up);
        sd_event_unref(event);
        return 0;
}
