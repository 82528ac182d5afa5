/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An executor and its client in one loop, in which one allocation after the other fails, while jobs are
 * started, read, killed and end. Nothing leaks, and every run ends: as it would have, or as one that could
 * not be started. What the client was not told in one connection it is told in the next. */

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "executor/connection.h"
#include "executor/executor.h"
#include "fixture.h"
#include "lib/fault.h"
#include "util/log.h"
#include "util/random.h"

#define TEXT_SIZE (24u * 1024) /* more than a message carries: it goes through memory files */

enum {
        JOB_COPIES,
        JOB_FAILS,
        JOB_IS_KILLED,
        JOB_IS_READ,
        _JOBS_MAX,
};

struct scenario {
        struct fixture fixture;
        struct executor *executor;
        struct job_spec *specs[_JOBS_MAX];
        struct run_id runs[_JOBS_MAX];
        unsigned n_synchronised; /* that have been answered */
        bool kill_said, read_said;
        struct executor_read *read;
};

static void make_jobs(struct scenario *scenario) {
        static char text[TEXT_SIZE];
        static const char *const commands[_JOBS_MAX] = {
                [JOB_COPIES] = "cat",
                [JOB_FAILS] = "echo error >&2; exit 3",
                [JOB_IS_KILLED] = "sleep 60",
                [JOB_IS_READ] = "echo output",
        };

        memset(text, 'x', sizeof(text));
        for (size_t i = 0; i < _JOBS_MAX; i++) {
                const struct job_request request = {
                        .command = commands[i],
                        .command_size = strlen(commands[i]),
                        .stdin_data = i == JOB_COPIES ? text : NULL,
                        .stdin_size = i == JOB_COPIES ? sizeof(text) : 0,
                };

                ASSERT_OK(job_spec_new(&request, &scenario->specs[i]));
                scenario->runs[i] = (struct run_id){ .epoch = 1, .attempt = 1 };
                random_bytes(&scenario->runs[i].job, sizeof(scenario->runs[i].job));
                scenario->specs[i]->id = scenario->runs[i].job;
        }
}

