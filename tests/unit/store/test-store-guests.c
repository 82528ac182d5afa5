/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs of other nodes: what is taken, ends and goes, as a restart finds it; rows that cannot be believed;
 * and jobs of this node that others have. */

#include "fixture.h"

static const struct uuid other_executor = { { 9, 9, 9, 9, 9, 9, 0x49, 9, 0x89, 9, 9, 9, 9, 9, 9, 9 } };

static struct run_id run_of(const struct job_spec *spec, uint32_t attempt) {
        return (struct run_id){ .job = spec->id, .epoch = 1, .attempt = attempt };
}

static void open_fixture(struct fixture *f) {
        fixture_init(f);
        ASSERT_OK(fixture_open(f));
        ASSERT_EQ(f->n_guests, 0);
}

static void reopen(struct fixture *f) {
        fixture_close(f);
        ASSERT_OK(fixture_open(f));
}

static void take(struct fixture *f, struct job_spec *spec) {
        ASSERT_OK(write_and_wait(f, batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL)));
}

static void end(struct fixture *f, struct job_spec *spec, struct job_result *result) {
        ASSERT_OK(write_and_wait(
                f, batch_guest(RECORD_GUEST_ENDED, job_spec_ref(spec), job_result_ref(result))));
}

static void set_output(struct job_output *output, const char *data, size_t size, uint64_t total) {
        free(output->data);
        output->data = malloc(size + 1);
        ASSERT_NOT_NULL(output->data);
        memcpy(output->data, data, size);
        output->size = size;
        output->total = total;
        output->truncated = total > size;
}

static void check_same_text(const char *a, const char *b) {
        ASSERT_EQ(a == NULL, b == NULL);
        if (a)
                ASSERT_STREQ(a, b);
}

static void check_same_spec(const struct job_spec *a, const struct job_spec *b) {
        size_t n = 0;

        ASSERT_TRUE(uuid_equal(&a->id, &b->id));
        ASSERT_EQ(a->created_at, b->created_at);
        ASSERT_EQ(a->timeout_usec, b->timeout_usec);
        ASSERT_EQ(a->limits.memory_max, b->limits.memory_max);
        ASSERT_EQ(a->limits.cpu_weight, b->limits.cpu_weight);
        ASSERT_EQ(a->limits.cpu_quota, b->limits.cpu_quota);
        ASSERT_EQ(a->limits.tasks_max, b->limits.tasks_max);
        ASSERT_EQ(a->limits.best_effort, b->limits.best_effort);
        ASSERT_STREQ(a->command, b->command);
        ASSERT_EQ(a->rules.priority, b->rules.priority);
        ASSERT_EQ(a->rules.retries, b->rules.retries);
        ASSERT_EQ(a->rules.loss_is_failure, b->rules.loss_is_failure);
        for (size_t i = 0; a->requires[i] || b->requires[i]; i++)
                ASSERT_STREQ(a->requires[i], b->requires[i]);
        check_same_text(a->target_node_id, b->target_node_id);
        check_same_text(a->cwd, b->cwd);
        for (; a->env[n]; n++)
                ASSERT_STREQ(a->env[n], b->env[n]);
        ASSERT_NULL(b->env[n]);
        ASSERT_EQ(a->stdin_data == NULL, b->stdin_data == NULL);
        ASSERT_EQ(a->stdin_size, b->stdin_size);
        if (a->stdin_size > 0)
                ASSERT_EQ(memcmp(a->stdin_data, b->stdin_data, a->stdin_size), 0);
        ASSERT_EQ(a->has_digest, b->has_digest);
        ASSERT_EQ(memcmp(a->digest, b->digest, a->has_digest ? SHA256_SIZE : 0), 0);
        ASSERT_EQ(a->submitter_uid, b->submitter_uid);
        ASSERT_STREQ(a->submitter, b->submitter);
        ASSERT_STREQ(a->created_by_node, b->created_by_node);
}

