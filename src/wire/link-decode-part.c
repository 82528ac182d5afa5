/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-decode.h"

#include <string.h>

#include "util/utf8.h"
#include "wire/label.h"

bool link_text_is_valid(const char *text, size_t max) {
        size_t size = strnlen(text, max + 1);

        return size <= max && utf8_is_valid(text, size);
}

/* Words for people: they may not begin a line of their own in a log, and too many of them are cut. */
bool link_words_cut(char *text, size_t max) {
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

bool link_uuid_decode(const ProtobufCBinaryData *in, struct uuid *ret) {
        if (in->len != sizeof(ret->bytes))
                return false;
        memcpy(ret->bytes, in->data, sizeof(ret->bytes));
        return !uuid_is_null(ret);
}

bool link_run_decode(const Link__RunId *in, struct run_id *ret) {
        if (!in || in->epoch > LINK_EPOCH_MAX || in->attempt > LINK_ATTEMPT_MAX)
                return false;
        *ret = (struct run_id){ .epoch = in->epoch, .attempt = in->attempt };
        return link_uuid_decode(&in->job, &ret->job);
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
                if (env[i][0] == '=' || !strchr(env[i], '=') || !link_text_is_valid(env[i], LINK_TEXT_MAX))
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
               node_id_is_valid(in->created_by_node) && link_words_cut(in->submitter, LINK_SUBMITTER_MAX);
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

bool link_job_decode(const Link__Job *in, struct link_job *ret) {
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
        if (in->command[0] == '\0' || !link_text_is_valid(in->command, LINK_TEXT_MAX))
                return false;
        if (ret->cwd && (ret->cwd[0] != '/' || !link_text_is_valid(ret->cwd, LINK_CWD_MAX)))
                return false;
        return link_uuid_decode(&in->id, &ret->id) && env_is_valid(in->env, in->n_env) &&
               job_data_decode(in, ret) && job_people_decode(in, ret) &&
               limits_decode(in->limits, &ret->limits) && rules_decode(in, &ret->rules) &&
               requires_are_valid(in->requires, in->n_requires);
}

bool link_output_decode(const Link__Output *in, struct link_output *ret) {
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
