/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Asking for jobs that other nodes have: whom, how many at once, what becomes of an answer, of none, and of
 * a link that breaks. */

#include <stdio.h>

#include "ops-world.h"
#include "util/buffer.h"

static const struct caller root = { .uid_known = true };
static const struct caller somebody = { .uid_known = true, .uid = 4711 };

/* What a client was told. */
static struct told {
        bool answered, ended, may_read, accepted;
        enum problem_code problem;
        char detail[256];
        enum job_status status;
        struct buffer text; /* output, or stdout of the job */
} told;

static void on_job(void *userdata, const struct ops_job *answer) {
        ASSERT_FALSE(told.answered);
        told.answered = true;
        told.problem = answer->problem.code;
        (void) snprintf(told.detail, sizeof(told.detail), "%s", answer->problem.detail);
        if (!answer->job)
                return;
        told.status = answer->job->status;
        told.may_read = answer->may_read;
        told.accepted = answer->accepted;
        if (answer->job->stdout_data)
                ASSERT_OK(buffer_append(&told.text, answer->job->stdout_data, answer->job->stdout_size));
}

static void on_piece(void *userdata, const struct ops_output *piece) {
        ASSERT_FALSE(told.ended);
        told.problem = piece->problem.code;
        told.ended = piece->ended;
        if (piece->size > 0)
                ASSERT_OK(buffer_append(&told.text, piece->data, piece->size));
}

static void forget(void) {
        buffer_done(&told.text);
        told = (struct told){};
}

static struct ops_call *get(const struct caller *caller, usec_t wait_usec) {
        const struct uuid id = world_id(7);
        struct ops_call *call;

        ASSERT_OK(ops_get_job(world.ops, caller, &id, wait_usec, on_job, NULL, &call));
        world_settle();
        return call;
}

static struct link_record record(enum job_status status) {
        return (struct link_record){
                .job = { .id = world_id(7),
                         .command = "true",
                         .created_by_node = "node-000",
                         .timeout_usec = USEC_PER_MINUTE,
                         .submitter_uid = 1000,
                         .submitter = "uid:1000" },
                .status = status,
                .attempt = 1,
        };
}

/* To the last call that the peer got. */
static void answer(size_t peer, struct link_answer what) {
        struct link_call call;

        ASSERT_GT(world_calls_to(peer, &call), 0);
        what.id = call.id;
        world_hears(peer, &(struct link_message){ .n_answers = 1, .answers = &what });
        world_settle();
}

static void answer_no(size_t peer) {
        answer(peer, (struct link_answer){ .problem = "not_found", .detail = "no" });
}

static void answer_job(size_t peer, enum job_status status) {
        answer(peer, (struct link_answer){ .has_record = true, .record = record(status) });
}

static void test_all_are_asked_and_one_has_it(void) {
        world_begin(5);
        world.peers[3].lost = true;
        world.peers[4].trusted = false;
        get(&root, 0);
        ASSERT_EQ(world_calls_to(0, NULL) + world_calls_to(1, NULL) + world_calls_to(2, NULL), 3);
        ASSERT_EQ(world_calls_to(3, NULL) + world_calls_to(4, NULL), 0);
        answer_no(0);
        ASSERT_FALSE(told.answered);
        answer_job(1, JOB_COMPLETED);
        ASSERT_TRUE(told.answered && told.may_read);
        ASSERT_EQ(told.status, JOB_COMPLETED);
        /* The one that has not answered need not any more. */
        ASSERT_EQ(world_last()->n_cancelled_calls, 1);
        ASSERT_STREQ(world.sent[world.n_sent - 1].node_id, "node-002");
        ASSERT_EQ(map_size(&world.ops->neighbours), 0);
        forget();
        world_end();
}

/* Whom the index names is asked alone, and the others when it does not know. */
static void test_the_owner_is_asked_first(void) {
        world_begin(3);
        world.owner = "node-001";
        get(&root, 0);
        ASSERT_EQ(world.n_sent, 1);
        ASSERT_EQ(world_calls_to(1, NULL), 1);
        answer_no(1);
        ASSERT_EQ(world_calls_to(0, NULL) + world_calls_to(2, NULL), 2);
        answer_no(0);
        answer_job(2, JOB_RUNNING);
        ASSERT_EQ(told.status, JOB_RUNNING);
        forget();

        /* One that is no peer any more is not waited for. */
        world.owner = "node-gone";
        get(&root, 0);
        ASSERT_EQ(world.n_sent, 6);
        answer_job(0, JOB_RUNNING);
        forget();
        world_end();
}