static void check_same_output(const struct job_output *a, const struct job_output *b) {
        ASSERT_EQ(a->size, b->size);
        if (a->size > 0)
                ASSERT_EQ(memcmp(a->data, b->data, a->size), 0);
        ASSERT_EQ(a->total, b->total);
        ASSERT_EQ(a->truncated, b->truncated);
}

static void check_same_result(const struct job_result *a, const struct job_result *b) {
        ASSERT_TRUE(run_id_equal(&a->run, &b->run));
        ASSERT_EQ(a->outcome, b->outcome);
        ASSERT_EQ(a->exit_code, b->exit_code);
        ASSERT_EQ(a->signal, b->signal);
        ASSERT_EQ(a->started_at, b->started_at);
        ASSERT_EQ(a->finished_at, b->finished_at);
        ASSERT_EQ(a->duration_usec, b->duration_usec);
        check_same_output(&a->stdout_output, &b->stdout_output);
        check_same_output(&a->stderr_output, &b->stderr_output);
        check_same_text(a->error_message, b->error_message);
        ASSERT_EQ(a->oom_killed, b->oom_killed);
}

static void
check_guest(const struct store_guest *guest, const struct job_spec *spec, const struct job_result *result) {
        struct run_id run = run_of(spec, 1);
        struct uuid executor = job_id(UINT64_MAX);

        ASSERT_NOT_NULL(guest);
        ASSERT_TRUE(run_id_equal(&guest->run, &run));
        ASSERT_STREQ(guest->owner_node_id, OWNER_ID);
        ASSERT_TRUE(uuid_equal(&guest->executor, &executor));
        check_same_spec(spec, guest->spec);
        ASSERT_EQ(guest->result == NULL, result == NULL);
        if (result)
                check_same_result(result, guest->result);
}

/* One end of each kind, with all that one can say. */
static struct job_result *result_make_rich(const struct job_spec *spec) {
        static const char binary[] = "binary \0 \xff\xfe output";
        struct run_id run = run_of(spec, 1);
        struct job_result *result = result_make(&run, 0, "", 0);

        result->outcome = RUN_SIGNALLED;
        result->signal = 9;
        result->exit_code = 137;
        result->duration_usec = 123456789;
        result->oom_killed = true;
        result->error_message = strdup("killed by signal 9 (grüße)");
        set_output(&result->stdout_output, "grüße\n", 8, UINT64_C(10) << 30);
        set_output(&result->stderr_output, binary, sizeof(binary), sizeof(binary));
        return result;
}

static void test_everything_comes_back(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct job_result *result = result_make_rich(spec);

        open_fixture(&f);
        take(&f, spec);
        reopen(&f);
        ASSERT_EQ(f.n_guests, 1);
        check_guest(&f.guests[0], spec, NULL);
        ASSERT_EQ(f.n_unfinished, 0);

        end(&f, spec, result);
        reopen(&f);
        ASSERT_EQ(f.n_guests, 1);
        check_guest(&f.guests[0], spec, result);
        ASSERT_EQ(
                sql_number(
                        &f, "SELECT count(*) FROM guests WHERE owner_node_id = '" OWNER_ID "' AND epoch = 1"
                            " AND attempt = 1 AND command LIKE 'printf%' AND typeof(stdout) = 'text'"
                            " AND typeof(stderr) = 'blob' AND length(created_at) = 27"
                            " AND length(updated_at) = 27 AND executor_instance LIKE '%-%'"),
                1);

        ASSERT_OK(write_and_wait(&f, batch_guest(RECORD_GUEST_GONE, job_spec_ref(spec), NULL)));
        reopen(&f);
        ASSERT_EQ(f.n_guests, 0);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM guests"), 0);
        job_result_unref(result);
        job_spec_unref(spec);
}

