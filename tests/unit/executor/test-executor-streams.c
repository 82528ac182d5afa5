/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What jobs print: kept, cut, read while they run. */

#include <fcntl.h>

#include "fixture.h"
#include "util/buffer.h"
#include "util/file.h"

static bool process_groups;

static void begin(struct fixture *fixture, size_t output_max) {
        fixture_begin(
                fixture, &(const struct fixture_options){ .process_groups = process_groups,
                                                          .output_max = output_max });
}

static void test_binary(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        begin(&fixture, 0);
        result = fixture_run(&fixture, "printf 'a\\000\\377\\200b'");
        ASSERT_EQ(result->stdout_output.size, 5);
        ASSERT_EQ(memcmp(result->stdout_output.data, "a\0\377\200b", 5), 0);
        ASSERT_FALSE(result->stdout_output.truncated);
}

/* What `seq 1 n` prints. */
static void sequence(unsigned n, struct buffer *ret) {
        *ret = (struct buffer){};
        for (unsigned i = 1; i <= n; i++)
                ASSERT_OK(buffer_printf(ret, "%u\n", i));
}

static void test_larger_than_a_message(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        _cleanup_buffer_ struct buffer expected;

        sequence(12000, &expected);
        begin(&fixture, 0);
        result = fixture_run(&fixture, "seq 1 12000; seq 1 12000 >&2; echo more >&2");
        ASSERT_EQ(result->stdout_output.size, expected.size);
        ASSERT_EQ(memcmp(result->stdout_output.data, expected.data, expected.size), 0);
        ASSERT_FALSE(result->stdout_output.truncated);
        ASSERT_EQ(result->stderr_output.size, expected.size + 5);
        ASSERT_EQ(memcmp(result->stderr_output.data + expected.size, "more\n", 5), 0);
}

static void assert_truncated(const struct job_output *output, const struct buffer *all, size_t limit) {
        char gap[64];
        int gap_size = snprintf(gap, sizeof(gap), "\n[… %zu bytes left out …]\n", all->size - limit);

        ASSERT_TRUE(output->truncated);
        ASSERT_EQ(output->total, all->size);
        ASSERT_EQ(output->size, limit + (size_t) gap_size);
        ASSERT_EQ(memcmp(output->data, all->data, limit / 2), 0);
        ASSERT_EQ(memcmp(output->data + limit / 2, gap, (size_t) gap_size), 0);
        ASSERT_EQ(
                memcmp(output->data + limit / 2 + gap_size, all->data + all->size - (limit - limit / 2),
                       limit - limit / 2),
                0);
}

static void test_truncated(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        _cleanup_buffer_ struct buffer expected, little;

        sequence(100000, &expected);
        sequence(30000, &little);
        begin(&fixture, 0);
        result = fixture_run(&fixture, "seq 1 100000; seq 1 30000 >&2; exit 5");
        ASSERT_EQ(result->exit_code, 5);
        assert_truncated(&result->stdout_output, &expected, FIXTURE_OUTPUT_MAX);
        assert_truncated(&result->stderr_output, &little, FIXTURE_OUTPUT_MAX);
}

/* What was written just before the end, by a process that outlived the shell's wait, is not lost. */
static void test_output_at_the_very_end(void) {
        _cleanup_fixture_ struct fixture fixture;

        begin(&fixture, 0);
        for (unsigned i = 0; i < 50; i++) {
                _cleanup_(job_result_unref_p) struct job_result *result =
                        fixture_run(&fixture, "seq 1 1000 | cat; echo last >&2");

                ASSERT_EQ(result->stdout_output.total, 3893);
                assert_output(&result->stderr_output, "last\n");
        }
}

/* A pipe that somebody outside of the job holds open holds nobody up. */
static void test_pipe_held_open(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        _cleanup_close_ int fd = -EBADF;
        char command[1024], path[64];
        struct run_id run;

        begin(&fixture, 0);
        (void) snprintf(
                command, sizeof(command),
                "echo $$ > %1$s/pid; while ! test -e %1$s/go; do sleep 0.02; done; echo end",
                fixture.folder.path);
        run = fixture_start(&fixture, command);
        (void) snprintf(path, sizeof(path), "/proc/%ld/fd/1", fixture_read_number(&fixture, "pid"));
        fd = open(path, O_WRONLY | O_CLOEXEC);
        ASSERT_GE(fd, 0);
        folder_write(&fixture.folder, "go", "");
        result = fixture_result(&fixture, &run);
        assert_output(&result->stdout_output, "end\n");
}

struct answer {
        bool there;
        int error;
        uint64_t offset;
        char data[33 * 1024];
        size_t size;
        bool ended;
};

static void on_output(void *userdata, const struct executor_output *output) {
        struct answer *answer = userdata;

        ASSERT_FALSE(answer->there);
        ASSERT_LE(output->size, 32 * 1024);
        answer->there = true;
        answer->error = output->error;
        answer->offset = output->offset;
        answer->size = output->size;
        answer->ended = output->ended;
        if (output->size > 0)
                memcpy(answer->data, output->data, output->size);
}

