/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages that the client leaves in the socket for a while. The patience of most tests is longer than any
 * test: what is heard then is heard since something else than the timer asked for it. */

#include <poll.h>

#include "executor/client-internal.h"
#include "fixture.h"

#define FOREVER USEC_PER_HOUR
#define N_JOBS 500

/* A job whose start has been told; what comes after is left alone. */
static struct run_id begin(struct fixture *fixture, const char *command) {
        struct run_id run;

        fixture->patience = FOREVER;
        run = fixture_start(fixture, command);
        fixture_wait(fixture, fixture_has_started(fixture, &run));
        return run;
}

/* Until its end is in the socket; it stays there. */
static void wait_until_said(struct fixture *fixture) {
        struct pollfd entry = { .fd = fixture->client->fd, .events = POLLIN };

        fixture_wait(fixture, poll(&entry, 1, 0) > 0);
        for (unsigned i = 0; i < 3; i++)
                fixture_turn(fixture, now_usec(CLOCK_MONOTONIC));
        ASSERT_EQ(fixture->n_exited, 0);
}

static void test_left_alone_until_somebody_waits(void) {
        _cleanup_fixture_ struct fixture fixture;
        struct run_id run;

        fixture_begin(&fixture, NULL);
        run = begin(&fixture, "exit 3");
        wait_until_said(&fixture);

        executor_client_hurry(fixture.client);
        _cleanup_(job_result_unref_p) struct job_result *result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->exit_code, 3);
        /* Again, without anything to be found. */
        executor_client_hurry(fixture.client);
        executor_client_hurry(fixture.client);
}

static void test_without_patience_at_once(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        fixture_begin(&fixture, NULL);
        result = fixture_run(&fixture, "exit 4");
        ASSERT_EQ(result->exit_code, 4);
}

static void test_kill_is_answered(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id run;

        fixture_begin(&fixture, NULL);
        run = begin(&fixture, "exec sleep 1000");
        /* The mind has none from here on, as long as it waits for this end. */
        fixture.patience = 0;
        ASSERT_OK(executor_client_kill(fixture.client, &run));
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->outcome, RUN_KILLED);
}

static void test_withdrawal_is_answered(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id waiting;

        fixture_begin(&fixture, &(const struct fixture_options){ .slots = 1 });
        (void) begin(&fixture, "exec sleep 1000");
        waiting = fixture_start(&fixture, "true");
        fixture.patience = 0;
        ASSERT_OK(executor_client_withdraw(fixture.client, &waiting));
        result = fixture_result(&fixture, &waiting);
        ASSERT_EQ(result->outcome, RUN_KILLED);
        ASSERT_EQ(result->started_at, 0);
}

struct heard {
        unsigned n;
        size_t size;
        bool ended;
};

static void on_output(void *userdata, const struct executor_output *output) {
        struct heard *heard = userdata;

        ASSERT_EQ(output->error, 0);
        heard->n++;
        heard->size += output->size;
        heard->ended = output->ended;
}

/* Who follows an output is told at once, of every piece, however patient the mind is. */
static void test_reader_is_not_delayed(void) {
        _cleanup_fixture_ struct fixture fixture;
        struct heard heard = {};
        struct run_id run;
        unsigned n_pieces = 0;

        fixture_begin(&fixture, NULL);
        run = begin(&fixture, "for i in 1 2 3 4 5; do echo $i; sleep 0.02; done");
        while (!heard.ended) {
                struct executor_read *read;

                ASSERT_OK(executor_client_read(
                        fixture.client, &run, 1, heard.size, /* wait= */ true, on_output, &heard, &read));
                n_pieces++;
                fixture_wait(&fixture, heard.n == n_pieces);
        }
        ASSERT_EQ(heard.size, strlen("1\n2\n3\n4\n5\n"));
        /* Without a reader the end may wait. */
        executor_client_hurry(fixture.client);
        job_result_unref(fixture_result(&fixture, &run));
}

/* What the executor said last is read before its death counts. */
static void test_death_of_the_executor(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id run;

        fixture_begin(&fixture, NULL);
        run = begin(&fixture, "exit 5");
        wait_until_said(&fixture);
        fixture_kill_executor(&fixture);
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->exit_code, 5);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        ASSERT_FALSE(executor_client_is_synchronised(fixture.client));

        /* The next one is heard as ever. */
        fixture.patience = 0;
        fixture_start_executor(&fixture);
        fixture_wait(&fixture, executor_client_is_synchronised(fixture.client));
        job_result_unref(fixture_run(&fixture, "true"));
}

/* The client goes, and what was not read is told to the next one. */
static void test_end_of_the_client(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id run;

        fixture_begin(&fixture, NULL);
        run = begin(&fixture, "exit 6");
        wait_until_said(&fixture);
        fixture_disconnect(&fixture);
        fixture.patience = 0;
        fixture_connect(&fixture);
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->exit_code, 6);
}

/* With the patience of a real mind: all of them, in order, and each start before its end. */
static void test_order(void) {
        _cleanup_fixture_ struct fixture fixture;
        static struct run_id runs[N_JOBS];

        fixture_begin(&fixture, NULL);
        fixture.patience = 4 * USEC_PER_MSEC;
        for (size_t i = 0; i < N_JOBS; i++)
                runs[i] = fixture_start(&fixture, "true");
        while (fixture.n_exited < N_JOBS) {
                fixture_turn(&fixture, now_usec(CLOCK_MONOTONIC) + USEC_PER_SEC);
                ASSERT_LE(fixture.n_exited, fixture.n_started);
        }
        ASSERT_EQ(fixture.n_started, N_JOBS);
        for (size_t i = 0; i < N_JOBS; i++) {
                ASSERT_TRUE(run_id_equal(&fixture.started[i], &runs[i]));
                ASSERT_TRUE(fixture_has_started(&fixture, &fixture.results[i]->run));
                ASSERT_EQ(fixture.results[i]->exit_code, 0);
        }
        /* When nothing comes any more the loop sleeps. */
        fixture_wait(&fixture, sd_event_run(fixture.event, 40 * USEC_PER_MSEC) == 0);
}

int main(void) {
        RUN(test_left_alone_until_somebody_waits);
        RUN(test_without_patience_at_once);
        RUN(test_kill_is_answered);
        RUN(test_withdrawal_is_answered);
        RUN(test_reader_is_not_delayed);
        RUN(test_death_of_the_executor);
        RUN(test_end_of_the_client);
        RUN(test_order);
        return 0;
}
