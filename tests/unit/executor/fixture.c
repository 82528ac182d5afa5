/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/program.h"
#include "util/file.h"
#include "util/random.h"

static int on_synchronised(
        void *userdata, const struct uuid *instance, const struct executor_known_run *runs, size_t n_runs) {

        struct fixture *fixture = userdata;

        if (fixture->n_refusals > 0) {
                fixture->n_refusals--;
                return -ENOMEM;
        }
        fixture->n_synchronised++;
        fixture->instance = *instance;
        fixture->n_known = MIN(n_runs, ELEMENTSOF(fixture->known));
        if (n_runs > 0)
                memcpy(fixture->known, runs, fixture->n_known * sizeof(runs[0]));
        return 0;
}

static void on_disconnected(void *userdata) {
        struct fixture *fixture = userdata;

        fixture->n_disconnected++;
}

static void on_started(void *userdata, const struct run_id *run, usec_t started_at) {
        struct fixture *fixture = userdata;

        ASSERT_GT(started_at, 0);
        fixture->last_started_at = started_at;
        fixture->started[fixture->n_started++ % ELEMENTSOF(fixture->started)] = *run;
}

static void on_exited(void *userdata, struct job_result *result) {
        struct fixture *fixture = userdata;
        struct job_result **place = &fixture->results[fixture->n_exited++ % ELEMENTSOF(fixture->results)];

        job_result_unref(*place);
        *place = result;
        if (!fixture->hold_releases)
                ASSERT_OK(executor_client_release(fixture->client, &result->run));
}

static usec_t on_patience(void *userdata) {
        const struct fixture *fixture = userdata;

        return fixture->patience;
}

static const char *program(void) {
        const char *path = getenv("WORKER_MESH_EXECUTOR_PROGRAM");

        ASSERT_NOT_NULL(path);
        return path;
}

void fixture_start_executor(struct fixture *fixture) {
        const char *idle = fixture->options.idle_timeout ? fixture->options.idle_timeout : "20s";
        const char *const arguments[] = {
                program(),
                "--socket",
                fixture->socket_path,
                "--cgroup",
                fixture->options.process_groups ? "no" : "auto",
                "--idle-timeout",
                idle,
                NULL,
        };

        fixture->executor = program_start(arguments);
}

void fixture_begin_to_connect(struct fixture *fixture) {
        const struct executor_config config = {
                .socket_path = fixture->socket_path,
                .program = fixture->options.client_starts ? program() : NULL,
                .node_id = "node-test",
                .slots = fixture->options.slots,
                .output_max = fixture->options.output_max,
                .kill_grace_usec = FIXTURE_GRACE_USEC,
        };
        const struct executor_handlers handlers = {
                .synchronised = on_synchronised,
                .disconnected = on_disconnected,
                .started = on_started,
                .exited = on_exited,
                .patience = on_patience,
                .userdata = fixture,
        };

        ASSERT_OK(executor_client_new(&config, fixture->event, &handlers, &fixture->client));
}

void fixture_connect(struct fixture *fixture) {
        fixture_begin_to_connect(fixture);
        fixture_wait(fixture, executor_client_is_synchronised(fixture->client));
}

void fixture_disconnect(struct fixture *fixture) {
        fixture->client = executor_client_free(fixture->client);
}

void fixture_begin(struct fixture *fixture, const struct fixture_options *options) {
        *fixture = (struct fixture){};
        if (options)
                fixture->options = *options;
        if (fixture->options.slots == 0)
                fixture->options.slots = 2;
        if (fixture->options.output_max == 0)
                fixture->options.output_max = FIXTURE_OUTPUT_MAX;
        folder_make(&fixture->folder);
        ASSERT_LT(
                snprintf(
                        fixture->socket_path, sizeof(fixture->socket_path), "%s/executor.sock",
                        fixture->folder.path),
                108);
        ASSERT_OK(sd_event_new(&fixture->event));
        if (fixture->options.no_program)
                return;
        fixture_start_executor(fixture);
        fixture_connect(fixture);
}