/* As little as a job and an end can say, and every way to end. */
static void test_little_comes_back(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *specs[_RUN_OUTCOME_MAX];
        struct job_result *results[_RUN_OUTCOME_MAX];

        open_fixture(&f);
        for (enum run_outcome outcome = 0; outcome < _RUN_OUTCOME_MAX; outcome++) {
                specs[outcome] = spec_make(outcome);
                ASSERT_OK(job_result_new(&results[outcome]));
                results[outcome]->run = run_of(specs[outcome], 1);
                results[outcome]->outcome = outcome;
                take(&f, specs[outcome]);
                end(&f, specs[outcome], results[outcome]);
        }
        take(&f, specs[RUN_KILLED]); /* says nothing new */
        reopen(&f);
        ASSERT_EQ(f.n_guests, _RUN_OUTCOME_MAX);
        for (enum run_outcome outcome = 0; outcome < _RUN_OUTCOME_MAX; outcome++) {
                check_guest(&f.guests[outcome], specs[outcome], results[outcome]);
                job_result_unref(results[outcome]);
                job_spec_unref(specs[outcome]);
        }
}

static void test_empty_stdin_is_not_none(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);

        open_fixture(&f);
        spec->stdin_data = "";
        take(&f, spec);
        reopen(&f);
        check_guest(&f.guests[0], spec, NULL);
        job_spec_unref(spec);
}

static void test_large_outputs(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct run_id run = run_of(spec, 1);
        struct job_result *result;
        static char data[1024 * 1024];

        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (char) (i * 13 + i / 1000);
        result = result_make(&run, 0, data, sizeof(data));
        set_output(&result->stderr_output, data + 1, sizeof(data) - 1, UINT64_C(1) << 40);
        open_fixture(&f);
        take(&f, spec);
        end(&f, spec, result);
        reopen(&f);
        check_guest(&f.guests[0], spec, result);
        job_result_unref(result);
        job_spec_unref(spec);
}

/* Another executor process is to run it: nothing else changes. */
static void test_two_executors(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1), *other = spec_make(2);
        struct record_batch *batch;

        open_fixture(&f);
        take(&f, spec);
        take(&f, other);
        sql(&f, "UPDATE guests SET created_at = '2026-01-01T00:00:00.000000Z'");
        batch = batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL);
        batch->records[0].executor = other_executor;
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_EQ(
                sql_number(
                        &f, "SELECT count(*) FROM guests WHERE created_at = '2026-01-01T00:00:00.000000Z'"),
                2);
        reopen(&f);
        ASSERT_EQ(f.n_guests, 2);
        ASSERT_TRUE(uuid_equal(&f.guests[0].executor, &other_executor));
        check_same_spec(spec, f.guests[0].spec);
        check_guest(&f.guests[1], other, NULL);

        /* None is known, if the mind says so. */
        batch = batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL);
        batch->records[0].executor = UUID_NULL;
        ASSERT_OK(write_and_wait(&f, batch));
        reopen(&f);
        ASSERT_TRUE(uuid_is_null(&f.guests[0].executor));
        job_spec_unref(spec);
        job_spec_unref(other);
}

/* The mind knows which run is here. */
static void test_another_run_takes_the_place(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct run_id run = run_of(spec, 1);
        struct job_result *result = result_make(&run, 0, "out", 3);
        struct record_batch *batch;

        open_fixture(&f);
        take(&f, spec);
        end(&f, spec, result);
        batch = batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL);
        batch->records[0].run.attempt = 2;
        ASSERT_OK(write_and_wait(&f, batch));
        /* What is still said of the first is history. */
        ASSERT_OK(write_and_wait(&f, batch_guest(RECORD_GUEST_GONE, job_spec_ref(spec), NULL)));
        reopen(&f);
        ASSERT_EQ(f.n_guests, 1);
        ASSERT_EQ(f.guests[0].run.attempt, 2);
        ASSERT_NULL(f.guests[0].result);
        job_result_unref(result);
        job_spec_unref(spec);
}

