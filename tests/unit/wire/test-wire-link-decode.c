/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The decoder of links with bytes that no encoder of ours makes: wrong fields one by one, messages of other
 * versions, and such as are made to cost memory. */

#include <sys/resource.h>
#include <sys/wait.h>

#include "lib/tests.h"
#include "link-parts.h"
#include "wire/label.h"

/* Numbers of fields, as in proto/link.proto. */
enum {
        HELLO = 1,
        HELD = 2,
        ASSIGN = 4,
        TAKEN = 5,
        REFUSED = 6,
        STARTED = 7,
        ENDED = 8,
        KILL = 9,
        WITHDRAW = 10,
        RETIRE = 11,
        READ = 13,
        PIECE = 14,
        CANCEL_READ = 15,
        COPY = 30,
        FORGET_COPIES = 34,
        COPIES_FORGOTTEN = 35,
        CLAIM = 36,
        TAKEOVER = 39,
        INDEX_PART = 26,
        INDEX_NODES = 27,
        INDEX_ENTRIES = 28,
        UNKNOWN = 500,
};

/* The last of a field that is written twice counts, so each of these is right until something is added. */
static struct protobuf_writer hello_part(void) {
        struct protobuf_writer hello = {};

        write_varint_field(&hello, 1, LINK_PROTOCOL);
        write_text_field(&hello, 2, "node-a");
        write_text_field(&hello, 3, "0.1.0");
        return hello;
}

static struct protobuf_writer assignment_part(const struct protobuf_writer *job) {
        struct protobuf_writer assignment = {};

        write_run(&assignment, 1);
        write_message_field(&assignment, 2, job);
        return assignment;
}

static struct protobuf_writer ended_part(void) {
        struct protobuf_writer ended = {};

        write_run(&ended, 1);
        return ended;
}

static struct protobuf_writer read_part(void) {
        struct protobuf_writer read = {};

        write_run(&read, 2);
        write_varint_field(&read, 3, 1);
        return read;
}

/* A job with one more field. */
static void assert_job(
        void (*check)(unsigned number, const struct protobuf_writer *part),
        const struct protobuf_writer *job) {

        const struct protobuf_writer assignment = assignment_part(job);

        check(ASSIGN, &assignment);
}

#define ASSERT_JOB(check, statement)                      \
        ({                                                \
                struct protobuf_writer with = job_part(); \
                statement;                                \
                assert_job(check, &with);                 \
        })

static struct protobuf_writer entry_part(void) {
        struct protobuf_writer entry = {};

        write_bytes_field(&entry, 1, job_id, sizeof(job_id));
        write_varint_field(&entry, 2, 3);
        write_varint_field(&entry, 4, JOB_RUNNING);
        write_varint_field(&entry, 7, 1);
        return entry;
}

/* An entry together with the part that it belongs to, which tells up to number 3 of 3, and names one node.
 */
static int decode_entry(const struct protobuf_writer *entry, bool with_part) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer message = {}, part = {};

        write_varint_field(&part, 2, 3);
        write_varint_field(&part, 3, 3);
        if (with_part)
                write_message_field(&message, INDEX_PART, &part);
        write_text_field(&message, INDEX_NODES, "node-a");
        write_message_field(&message, INDEX_ENTRIES, entry);
        return link_message_decode(message.bytes, message.size, &decoded);
}

#define ASSERT_ENTRY(expected, statement)                       \
        ({                                                      \
                struct protobuf_writer with = entry_part();     \
                statement;                                      \
                ASSERT_EQ(decode_entry(&with, true), expected); \
        })

static void test_index_entry(void) {
        const struct protobuf_writer alone = entry_part();

        ASSERT_EQ(decode_entry(&alone, true), 0);
        ASSERT_EQ(decode_entry(&alone, false), -EBADMSG);
        ASSERT_ENTRY(-EBADMSG, write_bytes_field(&with, 1, job_id, 15));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 2, 4));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 4, JOB_UNKNOWN));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 4, _JOB_STATUS_MAX));
        ASSERT_ENTRY(0, write_varint_field(&with, 5, 1));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 5, 2));
        ASSERT_ENTRY(0, write_varint_field(&with, 6, 256));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 6, 257));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 7, 0));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 9, 1));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 4, JOB_COMPLETED));
        ASSERT_ENTRY(0, write_varint_field(&with, 4, JOB_COMPLETED); write_varint_field(&with, 9, 1));
}

