/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happens when one of the two sides goes away, and when it comes back. */

#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"

#define N_JOBS 20

static bool process_groups;

static void begin(struct fixture *fixture, unsigned slots) {
        fixture_begin(
                fixture,
                &(const struct fixture_options){ .process_groups = process_groups, .slots = slots });
}

static const struct executor_known_run *find_known(const struct fixture *fixture, const struct run_id *run) {
        for (size_t i = 0; i < fixture->n_known; i++)
                if (run_id_equal(&fixture->known[i].run, run))
                        return &fixture->known[i];
        return NULL;
}

/* A command that goes on when the file is there. */
static const char *
until_file(struct fixture *fixture, const char *name, const char *then, char buffer[static 1024]) {
        (void) snprintf(
                buffer, 1024, "while ! test -e %s/%s; do sleep 0.02; done; %s", fixture->folder.path, name,
                then);
        return buffer;
}

/* A daemon in a process of its own, which starts the jobs and is then killed. */
static void run_daemon_and_kill_it(struct fixture *fixture, const char *command) {
        int fds[2];
        char byte;
        pid_t pid;

        ASSERT_EQ(pipe(fds), 0);
        pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
                fixture->event = sd_event_unref(fixture->event);
                ASSERT_OK(sd_event_new(&fixture->event));
                fixture_connect(fixture);
                for (size_t i = 0; i < N_JOBS; i++)
                        (void) fixture_start(fixture, command);
                fixture_wait(fixture, fixture->n_started == N_JOBS);
                ASSERT_EQ(write(fds[1], "x", 1), 1);
                for (;;)
                        fixture_turn(fixture, USEC_INFINITY);
        }
        ASSERT_EQ(read(fds[0], &byte, 1), 1);
        ASSERT_EQ(kill(pid, SIGKILL), 0);
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        (void) close(fds[0]);
        (void) close(fds[1]);
}

static void test_daemon_is_killed(void) {
        _cleanup_fixture_ struct fixture fixture;
        char command[1024];

        begin(&fixture, N_JOBS);
        fixture_disconnect(&fixture);
        run_daemon_and_kill_it(&fixture, until_file(&fixture, "go", "echo $ATTEMPT", command));

        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_known, N_JOBS);
        for (size_t i = 0; i < N_JOBS; i++) {
                ASSERT_TRUE(fixture.known[i].started);
                ASSERT_GT(fixture.known[i].started_at, 0);
                ASSERT_FALSE(fixture.known[i].ended);
        }
        folder_write(&fixture.folder, "go", "");
        fixture_wait(&fixture, fixture.n_exited == N_JOBS);
        for (size_t i = 0; i < N_JOBS; i++) {
                ASSERT_EQ(fixture.results[i]->outcome, RUN_EXITED);
                ASSERT_EQ(
                        fixture.results[i]->started_at,
                        find_known(&fixture, &fixture.results[i]->run)->started_at);
                assert_output(&fixture.results[i]->stdout_output, "1\n");
        }
}

static void test_ends_are_kept_until_released(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *first = NULL, *again = NULL;
        struct run_id run;

        begin(&fixture, 2);
        fixture.hold_releases = true;
        run = fixture_start(&fixture, "head -c 30000 /dev/zero; exit 4");
        first = fixture_result(&fixture, &run);
        fixture_disconnect(&fixture);

        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_known, 1);
        ASSERT_TRUE(fixture.known[0].ended);
        again = fixture_result(&fixture, &run);
        ASSERT_EQ(again->exit_code, 4);
        ASSERT_EQ(again->finished_at, first->finished_at);
        ASSERT_EQ(again->stdout_output.size, 30000);
        ASSERT_OK(executor_client_release(fixture.client, &run));
        /* The release travels with it. */
        fixture_disconnect(&fixture);

        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_known, 0);
}

