/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a job gets, and how its end is told. */

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fixture.h"
#include "util/file.h"

static bool process_groups;

static void begin(struct fixture *fixture) {
        fixture_begin(fixture, &(const struct fixture_options){ .process_groups = process_groups });
}

static void test_exit_0(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        usec_t before = now_usec(CLOCK_REALTIME);

        begin(&fixture);
        result = fixture_run(&fixture, "true");
        ASSERT_EQ(result->outcome, RUN_EXITED);
        ASSERT_EQ(result->exit_code, 0);
        ASSERT_EQ(result->signal, 0);
        ASSERT_NULL(result->error_message);
        ASSERT_EQ(job_result_status(result), JOB_COMPLETED);
        ASSERT_GE(result->started_at, before);
        ASSERT_GE(result->finished_at, result->started_at);
        ASSERT_GT(result->duration_usec, 0);
        ASSERT_NULL(result->stdout_output.data);
        ASSERT_EQ(fixture.n_started, 1);
        ASSERT_EQ(fixture.last_started_at, result->started_at);
}

static void test_exit_status(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run(&fixture, "exit 3");
        ASSERT_EQ(result->outcome, RUN_EXITED);
        ASSERT_EQ(result->exit_code, 3);
        ASSERT_EQ(job_result_status(result), JOB_FAILED);
        ASSERT_STREQ(result->error_message, "exited with status 3");
}

static void test_signal(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run(&fixture, "kill -KILL $$");
        ASSERT_EQ(result->outcome, RUN_SIGNALLED);
        ASSERT_EQ(result->signal, SIGKILL);
        ASSERT_EQ(job_result_status(result), JOB_FAILED);
        ASSERT_STREQ(result->error_message, "killed by signal 9 (SIGKILL)");
}

static void test_not_found(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run(&fixture, "no-such-command-anywhere");
        ASSERT_EQ(result->outcome, RUN_EXITED);
        ASSERT_EQ(result->exit_code, 127);
        ASSERT_NOT_NULL(strstr(result->error_message, "command not found ("));
        ASSERT_NOT_NULL(strstr(result->error_message, "no-such-command-anywhere"));
}

static void test_not_executable(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        char command[256];

        begin(&fixture);
        folder_write(&fixture.folder, "program", "no program\n");
        (void) snprintf(command, sizeof(command), "%s/program", fixture.folder.path);
        result = fixture_run(&fixture, command);
        ASSERT_EQ(result->exit_code, 126);
        ASSERT_NOT_NULL(strstr(result->error_message, "not executable ("));
        ASSERT_NOT_NULL(strstr(result->error_message, "ermission denied"));
}

static void test_shell(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run(&fixture, "x='a  b'; echo \"$x\" | tr a-z A-Z; echo oops >&2");
        ASSERT_EQ(result->exit_code, 0);
        assert_output(&result->stdout_output, "A  B\n");
        assert_output(&result->stderr_output, "oops\n");
}

static void test_environment(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        const char *const env[] = { "GREETING", "hello = world", "LANG", "de_DE.UTF-8", "JOB_ID",
                                    "forged",   "ATTEMPT",       "77",   NULL };
        char id[UUID_TEXT_SIZE], expected[512];

        ASSERT_EQ(setenv("SECRET_OF_THE_EXECUTOR", "1", /* overwrite= */ 1), 0);
        begin(&fixture);
        ASSERT_EQ(unsetenv("SECRET_OF_THE_EXECUTOR"), 0);
        result = fixture_run_job(
                &fixture,
                &(const struct fixture_job){ .command = "echo "
                                                        "$GREETING,$LANG,$JOB_ID,$NODE_ID,$EPOCH,$ATTEMPT,${"
                                                        "HOME:+home},${PATH:+path};"
                                                        "env | grep -c -e SECRET -e forged -e ATTEMPT=77",
                                             .env = env });
        (void) snprintf(
                expected, sizeof(expected), "hello = world,de_DE.UTF-8,%s,node-test,1,1,home,path\n0\n",
                uuid_to_text(&result->run.job, id));
        assert_output(&result->stdout_output, expected);
}

static void test_clean_environment(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run(
                &fixture, "env | sed 's/=.*//' | grep -v -e PWD -e WORKER_MESH_EXECUTOR | sort | xargs");
        assert_output(&result->stdout_output, "ATTEMPT EPOCH HOME JOB_ID LANG NODE_ID PATH\n");
}

/* Nothing of the executor leaks: no descriptors, no blocked or ignored signals, its limits. */
static void test_clean_process(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run(
                &fixture,
                "ls /proc/self/fd | wc -l; grep -c -e '^SigBlk:.0*$' -e '^SigIgn:.0*$' /proc/self/status;"
                "test $(ps -o sid= -p $$) -eq $$ && echo session");
        /* Three, and the folder that ls reads. */
        assert_output(&result->stdout_output, "4\n2\nsession\n");
}