static void test_index_part(void) {
        struct protobuf_writer part = {}, name = {};
        struct link_message decoded = {};

        ASSERT_WITH(assert_right, INDEX_PART, part, write_varint_field(&with, 2, 5));
        ASSERT_WITH(assert_wrong, INDEX_PART, part, write_varint_field(&with, 3, 1));
        ASSERT_WITH(assert_right, INDEX_PART, part, write_varint_field(&with, 4, 1));
        ASSERT_WITH(assert_wrong, INDEX_PART, part, write_varint_field(&with, 2, 5);
                    write_varint_field(&with, 4, 1));
        write_text_field(&name, INDEX_NODES, "node a");
        ASSERT_ERROR(link_message_decode(name.bytes, name.size, &decoded), EBADMSG);
}

static void test_hello(void) {
        ASSERT_WITH(assert_right, HELLO, hello_part(), );
        ASSERT_WITH(assert_right, HELLO, hello_part(), write_varint_field(&with, 1, 99));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_varint_field(&with, 1, 0));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_text_field(&with, 2, ""));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_text_field(&with, 2, "node/a"));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_text_field(&with, 2, "größe"));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_text_field(&with, 3, "\xff"));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_text_field(&with, 3, "a\nb"));
        ASSERT_WITH(assert_wrong, HELLO, hello_part(), write_text_field(&with, 3, "a\x7f"));
        ASSERT_WITH(assert_wrong, HELLO, (struct protobuf_writer){}, );
        ASSERT_WITH(
                assert_wrong, HELLO, hello_part(),
                write_text_field(
                        &with, 2, "0123456789012345678901234567890123456789012345678901234567890123"));
        ASSERT_WITH(
                assert_right, HELLO, hello_part(),
                write_text_field(
                        &with, 2, "012345678901234567890123456789012345678901234567890123456789012"));
}

/* A version is for people: too much of it is cut, at a whole character. */
static void test_long_version(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer hello = hello_part();

        write_text_field(&hello, 3, "012345678901234567890123456789ä and what else there is to say");
        ASSERT_OK(decode_part(HELLO, &hello, &decoded));
        ASSERT_STREQ(decoded.hello.version, "012345678901234567890123456789");
}

/* Every kind of part that is about a run, at which number of its own. */
static const struct {
        unsigned number, run_number;
} parts_with_run[] = {
        { HELD, 1 },  { ASSIGN, 1 }, { TAKEN, 0 },    { REFUSED, 1 }, { STARTED, 1 },
        { ENDED, 1 }, { KILL, 0 },   { WITHDRAW, 0 }, { RETIRE, 0 },  { READ, 2 },
};

/* The whole part, with the run as it is given. */
static struct protobuf_writer part_of(size_t kind, const struct protobuf_writer *run) {
        struct protobuf_writer part = {};

        if (parts_with_run[kind].run_number == 0)
                return run ? *run : part;
        if (run)
                write_message_field(&part, parts_with_run[kind].run_number, run);
        if (parts_with_run[kind].number == ASSIGN) {
                const struct protobuf_writer job = job_part();
                write_message_field(&part, 2, &job);
        }
        if (parts_with_run[kind].number == READ)
                write_varint_field(&part, 3, 1);
        return part;
}

