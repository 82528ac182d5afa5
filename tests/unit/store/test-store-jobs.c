/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What goes in comes out: every column of a job through its life, as the daemon and as a person with sqlite3
 * see it, and what a restart finds. */

#include <sys/stat.h>

#include "fixture.h"

static const struct uuid executor = { { 1, 2, 3, 4, 5, 6, 0x40, 8, 0x80, 10, 11, 12, 13, 14, 15, 16 } };

static void check_rich_limits(const struct job_limits *limits) {
        ASSERT_EQ(limits->memory_max, UINT64_C(3) << 30);
        ASSERT_EQ(limits->cpu_weight, 50);
        ASSERT_EQ(limits->cpu_quota, 150);
        ASSERT_EQ(limits->tasks_max, 64);
        ASSERT_TRUE(limits->best_effort);
}

static void check_rich_options(const struct job_rules *rules, char *const *requires) {
        ASSERT_EQ(rules->priority, -5);
        ASSERT_EQ(rules->retries, 3);
        ASSERT_TRUE(rules->loss_is_failure);
        ASSERT_STREQ(requires[0], "arch=x86_64");
        ASSERT_STREQ(requires[1], "gpu");
        ASSERT_STREQ(requires[2], "x=\\");
        ASSERT_NULL(requires[3]);
}

static void check_rich_request(const struct stored_job *job, const struct job_spec *spec) {
        ASSERT_TRUE(uuid_equal(&job->id, &spec->id));
        ASSERT_STREQ(job->command, spec->command);
        ASSERT_STREQ(job->cwd, "/srv/app");
        ASSERT_STREQ(job->target_node_id, NODE_ID);
        ASSERT_STREQ(job->created_by_node, NODE_ID);
        for (size_t i = 0; i < 4; i++)
                ASSERT_STREQ(job->env[i], spec->env[i]);
        ASSERT_NULL(job->env[4]);
        ASSERT_EQ(job->timeout_usec, 17 * USEC_PER_SEC);
        ASSERT_EQ(job->created_at, spec->created_at);
        ASSERT_TRUE(job->has_digest);
        ASSERT_EQ(memcmp(job->digest, spec->digest, SHA256_SIZE), 0);
        ASSERT_EQ(job->submitter_uid, 1000);
        ASSERT_STREQ(job->submitter, "uid:1000");
        ASSERT_EQ(job->stdin_size, STDIN_MAX);
        check_rich_limits(&job->limits);
        check_rich_options(&job->rules, job->requires);
}

static void test_life_of_a_rich_job(void) {
        static const char output[] = "binary \0 \xff\xfe output";
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 2 };
        struct job_result *result = result_make(&run, 3, output, sizeof(output));
        struct record_batch *batch;
        const struct stored_job *job;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));

        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(spec))));
        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.n_jobs, 1);
        job = f.answer.jobs;
        check_rich_request(job, spec);
        ASSERT_EQ(job->status, JOB_PENDING);
        ASSERT_EQ(job->attempt, 0);
        ASSERT_EQ(job->started_at, 0);
        ASSERT_EQ(job->finished_at, 0);
        ASSERT_FALSE(job->has_exit_code);
        ASSERT_NULL(job->executor_node_id);
        ASSERT_NULL(job->stdout_data);

        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(spec), 2);
        batch->records[0].executor = executor;
        ASSERT_OK(write_and_wait(&f, batch));
        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.jobs->status, JOB_PENDING);
        ASSERT_EQ(f.answer.jobs->attempt, 2);
        ASSERT_STREQ(f.answer.jobs->executor_node_id, NODE_ID);

        batch = batch_of(RECORD_STARTED, job_spec_ref(spec), 2);
        batch->records[0].at_usec = 1700000000123456;
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_CANCEL, job_spec_ref(spec), 2)));
        ask_job(&f, 1, false);
        ASSERT_EQ(f.answer.jobs->status, JOB_RUNNING);
        ASSERT_EQ(f.answer.jobs->started_at, 1700000000123456);
        ASSERT_TRUE(f.answer.jobs->cancel_requested);

        result->stdout_output.total = UINT64_C(10) << 30;
        result->stdout_output.truncated = true;
        result->error_message = strdup("exit status 3");
        result->oom_killed = true;
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), job_result_ref(result))));
        ask_job(&f, 1, true);
        job = f.answer.jobs;
        check_rich_request(job, spec);
        ASSERT_EQ(job->status, JOB_FAILED);
        ASSERT_TRUE(job->has_exit_code);
        ASSERT_EQ(job->exit_code, 3);
        ASSERT_EQ(job->signal, 0);
        ASSERT_EQ(job->started_at, result->started_at);
        ASSERT_EQ(job->finished_at, result->finished_at);
        ASSERT_EQ(job->duration_usec, 1500);
        ASSERT_TRUE(job->oom_killed);
        ASSERT_STREQ(job->error_message, "exit status 3");
        ASSERT_EQ(job->stdout_size, sizeof(output));
        ASSERT_EQ(memcmp(job->stdout_data, output, sizeof(output)), 0);
        ASSERT_EQ(job->stdout_total, UINT64_C(10) << 30);
        ASSERT_TRUE(job->stdout_truncated);
        ASSERT_FALSE(job->stderr_truncated);
        ASSERT_EQ(job->stderr_size, 0);

        job_result_unref(result);
        job_spec_unref(spec);
}

