/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-row.h"

#include <errno.h>

#include "store/store-attempts.h"
#include "store/store-column.h"
#include "store/store-json.h"
#include "util/strv.h"
#include "wire/job-limits.h"
#include "wire/label.h"

#define ERROR_MESSAGE_MAX (64u * 1024) /* bytes; what is written is one line */

/* JSON of ENV_SIZE_MAX bytes, each of which may be written as six, and the punctuation. */
#define ENV_JSON_MAX (ENV_SIZE_MAX * 6 + ENV_ENTRIES_MAX * 6 + 2)

/* JSON of REQUIRES_MAX labels, each of whose bytes may be written as six, and the punctuation. */
#define REQUIRES_JSON_MAX (REQUIRES_MAX * (LABEL_TEXT_MAX * 6 + 3) + 2)

#define _ROW_NAME(name, sql) [name] = sql,
static const char *const column_names[] = {
        [ROW_SEQUENCE] = "seq",
        ROW_COLUMN_TABLE(_ROW_NAME)[ROW_STDERR] = "stderr",
        [ROW_STDOUT] = "stdout",
        [ROW_STDIN] = "stdin",
        [ROW_OWNER_EPOCH] = "takeovers.epoch",
};

static enum job_status read_status(struct row *row, int column) {
        size_t size;
        const char *text = row_text(row, column, sizeof("JOB_CANCELLED"), &size);
        int status = text ? job_status_from_text(text) : -EINVAL;

        if (status <= JOB_UNKNOWN) {
                row_fail(row, column, -EBADMSG);
                return JOB_UNKNOWN;
        }
        return (enum job_status) status;
}

int store_row_read_recent(sqlite3_stmt *statement, struct stored_job *ret, const char **ret_what) {
        /* In the order of ROW_RECENT_COLUMNS. */
        enum { SEQUENCE, ID, STATUS, EXIT_CODE, CREATED_AT, STARTED_AT, FINISHED_AT, EPOCH, EXECUTOR };
        struct row row = { .statement = statement };
        struct stored_job job = {
                .sequence = row_number(&row, SEQUENCE, INT64_MAX),
                .id = row_uuid(&row, ID),
                .status = read_status(&row, STATUS),
                .has_exit_code = !row_is_null(&row, EXIT_CODE),
                .exit_code = (int) row_number(&row, EXIT_CODE, INT_MAX),
                .created_at = row_time(&row, CREATED_AT),
                .started_at = row_time(&row, STARTED_AT),
                .finished_at = row_time(&row, FINISHED_AT),
                .epoch = row_number(&row, EPOCH, INT64_MAX),
                .executor_node_id = row_node_id_copy(&row, EXECUTOR),
        };

        if (uuid_is_null(&job.id))
                row_fail(&row, ID, -EBADMSG);
        if (job_status_is_final(job.status) != (job.finished_at > 0))
                row_fail(&row, FINISHED_AT, -EBADMSG);
        if (row.error < 0) {
                stored_job_done(&job);
                *ret_what = sqlite3_column_name(statement, row.where);
                return row.error;
        }
        *ret = job;
        return 0;
}

static char **read_env(struct row *row) {
        size_t size;
        const char *text = row_text(row, ROW_ENV, ENV_JSON_MAX, &size);
        char **env = NULL;
        int r;

        r = text ? json_read_env(text, size, &env) : -EBADMSG;
        if (r < 0)
                row_fail(row, ROW_ENV, r);
        return env;
}

static void read_output(
        struct row *row, enum row_column column, enum row_column size_column, char **ret_data,
        size_t *ret_size, uint64_t *ret_kept) {
        const void *data;
        size_t size;

        *ret_kept = row_number(row, size_column, INT64_MAX);
        data = row_bytes(row, column, &size);
        if (size == 0)
                return;

        *ret_data = malloc(size);
        if (!*ret_data) {
                row_fail(row, column, -ENOMEM);
                return;
        }
        memcpy(*ret_data, data, size);
        *ret_size = size;
        *ret_kept = size;
}

static void read_digest(struct row *row, bool *ret_has_digest, uint8_t ret_digest[static SHA256_SIZE]) {
        size_t size;
        const void *data;

        if (row_is_null(row, ROW_DIGEST))
                return;
        data = row_bytes(row, ROW_DIGEST, &size);
        if (size != SHA256_SIZE) {
                row_fail(row, ROW_DIGEST, -EBADMSG);
                return;
        }
        memcpy(ret_digest, data, SHA256_SIZE);
        *ret_has_digest = true;
}

