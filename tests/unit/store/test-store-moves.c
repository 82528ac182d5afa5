/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that change their owner: adopted, moved away, and ended twice. */

#include "fixture.h"

#define EPOCH (UINT64_C(7) << 32 | 9)

static void reopen(struct fixture *f) {
        fixture_close(f);
        ASSERT_OK(fixture_open(f));
}

/* From OWNER_ID; its last run has another epoch than the ownership. */
static struct record_batch *batch_adopt(struct job_spec *spec) {
        struct record_batch *batch = batch_of(RECORD_ADOPTED, spec, 3);

        batch->records[0].epoch = EPOCH;
        ASSERT_OK(node_name_new(OWNER_ID, &batch->records[0].owner));
        return batch;
}

static int64_t count_of_job(const struct fixture *f, const char *tables) {
        char text[256];

        (void) snprintf(text, sizeof(text), "SELECT count(*) FROM %s", tables);
        return sql_number(f, text);
}

static void test_adopted(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct record_batch *batch;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL)));
        batch = batch_adopt(job_spec_ref(spec));
        batch->records[0].cancel_requested = true;
        batch->records[0].retries_used = 2;
        ASSERT_OK(node_name_new(OTHER_ID, &batch->records[0].node));
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(2))));
        reopen(&f);
        ASSERT_EQ(f.n_copies, 0);
        ASSERT_EQ(f.n_unfinished, 2);
        ASSERT_EQ(f.unfinished[0].status, JOB_PENDING);
        ASSERT_EQ(f.unfinished[0].epoch, EPOCH);
        ASSERT_EQ(f.unfinished[0].run.epoch, 1);
        ASSERT_EQ(f.unfinished[0].run.attempt, 3);
        ASSERT_STREQ(f.unfinished[0].executor_node_id, OTHER_ID);
        ASSERT_TRUE(f.unfinished[0].in_executor);
        ASSERT_TRUE(f.unfinished[0].cancel_requested);
        ASSERT_EQ(f.unfinished[0].retries_used, 2);
        ASSERT_EQ(f.unfinished[0].spec->limits.tasks_max, 64);
        ASSERT_STREQ(f.unfinished[0].spec->requires[1], "gpu");
        ASSERT_STREQ(f.unfinished[0].spec->created_by_node, NODE_ID);
        ASSERT_EQ(f.unfinished[1].epoch, 1);
        ASSERT_EQ(
                count_of_job(&f, "takeovers JOIN jobs USING (seq) WHERE from_node_id = '" OWNER_ID "'"), 1);

        /* It goes on like any other: the next run has the new epoch. */
        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(spec), 4);
        batch->records[0].run.epoch = EPOCH;
        batch->records[0].executor = job_id(77);
        ASSERT_OK(write_and_wait(&f, batch));
        reopen(&f);
        ASSERT_EQ(f.unfinished[0].run.epoch, EPOCH);
        ASSERT_EQ(f.unfinished[0].epoch, EPOCH);

        /* Where its row beside it is lost, no run is of an owner to come. */
        sql(&f, "DELETE FROM takeovers");
        reopen(&f);
        ASSERT_EQ(f.unfinished[0].epoch, EPOCH);
        job_spec_unref(spec);
}

/* It is here already: as history, or since its leaving was not written. */
static void test_adopted_again(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(&f, batch_adopt(job_spec_ref(spec))));
        ASSERT_EQ(count_of_job(&f, "jobs JOIN takeovers USING (seq) JOIN job_limits USING (seq)"), 1);
        ASSERT_EQ(count_of_job(&f, "jobs") + count_of_job(&f, "job_limits"), 2);
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_make(&run, 0, "out", 3))));
        ASSERT_OK(write_and_wait(&f, batch_adopt(job_spec_ref(spec))));
        reopen(&f);
        ASSERT_EQ(f.n_unfinished, 1);
        ASSERT_EQ(count_of_job(&f, "jobs") + count_of_job(&f, "takeovers"), 2);
        job_spec_unref(spec);
}