/* Only jobs that have something to say there have a row there. */
static void test_limits_and_oom_have_rows_of_their_own(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *plain = spec_make(1), *killed = spec_make(2), *weighted = spec_make(3);
        struct run_id run = { .job = killed->id, .epoch = 1, .attempt = 1 };
        struct job_result *result = result_make(&run, 137, "", 0);

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        weighted->limits.cpu_weight = 7;
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(plain))));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(killed))));
        ASSERT_OK(write_and_wait(&f, batch_accept(weighted)));
        ASSERT_EQ(sql_number(&f, "SELECT group_concat(seq) FROM job_limits"), 3);
        ASSERT_EQ(sql_number(&f, "SELECT cpu_weight FROM job_limits WHERE memory_max IS NULL"), 7);

        result->oom_killed = true;
        ASSERT_OK(write_and_wait(&f, batch_finish(killed, job_result_ref(result))));
        ASSERT_EQ(sql_number(&f, "SELECT oom_killed FROM job_limits WHERE seq = 2"), 1);
        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 3);
        ASSERT_EQ(f.answer.jobs[0].limits.cpu_weight, 7);
        ASSERT_FALSE(f.answer.jobs[0].oom_killed);
        ASSERT_TRUE(f.answer.jobs[1].oom_killed);
        ASSERT_EQ(job_limits_kinds(&f.answer.jobs[1].limits), 0);
        ASSERT_FALSE(f.answer.jobs[2].oom_killed);
        job_result_unref(result);

        /* What is told of a job that has ended already is not believed here either. */
        run.job = plain->id;
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(plain), result_make(&run, 0, "", 0))));
        result = result_make(&run, 1, "", 0);
        result->oom_killed = true;
        ASSERT_OK(write_and_wait(&f, batch_finish(plain, result)));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM job_limits"), 2);
}

static void test_options_have_rows_of_their_own(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *plain = spec_make(1), *again = spec_make(2), *picky = spec_make_rich(3);
        struct record_batch *batch;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        again->rules.retries = 2;
        picky->rules = (struct job_rules){};
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(plain))));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(again))));
        ASSERT_OK(write_and_wait(&f, batch_accept(picky)));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM job_options"), 2);
        ASSERT_EQ(sql_number(&f, "SELECT retries FROM job_options WHERE requires IS NULL"), 2);
        ASSERT_EQ(sql_number(&f, "SELECT json_array_length(requires) FROM job_options WHERE seq = 3"), 3);

        batch = batch_of(RECORD_REQUEUED, job_spec_ref(again), 1);
        batch->records[0].retries_used = 1;
        ASSERT_OK(write_and_wait(&f, batch));
        /* Lost with a node: that uses up none. */
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_REQUEUED, job_spec_ref(again), 2)));
        ask_list(&f, 10, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 3);
        ASSERT_NULL(f.answer.jobs[1].requires);
        ASSERT_EQ(f.answer.jobs[1].rules.retries, 2);
        ASSERT_EQ(f.answer.jobs[1].retries_used, 1);
        ASSERT_TRUE(job_rules_are_default(&f.answer.jobs[2].rules));
        ASSERT_NULL(f.answer.jobs[2].requires);

        fixture_close(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 3);
        ASSERT_NULL(f.unfinished[0].spec->requires[0]);
        ASSERT_EQ(f.unfinished[1].spec->rules.retries, 2);
        ASSERT_EQ(f.unfinished[1].retries_used, 1);
        ASSERT_STREQ(f.unfinished[2].spec->requires[1], "gpu");
        job_spec_unref(plain);
        job_spec_unref(again);
}

