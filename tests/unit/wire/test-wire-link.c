/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages of a link there and back: every part, every limit, everything cut off. */

#include "lib/fault.h"
#include "lib/tests.h"
#include "link-messages.h"

static void test_every_part(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct full_message full;

        full_message_init(&full);
        round_trip(&full.message, &decoded);
        assert_messages_equal(&full.message, &decoded);
        ASSERT_FALSE(link_message_is_empty(&decoded));
}

static void test_nothing(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        const struct link_message nothing = {};

        round_trip(&nothing, &decoded);
        assert_messages_equal(&nothing, &decoded);
        ASSERT_TRUE(link_message_is_empty(&decoded));
}

/* What is not given comes back as not given; an empty stdin is not the same as none. */
static void test_smallest_job(void) {
        struct link_assignment assignments[2] = { { .run = run_of(1), .job = job_of(1) },
                                                  { .run = run_of(2), .job = job_of(2) } };
        const struct link_message message = { .n_assignments = 2, .assignments = assignments };
        _cleanup_link_message_ struct link_message decoded = {};

        assignments[1].job.stdin_data = "";
        assignments[1].job.submitter_uid = (uid_t) -2;
        assignments[1].job.limits.tasks_max = 1;
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
        ASSERT_NULL(decoded.assignments[0].job.stdin_data);
        ASSERT_NULL(decoded.assignments[0].job.cwd);
        ASSERT_NULL(decoded.assignments[0].job.target_node_id);
        ASSERT_NOT_NULL(decoded.assignments[1].job.stdin_data);
}

static void test_every_outcome(void) {
        struct link_ended ended[_LINK_OUTCOME_MAX];
        const struct link_message message = { .n_ended = ELEMENTSOF(ended), .ended = ended };
        _cleanup_link_message_ struct link_message decoded = {};

        for (int i = 0; i < _LINK_OUTCOME_MAX; i++)
                ended[i] = (struct link_ended){ .run = run_of((uint8_t) (i + 1)),
                                                .outcome = (enum link_outcome) i };
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
        ASSERT_NULL(decoded.ended[0].error_message);
        ASSERT_NULL(decoded.ended[0].stdout_output.data);
}

static void test_questions_without_anything(void) {
        struct link_call call = { .run = run_of(1), .kind = LINK_CALL_GET, .uid = (uid_t) -1 };
        struct link_answer answers[] = {
                { .id = 1 },
                { .id = 2, .has_record = true, .record.job = job_of(1) },
        };
        const struct link_message message = {
                .n_calls = 1, .calls = &call, .n_answers = ELEMENTSOF(answers), .answers = answers
        };
        _cleanup_link_message_ struct link_message decoded = {};

        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
        ASSERT_NULL(decoded.answers[0].problem);
        ASSERT_NULL(decoded.answers[0].data);
        ASSERT_NULL(decoded.answers[1].record.executor_node_id);
        ASSERT_NULL(decoded.answers[1].record.error_message);
        ASSERT_FALSE(decoded.answers[1].record.has_exit_code);
}

/* LINK_PARTS_MAX of a kind pass, one more is never sent. */
static void test_parts_max(void) {
        static struct run_id runs[LINK_PARTS_MAX + 1];
        static uint64_t ids[LINK_PARTS_MAX + 1];
        struct link_message message = {
                .n_taken = LINK_PARTS_MAX,
                .taken = runs,
                .n_kills = LINK_PARTS_MAX,
                .kills = runs,
                .n_withdrawn = LINK_PARTS_MAX,
                .withdrawn = runs,
                .n_retired = LINK_PARTS_MAX,
                .retired = runs,
                .n_cancelled_reads = LINK_PARTS_MAX,
                .cancelled_reads = ids,
                .n_cancelled_calls = LINK_PARTS_MAX,
                .cancelled_calls = ids,
        };
        size_t *const counts[] = {
                &message.n_taken,   &message.n_kills,           &message.n_withdrawn,
                &message.n_retired, &message.n_cancelled_reads, &message.n_cancelled_calls
        };
        _cleanup_link_message_ struct link_message decoded = {};
        _cleanup_buffer_ struct buffer buffer = {};

        for (size_t i = 0; i < ELEMENTSOF(runs); i++)
                runs[i] = run_of((uint8_t) (i % 255 + 1));
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);

        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                *counts[i] = LINK_PARTS_MAX + 1;
                ASSERT_ERROR(link_message_encode(&message, &buffer), EMSGSIZE);
                ASSERT_EQ(buffer.size, 0);
                *counts[i] = LINK_PARTS_MAX;
        }
}