static void test_runs(void) {
        static const uint8_t null_id[16] = {}, long_id[17] = { 1 };
        const struct protobuf_writer right = run_part(job_id, sizeof(job_id));
        const struct protobuf_writer wrongs[] = {
                run_part(job_id, 15), run_part(job_id, 0), run_part(long_id, 17), run_part(null_id, 16), {},
        };

        for (size_t kind = 0; kind < ELEMENTSOF(parts_with_run); kind++) {
                struct protobuf_writer part = part_of(kind, &right);

                assert_right(parts_with_run[kind].number, &part);
                for (size_t i = 0; i < ELEMENTSOF(wrongs); i++) {
                        part = part_of(kind, &wrongs[i]);
                        assert_wrong(parts_with_run[kind].number, &part);
                }
                part = part_of(kind, NULL);
                assert_wrong(parts_with_run[kind].number, &part);
        }
}

/* A run that is written again with these numbers. */
static struct protobuf_writer counted_run(uint64_t epoch, uint64_t attempt) {
        struct protobuf_writer run = run_part(job_id, sizeof(job_id));

        write_varint_field(&run, 2, epoch);
        write_varint_field(&run, 3, attempt);
        return run;
}

/* Nobody counts that far, and who went on from there would begin at 0 again. */
static void test_counted_too_far(void) {
        const struct protobuf_writer last = counted_run(LINK_EPOCH_MAX, LINK_ATTEMPT_MAX),
                                     epoch = counted_run(LINK_EPOCH_MAX + 1, 1),
                                     attempt = counted_run(1, (uint64_t) LINK_ATTEMPT_MAX + 1);
        struct protobuf_writer copy = {}, claim = {}, takeover = {}, number = {};

        assert_right(TAKEN, &last);
        assert_wrong(TAKEN, &epoch);
        assert_wrong(TAKEN, &attempt);

        write_varint_field(&copy, 1, LINK_EPOCH_MAX);
        ASSERT_WITH(assert_right, COPY, copy, write_varint_field(&with, 6, LINK_EPOCH_MAX));
        ASSERT_WITH(assert_wrong, COPY, copy, write_varint_field(&with, 6, LINK_EPOCH_MAX + 1));
        ASSERT_WITH(assert_wrong, COPY, copy, write_varint_field(&with, 1, LINK_EPOCH_MAX + 1));
        ASSERT_WITH(assert_right, COPY, copy, write_varint_field(&with, 11, JOB_RETRIES_MAX));
        ASSERT_WITH(assert_wrong, COPY, copy, write_varint_field(&with, 11, JOB_RETRIES_MAX + 1));

        write_text_field(&claim, 1, "node-a");
        ASSERT_WITH(assert_right, CLAIM, claim, write_varint_field(&with, 2, LINK_EPOCH_MAX));
        ASSERT_WITH(assert_wrong, CLAIM, claim, write_varint_field(&with, 2, LINK_EPOCH_MAX + 1));

        write_run(&takeover, 1);
        ASSERT_WITH(assert_right, TAKEOVER, takeover, write_varint_field(&with, 2, LINK_EPOCH_MAX));
        ASSERT_WITH(assert_wrong, TAKEOVER, takeover, write_varint_field(&with, 2, LINK_EPOCH_MAX + 1));

        for (unsigned field = FORGET_COPIES; field <= COPIES_FORGOTTEN; field++) {
                struct link_message decoded = {};

                number.size = 0;
                write_varint_field(&number, field, LINK_EPOCH_MAX + 1);
                ASSERT_ERROR(link_message_decode(number.bytes, number.size, &decoded), EBADMSG);
        }
        ASSERT_ENTRY(0, write_varint_field(&with, 3, LINK_EPOCH_MAX));
        ASSERT_ENTRY(-EBADMSG, write_varint_field(&with, 3, LINK_EPOCH_MAX + 1));
}

static void test_job_texts(void) {
        struct protobuf_writer job = {};

        ASSERT_JOB(assert_right, );
        ASSERT_JOB(assert_wrong, write_text_field(&with, 4, ""));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 4, "\xc3"));
        ASSERT_JOB(assert_right, write_text_field(&with, 5, "/srv"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 5, "srv"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 5, "/\xff"));
        ASSERT_JOB(assert_right, write_text_field(&with, 6, "A="));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 6, ""));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 6, "A"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 6, "=A"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 6, "A=\xff"));
        ASSERT_JOB(assert_right, write_text_field(&with, 10, "node-b"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 10, "node b"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 11, ""));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 11, "node b"));
        ASSERT_JOB(assert_right, write_text_field(&with, 12, "uid:1000"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 12, "uid\n"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 12, "\xff"));
        assert_job(assert_wrong, &job);
}

