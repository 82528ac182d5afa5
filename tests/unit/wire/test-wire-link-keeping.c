/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What nodes say of copies, of who owns a job now, and of ends that do not count: there and back, at their
 * limits, and with fields that must not be believed. */

#include "lib/tests.h"
#include "link-parts.h"

/* Numbers of fields, as in proto/link.proto. */
enum {
        OVERRULED = 29,
        COPY = 30,
        COPIED = 31,
        COPIED_END = 32,
        KEPT = 33,
        CLAIM = 36,
        CLAIM_ANSWER = 37,
        CLAIM_HELD = 38,
        TAKEOVER = 39,
};

static const uint8_t null_id[16] = {}, other_id[16] = { 9 };
static const struct protobuf_writer nothing = {};

static struct protobuf_writer overruled_part(void) {
        struct protobuf_writer overruled = {};

        write_bytes_field(&overruled, 1, job_id, sizeof(job_id));
        write_varint_field(&overruled, 2, 7);
        write_varint_field(&overruled, 3, JOB_COMPLETED);
        write_text_field(&overruled, 4, "node-a");
        return overruled;
}

static struct protobuf_writer copy_part(void) {
        struct protobuf_writer copy = {};

        write_varint_field(&copy, 1, 1);
        write_varint_field(&copy, 2, 2);
        write_run(&copy, 5);
        return copy;
}

static struct protobuf_writer claim_part(void) {
        struct protobuf_writer claim = {};

        write_text_field(&claim, 1, "node-a");
        write_varint_field(&claim, 2, 3);
        return claim;
}

static struct protobuf_writer takeover_part(void) {
        struct protobuf_writer takeover = {};

        write_run(&takeover, 1);
        return takeover;
}

static void assert_round_trip(const struct link_message *message) {
        _cleanup_link_message_ struct link_message decoded = {};

        ASSERT_FALSE(link_message_is_empty(message));
        round_trip(message, &decoded);
        assert_messages_equal(message, &decoded);
        ASSERT_FALSE(link_message_is_empty(&decoded));
}

/* Each alone, so that what one of them says is not what the other does. */
static void test_each_alone(void) {
        struct link_overruled overruled = {
                .job = run_of(1).job, .epoch = 5, .status = JOB_CANCELLED, .owner = "a"
        };
        struct link_takeover takeover = { .run = run_of(1) };
        struct full_message full;

        full_message_init(&full);
        assert_round_trip(&(struct link_message){ .copy = full.message.copy });
        assert_round_trip(&(struct link_message){ .copy = { .term = 1, .complete = true } });
        assert_round_trip(&(struct link_message){
                .copy = { .term = 1, .number = 2, .has_run = true, .run = run_of(1) } });
        assert_round_trip(&(struct link_message){ .kept = { .term = 1 } });
        assert_round_trip(&(struct link_message){ .kept = { .term = 1, .number = 2, .refused = true } });
        assert_round_trip(&(struct link_message){ .forget_copies = LINK_EPOCH_MAX });
        assert_round_trip(&(struct link_message){ .copies_forgotten = LINK_EPOCH_MAX });
        assert_round_trip(&(struct link_message){ .claim = { .owner = "a" } });
        for (int i = 0; i < _LINK_OBJECTION_MAX; i++)
                assert_round_trip(&(struct link_message){
                        .claim_answer = { .owner = "a", .objection = (enum link_objection) i } });
        assert_round_trip(&(struct link_message){ .n_takeovers = 1, .takeovers = &takeover });
        assert_round_trip(&(struct link_message){ .n_overruled = 1, .overruled = &overruled });
}

static void test_overruled(void) {
        for (unsigned status = 0; status < _JOB_STATUS_MAX; status++)
                ASSERT_WITH(
                        job_status_is_final((enum job_status) status) ? assert_right : assert_wrong,
                        OVERRULED, overruled_part(), write_varint_field(&with, 3, status));
        ASSERT_WITH(
                assert_wrong, OVERRULED, overruled_part(), write_varint_field(&with, 3, _JOB_STATUS_MAX));
        ASSERT_WITH(assert_wrong, OVERRULED, overruled_part(), write_varint_field(&with, 3, UINT32_MAX));
        ASSERT_WITH(assert_right, OVERRULED, overruled_part(), write_varint_field(&with, 2, LINK_EPOCH_MAX));
        ASSERT_WITH(
                assert_wrong, OVERRULED, overruled_part(), write_varint_field(&with, 2, LINK_EPOCH_MAX + 1));
        ASSERT_WITH(assert_wrong, OVERRULED, overruled_part(), write_text_field(&with, 4, ""));
        ASSERT_WITH(assert_wrong, OVERRULED, overruled_part(), write_text_field(&with, 4, "node/a"));
        ASSERT_WITH(assert_wrong, OVERRULED, overruled_part(), write_bytes_field(&with, 1, null_id, 16));
        ASSERT_WITH(assert_wrong, OVERRULED, overruled_part(), write_bytes_field(&with, 1, job_id, 15));
        ASSERT_WITH(assert_wrong, OVERRULED, nothing, );
}

