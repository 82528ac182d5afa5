/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A job as the store has it, on its way to another node and back. What does not come out of our store as it
 * went in is not sent: the other side would close the link for it. */

#include <stdio.h>

#include "api/ops-remote.h"
#include "util/strv.h"
#include "util/utf8.h"
#include "wire/label.h"

static bool is_text(const char *text, size_t max) {
        size_t size = strnlen(text, max + 1);

        return size <= max && utf8_is_valid(text, size);
}

static bool is_node_or_none(const char *node_id) {
        return !node_id || node_id_is_valid(node_id);
}

static bool limits_are_sendable(const struct job_limits *limits) {
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t value = job_limits_get(limits, field);

                if (value != 0 && (value < limit_field_low(field) || value > limit_field_high(field)))
                        return false;
        }
        return true;
}

static bool rules_are_sendable(const struct stored_job *job) {
        size_t n = 0;

        STRV_FOREACH(label, job->requires) {
                if (!label_is_valid(*label, strlen(*label)) || ++n > LINK_REQUIRES_MAX)
                        return false;
        }
        return job->rules.priority >= JOB_PRIORITY_MIN && job->rules.priority <= JOB_PRIORITY_MAX &&
               job->rules.retries <= JOB_RETRIES_MAX && job->retries_used <= JOB_RETRIES_MAX;
}

static bool is_sendable(const struct stored_job *job) {
        if (!job->command || job->command[0] == '\0' || !is_text(job->command, LINK_TEXT_MAX))
                return false;
        if (job->cwd && (job->cwd[0] != '/' || !is_text(job->cwd, LINK_CWD_MAX)))
                return false;
        return job->created_by_node && node_id_is_valid(job->created_by_node) &&
               is_node_or_none(job->target_node_id) && is_node_or_none(job->executor_node_id) &&
               limits_are_sendable(&job->limits) && rules_are_sendable(job);
}

static bool is_exit_code(int code) {
        return code >= 0 && code <= 255;
}

static bool is_signal(int number) {
        return number >= 0 && number <= 127;
}

/* The values stay here: nobody is shown them. */
static int copy_names(struct record_draft *draft, char *const *env, size_t *ret_n) {
        size_t size = 0, n = 0;

        for (char *const *entry = env; entry && *entry; entry++)
                size += strcspn(*entry, "=") + 2;
        draft->names = malloc(size + 1);
        if (!draft->names)
                return -ENOMEM;
        char *name = draft->names;
        for (; env && *env && n < ENV_ENTRIES_MAX; env++) {
                size_t length = strcspn(*env, "=");

                if (length == 0 || !utf8_is_valid(*env, length))
                        continue;
                draft->env[n++] = name;
                memcpy(name, *env, length);
                memcpy(name + length, "=", 2);
                name += length + 2;
        }
        *ret_n = n;
        return 0;
}

/* What is longer is cut, at a whole character. */
static const char *copy_error(struct record_words *words, const char *text) {
        size_t used = 0, length;

        while (text[used] != '\0') {
                length = utf8_sequence(text + used, strnlen(text + used, 4));
                if (length == 0 || used + length > LINK_ERROR_MAX)
                        break;
                used += length;
        }
        memcpy(words->text, text, used);
        words->text[used] = '\0';
        return words->text;
}

/* The newest, where there are more than a message may have. */
static int copy_attempts(struct record_draft *draft, const struct stored_job *job) {
        struct link_record *record = &draft->record;
        size_t skipped = job->n_attempts > LINK_ATTEMPTS_MAX ? job->n_attempts - LINK_ATTEMPTS_MAX : 0;

        if (job->n_attempts == 0)
                return 0;
        draft->attempt_errors = calloc(job->n_attempts - skipped, sizeof(*draft->attempt_errors));
        if (!draft->attempt_errors)
                return -ENOMEM;
        record->attempts = draft->attempts;
        for (size_t i = skipped; i < job->n_attempts; i++) {
                const struct stored_attempt *attempt = &job->attempts[i];
                struct link_attempt *copy = &draft->attempts[record->n_attempts];

                if (!node_id_is_valid(attempt->node_id))
                        continue;
                *copy = (struct link_attempt){
                        .epoch = attempt->epoch,
                        .attempt = attempt->attempt,
                        .node_id = attempt->node_id,
                        .fate = attempt_fate_to_text(attempt->fate),
                        .started_at = attempt->started_at,
                        .finished_at = attempt->finished_at,
                        .has_exit_code = attempt->has_exit_code && is_exit_code(attempt->exit_code),
                        .exit_code = attempt->exit_code,
                        .signal = is_signal(attempt->signal) ? attempt->signal : 0,
                };
                if (attempt->error_message)
                        copy->error_message = copy_error(
                                &draft->attempt_errors[record->n_attempts], attempt->error_message);
                record->n_attempts++;
        }
        return 0;
}