static void test_job_data(void) {
        static const uint8_t other_id[16] = { 9 };
        static const uint8_t bytes[33] = {};

        ASSERT_JOB(assert_wrong, write_bytes_field(&with, 1, other_id, 16)); /* not the one of the run */
        ASSERT_JOB(assert_wrong, write_bytes_field(&with, 1, bytes, 15));
        ASSERT_JOB(assert_wrong, write_bytes_field(&with, 7, "x", 1)); /* stdin without has_stdin */
        ASSERT_JOB(assert_right, {
                write_bytes_field(&with, 7, "x", 1);
                write_varint_field(&with, 8, 1);
        });
        ASSERT_JOB(assert_right, write_varint_field(&with, 8, 1));
        ASSERT_JOB(assert_right, write_bytes_field(&with, 14, bytes, 32));
        ASSERT_JOB(assert_right, write_bytes_field(&with, 14, bytes, 0));
        ASSERT_JOB(assert_wrong, write_bytes_field(&with, 14, bytes, 31));
        ASSERT_JOB(assert_wrong, write_bytes_field(&with, 14, bytes, 33));
}

static void test_job_rules(void) {
        char text[LABEL_TEXT_MAX + 2];

        /* sint32: zigzag. */
        ASSERT_JOB(assert_right, write_varint_field(&with, 15, JOB_PRIORITY_MAX * 2));
        ASSERT_JOB(assert_right, write_varint_field(&with, 15, -JOB_PRIORITY_MIN * 2 - 1));
        ASSERT_JOB(assert_wrong, write_varint_field(&with, 15, (JOB_PRIORITY_MAX + 1) * 2));
        ASSERT_JOB(assert_wrong, write_varint_field(&with, 15, (-JOB_PRIORITY_MIN + 1) * 2 - 1));
        ASSERT_JOB(assert_right, write_varint_field(&with, 16, JOB_RETRIES_MAX));
        ASSERT_JOB(assert_wrong, write_varint_field(&with, 16, JOB_RETRIES_MAX + 1));
        ASSERT_JOB(assert_wrong, write_varint_field(&with, 16, UINT32_MAX));
        ASSERT_JOB(assert_right, write_varint_field(&with, 17, 1));
        ASSERT_JOB(assert_right, write_text_field(&with, 18, "gpu"));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 18, ""));
        ASSERT_JOB(assert_wrong, write_text_field(&with, 18, "gpu=a 100"));
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        text[LABEL_KEY_MAX] = '=';
        ASSERT_JOB(assert_wrong, write_text_field(&with, 18, text));
        text[sizeof(text) - 2] = '\0';
        ASSERT_JOB(assert_right, write_text_field(&with, 18, text));
        ASSERT_JOB(assert_right, {
                for (unsigned i = 0; i < LINK_REQUIRES_MAX; i++)
                        write_text_field(&with, 18, "gpu");
        });
        ASSERT_JOB(assert_wrong, {
                for (unsigned i = 0; i <= LINK_REQUIRES_MAX; i++)
                        write_text_field(&with, 18, "gpu");
        });
}

static void assert_limit(
        void (*check)(unsigned number, const struct protobuf_writer *part), unsigned number,
        uint64_t value) {
        struct protobuf_writer limits = {};

        write_varint_field(&limits, number, value);
        ASSERT_JOB(check, write_message_field(&with, 9, &limits));
}

