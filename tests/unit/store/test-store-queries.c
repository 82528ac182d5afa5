/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lists and their pages, single jobs, pieces of output; limits, cancelling, and rows that somebody broke. */

#include "fixture.h"

#define FINISHED_BITS (1u << JOB_COMPLETED | 1u << JOB_FAILED | 1u << JOB_TIMEOUT | 1u << JOB_CANCELLED)

/* Jobs 1 to n: every third completed, every third failed, the others wait. */
static void write_jobs(struct fixture *f, uint64_t n) {
        struct record_batch *batch;

        ASSERT_OK(record_batch_new(n * 2, &batch));
        batch->urgent = true;
        for (uint64_t i = 1; i <= n; i++) {
                struct record *record = record_batch_add(batch, RECORD_ACCEPTED);
                struct job_spec *spec = spec_make(i);
                struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

                record->spec = spec;
                record->run = run;
                if (i % 3 == 2)
                        continue;
                record = record_batch_add(batch, RECORD_FINISHED);
                record->spec = job_spec_ref(spec);
                record->run = run;
                record->result = result_make(&run, (int) (i % 3), "out", 3);
                record->status = job_result_status(record->result);
        }
        ASSERT_OK(write_and_wait(f, batch));
}

static bool matches(uint64_t sequence, uint32_t mask) {
        static const enum job_status statuses[] = { JOB_COMPLETED, JOB_FAILED, JOB_PENDING };

        return mask == 0 || (mask & 1u << statuses[sequence % 3]);
}

/* Walks all pages and compares them with what must be there. */
static void check_pages(struct fixture *f, uint64_t n, size_t limit, uint32_t mask) {
        uint64_t expected = n, before = UINT64_MAX;

        for (;;) {
                ask_list(f, limit, before, mask);
                ASSERT_OK(f->answer.error);
                ASSERT_LE(f->answer.n_jobs, limit);
                for (size_t i = 0; i < f->answer.n_jobs; i++) {
                        struct uuid id;

                        while (!matches(expected, mask))
                                expected--;
                        id = job_id(expected);
                        ASSERT_EQ(f->answer.jobs[i].sequence, expected);
                        ASSERT_TRUE(uuid_equal(&f->answer.jobs[i].id, &id));
                        expected--;
                }
                if (!f->answer.more)
                        break;
                ASSERT_EQ(f->answer.n_jobs, limit);
                before = f->answer.next_before;
                ASSERT_EQ(before, expected + 1);
        }
        while (expected > 0)
                ASSERT_FALSE(matches(expected--, mask));
}

static void test_pages(void) {
        _cleanup_fixture_ struct fixture f;
        static const size_t limits[] = { 1, 7, 50, 100, STORE_LIST_MAX };

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ask_list(&f, 50, UINT64_MAX, 0);
        ASSERT_OK(f.answer.error);
        ASSERT_EQ(f.answer.n_jobs, 0);
        ASSERT_FALSE(f.answer.more);

        write_jobs(&f, 300);
        for (size_t i = 0; i < ELEMENTSOF(limits); i++) {
                check_pages(&f, 300, limits[i], 0);
                check_pages(&f, 300, limits[i], 1u << JOB_FAILED);
                check_pages(&f, 300, limits[i], 1u << JOB_PENDING);
                check_pages(&f, 300, limits[i], FINISHED_BITS);
                check_pages(&f, 300, limits[i], 1u << JOB_TIMEOUT);
                check_pages(&f, 300, limits[i], UINT32_MAX);
        }
        ask_list(&f, 50, 0, 0);
        ASSERT_EQ(f.answer.n_jobs, 0);
}

