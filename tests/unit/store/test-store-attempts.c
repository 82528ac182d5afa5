/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Attempts that did not decide their job, as they are written, as a reader sees them, and as they go. */

#include "fixture.h"
#include "store/store-schema.h"

#define LOST_NODE "node-0000000000000b0b"

static struct job_spec *open_with_job(struct fixture *f) {
        struct job_spec *spec = spec_make(1);

        fixture_init(f);
        ASSERT_OK(fixture_open(f));
        ASSERT_OK(write_and_wait(f, batch_accept(job_spec_ref(spec))));
        return spec;
}

/* Of attempt number attempt of the job; takes the result. */
static struct record_batch *
batch_attempt(struct job_spec *spec, uint32_t attempt, enum attempt_fate fate, struct job_result *result) {
        struct record_batch *batch = batch_of(RECORD_ATTEMPT, job_spec_ref(spec), attempt);
        struct record *record = &batch->records[0];

        ASSERT_OK(node_name_new(LOST_NODE, &record->node));
        record->fate = fate;
        record->result = result;
        record->started_at = result ? result->started_at : 0;
        return batch;
}

static struct job_result *result_of(struct job_spec *spec, uint32_t attempt, int exit_code) {
        return result_make(
                &(struct run_id){ .job = spec->id, .epoch = 1, .attempt = attempt }, exit_code, "out", 3);
}

static void write_attempt(
        struct fixture *f, struct job_spec *spec, uint32_t attempt, enum attempt_fate fate,
        struct job_result *result) {
        ASSERT_OK(write_and_wait(f, batch_attempt(spec, attempt, fate, result)));
}

static void requeue(struct fixture *f, struct job_spec *spec, uint32_t attempt) {
        ASSERT_OK(write_and_wait(f, batch_of(RECORD_REQUEUED, job_spec_ref(spec), attempt)));
}

static void test_lost_then_late(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f);
        struct job_result *late = result_of(spec, 1, 3);
        struct record_batch *batch = batch_attempt(spec, 1, ATTEMPT_LOST, NULL);
        const struct stored_attempt *attempt;

        batch->records[0].started_at = 1700000000123456;
        requeue(&f, spec, 1);
        ASSERT_OK(write_and_wait(&f, batch));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->n_attempts, 1);
        attempt = &f.answer.jobs->attempts[0];
        ASSERT_EQ(attempt->epoch, 1);
        ASSERT_EQ(attempt->attempt, 1);
        ASSERT_STREQ(attempt->node_id, LOST_NODE);
        ASSERT_EQ(attempt->fate, ATTEMPT_LOST);
        ASSERT_EQ(attempt->started_at, 1700000000123456);
        ASSERT_EQ(attempt->finished_at, 0);
        ASSERT_FALSE(attempt->has_exit_code);
        ASSERT_EQ(attempt->signal, 0);
        ASSERT_NULL(attempt->error_message);

        /* The job ends by its second one; what is told of the first is added, once. */
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_of(spec, 2, 0))));
        late->error_message = strdup("exited with status 3");
        write_attempt(&f, spec, 1, ATTEMPT_LATE, job_result_ref(late));
        write_attempt(&f, spec, 1, ATTEMPT_LATE, result_of(spec, 1, 4));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->status, JOB_COMPLETED);
        ASSERT_EQ(f.answer.jobs->exit_code, 0);
        ASSERT_EQ(f.answer.jobs->attempt, 2);
        ASSERT_EQ(f.answer.jobs->n_attempts, 1);
        attempt = &f.answer.jobs->attempts[0];
        ASSERT_EQ(attempt->fate, ATTEMPT_LOST);
        ASSERT_EQ(attempt->started_at, late->started_at);
        ASSERT_EQ(attempt->finished_at, late->finished_at);
        ASSERT_TRUE(attempt->has_exit_code);
        ASSERT_EQ(attempt->exit_code, 3);
        ASSERT_STREQ(attempt->error_message, "exited with status 3");

        /* Only who asks for one job as a whole gets them. */
        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.jobs->n_attempts, 0);
        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.jobs->n_attempts, 0);
        job_result_unref(late);
        job_spec_unref(spec);
}

/* The end that decided may be told again; it is no earlier attempt. One that was given up is, also when the
 * job ended without another. */
static void test_the_deciding_one_is_none(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f), *lost = spec_make(2), *unknown = spec_make(3);
        struct record_batch *batch;

        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_of(spec, 2, 0))));
        write_attempt(&f, spec, 2, ATTEMPT_LATE, result_of(spec, 2, 0));
        write_attempt(&f, spec, 3, ATTEMPT_LATE, result_of(spec, 3, 0));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM attempts"), 0);
        write_attempt(&f, spec, 1, ATTEMPT_LATE, result_of(spec, 1, 0));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->attempts[0].fate, ATTEMPT_LATE);

        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(lost))));
        batch = batch_of(RECORD_FINISHED, job_spec_ref(lost), 1);
        batch->records[0].status = JOB_FAILED;
        batch->records[0].error_message = "node lost";
        ASSERT_OK(write_and_wait(&f, batch));
        write_attempt(&f, lost, 1, ATTEMPT_LATE, result_of(lost, 1, 0));
        ask_job(&f, 2, true);
        ASSERT_EQ(f.answer.jobs->status, JOB_FAILED);
        ASSERT_EQ(f.answer.jobs->n_attempts, 1);
        ASSERT_EQ(f.answer.jobs->attempts[0].exit_code, 0);

        /* Of a job that is not there any more nothing is kept, and nothing goes wrong. */
        batch = batch_attempt(unknown, 1, ATTEMPT_LATE, result_of(unknown, 1, 0));
        batch->records[0].spec = job_spec_unref(batch->records[0].spec);
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM attempts"), 2);
        job_spec_unref(spec);
        job_spec_unref(lost);
        job_spec_unref(unknown);
}