static void test_overruled_max(void) {
        static struct link_overruled overruled[LINK_OVERRULED_MAX + 1];
        struct link_message message = { .n_overruled = LINK_OVERRULED_MAX, .overruled = overruled };
        const struct protobuf_writer part = overruled_part();
        _cleanup_buffer_ struct buffer buffer = {};

        for (size_t i = 0; i < ELEMENTSOF(overruled); i++)
                overruled[i] = (struct link_overruled){ .job = run_of((uint8_t) (i % 255 + 1)).job,
                                                        .status = JOB_FAILED,
                                                        .owner = "a" };
        assert_round_trip(&message);
        message.n_overruled++;
        ASSERT_ERROR(link_message_encode(&message, &buffer), EMSGSIZE);
        ASSERT_EQ(buffer.size, 0);
        assert_at_most(LINK_OVERRULED_MAX, &nothing, OVERRULED, &part);
}

static void test_copy(void) {
        const struct protobuf_writer bad_run = run_part(null_id, sizeof(null_id));

        ASSERT_WITH(assert_right, COPY, copy_part(), );
        ASSERT_WITH(assert_wrong, COPY, nothing, );
        ASSERT_WITH(assert_wrong, COPY, copy_part(), write_varint_field(&with, 1, 0));
        ASSERT_WITH(assert_wrong, COPY, copy_part(), write_message_field(&with, 5, &bad_run));
        ASSERT_WITH(assert_right, COPY, copy_part(), write_text_field(&with, 7, "node-b"));
        ASSERT_WITH(assert_wrong, COPY, copy_part(), write_text_field(&with, 7, "node b"));
        for (unsigned status = 0; status < _JOB_STATUS_MAX; status++) {
                bool right = status == JOB_UNKNOWN || job_status_is_final((enum job_status) status);

                ASSERT_WITH(
                        right ? assert_right : assert_wrong, COPY, copy_part(),
                        write_varint_field(&with, 9, status));
        }
        ASSERT_WITH(assert_wrong, COPY, copy_part(), write_varint_field(&with, 9, _JOB_STATUS_MAX));
        ASSERT_WITH(assert_right, COPY, copy_part(), write_varint_field(&with, 11, JOB_RETRIES_MAX));
        ASSERT_WITH(assert_wrong, COPY, copy_part(), write_varint_field(&with, 11, JOB_RETRIES_MAX + 1));
}

/* The job of a copy, or its end, with the run as it is given. */
static struct protobuf_writer copied_part(unsigned number, const uint8_t *id) {
        struct protobuf_writer part = {}, run = run_part(id, sizeof(job_id)), job = job_part();

        write_message_field(&part, 1, &run);
        write_bytes_field(&job, 1, id, sizeof(job_id));
        if (number == COPIED)
                write_message_field(&part, 2, &job);
        return part;
}

static int
decode_behind(const struct protobuf_writer *copy, unsigned number, const uint8_t *const *ids, size_t n) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer message = {};

        write_message_field(&message, COPY, copy);
        for (size_t i = 0; i < n; i++) {
                const struct protobuf_writer part = copied_part(number, ids[i]);

                write_message_field(&message, number, &part);
        }
        return link_message_decode(message.bytes, message.size, &decoded);
}

/* What comes with a copy is about its job, and is there once. */
static void test_what_is_copied(void) {
        const uint8_t *const same[] = { job_id, job_id }, *const other[] = { other_id };
        const struct protobuf_writer copy = copy_part();
        struct protobuf_writer of_no_job = {};

        write_varint_field(&of_no_job, 1, 1);
        for (unsigned number = COPIED; number <= COPIED_END; number++) {
                ASSERT_EQ(decode_behind(&copy, number, same, 1), 0);
                ASSERT_EQ(decode_behind(&copy, number, same, 2), -EBADMSG);
                ASSERT_EQ(decode_behind(&copy, number, other, 1), -EBADMSG);
                ASSERT_EQ(decode_behind(&of_no_job, number, same, 0), 0);
                ASSERT_EQ(decode_behind(&of_no_job, number, same, 1), -EBADMSG);
        }
}

