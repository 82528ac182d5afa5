/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames of a link into messages. Each *_decode() returns false for what must not be believed. */

#include <errno.h>
#include <string.h>

#include "link.pb-c.h"
#include "util/utf8.h"
#include "wire/label.h"
#include "wire/link-codec.h"
#include "wire/unpack-memory.h"

#define EXIT_CODE_MAX 255
#define SIGNAL_MAX 127
#define ERRNO_MAX 4095u
#define OFFSET_MAX ((uint64_t) INT64_MAX)

int link_frame_size(const void *data, size_t size, size_t *ret_size) {
        const uint8_t *header = data;
        size_t length = 0;

        *ret_size = 0;
        if (size < LINK_FRAME_HEADER_SIZE)
                return 0;
        for (unsigned i = 0; i < LINK_FRAME_HEADER_SIZE; i++)
                length = length << 8 | header[i];
        if (length > LINK_FRAME_MAX)
                return -EBADMSG;
        *ret_size = LINK_FRAME_HEADER_SIZE + length;
        return 0;
}

static bool text_is_valid(const char *text, size_t max) {
        size_t size = strnlen(text, max + 1);

        return size <= max && utf8_is_valid(text, size);
}

/* Words for people: they may not begin a line of their own in a log, and too many of them are cut. */
static bool words_cut(char *text, size_t max) {
        size_t length, end = 0;

        for (size_t i = 0; text[i] != '\0'; i += length) {
                length = utf8_sequence(text + i, strnlen(text + i, 4));
                if (length == 0 || (unsigned char) text[i] < 0x20 || text[i] == 0x7f)
                        return false;
                if (i + length <= max)
                        end = i + length;
        }
        /* An absent text is a constant, which nobody may write to. */
        if (text[end] != '\0')
                text[end] = '\0';
        return true;
}

static usec_t usec_decode(uint64_t usec) {
        return MIN(usec, LINK_USEC_MAX);
}

static const char *text_or_null(const char *text) {
        return text[0] != '\0' ? text : NULL;
}

static bool uuid_decode(const ProtobufCBinaryData *in, struct uuid *ret) {
        if (in->len != sizeof(ret->bytes))
                return false;
        memcpy(ret->bytes, in->data, sizeof(ret->bytes));
        return !uuid_is_null(ret);
}

static bool run_decode(const Link__RunId *in, struct run_id *ret) {
        if (!in || in->epoch > LINK_EPOCH_MAX || in->attempt > LINK_ATTEMPT_MAX)
                return false;
        *ret = (struct run_id){ .epoch = in->epoch, .attempt = in->attempt };
        return uuid_decode(&in->job, &ret->job);
}

static bool hello_decode(const Link__Hello *in, struct link_hello *ret) {
        if (in->protocol == 0 || !node_id_is_valid(in->node_id) || !words_cut(in->version, LINK_VERSION_MAX))
                return false;
        *ret = (struct link_hello){
                .protocol = in->protocol,
                .node_id = in->node_id,
                .version = in->version,
                .incarnation = in->incarnation,
                .instance = in->instance,
                .ordinal = in->ordinal,
        };
        return true;
}

static bool held_decode(const Link__Held *in, struct link_held *ret) {
        *ret = (struct link_held){
                .state = (enum link_held_state) in->state,
                .started_at = usec_decode(in->started_at_usec),
        };
        return (uint32_t) in->state < _LINK_HELD_STATE_MAX && run_decode(in->run, &ret->run);
}

static bool in_range_or_absent(uint64_t value, uint64_t low, uint64_t high) {
        return value == 0 || (value >= low && value <= high);
}

static bool limits_decode(const Link__Limits *in, struct job_limits *ret) {
        if (!in)
                return true;
        *ret = (struct job_limits){
                .memory_max = in->memory_max,
                .cpu_weight = in->cpu_weight,
                .cpu_quota = in->cpu_quota,
                .tasks_max = in->tasks_max,
                .best_effort = in->best_effort,
        };
        return in_range_or_absent(ret->memory_max, JOB_MEMORY_MIN, JOB_MEMORY_MAX) &&
               in_range_or_absent(ret->cpu_weight, JOB_CPU_WEIGHT_MIN, JOB_CPU_WEIGHT_MAX) &&
               in_range_or_absent(ret->cpu_quota, JOB_CPU_QUOTA_MIN, JOB_CPU_QUOTA_MAX) &&
               in_range_or_absent(ret->tasks_max, JOB_TASKS_MIN, JOB_TASKS_MAX);
}