static void test_limits_are_left_alone(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        char expected[64];

        ASSERT_GT(snprintf(expected, sizeof(expected), "%ld\n", sysconf(_SC_OPEN_MAX)), 0);
        begin(&fixture);
        result = fixture_run(&fixture, "ulimit -n");
        assert_output(&result->stdout_output, expected);
}

static void test_folder(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *home = NULL;
        char expected[256];

        begin(&fixture);
        result = fixture_run_job(
                &fixture, &(const struct fixture_job){ .command = "pwd", .cwd = fixture.folder.path });
        (void) snprintf(expected, sizeof(expected), "%s\n", fixture.folder.path);
        assert_output(&result->stdout_output, expected);
        home = fixture_run(&fixture, "test \"$(pwd)\" = \"$HOME\" || test \"$(pwd)\" = /");
        ASSERT_EQ(home->exit_code, 0);
}

static void test_folder_is_missing(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *next = NULL;

        begin(&fixture);
        result = fixture_run_job(
                &fixture, &(const struct fixture_job){ .command = "true", .cwd = "/no/such/folder" });
        ASSERT_EQ(result->outcome, RUN_NOT_STARTED);
        ASSERT_STREQ(
                result->error_message, "cannot change to folder /no/such/folder: No such file or directory");
        ASSERT_EQ(result->started_at, 0);
        next = fixture_run(&fixture, "echo on");
        assert_output(&next->stdout_output, "on\n");
}

/* execve() itself refuses: a single argument is limited to 128 KiB. */
static void test_cannot_be_executed(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        _cleanup_free_ char *command = malloc(140 * 1024);

        ASSERT_NOT_NULL(command);
        memset(command, ' ', 140 * 1024 - 1);
        command[140 * 1024 - 1] = '\0';
        memcpy(command, "true", 4);
        begin(&fixture);
        result = fixture_run(&fixture, command);
        ASSERT_EQ(result->outcome, RUN_NOT_STARTED);
        ASSERT_STREQ(result->error_message, "cannot run /bin/sh: Argument list too long");
}

static void test_input(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *none = NULL, *empty = NULL, *text = NULL;

        begin(&fixture);
        none = fixture_run(&fixture, "readlink /proc/self/fd/0; cat");
        assert_output(&none->stdout_output, "/dev/null\n");
        empty = fixture_run_job(
                &fixture,
                &(const struct fixture_job){ .command = "wc -c", .stdin_data = "", .stdin_size = 0 });
        assert_output(&empty->stdout_output, "0\n");
        text = fixture_run_job(
                &fixture, &(const struct fixture_job){ .command = "read a b; echo $b-$a",
                                                       .stdin_data = "one two\n",
                                                       .stdin_size = 8 });
        assert_output(&text->stdout_output, "two-one\n");
}

static void test_large_input(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        _cleanup_free_ char *input = malloc(STDIN_MAX);

        ASSERT_NOT_NULL(input);
        for (size_t i = 0; i < STDIN_MAX; i++)
                input[i] = (char) (i * 7);
        begin(&fixture);
        result = fixture_run_job(
                &fixture, &(const struct fixture_job){ .command = "wc -c; cat <&0 | wc -c",
                                                       .stdin_data = input,
                                                       .stdin_size = STDIN_MAX });
        /* Everything is there, once. */
        assert_output(&result->stdout_output, "1048576\n0\n");
}

static void test_large_command(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        _cleanup_free_ char *command = malloc(COMMAND_MAX + 1);
        char value[20000];
        const char *const env[] = { "LARGE", value, NULL };
        int n;

        ASSERT_NOT_NULL(command);
        memset(command, 'x', COMMAND_MAX);
        n = snprintf(command, 64, "echo ${#LARGE}; : ");
        command[n] = 'x';
        command[COMMAND_MAX] = '\0';
        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        begin(&fixture);
        result = fixture_run_job(&fixture, &(const struct fixture_job){ .command = command, .env = env });
        assert_output(&result->stdout_output, "19999\n");
}

static void test_timeout(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run_job(
                &fixture,
                &(const struct fixture_job){ .command = "echo before; sleep 100", .timeout_seconds = 1 });
        ASSERT_EQ(result->outcome, RUN_TIMED_OUT);
        ASSERT_EQ(job_result_status(result), JOB_TIMEOUT);
        ASSERT_STREQ(result->error_message, "timed out after 1s");
        ASSERT_GE(result->duration_usec, 1 * USEC_PER_SEC);
        ASSERT_LT(result->duration_usec, 30 * USEC_PER_SEC);
        assert_output(&result->stdout_output, "before\n");
}