/* Entries have a limit of their own. */
static void test_index_max(void) {
        static struct link_index_entry entries[LINK_INDEX_ENTRIES_MAX + 1];
        static const char *nodes[LINK_INDEX_ENTRIES_MAX + 1];
        struct link_message message = {
                .has_index_part = true,
                .n_index_entries = LINK_INDEX_ENTRIES_MAX,
                .index_entries = entries,
                .n_index_nodes = LINK_INDEX_ENTRIES_MAX,
                .index_nodes = nodes,
        };
        size_t *const counts[] = { &message.n_index_entries, &message.n_index_nodes };
        _cleanup_link_message_ struct link_message decoded = {};
        _cleanup_buffer_ struct buffer buffer = {};

        for (size_t i = 0; i < ELEMENTSOF(entries); i++) {
                nodes[i] = "a";
                entries[i] = (struct link_index_entry){
                        .job = run_of(1).job,
                        .status = JOB_RUNNING,
                        .executor = LINK_INDEX_ENTRIES_MAX,
                        .created_at = 1,
                };
        }
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                *counts[i] = LINK_INDEX_ENTRIES_MAX + 1;
                ASSERT_ERROR(link_message_encode(&message, &buffer), EMSGSIZE);
                *counts[i] = LINK_INDEX_ENTRIES_MAX;
        }
}

static char *text_of(size_t size, char c) {
        char *text = malloc(size + 1);

        ASSERT_NOT_NULL(text);
        memset(text, c, size);
        text[size] = '\0';
        return text;
}

/* The largest of everything in one job. */
static void test_largest_job(void) {
        _cleanup_free_ char *command = text_of(LINK_TEXT_MAX, 'c'), *cwd = text_of(LINK_CWD_MAX, '/');
        _cleanup_free_ char *id = text_of(NODE_ID_MAX, 'n'), *data = text_of(LINK_STDIN_MAX, 's');
        _cleanup_free_ char *submitter = text_of(LINK_SUBMITTER_MAX, 'u');
        _cleanup_link_message_ struct link_message decoded = {};
        struct link_assignment assignment = { .run = run_of(1), .job = job_of(1) };
        const struct link_message message = { .n_assignments = 1, .assignments = &assignment };
        char *env[LINK_ENV_MAX];

        for (size_t i = 0; i < ELEMENTSOF(env); i++)
                env[i] = (char *) "A=";
        assignment.job.command = command;
        assignment.job.cwd = cwd;
        assignment.job.target_node_id = assignment.job.created_by_node = id;
        assignment.job.stdin_data = data;
        assignment.job.stdin_size = LINK_STDIN_MAX;
        assignment.job.submitter = submitter;
        assignment.job.env = env;
        assignment.job.n_env = ELEMENTSOF(env);
        assignment.job.created_at = assignment.job.timeout_usec = LINK_USEC_MAX;
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
}

/* Many small jobs with as many variables as may be, up to the size of a frame: what costs most to decode. */
static void test_frame_of_small_variables(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        struct link_assignment assignments[500];
        const struct link_message message = { .n_assignments = ELEMENTSOF(assignments),
                                              .assignments = assignments };
        char *env[LINK_ENV_MAX];

        for (size_t i = 0; i < ELEMENTSOF(env); i++)
                env[i] = (char *) "A=";
        for (size_t i = 0; i < ELEMENTSOF(assignments); i++) {
                assignments[i] = (struct link_assignment){ .run = run_of(1), .job = job_of(1) };
                assignments[i].job.env = env;
                assignments[i].job.n_env = ELEMENTSOF(env);
        }
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
}