static void test_nobody_has_it(void) {
        world_begin(2);
        get(&root, 0);
        answer_no(0);
        answer_no(1);
        ASSERT_EQ(told.problem, PROBLEM_NOT_FOUND);
        ASSERT_STREQ(told.detail, "there is no job with this id");
        forget();

        /* One that cannot be asked may have it. */
        get(&root, 0);
        answer_no(0);
        world.up[1] = false;
        ops_link_down(world.ops, "node-001", false);
        world_settle();
        ASSERT_EQ(told.problem, PROBLEM_NOT_FOUND);
        ASSERT_NOT_NULL(strstr(told.detail, "1 could not be asked"));
        forget();

        world.n_peers = 0;
        get(&root, 0);
        ASSERT_EQ(told.problem, PROBLEM_NOT_FOUND);
        forget();
        world_end();
}

/* A slow node is not waited for. */
static void test_a_node_that_says_nothing(void) {
        usec_t before = now_usec(CLOCK_MONOTONIC);

        world_begin(1);
        get(&root, 0);
        while (!told.answered)
                ASSERT_OK(sd_event_run(world.event, UINT64_MAX));
        ASSERT_EQ(told.problem, PROBLEM_NOT_FOUND);
        ASSERT_NOT_NULL(strstr(told.detail, "1 could not be asked"));
        ASSERT_GE(now_usec(CLOCK_MONOTONIC) - before, SEARCH_USEC - 10 * USEC_PER_MSEC);
        ASSERT_LT(now_usec(CLOCK_MONOTONIC) - before, 2 * SEARCH_USEC);
        ASSERT_EQ(world.ops->n_asks, 0);
        /* What it says later is nothing to anybody. */
        answer_job(0, JOB_COMPLETED);
        forget();
        world_end();
}

static void test_so_many_at_once(void) {
        size_t n = 0;

        world_begin(SEARCH_FANOUT_MAX + 5);
        get(&root, 0);
        for (size_t i = 0; i < world.n_peers; i++)
                n += world_calls_to(i, NULL);
        ASSERT_EQ(n, SEARCH_FANOUT_MAX);
        answer_no(0);
        ASSERT_EQ(world_calls_to(SEARCH_FANOUT_MAX, NULL), 1);
        for (size_t i = 1; i < world.n_peers; i++)
                answer_no(i);
        ASSERT_EQ(told.problem, PROBLEM_NOT_FOUND);
        forget();
        world_end();
}

/* A link is opened to ask, and what a stuffed one does not take goes when there is room. */
static void test_links_that_are_not_there_yet(void) {
        world_begin(1);
        world.up[0] = false;
        get(&root, 0);
        ASSERT_EQ(world.n_opened, 1);
        ASSERT_EQ(world.n_sent, 0);
        world.up[0] = world.stuffed = true;
        ops_link_up(world.ops, "node-000");
        ASSERT_EQ(world.n_sent, 0);
        world.stuffed = false;
        ops_link_writable(world.ops, "node-000");
        ASSERT_EQ(world_calls_to(0, NULL), 1);
        answer_job(0, JOB_RUNNING);
        ASSERT_EQ(told.status, JOB_RUNNING);
        forget();
        world_end();
}

static void test_asks_per_node_max(void) {
        static struct ops_call *calls[ASKS_PER_NODE_MAX];

        world_begin(1);
        for (size_t i = 0; i < ASKS_PER_NODE_MAX; i++)
                calls[i] = get(&root, 0);
        ASSERT_FALSE(told.answered);
        get(&root, 0);
        ASSERT_EQ(told.problem, PROBLEM_NOT_FOUND);
        ASSERT_NOT_NULL(strstr(told.detail, "1 could not be asked"));
        for (size_t i = 0; i < ASKS_PER_NODE_MAX; i++)
                ops_call_cancel(calls[i]);
        ASSERT_EQ(world.ops->n_asks, 0);
        forget();
        world_end();
}

static void test_a_wait_goes_on_elsewhere(void) {
        struct link_call call;

        world_begin(1);
        get(&root, USEC_PER_MINUTE);
        answer_job(0, JOB_RUNNING);
        ASSERT_EQ(world_calls_to(0, &call), 2);
        ASSERT_EQ(call.wait_usec, ASK_WAIT_USEC);
        answer_job(0, JOB_RUNNING);
        ASSERT_EQ(world_calls_to(0, &call), 3);
        answer_job(0, JOB_FAILED);
        ASSERT_EQ(told.status, JOB_FAILED);
        forget();
        world_end();
}