static void test_an_end_may_come_again(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct job_result *result = result_make_rich(spec);

        open_fixture(&f);
        take(&f, spec);
        end(&f, spec, result);
        end(&f, spec, result);
        /* Also when somebody took the row away. */
        sql(&f, "DELETE FROM guests");
        end(&f, spec, result);
        reopen(&f);
        ASSERT_EQ(f.n_guests, 1);
        check_guest(&f.guests[0], spec, result);
        job_result_unref(result);
        job_spec_unref(spec);
}

/* Those that nobody could read again are refused, and only they. */
static void test_records_that_no_row_can_hold(void) {
        _cleanup_fixture_ struct fixture f;
        struct record_batch *batch;
        struct job_spec *spec = spec_make(1);

        open_fixture(&f);
        batch = batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL);
        batch->records[0].run.epoch = UINT64_MAX;
        ASSERT_ERROR(write_and_wait(&f, batch), EINVAL);
        for (enum record_type type = RECORD_GUEST_TAKEN; type <= RECORD_GUEST_GONE; type++)
                ASSERT_ERROR(write_and_wait(&f, batch_of(type, job_spec_ref(spec), 1)), EINVAL);
        ASSERT_ERROR(write_and_wait(&f, batch_guest(RECORD_GUEST_ENDED, job_spec_ref(spec), NULL)), EINVAL);
        ASSERT_EQ(f.health, 0);
        take(&f, spec);
        reopen(&f);
        check_guest(&f.guests[0], spec, NULL);
        job_spec_unref(spec);
}

static int refuse(void *userdata, struct store_guest *guest) {
        job_spec_unref(guest->spec);
        job_result_unref(guest->result);
        return -E2BIG;
}

static void test_restart_is_refused(void) {
        _cleanup_fixture_ struct fixture f;
        struct store_handlers handlers = { .guest = refuse };
        struct job_spec *specs[] = { spec_make(1), spec_make(2) };
        struct store *store = NULL;

        open_fixture(&f);
        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                struct job_result *result = result_make_rich(specs[i]);

                take(&f, specs[i]);
                end(&f, specs[i], result);
                job_result_unref(result);
                job_spec_unref(specs[i]);
        }
        fixture_close(&f);
        ASSERT_ERROR(store_open(&f.config, f.event, &handlers, NULL, NULL, &store), E2BIG);
        ASSERT_NULL(store);
}

/* They are no history. */
static void test_pruning_leaves_them(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct job_result *result = result_make_rich(spec);

        open_fixture(&f);
        take(&f, spec);
        end(&f, spec, result);
        sql(&f, "UPDATE guests SET created_at = '2001-01-01T00:00:00.000000Z', updated_at = created_at");
        for (uint64_t n = 10; n < 20; n++)
                write_finished_job(&f, n, 0);
        store_set_history_limits(f.store, 1, 0, 1);
        /* The newest stays, as always. */
        WAIT_UNTIL(&f, sql_number(&f, "SELECT count(*) FROM jobs") == 1);
        reopen(&f);
        ASSERT_EQ(f.n_guests, 1);
        check_guest(&f.guests[0], spec, result);
        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 1);
        job_result_unref(result);
        job_spec_unref(spec);
}

/* One row each, all of which are dropped. */
static const char *const damages[] = {
        "job_id = 'no id'",
        "job_id = '00000001-0000-4000-8000-000000000001'",
        "owner_node_id = ''",
        "owner_node_id = '../escape'",
        "epoch = -1",
        "epoch = 2",
        "attempt = 2",
        "attempt = 4294967297",
        "executor_instance = 'none of ours'",
        "assignment = zeroblob(0)",
        "assignment = x'ffffffff'",
        "assignment = ending",
        "assignment = substr(assignment, 1, length(assignment) - 1)",
        "ending = zeroblob(0)",
        "ending = x'ffffffff'",
        "ending = assignment",
        "ending = (SELECT ending FROM guests WHERE seq = 1)",
        "stdout = 'ou'",
        "stdout = NULL",
        "stdout = 3",
        "stderr = 'more'",
};