static uid_t read_uid(struct row *row) {
        if (row_is_null(row, ROW_SUBMITTER_UID))
                return (uid_t) -1;
        return (uid_t) row_number(row, ROW_SUBMITTER_UID, UINT32_MAX - 1);
}

/* NULL in all of these is a job without limits. */
static struct job_limits read_limits(struct row *row) {
        static const enum row_column limit_columns[_LIMIT_FIELD_MAX] = {
                [LIMIT_MEMORY_MAX] = ROW_MEMORY_MAX,
                [LIMIT_CPU_WEIGHT] = ROW_CPU_WEIGHT,
                [LIMIT_CPU_QUOTA] = ROW_CPU_QUOTA,
                [LIMIT_TASKS_MAX] = ROW_TASKS_MAX,
        };
        struct job_limits limits = { .best_effort = row_number(row, ROW_BEST_EFFORT, 1) == 1 };

        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t value = row_number(row, limit_columns[field], limit_field_high(field));

                if (!row_is_null(row, limit_columns[field]) && value < limit_field_low(field))
                        row_fail(row, limit_columns[field], -EBADMSG);
                job_limits_set(&limits, field, value);
        }
        return limits;
}

/* NULL in all of these is a job without any. */
static struct job_rules read_rules(struct row *row) {
        return (struct job_rules){
                .priority = (int32_t) row_integer(row, ROW_PRIORITY, JOB_PRIORITY_MIN, JOB_PRIORITY_MAX),
                .retries = (uint32_t) row_number(row, ROW_RETRIES, JOB_RETRIES_MAX),
                .loss_is_failure = row_number(row, ROW_LOSS_IS_FAILURE, 1) == 1,
        };
}

static char **read_requires(struct row *row) {
        size_t size;
        const char *text = row_text(row, ROW_REQUIRES, REQUIRES_JSON_MAX, &size);
        char **requires = NULL;
        int r;

        r = text ? json_read_labels(text, size, &requires) : 0;
        if (r < 0)
                row_fail(row, ROW_REQUIRES, r);
        return requires;
}

static void read_end(struct row *row, struct stored_job *job) {
        job->oom_killed = row_number(row, ROW_OOM_KILLED, 1) == 1;
        job->duration_usec = row_number(row, ROW_DURATION, INT64_MAX);
        job->has_exit_code = !row_is_null(row, ROW_EXIT_CODE);
        job->exit_code = (int) row_number(row, ROW_EXIT_CODE, INT_MAX);
        job->signal = (int) row_number(row, ROW_SIGNAL, INT_MAX);
        job->error_message = row_copy(row, ROW_ERROR_MESSAGE, ERROR_MESSAGE_MAX);
        job->stdout_total = row_number(row, ROW_STDOUT_TOTAL, INT64_MAX);
        job->stderr_total = row_number(row, ROW_STDERR_TOTAL, INT64_MAX);
        job->stdout_truncated = row_number(row, ROW_STDOUT_TRUNCATED, 1) == 1;
        job->stderr_truncated = row_number(row, ROW_STDERR_TRUNCATED, 1) == 1;
        read_output(
                row, ROW_STDOUT, ROW_STDOUT_SIZE, &job->stdout_data, &job->stdout_size, &job->stdout_kept);
        read_output(
                row, ROW_STDERR, ROW_STDERR_SIZE, &job->stderr_data, &job->stderr_size, &job->stderr_kept);
}

/* What each column allows is checked where it is read; this is what they must say together. */
static void check_job(struct row *row, const struct stored_job *job) {
        if (uuid_is_null(&job->id))
                row_fail(row, ROW_JOB_ID, -EBADMSG);
        if (!job->command || job->command[0] == '\0')
                row_fail(row, ROW_COMMAND, -EBADMSG);
        if (!job->created_by_node)
                row_fail(row, ROW_CREATED_BY, -EBADMSG);
        if (job->timeout_usec == 0)
                row_fail(row, ROW_TIMEOUT, -EBADMSG);
        if (job_status_is_final(job->status) != (job->finished_at > 0))
                row_fail(row, ROW_FINISHED_AT, -EBADMSG);
}

