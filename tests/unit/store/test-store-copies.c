/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Copies of other nodes' jobs, and who has those of this node's: as a restart finds them, as they answer
 * when they have ended, and as they go; rows that cannot be believed. */

#include "copying.h"

static void test_everything_comes_back(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        const struct store_copy *copy;

        copying_begin(&f);
        ASSERT_OK(write_copy(&f, spec));
        reopen(&f);
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_EQ(f.n_unfinished + f.n_guests, 0);
        copy = &f.copies[0];
        ASSERT_TRUE(uuid_equal(&copy->run.job, &spec->id));
        ASSERT_EQ(copy->run.epoch, 1);
        ASSERT_EQ(copy->run.attempt, 1);
        ASSERT_EQ(copy->epoch, 1);
        ASSERT_EQ(copy->term, 5);
        ASSERT_STREQ(copy->owner_node_id, OWNER_ID);
        ASSERT_STREQ(copy->executor_node_id, OTHER_ID);
        ASSERT_FALSE(copy->cancel_requested);
        /* What travels is tried with guests. */
        ASSERT_STREQ(copy->spec->command, spec->command);
        ASSERT_EQ(copy->spec->created_at, spec->created_at);
        ASSERT_EQ(copy->spec->stdin_size, spec->stdin_size);
        ASSERT_EQ(copy->spec->rules.retries, spec->rules.retries);
        ASSERT_EQ(
                sql_number(
                        &f, "SELECT count(*) FROM copies WHERE command LIKE 'printf%' AND ending IS NULL"
                            " AND status IS NULL AND length(created_at) = 27 AND length(updated_at) = 27"),
                1);
        job_spec_unref(spec);
}

/* The state is what was said last; the job does not travel again. */
static void test_a_copy_changes(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct record_batch *batch;
        struct record *record;

        copying_begin(&f);
        ASSERT_OK(write_copy(&f, spec));
        sql(&f, "UPDATE copies SET created_at = '2026-01-01T00:00:00.000000Z'");
        batch = batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL);
        record = &batch->records[0];
        record->node = node_name_unref(record->node);
        record->run.attempt = 2;
        record->run.epoch = record->epoch = UINT64_C(3) << 32;
        record->term = 6;
        record->cancel_requested = true;
        ASSERT_OK(write_and_wait(&f, batch));
        reopen(&f);
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_EQ(f.copies[0].run.attempt, 2);
        ASSERT_EQ(f.copies[0].run.epoch, UINT64_C(3) << 32);
        ASSERT_EQ(f.copies[0].epoch, UINT64_C(3) << 32);
        ASSERT_EQ(f.copies[0].term, 6);
        ASSERT_STREQ(f.copies[0].executor_node_id, "");
        ASSERT_TRUE(f.copies[0].cancel_requested);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies WHERE created_at LIKE '2026-01-01%'"), 1);

        /* Another owner's takes its place. */
        batch = batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL);
        record = &batch->records[0];
        node_name_unref(record->owner);
        ASSERT_OK(node_name_new(OTHER_ID, &record->owner));
        ASSERT_OK(write_and_wait(&f, batch));
        /* What the one before says of it then means nothing. */
        say(&f, RECORD_COPY_GONE, 1, OWNER_ID, 9);
        reopen(&f);
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_STREQ(f.copies[0].owner_node_id, OTHER_ID);
        ASSERT_FALSE(f.copies[0].cancel_requested);
        say(&f, RECORD_COPY_GONE, 1, OTHER_ID, 9);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 0);
        job_spec_unref(spec);
}