static bool env_is_valid(char *const *env, size_t n_env) {
        if (n_env > LINK_ENV_MAX)
                return false;
        for (size_t i = 0; i < n_env; i++)
                if (env[i][0] == '=' || !strchr(env[i], '=') || !text_is_valid(env[i], LINK_TEXT_MAX))
                        return false;
        return true;
}

/* What says where it may run and who asked for it. */
static bool job_people_decode(const Link__Job *in, struct link_job *ret) {
        ret->target_node_id = text_or_null(in->target_node_id);
        ret->created_by_node = in->created_by_node;
        ret->submitter = in->submitter;
        ret->submitter_uid = (uid_t) (in->submitter_uid_plus_one - 1);
        return (!ret->target_node_id || node_id_is_valid(ret->target_node_id)) &&
               node_id_is_valid(in->created_by_node) && words_cut(in->submitter, LINK_SUBMITTER_MAX);
}

/* An empty stdin is not the same as none. */
static bool job_data_decode(const Link__Job *in, struct link_job *ret) {
        if (in->stdin.len > (in->has_stdin ? LINK_STDIN_MAX : 0))
                return false;
        if (in->digest.len != 0 && in->digest.len != sizeof(ret->digest))
                return false;
        if (in->has_stdin)
                ret->stdin_data = in->stdin.len > 0 ? (const void *) in->stdin.data : "";
        ret->stdin_size = in->stdin.len;
        ret->has_digest = in->digest.len > 0;
        if (ret->has_digest)
                memcpy(ret->digest, in->digest.data, sizeof(ret->digest));
        return true;
}

static bool rules_decode(const Link__Job *in, struct job_rules *ret) {
        *ret = (struct job_rules){
                .priority = in->priority,
                .retries = in->retries,
                .loss_is_failure = in->loss_is_failure,
        };
        return in->priority >= JOB_PRIORITY_MIN && in->priority <= JOB_PRIORITY_MAX &&
               in->retries <= JOB_RETRIES_MAX;
}

static bool requires_are_valid(char *const *requires, size_t n_requires) {
        if (n_requires > LINK_REQUIRES_MAX)
                return false;
        for (size_t i = 0; i < n_requires; i++)
                if (!label_is_valid(requires[i], strlen(requires[i])))
                        return false;
        return true;
}

static bool job_decode(const Link__Job *in, struct link_job *ret) {
        *ret = (struct link_job){
                .created_at = usec_decode(in->created_at_usec),
                .timeout_usec = in->timeout_usec == 0 ? USEC_INFINITY : usec_decode(in->timeout_usec),
                .command = in->command,
                .cwd = text_or_null(in->cwd),
                .env = in->env,
                .n_env = in->n_env,
                .requires = in->requires,
                .n_requires = in->n_requires,
        };
        if (in->command[0] == '\0' || !text_is_valid(in->command, LINK_TEXT_MAX))
                return false;
        if (ret->cwd && (ret->cwd[0] != '/' || !text_is_valid(ret->cwd, LINK_CWD_MAX)))
                return false;
        return uuid_decode(&in->id, &ret->id) && env_is_valid(in->env, in->n_env) &&
               job_data_decode(in, ret) && job_people_decode(in, ret) &&
               limits_decode(in->limits, &ret->limits) && rules_decode(in, &ret->rules) &&
               requires_are_valid(in->requires, in->n_requires);
}

static bool assignment_decode(const Link__Assignment *in, struct link_assignment *ret) {
        return in->job && run_decode(in->run, &ret->run) && job_decode(in->job, &ret->job) &&
               uuid_equal(&ret->run.job, &ret->job.id);
}

