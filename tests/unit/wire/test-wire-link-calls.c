/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The decoder of links with questions about jobs, and with answers: wrong fields one by one, and what other
 * versions may say. */

#include "link-parts.h"

/* Numbers of fields, as in proto/link.proto. */
enum {
        CALL = 20,
        ANSWER = 21,
};

static struct protobuf_writer call_part(unsigned kind) {
        struct protobuf_writer call = {};

        write_varint_field(&call, 2, kind);
        write_run(&call, 3);
        write_varint_field(&call, 6, 1);
        return call;
}

static struct protobuf_writer position_part(uint64_t offset, uint64_t end) {
        struct protobuf_writer position = {};

        write_varint_field(&position, 1, offset);
        write_varint_field(&position, 2, end);
        return position;
}

static void test_calls(void) {
        const uint64_t too_far = (uint64_t) INT64_MAX + 1;
        const struct protobuf_writer far = position_part(too_far, 0), beyond = position_part(0, too_far);
        const struct protobuf_writer last = position_part(INT64_MAX, INT64_MAX), nothing = {};

        for (unsigned kind = 0; kind < _LINK_CALL_KIND_MAX; kind++)
                ASSERT_WITH(assert_right, CALL, call_part(kind), );
        ASSERT_WITH(assert_wrong, CALL, nothing, write_varint_field(&with, 2, LINK_CALL_GET));
        /* Which output only where one is meant. */
        ASSERT_WITH(assert_right, CALL, call_part(LINK_CALL_GET), write_varint_field(&with, 6, 3));
        ASSERT_WITH(assert_wrong, CALL, call_part(LINK_CALL_OUTPUT), write_varint_field(&with, 6, 3));
        ASSERT_WITH(assert_wrong, CALL, call_part(LINK_CALL_RUN_OUTPUT), write_varint_field(&with, 6, 0));
        ASSERT_WITH(assert_right, CALL, call_part(LINK_CALL_OUTPUT), write_message_field(&with, 7, &last));
        ASSERT_WITH(assert_wrong, CALL, call_part(LINK_CALL_OUTPUT), write_message_field(&with, 7, &far));
        ASSERT_WITH(assert_wrong, CALL, call_part(LINK_CALL_OUTPUT), write_message_field(&with, 7, &beyond));
}

/* A question of a version to come is answered, so it has to arrive. */
static void test_a_call_of_another_version(void) {
        const struct protobuf_writer call = call_part(_LINK_CALL_KIND_MAX);
        _cleanup_link_message_ struct link_message decoded = {};

        ASSERT_OK(decode_part(CALL, &call, &decoded));
        ASSERT_EQ(decoded.n_calls, 1);
        ASSERT_EQ(decoded.calls[0].kind, LINK_CALL_UNKNOWN);
}

static struct protobuf_writer record_part(void) {
        struct protobuf_writer record = {};
        const struct protobuf_writer job = job_part();

        write_message_field(&record, 1, &job);
        return record;
}

static void assert_record(
        void (*check)(unsigned number, const struct protobuf_writer *part),
        const struct protobuf_writer *record) {
        struct protobuf_writer answer = {};

        write_message_field(&answer, 4, record);
        check(ANSWER, &answer);
}

#define ASSERT_RECORD(check, statement)                      \
        ({                                                   \
                struct protobuf_writer with = record_part(); \
                statement;                                   \
                assert_record(check, &with);                 \
        })