static void test_an_end_is_history_that_answers(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };
        struct job_result *result = result_make(&run, 7, "some output", 11);
        const struct stored_job *job;

        result->error_message = strdup("for a reason");
        result->stdout_output.total = 100;
        result->stdout_output.truncated = true;
        copying_begin(&f);
        ASSERT_OK(write_copy(&f, spec));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.n_jobs, 0);
        ask_output(&f, 1, 1, 0, 100);
        ASSERT_EQ(f.answer.n_jobs, 0);

        ASSERT_OK(end_copy(&f, spec, JOB_FAILED, job_result_ref(result)));
        reopen(&f);
        ASSERT_EQ(f.n_copies, 0);
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.n_jobs, 1);
        job = &f.answer.jobs[0];
        ASSERT_TRUE(uuid_equal(&job->id, &spec->id));
        ASSERT_EQ(job->status, JOB_FAILED);
        ASSERT_TRUE(job->has_exit_code);
        ASSERT_EQ(job->exit_code, 7);
        ASSERT_EQ(job->attempt, 1);
        ASSERT_EQ(job->epoch, 1);
        ASSERT_EQ(job->created_at, spec->created_at);
        ASSERT_EQ(job->started_at, result->started_at);
        ASSERT_EQ(job->finished_at, result->finished_at);
        ASSERT_EQ(job->duration_usec, 1500);
        ASSERT_GT(job->updated_at, 0);
        ASSERT_STREQ(job->owner_node_id, OWNER_ID);
        ASSERT_STREQ(job->executor_node_id, OTHER_ID);
        ASSERT_STREQ(job->created_by_node, NODE_ID);
        ASSERT_STREQ(job->target_node_id, NODE_ID);
        ASSERT_STREQ(job->command, spec->command);
        ASSERT_STREQ(job->cwd, "/srv/app");
        ASSERT_STREQ(job->env[1], "EMPTY=");
        ASSERT_STREQ(job->requires[1], "gpu");
        ASSERT_STREQ(job->submitter, "uid:1000");
        ASSERT_EQ(job->submitter_uid, 1000);
        ASSERT_EQ(job->stdin_size, STDIN_MAX);
        ASSERT_EQ(job->limits.tasks_max, 64);
        ASSERT_EQ(job->rules.retries, 3);
        ASSERT_TRUE(job->has_digest);
        ASSERT_EQ(job->digest[3], 27);
        ASSERT_STREQ(job->error_message, "for a reason");
        ASSERT_EQ(job->stdout_size, 11);
        ASSERT_EQ(memcmp(job->stdout_data, "some output", 11), 0);
        ASSERT_EQ(job->stdout_kept, 11);
        ASSERT_EQ(job->stdout_total, 100);
        ASSERT_TRUE(job->stdout_truncated);
        ASSERT_EQ(job->stderr_kept, 0);

        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.jobs->stdout_size, 0);
        ASSERT_EQ(f.answer.jobs->stdout_kept, 11);
        ASSERT_NULL(f.answer.jobs->stdout_data);
        ask_output(&f, 1, 1, 5, 3);
        ASSERT_EQ(f.answer.n_jobs, 1);
        ASSERT_EQ(f.answer.data_size, 3);
        ASSERT_EQ(memcmp(f.answer.data, "out", 3), 0);
        ASSERT_EQ(f.answer.data_kept, 11);
        ask_output(&f, 1, 1, UINT64_MAX, 3);
        ASSERT_EQ(f.answer.data_size, 0);
        ASSERT_EQ(f.answer.data_kept, 11);
        ask_output(&f, 1, 2, 0, 3);
        ASSERT_EQ(f.answer.data_kept, 0);
        ASSERT_NULL(f.answer.data);
        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 0);

        /* Who ends it once more, and whose terms go by, does not take it away. */
        ASSERT_OK(end_copy(&f, spec, JOB_FAILED, job_result_ref(result)));
        ASSERT_OK(write_and_wait(&f, batch_copy(RECORD_COPY_GONE, job_spec_ref(spec), JOB_FAILED, NULL)));
        say(&f, RECORD_COPIES_SWEPT, 0, OWNER_ID, 9);
        say(&f, RECORD_COPIES_FORGOTTEN, 0, OWNER_ID, 9);
        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.n_jobs, 1);
        /* Who says that it never was one does. */
        say(&f, RECORD_COPY_GONE, 1, OWNER_ID, 9);
        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.n_jobs, 0);
        job_result_unref(result);
        job_spec_unref(spec);
}

static void test_ends_without_a_run(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct record_batch *batch = batch_copy(RECORD_COPY_ENDED, job_spec_ref(spec), JOB_CANCELLED, NULL);
        struct record *record = &batch->records[0];

        copying_begin(&f);
        record->run.attempt = 0;
        record->node = node_name_unref(record->node);
        record->cancel_requested = true;
        /* The copy itself never came, or a foreign hand took it away. */
        ASSERT_OK(write_and_wait(&f, batch));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.n_jobs, 1);
        ASSERT_EQ(f.answer.jobs->status, JOB_CANCELLED);
        ASSERT_NULL(f.answer.jobs->executor_node_id);
        ASSERT_EQ(f.answer.jobs->started_at, 0);
        ASSERT_EQ(f.answer.jobs->finished_at, f.answer.jobs->updated_at);
        ASSERT_TRUE(f.answer.jobs->cancel_requested);

        /* Its owner goes on with it after all. */
        ASSERT_OK(write_copy(&f, spec));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.n_jobs, 0);
        reopen(&f);
        ASSERT_EQ(f.n_copies, 1);
        job_spec_unref(spec);
}