static void test_largest_output(void) {
        _cleanup_free_ char *data = text_of(LINK_PIECE_MAX, 'o'), *error = text_of(LINK_ERROR_MAX, 'e');
        struct link_output output = { .data = data,
                                      .data_size = LINK_OUTPUT_INLINE_MAX,
                                      .size = LINK_OUTPUT_MAX,
                                      .total = INT64_MAX };
        struct link_ended ended = { .run = run_of(1),
                                    .exit_code = 255,
                                    .signal = 64,
                                    .stdout_output = output,
                                    .stderr_output = output,
                                    .error_message = error };
        struct link_piece piece = {
                .data = data, .size = LINK_PIECE_MAX, .offset = INT64_MAX, .total = INT64_MAX, .error = -4095
        };
        const struct link_message message = {
                .n_ended = 1, .ended = &ended, .n_pieces = 1, .pieces = &piece
        };
        _cleanup_link_message_ struct link_message decoded = {};

        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);
}

/* A frame that is exactly as long as it may be, and one that is a byte longer. */
static void test_frame_max(void) {
        _cleanup_free_ char *data = text_of(LINK_FRAME_MAX, 's');
        struct link_assignment assignments[2] = { { .run = run_of(1), .job = job_of(1) },
                                                  { .run = run_of(2), .job = job_of(2) } };
        const struct link_message message = { .n_assignments = 2, .assignments = assignments };
        _cleanup_link_message_ struct link_message decoded = {};
        _cleanup_buffer_ struct buffer buffer = {};

        assignments[0].job.stdin_data = assignments[1].job.stdin_data = data;
        assignments[0].job.stdin_size = LINK_STDIN_MAX;
        assignments[1].job.stdin_size = LINK_STDIN_MAX - 1000;
        ASSERT_OK(link_message_encode(&message, &buffer));
        assignments[1].job.stdin_size += LINK_FRAME_MAX + LINK_FRAME_HEADER_SIZE - buffer.size;
        round_trip(&message, &decoded);
        assert_messages_equal(&message, &decoded);

        buffer.size = 0;
        assignments[1].job.stdin_size++;
        ASSERT_ERROR(link_message_encode(&message, &buffer), EMSGSIZE);
        ASSERT_EQ(buffer.size, 0);
}

/* A buffer that has no room for it stays as it was. */
static void test_buffer_limit(void) {
        _cleanup_buffer_ struct buffer buffer = {};
        struct full_message full;

        full_message_init(&full);
        ASSERT_OK(buffer_append_text(&buffer, "before"));
        buffer.limit = 100;
        ASSERT_ERROR(link_message_encode(&full.message, &buffer), E2BIG);
        ASSERT_EQ(buffer.size, 6);
        ASSERT_STREQ(buffer.data, "before");
}

/* A message that ends early is another message or none, and never more than that. */
static void test_truncation(void) {
        _cleanup_buffer_ struct buffer buffer = {};
        struct full_message full;
        size_t n_decoded = 0;

        full_message_init(&full);
        ASSERT_OK(link_message_encode(&full.message, &buffer));
        for (size_t size = 0; size < buffer.size - LINK_FRAME_HEADER_SIZE; size++) {
                _cleanup_link_message_ struct link_message decoded = {};
                _cleanup_free_ char *copy = malloc(size + 1);

                /* A block of its own, so that a sanitizer sees one byte read beyond. */
                memcpy(copy, buffer.data + LINK_FRAME_HEADER_SIZE, size);
                int r = link_message_decode(copy, size, &decoded);
                if (r >= 0)
                        n_decoded++;
                else
                        ASSERT_EQ(r, -EBADMSG);
        }
        /* Between its parts. */
        ASSERT_GE(n_decoded, 10);
        ASSERT_LE(n_decoded, 45);
}