static void test_job_limits(void) {
        static const struct {
                uint64_t low, high;
        } ranges[] = {
                { JOB_MEMORY_MIN, JOB_MEMORY_MAX },
                { JOB_CPU_WEIGHT_MIN, JOB_CPU_WEIGHT_MAX },
                { JOB_CPU_QUOTA_MIN, JOB_CPU_QUOTA_MAX },
                { JOB_TASKS_MIN, JOB_TASKS_MAX },
        };

        for (unsigned i = 0; i < ELEMENTSOF(ranges); i++) {
                assert_limit(assert_right, i + 1, 0);
                assert_limit(assert_right, i + 1, ranges[i].low);
                assert_limit(assert_right, i + 1, ranges[i].high);
                assert_limit(assert_wrong, i + 1, ranges[i].high + 1);
                if (ranges[i].low > 1)
                        assert_limit(assert_wrong, i + 1, ranges[i].low - 1);
        }
}

/* Times that nobody can write as a date are cut, so that sums of them do not wrap. */
static void test_times(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer job = job_part();

        write_varint_field(&job, 2, UINT64_MAX);
        write_varint_field(&job, 3, UINT64_MAX);
        const struct protobuf_writer assignment = assignment_part(&job);
        ASSERT_OK(decode_part(ASSIGN, &assignment, &decoded));
        ASSERT_EQ(decoded.assignments[0].job.created_at, LINK_USEC_MAX);
        ASSERT_EQ(decoded.assignments[0].job.timeout_usec, LINK_USEC_MAX);
}

static struct protobuf_writer output_part(size_t n_data, uint64_t size, uint64_t total) {
        static const uint8_t bytes[2048] = {};
        struct protobuf_writer output = {};

        write_bytes_field(&output, 1, bytes, n_data);
        write_varint_field(&output, 2, size);
        write_varint_field(&output, 3, total);
        return output;
}

static void assert_output(
        void (*check)(unsigned number, const struct protobuf_writer *part), size_t n_data, uint64_t size,
        uint64_t total) {
        const struct protobuf_writer output = output_part(n_data, size, total);

        ASSERT_WITH(check, ENDED, ended_part(), write_message_field(&with, 8, &output));
        ASSERT_WITH(check, ENDED, ended_part(), write_message_field(&with, 9, &output));
}

static void test_ended(void) {
        const uint64_t minus_one = UINT64_MAX;

        ASSERT_WITH(assert_right, ENDED, ended_part(), write_varint_field(&with, 2, LINK_LOST));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_varint_field(&with, 2, _LINK_OUTCOME_MAX));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_varint_field(&with, 2, minus_one));
        ASSERT_WITH(assert_right, ENDED, ended_part(), write_varint_field(&with, 3, 255));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_varint_field(&with, 3, 256));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_varint_field(&with, 3, minus_one));
        ASSERT_WITH(assert_right, ENDED, ended_part(), write_varint_field(&with, 4, 127));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_varint_field(&with, 4, 128));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_varint_field(&with, 4, minus_one));
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_text_field(&with, 10, "\xff"));

        char text[LINK_ERROR_MAX + 2];
        memset(text, 'e', sizeof(text) - 1);
        text[LINK_ERROR_MAX + 1] = '\0';
        ASSERT_WITH(assert_wrong, ENDED, ended_part(), write_text_field(&with, 10, text));
        ASSERT_WITH(assert_right, ENDED, ended_part(), write_text_field(&with, 10, text + 1));

        assert_output(assert_right, 0, 0, 0);
        assert_output(assert_right, 10, 10, 10);
        assert_output(assert_right, 10, LINK_OUTPUT_MAX, INT64_MAX);
        assert_output(assert_wrong, 10, 9, 10);
        assert_output(assert_wrong, 10, 10, 0); /* of what was never written */
        assert_output(assert_wrong, 0, LINK_OUTPUT_MAX + 1, UINT64_C(1) << 40);
        assert_output(assert_wrong, 0, 0, (uint64_t) INT64_MAX + 1);
}

static void test_held(void) {
        for (uint64_t state = 0; state < _LINK_HELD_STATE_MAX; state++)
                ASSERT_WITH(assert_right, HELD, ended_part(), write_varint_field(&with, 2, state));
        ASSERT_WITH(assert_wrong, HELD, ended_part(), write_varint_field(&with, 2, _LINK_HELD_STATE_MAX));
}