static void test_timeout_ignoring_sigterm(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run_job(
                &fixture, &(const struct fixture_job){
                                  .command = "trap 'echo ignored' TERM; while :; do sleep 0.05; done",
                                  .timeout_seconds = 1 });
        ASSERT_EQ(result->outcome, RUN_TIMED_OUT);
        ASSERT_EQ(result->signal, SIGKILL);
        ASSERT_GE(result->duration_usec, 1 * USEC_PER_SEC + FIXTURE_GRACE_USEC);
        assert_output(&result->stdout_output, "ignored\n");
}

/* SIGTERM alone would wait in a stopped process for ever. */
static void test_timeout_of_a_stopped_job(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture);
        result = fixture_run_job(
                &fixture, &(const struct fixture_job){ .command = "kill -STOP $$", .timeout_seconds = 1 });
        ASSERT_EQ(result->outcome, RUN_TIMED_OUT);
        ASSERT_EQ(result->signal, SIGTERM);
}

static void test_kill(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id run;

        begin(&fixture);
        run = fixture_start(&fixture, "sleep 1000");
        fixture_wait(&fixture, fixture_has_started(&fixture, &run));
        ASSERT_OK(executor_client_kill(fixture.client, &run));
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->outcome, RUN_KILLED);
        ASSERT_STREQ(result->error_message, "killed on request");
        ASSERT_GT(result->started_at, 0);
}

/* An end without any grace, while the process of the job is still on its way to be one. */
static void test_kill_at_once(void) {
        for (unsigned i = 0; i < 20; i++) {
                _cleanup_fixture_ struct fixture fixture;
                struct run_id run;

                begin(&fixture);
                run = fixture_start(&fixture, "sleep 1000");
                fixture_wait(&fixture, fixture_has_started(&fixture, &run));
        }
}

static void test_kill_before_it_started(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id first, second, third;

        begin(&fixture);
        first = fixture_start(&fixture, "sleep 1000");
        second = fixture_start(&fixture, "sleep 1000");
        third = fixture_start(&fixture, "sleep 1000");
        fixture_wait(&fixture, fixture_has_started(&fixture, &second));
        ASSERT_OK(executor_client_kill(fixture.client, &third));
        result = fixture_result(&fixture, &third);
        ASSERT_EQ(result->outcome, RUN_KILLED);
        ASSERT_EQ(result->started_at, 0);
        ASSERT_FALSE(fixture_has_started(&fixture, &third));
        ASSERT_TRUE(fixture_has_started(&fixture, &first));
}

/* What has started goes on. */
static void test_withdraw(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *finished = NULL;
        struct run_id runs[3];
        char command[1024];

        begin(&fixture);
        (void) snprintf(
                command, sizeof(command), "while ! test -e %s/go; do sleep 0.02; done; echo on",
                fixture.folder.path);
        for (size_t i = 0; i < ELEMENTSOF(runs); i++)
                runs[i] = fixture_start(&fixture, command);
        fixture_wait(&fixture, fixture_has_started(&fixture, &runs[1]));
        for (size_t i = 0; i < ELEMENTSOF(runs); i++)
                ASSERT_OK(executor_client_withdraw(fixture.client, &runs[i]));
        result = fixture_result(&fixture, &runs[2]);
        ASSERT_EQ(result->outcome, RUN_KILLED);
        ASSERT_EQ(result->started_at, 0);
        folder_write(&fixture.folder, "go", "");
        finished = fixture_result(&fixture, &runs[0]);
        assert_output(&finished->stdout_output, "on\n");
}

static void test_kill_what_is_not_known(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        const struct run_id run = { .job.bytes = { 1 }, .epoch = 1, .attempt = 1 };

        begin(&fixture);
        ASSERT_OK(executor_client_kill(fixture.client, &run));
        result = fixture_result(&fixture, &run);
        ASSERT_EQ(result->outcome, RUN_LOST);
        ASSERT_NOT_NULL(result->error_message);
}

/* A process that left its session lives neither longer than its job, nor does it hold it up. */
static void test_grandchild(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL, *next = NULL;
        char command[1024];

        begin(&fixture);
        (void) snprintf(
                command, sizeof(command),
                "setsid sh -c 'echo $$ > %1$s/pid.tmp; mv %1$s/pid.tmp %1$s/pid; sleep 1000; true' &"
                "while ! test -e %1$s/pid; do sleep 0.01; done; echo done",
                fixture.folder.path);
        result = fixture_run(&fixture, command);
        ASSERT_EQ(result->outcome, RUN_EXITED);
        assert_output(&result->stdout_output, "done\n");
        ASSERT_LT(result->duration_usec, 30 * USEC_PER_SEC);
        ASSERT_FALSE(process_exists((pid_t) fixture_read_number(&fixture, "pid")));
        next = fixture_run(&fixture, "echo next");
        assert_output(&next->stdout_output, "next\n");
}