static void test_rows_that_cannot_be_believed_go(void) {
        _cleanup_fixture_ struct fixture f;
        char text[256];

        open_fixture(&f);
        for (uint64_t n = 0; n <= ELEMENTSOF(damages); n++) {
                struct job_spec *spec = spec_make(n);
                struct run_id run = run_of(spec, 1);
                struct job_result *result = result_make(&run, 0, "out", 3);

                take(&f, spec);
                end(&f, spec, result);
                job_result_unref(result);
                job_spec_unref(spec);
        }
        fixture_close(&f);
        for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
                (void) snprintf(
                        text, sizeof(text), "UPDATE guests SET %s WHERE seq = %zu", damages[i], i + 2);
                sql(&f, text);
        }
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_guests, 1);
        ASSERT_NOT_NULL(find_guest(&f, 0));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM guests"), 1);

        /* Their owners may give them again. */
        for (uint64_t n = 1; n <= ELEMENTSOF(damages); n++) {
                struct job_spec *spec = spec_make(n);

                take(&f, spec);
                job_spec_unref(spec);
        }
        reopen(&f);
        ASSERT_EQ(f.n_guests, ELEMENTSOF(damages) + 1);
}

static void assign_to(struct fixture *f, struct job_spec *spec, const char *node_id) {
        struct record_batch *batch = batch_of(RECORD_ASSIGNED, job_spec_ref(spec), 1);

        if (node_id)
                ASSERT_OK(node_name_new(node_id, &batch->records[0].node));
        else
                batch->records[0].executor = other_executor;
        ASSERT_OK(write_and_wait(f, batch));
}

/* A job of this node that another one has. */
static void test_own_jobs_elsewhere(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct run_id run = run_of(spec, 1);

        open_fixture(&f);
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(spec))));
        assign_to(&f, spec, OWNER_ID);
        ask_job(&f, 1, false);
        ASSERT_STREQ(f.answer.jobs->executor_node_id, OWNER_ID);
        reopen(&f);
        ASSERT_TRUE(f.unfinished[0].in_executor);
        ASSERT_STREQ(f.unfinished[0].executor_node_id, OWNER_ID);
        ASSERT_TRUE(uuid_is_null(&f.unfinished[0].executor));

        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_REQUEUED, job_spec_ref(spec), 1)));
        ask_job(&f, 1, false);
        ASSERT_NULL(f.answer.jobs->executor_node_id);
        reopen(&f);
        ASSERT_FALSE(f.unfinished[0].in_executor);
        ASSERT_STREQ(f.unfinished[0].executor_node_id, "");

        assign_to(&f, spec, NULL);
        reopen(&f);
        ASSERT_TRUE(f.unfinished[0].in_executor);
        ASSERT_STREQ(f.unfinished[0].executor_node_id, NODE_ID);
        ASSERT_TRUE(uuid_equal(&f.unfinished[0].executor, &other_executor));

        assign_to(&f, spec, OWNER_ID);
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_STARTED, job_spec_ref(spec), 1)));
        reopen(&f);
        ASSERT_EQ(f.unfinished[0].status, JOB_RUNNING);
        ASSERT_STREQ(f.unfinished[0].executor_node_id, OWNER_ID);
        ASSERT_TRUE(uuid_is_null(&f.unfinished[0].executor));
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_make(&run, 0, "out", 3))));
        ask_job(&f, 1, true);
        ASSERT_STREQ(f.answer.jobs->executor_node_id, OWNER_ID);
        job_spec_unref(spec);
}

int main(void) {
        RUN(test_everything_comes_back);
        RUN(test_little_comes_back);
        RUN(test_empty_stdin_is_not_none);
        RUN(test_large_outputs);
        RUN(test_two_executors);
        RUN(test_another_run_takes_the_place);
        RUN(test_an_end_may_come_again);
        RUN(test_records_that_no_row_can_hold);
        RUN(test_restart_is_refused);
        RUN(test_pruning_leaves_them);
        RUN(test_rows_that_cannot_be_believed_go);
        RUN(test_own_jobs_elsewhere);
        return 0;
}