static bool is_submitter(const char *text) {
        for (const char *c = text; *c != '\0'; c++)
                if ((unsigned char) *c < 0x20 || *c == 0x7f)
                        return false;
        return is_text(text, LINK_SUBMITTER_MAX);
}

static struct link_output
output_of(const char *data, size_t size, uint64_t kept, uint64_t total, bool truncated) {
        return (struct link_output){
                .data = data,
                .data_size = data ? MIN(size, (size_t) LINK_OUTPUT_INLINE_MAX) : 0,
                .size = MIN(kept, (uint64_t) LINK_OUTPUT_MAX),
                .total = total,
                .truncated = truncated,
        };
}

int record_draft_init(struct record_draft *draft, const struct stored_job *job) {
        struct link_record *record = &draft->record;
        struct link_job *request = &record->job;

        *draft = (struct record_draft){};
        if (!is_sendable(job))
                return -EBADMSG;
        *record = (struct link_record){
                .status = job->status,
                .epoch = job->epoch,
                .attempt = job->attempt,
                .executor_node_id = job->executor_node_id,
                .started_at = job->started_at,
                .finished_at = job->finished_at,
                .updated_at = job->updated_at,
                .duration_usec = job->duration_usec,
                .has_exit_code = job->has_exit_code && is_exit_code(job->exit_code),
                .exit_code = job->exit_code,
                .signal = is_signal(job->signal) ? job->signal : 0,
                .cancel_requested = job->cancel_requested,
                .oom_killed = job->oom_killed,
                .stdin_size = MIN(job->stdin_size, (size_t) LINK_STDIN_MAX),
                .stdout_output = output_of(
                        job->stdout_data, job->stdout_size, job->stdout_kept, job->stdout_total,
                        job->stdout_truncated),
                .stderr_output = output_of(
                        job->stderr_data, job->stderr_size, job->stderr_kept, job->stderr_total,
                        job->stderr_truncated),
        };
        record->retries_used = job->retries_used;
        record->pending_reason = job->pending_reason;
        *request = (struct link_job){
                .id = job->id,
                .created_at = job->created_at,
                .timeout_usec = job->timeout_usec,
                .command = job->command,
                .cwd = job->cwd,
                .target_node_id = job->target_node_id,
                .created_by_node = job->created_by_node,
                .env = draft->env,
                .limits = job->limits,
                .rules = job->rules,
                .requires = job->requires,
                .n_requires = strv_length(job->requires),
                .submitter_uid = job->submitter_uid,
                .submitter = job->submitter && is_submitter(job->submitter) ? job->submitter : "",
                .has_digest = job->has_digest,
        };
        memcpy(request->digest, job->digest, sizeof(request->digest));
        if (job->error_message)
                record->error_message = copy_error(&draft->error_message, job->error_message);
        int r = copy_attempts(draft, job);
        return r < 0 ? r : copy_names(draft, job->env, &request->n_env);
}

void record_draft_done(struct record_draft *draft) {
        free(draft->names);
        free(draft->attempt_errors);
        draft->names = NULL;
        draft->attempt_errors = NULL;
}