static bool refusal_decode(const Link__Refusal *in, struct link_refusal *ret) {
        *ret = (struct link_refusal){
                .reason = (uint32_t) in->reason < _LINK_REFUSAL_REASON_MAX
                                  ? (enum link_refusal_reason) in->reason
                                  : LINK_REFUSED,
        };
        return run_decode(in->run, &ret->run);
}

static bool started_decode(const Link__Started *in, struct link_started *ret) {
        *ret = (struct link_started){ .started_at = usec_decode(in->started_at_usec) };
        return run_decode(in->run, &ret->run);
}

static bool output_decode(const Link__Output *in, struct link_output *ret) {
        if (!in)
                return true;
        *ret = (struct link_output){
                .data = in->data.len > 0 ? in->data.data : NULL,
                .data_size = in->data.len,
                .size = in->size,
                .total = in->total,
                .truncated = in->truncated,
        };
        if (in->data.len > LINK_OUTPUT_INLINE_MAX || in->data.len > in->size)
                return false;
        /* Nothing is kept of what was never written. */
        return in->size <= LINK_OUTPUT_MAX && in->total <= OFFSET_MAX && (in->size == 0 || in->total > 0);
}

static bool ended_decode(const Link__Ended *in, struct link_ended *ret) {
        *ret = (struct link_ended){
                .outcome = (enum link_outcome) in->outcome,
                .exit_code = in->exit_code,
                .signal = in->signal,
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .duration_usec = usec_decode(in->duration_usec),
                .error_message = text_or_null(in->error_message),
                .oom_killed = in->oom_killed,
                .drained = in->drained,
        };
        if ((uint32_t) in->outcome >= _LINK_OUTCOME_MAX || in->exit_code < 0 ||
            in->exit_code > EXIT_CODE_MAX || in->signal < 0 || in->signal > SIGNAL_MAX)
                return false;
        return run_decode(in->run, &ret->run) && text_is_valid(in->error_message, LINK_ERROR_MAX) &&
               output_decode(in->stdout, &ret->stdout_output) &&
               output_decode(in->stderr, &ret->stderr_output);
}

static bool read_decode(const Link__Read *in, struct link_read *ret) {
        *ret = (struct link_read){
                .id = in->id,
                .stream = (int) in->stream,
                .offset = in->offset,
                .wait = in->wait,
        };
        return (in->stream == 1 || in->stream == 2) && in->offset <= OFFSET_MAX &&
               run_decode(in->run, &ret->run);
}

static bool piece_decode(const Link__Piece *in, struct link_piece *ret) {
        if (in->error > ERRNO_MAX || in->data.len > LINK_PIECE_MAX || in->offset > OFFSET_MAX ||
            in->total > OFFSET_MAX)
                return false;
        *ret = (struct link_piece){
                .id = in->id,
                .error = -(int) in->error,
                .offset = in->offset,
                .data = in->data.len > 0 ? in->data.data : NULL,
                .size = in->data.len,
                .ended = in->ended,
                .total = in->total,
        };
        return true;
}

static bool position_decode(const Link__Position *in, struct link_position *ret) {
        if (!in)
                return true;
        *ret = (struct link_position){ .offset = in->offset, .end = in->end, .kept = in->kept };
        return in->offset <= OFFSET_MAX && in->end <= OFFSET_MAX;
}

static bool call_decode(const Link__Call *in, struct link_call *ret) {
        bool reads =
                in->kind == LINK__CALL_KIND__CALL_OUTPUT || in->kind == LINK__CALL_KIND__CALL_RUN_OUTPUT;

        *ret = (struct link_call){
                .id = in->id,
                .kind = (uint32_t) in->kind < _LINK_CALL_KIND_MAX ? (enum link_call_kind) in->kind
                                                                  : LINK_CALL_UNKNOWN,
                .wait_usec = usec_decode(in->wait_usec),
                .with_output = in->with_output,
                .stream = reads ? (int) in->stream : 0,
                .follow = in->follow,
                .uid = (uid_t) (in->uid_plus_one - 1),
        };
        return (!reads || in->stream == 1 || in->stream == 2) && run_decode(in->run, &ret->run) &&
               position_decode(in->position, &ret->position);
}

