/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Answering what other nodes ask: from what is here alone, bounded, and never with what they would close the
 * link for. */

#include "ops-world.h"

static void begin(void) {
        static char *env[] = { (char *) "A=secret", NULL };

        world_begin(2);
        world.jobs[0].stored = (struct stored_job){
                .id = world_id(7),
                .status = JOB_COMPLETED,
                .command = (char *) "true",
                .created_by_node = (char *) "node-here",
                .env = env,
                .timeout_usec = USEC_PER_MINUTE,
                .submitter_uid = 1000,
                .attempt = 1,
        };
}

static void ask_as(size_t peer, struct link_call call) {
        if (uuid_is_null(&call.run.job))
                call.run.job = world_id(7);
        world_hears(peer, &(struct link_message){ .n_calls = 1, .calls = &call });
        world_settle();
}

static const struct link_answer *last_answer(void) {
        ASSERT_EQ(world_last()->n_answers, 1);
        return &world_last()->answers[0];
}

static void test_a_record(void) {
        const struct link_answer *answer;

        begin();
        ask_as(0, (struct link_call){ .id = 5, .kind = LINK_CALL_GET, .uid = (uid_t) -1 });
        answer = last_answer();
        ASSERT_EQ(answer->id, 5);
        ASSERT_TRUE(answer->has_record);
        ASSERT_EQ(answer->record.status, JOB_COMPLETED);
        ASSERT_STREQ(answer->record.job.env[0], "A=");
        ASSERT_EQ(world.ops->n_served, 0);
        ASSERT_EQ(world.ops->n_calls, 0);
        world_end();
}

/* Whoever is asked asks nobody: no question goes round. */
static void test_a_job_that_is_not_here(void) {
        begin();
        for (enum link_call_kind kind = LINK_CALL_GET; kind <= LINK_CALL_CANCEL; kind++) {
                ask_as(0, (struct link_call){ .kind = kind, .run.job = world_id(8), .stream = 1 });
                ASSERT_STREQ(last_answer()->problem, "not_found");
        }
        ASSERT_EQ(world_calls_to(1, NULL), 0);
        world_end();
}

static void test_a_question_of_another_version(void) {
        begin();
        ask_as(0, (struct link_call){ .kind = LINK_CALL_UNKNOWN });
        ASSERT_STREQ(last_answer()->problem, "invalid");
        world_end();
}

/* What the other side would close the link for stays here. */
static void test_a_damaged_record(void) {
        char *const commands[] = { NULL, (char *) "", (char *) "\xff" };

        begin();
        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                world.jobs[0].stored.command = commands[i];
                ask_as(0, (struct link_call){ .kind = LINK_CALL_GET });
                ASSERT_STREQ(last_answer()->problem, "internal");
        }
        world.jobs[0].stored.command = (char *) "true";
        world.jobs[0].stored.cwd = (char *) "here";
        ask_as(0, (struct link_call){ .kind = LINK_CALL_GET });
        ASSERT_STREQ(last_answer()->problem, "internal");
        world.jobs[0].stored.cwd = NULL;
        world.jobs[0].stored.limits.cpu_weight = JOB_CPU_WEIGHT_MAX + 1;
        ask_as(0, (struct link_call){ .kind = LINK_CALL_GET });
        ASSERT_STREQ(last_answer()->problem, "internal");
        world_end();
}