static int listen_at(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ASSERT_TRUE(fd >= 0);
        memcpy(address.sun_path, path, strlen(path));
        ASSERT_EQ(bind(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(fd, 16), 0);
        return fd;
}

static int executor_open(struct scenario *scenario) {
        struct executor_settings settings = {
                .idle_timeout_usec = USEC_INFINITY,
                .daemon_uid = (uid_t) -1,
                .instance.bytes = { 1 },
        };
        int r = executor_new(scenario->fixture.event, &settings, &scenario->executor);

        if (r < 0)
                return r;
        return executor_listen(scenario->executor, listen_at(scenario->fixture.socket_path));
}

static const struct job_result *result_of(const struct scenario *scenario, size_t i) {
        const struct fixture *fixture = &scenario->fixture;

        for (size_t k = 0; k < ELEMENTSOF(fixture->results); k++)
                if (fixture->results[k] && run_id_equal(&fixture->results[k]->run, &scenario->runs[i]))
                        return fixture->results[k];
        return NULL;
}

static bool all_have_ended(const struct scenario *scenario) {
        for (size_t i = 0; i < _JOBS_MAX; i++)
                if (!result_of(scenario, i))
                        return false;
        return true;
}

static const struct executor_known_run *find_known(const struct fixture *fixture, const struct run_id *run) {
        for (size_t i = 0; i < fixture->n_known; i++)
                if (run_id_equal(&fixture->known[i].run, run))
                        return &fixture->known[i];
        return NULL;
}

/* As it was told, or as it turned out in the next connection. */
static bool has_started(const struct fixture *fixture, const struct run_id *run) {
        const struct executor_known_run *known = find_known(fixture, run);

        return fixture_has_started(fixture, run) || (known && known->started);
}

static void on_output(void *userdata, const struct executor_output *output) {
        struct scenario *scenario = userdata;

        scenario->read = NULL;
}

/* As the mind does it: what the executor does not have after a connect is given again. */
static void give_commands(struct scenario *scenario) {
        struct fixture *fixture = &scenario->fixture;

        if (!executor_client_is_synchronised(fixture->client))
                return;
        if (scenario->n_synchronised != fixture->n_synchronised) {
                scenario->n_synchronised = fixture->n_synchronised;
                scenario->kill_said = false;
                for (size_t i = 0; i < _JOBS_MAX; i++)
                        if (!result_of(scenario, i) && !find_known(fixture, &scenario->runs[i]))
                                (void) executor_client_start(
                                        fixture->client, &scenario->runs[i], scenario->specs[i]);
        }
        if (!scenario->kill_said && has_started(fixture, &scenario->runs[JOB_IS_KILLED])) {
                scenario->kill_said = true;
                (void) executor_client_kill(fixture->client, &scenario->runs[JOB_IS_KILLED]);
        }
        if (!scenario->read_said && has_started(fixture, &scenario->runs[JOB_IS_READ])) {
                scenario->read_said = true;
                (void) executor_client_read(
                        fixture->client, &scenario->runs[JOB_IS_READ], 1, 0, /* wait= */ true, on_output,
                        scenario, &scenario->read);
        }
}

static void check_results(const struct scenario *scenario) {
        static const enum run_outcome outcomes[_JOBS_MAX] = {
                [JOB_COPIES] = RUN_EXITED,
                [JOB_FAILS] = RUN_EXITED,
                [JOB_IS_KILLED] = RUN_KILLED,
                [JOB_IS_READ] = RUN_EXITED,
        };

        for (size_t i = 0; i < _JOBS_MAX; i++) {
                const struct job_result *result = result_of(scenario, i);

                if (result->outcome == RUN_NOT_STARTED)
                        continue;
                ASSERT_EQ(result->outcome, outcomes[i]);
                if (result->outcome == RUN_EXITED)
                        ASSERT_EQ(result->exit_code, i == JOB_FAILS ? 3 : 0);
        }
}

/* Nothing is kept for nobody. */
static void release_all(struct scenario *scenario) {
        struct fixture *fixture = &scenario->fixture;

        fixture_wait(fixture, executor_client_is_synchronised(fixture->client));
        for (size_t i = 0; i < _JOBS_MAX; i++)
                ASSERT_OK(executor_client_release(fixture->client, &scenario->runs[i]));
        fixture_wait(fixture, map_size(&scenario->executor->runs) == 0);
}

/* Whether an allocation failed at all. */
static bool run_with_fault(uint64_t allocation) {
        struct scenario scenario = {};
        struct fixture *fixture = &scenario.fixture;
        bool failed;
        int r;

        fixture_begin(
                fixture, &(const struct fixture_options){ .process_groups = true, .no_program = true });
        fixture->hold_releases = true;
        fixture_begin_to_connect(fixture);
        make_jobs(&scenario);

        fault_arm(allocation);
        r = executor_open(&scenario);
        if (r >= 0)
                fixture_wait(fixture, (give_commands(&scenario), all_have_ended(&scenario)));
        failed = fault_disarm();
        if (r >= 0) {
                check_results(&scenario);
                release_all(&scenario);
        } else
                ASSERT_TRUE(failed && r == -ENOMEM);

        if (scenario.read)
                executor_read_cancel(scenario.read);
        fixture_disconnect(fixture);
        scenario.executor = executor_free(scenario.executor);
        for (size_t i = 0; i < _JOBS_MAX; i++)
                job_spec_unref(scenario.specs[i]);
        fixture_end(fixture);
        return failed;
}

static void test_allocations(void) {
        uint64_t allocation = 0;

        while (run_with_fault(allocation))
                allocation++;
        fprintf(stderr, "  %" PRIu64 " allocations\n", allocation);
        ASSERT_GT(allocation, 20);
}

int main(void) {
        sigset_t signals;

        /* As the program has it. */
        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGCHLD);
        (void) sigaddset(&signals, SIGPIPE);
        ASSERT_EQ(sigprocmask(SIG_BLOCK, &signals, NULL), 0);
        log_set_max_level(LOG_CRIT);
        RUN(test_allocations);
        return 0;
}