static bool attempt_decode(const Link__Attempt *in, struct link_attempt *ret) {
        *ret = (struct link_attempt){
                .epoch = in->epoch,
                .attempt = in->attempt,
                .node_id = in->node_id,
                .fate = in->fate,
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .has_exit_code = in->exit_code_plus_one > 0,
                .exit_code = in->exit_code_plus_one > 0 ? (int) (in->exit_code_plus_one - 1) : 0,
                .signal = in->signal,
                .error_message = text_or_null(in->error_message),
        };
        return in->exit_code_plus_one <= EXIT_CODE_MAX + 1 && in->signal >= 0 && in->signal <= SIGNAL_MAX &&
               node_id_is_valid(in->node_id) && words_cut(in->fate, LINK_PROBLEM_MAX) &&
               text_is_valid(in->error_message, LINK_ERROR_MAX);
}

static bool record_words_decode(const Link__Record *in, struct link_record *ret) {
        ret->executor_node_id = text_or_null(in->executor_node_id);
        ret->error_message = text_or_null(in->error_message);
        ret->pending_reason = text_or_null(in->pending_reason);
        return words_cut(in->pending_reason, LINK_REASON_MAX) &&
               (!ret->executor_node_id || node_id_is_valid(ret->executor_node_id)) &&
               text_is_valid(in->error_message, LINK_ERROR_MAX);
}

static bool record_decode(const Link__Record *in, struct link_record *ret) {
        *ret = (struct link_record){
                .status = in->status < _JOB_STATUS_MAX ? (enum job_status) in->status : JOB_UNKNOWN,
                .epoch = in->epoch,
                .attempt = in->attempt,
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .updated_at = usec_decode(in->updated_at_usec),
                .duration_usec = usec_decode(in->duration_usec),
                .has_exit_code = in->exit_code_plus_one > 0,
                .exit_code = in->exit_code_plus_one > 0 ? (int) (in->exit_code_plus_one - 1) : 0,
                .signal = in->signal,
                .cancel_requested = in->cancel_requested,
                .oom_killed = in->oom_killed,
                .stdin_size = in->stdin_size,
                .retries_used = in->retries_used,
        };
        if (in->exit_code_plus_one > EXIT_CODE_MAX + 1 || in->signal < 0 || in->signal > SIGNAL_MAX ||
            in->stdin_size > LINK_STDIN_MAX || in->retries_used > JOB_RETRIES_MAX)
                return false;
        return in->job && job_decode(in->job, &ret->job) && record_words_decode(in, ret) &&
               output_decode(in->stdout, &ret->stdout_output) &&
               output_decode(in->stderr, &ret->stderr_output);
}

static bool answer_decode(const Link__Answer *in, struct link_answer *ret) {
        *ret = (struct link_answer){
                .id = in->id,
                .problem = text_or_null(in->problem),
                .detail = in->detail,
                .has_record = in->record != NULL,
                .data = in->data.len > 0 ? in->data.data : NULL,
                .size = in->data.len,
                .offset = in->offset,
                .total = in->total,
                .ended = in->ended,
        };
        if (in->data.len > LINK_ANSWER_DATA_MAX || in->offset > OFFSET_MAX || in->total > OFFSET_MAX)
                return false;
        return words_cut(in->problem, LINK_PROBLEM_MAX) && words_cut(in->detail, LINK_DETAIL_MAX) &&
               position_decode(in->next, &ret->next) &&
               (!in->record || record_decode(in->record, &ret->record));
}

static bool copy_decode(const Link__Copy *in, struct link_copy *ret) {
        *ret = (struct link_copy){
                .term = in->term,
                .number = in->number,
                .complete = in->complete,
                .has_run = in->run != NULL,
                .epoch = in->epoch,
                .node_id = text_or_null(in->node_id),
                .cancel_requested = in->cancel_requested,
                .status = (enum job_status) in->status,
                .retries_used = in->retries_used,
                .gone = in->gone,
        };
        if (in->term == 0 || in->term > LINK_EPOCH_MAX || in->epoch > LINK_EPOCH_MAX ||
            in->retries_used > JOB_RETRIES_MAX || (ret->node_id && !node_id_is_valid(ret->node_id)))
                return false;
        if (in->status != JOB_UNKNOWN &&
            (in->status >= _JOB_STATUS_MAX || !job_status_is_final(ret->status)))
                return false;
        return !in->run || run_decode(in->run, &ret->run);
}

