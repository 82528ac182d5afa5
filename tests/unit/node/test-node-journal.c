/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When what is written about a job, and what is followed from where. */

#include <stdio.h>

#include "journal-world.h"
#include "util/log.h"

#define ID_1 "00010100-0000-0000-0000-000000000000"

static usec_t long_ago(void) {
        return now_usec(CLOCK_REALTIME) - USEC_PER_HOUR;
}

static void test_short_job(void) {
        world_begin();
        world_finished(1, JOB_COMPLETED, "one\n\ntwo");
        ASSERT_EQ(world_expect(1, "one"), LOG_INFO);
        ASSERT_EQ(world_expect(1, "two"), LOG_INFO);
        ASSERT_EQ(world_expect(1, "Job " ID_1 " completed (exit status 0) after 12ms."), LOG_INFO);
        world_finished(1, JOB_FAILED, NULL);
        ASSERT_EQ(world_expect(1, "Job " ID_1 " failed after 12ms: for no known reason."), LOG_NOTICE);
        world_expect_nothing();
        world_end();
}

/* The output is elsewhere, or nobody wants it. */
static void test_switched_off(void) {
        world_begin();
        journal_set_output(world.journal, false);
        world_finished(1, JOB_COMPLETED, "one\n");
        ASSERT_EQ(world_expect(1, "Job " ID_1 " completed (exit status 0) after 12ms."), LOG_INFO);
        ASSERT_OK(log_set_target("null"));
        world_finished(1, JOB_COMPLETED, "one\n");
        ASSERT_OK(log_set_target("auto"));
        log_set_max_level(LOG_NOTICE);
        world_finished(1, JOB_COMPLETED, "one\n");
        world_expect_nothing();
        world_end();
}

static void wait_until_followed(unsigned number) {
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

        while (!world_find_read(number, 1)) {
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                world_turn(100 * USEC_PER_MSEC);
        }
}

static void test_followed(void) {
        usec_t begin;

        world_begin();
        begin = now_usec(CLOCK_MONOTONIC);
        world_started(1, now_usec(CLOCK_REALTIME));
        wait_until_followed(1);
        ASSERT_GE(now_usec(CLOCK_MONOTONIC) - begin, USEC_PER_SEC * 9 / 10);
        ASSERT_EQ(world_expect(1, "Job " ID_1 " has started, and goes on."), LOG_INFO);
        ASSERT_NOT_NULL(world_find_read(1, 2));

        world_answer(1, 1, 0, "one\ntw", false);
        world_expect(1, "one");
        ASSERT_EQ(world.noted[0], 4);
        ASSERT_EQ(world.noted[1], 0);
        ASSERT_EQ(world_find_read(1, 1)->offset, 6);
        world_answer(1, 1, 6, "o\n", false);
        world_expect(1, "two");
        world_answer(1, 2, 0, "error\nmore", true);
        world_expect(1, "error");
        ASSERT_EQ(world.noted[0], 8);
        ASSERT_EQ(world.noted[1], 6);
        ASSERT_NULL(world_find_read(1, 2));

        /* The rest comes from the result. */
        world_finished(1, JOB_COMPLETED, "one\ntwo\nlast\nend");
        ASSERT_NULL(world_find_read(1, 1));
        world_expect(1, "last");
        world_expect(1, "end");
        world_expect(1, "more");
        world_expect(1, "Job " ID_1 " completed (exit status 0) after 12ms.");
        world_expect_nothing();
        world_end();
}

/* The executor did not keep the middle. */
static void test_missed(void) {
        world_begin();
        world_started(1, long_ago());
        wait_until_followed(1);
        world_answer(1, 1, 0, "one\nbegun", false);
        world_answer(1, 1, 5000, "of a line\nlast\n", false);
        world_expect(1, "one");
        world_expect(1, "begun");
        world_expect(1, "of a line");
        world_expect(1, "last");
        ASSERT_EQ(world.noted[0], 5015);
        world_finished(1, JOB_COMPLETED, NULL);
        world_expect(
                1, "Left out 4.8K of the output of job " ID_1
                   "; what is kept of it is in GET /api/v1/jobs/" ID_1 "/stdout and …/stderr.");
        world_expect(1, "Job " ID_1 " completed (exit status 0) after 12ms.");
        world_end();
}

