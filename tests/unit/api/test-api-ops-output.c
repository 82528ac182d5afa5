/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading a job's output, from the store and from the executor. */

#include "ops-world.h"
#include "util/buffer.h"

/* What a reader was told. */
struct reader {
        struct ops_call *call;
        struct buffer text;
        enum problem_code problem;
        bool ended;
};

/* Jobs that wait. */
static void begin(void) {
        world_begin(0);
        for (uint8_t i = 0; i < WORLD_JOBS_MAX; i++)
                world.jobs[i].stored = (struct stored_job){
                        .id = world_id(i + 1),
                        .status = JOB_PENDING,
                        .epoch = 1,
                };
}

/* The first job has ended, and wrote so much; text: what is kept of it. */
static void end_first(const char *text, uint64_t total) {
        struct world_job *job = &world.jobs[0];

        job->stored.status = JOB_COMPLETED;
        job->stored.attempt = 0;
        job->stored.stdout_total = total;
        job->stored.stdout_truncated = text && strstr(text, "left out");
        job->kept = text;
}

static void run_first(void) {
        world.jobs[0].stored.attempt = 1;
        world.jobs[0].runs = true;
}

static void on_piece(void *userdata, const struct ops_output *piece) {
        struct reader *reader = userdata;

        ASSERT_FALSE(reader->ended);
        ASSERT_OK(buffer_append(&reader->text, piece->data, piece->size));
        reader->problem = piece->problem.code;
        reader->ended = piece->ended;
}

static void read_from(struct reader *reader, size_t n_job, uint64_t offset, bool follow) {
        const struct caller root = { .uid_known = true };

        *reader = (struct reader){};
        ASSERT_OK(ops_read_output(
                world.ops, &root, &world.jobs[n_job].stored.id, 1, offset, follow, on_piece, reader,
                &reader->call));
        world_settle();
}

/* Checks what was told until now, and forgets the reader. */
static void check(struct reader *reader, const char *text, bool ended) {
        ASSERT_EQ(reader->ended, ended);
        ASSERT_EQ(reader->problem, PROBLEM_NONE);
        ASSERT_OK(buffer_append(&reader->text, "", 1));
        ASSERT_STREQ(reader->text.data, text);
        buffer_done(&reader->text);
        if (!ended)
                ops_call_cancel(reader->call);
}

/* The start of one run is nothing to those who wait for another. */
static void test_a_start_wakes_its_own_followers(void) {
        struct reader readers[WORLD_JOBS_MAX];

        begin();
        for (size_t i = 0; i < WORLD_JOBS_MAX; i++)
                read_from(&readers[i], i, 0, true);
        ASSERT_EQ(world.n_reads, 0);

        for (size_t i = 0; i < WORLD_JOBS_MAX; i++)
                world.jobs[i].runs = true;
        ops_run_started(world.ops, &world.jobs[1].stored.id);
        world_settle();
        ASSERT_EQ(world.n_reads, 1);
        ASSERT_TRUE(uuid_equal(&world.reads[0].run.job, &world.jobs[1].stored.id));

        ops_executor_synchronised(world.ops);
        world_settle();
        ASSERT_EQ(world.n_reads, 3);
        for (size_t i = 0; i < WORLD_JOBS_MAX; i++)
                check(&readers[i], "", false);
        world_end();
}

static void test_followers_hear_of_an_end_without_a_run(void) {
        struct reader reader;

        begin();
        read_from(&reader, 0, 0, true);
        end_first(NULL, 0);
        ops_job_finished(world.ops, &world.jobs[0].stored.id, JOB_COMPLETED);
        world_settle();
        check(&reader, "", true);
        ASSERT_EQ(world.n_reads, 0);
        world_end();
}

/* It has ended, which is not durable yet: the mind has no current run, and the executor has it all. */
static void test_an_end_on_its_way_to_the_disk(void) {
        struct reader reader;

        begin();
        world.jobs[0].stored.attempt = 2;
        read_from(&reader, 0, 0, false);
        ASSERT_EQ(world.n_reads, 1);
        ASSERT_EQ(world.reads[0].run.attempt, 2);
        world_answer_read(
                0, &(struct executor_output){ .data = "all", .size = 3, .total = 3, .ended = true });
        check(&reader, "all", true);

        /* It became durable while the executor was asked. */
        read_from(&reader, 0, 0, false);
        end_first("all of it", 9);
        world_answer_read(1, &(struct executor_output){ .error = -ENOENT });
        check(&reader, "all of it", true);
        world_end();
}

static void test_one_that_waits_has_written_nothing(void) {
        struct reader reader;

        begin();
        read_from(&reader, 0, 0, false);
        check(&reader, "", true);
        world_end();
}

static void test_the_executor_is_away(void) {
        struct reader reader;

        begin();
        run_first();
        world.read_error = -ENOTCONN;
        read_from(&reader, 0, 0, false);
        ASSERT_TRUE(reader.ended);
        ASSERT_EQ(reader.problem, PROBLEM_EXECUTOR_AWAY);
        buffer_done(&reader.text);

        read_from(&reader, 0, 0, true);
        ASSERT_FALSE(reader.ended);
        world.read_error = 0;
        ops_executor_synchronised(world.ops);
        world_settle();
        ASSERT_EQ(world.n_reads, 1);
        check(&reader, "", false);
        world_end();
}

/* A job may print faster than its reader reads. */
static void test_without_follow_it_ends_where_it_began(void) {
        struct reader reader;

        begin();
        run_first();
        read_from(&reader, 0, 0, false);
        world_answer_read(0, &(struct executor_output){ .data = "012345", .size = 6, .total = 10 });
        ops_output_next(reader.call);
        world_settle();
        world_answer_read(
                1, &(struct executor_output){ .offset = 6, .data = "6789abcdef", .size = 10, .total = 99 });
        check(&reader, "0123456789", true);

        /* What there was is no longer kept. */
        read_from(&reader, 0, 0, false);
        world_answer_read(2, &(struct executor_output){ .data = "012345", .size = 6, .total = 10 });
        ops_output_next(reader.call);
        world_settle();
        world_answer_read(
                3, &(struct executor_output){ .offset = 500, .data = "later", .size = 5, .total = 999 });
        check(&reader, "012345\n[… 4 bytes left out …]\n", true);
        world_end();
}

#define GAP "\n[… 28 bytes left out …]\n"

/* The position in what the job wrote, not in what is kept of it. */
static void test_offset_of_a_truncated_output(void) {
        static const struct {
                uint64_t offset;
                const char *text;
        } cases[] = {
                { 0, "0123" GAP "wxyz" },
                { 2, "23" GAP "wxyz" },
                { 4, GAP "wxyz" },
                { 20, GAP "wxyz" },
                { 31, GAP "wxyz" },
                { 32, "wxyz" },
                { 34, "yz" },
                { 36, "" },
                { 99, "" },
        };
        struct reader reader;

        begin();
        end_first("0123" GAP "wxyz", 36);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                read_from(&reader, 0, cases[i].offset, false);
                check(&reader, cases[i].text, true);
        }
        world_end();
}

int main(void) {
        RUN(test_a_start_wakes_its_own_followers);
        RUN(test_followers_hear_of_an_end_without_a_run);
        RUN(test_an_end_on_its_way_to_the_disk);
        RUN(test_one_that_waits_has_written_nothing);
        RUN(test_the_executor_is_away);
        RUN(test_without_follow_it_ends_where_it_began);
        RUN(test_offset_of_a_truncated_output);
        return 0;
}
