/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-copy-row.h"

#include <errno.h>

#include "mesh/job-link.h"
#include "store/store-link-blob.h"
#include "store/store-row.h"
#include "util/strv.h"

#define _COPY_NAME(name, sql) [name] = sql,
static const char *const column_names[] = { COPY_COLUMN_TABLE(_COPY_NAME)[COPY_ENDING] = "ending" };

static void read_assignment(struct row *row, struct store_copy *copy) {
        _cleanup_link_message_ struct link_message message = {};
        int r;

        r = row_link_message(row, COPY_ASSIGNMENT, &message);
        /* The run is the one of which the job came first, and may be over. */
        if (r >= 0)
                r = message.n_assignments == 1 && uuid_equal(&message.assignments[0].run.job, &copy->run.job)
                            ? job_spec_from_link(&message.assignments[0].job, &copy->spec)
                            : -EBADMSG;
        if (r < 0)
                row_fail(row, COPY_ASSIGNMENT, r == -ENOMEM ? r : -EBADMSG);
}

/* What both kinds have. */
static void read_copy(struct row *row, struct store_copy *ret) {
        *ret = (struct store_copy){
                .run.job = row_uuid(row, COPY_JOB_ID),
                .run.epoch = row_number(row, COPY_RUN_EPOCH, INT64_MAX),
                .run.attempt = (uint32_t) row_number(row, COPY_ATTEMPT, UINT32_MAX),
                .epoch = row_number(row, COPY_EPOCH, INT64_MAX),
                .term = row_number(row, COPY_TERM, INT64_MAX),
                .cancel_requested = row_number(row, COPY_CANCEL_REQUESTED, 1) == 1,
                .retries_used = (uint32_t) row_number(row, COPY_RETRIES_USED, JOB_RETRIES_MAX),
        };
        row_node_id(row, COPY_OWNER, ret->owner_node_id);
        row_node_id(row, COPY_EXECUTOR_NODE, ret->executor_node_id);
        if (ret->owner_node_id[0] == '\0')
                row_fail(row, COPY_OWNER, -EBADMSG);
        if (ret->epoch == 0)
                row_fail(row, COPY_EPOCH, -EBADMSG);
        if (ret->term == 0)
                row_fail(row, COPY_TERM, -EBADMSG);
        read_assignment(row, ret);
}

int store_copy_read(sqlite3_stmt *statement, struct store_copy *ret, const char **ret_what) {
        struct row row = { .statement = statement };
        struct store_copy copy;

        read_copy(&row, &copy);
        if (row.error < 0) {
                store_copy_done(&copy);
                *ret_what = column_names[row.where];
                return row.error;
        }
        *ret = copy;
        return 0;
}

void store_copy_done(struct store_copy *copy) {
        copy->spec = job_spec_unref(copy->spec);
}

/* NULL: the job was cancelled before it ran, or its end could not be kept. */
static void read_ending(struct row *row, const struct run_id *run, struct job_result **ret) {
        _cleanup_link_message_ struct link_message message = {};
        int r;

        if (row_is_null(row, COPY_ENDING))
                return;
        r = row_link_message(row, COPY_ENDING, &message);
        if (r >= 0)
                r = message.n_ended == 1 && uuid_equal(&message.ended[0].run.job, &run->job)
                            ? job_result_from_link(&message.ended[0], LINK_OUTPUT_INLINE_MAX, ret)
                            : -EBADMSG;
        if (r < 0)
                row_fail(row, COPY_ENDING, r == -ENOMEM ? r : -EBADMSG);
}

static enum job_status read_status(struct row *row) {
        size_t size;
        const char *text = row_text(row, COPY_STATUS, sizeof("JOB_CANCELLED"), &size);
        int status = text ? job_status_from_text(text) : -EINVAL;

        if (status >= 0 && job_status_is_final((enum job_status) status))
                return (enum job_status) status;
        row_fail(row, COPY_STATUS, -EBADMSG);
        return JOB_UNKNOWN;
}

