/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What comes over a link, header and all: whatever is accepted keeps to its limits, and means the same when
 * it is said again. */

#include "lib/tests.h"
#include "wire/label.h"
#include "wire/link-codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_run(const struct run_id *run) {
        ASSERT_FALSE(uuid_is_null(&run->job));
}

static void check_job(const struct link_job *job) {
        ASSERT_NE(job->command[0], '\0');
        ASSERT_LE(strlen(job->command), LINK_TEXT_MAX);
        ASSERT_TRUE(!job->cwd || job->cwd[0] == '/');
        ASSERT_TRUE(!job->target_node_id || node_id_is_valid(job->target_node_id));
        ASSERT_TRUE(node_id_is_valid(job->created_by_node));
        ASSERT_LE(strlen(job->submitter), LINK_SUBMITTER_MAX);
        ASSERT_LE(job->n_env, LINK_ENV_MAX);
        for (size_t i = 0; i < job->n_env; i++)
                ASSERT_NOT_NULL(strchr(job->env[i], '='));
        ASSERT_LE(job->stdin_size, LINK_STDIN_MAX);
        ASSERT_TRUE(job->stdin_data || job->stdin_size == 0);
        ASSERT_LE(job->limits.memory_max, JOB_MEMORY_MAX);
        ASSERT_TRUE(job->rules.priority >= JOB_PRIORITY_MIN && job->rules.priority <= JOB_PRIORITY_MAX);
        ASSERT_LE(job->rules.retries, JOB_RETRIES_MAX);
        ASSERT_LE(job->n_requires, LINK_REQUIRES_MAX);
        for (size_t i = 0; i < job->n_requires; i++)
                ASSERT_TRUE(label_is_valid(job->requires[i], strlen(job->requires[i])));
        ASSERT_LE(job->created_at, LINK_USEC_MAX);
        ASSERT_TRUE(job->timeout_usec <= LINK_USEC_MAX || job->timeout_usec == USEC_INFINITY);
}

static void check_output(const struct link_output *output) {
        ASSERT_LE(output->data_size, LINK_OUTPUT_INLINE_MAX);
        ASSERT_LE(output->data_size, output->size);
        ASSERT_LE(output->size, LINK_OUTPUT_MAX);
        ASSERT_EQ(output->data == NULL, output->data_size == 0);
}

static void check_ended(const struct link_ended *ended) {
        check_run(&ended->run);
        check_output(&ended->stdout_output);
        check_output(&ended->stderr_output);
        ASSERT_LT(ended->outcome, _LINK_OUTCOME_MAX);
        ASSERT_TRUE(ended->exit_code >= 0 && ended->exit_code <= 255);
        ASSERT_TRUE(!ended->error_message || strlen(ended->error_message) <= LINK_ERROR_MAX);
}

static void check_questions(const struct link_message *message) {
        for (size_t i = 0; i < message->n_calls; i++) {
                const struct link_call *call = &message->calls[i];
                bool reads = call->kind == LINK_CALL_OUTPUT || call->kind == LINK_CALL_RUN_OUTPUT;

                check_run(&call->run);
                ASSERT_LT(call->kind, _LINK_CALL_KIND_MAX);
                ASSERT_TRUE(reads ? call->stream == 1 || call->stream == 2 : call->stream == 0);
                ASSERT_LE(call->position.offset, (uint64_t) INT64_MAX);
        }
        for (size_t i = 0; i < message->n_answers; i++) {
                const struct link_answer *answer = &message->answers[i];

                ASSERT_LE(answer->size, LINK_ANSWER_DATA_MAX);
                ASSERT_TRUE(!answer->problem || strlen(answer->problem) <= LINK_PROBLEM_MAX);
                ASSERT_LE(strlen(answer->detail), LINK_DETAIL_MAX);
                if (!answer->has_record)
                        continue;
                check_job(&answer->record.job);
                check_output(&answer->record.stdout_output);
                check_output(&answer->record.stderr_output);
                ASSERT_LT(answer->record.status, _JOB_STATUS_MAX);
        }
}

static void check_index(const struct link_message *message) {
        ASSERT_TRUE(message->has_index_part || message->n_index_entries == 0);
        ASSERT_LE(message->n_index_entries, LINK_INDEX_ENTRIES_MAX);
        for (size_t i = 0; i < message->n_index_nodes; i++)
                ASSERT_TRUE(node_id_is_valid(message->index_nodes[i]));
        for (size_t i = 0; i < message->n_index_entries; i++) {
                const struct link_index_entry *entry = &message->index_entries[i];

                ASSERT_FALSE(uuid_is_null(&entry->job));
                ASSERT_TRUE(entry->status > JOB_UNKNOWN && entry->status < _JOB_STATUS_MAX);
                ASSERT_EQ(job_status_is_final(entry->status), entry->finished_at > 0);
                ASSERT_LE(entry->executor, message->n_index_nodes);
                ASSERT_TRUE(entry->exit_code >= 0 && entry->exit_code <= 255);
                ASSERT_TRUE(entry->number <= message->index_part.through);
        }
        ASSERT_LE(message->n_overruled, LINK_OVERRULED_MAX);
        for (size_t i = 0; i < message->n_overruled; i++) {
                ASSERT_FALSE(uuid_is_null(&message->overruled[i].job));
                ASSERT_TRUE(job_status_is_final(message->overruled[i].status));
                ASSERT_LE(message->overruled[i].epoch, LINK_EPOCH_MAX);
                ASSERT_TRUE(node_id_is_valid(message->overruled[i].owner));
        }
}