static bool claim_decode(const Link__Claim *in, struct link_claim *ret) {
        *ret = (struct link_claim){ .owner = in->owner, .term = in->term };
        return in->term <= LINK_EPOCH_MAX && node_id_is_valid(in->owner);
}

static bool claim_answer_decode(const Link__ClaimAnswer *in, struct link_claim_answer *ret) {
        ret->owner = in->owner;
        ret->term = in->term;
        ret->objection = (enum link_objection) in->objection;
        ret->more = in->more;
        return (uint32_t) in->objection < _LINK_OBJECTION_MAX && node_id_is_valid(in->owner);
}

static bool takeover_decode(const Link__Takeover *in, struct link_takeover *ret) {
        *ret = (struct link_takeover){ .epoch = in->epoch };
        return in->epoch <= LINK_EPOCH_MAX && run_decode(in->run, &ret->run);
}

static bool index_entry_decode(const Link__IndexEntry *in, struct link_index_entry *ret) {
        *ret = (struct link_index_entry){
                .number = in->number,
                .epoch = in->epoch,
                .status = (enum job_status) in->status,
                .executor = in->executor,
                .has_exit_code = in->exit_code_plus_one > 0,
                .exit_code = in->exit_code_plus_one > 0 ? (int) (in->exit_code_plus_one - 1) : 0,
                .created_at = usec_decode(in->created_at_usec),
                .started_at = usec_decode(in->started_at_usec),
                .finished_at = usec_decode(in->finished_at_usec),
                .kept = in->kept,
        };
        if (in->status == JOB_UNKNOWN || in->status >= _JOB_STATUS_MAX || in->created_at_usec == 0 ||
            in->exit_code_plus_one > EXIT_CODE_MAX + 1 || in->executor > LINK_INDEX_ENTRIES_MAX ||
            in->epoch > LINK_EPOCH_MAX)
                return false;
        /* It has ended when it has an end, and only then. */
        return job_status_is_final(ret->status) == (in->finished_at_usec > 0) &&
               uuid_decode(&in->job, &ret->job);
}

static bool overruled_decode(const Link__Overruled *in, struct link_overruled *ret) {
        *ret = (struct link_overruled){
                .epoch = in->epoch,
                .status = (enum job_status) in->status,
                .owner = in->owner,
        };
        return in->status < _JOB_STATUS_MAX && job_status_is_final(ret->status) &&
               in->epoch <= LINK_EPOCH_MAX && node_id_is_valid(in->owner) &&
               uuid_decode(&in->job, &ret->job);
}

static bool index_nodes_decode(const Link__LinkMessage *in, struct link_message *message) {
        if (in->n_index_nodes > LINK_INDEX_ENTRIES_MAX)
                return false;
        for (size_t i = 0; i < in->n_index_nodes; i++)
                if (!node_id_is_valid(in->index_nodes[i]))
                        return false;
        message->n_index_nodes = in->n_index_nodes;
        message->index_nodes = in->n_index_nodes > 0 ? (const char **) in->index_nodes : NULL;
        return true;
}