static void test_terms(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        for (uint64_t n = 1; n <= 4; n++)
                keep(&f, n);
        sql(&f, "UPDATE copies SET term = seq");
        sql(&f, "UPDATE copies SET owner_node_id = '" OTHER_ID "' WHERE seq = 1");
        say(&f, RECORD_COPIES_SWEPT, 0, OWNER_ID, 3);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies WHERE seq IN (1, 3, 4)"), 3);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 3);
        say(&f, RECORD_COPIES_FORGOTTEN, 0, OWNER_ID, 3);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies WHERE seq IN (1, 4)"), 2);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 2);
        reopen(&f);
        ASSERT_EQ(f.n_copies, 2);
        ASSERT_NOT_NULL(find_copy(&f, 1));
        ASSERT_NOT_NULL(find_copy(&f, 4));
}

/* What only waits for those before it is told after them. */
static void test_acknowledgements_keep_their_place(void) {
        _cleanup_fixture_ struct fixture f;
        struct record_batch *batch;
        struct record *record;

        copying_begin(&f);
        for (uintptr_t n = 1; n <= 100; n++) {
                if (n % 2 == 1)
                        batch = batch_copy(RECORD_COPY, spec_make(n), JOB_UNKNOWN, NULL);
                else {
                        ASSERT_OK(record_batch_new(1, &batch));
                        record = record_batch_add(batch, RECORD_COPIES_KEPT);
                        record->number = n;
                        ASSERT_OK(node_name_new(OWNER_ID, &record->owner));
                }
                batch->owner = (void *) n;
                store_write(f.store, batch);
        }
        WAIT_UNTIL(&f, f.n_written == 100);
        ASSERT_FALSE(f.out_of_order);
        ASSERT_EQ(f.n_failed, 0);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 50);
}

static void test_holders(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        hold(&f, RECORD_HOLDER, OWNER_ID, 1);
        hold(&f, RECORD_HOLDER, OTHER_ID, 2);
        hold(&f, RECORD_HOLDER, OWNER_ID, 3);
        hold(&f, RECORD_HOLDER_GONE, OWNER_ID, 2);
        reopen(&f);
        ASSERT_EQ(f.n_holders, 2);
        ASSERT_STREQ(f.holders[0].node_id, OWNER_ID);
        ASSERT_EQ(f.holders[0].term, 3);
        ASSERT_STREQ(f.holders[1].node_id, OTHER_ID);
        ASSERT_EQ(f.holders[1].term, 2);
        hold(&f, RECORD_HOLDER_GONE, OWNER_ID, 3);
        hold(&f, RECORD_HOLDER_GONE, OWNER_ID, 3);
        reopen(&f);
        ASSERT_EQ(f.n_holders, 1);
        ASSERT_STREQ(f.holders[0].node_id, OTHER_ID);
}

static void write_drain(struct fixture *f, enum record_type type, usec_t until, uid_t uid) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, type);
        record->at_usec = UINT64_C(1767225600) * USEC_PER_SEC;
        record->until_usec = until;
        record->uid = uid;
        ASSERT_OK(write_and_wait(f, batch));
}

static void test_drain(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        ASSERT_FALSE(f.drained);
        write_drain(&f, RECORD_RESUMED, 0, 0); /* says nothing new */
        write_drain(&f, RECORD_DRAIN, USEC_INFINITY, 1000);
        reopen(&f);
        ASSERT_TRUE(f.drained);
        ASSERT_EQ(f.drain.since, UINT64_C(1767225600) * USEC_PER_SEC);
        ASSERT_EQ(f.drain.until, USEC_INFINITY);
        ASSERT_EQ(f.drain.uid, 1000u);
        write_drain(&f, RECORD_DRAIN, UINT64_C(1767225660) * USEC_PER_SEC, (uid_t) -1);
        reopen(&f);
        ASSERT_TRUE(f.drained);
        ASSERT_EQ(f.drain.until, UINT64_C(1767225660) * USEC_PER_SEC);
        ASSERT_EQ(f.drain.uid, (uid_t) -1);
        write_drain(&f, RECORD_RESUMED, 0, 0);
        reopen(&f);
        ASSERT_FALSE(f.drained);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM drain"), 0);
}