static void check_keeping(const struct link_message *message) {
        const struct link_copy *copy = &message->copy;

        ASSERT_TRUE(!copy->node_id || node_id_is_valid(copy->node_id));
        ASSERT_TRUE(copy->status == JOB_UNKNOWN || job_status_is_final(copy->status));
        ASSERT_LE(copy->term, LINK_EPOCH_MAX);
        ASSERT_LE(copy->retries_used, JOB_RETRIES_MAX);
        ASSERT_TRUE(copy->has_run || (!copy->job && !copy->ended));
        if (copy->has_run)
                check_run(&copy->run);
        if (copy->job)
                check_job(&copy->job->job);
        if (copy->ended)
                check_ended(copy->ended);
        ASSERT_TRUE(!message->claim.owner || node_id_is_valid(message->claim.owner));
        ASSERT_TRUE(!message->claim_answer.owner || node_id_is_valid(message->claim_answer.owner));
        ASSERT_LT(message->claim_answer.objection, _LINK_OBJECTION_MAX);
        for (size_t i = 0; i < message->claim_answer.n_held; i++)
                check_run(&message->claim_answer.held[i].run);
        for (size_t i = 0; i < message->n_takeovers; i++) {
                check_run(&message->takeovers[i].run);
                ASSERT_LE(message->takeovers[i].epoch, LINK_EPOCH_MAX);
        }
}

static void check_limits(const struct link_message *message) {
        ASSERT_TRUE(!message->has_hello || node_id_is_valid(message->hello.node_id));
        ASSERT_TRUE(!message->has_hello || strlen(message->hello.version) <= LINK_VERSION_MAX);
        for (size_t i = 0; i < message->n_assignments; i++) {
                check_run(&message->assignments[i].run);
                check_job(&message->assignments[i].job);
        }
        for (size_t i = 0; i < message->n_ended; i++)
                check_ended(&message->ended[i]);
        for (size_t i = 0; i < message->n_held; i++)
                ASSERT_LT(message->held[i].state, _LINK_HELD_STATE_MAX);
        for (size_t i = 0; i < message->n_refused; i++)
                ASSERT_LT(message->refused[i].reason, _LINK_REFUSAL_REASON_MAX);
        for (size_t i = 0; i < message->n_reads; i++)
                ASSERT_TRUE(message->reads[i].stream == 1 || message->reads[i].stream == 2);
        for (size_t i = 0; i < message->n_pieces; i++)
                ASSERT_LE(message->pieces[i].size, LINK_PIECE_MAX);
        check_questions(message);
        for (size_t i = 0; i < message->n_taken; i++)
                check_run(&message->taken[i]);
        check_index(message);
        check_keeping(message);
}

static void decode(const struct buffer *frame, struct link_message *ret) {
        size_t size;

        ASSERT_OK(link_frame_size(frame->data, frame->size, &size));
        ASSERT_EQ(size, frame->size);
        ASSERT_OK(link_message_decode(
                frame->data + LINK_FRAME_HEADER_SIZE, frame->size - LINK_FRAME_HEADER_SIZE, ret));
}

/* Said again, and once more: the same bytes. */
static void check_again(const struct link_message *message) {
        _cleanup_link_message_ struct link_message again = {};
        _cleanup_buffer_ struct buffer first = {}, second = {};

        int r = link_message_encode(message, &first);
        if (r == -EMSGSIZE)
                return; /* ours is not always the shorter one */
        ASSERT_OK(r);
        decode(&first, &again);
        check_limits(&again);
        ASSERT_OK(link_message_encode(&again, &second));
        ASSERT_EQ(first.size, second.size);
        ASSERT_EQ(memcmp(first.data, second.data, first.size), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t frame_size;

        /* As many frames as there are, one behind the other. */
        while (link_frame_size(data, size, &frame_size) >= 0 && frame_size > 0 && frame_size <= size) {
                _cleanup_link_message_ struct link_message message = {};

                if (link_message_decode(
                            data + LINK_FRAME_HEADER_SIZE, frame_size - LINK_FRAME_HEADER_SIZE, &message) <
                    0) {
                        ASSERT_NULL(message.storage);
                        return 0;
                }
                check_limits(&message);
                check_again(&message);
                data += frame_size;
                size -= frame_size;
        }
        return 0;
}