static void test_only_so_many_are_kept(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f);
        const struct stored_job *job;

        for (uint32_t i = 1; i <= ATTEMPTS_KEPT_MAX + 5; i++) {
                struct record_batch *batch = batch_of(RECORD_REQUEUED, job_spec_ref(spec), i);
                struct record *record = record_batch_add(batch, RECORD_ATTEMPT);

                record->spec = job_spec_ref(spec);
                record->run = batch->records[0].run;
                record->fate = ATTEMPT_FAILED;
                record->result = result_of(spec, i, 7);
                ASSERT_OK(write_and_wait(&f, batch));
        }
        ask_job(&f, 1, true);
        job = f.answer.jobs;
        ASSERT_EQ(job->n_attempts, ATTEMPTS_KEPT_MAX);
        for (size_t i = 0; i < job->n_attempts; i++) {
                ASSERT_EQ(job->attempts[i].attempt, i + 6);
                ASSERT_STREQ(job->attempts[i].node_id, NODE_ID);
                ASSERT_EQ(job->attempts[i].fate, ATTEMPT_FAILED);
        }
        job_spec_unref(spec);
}

static void test_records_that_no_row_can_hold(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f);
        struct record_batch *batch = batch_attempt(spec, 1, ATTEMPT_LATE, result_of(spec, 1, 0));

        batch->records[0].run.epoch = UINT64_MAX;
        ASSERT_ERROR(write_and_wait(&f, batch), EINVAL);
        ASSERT_ERROR(write_and_wait(&f, batch_attempt(spec, 1, ATTEMPT_LATE, NULL)), EINVAL);
        ASSERT_ERROR(write_and_wait(&f, batch_attempt(spec, 1, ATTEMPT_NEVER_BEGAN, NULL)), EINVAL);
        ASSERT_EQ(f.health, 0);
        job_spec_unref(spec);
}

/* A row that a foreign hand has spoilt is left out; the job and the other rows are not. */
static void test_rows_that_cannot_be_believed(void) {
        static const char *const spoilt[] = {
                "outcome = 'never_began'",
                "outcome = 'gone'",
                "node_id = ''",
                "node_id = '../..'",
                "exit_code = -1",
                "signal = 99999999999",
                "epoch = -4",
                "attempt = 5000000000",
                "started_at = 'soon'",
                "finished_at = 'tomorrow'",
        };
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f);

        requeue(&f, spec, 3);
        for (size_t i = 0; i < ELEMENTSOF(spoilt); i++) {
                char statement[256];

                sql(&f, "DELETE FROM attempts");
                write_attempt(&f, spec, 1, ATTEMPT_LOST, NULL);
                write_attempt(&f, spec, 2, ATTEMPT_FAILED, result_of(spec, 2, 1));
                snprintf(
                        statement, sizeof(statement), "UPDATE attempts SET %s WHERE attempt = 1", spoilt[i]);
                sql(&f, statement);
                ask_job(&f, 1, true);
                ASSERT_EQ(f.answer.n_jobs, 1);
                ASSERT_EQ(f.answer.jobs->n_attempts, 1);
                ASSERT_EQ(f.answer.jobs->attempts[0].attempt, 2);
        }
        job_spec_unref(spec);
}

/* Nobody inherits the attempts of a job that a foreign hand took away. */
static void test_numbers_are_not_given_again(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f);

        requeue(&f, spec, 1);
        write_attempt(&f, spec, 1, ATTEMPT_LOST, NULL);
        fixture_close(&f);
        sql(&f, "DELETE FROM jobs");
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(2))));
        ask_job(&f, 2, true);
        ASSERT_EQ(f.answer.jobs->n_attempts, 0);
        job_spec_unref(spec);
}

/* As the third version left it. */
static void test_version_3(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = open_with_job(&f);

        fixture_close(&f);
        sql(&f, "DROP TABLE job_options; DROP TABLE attempts; DROP TABLE copies; DROP TABLE takeovers; DROP "
                "TABLE holders; DROP TABLE drain; DROP TABLE swept; PRAGMA user_version = 3");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 1);
        requeue(&f, spec, 1);
        write_attempt(&f, spec, 1, ATTEMPT_EXECUTOR_LOST, NULL);
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->attempts[0].fate, ATTEMPT_EXECUTOR_LOST);
        fixture_close(&f);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
        job_spec_unref(spec);
}

int main(void) {
        RUN(test_lost_then_late);
        RUN(test_the_deciding_one_is_none);
        RUN(test_only_so_many_are_kept);
        RUN(test_records_that_no_row_can_hold);
        RUN(test_rows_that_cannot_be_believed);
        RUN(test_numbers_are_not_given_again);
        RUN(test_version_3);
        return 0;
}