/* What is needed to know of jobs, and no more; slice by slice, broken rows left out. */
static void test_recent(void) {
        _cleanup_fixture_ struct fixture f;
        uint64_t expected = 50, before = UINT64_MAX;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_ERROR(store_list_recent(f.store, UINT64_MAX, 0, take_answer, &f, NULL), EINVAL);
        ASSERT_ERROR(
                store_list_recent(f.store, UINT64_MAX, STORE_LIST_MAX + 1, take_answer, &f, NULL), EINVAL);
        write_jobs(&f, 50);
        fixture_close(&f);
        sql(&f, "UPDATE jobs SET finished_at = NULL WHERE seq = 49");
        ASSERT_OK(fixture_open(&f));
        do {
                size_t n = f.n_answers;

                ASSERT_OK(store_list_recent(f.store, before, 7, take_answer, &f, NULL));
                WAIT_UNTIL(&f, f.n_answers > n);
                ASSERT_OK(f.answer.error);
                for (size_t i = 0; i < f.answer.n_jobs; i++, expected--) {
                        const struct stored_job *job = &f.answer.jobs[i];

                        expected -= expected == 49;
                        struct uuid id = job_id(expected);
                        ASSERT_EQ(job->sequence, expected);
                        ASSERT_TRUE(uuid_equal(&job->id, &id));
                        ASSERT_EQ(job->epoch, 1);
                        ASSERT_EQ(job->has_exit_code, expected % 3 != 2);
                        ASSERT_EQ(job->finished_at > 0, expected % 3 != 2);
                        ASSERT_TRUE(matches(expected, 1u << job->status));
                        ASSERT_TRUE(job->created_at > 0);
                        ASSERT_NULL(job->command);
                        ASSERT_NULL(job->stdout_data);
                }
                before = f.answer.next_before;
        } while (f.answer.more);
        ASSERT_EQ(expected, 0);
}

static void test_wrong_questions(void) {
        _cleanup_fixture_ struct fixture f;
        struct uuid id = job_id(1);

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_ERROR(
                store_list_jobs(f.store, &(struct store_list){ .limit = 0 }, take_answer, &f, NULL), EINVAL);
        ASSERT_ERROR(
                store_list_jobs(
                        f.store, &(struct store_list){ .limit = STORE_LIST_MAX + 1 }, take_answer, &f, NULL),
                EINVAL);
        ASSERT_ERROR(store_get_jobs(f.store, &id, 0, false, take_answer, &f, NULL), EINVAL);
        ASSERT_ERROR(
                store_get_jobs(f.store, &id, JOBS_PER_REQUEST_MAX + 1, false, take_answer, &f, NULL),
                EINVAL);
        ASSERT_ERROR(store_read_output(f.store, &id, 0, 0, 1, take_answer, &f, NULL), EINVAL);
        ASSERT_ERROR(store_read_output(f.store, &id, 3, 0, 1, take_answer, &f, NULL), EINVAL);
}

static void test_jobs_by_id(void) {
        _cleanup_fixture_ struct fixture f;
        struct uuid ids[] = { job_id(5), job_id(1000), job_id(2), job_id(5) };

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        write_jobs(&f, 10);
        ASSERT_OK(store_get_jobs(f.store, ids, ELEMENTSOF(ids), true, take_answer, &f, NULL));
        WAIT_UNTIL(&f, f.n_answers == 1);
        ASSERT_OK(f.answer.error);
        ASSERT_EQ(f.answer.n_jobs, 3);
        ASSERT_EQ(f.answer.jobs[0].sequence, 5);
        ASSERT_EQ(f.answer.jobs[1].sequence, 2);
        ASSERT_EQ(f.answer.jobs[2].sequence, 5);
}

static char *pattern(size_t size) {
        char *data = malloc(size);

        ASSERT_NOT_NULL(data);
        for (size_t i = 0; i < size; i++)
                data[i] = (char) ('a' + (i + i / 4096) % 26);
        return data;
}