int fixture_wait_executor(struct fixture *fixture) {
        usec_t deadline = usec_add(now_usec(CLOCK_MONOTONIC), FIXTURE_TIMEOUT_USEC);
        pid_t pid;
        int status;

        while ((pid = waitpid(fixture->executor, &status, WNOHANG)) == 0) {
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                fixture_turn(fixture, now_usec(CLOCK_MONOTONIC) + 5 * USEC_PER_MSEC);
        }
        ASSERT_EQ(pid, fixture->executor);
        fixture->executor = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void fixture_kill_executor(struct fixture *fixture) {
        ASSERT_EQ(kill(fixture->executor, SIGKILL), 0);
        ASSERT_EQ(waitpid(fixture->executor, NULL, 0), fixture->executor);
        fixture->executor = 0;
}

void fixture_end(struct fixture *fixture) {
        if (fixture->executor > 0) {
                (void) kill(fixture->executor, SIGTERM);
                (void) kill(fixture->executor, SIGTERM);
                fixture_disconnect(fixture);
                ASSERT_EQ(fixture_wait_executor(fixture), 0);
                /* An orderly end leaves nothing but the lock. */
                ASSERT_LT(access(fixture->socket_path, F_OK), 0);
        }
        fixture_disconnect(fixture);
        for (size_t i = 0; i < ELEMENTSOF(fixture->results); i++)
                job_result_unref(fixture->results[i]);
        fixture->event = sd_event_unref(fixture->event);
        folder_remove(&fixture->folder);
}

void fixture_turn(struct fixture *fixture, usec_t deadline) {
        usec_t left = usec_sub(deadline, now_usec(CLOCK_MONOTONIC));

        /* Not everything that a test waits for wakes the loop. */
        ASSERT_OK(sd_event_run(fixture->event, MIN(left, 10 * USEC_PER_MSEC)));
}

static struct job_spec *spec_of(const struct fixture_job *job) {
        struct job_env env[64];
        struct job_spec *spec;
        size_t n = 0;

        for (const char *const *entry = job->env; entry && *entry; entry += 2, n++)
                env[n] = (struct job_env){
                        .name = entry[0],
                        .name_size = strlen(entry[0]),
                        .value = entry[1],
                        .value_size = strlen(entry[1]),
                };
        ASSERT_OK(job_spec_new(
                &(const struct job_request){
                        .command = job->command,
                        .command_size = strlen(job->command),
                        .cwd = job->cwd,
                        .cwd_size = job->cwd ? strlen(job->cwd) : 0,
                        .stdin_data = job->stdin_data,
                        .stdin_size = job->stdin_size,
                        .env = env,
                        .n_env = n,
                        .has_timeout = job->timeout_seconds > 0,
                        .timeout_seconds = job->timeout_seconds,
                },
                &spec));
        return spec;
}

struct run_id fixture_start_job(struct fixture *fixture, const struct fixture_job *job) {
        struct job_spec *spec = spec_of(job);
        struct run_id run = { .epoch = 1, .attempt = 1 };

        random_bytes(&run.job, sizeof(run.job));
        uuid_set_version(&run.job, 4);
        spec->id = run.job;
        ASSERT_OK(executor_client_start(fixture->client, &run, spec));
        job_spec_unref(spec);
        return run;
}

struct run_id fixture_start(struct fixture *fixture, const char *command) {
        return fixture_start_job(fixture, &(const struct fixture_job){ .command = command });
}

static struct job_result *take_result(struct fixture *fixture, const struct run_id *run) {
        for (size_t i = 0; i < ELEMENTSOF(fixture->results); i++)
                if (fixture->results[i] && run_id_equal(&fixture->results[i]->run, run))
                        return TAKE_PTR(fixture->results[i]);
        return NULL;
}

struct job_result *fixture_result(struct fixture *fixture, const struct run_id *run) {
        struct job_result *result = NULL;

        fixture_wait(fixture, (result = take_result(fixture, run)));
        return result;
}

struct job_result *fixture_run_job(struct fixture *fixture, const struct fixture_job *job) {
        struct run_id run = fixture_start_job(fixture, job);

        return fixture_result(fixture, &run);
}

struct job_result *fixture_run(struct fixture *fixture, const char *command) {
        return fixture_run_job(fixture, &(const struct fixture_job){ .command = command });
}

bool fixture_has_started(const struct fixture *fixture, const struct run_id *run) {
        for (size_t i = 0; i < MIN(fixture->n_started, (unsigned) ELEMENTSOF(fixture->started)); i++)
                if (run_id_equal(&fixture->started[i], run))
                        return true;
        return false;
}

void assert_output(const struct job_output *output, const char *expected) {
        if (output->size != strlen(expected) ||
            memcmp(output->data ? output->data : "", expected, output->size) != 0)
                _TEST_FAIL(
                        "\"%.*s\" is not \"%s\"", (int) output->size, output->data ? output->data : "",
                        expected);
        ASSERT_EQ(output->total, strlen(expected));
        ASSERT_FALSE(output->truncated);
}

static long read_number(struct fixture *fixture, const char *name) {
        _cleanup_free_ char *text = NULL;
        char *end;
        long number;

        if (read_file(fixture->folder.fd, name, 64, &text, NULL) < 0)
                return -1;
        number = strtol(text, &end, 10);
        return *end == '\n' ? number : -1;
}

long fixture_read_number(struct fixture *fixture, const char *name) {
        usec_t deadline = usec_add(now_usec(CLOCK_MONOTONIC), FIXTURE_TIMEOUT_USEC);
        long number;

        while ((number = read_number(fixture, name)) < 0) {
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), deadline);
                fixture_turn(fixture, now_usec(CLOCK_MONOTONIC) + 2 * USEC_PER_MSEC);
        }
        return number;
}

bool process_exists(pid_t pid) {
        _cleanup_free_ char *text = NULL;
        char path[64];
        const char *after;

        /* One that nobody has reaped yet does nothing any more. */
        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        if (read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return false;
        after = strrchr(text, ')');
        return after && after[2] != 'Z' && after[2] != 'X';
}

bool fixture_has_cgroups(struct fixture *fixture) {
        _cleanup_free_ char *text = NULL;
        char *path;

        ASSERT_OK(read_file(fixture->folder.fd, "executor.sock.state", 8192, &text, NULL));
        path = strchr(text, '\n');
        ASSERT_NOT_NULL(path);
        path[strcspn(path + 1, "\n") + 1] = '\0';
        return path[1] == '/' && access(path + 1, F_OK) >= 0;
}

bool process_groups_asked_for(int argc, char *argv[]) {
        bool groups = argc > 1 && streq(argv[1], "groups");
        struct fixture fixture;
        bool cgroups;

        if (groups)
                return true;
        fixture_begin(&fixture, NULL);
        cgroups = fixture_has_cgroups(&fixture);
        fixture_end(&fixture);
        if (!cgroups)
                exit(TEST_SKIPPED);
        return false;
}