static void test_an_end_is_final(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };
        struct record_batch *batch;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_make(&run, 0, "one", 3))));

        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(spec), result_make(&run, 1, "two", 3))));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_STARTED, job_spec_ref(spec), 2)));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_REQUEUED, job_spec_ref(spec), 2)));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_CANCEL, job_spec_ref(spec), 2)));
        batch = batch_of(RECORD_FINISHED, job_spec_ref(spec), 2);
        batch->records[0].status = JOB_CANCELLED;
        ASSERT_OK(write_and_wait(&f, batch));

        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->status, JOB_COMPLETED);
        ASSERT_EQ(f.answer.jobs->attempt, 1);
        ASSERT_EQ(memcmp(f.answer.jobs->stdout_data, "one", 3), 0);
        ASSERT_FALSE(f.answer.jobs->cancel_requested);
        job_spec_unref(spec);
}

static void test_ends_without_an_exit_status(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *cancelled = spec_make(1), *signalled = spec_make(2);
        struct run_id run = { .job = signalled->id, .epoch = 1, .attempt = 1 };
        struct job_result *result = result_make(&run, 0, "", 0);
        struct record_batch *batch;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(cancelled))));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(signalled))));

        batch = batch_of(RECORD_FINISHED, cancelled, 0);
        batch->records[0].status = JOB_CANCELLED;
        batch->records[0].error_message = "cancelled before it started";
        ASSERT_OK(write_and_wait(&f, batch));
        result->outcome = RUN_SIGNALLED;
        result->signal = 11;
        ASSERT_OK(write_and_wait(&f, batch_finish(signalled, result)));

        ask_job(&f, 1, true);
        ASSERT_EQ(f.answer.jobs->status, JOB_CANCELLED);
        ASSERT_FALSE(f.answer.jobs->has_exit_code);
        ASSERT_EQ(f.answer.jobs->started_at, 0);
        ASSERT_GT(f.answer.jobs->finished_at, 0);
        ASSERT_STREQ(f.answer.jobs->error_message, "cancelled before it started");
        ask_job(&f, 2, true);
        ASSERT_EQ(f.answer.jobs->status, JOB_FAILED);
        ASSERT_FALSE(f.answer.jobs->has_exit_code);
        ASSERT_EQ(f.answer.jobs->signal, 11);
        ASSERT_EQ(sql_number(&f, "SELECT stdout IS NULL FROM jobs WHERE status = 'JOB_CANCELLED'"), 1);
        ASSERT_EQ(sql_number(&f, "SELECT stdout = '' FROM jobs WHERE status = 'JOB_FAILED'"), 1);
}

static void test_what_a_person_sees(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };
        struct stat st;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(&f, batch_finish(spec, result_make(&run, 0, "grüße\n", 8))));
        write_finished_job(&f, 2, 0);

        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM jobs WHERE status = 'JOB_COMPLETED'"), 2);
        ASSERT_EQ(sql_number(&f, "SELECT typeof(stdout) = 'text' FROM jobs WHERE seq = 1"), 1);
        ASSERT_EQ(
                sql_number(
                        &f, "SELECT json_extract(env, '$.QUOTED') = 'say \"hello\\\"' || char(10, 9, 1)"
                            " FROM jobs WHERE seq = 1"),
                1);
        ASSERT_EQ(
                sql_number(&f, "SELECT json_extract(env, '$.UMLAUT') = 'äöü€😀' FROM jobs WHERE seq = 1"), 1);
        ASSERT_EQ(sql_number(&f, "SELECT env = '{}' FROM jobs WHERE seq = 2"), 1);
        ASSERT_EQ(sql_number(&f, "SELECT length(created_at) FROM jobs WHERE seq = 1"), 27);
        ASSERT_EQ(sql_number(&f, "SELECT timeout_seconds FROM jobs WHERE seq = 1"), 17);
        ASSERT_EQ(sql_number(&f, "SELECT seq FROM jobs ORDER BY created_at DESC LIMIT 1"), 2);

        ASSERT_EQ(stat(database_path(&f), &st), 0);
        ASSERT_EQ(st.st_mode & 0137, 0);
        ASSERT_STREQ(store_path(f.store), database_path(&f));
}