/* What was said last of each run is told to the next daemon, while it runs and when it has ended. */
static void test_journalled_offsets_are_kept(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id runs[2];

        begin(&fixture, 2);
        fixture.hold_releases = true;
        runs[0] = fixture_start(&fixture, "sleep 1000");
        runs[1] = fixture_start(&fixture, "echo 12345; sleep 0.1");
        fixture_wait(&fixture, fixture.n_started == 2);
        for (uint64_t i = 1; i <= 1000; i++) {
                ASSERT_OK(executor_client_journalled(
                        fixture.client, &runs[0], (const uint64_t[]){ i, UINT64_C(1) << 40 }));
                ASSERT_OK(executor_client_journalled(fixture.client, &runs[1], (const uint64_t[]){ 6, 0 }));
        }
        /* One that is not there. */
        ASSERT_OK(executor_client_journalled(
                fixture.client, &(const struct run_id){ .job.bytes = { 1 } }, (const uint64_t[]){ 7, 7 }));
        result = fixture_result(&fixture, &runs[1]);
        fixture_disconnect(&fixture);

        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_known, 2);
        ASSERT_EQ(find_known(&fixture, &runs[0])->journalled[0], 1000);
        ASSERT_EQ(find_known(&fixture, &runs[0])->journalled[1], UINT64_C(1) << 40);
        ASSERT_TRUE(find_known(&fixture, &runs[1])->ended);
        ASSERT_EQ(find_known(&fixture, &runs[1])->journalled[0], 6);
        ASSERT_EQ(find_known(&fixture, &runs[1])->journalled[1], 0);
}

/* A start that cannot be told does not begin: a run that nobody heard of never ran. */
static void test_nothing_starts_without_a_daemon(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id first, second;
        char command[1024], other[512];

        begin(&fixture, 1);
        (void) snprintf(other, sizeof(other), "echo > %s/ended", fixture.folder.path);
        first = fixture_start(&fixture, until_file(&fixture, "go", other, command));
        (void) snprintf(other, sizeof(other), "echo > %s/second", fixture.folder.path);
        second = fixture_start(&fixture, other);
        fixture_wait(&fixture, fixture_has_started(&fixture, &first));
        /* A round trip, so that the second has arrived. */
        (void) executor_client_kill(fixture.client, &(const struct run_id){ .job.bytes = { 1 } });
        fixture_wait(&fixture, fixture.n_exited == 1);
        fixture_disconnect(&fixture);
        folder_write(&fixture.folder, "go", "");

        /* It ends meanwhile; then there is a slot. A connection that comes too early gives the second its
         * chance to start, so that only what is seen before that proves something. */
        (void) snprintf(other, sizeof(other), "%s/ended", fixture.folder.path);
        for (usec_t deadline = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC; access(other, F_OK) < 0;) {
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                fixture_turn(&fixture, now_usec(CLOCK_MONOTONIC) + 5 * USEC_PER_MSEC);
        }
        for (bool alone = true;; alone = false) {
                const struct executor_known_run *first_known;

                fixture_connect(&fixture);
                first_known = find_known(&fixture, &first);
                ASSERT_NOT_NULL(find_known(&fixture, &second));
                if (alone)
                        ASSERT_FALSE(find_known(&fixture, &second)->started);
                if (first_known && first_known->ended)
                        break;
                fixture_disconnect(&fixture);
                fixture_turn(&fixture, now_usec(CLOCK_MONOTONIC) + 5 * USEC_PER_MSEC);
        }
        result = fixture_result(&fixture, &second);
        ASSERT_EQ(result->exit_code, 0);
}

static void test_many_are_known(void) {
        _cleanup_fixture_ struct fixture fixture;

        begin(&fixture, 1);
        for (size_t i = 0; i < 4000; i++)
                (void) fixture_start(&fixture, "sleep 1000");
        fixture_wait(&fixture, fixture.n_started == 1);
        (void) executor_client_kill(fixture.client, &(const struct run_id){ .job.bytes = { 1 } });
        fixture_wait(&fixture, fixture.n_exited == 1);
        fixture_disconnect(&fixture);
        /* More than one message. */
        fixture.n_synchronised = 0;
        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_synchronised, 1);
        ASSERT_EQ(fixture.n_known, ELEMENTSOF(fixture.known));
}

static void test_executor_is_killed(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct uuid before;
        char command[1024];
        pid_t job, background;

        begin(&fixture, 2);
        (void) snprintf(
                command, sizeof(command),
                "setsid sh -c 'echo $$ > %1$s/background; sleep 1000; true' & echo $$ > %1$s/job; sleep "
                "1000; true",
                fixture.folder.path);
        (void) fixture_start(&fixture, command);
        job = (pid_t) fixture_read_number(&fixture, "job");
        background = (pid_t) fixture_read_number(&fixture, "background");
        before = fixture.instance;
        fixture_kill_executor(&fixture);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        ASSERT_FALSE(executor_client_is_synchronised(fixture.client));
        fixture_wait(&fixture, !process_exists(job));

        /* The next one ends the rest before it says anything. */
        fixture_start_executor(&fixture);
        fixture_wait(&fixture, executor_client_is_synchronised(fixture.client));
        ASSERT_FALSE(process_exists(background));
        ASSERT_FALSE(uuid_equal(&before, &fixture.instance));
        ASSERT_EQ(fixture.n_known, 0);
        result = fixture_run(&fixture, "echo on");
        assert_output(&result->stdout_output, "on\n");
}