int store_row_read(sqlite3_stmt *statement, struct stored_job *ret, const char **ret_what) {
        struct row row = { .statement = statement };
        struct stored_job job = {
                .sequence = row_number(&row, ROW_SEQUENCE, INT64_MAX),
                .id = row_uuid(&row, ROW_JOB_ID),
                .status = read_status(&row, ROW_STATUS),
                .epoch = row_number(&row, ROW_EPOCH, INT64_MAX),
                .attempt = (uint32_t) row_number(&row, ROW_ATTEMPT, UINT32_MAX),
                .command = row_copy(&row, ROW_COMMAND, COMMAND_MAX),
                .cwd = row_copy(&row, ROW_CWD, CWD_MAX),
                .target_node_id = row_node_id_copy(&row, ROW_TARGET),
                .created_by_node = row_node_id_copy(&row, ROW_CREATED_BY),
                .executor_node_id = row_node_id_copy(&row, ROW_EXECUTOR_NODE),
                .env = read_env(&row),
                .timeout_usec = row_number(&row, ROW_TIMEOUT, TIMEOUT_MAX_SEC) * USEC_PER_SEC,
                .created_at = row_time(&row, ROW_CREATED_AT),
                .started_at = row_time(&row, ROW_STARTED_AT),
                .finished_at = row_time(&row, ROW_FINISHED_AT),
                .updated_at = row_time(&row, ROW_UPDATED_AT),
                .cancel_requested = row_number(&row, ROW_CANCEL_REQUESTED, 1) == 1,
                .limits = read_limits(&row),
                .rules = read_rules(&row),
                .retries_used = (uint32_t) row_number(&row, ROW_RETRIES_USED, JOB_RETRIES_MAX),
                .requires = read_requires(&row),
                .submitter_uid = read_uid(&row),
                .submitter = row_copy(&row, ROW_SUBMITTER, SUBMITTER_MAX),
                .stdin_size = row_number(&row, ROW_STDIN_SIZE, STDIN_MAX),
        };

        read_digest(&row, &job.has_digest, job.digest);
        read_end(&row, &job);
        check_job(&row, &job);

        if (row.error < 0) {
                stored_job_done(&job);
                *ret_what = column_names[row.where];
                return row.error;
        }
        *ret = job;
        return 0;
}

/* json_read_labels() sees to it that there are not more. */
static size_t list_labels(char **requires, struct job_label labels[static REQUIRES_MAX]) {
        size_t n = strv_length(requires);

        for (size_t i = 0; i < n; i++)
                labels[i] = (struct job_label){ requires[i], strlen(requires[i]) };
        return n;
}

/* The request that the job came from. The strings are borrowed, from the row and from env. */
static void read_request(
        struct row *row, char **env, struct job_env entries[static ENV_ENTRIES_MAX],
        struct job_request *ret) {
        size_t n_env = strv_length(env);

        *ret = (struct job_request){
                .env = entries,
                .n_env = n_env,
                .has_timeout = true,
                .timeout_seconds = (int64_t) row_number(row, ROW_TIMEOUT, TIMEOUT_MAX_SEC),
        };
        ret->command = row_text(row, ROW_COMMAND, COMMAND_MAX, &ret->command_size);
        ret->target_node_id = row_text(row, ROW_TARGET, NODE_ID_MAX, &ret->target_node_id_size);
        ret->cwd = row_text(row, ROW_CWD, CWD_MAX, &ret->cwd_size);
        ret->stdin_data = row_bytes(row, ROW_STDIN, &ret->stdin_size);

        /* json_read_env() sees to it that there are not more, and that each has its '='. */
        for (size_t i = 0; i < n_env; i++) {
                size_t name_size = strcspn(env[i], "=");

                entries[i] = (struct job_env){
                        .name = env[i],
                        .name_size = name_size,
                        .value = env[i] + name_size + 1,
                        .value_size = strlen(env[i] + name_size + 1),
                };
        }
}