static void test_earlier_attempts(void) {
        static struct stored_attempt attempts[LINK_ATTEMPTS_MAX + 2];
        const struct link_record *record;
        struct stored_job job;

        begin();
        world.jobs[0].stored.attempts = attempts;
        world.jobs[0].stored.n_attempts = ELEMENTSOF(attempts);
        for (unsigned i = 0; i < ELEMENTSOF(attempts); i++)
                attempts[i] = (struct stored_attempt){ .attempt = i,
                                                       .node_id = "node-there",
                                                       .fate = ATTEMPT_FAILED,
                                                       .has_exit_code = true,
                                                       .exit_code = 3,
                                                       .error_message = (char *) "exited" };
        strcpy(attempts[5].node_id, "not a node");
        ask_as(0, (struct link_call){ .kind = LINK_CALL_GET });
        record = &last_answer()->record;
        ASSERT_EQ(record->n_attempts, LINK_ATTEMPTS_MAX - 1);
        ASSERT_EQ(record->attempts[0].attempt, 2);
        ASSERT_EQ(record->attempts[3].attempt, 6);

        ASSERT_OK(record_to_job(record, &job));
        ASSERT_EQ(job.n_attempts, LINK_ATTEMPTS_MAX - 1);
        ASSERT_EQ(job.attempts[0].fate, ATTEMPT_FAILED);
        ASSERT_EQ(job.attempts[0].exit_code, 3);
        ASSERT_STREQ(job.attempts[0].error_message, "exited");
        stored_job_done(&job);
        world_end();
}

static void test_a_long_message(void) {
        static char message[2000];
        const struct link_answer *answer;

        begin();
        for (size_t i = 0; i + 2 < sizeof(message); i += 2)
                memcpy(message + i, "ö", 3);
        world.jobs[0].stored.error_message = message;
        ask_as(0, (struct link_call){ .kind = LINK_CALL_GET });
        answer = last_answer();
        ASSERT_EQ(strlen(answer->record.error_message), LINK_ERROR_MAX - LINK_ERROR_MAX % 2);
        world_end();
}

static void test_pieces_of_an_output(void) {
        const struct link_answer *answer;

        begin();
        world.jobs[0].kept = "0123456789";
        ask_as(0, (struct link_call){ .kind = LINK_CALL_OUTPUT, .stream = 1, .position.offset = 4 });
        answer = last_answer();
        ASSERT_EQ(answer->size, 6);
        ASSERT_EQ(memcmp(answer->data, "456789", 6), 0);
        ASSERT_TRUE(answer->ended && answer->next.kept);
        ASSERT_EQ(answer->next.offset, 10);
        world_end();
}

static void test_served_per_node_max(void) {
        begin();
        world.jobs[0].stored.status = JOB_RUNNING;
        for (unsigned i = 0; i < SERVED_PER_NODE_MAX; i++)
                ask_as(0,
                       (struct link_call){ .id = i, .kind = LINK_CALL_GET, .wait_usec = USEC_PER_MINUTE });
        ASSERT_EQ(world.n_sent, 0);
        ask_as(0, (struct link_call){ .id = 9999, .kind = LINK_CALL_GET });
        ASSERT_EQ(last_answer()->id, 9999);
        ASSERT_STREQ(last_answer()->problem, "too_many_calls");
        /* That is nothing to others. */
        ask_as(1, (struct link_call){ .id = 1, .kind = LINK_CALL_GET });
        ASSERT_TRUE(last_answer()->has_record);

        /* What is not waited for any more makes room; a link that is gone takes all along. */
        world_hears(
                0, &(struct link_message){ .n_cancelled_calls = 1, .cancelled_calls = (uint64_t[]){ 17 } });
        ask_as(0, (struct link_call){ .id = 9999, .kind = LINK_CALL_GET });
        ASSERT_TRUE(last_answer()->has_record);
        ops_link_down(world.ops, "node-000", false);
        ASSERT_EQ(world.ops->n_served, 0);
        ASSERT_EQ(world.ops->n_calls, 0);
        ASSERT_EQ(map_size(&world.ops->neighbours), 0);
        world_end();
}