/* A job with large outputs behind a large standard input. */
static void write_large_job(struct fixture *f, size_t stdout_size, size_t stderr_size) {
        _cleanup_free_ char *data = pattern(MAX(stdout_size, stderr_size));
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };
        struct job_result *result = result_make(&run, 0, data, stdout_size);

        free(result->stderr_output.data);
        result->stderr_output.data = pattern(stderr_size);
        result->stderr_output.size = stderr_size;
        ASSERT_OK(write_and_wait(f, batch_accept(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(f, batch_finish(spec, result)));
}

static void test_large_outputs(void) {
        _cleanup_fixture_ struct fixture f;
        const size_t stdout_size = 3000000, stderr_size = 5000;
        _cleanup_free_ char *data = pattern(stdout_size);

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        write_large_job(&f, stdout_size, stderr_size);

        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 1);
        ASSERT_EQ(f.answer.jobs->stdout_size, STORE_LIST_OUTPUT_MAX);
        ASSERT_EQ(f.answer.jobs->stderr_size, STORE_LIST_OUTPUT_MAX);
        ASSERT_EQ(f.answer.jobs->stdout_kept, stdout_size);
        ASSERT_EQ(f.answer.jobs->stderr_kept, stderr_size);
        ASSERT_EQ(memcmp(f.answer.jobs->stdout_data, data, STORE_LIST_OUTPUT_MAX), 0);
        ASSERT_EQ(memcmp(f.answer.jobs->stderr_data, data, STORE_LIST_OUTPUT_MAX), 0);

        ask_job(&f, 1, false);
        ASSERT_NULL(f.answer.jobs->stdout_data);
        ASSERT_EQ(f.answer.jobs->stdout_size, 0);
        ASSERT_EQ(f.answer.jobs->stdout_kept, stdout_size);

        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->stdout_size, stdout_size);
        ASSERT_EQ(memcmp(f.answer.jobs->stdout_data, data, stdout_size), 0);

        ask_output(&f, 1, 1, 1000000, 100000);
        ASSERT_EQ(f.answer.n_jobs, 1);
        ASSERT_EQ(f.answer.data_size, 100000);
        ASSERT_EQ(f.answer.data_kept, stdout_size);
        ASSERT_EQ(memcmp(f.answer.data, data + 1000000, 100000), 0);
        ask_output(&f, 1, 1, 0, SIZE_MAX);
        ASSERT_EQ(f.answer.data_size, 1024 * 1024);
        ask_output(&f, 1, 1, stdout_size - 10, 100);
        ASSERT_EQ(f.answer.data_size, 10);
        ask_output(&f, 1, 1, stdout_size, 100);
        ASSERT_EQ(f.answer.data_size, 0);
        ASSERT_EQ(f.answer.data_kept, stdout_size);
        ask_output(&f, 1, 1, UINT64_MAX, 100);
        ASSERT_OK(f.answer.error);
        ASSERT_EQ(f.answer.data_size, 0);
        ask_output(&f, 1, 2, 4990, 100);
        ASSERT_EQ(f.answer.data_size, 10);
        ask_output(&f, 2, 1, 0, 100);
        ASSERT_OK(f.answer.error);
        ASSERT_EQ(f.answer.n_jobs, 0);
}

static void test_answers_are_bounded(void) {
        _cleanup_fixture_ struct fixture f;
        struct uuid ids[100];

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        write_large_job(&f, 3000000, 0);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                ids[i] = job_id(1);
        ASSERT_OK(store_get_jobs(f.store, ids, ELEMENTSOF(ids), true, take_answer, &f, NULL));
        WAIT_UNTIL(&f, f.n_answers == 1);
        ASSERT_ERROR(f.answer.error, EFBIG);
        ASSERT_EQ(f.answer.n_jobs, 0);

        /* The reader waits while the loop does not take what there is. */
        for (size_t i = 0; i < 60; i++)
                ASSERT_OK(store_get_jobs(f.store, ids, 1, true, take_answer, &f, NULL));
        WAIT_UNTIL(&f, f.n_answers == 61);
        ASSERT_OK(f.answer.error);
}

static void fail_answer(void *userdata, const struct store_answer *answer) {
        _TEST_FAIL("a query was answered that nobody asked any more");
}