static void test_moved(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_adopt(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(2))));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_MOVED, job_spec_ref(spec), 3)));
        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.n_jobs, 0);
        ASSERT_EQ(count_of_job(&f, "jobs"), 1);
        ASSERT_EQ(
                count_of_job(&f, "job_limits") + count_of_job(&f, "job_options") +
                        count_of_job(&f, "takeovers"),
                0);
        /* What is still told of it changes nothing. */
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_MOVED, job_spec_ref(spec), 3)));
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_make(&run, 0, "out", 3))));
        reopen(&f);
        ASSERT_EQ(f.n_unfinished, 1);
        job_spec_unref(spec);
}

static int merge(struct fixture *f, uint64_t n, enum job_status status) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, RECORD_MERGED);
        record->run.job = job_id(n);
        record->status = status;
        return write_and_wait(f, batch);
}

static void test_merged(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        write_finished_job(&f, 1, 0);
        write_finished_job(&f, 2, 0);
        sql(&f, "UPDATE jobs SET error_message = replace(hex(zeroblob(20000)), '00', 'grüß') WHERE seq = 2");
        for (uint64_t n = 1; n <= 2; n++) {
                ASSERT_OK(merge(&f, n, JOB_FAILED));
                ask_job(&f, n, true);
                ASSERT_EQ(f.answer.n_jobs, 1);
                ASSERT_EQ(f.answer.jobs->status, JOB_FAILED);
                ASSERT_NOT_NULL(strstr(f.answer.jobs->error_message, "it ended here as JOB_COMPLETED"));
                ASSERT_NOT_NULL(strstr(f.answer.jobs->error_message, "another node as JOB_FAILED"));
                ASSERT_EQ(strncmp(f.answer.jobs->error_message, "grüß", 6) == 0, n == 2);
                ASSERT_EQ(f.answer.jobs->stdout_size, 3);
        }
        ask_list(&f, 10, UINT64_MAX, 1u << JOB_FAILED);
        ASSERT_EQ(f.answer.n_jobs, 2);
        /* One that has not ended, or is not there, or did not end so. */
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(3))));
        ASSERT_OK(merge(&f, 3, JOB_FAILED));
        ASSERT_OK(merge(&f, 4, JOB_FAILED));
        ASSERT_ERROR(merge(&f, 1, JOB_RUNNING), EINVAL);
        ask_job(&f, 3, false);
        ASSERT_EQ(f.answer.jobs->status, JOB_PENDING);
        ASSERT_EQ(f.health, 0);
}

static void test_takeovers_go_with_their_jobs(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t n = 1; n <= 10; n++) {
                struct job_spec *spec = spec_make(n);
                struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 3 };

                ASSERT_OK(write_and_wait(&f, batch_adopt(job_spec_ref(spec))));
                ASSERT_OK(write_and_wait(&f, batch_finish(spec, result_make(&run, 0, "out", 3))));
        }
        store_set_history_limits(f.store, USEC_INFINITY, 3, UINT64_MAX);
        WAIT_UNTIL(&f, count_of_job(&f, "jobs") == 3);
        ASSERT_EQ(count_of_job(&f, "takeovers JOIN jobs USING (seq)"), 3);
        ASSERT_EQ(count_of_job(&f, "takeovers"), 3);
        /* Nobody gets the number of one that is left alone. */
        fixture_close(&f);
        sql(&f, "INSERT INTO takeovers VALUES (11, 99, NULL)");
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(20))));
        ask_job(&f, 20, false);
        ASSERT_EQ(f.answer.jobs->sequence, 12);
}

static void test_takeovers_survive_damage(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(1))));
        ASSERT_OK(write_and_wait(&f, batch_adopt(spec_make(2))));
        fixture_close(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 2);
        ASSERT_EQ(f.unfinished[0].epoch, 1);
        ASSERT_EQ(f.unfinished[1].epoch, EPOCH);
        ASSERT_EQ(count_of_job(&f, "takeovers"), 1);

        /* One whose epoch cannot be read could run beside that of another owner: it ends. */
        fixture_close(&f);
        sql(&f, "UPDATE takeovers SET epoch = -1");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 1);
        ASSERT_EQ(sql_number(&f, "SELECT seq FROM jobs WHERE status = 'JOB_FAILED'"), 2);
}

int main(void) {
        RUN(test_adopted);
        RUN(test_adopted_again);
        RUN(test_moved);
        RUN(test_merged);
        RUN(test_takeovers_go_with_their_jobs);
        RUN(test_takeovers_survive_damage);
        return 0;
}
