/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Slots and order. */

#include "fixture.h"
#include "util/file.h"

#define N_JOBS 1000

static bool process_groups;

/* Each job marks that it is there by a folder, and fails if two others are there as well. */
static void test_thousand_jobs_two_at_a_time_in_order(void) {
        _cleanup_fixture_ struct fixture fixture;
        static struct run_id runs[N_JOBS];
        char command[1024];

        fixture_begin(&fixture, &(const struct fixture_options){ .process_groups = process_groups });
        (void) snprintf(
                command, sizeof(command),
                "cd %s && if mkdir one 2>/dev/null; then rmdir one; elif mkdir two 2>/dev/null; then rmdir "
                "two; "
                "else exit 9; fi",
                fixture.folder.path);
        for (size_t i = 0; i < N_JOBS; i++)
                runs[i] = fixture_start(&fixture, command);
        fixture_wait(&fixture, fixture.n_exited == N_JOBS);

        ASSERT_EQ(fixture.n_started, N_JOBS);
        for (size_t i = 0; i < N_JOBS; i++) {
                ASSERT_TRUE(run_id_equal(&fixture.started[i], &runs[i]));
                ASSERT_EQ(fixture.results[i]->outcome, RUN_EXITED);
                ASSERT_EQ(fixture.results[i]->exit_code, 0);
        }
}

static unsigned n_running(const struct fixture *fixture) {
        return fixture->n_started - fixture->n_exited;
}

static void test_slots_change(void) {
        _cleanup_fixture_ struct fixture fixture;
        struct run_id runs[8];

        fixture_begin(
                &fixture, &(const struct fixture_options){ .process_groups = process_groups, .slots = 1 });
        for (size_t i = 0; i < ELEMENTSOF(runs); i++)
                runs[i] = fixture_start(&fixture, "sleep 1000");
        fixture_wait(&fixture, n_running(&fixture) == 1);
        ASSERT_OK(executor_client_set_slots(fixture.client, 3));
        fixture_wait(&fixture, n_running(&fixture) == 3);
        ASSERT_OK(executor_client_set_slots(fixture.client, 0));
        ASSERT_OK(executor_client_kill(fixture.client, &runs[0]));
        job_result_unref(fixture_result(&fixture, &runs[0]));
        /* None took its place: a round trip later there are still two. */
        ASSERT_OK(executor_client_kill(fixture.client, &runs[7]));
        job_result_unref(fixture_result(&fixture, &runs[7]));
        ASSERT_EQ(fixture.n_started, 3);
        ASSERT_OK(executor_client_set_slots(fixture.client, 7));
        fixture_wait(&fixture, fixture.n_started == 7);
}

static void test_many_slots(void) {
        _cleanup_fixture_ struct fixture fixture;

        fixture_begin(
                &fixture, &(const struct fixture_options){ .process_groups = process_groups, .slots = 64 });
        for (size_t i = 0; i < 64; i++)
                (void) fixture_start(&fixture, "read x; echo $x >&2; sleep 1000");
        fixture_wait(&fixture, n_running(&fixture) == 64);
        for (size_t i = 0; i < 64; i++)
                ASSERT_OK(executor_client_kill(fixture.client, &fixture.started[i]));
        fixture_wait(&fixture, fixture.n_exited == 64);
}

/* A start that is given twice runs once. */
static void test_given_twice(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *again = NULL;
        const struct run_id run = { .job.bytes = { 7 }, .epoch = 3, .attempt = 2 };

        fixture_begin(&fixture, &(const struct fixture_options){ .process_groups = process_groups });
        fixture.hold_releases = true;
        ASSERT_OK(job_spec_new(
                &(const struct job_request){ .command = "echo $ATTEMPT",
                                             .command_size = strlen("echo $ATTEMPT") },
                &spec));
        ASSERT_OK(executor_client_start(fixture.client, &run, spec));
        ASSERT_OK(executor_client_start(fixture.client, &run, spec));
        result = fixture_result(&fixture, &run);
        assert_output(&result->stdout_output, "2\n");
        /* Given once more it is told once more, and not run. */
        ASSERT_OK(executor_client_start(fixture.client, &run, spec));
        again = fixture_result(&fixture, &run);
        ASSERT_EQ(again->started_at, result->started_at);
        ASSERT_EQ(fixture.n_started, 1);
}

int main(int argc, char *argv[]) {
        process_groups = process_groups_asked_for(argc, argv);
        RUN(test_thousand_jobs_two_at_a_time_in_order);
        RUN(test_slots_change);
        RUN(test_many_slots);
        RUN(test_given_twice);
        return 0;
}