static void test_reads(void) {
        const uint64_t too_far = (uint64_t) INT64_MAX + 1;
        const struct protobuf_writer nothing = {};

        ASSERT_WITH(assert_right, READ, read_part(), write_varint_field(&with, 3, 2));
        ASSERT_WITH(assert_wrong, READ, read_part(), write_varint_field(&with, 3, 0));
        ASSERT_WITH(assert_wrong, READ, read_part(), write_varint_field(&with, 3, 3));
        ASSERT_WITH(assert_right, READ, read_part(), write_varint_field(&with, 4, INT64_MAX));
        ASSERT_WITH(assert_wrong, READ, read_part(), write_varint_field(&with, 4, too_far));

        ASSERT_WITH(assert_right, PIECE, nothing, );
        ASSERT_WITH(assert_right, PIECE, nothing, write_varint_field(&with, 2, 4095));
        ASSERT_WITH(assert_wrong, PIECE, nothing, write_varint_field(&with, 2, 4096));
        ASSERT_WITH(assert_wrong, PIECE, nothing, write_varint_field(&with, 3, too_far));
        ASSERT_WITH(assert_wrong, PIECE, nothing, write_varint_field(&with, 6, too_far));
}

/* A message of a version to come: what is not known is ignored, in every part. */
static void test_unknown_fields(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer message = {}, refusal = {}, hello = hello_part(), job = job_part();
        struct protobuf_writer *const parts[] = { &refusal, &hello, &job, &message };

        write_run(&refusal, 1);
        write_varint_field(&refusal, 2, 99);
        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                write_varint_field(parts[i], UNKNOWN, UINT64_MAX);
                write_fixed64_field(parts[i], UNKNOWN + 1, 1);
                write_text_field(parts[i], UNKNOWN + 2, "later");
        }
        const struct protobuf_writer assignment = assignment_part(&job);
        write_message_field(&message, HELLO, &hello);
        write_message_field(&message, ASSIGN, &assignment);
        write_message_field(&message, REFUSED, &refusal);
        ASSERT_OK(link_message_decode(message.bytes, message.size, &decoded));
        ASSERT_STREQ(decoded.hello.node_id, "node-a");
        ASSERT_STREQ(decoded.assignments[0].job.command, "true");
        ASSERT_EQ(decoded.n_refused, 1);
        ASSERT_EQ(decoded.refused[0].reason, LINK_REFUSED); /* a reason that is not known */
}

/* Numbers that are listed one field each mean the same as packed ones. */
static void test_unpacked_numbers(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct protobuf_writer message = {};

        write_bytes_field(&message, CANCEL_READ, "\x07\x08", 2);
        write_varint_field(&message, CANCEL_READ, 9);
        ASSERT_OK(link_message_decode(message.bytes, message.size, &decoded));
        ASSERT_EQ(decoded.n_cancelled_reads, 3);
        ASSERT_EQ(
                decoded.cancelled_reads[0] * 100 + decoded.cancelled_reads[1] * 10 +
                        decoded.cancelled_reads[2],
                789);
}

/* A frame full of copies of this. */
static size_t fill(uint8_t *data, const void *pattern, size_t size) {
        size_t filled = 0;

        for (; filled + size <= LINK_FRAME_MAX; filled += size)
                memcpy(data + filled, pattern, size);
        return filled;
}

static void test_too_many_parts(void) {
        const struct protobuf_writer right = run_part(job_id, sizeof(job_id)), piece = {}, nothing = {};

        for (size_t kind = 0; kind < ELEMENTSOF(parts_with_run); kind++) {
                const struct protobuf_writer part = part_of(kind, &right);

                assert_at_most(LINK_PARTS_MAX, &nothing, parts_with_run[kind].number, &part);
        }
        assert_at_most(LINK_PARTS_MAX, &nothing, PIECE, &piece);
}