static void check_waiting_rich_job(const struct store_unfinished *job, const struct job_spec *spec) {
        ASSERT_TRUE(uuid_equal(&job->spec->id, &spec->id));
        ASSERT_EQ(job->status, JOB_PENDING);
        ASSERT_EQ(job->run.attempt, 0);
        ASSERT_FALSE(job->in_executor);
        ASSERT_STREQ(job->spec->command, spec->command);
        ASSERT_STREQ(job->spec->cwd, "/srv/app");
        ASSERT_STREQ(job->spec->target_node_id, NODE_ID);
        ASSERT_STREQ(job->spec->submitter, "uid:1000");
        ASSERT_EQ(job->spec->submitter_uid, 1000);
        ASSERT_EQ(job->spec->timeout_usec, 17 * USEC_PER_SEC);
        ASSERT_EQ(job->spec->created_at, spec->created_at);
        ASSERT_EQ(job->spec->stdin_size, STDIN_MAX);
        ASSERT_EQ(memcmp(job->spec->stdin_data, spec->stdin_data, STDIN_MAX), 0);
        ASSERT_EQ(memcmp(job->spec->digest, spec->digest, SHA256_SIZE), 0);
        for (size_t i = 0; i < 4; i++)
                ASSERT_STREQ(job->spec->env[i], spec->env[i]);
        check_rich_options(&job->spec->rules, job->spec->requires);
}

static void check_running_job(const struct store_unfinished *job, const struct job_spec *spec) {
        ASSERT_EQ(job->status, JOB_RUNNING);
        ASSERT_EQ(job->run.attempt, 1);
        ASSERT_EQ(job->run.epoch, 1);
        ASSERT_TRUE(uuid_equal(&job->run.job, &spec->id));
        ASSERT_TRUE(job->in_executor);
        ASSERT_TRUE(uuid_equal(&job->executor, &executor));
        ASSERT_EQ(job->started_at, 1700000000000001);
        ASSERT_NULL(job->spec->stdin_data);
        ASSERT_NULL(job->spec->target_node_id);
        ASSERT_EQ(job->spec->submitter_uid, (uid_t) -1);
}

static void test_restart(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *specs[5];
        struct record_batch *batch;
        struct run_id run;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 0);

        specs[0] = spec_make_rich(0);
        for (uint64_t i = 1; i < ELEMENTSOF(specs); i++)
                specs[i] = spec_make(i);
        for (uint64_t i = 0; i < ELEMENTSOF(specs); i++)
                ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(specs[i]))));

        /* 0 waits; 1 runs; 2 was given back; 3 has ended; 4 is assigned and to be cancelled. */
        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(specs[1]), 1);
        batch->records[0].executor = executor;
        ASSERT_OK(write_and_wait(&f, batch));
        batch = batch_of(RECORD_STARTED, job_spec_ref(specs[1]), 1);
        batch->records[0].at_usec = 1700000000000001;
        ASSERT_OK(write_and_wait(&f, batch));
        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(specs[2]), 1);
        batch->records[0].executor = executor;
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_STARTED, job_spec_ref(specs[2]), 1)));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_REQUEUED, job_spec_ref(specs[2]), 1)));
        run = (struct run_id){ .job = specs[3]->id, .epoch = 1, .attempt = 1 };
        ASSERT_OK(write_and_wait(&f, batch_finish(job_spec_ref(specs[3]), result_make(&run, 0, "", 0))));
        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(specs[4]), 1);
        batch->records[0].executor = executor;
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_CANCEL, job_spec_ref(specs[4]), 1)));

        fixture_close(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 4);

        check_waiting_rich_job(&f.unfinished[0], specs[0]);

        check_running_job(&f.unfinished[1], specs[1]);

        ASSERT_EQ(f.unfinished[2].status, JOB_PENDING);
        ASSERT_EQ(f.unfinished[2].run.attempt, 1);
        ASSERT_FALSE(f.unfinished[2].in_executor);
        ASSERT_EQ(f.unfinished[2].started_at, 0);

        ASSERT_TRUE(uuid_equal(&f.unfinished[3].spec->id, &specs[4]->id));
        ASSERT_TRUE(f.unfinished[3].in_executor);
        ASSERT_TRUE(f.unfinished[3].cancel_requested);

        /* Numbers go on where they were. */
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(100))));
        ask_job(&f, 100, false);
        ASSERT_EQ(f.answer.jobs->sequence, 6);

        for (size_t i = 0; i < ELEMENTSOF(specs); i++)
                job_spec_unref(specs[i]);
}

