/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "link-messages.h"

static void fill_copy(struct full_message *full) {
        struct link_message *message = &full->message;

        full->copied = full->assignment;
        full->copied.run = run_of(2);
        full->copied_end = full->ended;
        full->copied_end.run = run_of(2);
        full->copied_end.exit_code = 4;
        message->copy = (struct link_copy){
                .term = 50,
                .number = 51,
                .complete = true,
                .has_run = true,
                .run = run_of(2),
                .epoch = 52,
                .node_id = "node-6666666666666666",
                .cancel_requested = true,
                .retries_used = 3,
                .status = JOB_FAILED,
                .gone = true,
                .job = &full->copied,
                .ended = &full->copied_end,
        };
        message->kept = (struct link_kept){ .term = 53, .number = 54, .refused = true };
        message->forget_copies = 55;
        message->copies_forgotten = 56;
}

void fill_keeping(struct full_message *full) {
        struct link_message *message = &full->message;

        fill_copy(full);
        full->claim_held[0] = (struct link_held){ .run = run_of(15), .state = LINK_HELD_ENDED };
        full->claim_held[1] =
                (struct link_held){ .run = run_of(16), .state = LINK_HELD_RUNNING, .started_at = 57 };
        full->takeovers[0] = (struct link_takeover){ .run = run_of(17), .epoch = 58 };
        full->takeovers[1] = (struct link_takeover){ .run = run_of(18), .epoch = LINK_EPOCH_MAX };
        message->claim = (struct link_claim){
                .owner = "node-7777777777777777",
                .term = 59,
                .owner_instance = UINT64_MAX - 61,
        };
        message->claim_answer = (struct link_claim_answer){
                .owner = "node-8888888888888888",
                .term = 60,
                .objection = LINK_OBJECTION_TERM,
                .more = true,
                .n_held = ELEMENTSOF(full->claim_held),
                .held = full->claim_held,
        };
        message->n_takeovers = ELEMENTSOF(full->takeovers);
        message->takeovers = full->takeovers;
}

static void assert_copies_equal(const struct link_copy *a, const struct link_copy *b) {
        ASSERT_EQ(a->term, b->term);
        ASSERT_EQ(a->number, b->number);
        ASSERT_EQ(a->complete, b->complete);
        ASSERT_EQ(a->has_run, b->has_run);
        if (a->has_run)
                assert_run_equal(&a->run, &b->run);
        ASSERT_EQ(a->epoch, b->epoch);
        assert_text_equal(a->node_id, b->node_id);
        ASSERT_EQ(a->cancel_requested, b->cancel_requested);
        ASSERT_EQ(a->retries_used, b->retries_used);
        ASSERT_EQ(a->status, b->status);
        ASSERT_EQ(a->gone, b->gone);
        ASSERT_EQ(a->job == NULL, b->job == NULL);
        if (a->job) {
                assert_run_equal(&a->job->run, &b->job->run);
                assert_jobs_equal(&a->job->job, &b->job->job);
        }
        ASSERT_EQ(a->ended == NULL, b->ended == NULL);
        if (a->ended)
                assert_ends_equal(a->ended, b->ended);
}

static void assert_claims_equal(const struct link_message *a, const struct link_message *b) {
        assert_text_equal(a->claim.owner, b->claim.owner);
        ASSERT_EQ(a->claim.term, b->claim.term);
        ASSERT_EQ(a->claim.owner_instance, b->claim.owner_instance);
        assert_text_equal(a->claim_answer.owner, b->claim_answer.owner);
        ASSERT_EQ(a->claim_answer.term, b->claim_answer.term);
        ASSERT_EQ(a->claim_answer.objection, b->claim_answer.objection);
        ASSERT_EQ(a->claim_answer.more, b->claim_answer.more);
        assert_helds_equal(
                a->claim_answer.held, a->claim_answer.n_held, b->claim_answer.held, b->claim_answer.n_held);
        ASSERT_EQ(a->n_takeovers, b->n_takeovers);
        for (size_t i = 0; i < a->n_takeovers; i++) {
                assert_run_equal(&a->takeovers[i].run, &b->takeovers[i].run);
                ASSERT_EQ(a->takeovers[i].epoch, b->takeovers[i].epoch);
        }
}

void assert_keeping_equal(const struct link_message *a, const struct link_message *b) {
        assert_copies_equal(&a->copy, &b->copy);
        ASSERT_EQ(a->kept.term, b->kept.term);
        ASSERT_EQ(a->kept.number, b->kept.number);
        ASSERT_EQ(a->kept.refused, b->kept.refused);
        ASSERT_EQ(a->forget_copies, b->forget_copies);
        ASSERT_EQ(a->copies_forgotten, b->copies_forgotten);
        assert_claims_equal(a, b);
}