/* What cannot be understood still says that nothing is to begin; a file set aside takes it along. */
static void test_damaged_drain(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        write_drain(&f, RECORD_DRAIN, UINT64_C(1767225660) * USEC_PER_SEC, 1000);
        fixture_close(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        ASSERT_OK(fixture_open(&f));
        ASSERT_TRUE(f.drained);
        ASSERT_EQ(f.drain.until, UINT64_C(1767225660) * USEC_PER_SEC);
        ASSERT_EQ(f.drain.uid, 1000u);
        fixture_close(&f);
        sql(&f, "UPDATE drain SET until = 'soon', uid = -5");
        ASSERT_OK(fixture_open(&f));
        ASSERT_TRUE(f.drained);
        ASSERT_EQ(f.drain.until, USEC_INFINITY);
        ASSERT_EQ(f.drain.uid, (uid_t) -1);
        ASSERT_GT(f.drain.since, 0u);
}

/* Those that nobody could read again are refused, and only they. */
static void test_records_that_no_row_can_hold(void) {
        _cleanup_fixture_ struct fixture f;
        struct record_batch *batch;
        struct job_spec *spec = spec_make(1);

        copying_begin(&f);
        batch = batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL);
        batch->records[0].term = UINT64_MAX;
        ASSERT_ERROR(write_and_wait(&f, batch), EINVAL);
        batch = batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL);
        batch->records[0].epoch = UINT64_MAX;
        ASSERT_ERROR(write_and_wait(&f, batch), EINVAL);
        for (enum record_type type = RECORD_COPY; type <= RECORD_HOLDER_GONE; type++) {
                int r = write_and_wait(&f, batch_of(type, job_spec_ref(spec), 1));

                if (type == RECORD_COPIES_KEPT)
                        ASSERT_OK(r);
                else
                        ASSERT_ERROR(r, EINVAL);
        }
        ASSERT_ERROR(end_copy(&f, spec, JOB_RUNNING, NULL), EINVAL);
        ASSERT_EQ(f.health, 0);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 0);
        ASSERT_OK(write_copy(&f, spec));
        job_spec_unref(spec);
}

static int refuse(void *userdata, struct store_copy *copy) {
        job_spec_unref(copy->spec);
        return -E2BIG;
}

static int refuse_holder(void *userdata, const char *node_id, uint64_t term) {
        return -E2BIG;
}

static void test_restart_is_refused(void) {
        _cleanup_fixture_ struct fixture f;
        struct store_handlers handlers = { .copy = refuse };
        struct store *store = NULL;

        copying_begin(&f);
        keep(&f, 1);
        keep(&f, 2);
        hold(&f, RECORD_HOLDER, OWNER_ID, 1);
        fixture_close(&f);
        ASSERT_ERROR(store_open(&f.config, f.event, &handlers, NULL, NULL, &store), E2BIG);
        handlers = (struct store_handlers){ .holder = refuse_holder };
        ASSERT_ERROR(store_open(&f.config, f.event, &handlers, NULL, NULL, &store), E2BIG);
        ASSERT_NULL(store);
}

static bool are_left(const struct fixture *f, int64_t n) {
        return sql_number(f, "SELECT count(*) FROM copies WHERE status NOTNULL") == n;
}

static void test_pruning(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        keep(&f, 1);
        for (uint64_t n = 2; n < 22; n++)
                keep_ended(&f, n);
        sql(&f, "UPDATE copies SET created_at = '2001-01-01T00:00:00.000000Z'");
        store_set_history_limits(f.store, USEC_INFINITY, 15, UINT64_MAX);
        WAIT_UNTIL(&f, are_left(&f, 15));
        /* The oldest went; also counted after a restart. */
        ASSERT_EQ(sql_number(&f, "SELECT min(seq) FROM copies WHERE status NOTNULL"), 7);
        fixture_close(&f);
        f.config.history_max_jobs = 10;
        ASSERT_OK(fixture_open(&f));
        WAIT_UNTIL(&f, are_left(&f, 10));
        ASSERT_EQ(f.n_copies, 1);

        /* By the time of their end. */
        sql(&f, "UPDATE copies SET updated_at = '2001-01-01T00:00:00.000000Z' WHERE seq > 15 OR seq = 1");
        store_set_history_limits(f.store, USEC_PER_HOUR, UINT64_MAX, UINT64_MAX);
        WAIT_UNTIL(&f, are_left(&f, 4));
        ASSERT_EQ(sql_number(&f, "SELECT max(seq) FROM copies"), 15);
        store_set_history_limits(f.store, 0, UINT64_MAX, UINT64_MAX);
        WAIT_UNTIL(&f, are_left(&f, 0));
        reopen(&f);
        ASSERT_EQ(f.n_copies, 1);
}