static void restore(unsigned number, uint64_t written, bool ended) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = world_spec(number);
        const struct store_unfinished job = { .spec = spec,
                                              .status = JOB_RUNNING,
                                              .run = world_run(number),
                                              .in_executor = true,
                                              .started_at = long_ago() };
        const struct executor_known_run known = { .run = world_run(number),
                                                  .started = true,
                                                  .started_at = long_ago(),
                                                  .ended = ended,
                                                  .journalled = { written, 0 } };

        journal_restored(world.journal, &job);
        journal_synchronised(world.journal, &known, 1);
}

/* The next process goes on where the last one was, and tells no start again. */
static void test_restored(void) {
        world_begin();
        restore(1, 4, /* ended= */ false);
        wait_until_followed(1);
        ASSERT_EQ(world_find_read(1, 1)->offset, 4);
        world_answer(1, 1, 4, "two\n", false);
        world_expect(1, "two");

        restore(2, 4, /* ended= */ true);
        world_finished(2, JOB_COMPLETED, "one\ntwo\n");
        world_expect(2, "two");
        world_expect(2, "Job 00020100-0000-0000-0000-000000000000 completed (exit status 0) after 12ms.");
        world_expect_nothing();
        world_end();
}

static void
tell_attempt(enum attempt_fate fate, const char *node, struct job_result *result, bool changed, int error) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, RECORD_ATTEMPT);
        record->run = world_run(1);
        record->fate = fate;
        record->result = result ? job_result_ref(result) : NULL;
        record->changed = changed;
        if (node)
                ASSERT_OK(node_name_new(node, &record->node));
        journal_written(world.journal, batch, error);
}

static void test_attempts(void) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        world_begin();
        ASSERT_OK(job_result_new(&result));
        result->started_at = long_ago();
        tell_attempt(ATTEMPT_LOST, "node-b", NULL, true, 0);
        world_expect(
                1, "Attempt 1 of job " ID_1
                   " on node-b was lost, with the node or by it; the job begins again.");
        tell_attempt(ATTEMPT_EXECUTOR_LOST, "node-b", NULL, true, 0);
        world_expect(
                1, "Attempt 1 of job " ID_1 " on node-b was lost with its executor; the job begins again.");
        tell_attempt(ATTEMPT_LATE, "node-b", result, true, 0);
        world_expect(
                1, "Attempt 1 of job " ID_1
                   " on node-b had been given up, and has ended: exit status 0. That changes nothing.");
        ASSERT_NOT_NULL(result->error_message = strdup("exited with status 3"));
        result->exit_code = 3;
        tell_attempt(ATTEMPT_FAILED, "node-b", result, true, 0);
        world_expect(
                1,
                "Attempt 1 of job " ID_1 " on node-b failed: exited with status 3. The job is tried again.");

        /* What was no news to the store, or is not written. */
        tell_attempt(ATTEMPT_LATE, "node-b", result, false, 0);
        tell_attempt(ATTEMPT_LATE, "node-b", result, true, -ENOSPC);
        world_expect_nothing();
        world_end();
}

static void answer_lookup(enum job_status status) {
        char command[] = "make";
        struct stored_job job = { .id = world_run(1).job,
                                  .status = status,
                                  .epoch = 1,
                                  .attempt = 1,
                                  .command = command,
                                  .submitter_uid = (uid_t) -1 };

        ASSERT_TRUE(world.lookup);
        world.lookup(world.lookup_userdata, &(const struct store_answer){ .n_jobs = 1, .jobs = &job });
}

/* An end that was durable before this process began is told once more, with the rest of the output. */
static void test_looked_up(void) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        const struct executor_known_run known = {
                .run = world_run(1), .started = true, .ended = true, .journalled = { 4, 0 }
        };

        world_begin();
        world.unknown = true;
        ASSERT_OK(job_result_new(&result));
        result->run = world_run(1);
        result->finished_at = long_ago();
        ASSERT_NOT_NULL(result->stdout_output.data = strdup("one\ntwo\n"));
        result->stdout_output.size = result->stdout_output.total = 8;
        journal_synchronised(world.journal, &known, 1);
        journal_exited(world.journal, result);
        /* Killed now, the next process would ask again: the executor must not forget it yet. */
        ASSERT_TRUE(journal_holds(world.journal, &result->run));
        ASSERT_EQ(world.n_released, 0);
        answer_lookup(JOB_COMPLETED);
        world_expect(1, "two");
        world_expect(1, "Job " ID_1 " completed (exit status 0).");
        ASSERT_EQ(world.n_released, 1);

        /* One that is to run again. */
        journal_exited(world.journal, result);
        answer_lookup(JOB_PENDING);
        world_expect_nothing();

        /* After a reconnect all of them have been told by this process. */
        world.lookup = NULL;
        journal_synchronised(world.journal, &known, 1);
        journal_exited(world.journal, result);
        ASSERT_TRUE(!world.lookup);

        /* One that is still asked for when all ends. */
        world_end();
}