/* What does not fit into the record is fetched. */
static void test_a_large_output(void) {
        static char data[LINK_OUTPUT_INLINE_MAX + 5];
        struct link_record large = record(JOB_COMPLETED);
        struct link_call call;

        memset(data, 'x', sizeof(data));
        large.stdout_output = (struct link_output){ .data = data,
                                                    .data_size = LINK_OUTPUT_INLINE_MAX,
                                                    .size = sizeof(data),
                                                    .total = sizeof(data) };
        world_begin(1);
        get(&root, 0);
        answer(0, (struct link_answer){ .has_record = true, .record = large });
        ASSERT_FALSE(told.answered);
        ASSERT_EQ(world_calls_to(0, &call), 2);
        ASSERT_EQ(call.kind, LINK_CALL_OUTPUT);
        ASSERT_TRUE(call.position.kept);
        ASSERT_EQ(call.position.offset, LINK_OUTPUT_INLINE_MAX);
        answer(0, (struct link_answer){ .data = "yyyyyyyy", .size = 8, .ended = true });
        ASSERT_EQ(told.text.size, sizeof(data));
        ASSERT_EQ(memcmp(told.text.data + LINK_OUTPUT_INLINE_MAX, "yyyyy", 5), 0);
        forget();

        get(&root, 0);
        answer(0, (struct link_answer){ .has_record = true, .record = large });
        answer(0, (struct link_answer){ .ended = true });
        ASSERT_EQ(told.problem, PROBLEM_GONE);
        forget();
        world_end();
}

static void test_who_may(void) {
        const struct uuid id = world_id(7);
        struct link_call call;
        struct ops_call *under_way;

        world_begin(1);
        get(&somebody, 0);
        answer_job(0, JOB_RUNNING);
        ASSERT_TRUE(told.answered);
        ASSERT_FALSE(told.may_read);
        forget();

        ASSERT_OK(ops_cancel_job(world.ops, &somebody, &id, on_job, NULL, &under_way));
        world_settle();
        answer_job(0, JOB_RUNNING);
        ASSERT_EQ(told.problem, PROBLEM_FORBIDDEN);
        (void) world_calls_to(0, &call);
        ASSERT_EQ(call.kind, LINK_CALL_GET);
        forget();

        ASSERT_OK(ops_read_output(world.ops, &somebody, &id, 1, 0, false, on_piece, NULL, &under_way));
        world_settle();
        answer_job(0, JOB_RUNNING);
        ASSERT_EQ(told.problem, PROBLEM_FORBIDDEN);
        (void) world_calls_to(0, &call);
        ASSERT_EQ(call.kind, LINK_CALL_GET);
        forget();

        /* Whose job it is may, and on whose behalf is told. */
        const struct caller submitter = { .uid_known = true, .uid = 1000 };
        ASSERT_OK(ops_cancel_job(world.ops, &submitter, &id, on_job, NULL, &under_way));
        world_settle();
        answer_job(0, JOB_RUNNING);
        (void) world_calls_to(0, &call);
        ASSERT_EQ(call.kind, LINK_CALL_CANCEL);
        ASSERT_EQ(call.uid, 1000);
        answer_job(0, JOB_RUNNING);
        ASSERT_TRUE(told.answered && told.accepted);
        forget();
        world_end();
}

/* The next link goes on where the last one broke. */
static void test_a_link_that_breaks_in_a_stream(void) {
        const struct uuid id = world_id(7);
        struct link_call call;
        struct ops_call *under_way;

        world_begin(2);
        ASSERT_OK(ops_read_output(world.ops, &root, &id, 1, 3, true, on_piece, NULL, &under_way));
        world_settle();
        answer_job(0, JOB_RUNNING);
        (void) world_calls_to(0, &call);
        ASSERT_EQ(call.position.offset, 3);
        answer(0, (struct link_answer){ .data = "abc", .size = 3, .next = { .offset = 6 } });
        ASSERT_EQ(told.text.size, 3);
        ops_output_next(under_way);
        world_settle();
        world.up[0] = false;
        ops_link_down(world.ops, "node-000", false);
        ASSERT_FALSE(told.ended);
        /* Another one has taken the job over meanwhile; whoever had it is asked first. */
        while (world.n_opened == 0)
                ASSERT_OK(sd_event_run(world.event, UINT64_MAX));
        world_settle();
        ASSERT_EQ(world_calls_to(1, NULL), 1);
        ops_link_down(world.ops, "node-000", false);
        world_settle();
        ASSERT_EQ(world_calls_to(1, NULL), 2);
        answer_job(1, JOB_RUNNING);
        ASSERT_EQ(world_calls_to(1, &call), 3);
        ASSERT_EQ(call.kind, LINK_CALL_OUTPUT);
        ASSERT_EQ(call.position.offset, 6);
        answer(1, (struct link_answer){ .data = "def", .size = 3, .ended = true });
        ASSERT_TRUE(told.ended);
        ASSERT_EQ(memcmp(told.text.data, "abcdef", 6), 0);
        forget();
        world_end();
}

int main(void) {
        RUN(test_all_are_asked_and_one_has_it);
        RUN(test_the_owner_is_asked_first);
        RUN(test_nobody_has_it);
        RUN(test_a_node_that_says_nothing);
        RUN(test_so_many_at_once);
        RUN(test_links_that_are_not_there_yet);
        RUN(test_asks_per_node_max);
        RUN(test_a_wait_goes_on_elsewhere);
        RUN(test_a_large_output);
        RUN(test_who_may);
        RUN(test_a_link_that_breaks_in_a_stream);
        return 0;
}