/* All parts of one kind. */
#define DEFINE_LIST_DECODE(kind, in_type, out_type)                                         \
        static bool kind##_list_decode(                                                     \
                struct unpack_memory *memory, in_type *const *in, size_t n, out_type **ret, \
                size_t *ret_n) {                                                            \
                                                                                            \
                if (n > LINK_PARTS_MAX)                                                     \
                        return false;                                                       \
                if (n == 0)                                                                 \
                        return true;                                                        \
                out_type *parts = unpack_memory_take(memory, n * sizeof(*parts));           \
                if (!parts)                                                                 \
                        return false;                                                       \
                for (size_t i = 0; i < n; i++)                                              \
                        if (!kind##_decode(in[i], &parts[i]))                               \
                                return false;                                               \
                *ret = parts;                                                               \
                *ret_n = n;                                                                 \
                return true;                                                                \
        }

DEFINE_LIST_DECODE(held, Link__Held, struct link_held)
DEFINE_LIST_DECODE(assignment, Link__Assignment, struct link_assignment)
DEFINE_LIST_DECODE(run, Link__RunId, struct run_id)
DEFINE_LIST_DECODE(refusal, Link__Refusal, struct link_refusal)
DEFINE_LIST_DECODE(started, Link__Started, struct link_started)
DEFINE_LIST_DECODE(ended, Link__Ended, struct link_ended)
DEFINE_LIST_DECODE(read, Link__Read, struct link_read)
DEFINE_LIST_DECODE(piece, Link__Piece, struct link_piece)
DEFINE_LIST_DECODE(call, Link__Call, struct link_call)
DEFINE_LIST_DECODE(answer, Link__Answer, struct link_answer)
DEFINE_LIST_DECODE(attempt, Link__Attempt, struct link_attempt)
DEFINE_LIST_DECODE(index_entry, Link__IndexEntry, struct link_index_entry)
DEFINE_LIST_DECODE(overruled, Link__Overruled, struct link_overruled)

static bool
index_decode(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {
        const Link__IndexAsk *ask = in->index_ask;
        const Link__IndexPart *part = in->index_part;

        message->has_index_ask = ask != NULL;
        if (ask)
                message->index_ask = (struct link_index_ask){
                        .generation = ask->generation,
                        .after = ask->after,
                        .room = ask->room,
                        .since = usec_decode(ask->since_usec),
                };
        message->has_index_part = part != NULL;
        if (part)
                message->index_part = (struct link_index_part){
                        .generation = part->generation,
                        .head = part->head,
                        .through = part->through,
                        .complete = part->complete,
                };
        if (part && (part->through > part->head || (part->complete && part->through < part->head)))
                return false;
        if (in->n_index_entries > (part ? LINK_INDEX_ENTRIES_MAX : 0))
                return false;
        if (!index_nodes_decode(in, message) || !index_entry_list_decode(
                                                        memory, in->index_entries, in->n_index_entries,
                                                        &message->index_entries, &message->n_index_entries))
                return false;
        for (size_t i = 0; i < message->n_index_entries; i++)
                if (message->index_entries[i].executor > message->n_index_nodes ||
                    message->index_entries[i].number > part->through)
                        return false;
        return in->n_overruled <= LINK_OVERRULED_MAX &&
               overruled_list_decode(
                       memory, in->overruled, in->n_overruled, &message->overruled, &message->n_overruled);
}

DEFINE_LIST_DECODE(takeover, Link__Takeover, struct link_takeover)

/* The copy's job and end are parts of their own, so that they are like those of an assignment. */
static bool
copy_parts_decode(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_copy *copy) {
        struct link_assignment *jobs = NULL;
        struct link_ended *ends = NULL;
        size_t n_jobs = 0, n_ends = 0;

        if (in->n_copied > 1 || in->n_copied_end > 1 ||
            !assignment_list_decode(memory, in->copied, in->n_copied, &jobs, &n_jobs) ||
            !ended_list_decode(memory, in->copied_end, in->n_copied_end, &ends, &n_ends))
                return false;
        if ((jobs && !(copy->has_run && uuid_equal(&jobs->run.job, &copy->run.job))) ||
            (ends && !(copy->has_run && uuid_equal(&ends->run.job, &copy->run.job))))
                return false;
        copy->job = jobs;
        copy->ended = ends;
        return true;
}

static bool
keeping_convert(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {
        if (in->copy &&
            !(copy_decode(in->copy, &message->copy) && copy_parts_decode(in, memory, &message->copy)))
                return false;
        if (in->kept)
                message->kept = (struct link_kept){
                        .term = in->kept->term,
                        .number = in->kept->number,
                        .refused = in->kept->refused,
                };
        if (in->forget_copies > LINK_EPOCH_MAX || in->copies_forgotten > LINK_EPOCH_MAX)
                return false;
        message->forget_copies = in->forget_copies;
        message->copies_forgotten = in->copies_forgotten;
        if (in->claim && !claim_decode(in->claim, &message->claim))
                return false;
        if (in->claim_answer && !(claim_answer_decode(in->claim_answer, &message->claim_answer) &&
                                  held_list_decode(
                                          memory, in->claim_held, in->n_claim_held,
                                          &message->claim_answer.held, &message->claim_answer.n_held)))
                return false;
        return takeover_list_decode(
                memory, in->takeover, in->n_takeover, &message->takeovers, &message->n_takeovers);
}

static bool cancelled_reads_decode(const Link__LinkMessage *in, struct link_message *message) {
        if (in->n_cancel_read > LINK_PARTS_MAX)
                return false;
        message->n_cancelled_reads = in->n_cancel_read;
        message->cancelled_reads = in->n_cancel_read > 0 ? in->cancel_read : NULL;
        return true;
}

static bool
calls_decode(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {

        if (in->n_cancel_call > LINK_PARTS_MAX)
                return false;
        message->n_cancelled_calls = in->n_cancel_call;
        message->cancelled_calls = in->n_cancel_call > 0 ? in->cancel_call : NULL;
        if (!call_list_decode(memory, in->call, in->n_call, &message->calls, &message->n_calls) ||
            !answer_list_decode(memory, in->answer, in->n_answer, &message->answers, &message->n_answers))
                return false;
        for (size_t i = 0; i < in->n_answer; i++) {
                const Link__Record *record = in->answer[i]->record;
                struct link_record *ret = &message->answers[i].record;

                if (record && (record->n_attempts > LINK_ATTEMPTS_MAX ||
                               !attempt_list_decode(
                                       memory, record->attempts, record->n_attempts, &ret->attempts,
                                       &ret->n_attempts)))
                        return false;
        }
        return true;
}

static bool
message_convert(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {

        if (in->hello) {
                message->has_hello = true;
                if (!hello_decode(in->hello, &message->hello))
                        return false;
        }
        message->held_complete = in->held_complete;
        message->compared = in->compared;
        message->ping = in->ping;
        message->pong = in->pong;
        message->room = in->room;
        return held_list_decode(memory, in->held, in->n_held, &message->held, &message->n_held) &&
               assignment_list_decode(
                       memory, in->assign, in->n_assign, &message->assignments, &message->n_assignments) &&
               run_list_decode(memory, in->taken, in->n_taken, &message->taken, &message->n_taken) &&
               refusal_list_decode(
                       memory, in->refused, in->n_refused, &message->refused, &message->n_refused) &&
               started_list_decode(
                       memory, in->started, in->n_started, &message->started, &message->n_started) &&
               ended_list_decode(memory, in->ended, in->n_ended, &message->ended, &message->n_ended) &&
               run_list_decode(memory, in->kill, in->n_kill, &message->kills, &message->n_kills) &&
               run_list_decode(
                       memory, in->withdraw, in->n_withdraw, &message->withdrawn, &message->n_withdrawn) &&
               run_list_decode(memory, in->retire, in->n_retire, &message->retired, &message->n_retired) &&
               read_list_decode(memory, in->read, in->n_read, &message->reads, &message->n_reads) &&
               piece_list_decode(memory, in->piece, in->n_piece, &message->pieces, &message->n_pieces) &&
               cancelled_reads_decode(in, message) && calls_decode(in, memory, message) &&
               keeping_convert(in, memory, message) && index_decode(in, memory, message);
}

int link_message_decode(const void *data, size_t size, struct link_message *ret) {
        _cleanup_link_message_ struct link_message message = {};
        struct unpack_memory *memory;
        Link__LinkMessage *in;
        int r;

        *ret = (struct link_message){};
        if (size > LINK_FRAME_MAX)
                return -EBADMSG;
        r = unpack_memory_new(size * LINK_DECODE_FACTOR + LINK_DECODE_BASE, size * 4, &memory);
        if (r < 0)
                return r;
        message.storage = memory;
        in = link__link_message__unpack(unpack_memory_allocator(memory), size, data);
        if (!in || !message_convert(in, memory, &message))
                return unpack_memory_ran_out(memory) ? -ENOMEM : -EBADMSG;

        *ret = message;
        message = (struct link_message){};
        return 0;
}

void link_message_done(struct link_message *message) {
        unpack_memory_free(message->storage);
        *message = (struct link_message){};
}