static void test_disconnected(void) {
        const struct executor_output lost = { .error = -ENOTCONN };
        const struct executor_known_run known = { .run = world_run(1),
                                                  .started = true,
                                                  .journalled = { 0, 0 } };
        struct executor_read *read;

        world_begin();
        world_started(1, long_ago());
        wait_until_followed(1);
        world_answer(1, 1, 0, "one\n", false);
        world_expect(1, "one");
        for (int stream = 1; stream <= 2; stream++) {
                ASSERT_NOT_NULL(read = world_find_read(1, stream));
                read->used = false;
                read->handler(read->userdata, &lost);
        }
        journal_disconnected(world.journal);
        journal_synchronised(world.journal, &known, 1);
        ASSERT_EQ(world_find_read(1, 1)->offset, 4);
        world_end();
}

/* More at once than are followed: the next one's turn comes when one ends. */
static void test_many(void) {
        unsigned n = 0, n_jobs = JOURNAL_FOLLOWED_MAX + 2;

        world_begin();
        for (unsigned i = 1; i <= n_jobs; i++)
                world_started(i, long_ago());
        wait_until_followed(n_jobs);
        for (unsigned i = 1; i <= n_jobs; i++)
                n += world_find_read(i, 1) != NULL;
        ASSERT_EQ(n, JOURNAL_FOLLOWED_MAX);
        ASSERT_NULL(world_find_read(1, 1));
        world_finished(n_jobs, JOB_COMPLETED, NULL);
        ASSERT_NOT_NULL(world_find_read(1, 1));
        ASSERT_NULL(world_find_read(2, 1));
        world_end();
}

/* The executor keeps what waits for the journal, for a while. */
static void test_held(void) {
        const struct run_id run = world_run(1);
        struct journal_message message;
        usec_t deadline = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

        world_begin();
        ASSERT_FALSE(journal_holds(world.journal, &run));
        while (log_queue_size() == 0)
                log_info("fills the journal");
        ASSERT_TRUE(journal_holds(world.journal, &run));
        ASSERT_TRUE(journal_holds(world.journal, &run));
        ASSERT_EQ(world.n_released, 0);
        while (log_queue_size() > 0) {
                while (fake_journal_receive(&world.socket, &message))
                        journal_message_done(&message);
                log_flush();
        }
        while (world.n_released < 2) {
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                world_turn(100 * USEC_PER_MSEC);
        }
        ASSERT_FALSE(journal_holds(world.journal, &run));

        /* Not for ever, and not any number. */
        while (log_queue_size() == 0)
                log_info("fills the journal");
        for (unsigned i = 0; i < JOURNAL_HELD_MAX; i++)
                ASSERT_TRUE(journal_holds(world.journal, &run));
        ASSERT_FALSE(journal_holds(world.journal, &run));
        ASSERT_EQ(world.n_released, 2 + JOURNAL_HELD_MAX);
        ASSERT_TRUE(journal_holds(world.journal, &run));
        while (world.n_released < 3 + JOURNAL_HELD_MAX) {
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                world_turn(100 * USEC_PER_MSEC);
        }
        while (log_queue_size() > 0) {
                while (fake_journal_receive(&world.socket, &message))
                        journal_message_done(&message);
                log_flush();
        }
        world_end();
}

int main(void) {
        RUN(test_short_job);
        RUN(test_switched_off);
        RUN(test_followed);
        RUN(test_missed);
        RUN(test_restored);
        RUN(test_attempts);
        RUN(test_looked_up);
        RUN(test_disconnected);
        RUN(test_many);
        RUN(test_held);
        return 0;
}