static void read_once(
        struct fixture *fixture, const struct run_id *run, int stream, uint64_t offset, bool wait,
        struct answer *ret) {

        struct executor_read *read;

        *ret = (struct answer){};
        ASSERT_OK(executor_client_read(fixture->client, run, stream, offset, wait, on_output, ret, &read));
        fixture_wait(fixture, ret->there);
}

static void test_read_while_it_runs(void) {
        _cleanup_fixture_ struct fixture fixture;
        static struct answer answer;
        char command[1024];
        struct run_id run;

        begin(&fixture, 0);
        fixture.hold_releases = true;
        (void) snprintf(
                command, sizeof(command),
                "echo one; while ! test -e %1$s/go; do sleep 0.02; done; echo two; echo three >&2",
                fixture.folder.path);
        run = fixture_start(&fixture, command);
        read_once(&fixture, &run, 1, 0, true, &answer);
        ASSERT_EQ(answer.error, 0);
        ASSERT_EQ(answer.size, 4);
        ASSERT_EQ(memcmp(answer.data, "one\n", 4), 0);
        ASSERT_FALSE(answer.ended);
        read_once(&fixture, &run, 1, 2, false, &answer);
        ASSERT_EQ(answer.offset, 2);
        ASSERT_EQ(answer.size, 2);
        read_once(&fixture, &run, 1, 4, false, &answer);
        ASSERT_EQ(answer.size, 0);
        ASSERT_FALSE(answer.ended);

        folder_write(&fixture.folder, "go", "");
        read_once(&fixture, &run, 1, 4, true, &answer);
        ASSERT_EQ(answer.size, 4);
        ASSERT_EQ(memcmp(answer.data, "two\n", 4), 0);
        fixture_wait(&fixture, fixture.n_exited == 1);

        /* Kept, and readable, until it is released. */
        read_once(&fixture, &run, 2, 0, true, &answer);
        ASSERT_EQ(answer.size, 6);
        ASSERT_TRUE(answer.ended);
        read_once(&fixture, &run, 1, 8, true, &answer);
        ASSERT_EQ(answer.size, 0);
        ASSERT_TRUE(answer.ended);
        ASSERT_OK(executor_client_release(fixture.client, &run));
        read_once(&fixture, &run, 1, 0, true, &answer);
        ASSERT_EQ(answer.error, -ENOENT);
}

/* Reads all pieces; the middle is jumped over. */
static uint64_t read_all(struct fixture *fixture, const struct run_id *run, const struct buffer *expected) {
        static struct answer answer;
        uint64_t offset = 0, jumped = 0;

        do {
                read_once(fixture, run, 1, offset, true, &answer);
                ASSERT_EQ(answer.error, 0);
                ASSERT_GE(answer.offset, offset);
                ASSERT_LE(answer.offset + answer.size, expected->size);
                ASSERT_EQ(memcmp(answer.data, expected->data + answer.offset, answer.size), 0);
                jumped += answer.offset - offset;
                offset = answer.offset + answer.size;
        } while (!answer.ended && offset < expected->size);
        return jumped;
}

static void test_read_over_the_gap(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_buffer_ struct buffer expected;
        char command[1024];
        struct run_id run;

        sequence(100000, &expected);
        begin(&fixture, 0);
        fixture.hold_releases = true;
        (void) snprintf(
                command, sizeof(command),
                "seq 1 100000; echo x > %1$s/done; while ! test -e %1$s/go; do sleep 0.02; done",
                fixture.folder.path);
        run = fixture_start(&fixture, command);
        fixture_wait(
                &fixture, access(fixture.folder.path, F_OK) == 0 &&
                                  faccessat(fixture.folder.fd, "done", F_OK, 0) == 0);
        ASSERT_EQ(read_all(&fixture, &run, &expected), expected.size - FIXTURE_OUTPUT_MAX);
        folder_write(&fixture.folder, "go", "");
        fixture_wait(&fixture, fixture.n_exited == 1);
        ASSERT_EQ(read_all(&fixture, &run, &expected), expected.size - FIXTURE_OUTPUT_MAX);
}

static void test_reads_are_bounded(void) {
        _cleanup_fixture_ struct fixture fixture;
        static struct answer answers[EXECUTOR_READS_MAX];
        struct executor_read *reads[EXECUTOR_READS_MAX], *more;
        static struct answer answer;
        struct run_id run;

        begin(&fixture, 0);
        run = fixture_start(&fixture, "sleep 1000");
        for (size_t i = 0; i < EXECUTOR_READS_MAX; i++)
                ASSERT_OK(executor_client_read(
                        fixture.client, &run, 1, 0, true, on_output, &answers[i], &reads[i]));
        ASSERT_ERROR(
                executor_client_read(fixture.client, &run, 1, 0, true, on_output, &answer, &more), EBUSY);
        fixture_wait(&fixture, fixture_has_started(&fixture, &run));

        /* A cancelled one is never answered, and makes room. */
        executor_read_cancel(reads[3]);
        fixture_wait(
                &fixture,
                executor_client_read(fixture.client, &run, 2, 0, true, on_output, &answer, &more) >= 0);
        ASSERT_OK(executor_client_kill(fixture.client, &run));
        fixture_wait(&fixture, answer.there);
        ASSERT_TRUE(answer.ended);
        for (size_t i = 0; i < EXECUTOR_READS_MAX; i++)
                ASSERT_EQ(answers[i].there, i != 3);
}

