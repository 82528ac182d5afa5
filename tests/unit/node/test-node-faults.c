/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A whole node, from its start through requests of a client to its end, in which one call after the other
 * fails: allocations of the loop thread, and what SQLite asks of disk and memory. Whatever fails, nothing
 * leaks and nothing crashes; each request is answered or its connection ended; and once a node without
 * faults has taken over, each job that was acknowledged is there, has ended, and has run exactly once. The
 * executor is a process of its own, the same one throughout, and has nothing left in the end. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "executor/client.h"
#include "lib/fault.h"
#include "lib/folder.h"
#include "lib/program.h"
#include "node/node.h"
#include "unit/store/faulty-sqlite.h"
#include "util/buffer.h"
#include "util/file.h"
#include "util/log.h"
#include "util/uuid.h"

#define WAIT_MAX_USEC (60 * USEC_PER_SEC)
#define JOBS_MAX 8u

struct job {
        char id[UUID_TEXT_SIZE];
        bool sleeps;    /* until it is cancelled */
        bool cancelled; /* as it was answered */
};

struct scenario {
        struct folder folder; /* of one run */
        char state[160], api_socket[160], keys[160], marks[160];
        struct config config;
        sd_event *event;
        struct node *node;
        struct job jobs[JOBS_MAX]; /* that were acknowledged */
        size_t n_jobs;
        unsigned n_requests, n_answers;
};

static struct folder executor_folder;
static char executor_socket[160];
static pid_t executor_pid;

/* The executor. */

static void start_executor(void) {
        const char *program = getenv("WORKER_MESH_EXECUTOR_PROGRAM");
        const char *const arguments[] = {
                program, "--socket", executor_socket, "--cgroup", "no", "--idle-timeout", "infinity", NULL,
        };

        ASSERT_NOT_NULL(program);
        folder_make(&executor_folder);
        (void) snprintf(executor_socket, sizeof(executor_socket), "%s/executor.sock", executor_folder.path);
        executor_pid = program_start(arguments);
}

static void stop_executor(void) {
        ASSERT_EQ(kill(executor_pid, SIGTERM), 0);
        ASSERT_EQ(waitpid(executor_pid, NULL, 0), executor_pid);
        folder_remove(&executor_folder);
}

static int on_synchronised(
        void *userdata, const struct uuid *instance, const struct executor_known_run *runs, size_t n_runs) {
        size_t *n = userdata;

        *n = 0;
        for (size_t i = 0; i < n_runs; i++)
                *n += !runs[i].ended;
        return 0;
}

static void on_nothing(void *userdata) {
}

static void on_exited(void *userdata, struct job_result *result) {
        job_result_unref(result);
}

/* How many runs go on. An end that came while the node was closed is the next one's to take. */
static size_t executor_runs(void) {
        const struct executor_config config = {
                .socket_path = executor_socket,
                .node_id = "node-test",
                .slots = 1,
                .output_max = 64 * 1024,
                .kill_grace_usec = USEC_PER_SEC,
        };
        size_t n = SIZE_MAX;
        const struct executor_handlers handlers = { .synchronised = on_synchronised,
                                                    .disconnected = on_nothing,
                                                    .exited = on_exited,
                                                    .userdata = &n };
        struct executor_client *client;
        sd_event *event;

        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(executor_client_new(&config, event, &handlers, &client));
        while (n == SIZE_MAX)
                ASSERT_OK(sd_event_run(event, WAIT_MAX_USEC));
        executor_client_free(client);
        sd_event_unref(event);
        return n;
}

/* The node. */

static void scenario_begin(struct scenario *scenario) {
        static char *interfaces[] = { (char *) "lo", NULL };

        *scenario = (struct scenario){};
        folder_make(&scenario->folder);
        (void) snprintf(scenario->state, sizeof(scenario->state), "%s/state", scenario->folder.path);
        (void) snprintf(scenario->api_socket, sizeof(scenario->api_socket), "%s/api", scenario->folder.path);
        (void) snprintf(scenario->keys, sizeof(scenario->keys), "%s/mesh.key", scenario->folder.path);
        (void) snprintf(scenario->marks, sizeof(scenario->marks), "%s/marks", scenario->folder.path);
        ASSERT_EQ(mkdirat(scenario->folder.fd, "marks", 0777), 0);
        scenario->config = (struct config){
                .api_socket = scenario->api_socket,
                .interfaces = interfaces,
                .state_directory = scenario->state,
                .key_file = scenario->keys,
                .slots = 2,
                .heartbeat_interval_usec = 5 * USEC_PER_SEC,
                .peer_timeout_usec = 30 * USEC_PER_SEC,
                .kill_grace_usec = USEC_PER_SEC,
                .queue_max = 100,
                .output_max_bytes = 64 * 1024,
                .history_max_age_usec = USEC_INFINITY,
                .history_max_jobs = UINT64_MAX,
                .history_max_bytes = UINT64_MAX,
                .connections_max = 16,
                .peers_max = 16,
                .executor_socket = executor_socket,
        };
        ASSERT_OK(sd_event_new(&scenario->event));
}