/* One row each, all of which are dropped. */
static const char *const damages[] = {
        "job_id = 'no id'",
        "job_id = '00000001-0000-4000-8000-000000000001'",
        "owner_node_id = ''",
        "owner_node_id = '../escape'",
        "executor_node_id = '../escape'",
        "term = 0",
        "term = -1",
        "epoch = 0",
        "epoch = -1",
        "run_epoch = -1",
        "attempt = 4294967297",
        "cancel_requested = 2",
        "assignment = zeroblob(0)",
        "assignment = x'ffffffff'",
        "assignment = substr(assignment, 1, length(assignment) - 1)",
        "assignment = (SELECT assignment FROM copies WHERE seq = 1)",
};

static void test_rows_that_cannot_be_believed_go(void) {
        _cleanup_fixture_ struct fixture f;
        char text[256];

        copying_begin(&f);
        for (uint64_t n = 0; n <= ELEMENTSOF(damages); n++)
                keep(&f, n);
        hold(&f, RECORD_HOLDER, OWNER_ID, 1);
        fixture_close(&f);
        for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
                (void) snprintf(
                        text, sizeof(text), "UPDATE copies SET %s WHERE seq = %zu", damages[i], i + 2);
                sql(&f, text);
        }
        sql(&f, "INSERT INTO holders VALUES ('../escape', 1), ('', 1), ('" OTHER_ID "', 0)");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_copies, 1);
        ASSERT_NOT_NULL(find_copy(&f, 0));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 1);
        ASSERT_EQ(f.n_holders, 1);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM holders"), 1);
}

static const char *const damaged_ends[] = {
        "status = 'JOB_RUNNING'", "status = 'done'",
        "owner_node_id = ''",     "updated_at = 'yesterday'",
        "ending = zeroblob(0)",   "ending = x'ffffffff'",
        "ending = assignment",    "assignment = ending",
        "executor_node_id = '/'", "ending = (SELECT ending FROM copies WHERE seq = 1)",
};

/* They stay, as broken rows of the history do, and do not answer. */
static void test_ends_that_cannot_be_believed(void) {
        _cleanup_fixture_ struct fixture f;
        char text[256];

        copying_begin(&f);
        for (uint64_t n = 0; n <= ELEMENTSOF(damaged_ends); n++)
                keep_ended(&f, n);
        for (size_t i = 0; i < ELEMENTSOF(damaged_ends); i++) {
                (void) snprintf(
                        text, sizeof(text), "UPDATE copies SET %s WHERE seq = %zu", damaged_ends[i], i + 2);
                sql(&f, text);
        }
        for (uint64_t n = 0; n <= ELEMENTSOF(damaged_ends); n++) {
                ask_job(&f, n, true);
                ASSERT_OK(f.answer.error);
                ASSERT_EQ(f.answer.n_jobs, n == 0);
                ask_output(&f, n, 1, 0, 10);
                ASSERT_EQ(f.answer.n_jobs, n == 0);
        }
}

static void test_they_survive_damage(void) {
        _cleanup_fixture_ struct fixture f;

        copying_begin(&f);
        keep(&f, 1);
        keep_ended(&f, 2);
        keep(&f, 3);
        hold(&f, RECORD_HOLDER, OWNER_ID, 4);
        fixture_close(&f);
        sql(&f, "UPDATE copies SET executor_node_id = NULL, cancel_requested = 1 WHERE seq = 3;"
                "CREATE TABLE copies_2 AS SELECT * FROM copies; DROP TABLE copies;"
                "ALTER TABLE copies_2 RENAME TO copies; INSERT INTO copies SELECT * FROM copies");
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_copies, 2);
        ASSERT_STREQ(find_copy(&f, 1)->executor_node_id, OTHER_ID);
        ASSERT_STREQ(find_copy(&f, 3)->executor_node_id, "");
        ASSERT_TRUE(find_copy(&f, 3)->cancel_requested);
        ASSERT_EQ(find_copy(&f, 3)->term, 5);
        ASSERT_EQ(f.n_holders, 1);
        ASSERT_EQ(f.holders[0].term, 4);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM copies"), 2);
}

int main(void) {
        RUN(test_everything_comes_back);
        RUN(test_a_copy_changes);
        RUN(test_an_end_is_history_that_answers);
        RUN(test_ends_without_a_run);
        RUN(test_terms);
        RUN(test_acknowledgements_keep_their_place);
        RUN(test_holders);
        RUN(test_drain);
        RUN(test_damaged_drain);
        RUN(test_records_that_no_row_can_hold);
        RUN(test_restart_is_refused);
        RUN(test_pruning);
        RUN(test_rows_that_cannot_be_believed_go);
        RUN(test_ends_that_cannot_be_believed);
        RUN(test_they_survive_damage);
        return 0;
}