static void test_away(void) {
        _cleanup_fixture_ struct fixture fixture;
        const struct run_id run = { .job.bytes = { 1 }, .epoch = 1, .attempt = 1 };
        struct executor_read *read;

        begin(&fixture, 2);
        fixture_kill_executor(&fixture);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        ASSERT_ERROR(executor_client_kill(fixture.client, &run), ENOTCONN);
        ASSERT_ERROR(executor_client_release(fixture.client, &run), ENOTCONN);
        ASSERT_ERROR(executor_client_journalled(fixture.client, &run, (const uint64_t[2]){}), ENOTCONN);
        ASSERT_ERROR(executor_client_read(fixture.client, &run, 1, 0, true, NULL, NULL, &read), ENOTCONN);
        ASSERT_ERROR(executor_client_stop(fixture.client, true), ENOTCONN);
}

static void test_stop_with_jobs(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *waiting = NULL;
        struct run_id run, other;

        begin(&fixture, 1);
        run = fixture_start(&fixture, "trap '' TERM; while :; do sleep 0.1; done");
        other = fixture_start(&fixture, "true");
        fixture_wait(&fixture, fixture_has_started(&fixture, &run));
        ASSERT_OK(executor_client_stop(fixture.client, /* kill_jobs= */ true));
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->outcome, RUN_KILLED);
        ASSERT_STREQ(result->error_message, "killed: the executor was stopped");
        waiting = fixture_result(&fixture, &other);
        ASSERT_EQ(waiting->outcome, RUN_KILLED);
        ASSERT_EQ(waiting->started_at, 0);
        ASSERT_EQ(fixture_wait_executor(&fixture), 0);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        ASSERT_LT(access(fixture.socket_path, F_OK), 0);
}

static void test_stop_when_empty(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id run;
        char command[1024];

        begin(&fixture, 1);
        run = fixture_start(&fixture, until_file(&fixture, "go", "echo done", command));
        fixture_wait(&fixture, fixture_has_started(&fixture, &run));
        ASSERT_OK(executor_client_stop(fixture.client, /* kill_jobs= */ false));
        folder_write(&fixture.folder, "go", "");
        result = fixture_result(&fixture, &run);
        assert_output(&result->stdout_output, "done\n");
        ASSERT_EQ(fixture_wait_executor(&fixture), 0);
}

static void test_sigterm(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *deaf = NULL;
        struct run_id run, other;
        char command[1024];

        begin(&fixture, 2);
        (void) snprintf(
                command, sizeof(command),
                "trap 'echo bye; exit 7' TERM; echo 1 > %s/listening; while :; do sleep 0.05; done",
                fixture.folder.path);
        run = fixture_start(&fixture, command);
        (void) snprintf(
                command, sizeof(command), "trap '' TERM; echo 1 > %s/deaf; while :; do sleep 0.05; done",
                fixture.folder.path);
        other = fixture_start(&fixture, command);
        ASSERT_EQ(fixture_read_number(&fixture, "listening"), 1);
        ASSERT_EQ(fixture_read_number(&fixture, "deaf"), 1);
        ASSERT_EQ(kill(fixture.executor, SIGTERM), 0);
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->outcome, RUN_KILLED);
        assert_output(&result->stdout_output, "bye\n");
        deaf = fixture_result(&fixture, &other);
        ASSERT_EQ(deaf->outcome, RUN_KILLED);
        ASSERT_EQ(deaf->signal, SIGKILL);
        ASSERT_EQ(fixture_wait_executor(&fixture), 0);
}

/* It stays for a daemon and for an end that was not released, and leaves when it has neither. */
static void test_leaves_when_idle(void) {
        _cleanup_fixture_ struct fixture fixture;
        usec_t leave_after;
        struct run_id run;

        fixture_begin(
                &fixture, &(const struct fixture_options){ .process_groups = process_groups,
                                                           .idle_timeout = "200ms" });
        fixture.hold_releases = true;
        run = fixture_start(&fixture, "sleep 0.5; true");
        job_result_unref(fixture_result(&fixture, &run));
        fixture_disconnect(&fixture);
        leave_after = now_usec(CLOCK_MONOTONIC) + 500 * USEC_PER_MSEC;
        fixture_wait(&fixture, now_usec(CLOCK_MONOTONIC) > leave_after);
        fixture_connect(&fixture);
        ASSERT_EQ(fixture.n_known, 1);
        ASSERT_OK(executor_client_release(fixture.client, &run));
        fixture_disconnect(&fixture);
        ASSERT_EQ(fixture_wait_executor(&fixture), 0);
}