static void test_cancel(void) {
        _cleanup_fixture_ struct fixture f;
        struct store_list list = { .limit = 100, .before = UINT64_MAX };
        struct store_query *queries[STORE_QUERIES_MAX];

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        write_jobs(&f, 200);

        for (unsigned round = 0; round < 20; round++) {
                size_t n = f.n_answers;

                /* Some wait, one runs, some are answered. */
                for (size_t i = 0; i < 50; i++)
                        ASSERT_OK(store_list_jobs(f.store, &list, fail_answer, NULL, &queries[i]));
                if (round % 2 == 0)
                        (void) usleep(round * 100);
                for (size_t i = 50; i > 0; i--)
                        store_query_cancel(queries[(i - 1) * 7 % 50]);
                ask_list(&f, 1, UINT64_MAX, 0);
                ASSERT_EQ(f.n_answers, n + 1);
        }

        for (size_t i = 0; i < STORE_QUERIES_MAX; i++)
                ASSERT_OK(store_list_jobs(f.store, &list, take_answer, &f, &queries[i]));
        ASSERT_ERROR(store_list_jobs(f.store, &list, take_answer, &f, NULL), EBUSY);
        store_query_cancel(queries[500]);
        ASSERT_OK(store_list_jobs(f.store, &list, take_answer, &f, &queries[500]));
        /* Closing with all of them under way. */
        fixture_close(&f);
}

struct cancel_other {
        struct fixture *f;
        struct store_query *other;
};

static void cancel_other(void *userdata, const struct store_answer *answer) {
        struct cancel_other *pair = userdata;

        store_query_cancel(pair->other);
        pair->f->n_answers++;
}

static void test_cancel_from_a_handler(void) {
        _cleanup_fixture_ struct fixture f;
        struct store_list list = { .limit = 1, .before = UINT64_MAX };
        struct cancel_other pair = { .f = &f };

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(store_list_jobs(f.store, &list, cancel_other, &pair, NULL));
        ASSERT_OK(store_list_jobs(f.store, &list, fail_answer, NULL, &pair.other));
        WAIT_UNTIL(&f, f.n_answers == 1);
        ask_list(&f, 1, UINT64_MAX, 0);
}

static void test_broken_rows_are_left_out(void) {
        static const char *const damages[] = {
                "job_id = 'not an id'",
                "status = 'JOB_DONE'",
                "created_at = 'yesterday'",
                "env = '{\"a\":1}'",
                "env = '[]'",
                "command = ''",
                "command = CAST(x'ff' AS TEXT)",
                "timeout_seconds = -1",
                "attempt = 5000000000",
                "created_by_node = 'a b'",
                "finished_at = NULL",
                "digest = x'00'",
                "cancel_requested = 2",
                "stdout_total = -1",
                "stdout = 17",
                "stdout = 17, stdout_size = 100000",
                "submitter_uid = -2",
                "error_message = CAST(zeroblob(10) AS TEXT)",
        };
        _cleanup_fixture_ struct fixture f;
        char text[256];

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t i = 0; i < ELEMENTSOF(damages); i++)
                write_finished_job(&f, i, 0);
        write_finished_job(&f, 100, 0);
        for (uint64_t i = 0; i < ELEMENTSOF(damages); i++) {
                (void) snprintf(
                        text, sizeof(text), "UPDATE jobs SET %s WHERE seq = %" PRIu64, damages[i], i + 1);
                sql(&f, text);
                ask_list(&f, STORE_LIST_MAX, UINT64_MAX, 0);
                ASSERT_OK(f.answer.error);
                ASSERT_EQ(f.answer.n_jobs, ELEMENTSOF(damages) - i);
        }
        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 1);
        ASSERT_TRUE(f.answer.more);
        ASSERT_EQ(f.health, 0);

        sql(&f, "UPDATE jobs SET finished_at = NULL, status = 'JOB_PENDING'");
        fixture_close(&f);
        ASSERT_OK(fixture_open(&f));
        /* The good one, those that the update mended, and those whose fault is in what only an end has. */
        ASSERT_EQ(f.n_unfinished, 7);
}

int main(void) {
        RUN(test_pages);
        RUN(test_recent);
        RUN(test_wrong_questions);
        RUN(test_jobs_by_id);
        RUN(test_large_outputs);
        RUN(test_answers_are_bounded);
        RUN(test_cancel);
        RUN(test_cancel_from_a_handler);
        RUN(test_broken_rows_are_left_out);
        return 0;
}