static int refuse(void *userdata, struct store_unfinished *job) {
        job_spec_unref(job->spec);
        return -E2BIG;
}

static void test_restart_is_refused(void) {
        _cleanup_fixture_ struct fixture f;
        struct store_handlers handlers = {};
        struct store *store = NULL;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(1))));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(2))));
        fixture_close(&f);

        ASSERT_ERROR(store_open(&f.config, f.event, &handlers, refuse, NULL, &store), E2BIG);
        ASSERT_NULL(store);
        f.config.node_id = "../escape";
        ASSERT_ERROR(store_open(&f.config, f.event, &handlers, refuse, NULL, &store), EINVAL);
}

static struct record_batch *batch_peer(enum record_type type, const struct node_info *info) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, type);
        record->peer = malloc(sizeof(*info));
        *record->peer = *info;
        record->at_usec = now_usec(CLOCK_REALTIME);
        return batch;
}

static void test_peers(void) {
        _cleanup_fixture_ struct fixture f;
        struct node_info info = {
                .node_id = "node-1",
                .address = "10.0.0.1:8081",
                .status = NODE_IDLE,
                .last_heartbeat_usec = 1700000000000000,
                .metadata = { { .key = "os", .value = "Debian \"12\"" }, { .key = "zone", .value = "a" } },
                .n_metadata = 2,
                .version = "0.1.0",
        };

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_peer(RECORD_PEER, &info)));
        ASSERT_EQ(
                sql_number(
                        &f, "SELECT count(*) FROM worker_nodes WHERE node_id = 'node-1' AND status = 'IDLE'"
                            " AND address = '10.0.0.1:8081' AND version = '0.1.0'"
                            " AND last_heartbeat = '2023-11-14T22:13:20.000000Z'"
                            " AND json_extract(metadata, '$.os') = 'Debian \"12\"'"),
                1);
        info.status = NODE_BUSY;
        info.n_metadata = 0;
        ASSERT_OK(write_and_wait(&f, batch_peer(RECORD_PEER, &info)));
        ASSERT_EQ(
                sql_number(
                        &f, "SELECT count(*) FROM worker_nodes WHERE status = 'BUSY' AND metadata = '{}'"),
                1);
        ASSERT_OK(write_and_wait(&f, batch_peer(RECORD_PEER_GONE, &info)));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM worker_nodes"), 0);

        ASSERT_OK(write_and_wait(&f, batch_peer(RECORD_PEER, &info)));
        fixture_close(&f);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM worker_nodes"), 1);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM worker_nodes"), 0);
}

int main(void) {
        RUN(test_life_of_a_rich_job);
        RUN(test_limits_and_oom_have_rows_of_their_own);
        RUN(test_options_have_rows_of_their_own);
        RUN(test_an_end_is_final);
        RUN(test_ends_without_an_exit_status);
        RUN(test_what_a_person_sees);
        RUN(test_restart);
        RUN(test_restart_is_refused);
        RUN(test_peers);
        return 0;
}