static struct executor_config launch_config(const struct fixture *fixture) {
        return (struct executor_config){
                .socket_path = fixture->socket_path,
                .program = getenv("WORKER_MESH_EXECUTOR_PROGRAM"),
                .node_id = "node-test",
                .slots = 2,
                .output_max = FIXTURE_OUTPUT_MAX,
        };
}

/* Two at once, over the socket of one that was killed: one executor, which is nobody's child. */
static void test_launch(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct executor_config config;
        struct uuid instance;
        pid_t pids[2];
        int status;

        begin(&fixture, 2);
        fixture_disconnect(&fixture);
        fixture_kill_executor(&fixture);
        ASSERT_EQ(access(fixture.socket_path, F_OK), 0);
        config = launch_config(&fixture);
        for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
                pids[i] = fork();
                if (pids[i] == 0)
                        _exit(executor_client_launch(&config) < 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
                ASSERT_EQ(waitpid(pids[i], &status, 0), pids[i]);
                ASSERT_EQ(status, 0);
        }
        ASSERT_OK(executor_client_launch(&config));

        fixture_connect(&fixture);
        instance = fixture.instance;
        result = fixture_run(&fixture, "echo launched");
        assert_output(&result->stdout_output, "launched\n");
        fixture_disconnect(&fixture);
        fixture_connect(&fixture);
        ASSERT_TRUE(uuid_equal(&instance, &fixture.instance));
        ASSERT_OK(executor_client_stop(fixture.client, false));
        fixture_wait(&fixture, !executor_client_is_synchronised(fixture.client));
        fixture_wait(&fixture, access(fixture.socket_path, F_OK) < 0);
}

static void test_launch_fails(void) {
        _cleanup_fixture_ struct fixture fixture;
        struct executor_config config;

        fixture_begin(&fixture, &(const struct fixture_options){ .no_program = true });
        config = launch_config(&fixture);
        config.program = "/no/such/program";
        ASSERT_ERROR(executor_client_launch(&config), ENOENT);
        config.program = NULL;
        ASSERT_OK(executor_client_launch(&config));
}

/* The client finds nobody and starts the program; it is killed, and started again. */
static void test_client_starts_it(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id run;
        pid_t parent;

        fixture_begin(
                &fixture, &(const struct fixture_options){ .no_program = true, .client_starts = true });
        fixture_connect(&fixture);
        /* The executor is the parent of its job. */
        run = fixture_start(&fixture, "sleep 1000");
        result = NULL;
        ASSERT_OK(executor_client_kill(fixture.client, &run));
        result = fixture_result(&fixture, &run);
        job_result_unref(TAKE_PTR(result));
        result = fixture_run(&fixture, "echo $PPID");
        parent = atoi(result->stdout_output.data);
        ASSERT_GT(parent, 1);
        ASSERT_EQ(kill(parent, SIGKILL), 0);
        fixture_wait(&fixture, fixture.n_disconnected == 1);
        fixture_wait(&fixture, executor_client_is_synchronised(fixture.client));
        ASSERT_EQ(fixture.n_synchronised, 2);
        ASSERT_OK(executor_client_stop(fixture.client, false));
        fixture_wait(&fixture, fixture.n_disconnected == 2);
        fixture_wait(&fixture, access(fixture.socket_path, F_OK) < 0);
}

int main(int argc, char *argv[]) {
        process_groups = process_groups_asked_for(argc, argv);
        RUN(test_daemon_is_killed);
        RUN(test_ends_are_kept_until_released);
        RUN(test_journalled_offsets_are_kept);
        RUN(test_nothing_starts_without_a_daemon);
        RUN(test_many_are_known);
        RUN(test_executor_is_killed);
        RUN(test_away);
        RUN(test_stop_with_jobs);
        RUN(test_stop_when_empty);
        RUN(test_sigterm);
        RUN(test_leaves_when_idle);
        RUN(test_launch);
        RUN(test_launch_fails);
        RUN(test_client_starts_it);
        return 0;
}