static int copy_text(const char *text, char **ret) {
        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

static int copy_texts(char *const *texts, size_t n, char ***ret) {
        *ret = calloc(n + 1, sizeof(**ret));
        if (!*ret)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (copy_text(texts[i], &(*ret)[i]) < 0)
                        return -ENOMEM;
        return 0;
}

static int copy_output(const struct link_output *output, char **ret_data, size_t *ret_size) {
        if (output->data_size == 0)
                return 0;
        *ret_data = malloc(output->data_size);
        if (!*ret_data)
                return -ENOMEM;
        memcpy(*ret_data, output->data, output->data_size);
        *ret_size = output->data_size;
        return 0;
}

/* A fate of a version to come is that it was given up. */
static bool copy_fates(const struct link_record *record, struct stored_job *job) {
        job->attempts = record->n_attempts > 0 ? calloc(record->n_attempts, sizeof(*job->attempts)) : NULL;
        if (record->n_attempts > 0 && !job->attempts)
                return false;
        for (size_t i = 0; i < record->n_attempts; i++) {
                const struct link_attempt *attempt = &record->attempts[i];
                struct stored_attempt *copy = &job->attempts[i];
                int fate = attempt_fate_from_text(attempt->fate);

                *copy = (struct stored_attempt){
                        .epoch = attempt->epoch,
                        .attempt = attempt->attempt,
                        .fate = fate < 0 ? ATTEMPT_LATE : (enum attempt_fate) fate,
                        .started_at = attempt->started_at,
                        .finished_at = attempt->finished_at,
                        .has_exit_code = attempt->has_exit_code,
                        .exit_code = attempt->exit_code,
                        .signal = attempt->signal,
                };
                (void) snprintf(copy->node_id, sizeof(copy->node_id), "%s", attempt->node_id);
                job->n_attempts = i + 1;
                if (copy_text(attempt->error_message, &copy->error_message) < 0)
                        return false;
        }
        return true;
}

static bool copy_all(const struct link_record *record, struct stored_job *job) {
        const struct link_job *request = &record->job;

        return copy_text(request->command, &job->command) >= 0 && copy_text(request->cwd, &job->cwd) >= 0 &&
               copy_text(request->target_node_id, &job->target_node_id) >= 0 &&
               copy_text(request->created_by_node, &job->created_by_node) >= 0 &&
               copy_text(record->executor_node_id, &job->executor_node_id) >= 0 &&
               copy_text(request->submitter, &job->submitter) >= 0 &&
               copy_text(record->error_message, &job->error_message) >= 0 &&
               copy_texts(request->env, request->n_env, &job->env) >= 0 &&
               (request->n_requires == 0 ||
                copy_texts(request->requires, request->n_requires, &job->requires) >= 0) &&
               copy_fates(record, job) &&
               copy_output(&record->stdout_output, &job->stdout_data, &job->stdout_size) >= 0 &&
               copy_output(&record->stderr_output, &job->stderr_data, &job->stderr_size) >= 0;
}

int record_to_job(const struct link_record *record, struct stored_job *ret) {
        const struct link_job *request = &record->job;

        *ret = (struct stored_job){
                .id = request->id,
                .status = record->status,
                .epoch = record->epoch,
                .attempt = record->attempt,
                .timeout_usec = request->timeout_usec,
                .created_at = request->created_at,
                .started_at = record->started_at,
                .finished_at = record->finished_at,
                .updated_at = record->updated_at,
                .duration_usec = record->duration_usec,
                .has_exit_code = record->has_exit_code,
                .exit_code = record->exit_code,
                .signal = record->signal,
                .cancel_requested = record->cancel_requested,
                .limits = request->limits,
                .rules = request->rules,
                .retries_used = record->retries_used,
                .oom_killed = record->oom_killed,
                .has_digest = request->has_digest,
                .submitter_uid = request->submitter_uid,
                .stdin_size = (size_t) record->stdin_size,
                .stdout_kept = record->stdout_output.size,
                .stderr_kept = record->stderr_output.size,
                .stdout_total = record->stdout_output.total,
                .stderr_total = record->stderr_output.total,
                .stdout_truncated = record->stdout_output.truncated,
                .stderr_truncated = record->stderr_output.truncated,
        };
        memcpy(ret->digest, request->digest, sizeof(ret->digest));
        if (!copy_all(record, ret)) {
                stored_job_done(ret);
                return -ENOMEM;
        }
        return 0;
}