static int copy_text(const char *text, char **ret) {
        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

static int copy_list(char *const *list, char ***ret) {
        size_t n = 0;
        char **copy;

        while (list[n])
                n++;
        copy = calloc(n + 1, sizeof(*copy));
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        for (size_t i = 0; i < n; i++) {
                copy[i] = strdup(list[i]);
                if (!copy[i])
                        return -ENOMEM;
        }
        return 0;
}

static int tell_spec(const struct job_spec *spec, struct stored_job *job) {
        int r;

        job->timeout_usec = spec->timeout_usec;
        job->created_at = spec->created_at;
        job->limits = spec->limits;
        job->rules = spec->rules;
        job->has_digest = spec->has_digest;
        memcpy(job->digest, spec->digest, sizeof(job->digest));
        job->submitter_uid = spec->submitter_uid;
        job->stdin_size = spec->stdin_size;
        r = copy_text(spec->command, &job->command);
        if (r >= 0)
                r = copy_text(spec->cwd, &job->cwd);
        if (r >= 0)
                r = copy_text(spec->target_node_id, &job->target_node_id);
        if (r >= 0)
                r = copy_text(spec->created_by_node, &job->created_by_node);
        if (r >= 0)
                r = copy_text(spec->submitter[0] != '\0' ? spec->submitter : NULL, &job->submitter);
        if (r >= 0)
                r = copy_list(spec->env, &job->env);
        if (r >= 0 && spec->requires[0])
                r = copy_list(spec->requires, &job->requires);
        return r;
}

/* Takes the bytes. */
static void tell_output(
        struct job_output *output, bool with_output, char **ret_data, size_t *ret_size, uint64_t *ret_kept,
        uint64_t *ret_total, bool *ret_truncated) {
        *ret_kept = output->size;
        *ret_total = output->total;
        *ret_truncated = output->truncated;
        if (!with_output)
                return;
        *ret_size = output->size;
        *ret_data = TAKE_PTR(output->data);
}

static int tell_result(struct job_result *result, bool with_output, struct stored_job *job) {
        job->started_at = result->started_at;
        if (result->finished_at > 0)
                job->finished_at = result->finished_at;
        job->duration_usec = result->duration_usec;
        job->has_exit_code = result->outcome == RUN_EXITED;
        job->exit_code = job->has_exit_code ? result->exit_code : 0;
        job->signal = result->signal;
        job->oom_killed = result->oom_killed;
        tell_output(
                &result->stdout_output, with_output, &job->stdout_data, &job->stdout_size, &job->stdout_kept,
                &job->stdout_total, &job->stdout_truncated);
        tell_output(
                &result->stderr_output, with_output, &job->stderr_data, &job->stderr_size, &job->stderr_kept,
                &job->stderr_total, &job->stderr_truncated);
        return copy_text(result->error_message, &job->error_message);
}

static int
tell(const struct store_copy *copy, struct job_result *result, bool with_output, struct stored_job *job) {
        const char *executor = copy->executor_node_id[0] != '\0' ? copy->executor_node_id
                               : copy->run.attempt > 0           ? copy->owner_node_id
                                                                 : NULL;
        int r;

        job->id = copy->run.job;
        job->epoch = copy->run.epoch;
        job->attempt = copy->run.attempt;
        job->cancel_requested = copy->cancel_requested;
        job->retries_used = copy->retries_used;
        r = tell_spec(copy->spec, job);
        if (r >= 0)
                r = copy_text(copy->owner_node_id, &job->owner_node_id);
        if (r >= 0)
                r = copy_text(executor, &job->executor_node_id);
        if (r >= 0 && result)
                r = tell_result(result, with_output, job);
        return r;
}

int store_copy_read_ended(
        sqlite3_stmt *statement, bool with_output, struct stored_job *ret, const char **ret_what) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct row row = { .statement = statement };
        struct stored_job job = {
                .status = read_status(&row),
                .updated_at = row_time(&row, COPY_UPDATED_AT),
        };
        struct store_copy copy;
        int r = 0;

        job.finished_at = job.updated_at;
        read_copy(&row, &copy);
        read_ending(&row, &copy.run, &result);
        if (job.updated_at == 0)
                row_fail(&row, COPY_UPDATED_AT, -EBADMSG);
        if (row.error >= 0)
                r = tell(&copy, result, with_output, &job);
        store_copy_done(&copy);
        if (row.error < 0 || r < 0) {
                stored_job_done(&job);
                *ret_what = column_names[row.where];
                return row.error < 0 ? row.error : r;
        }
        *ret = job;
        return 0;
}