static void test_too_many_variables(void) {
        _cleanup_free_ uint8_t *data = malloc(LINK_ENV_MAX * 8);
        struct protobuf_writer start = job_part(), variable = {};
        struct link_message decoded = {};

        ASSERT_NOT_NULL(data);
        write_text_field(&variable, 6, "A=");
        for (size_t n = LINK_ENV_MAX; n <= LINK_ENV_MAX + 1; n++) {
                size_t job_size = start.size + n * variable.size;
                struct protobuf_writer head = {};
                uint8_t *end = data;

                /* An assignment by hand: its run, the length of its job, the job. */
                struct protobuf_writer inner = {};
                write_run(&inner, 1);
                write_varint(&inner, 2 << 3 | 2);
                write_varint(&inner, job_size);
                write_varint(&head, ASSIGN << 3 | 2);
                write_varint(&head, inner.size + job_size);
                end = mempcpy(end, head.bytes, head.size);
                end = mempcpy(end, inner.bytes, inner.size);
                end = mempcpy(end, start.bytes, start.size);
                for (size_t i = 0; i < n; i++)
                        end = mempcpy(end, variable.bytes, variable.size);
                int r = link_message_decode(data, (size_t) (end - data), &decoded);
                ASSERT_EQ(r, n == LINK_ENV_MAX ? 0 : -EBADMSG);
                link_message_done(&decoded);
        }
}

/* In a process of its own, whose memory the kernel counts. */
static void assert_cheap(const void *pattern, size_t size) {
        struct rusage usage;
        int status;

        pid_t pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
                uint8_t *data = malloc(LINK_FRAME_MAX);
                struct link_message decoded = {};
                int r = link_message_decode(data, fill(data, pattern, size), &decoded);

                link_message_done(&decoded);
                free(data);
                _exit(r == -EBADMSG || r >= 0 ? 0 : 1);
        }
        ASSERT_EQ(wait4(pid, &status, 0, &usage), pid);
        ASSERT_EQ(status, 0);
        ASSERT_LT(usage.ru_maxrss, 100 * 1024); /* KiB */
}

static void test_costly_messages(void) {
        static const char job[] = "\x22\x00", empty_job[] = "\x22\x02\x12\x00", unknown[] = "\xa0\x1f\x00";
        static const char ended[] = "\x42\x04\x42\x00\x4a\x00", hello[] = "\x0a\x02\x1a\x00";
        static const char packed[] = "\x7a\x01\x00", piece[] = "\x72\x00", numbers[] = "\x60\x01";

        assert_cheap(job, sizeof(job) - 1);
        assert_cheap(empty_job, sizeof(empty_job) - 1);
        assert_cheap(unknown, sizeof(unknown) - 1);
        assert_cheap(ended, sizeof(ended) - 1);
        assert_cheap(hello, sizeof(hello) - 1); /* merged again and again */
        assert_cheap(packed, sizeof(packed) - 1);
        assert_cheap(piece, sizeof(piece) - 1);
        assert_cheap(numbers, sizeof(numbers) - 1);
}

static void test_too_long(void) {
        _cleanup_free_ uint8_t *data = calloc(1, LINK_FRAME_MAX + 1);
        struct link_message decoded = {};

        ASSERT_ERROR(link_message_decode(data, LINK_FRAME_MAX + 1, &decoded), EBADMSG);
        ASSERT_ERROR(link_message_decode("\xff\xff", 2, &decoded), EBADMSG);
        link_message_done(&decoded);
}

int main(void) {
        RUN(test_hello);
        RUN(test_index_entry);
        RUN(test_index_part);
        RUN(test_long_version);
        RUN(test_runs);
        RUN(test_counted_too_far);
        RUN(test_job_texts);
        RUN(test_job_data);
        RUN(test_job_rules);
        RUN(test_job_limits);
        RUN(test_times);
        RUN(test_ended);
        RUN(test_held);
        RUN(test_reads);
        RUN(test_unknown_fields);
        RUN(test_unpacked_numbers);
        RUN(test_too_many_parts);
        RUN(test_too_many_variables);
        RUN(test_costly_messages);
        RUN(test_too_long);
        return 0;
}