static void test_records(void) {
        const struct protobuf_writer nothing = {};
        char error[LINK_ERROR_MAX + 2] = "";

        memset(error, 'e', LINK_ERROR_MAX);
        assert_record(assert_wrong, &nothing);
        ASSERT_RECORD(assert_right, );
        ASSERT_RECORD(assert_right, write_varint_field(&with, 2, _JOB_STATUS_MAX));
        ASSERT_RECORD(assert_right, write_text_field(&with, 5, "node-a"));
        ASSERT_RECORD(assert_wrong, write_text_field(&with, 5, "node a"));
        ASSERT_RECORD(assert_right, write_varint_field(&with, 10, 256));
        ASSERT_RECORD(assert_wrong, write_varint_field(&with, 10, 257));
        ASSERT_RECORD(assert_right, write_varint_field(&with, 11, 127));
        ASSERT_RECORD(assert_wrong, write_varint_field(&with, 11, 128));
        ASSERT_RECORD(assert_wrong, write_varint_field(&with, 11, UINT64_MAX));
        ASSERT_RECORD(assert_right, write_text_field(&with, 14, error));
        error[LINK_ERROR_MAX] = 'e';
        ASSERT_RECORD(assert_wrong, write_text_field(&with, 14, error));
        ASSERT_RECORD(assert_wrong, write_text_field(&with, 14, "\xff"));
        ASSERT_RECORD(assert_right, write_varint_field(&with, 15, LINK_STDIN_MAX));
        ASSERT_RECORD(assert_wrong, write_varint_field(&with, 15, LINK_STDIN_MAX + 1));
        ASSERT_RECORD(assert_right, write_varint_field(&with, 18, JOB_RETRIES_MAX));
        ASSERT_RECORD(assert_wrong, write_varint_field(&with, 18, JOB_RETRIES_MAX + 1));
        ASSERT_RECORD(assert_right, write_text_field(&with, 19, "no free slot"));
        ASSERT_RECORD(assert_wrong, write_text_field(&with, 19, "two\nlines"));
}

static void test_attempts(void) {
        struct protobuf_writer attempt = {}, bad_node = {}, bad_code, bad_signal, record = record_part();

        write_text_field(&attempt, 3, "node-a");
        write_text_field(&attempt, 4, "of another version");
        ASSERT_RECORD(assert_right, write_message_field(&with, 20, &attempt));
        write_text_field(&bad_node, 3, "node a");
        ASSERT_RECORD(assert_wrong, write_message_field(&with, 20, &bad_node));
        bad_code = bad_signal = attempt;
        write_varint_field(&bad_code, 7, 257);
        ASSERT_RECORD(assert_wrong, write_message_field(&with, 20, &bad_code));
        write_varint_field(&bad_signal, 8, 128);
        ASSERT_RECORD(assert_wrong, write_message_field(&with, 20, &bad_signal));

        for (unsigned i = 0; i < LINK_ATTEMPTS_MAX; i++)
                write_message_field(&record, 20, &attempt);
        assert_record(assert_right, &record);
        write_message_field(&record, 20, &attempt);
        assert_record(assert_wrong, &record);
}

static void test_answers(void) {
        const uint64_t too_far = (uint64_t) INT64_MAX + 1;
        const struct protobuf_writer nothing = {}, far = position_part(too_far, 0);
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer long_detail = {};
        char detail[LINK_DETAIL_MAX + 11] = "";

        ASSERT_WITH(assert_right, ANSWER, nothing, );
        ASSERT_WITH(assert_right, ANSWER, nothing, write_text_field(&with, 2, "not_found"));
        ASSERT_WITH(assert_wrong, ANSWER, nothing, write_text_field(&with, 2, "not\nfound"));
        ASSERT_WITH(assert_wrong, ANSWER, nothing, write_text_field(&with, 3, "two\nlines"));
        ASSERT_WITH(assert_right, ANSWER, nothing, write_varint_field(&with, 7, INT64_MAX));
        ASSERT_WITH(assert_wrong, ANSWER, nothing, write_varint_field(&with, 7, too_far));
        ASSERT_WITH(assert_wrong, ANSWER, nothing, write_varint_field(&with, 8, too_far));
        ASSERT_WITH(assert_wrong, ANSWER, nothing, write_message_field(&with, 9, &far));

        /* Words for people are cut. */
        memset(detail, 'd', sizeof(detail) - 1);
        write_text_field(&long_detail, 3, detail);
        ASSERT_OK(decode_part(ANSWER, &long_detail, &decoded));
        ASSERT_EQ(strlen(decoded.answers[0].detail), LINK_DETAIL_MAX);
}

int main(void) {
        RUN(test_calls);
        RUN(test_a_call_of_another_version);
        RUN(test_records);
        RUN(test_attempts);
        RUN(test_answers);
        return 0;
}