static void test_a_run_that_goes_on(void) {
        const struct link_call call = { .id = 3,
                                        .kind = LINK_CALL_RUN_OUTPUT,
                                        .run = { world_id(9), 1, 1 },
                                        .stream = 1,
                                        .wait_usec = 1 };
        struct executor_output output = { .offset = 2, .data = "cd", .size = 2, .total = 4 };
        const struct link_answer *answer;

        begin();
        ask_as(0, (struct link_call){ .id = 3,
                                      .kind = LINK_CALL_RUN_OUTPUT,
                                      .run = { world_id(9), 1, 1 },
                                      .stream = 1,
                                      .position.offset = 2,
                                      .wait_usec = USEC_PER_MINUTE });
        ASSERT_EQ(world.n_sent, 0);
        world_answer_read(0, &output);
        answer = last_answer();
        ASSERT_EQ(answer->offset, 2);
        ASSERT_EQ(answer->size, 2);
        ASSERT_EQ(answer->total, 4);
        ASSERT_FALSE(answer->ended);

        /* Nothing comes: it is to be asked again. */
        ask_as(0, call);
        while (world.n_sent < 2)
                ASSERT_OK(sd_event_run(world.event, UINT64_MAX));
        ASSERT_NULL(last_answer()->problem);
        ASSERT_EQ(last_answer()->size, 0);
        ASSERT_FALSE(last_answer()->ended);
        ASSERT_FALSE(world.reads[1].used);

        world.read_error = -ENOENT;
        ask_as(0, call);
        ASSERT_STREQ(last_answer()->problem, "not_found");
        world.read_error = -ENOTCONN;
        ask_as(0, call);
        ASSERT_STREQ(last_answer()->problem, "executor_away");
        world_end();
}

#define GAP "\n[… 28 bytes left out …]\n"

/* What is kept of a run that has ended here, and not yet with its owner: as the stream that it wrote. */
static void test_a_run_that_has_ended(void) {
        static const struct {
                uint64_t offset, begin;
                const char *text;
                bool ended;
        } cases[] = {
                { 0, 0, "0123", false },  { 3, 3, "3", false },   { 4, 32, "wxyz", true },
                { 20, 32, "wxyz", true }, { 34, 34, "yz", true }, { 36, 36, "", true },
                { 99, 36, "", true },
        };
        const struct link_answer *answer;
        char text[] = "0123" GAP "wxyz", whole[] = "all of it";

        begin();
        world.read_error = -ENOENT;
        world.result.run = (struct run_id){ world_id(9), 1, 1 };
        world.result.stdout_output =
                (struct job_output){ .data = text, .size = strlen(text), .total = 36, .truncated = true };
        world.result.stderr_output = (struct job_output){ .data = whole, .size = 9, .total = 9 };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ask_as(0, (struct link_call){ .kind = LINK_CALL_RUN_OUTPUT,
                                              .run = world.result.run,
                                              .stream = 1,
                                              .position.offset = cases[i].offset });
                answer = last_answer();
                ASSERT_EQ(answer->offset, cases[i].begin);
                ASSERT_EQ(answer->size, strlen(cases[i].text));
                if (answer->size > 0)
                        ASSERT_EQ(memcmp(answer->data, cases[i].text, answer->size), 0);
                ASSERT_EQ(answer->ended, cases[i].ended);
        }
        for (uint64_t offset = 0; offset <= 10; offset++) {
                ask_as(0, (struct link_call){ .kind = LINK_CALL_RUN_OUTPUT,
                                              .run = world.result.run,
                                              .stream = 2,
                                              .position.offset = offset });
                answer = last_answer();
                ASSERT_TRUE(answer->ended);
                ASSERT_EQ(answer->size, offset < 9 ? 9 - offset : 0);
                if (answer->size > 0)
                        ASSERT_EQ(memcmp(answer->data, whole + offset, answer->size), 0);
        }
        world_end();
}

int main(void) {
        RUN(test_a_record);
        RUN(test_a_job_that_is_not_here);
        RUN(test_a_question_of_another_version);
        RUN(test_a_damaged_record);
        RUN(test_earlier_attempts);
        RUN(test_a_long_message);
        RUN(test_pieces_of_an_output);
        RUN(test_served_per_node_max);
        RUN(test_a_run_that_goes_on);
        RUN(test_a_run_that_has_ended);
        return 0;
}