static int read_spec(struct row *row, struct job_spec **ret) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        _cleanup_strv_free_ char **env = read_env(row), **requires = read_requires(row);
        struct job_label labels[REQUIRES_MAX];
        struct job_env entries[ENV_ENTRIES_MAX];
        struct job_request request;
        struct job_problem problem;
        const char *text;
        size_t size;
        int r;

        read_request(row, env, entries, &request);
        request.requires = labels;
        request.n_requires = list_labels(requires, labels);
        if (row->error < 0)
                return row->error;
        if (job_request_check(&request, &problem) < 0) {
                row_fail(row, ROW_COMMAND, -EBADMSG);
                return -EBADMSG;
        }
        r = job_spec_new(&request, &spec);
        if (r < 0)
                return r;
        spec->limits = read_limits(row);
        spec->rules = read_rules(row);

        spec->id = row_uuid(row, ROW_JOB_ID);
        spec->created_at = row_time(row, ROW_CREATED_AT);
        spec->submitter_uid = read_uid(row);
        read_digest(row, &spec->has_digest, spec->digest);
        text = row_text(row, ROW_SUBMITTER, SUBMITTER_MAX, &size);
        if (text)
                memcpy(spec->submitter, text, size + 1);
        row_node_id(row, ROW_CREATED_BY, spec->created_by_node);
        if (spec->created_by_node[0] == '\0')
                row_fail(row, ROW_CREATED_BY, -EBADMSG);
        if (uuid_is_null(&spec->id))
                row_fail(row, ROW_JOB_ID, -EBADMSG);
        if (row->error < 0)
                return row->error;

        *ret = TAKE_PTR(spec);
        return 0;
}

int store_row_read_unfinished(sqlite3_stmt *statement, struct store_unfinished *ret, const char **ret_what) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        struct row row = { .statement = statement };
        struct store_unfinished job = {
                .status = read_status(&row, ROW_STATUS),
                .run.epoch = row_number(&row, ROW_EPOCH, INT64_MAX),
                .run.attempt = (uint32_t) row_number(&row, ROW_ATTEMPT, UINT32_MAX),
                .epoch = row_is_null(&row, ROW_OWNER_EPOCH) ? 1
                                                            : row_number(&row, ROW_OWNER_EPOCH, INT64_MAX),
                .executor = row_uuid(&row, ROW_EXECUTOR),
                .started_at = row_time(&row, ROW_STARTED_AT),
                .cancel_requested = row_number(&row, ROW_CANCEL_REQUESTED, 1) == 1,
                .retries_used = (uint32_t) row_number(&row, ROW_RETRIES_USED, JOB_RETRIES_MAX),
        };
        int r;

        row_node_id(&row, ROW_EXECUTOR_NODE, job.executor_node_id);
        job.in_executor = job.executor_node_id[0] != '\0' || !uuid_is_null(&job.executor);
        /* Nobody has what was never given away. */
        if (job.in_executor && job.run.attempt == 0)
                row_fail(&row, ROW_ATTEMPT, -EBADMSG);
        if (job_status_is_final(job.status) || !row_is_null(&row, ROW_FINISHED_AT))
                row_fail(&row, ROW_FINISHED_AT, -EBADMSG);
        if (job.epoch == 0)
                row_fail(&row, ROW_OWNER_EPOCH, -EBADMSG);
        /* No run is of an owner to come. */
        job.epoch = MAX(job.epoch, job.run.epoch);
        r = read_spec(&row, &spec);
        if (r < 0 || row.error < 0) {
                *ret_what = column_names[row.where];
                return row.error < 0 ? row.error : r;
        }

        job.run.job = spec->id;
        job.spec = TAKE_PTR(spec);
        *ret = job;
        return 0;
}

void stored_job_done(struct stored_job *job) {
        free(job->command);
        free(job->cwd);
        free(job->target_node_id);
        free(job->created_by_node);
        free(job->executor_node_id);
        free(job->owner_node_id);
        strv_free(job->env);
        strv_free(job->requires);
        free(job->submitter);
        free(job->error_message);
        free(job->stdout_data);
        free(job->stderr_data);
        stored_attempts_done(job);
        *job = (struct stored_job){};
}

size_t stored_job_size(const struct stored_job *job) {
        size_t size = sizeof(*job) + job->stdout_size + job->stderr_size + stored_attempts_size(job);

        size += job->command ? strlen(job->command) : 0;
        STRV_FOREACH(entry, job->env) {
                size += sizeof(*entry) + strlen(*entry) + 1;
        }
        STRV_FOREACH(label, job->requires) {
                size += sizeof(*label) + strlen(*label) + 1;
        }
        return size;
}