/* Two encodings put one behind the other say what both say. */
static void test_concatenation(void) {
        _cleanup_link_message_ struct link_message decoded = {};
        _cleanup_buffer_ struct buffer first = {}, second = {};
        struct full_message full;
        struct run_id more = run_of(50);
        const struct link_message other = { .n_taken = 1, .taken = &more, .room = 99 };

        full_message_init(&full);
        ASSERT_OK(link_message_encode(&full.message, &first));
        ASSERT_OK(link_message_encode(&other, &second));
        ASSERT_OK(buffer_append(
                &first, second.data + LINK_FRAME_HEADER_SIZE, second.size - LINK_FRAME_HEADER_SIZE));
        ASSERT_OK(link_message_decode(
                first.data + LINK_FRAME_HEADER_SIZE, first.size - LINK_FRAME_HEADER_SIZE, &decoded));
        ASSERT_EQ(decoded.n_taken, 2);
        assert_run_equal(&decoded.taken[0], &full.taken);
        assert_run_equal(&decoded.taken[1], &more);
        ASSERT_EQ(decoded.room, 99);
        ASSERT_TRUE(decoded.held_complete);
        ASSERT_EQ(decoded.n_assignments, 1);
        ASSERT_STREQ(decoded.hello.node_id, full.message.hello.node_id);
}

static void test_frame_size(void) {
        size_t size;

        for (size_t i = 0; i < LINK_FRAME_HEADER_SIZE; i++) {
                ASSERT_OK(link_frame_size("\xff\xff\xff\xff", i, &size));
                ASSERT_EQ(size, 0);
        }
        ASSERT_OK(link_frame_size("\x00\x00\x00\x00", 4, &size));
        ASSERT_EQ(size, LINK_FRAME_HEADER_SIZE);
        ASSERT_OK(link_frame_size("\x00\x00\x01\x02more", 8, &size));
        ASSERT_EQ(size, LINK_FRAME_HEADER_SIZE + 0x102);
        ASSERT_OK(link_frame_size("\x00\x20\x00\x00", 4, &size));
        ASSERT_EQ(size, LINK_FRAME_HEADER_SIZE + LINK_FRAME_MAX);
        ASSERT_ERROR(link_frame_size("\x00\x20\x00\x01", 4, &size), EBADMSG);
        ASSERT_ERROR(link_frame_size("\xff\xff\xff\xff", 4, &size), EBADMSG);
}

static int decode_full(const struct buffer *buffer, const struct full_message *full) {
        _cleanup_link_message_ struct link_message decoded = {};
        int r;

        r = link_message_decode(
                buffer->data + LINK_FRAME_HEADER_SIZE, buffer->size - LINK_FRAME_HEADER_SIZE, &decoded);
        if (r < 0) {
                ASSERT_NULL(decoded.storage);
                return r;
        }
        assert_messages_equal(&full->message, &decoded);
        return 0;
}

static int encode_full(const struct full_message *full) {
        _cleanup_buffer_ struct buffer buffer = {};
        int r = link_message_encode(&full->message, &buffer);

        if (r < 0)
                ASSERT_EQ(buffer.size, 0);
        return r;
}

static void test_failing_allocations(void) {
        _cleanup_buffer_ struct buffer buffer = {};
        struct full_message full;

        full_message_init(&full);
        ASSERT_OK(link_message_encode(&full.message, &buffer));
        uint64_t n_failed = FAULT_LOOP(r = encode_full(&full));
        ASSERT_EQ(n_failed, 1);
        n_failed = FAULT_LOOP(r = decode_full(&buffer, &full));
        ASSERT_GE(n_failed, 2);
}

int main(void) {
        RUN(test_every_part);
        RUN(test_nothing);
        RUN(test_smallest_job);
        RUN(test_every_outcome);
        RUN(test_questions_without_anything);
        RUN(test_parts_max);
        RUN(test_index_max);
        RUN(test_largest_job);
        RUN(test_frame_of_small_variables);
        RUN(test_largest_output);
        RUN(test_frame_max);
        RUN(test_buffer_limit);
        RUN(test_truncation);
        RUN(test_concatenation);
        RUN(test_frame_size);
        RUN(test_failing_allocations);
        return 0;
}