/* Numbers that no keeper ever said are the owner's business, which compares them with its own. */
static void test_kept(void) {
        ASSERT_WITH(assert_right, KEPT, nothing, );
        ASSERT_WITH(assert_right, KEPT, nothing, write_varint_field(&with, 1, UINT64_MAX);
                    write_varint_field(&with, 2, UINT64_MAX));
}

static void test_claim(void) {
        ASSERT_WITH(assert_right, CLAIM, claim_part(), );
        ASSERT_WITH(assert_wrong, CLAIM, nothing, );
        ASSERT_WITH(assert_wrong, CLAIM, claim_part(), write_text_field(&with, 1, ""));
        ASSERT_WITH(assert_wrong, CLAIM, claim_part(), write_text_field(&with, 1, "node a"));

        ASSERT_WITH(assert_right, CLAIM_ANSWER, claim_part(), );
        ASSERT_WITH(assert_wrong, CLAIM_ANSWER, nothing, );
        ASSERT_WITH(assert_wrong, CLAIM_ANSWER, claim_part(), write_text_field(&with, 1, "node a"));
        ASSERT_WITH(
                assert_wrong, CLAIM_ANSWER, claim_part(), write_varint_field(&with, 3, _LINK_OBJECTION_MAX));
        ASSERT_WITH(assert_wrong, CLAIM_ANSWER, claim_part(), write_varint_field(&with, 3, UINT64_MAX));
}

static int decode_held(const void *id, uint64_t state) {
        _cleanup_link_message_ struct link_message decoded = {};
        const struct protobuf_writer run = run_part(id, sizeof(job_id)), answer = claim_part();
        struct protobuf_writer message = {}, held = {};

        write_message_field(&held, 1, &run);
        write_varint_field(&held, 2, state);
        write_message_field(&message, CLAIM_ANSWER, &answer);
        write_message_field(&message, CLAIM_HELD, &held);
        return link_message_decode(message.bytes, message.size, &decoded);
}

static void test_held_by_others(void) {
        static struct link_held held[LINK_PARTS_MAX + 1];
        struct link_message message = {
                .claim_answer = { .owner = "a", .held = held, .n_held = LINK_PARTS_MAX },
        };
        struct protobuf_writer before = {}, part = {};
        const struct protobuf_writer answer = claim_part();
        _cleanup_buffer_ struct buffer buffer = {};

        ASSERT_EQ(decode_held(job_id, LINK_HELD_ENDED), 0);
        ASSERT_EQ(decode_held(job_id, _LINK_HELD_STATE_MAX), -EBADMSG);
        ASSERT_EQ(decode_held(null_id, LINK_HELD_ENDED), -EBADMSG);

        write_message_field(&before, CLAIM_ANSWER, &answer);
        write_run(&part, 1);
        assert_at_most(LINK_PARTS_MAX, &before, CLAIM_HELD, &part);
        for (size_t i = 0; i < ELEMENTSOF(held); i++)
                held[i].run = run_of(1);
        assert_round_trip(&message);
        message.claim_answer.n_held++;
        ASSERT_ERROR(link_message_encode(&message, &buffer), EMSGSIZE);
}

static void test_takeover(void) {
        static struct link_takeover takeovers[LINK_PARTS_MAX + 1];
        struct link_message message = { .n_takeovers = LINK_PARTS_MAX, .takeovers = takeovers };
        const struct protobuf_writer part = takeover_part();
        const struct protobuf_writer bad_run = run_part(null_id, sizeof(null_id));
        _cleanup_buffer_ struct buffer buffer = {};

        ASSERT_WITH(assert_right, TAKEOVER, takeover_part(), );
        ASSERT_WITH(assert_wrong, TAKEOVER, nothing, );
        ASSERT_WITH(assert_wrong, TAKEOVER, takeover_part(), write_message_field(&with, 1, &bad_run));

        assert_at_most(LINK_PARTS_MAX, &nothing, TAKEOVER, &part);
        for (size_t i = 0; i < ELEMENTSOF(takeovers); i++)
                takeovers[i].run = run_of(1);
        assert_round_trip(&message);
        message.n_takeovers++;
        ASSERT_ERROR(link_message_encode(&message, &buffer), EMSGSIZE);
}

int main(void) {
        RUN(test_each_alone);
        RUN(test_overruled);
        RUN(test_overruled_max);
        RUN(test_copy);
        RUN(test_what_is_copied);
        RUN(test_kept);
        RUN(test_claim);
        RUN(test_held_by_others);
        RUN(test_takeover);
        return 0;
}