static void test_read_when_the_executor_dies(void) {
        _cleanup_fixture_ struct fixture fixture;
        static struct answer answer;
        struct executor_read *read;
        struct run_id run;

        begin(&fixture, 0);
        run = fixture_start(&fixture, "sleep 1000");
        fixture_wait(&fixture, fixture_has_started(&fixture, &run));
        ASSERT_OK(executor_client_read(fixture.client, &run, 1, 0, true, on_output, &answer, &read));
        fixture_kill_executor(&fixture);
        fixture_wait(&fixture, answer.there);
        ASSERT_EQ(answer.error, -ENOTCONN);
}

/* Anonymous memory of the executor in KiB. */
static unsigned anonymous_memory(const struct fixture *fixture) {
        _cleanup_free_ char *text = NULL;
        const char *found;
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int) fixture->executor);
        ASSERT_OK(read_file(AT_FDCWD, path, 16384, &text, NULL));
        found = strstr(text, "Pss_Anon:");
        ASSERT_NOT_NULL(found);
        return (unsigned) atoi(found + strlen("Pss_Anon:"));
}

/* With a sanitizer it tells about the sanitizer. */
#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_COUNTS false
#elif defined(__clang__)
#define MEMORY_COUNTS (!__has_feature(address_sanitizer))
#else
#define MEMORY_COUNTS true
#endif

/* As much as 10 MB/s make in a minute, as fast as it goes, on both streams, while other jobs run. */
static void test_flood(void) {
        _cleanup_fixture_ struct fixture fixture;
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        unsigned before, most = 0, n_others = 0;
        usec_t slowest = 0;
        struct run_id flood;

        begin(&fixture, 1024 * 1024);
        job_result_unref(fixture_run(&fixture, "true"));
        before = anonymous_memory(&fixture);
        flood = fixture_start(&fixture, "head -c 300M /dev/zero & head -c 300M /dev/zero >&2; wait");
        /* One more than the others: the flood is over. */
        while (fixture.n_exited <= n_others + 1) {
                usec_t begin_usec = now_usec(CLOCK_MONOTONIC);

                job_result_unref(fixture_run(&fixture, "true"));
                slowest = MAX(slowest, now_usec(CLOCK_MONOTONIC) - begin_usec);
                n_others++;
                most = MAX(most, anonymous_memory(&fixture));
        }
        result = fixture_result(&fixture, &flood);
        ASSERT_EQ(result->stdout_output.total, 300 * 1024 * 1024);
        ASSERT_EQ(result->stderr_output.total, 300 * 1024 * 1024);
        ASSERT_TRUE(result->stdout_output.truncated);
        fprintf(stderr, "before %u KiB, most %u KiB; %u other jobs, slowest %.1f ms, %.1f MB/s\n", before,
                most, n_others, (double) slowest / USEC_PER_MSEC,
                600 * 1048576.0 / (double) result->duration_usec);
        /* Both streams at their limit, and the rest as it was. */
        if (MEMORY_COUNTS)
                ASSERT_LT(most, before + 2 * 1024 + 512);
        ASSERT_LT(slowest, 2 * USEC_PER_SEC);
}

static void test_memory_comes_back(void) {
        _cleanup_fixture_ struct fixture fixture;
        unsigned before;

        begin(&fixture, 1024 * 1024);
        job_result_unref(fixture_run(&fixture, "true"));
        before = anonymous_memory(&fixture);
        for (unsigned i = 0; i < 20; i++)
                job_result_unref(fixture_run(&fixture, "head -c 3M /dev/zero; head -c 100k /dev/zero >&2"));
        for (unsigned i = 0; i < 500; i++)
                (void) fixture_start(&fixture, "echo x");
        fixture_wait(&fixture, fixture.n_exited == 521);
        fprintf(stderr, "before %u KiB, after %u KiB\n", before, anonymous_memory(&fixture));
        fixture_wait(&fixture, anonymous_memory(&fixture) < before + 512);
}

int main(int argc, char *argv[]) {
        process_groups = process_groups_asked_for(argc, argv);
        RUN(test_binary);
        RUN(test_larger_than_a_message);
        RUN(test_truncated);
        RUN(test_output_at_the_very_end);
        RUN(test_pipe_held_open);
        RUN(test_read_while_it_runs);
        RUN(test_read_over_the_gap);
        RUN(test_reads_are_bounded);
        RUN(test_read_when_the_executor_dies);
        RUN(test_flood);
        if (MEMORY_COUNTS)
                RUN(test_memory_comes_back);
        return 0;
}