/* Beside another job, so that it has to be told whose it is; and below its own parent. */
static void test_grandchild_beside_another_job(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct run_id other;
        char command[1024], other_command[256];

        begin(&fixture);
        (void) snprintf(
                other_command, sizeof(other_command),
                "setsid sh -c 'echo $$ > %s/other; sleep 1000; true' & wait", fixture.folder.path);
        other = fixture_start(&fixture, other_command);
        ASSERT_GT(fixture_read_number(&fixture, "other"), 0);
        (void) snprintf(
                command, sizeof(command),
                "setsid sh -c 'setsid sh -c \"echo \\$\\$ > %1$s/inner; sleep 1000; true\" &"
                " while ! test -s %1$s/inner; do sleep 0.01; done; echo $$ > %1$s/outer; sleep 1000; true' &"
                " while ! test -s %1$s/outer; do sleep 0.01; done",
                fixture.folder.path);
        result = fixture_run(&fixture, command);
        ASSERT_EQ(result->outcome, RUN_EXITED);
        ASSERT_FALSE(process_exists((pid_t) fixture_read_number(&fixture, "outer")));
        ASSERT_FALSE(process_exists((pid_t) fixture_read_number(&fixture, "inner")));
        ASSERT_TRUE(process_exists((pid_t) fixture_read_number(&fixture, "other")));

        ASSERT_OK(executor_client_kill(fixture.client, &other));
        job_result_unref(fixture_result(&fixture, &other));
        ASSERT_FALSE(process_exists((pid_t) fixture_read_number(&fixture, "other")));
}

/* What is killed takes its background processes with it, those that ignore SIGTERM too. */
static void test_timeout_of_a_family(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        char command[1024];

        begin(&fixture);
        (void) snprintf(
                command, sizeof(command),
                "sh -c 'trap \"\" TERM; echo $$ > %1$s/deaf; while :; do sleep 0.1; done' & sleep 1000",
                fixture.folder.path);
        result = fixture_run_job(
                &fixture, &(const struct fixture_job){ .command = command, .timeout_seconds = 1 });
        ASSERT_EQ(result->outcome, RUN_TIMED_OUT);
        ASSERT_FALSE(process_exists((pid_t) fixture_read_number(&fixture, "deaf")));
}

/* As a service manager does when it cleans up: groups without processes are removed, and so is the one above
 * them. */
static void test_cgroups_are_removed(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_free_ char *text = NULL;
        char *path, name[512];

        fixture_begin(&fixture, &(const struct fixture_options){ .slots = 3 });
        for (unsigned i = 0; i < 3; i++)
                job_result_unref(fixture_run(&fixture, "exit 0"));

        ASSERT_OK(read_file(fixture.folder.fd, "executor.sock.state", 8192, &text, NULL));
        path = strchr(text, '\n') + 1;
        path[strcspn(path, "\n")] = '\0';
        for (unsigned i = 0; i < 16; i++) {
                (void) snprintf(name, sizeof(name), "%s/job-%u", path, i);
                (void) rmdir(name);
        }
        ASSERT_EQ(rmdir(path), 0);

        for (unsigned i = 0; i < 3; i++) {
                _cleanup_(job_result_unref_p) struct job_result *result = fixture_run(&fixture, "echo here");

                assert_output(&result->stdout_output, "here\n");
        }
        ASSERT_EQ(access(path, F_OK), 0);
}

/* From here on, for this process and what it starts: clone3() is not known. */
static void forbid_clone3(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = { .len = ELEMENTSOF(filter), .filter = filter };

        ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

int main(int argc, char *argv[]) {
        if (argc > 2 && streq(argv[2], "without-clone3"))
                forbid_clone3();
        process_groups = process_groups_asked_for(argc, argv);
        RUN(test_exit_0);
        RUN(test_exit_status);
        RUN(test_signal);
        RUN(test_not_found);
        RUN(test_not_executable);
        RUN(test_shell);
        RUN(test_environment);
        RUN(test_clean_environment);
        RUN(test_clean_process);
        RUN(test_limits_are_left_alone);
        RUN(test_folder);
        RUN(test_folder_is_missing);
        RUN(test_cannot_be_executed);
        RUN(test_input);
        RUN(test_large_input);
        RUN(test_large_command);
        RUN(test_timeout);
        RUN(test_timeout_ignoring_sigterm);
        RUN(test_timeout_of_a_stopped_job);
        RUN(test_kill);
        RUN(test_kill_at_once);
        RUN(test_kill_before_it_started);
        RUN(test_withdraw);
        RUN(test_kill_what_is_not_known);
        RUN(test_grandchild);
        RUN(test_grandchild_beside_another_job);
        RUN(test_timeout_of_a_family);
        if (!process_groups)
                RUN(test_cgroups_are_removed);
        return 0;
}
