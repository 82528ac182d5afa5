/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Of which owners everything is here, and the ends of their jobs, as a restart finds them. */

#include "copying.h"
#include "store/store-schema.h"

#define INSTANCE (UINT64_C(1) << 63 | 5)

static void sweep(struct fixture *f, const char *owner, uint64_t term, uint64_t instance) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, RECORD_COPIES_SWEPT);
        record->term = term;
        record->number = instance;
        ASSERT_OK(node_name_new(owner, &record->owner));
        ASSERT_OK(write_and_wait(f, batch));
}

static void take_over(struct fixture *f, const char *owner, uint64_t term) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, RECORD_COPIES_FORGOTTEN);
        record->term = term;
        record->taken_over = true;
        ASSERT_OK(node_name_new(owner, &record->owner));
        ASSERT_OK(write_and_wait(f, batch));
}

static void test_they_come_back(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        sweep(&f, OWNER_ID, 3, 4);
        sweep(&f, OTHER_ID, 7, 8);
        sweep(&f, OWNER_ID, 4, INSTANCE);
        reopen(&f);
        ASSERT_EQ(f.n_sweeps, 2);
        ASSERT_STREQ(f.sweeps[0].owner_node_id, OTHER_ID);
        ASSERT_EQ(f.sweeps[0].term, 7);
        ASSERT_EQ(f.sweeps[0].owner_instance, 8);
        ASSERT_STREQ(f.sweeps[1].owner_node_id, OWNER_ID);
        ASSERT_EQ(f.sweeps[1].term, 4);
        ASSERT_EQ(f.sweeps[1].owner_instance, INSTANCE);
}

/* Taking the jobs over does not take away that they were all here; being asked to forget them does. */
static void test_they_go(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        keep(&f, 1);
        sweep(&f, OWNER_ID, 5, INSTANCE);
        sweep(&f, OTHER_ID, 5, INSTANCE);
        take_over(&f, OWNER_ID, 5);
        say(&f, RECORD_COPIES_FORGOTTEN, 0, OWNER_ID, 4);
        reopen(&f);
        ASSERT_EQ(f.n_copies, 0);
        ASSERT_EQ(f.n_sweeps, 2);
        say(&f, RECORD_COPIES_FORGOTTEN, 0, OWNER_ID, 5);
        reopen(&f);
        ASSERT_EQ(f.n_sweeps, 1);
        ASSERT_STREQ(f.sweeps[0].owner_node_id, OTHER_ID);
}

/* The copy that went may have been of any owner. */
static void test_not_without_all_copies(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        keep(&f, 1);
        keep(&f, 2);
        sweep(&f, OWNER_ID, 5, INSTANCE);
        fixture_close(&f);
        sql(&f, "UPDATE copies SET assignment = zeroblob(0) WHERE seq = 1");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_EQ(f.n_sweeps, 0);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM swept"), 0);

        sweep(&f, OWNER_ID, 5, INSTANCE);
        fixture_close(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_EQ(f.n_sweeps, 0);
}

static void test_rows_that_cannot_be_believed_go(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        sweep(&f, OWNER_ID, 5, INSTANCE);
        fixture_close(&f);
        sql(&f, "INSERT INTO swept VALUES ('../escape', 1, 1), ('', 1, 1), ('" OTHER_ID "', 0, 1)");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_sweeps, 1);
        ASSERT_STREQ(f.sweeps[0].owner_node_id, OWNER_ID);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM swept"), 1);
}

/* As the fifth version left it. */
static void test_version_5(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        keep(&f, 1);
        fixture_close(&f);
        sql(&f, "DROP TABLE swept; PRAGMA user_version = 5");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_EQ(f.n_sweeps, 0);
        sweep(&f, OWNER_ID, 5, INSTANCE);
        reopen(&f);
        ASSERT_EQ(f.n_sweeps, 1);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
}

static void ask_copies(struct fixture *f, uint64_t before, size_t limit) {
        size_t n = f->n_answers;

        ASSERT_OK(store_list_recent_copies(f->store, before, limit, take_answer, f, NULL));
        WAIT_UNTIL(f, f->n_answers > n);
        ASSERT_OK(f->answer.error);
}

/* Slice by slice, newest first; broken rows, and what has not ended, left out. */
static void test_ends_are_listed(void) {
        _cleanup_fixture_ struct fixture f;
        uint64_t expected = 20, before = UINT64_MAX;
        struct uuid id;

        copying_begin(&f);
        ASSERT_ERROR(store_list_recent_copies(f.store, UINT64_MAX, 0, take_answer, &f, NULL), EINVAL);
        for (uint64_t n = 1; n <= 20; n++)
                if (n == 11)
                        keep(&f, n);
                else
                        keep_ended(&f, n);
        sql(&f, "UPDATE copies SET ending = zeroblob(0) WHERE seq = 7");
        do {
                ask_copies(&f, before, 6);
                for (size_t i = 0; i < f.answer.n_jobs; i++, expected--) {
                        const struct stored_job *job = &f.answer.jobs[i];

                        expected -= expected == 11 || expected == 7;
                        id = job_id(expected);
                        ASSERT_TRUE(uuid_equal(&job->id, &id));
                        ASSERT_STREQ(job->owner_node_id, OWNER_ID);
                        ASSERT_STREQ(job->executor_node_id, OTHER_ID);
                        ASSERT_EQ(job->status, JOB_COMPLETED);
                        ASSERT_EQ(job->epoch, 1);
                        ASSERT_TRUE(job->has_exit_code);
                        ASSERT_GT(job->created_at, 0);
                        ASSERT_GT(job->finished_at, 0);
                        ASSERT_NULL(job->stdout_data);
                }
                before = f.answer.next_before;
        } while (f.answer.more);
        ASSERT_EQ(expected, 0);
}

int main(void) {
        RUN(test_they_come_back);
        RUN(test_they_go);
        RUN(test_not_without_all_copies);
        RUN(test_rows_that_cannot_be_believed_go);
        RUN(test_version_5);
        RUN(test_ends_are_listed);
        return 0;
}