static void scenario_end(struct scenario *scenario) {
        scenario->node = node_free(scenario->node);
        sd_event_unref(scenario->event);
        folder_remove(&scenario->folder);
}

static int node_open(struct scenario *scenario) {
        int r = node_new(&scenario->config, scenario->event, &scenario->node);

        if (r >= 0)
                node_start(scenario->node);
        return r;
}

/* The client. */

static int client_connect(const struct scenario *scenario) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_TRUE(fd >= 0);
        memcpy(address.sun_path, scenario->api_socket, strlen(scenario->api_socket));
        ASSERT_EQ(connect(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
        return fd;
}

/* The status of the answer, and all of it; 0: the connection was closed without one. */
static unsigned client_ask(
        struct scenario *scenario, const char *method, const char *target, const char *more,
        struct buffer *ret) {
        usec_t end = now_usec(CLOCK_MONOTONIC) + WAIT_MAX_USEC;
        _cleanup_close_ int fd = client_connect(scenario);
        _cleanup_free_ char *text = NULL;
        static char piece[64 * 1024];
        unsigned status = 0;
        size_t size = 0;
        ssize_t n;

        *ret = (struct buffer){};
        ASSERT_TRUE(
                asprintf(
                        &text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method,
                        target, more) > 0);
        ASSERT_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
        while ((n = recv(fd, piece + size, sizeof(piece) - 1 - size, MSG_DONTWAIT)) != 0) {
                if (n < 0 && errno == ECONNRESET)
                        break;
                ASSERT_TRUE(n > 0 || errno == EAGAIN);
                size += n > 0 ? (size_t) n : 0;
                ASSERT_LT(now_usec(CLOCK_MONOTONIC), end);
                if (n < 0)
                        ASSERT_OK(sd_event_run(scenario->event, USEC_PER_MSEC));
        }
        piece[size] = '\0';
        ret->data = piece; /* valid until the next one */
        ret->size = size;
        scenario->n_requests++;
        if (sscanf(piece, "HTTP/1.1 %u", &status) == 1)
                scenario->n_answers++;
        return status;
}

static unsigned client_post(
        struct scenario *scenario, const char *target, const char *header, const char *body,
        struct buffer *ret) {
        _cleanup_free_ char *more = NULL;

        ASSERT_TRUE(asprintf(&more, "%sContent-Length: %zu\r\n\r\n%s", header, strlen(body), body) > 0);
        return client_ask(scenario, "POST", target, more, ret);
}

#define JSON "Content-Type: application/json\r\n"

/* Notes each id of an answer. */
static void take_ids(struct scenario *scenario, const struct buffer *answer) {
        static const char key[] = "\"job_id\":\"";

        for (const char *text = answer->data; (text = strstr(text, key)); text++) {
                ASSERT_LT(scenario->n_jobs, JOBS_MAX);
                (void) snprintf(
                        scenario->jobs[scenario->n_jobs++].id, UUID_TEXT_SIZE, "%s", text + strlen(key));
        }
}

/* Success is one of two, or the connection was closed, or something on this side went wrong. */
static void check_status(unsigned status, unsigned good, unsigned other, const struct buffer *answer) {
        if (status != 0 && status != good && status != other && status < 500)
                _TEST_FAIL("%.*s", (int) answer->size, answer->data);
}

/* In the body "@" stands for a command that leaves a mark each time that the job runs. */
static void submit(struct scenario *scenario, const char *header, const char *body) {
        struct buffer answer;
        char text[2048];
        size_t size = 0;

        for (; *body != '\0'; body++) {
                if (*body == '@')
                        size += (size_t) snprintf(
                                text + size, sizeof(text) - size, "echo >> %s/$JOB_ID", scenario->marks);
                else
                        text[size++] = *body;
                ASSERT_LT(size, sizeof(text));
        }
        text[size] = '\0';
        unsigned status = client_post(scenario, "/api/v1/jobs", header, text, &answer);

        check_status(status, 201, 201, &answer);
        if (status == 201)
                take_ids(scenario, &answer);
}

/* What follows is asked about a job that was acknowledged. */
static unsigned ask_about(
        struct scenario *scenario, const char *method, const struct job *job, const char *what,
        struct buffer *ret) {
        char target[160];

        (void) snprintf(target, sizeof(target), "/api/v1/jobs/%s%s", job->id, what);
        return streq(method, "POST") ? client_post(scenario, target, "", "", ret)
                                     : client_ask(scenario, method, target, "\r\n", ret);
}

static void live(struct scenario *scenario) {
        struct buffer answer;
        unsigned status;

        submit(scenario, JSON, "{\"command\":\"@; echo output; exit 3\",\"stdin\":\"text\"}");
        if (scenario->n_jobs == 1) {
                status = ask_about(scenario, "GET", &scenario->jobs[0], "?wait=100ms", &answer);
                check_status(status, 200, 200, &answer);
                status = ask_about(scenario, "GET", &scenario->jobs[0], "/stdout", &answer);
                check_status(status, 200, 200, &answer);
        }
        submit(scenario, JSON "Idempotency-Key: one\r\n",
               "[{\"command\":\"@; true\",\"env\":{\"NAME\":\"value\"}},{\"command\":\"@; cat\"},"
               "{\"command\":\"@\",\"cwd\":\"/\"}]");
        status = client_ask(scenario, "GET", "/api/v1/jobs?limit=2", "\r\n", &answer);
        check_status(status, 200, 200, &answer);

        size_t before = scenario->n_jobs;
        submit(scenario, JSON, "{\"command\":\"sleep 60\"}");
        if (scenario->n_jobs > before) {
                struct job *job = &scenario->jobs[before];

                job->sleeps = true;
                status = ask_about(scenario, "POST", job, "/cancel", &answer);
                check_status(status, 200, 202, &answer);
                job->cancelled = status == 200; /* 202 is no promise yet */
        }
}

/* Afterwards. */

static size_t count_marks(const struct scenario *scenario, const char *id) {
        _cleanup_free_ char *text = NULL;
        char path[256];
        size_t size;

        (void) snprintf(path, sizeof(path), "%s/%s", scenario->marks, id);
        return read_file(AT_FDCWD, path, 1024, &text, &size) < 0 ? 0 : size;
}

static void check_job(struct scenario *scenario, struct job *job) {
        bool first = job == scenario->jobs;
        struct buffer answer;

        ASSERT_EQ(ask_about(scenario, "GET", job, "", &answer), 200);
        /* A cancel that nobody confirmed may have been lost with the node. */
        if (job->sleeps && !job->cancelled)
                ASSERT_TRUE(ask_about(scenario, "POST", job, "/cancel", &answer) < 300);
        ASSERT_EQ(ask_about(scenario, "GET", job, "?wait=50s", &answer), 200);
        if (job->sleeps) {
                ASSERT_NOT_NULL(strstr(answer.data, "JOB_CANCELLED"));
                return;
        }
        ASSERT_NOT_NULL(strstr(answer.data, "\"finished_at\":\"2"));
        if (!strstr(answer.data, "JOB_COMPLETED"))
                ASSERT_TRUE(first && strstr(answer.data, "\"exit_code\":3"));
        if (count_marks(scenario, job->id) != 1)
                _TEST_FAIL("ran %zu times: %s", count_marks(scenario, job->id), answer.data);
}

/* Also of jobs that nobody was told of none ran twice. One that was cancelled may have made its file only.
 */
static void check_marks(const struct scenario *scenario) {
        struct dirent *entry;
        DIR *folder = opendir(scenario->marks);

        ASSERT_NOT_NULL(folder);
        while ((entry = readdir(folder)))
                if (entry->d_name[0] != '.')
                        ASSERT_LE(count_marks(scenario, entry->d_name), 1);
        closedir(folder);
}

/* Those that were accepted and not acknowledged. */
static void end_the_rest(struct scenario *scenario) {
        struct scenario rest = *scenario;
        struct buffer answer;

        ASSERT_EQ(
                client_ask(
                        scenario, "GET", "/api/v1/jobs?limit=100&status=PENDING,RUNNING", "\r\n", &answer),
                200);
        rest.n_jobs = 0;
        take_ids(&rest, &answer);
        for (size_t i = 0; i < rest.n_jobs; i++) {
                ASSERT_TRUE(ask_about(scenario, "POST", &rest.jobs[i], "/cancel", &answer) < 300);
                ASSERT_EQ(ask_about(scenario, "GET", &rest.jobs[i], "?wait=50s", &answer), 200);
        }
}

static void take_over(struct scenario *scenario) {
        scenario->node = node_free(scenario->node);
        ASSERT_OK(node_open(scenario));
        for (size_t i = 0; i < scenario->n_jobs; i++)
                check_job(scenario, &scenario->jobs[i]);
        end_the_rest(scenario);
        check_marks(scenario);
}

/* What failed once is tried again without a restart. */
static void await_ends(struct scenario *scenario) {
        struct buffer answer;

        for (size_t i = 0; i < scenario->n_jobs; i++) {
                if (scenario->jobs[i].sleeps && !scenario->jobs[i].cancelled)
                        continue;
                ASSERT_EQ(ask_about(scenario, "GET", &scenario->jobs[i], "?wait=20s", &answer), 200);
                ASSERT_NOT_NULL(strstr(answer.data, "\"finished_at\":\"2"));
        }
}

struct faults {
        void (*arm)(unsigned call, enum faulty_what what);
        bool (*disarm)(void);
        enum faulty_what what;
};

static void arm_allocation(unsigned call, enum faulty_what what) {
        fault_arm(call);
}

static void arm_sqlite(unsigned call, enum faulty_what what) {
        faulty_sqlite_arm(what, call, 1);
}

/* Whether a call failed at all. */
static bool run_with_fault(const struct faults *faults, unsigned call) {
        struct scenario scenario;
        bool failed;
        int r;

        scenario_begin(&scenario);
        faults->arm(call, faults->what);
        r = node_open(&scenario);
        if (r >= 0)
                live(&scenario);
        /* Every other time the node ends as it is. */
        if (r >= 0 && call % 2 == 0) {
                failed = faults->disarm();
                await_ends(&scenario);
                scenario.node = node_free(scenario.node);
        } else {
                scenario.node = node_free(scenario.node);
                failed = faults->disarm();
        }
        if (!failed) {
                ASSERT_OK(r);
                ASSERT_EQ(scenario.n_answers, scenario.n_requests);
                ASSERT_EQ(scenario.n_jobs, 5);
        }
        take_over(&scenario);
        scenario_end(&scenario);
        return failed;
}

/* The further on, the larger the steps; each one where there is time. */
static void walk(const struct faults *faults) {
        const char *slow_tests = getenv("SLOW_TESTS");
        bool slow = slow_tests && streq(slow_tests, "true");
        unsigned call = 0, n = 0;

        for (; run_with_fault(faults, call); n++)
                call += slow ? 1 : 1 + call / 8;
        fprintf(stderr, "  %u of %u calls\n", n, call);
        ASSERT_GT(n, 2);
        ASSERT_EQ(executor_runs(), 0);
}

static void test_allocations(void) {
        walk(&(const struct faults){ .arm = arm_allocation, .disarm = fault_disarm });
}

static void test_writes(void) {
        walk(&(const struct faults){ arm_sqlite, faulty_sqlite_disarm, FAULTY_WRITE });
}

static void test_syncs(void) {
        walk(&(const struct faults){ arm_sqlite, faulty_sqlite_disarm, FAULTY_SYNC });
}

static void test_reads(void) {
        walk(&(const struct faults){ arm_sqlite, faulty_sqlite_disarm, FAULTY_READ });
}

static void test_opens(void) {
        walk(&(const struct faults){ arm_sqlite, faulty_sqlite_disarm, FAULTY_OPEN });
}

static void test_memory_of_sqlite(void) {
        walk(&(const struct faults){ arm_sqlite, faulty_sqlite_disarm, FAULTY_MEMORY });
}

/* Each request to a node that works, with its first allocation failing, then its second, and so on. */

struct question {
        const char *method, *target, *header,
                *body; /* "@" in the target is the id of a job that has ended */
        unsigned status;
};

static const struct question questions[] = {
        { "GET", "/", "", "", 200 },
        { "GET", "/api/v1/health", "", "", 200 },
        { "GET", "/api/v1/status", "", "", 200 },
        { "GET", "/api/v1/peers", "", "", 200 },
        { "GET", "/api/v1/jobs?limit=3&status=FAILED,COMPLETED", "", "", 200 },
        { "HEAD", "/api/v1/jobs", "", "", 200 },
        { "GET", "/api/v1/jobs/@?wait=1s", "", "", 200 },
        { "GET", "/api/v1/jobs/@/stdout?offset=2&follow=1", "", "", 200 },
        { "GET", "/api/v1/jobs/@/stderr", "", "", 200 },
        { "POST", "/api/v1/jobs/@/cancel", "", "", 200 },
        { "POST", "/api/v1/jobs?wait=20s", JSON, "{\"command\":\"echo hello\"}", 200 },
        { "POST", "/api/v1/jobs", JSON "Idempotency-Key: two\r\n", "{\"command\":\"true\"}", 201 },
        { "POST", "/api/v1/jobs", "Content-Type: application/x-ndjson\r\n",
          "{\"command\":\"true\"}\n{\"command\":\"true\",\"env\":{\"A\":\"\\u00e9\"}}\n", 201 },
        { "POST", "/api/v1/jobs", JSON, "[{\"command\":\"\"}]", 400 },
        { "POST", "/api/v1/jobs", JSON, "{\"command\":\"true\"", 400 },
        { "POST", "/api/v1/jobs", JSON, "{\"command\":\"true\",\"target_node_id\":\"other\"}", 422 },
        { "POST", "/api/v1/jobs", "Content-Type: text/plain\r\n", "{}", 415 },
        { "POST", "/api/v1/jobs", JSON "Origin: http://evil.example\r\n", "{\"command\":\"true\"}", 403 },
        { "PUT", "/api/v1/jobs", "", "", 405 },
        { "GET", "/nothing", "", "", 404 },
};

static unsigned ask_question(struct scenario *scenario, const struct question *question) {
        char target[160], id[UUID_TEXT_SIZE];
        const char *at = strchr(question->target, '@');
        struct buffer answer;
        unsigned status;

        (void) snprintf(id, sizeof(id), "%s", scenario->jobs[0].id);
        (void) snprintf(
                target, sizeof(target), "%.*s%s%s", (int) strcspn(question->target, "@"), question->target,
                at ? id : "", at ? at + 1 : "");
        if (!streq(question->method, "POST"))
                return client_ask(scenario, question->method, target, "\r\n", &answer);
        status = client_post(scenario, target, question->header, question->body, &answer);
        if (status == 201 || status == 202) {
                scenario->n_jobs = 1;
                take_ids(scenario, &answer);
        }
        return status;
}

/* What was acknowledged is there. */
static void check_new_jobs(struct scenario *scenario) {
        struct buffer answer;

        for (size_t i = 1; i < scenario->n_jobs; i++)
                ASSERT_EQ(ask_about(scenario, "GET", &scenario->jobs[i], "?wait=20s", &answer), 200);
        scenario->n_jobs = 1;
}

static unsigned ask_with_faults(struct scenario *scenario, const struct question *question) {
        unsigned allocation = 0, status;
        bool failed;

        do {
                ASSERT_LT(allocation, FAULT_LOOP_MAX);
                fault_arm(allocation++);
                status = ask_question(scenario, question);
                failed = fault_disarm();
                /* A job may be accepted, and only its end not told. */
                if (status != question->status && status != 202 &&
                    !(failed && (status == 0 || status >= 500)))
                        _TEST_FAIL("%s %s: %u", question->method, question->target, status);
                check_new_jobs(scenario);
        } while (failed);
        return allocation;
}

static void test_requests(void) {
        struct scenario scenario;
        struct buffer answer;
        unsigned n = 0;

        scenario_begin(&scenario);
        ASSERT_OK(node_open(&scenario));
        submit(&scenario, JSON, "{\"command\":\"@; echo output; echo error >&2\"}");
        ASSERT_EQ(ask_about(&scenario, "GET", &scenario.jobs[0], "?wait=20s", &answer), 200);
        for (size_t i = 0; i < ELEMENTSOF(questions); i++)
                n += ask_with_faults(&scenario, &questions[i]);
        fprintf(stderr, "  %u requests\n", n);
        take_over(&scenario);
        scenario_end(&scenario);
}

int main(void) {
        ASSERT_NOT_NULL(freopen("/dev/null", "w", stdout));
        (void) signal(SIGPIPE, SIG_IGN);
        log_setup("test-node-faults");
        if (!getenv("SYSTEMD_LOG_LEVEL"))
                log_set_max_level(LOG_CRIT);
        faulty_sqlite_install();
        start_executor();
        RUN(test_requests);
        RUN(test_allocations);
        RUN(test_writes);
        RUN(test_syncs);
        RUN(test_reads);
        RUN(test_opens);
        RUN(test_memory_of_sqlite);
        stop_executor();
        return 0;
}
