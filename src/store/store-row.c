/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-row.h"

#include <errno.h>

#include "store/store-json.h"
#include "util/strv.h"
#include "util/utf8.h"
#include "wire/job-limits.h"

#define ERROR_MESSAGE_MAX (64u * 1024) /* bytes; what is written is one line */

/* JSON of ENV_SIZE_MAX bytes, each of which may be written as six, and the punctuation. */
#define ENV_JSON_MAX (ENV_SIZE_MAX * 6 + ENV_ENTRIES_MAX * 6 + 2)

#define _ROW_NAME(name, sql) [name] = sql,
static const char *const column_names[] = {
        [ROW_SEQUENCE] = "seq",
        ROW_COLUMN_TABLE(_ROW_NAME)[ROW_STDERR] = "stderr",
        [ROW_STDOUT] = "stdout",
        [ROW_STDIN] = "stdin",
};

/* Reading goes on after the first error, with empty values, and is judged at the end. */
struct row {
        sqlite3_stmt *statement;
        int error;
        enum row_column where;
};

static void row_fail(struct row *row, enum row_column column, int error) {
        if (row->error == 0) {
                row->error = error;
                row->where = column;
        }
}

static bool is_null(struct row *row, enum row_column column) {
        return sqlite3_column_type(row->statement, (int) column) == SQLITE_NULL;
}

/* 0 to limit. NULL is 0. */
static uint64_t read_number(struct row *row, enum row_column column, uint64_t limit) {
        int64_t value;

        if (is_null(row, column))
                return 0;
        if (sqlite3_column_type(row->statement, (int) column) != SQLITE_INTEGER) {
                row_fail(row, column, -EBADMSG);
                return 0;
        }
        value = sqlite3_column_int64(row->statement, (int) column);
        if (value < 0 || (uint64_t) value > limit) {
                row_fail(row, column, -EBADMSG);
                return 0;
        }
        return (uint64_t) value;
}

/* Borrowed until the statement moves on; NULL where there is none. Followed by a NUL, and without one
 * inside. */
static const char *read_text(struct row *row, enum row_column column, size_t limit, size_t *ret_size) {
        const char *text;
        size_t size;

        *ret_size = 0;
        if (is_null(row, column))
                return NULL;
        if (sqlite3_column_type(row->statement, (int) column) != SQLITE_TEXT) {
                row_fail(row, column, -EBADMSG);
                return NULL;
        }
        text = (const char *) sqlite3_column_text(row->statement, (int) column);
        if (!text) {
                row_fail(row, column, -ENOMEM);
                return NULL;
        }
        size = (size_t) sqlite3_column_bytes(row->statement, (int) column);
        if (size > limit || memchr(text, 0, size) || !utf8_is_valid(text, size)) {
                row_fail(row, column, -EBADMSG);
                return NULL;
        }
        *ret_size = size;
        return text;
}

static char *read_copy(struct row *row, enum row_column column, size_t limit) {
        size_t size;
        const char *text = read_text(row, column, limit, &size);
        char *copy = text ? strdup(text) : NULL;

        if (text && !copy)
                row_fail(row, column, -ENOMEM);
        return copy;
}

static usec_t read_time(struct row *row, enum row_column column) {
        size_t size;
        const char *text = read_text(row, column, TIME_TEXT_MAX - 1, &size);
        usec_t time = 0;

        if (text && parse_time(text, &time) < 0)
                row_fail(row, column, -EBADMSG);
        return time;
}

static struct uuid read_uuid(struct row *row, enum row_column column) {
        size_t size;
        const char *text = read_text(row, column, UUID_TEXT_SIZE - 1, &size);
        struct uuid id = UUID_NULL;

        if (text && uuid_from_text(text, &id) < 0)
                row_fail(row, column, -EBADMSG);
        return id;
}

static char *read_node_id(struct row *row, enum row_column column) {
        char *text = read_copy(row, column, NODE_ID_MAX);

        if (text && !node_id_is_valid(text))
                row_fail(row, column, -EBADMSG);
        return text;
}

static enum job_status read_status(struct row *row) {
        size_t size;
        const char *text = read_text(row, ROW_STATUS, sizeof("JOB_CANCELLED"), &size);
        int status = text ? job_status_from_text(text) : -EINVAL;

        if (status <= JOB_UNKNOWN) {
                row_fail(row, ROW_STATUS, -EBADMSG);
                return JOB_UNKNOWN;
        }
        return (enum job_status) status;
}

static char **read_env(struct row *row) {
        size_t size;
        const char *text = read_text(row, ROW_ENV, ENV_JSON_MAX, &size);
        char **env = NULL;
        int r;

        r = text ? json_read_env(text, size, &env) : -EBADMSG;
        if (r < 0)
                row_fail(row, ROW_ENV, r);
        return env;
}

/* Bytes of a column that is TEXT or BLOB, whichever fitted. */
static const void *read_bytes(struct row *row, enum row_column column, size_t *ret_size) {
        int type = sqlite3_column_type(row->statement, (int) column);
        const void *data;

        *ret_size = 0;
        if (type == SQLITE_NULL)
                return NULL;
        if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
                row_fail(row, column, -EBADMSG);
                return NULL;
        }
        data = sqlite3_column_blob(row->statement, (int) column);
        *ret_size = (size_t) sqlite3_column_bytes(row->statement, (int) column);
        if (*ret_size > 0 && !data) {
                row_fail(row, column, -ENOMEM);
                *ret_size = 0;
        }
        return *ret_size > 0 ? data : "";
}

static void read_output(
        struct row *row, enum row_column column, enum row_column size_column, char **ret_data,
        size_t *ret_size, uint64_t *ret_kept) {
        const void *data;
        size_t size;

        *ret_kept = read_number(row, size_column, INT64_MAX);
        data = read_bytes(row, column, &size);
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

        if (is_null(row, ROW_DIGEST))
                return;
        data = read_bytes(row, ROW_DIGEST, &size);
        if (size != SHA256_SIZE) {
                row_fail(row, ROW_DIGEST, -EBADMSG);
                return;
        }
        memcpy(ret_digest, data, SHA256_SIZE);
        *ret_has_digest = true;
}

static uid_t read_uid(struct row *row) {
        if (is_null(row, ROW_SUBMITTER_UID))
                return (uid_t) -1;
        return (uid_t) read_number(row, ROW_SUBMITTER_UID, UINT32_MAX - 1);
}

/* NULL in all of these is a job without limits. */
static struct job_limits read_limits(struct row *row) {
        static const enum row_column limit_columns[_LIMIT_FIELD_MAX] = {
                [LIMIT_MEMORY_MAX] = ROW_MEMORY_MAX,
                [LIMIT_CPU_WEIGHT] = ROW_CPU_WEIGHT,
                [LIMIT_CPU_QUOTA] = ROW_CPU_QUOTA,
                [LIMIT_TASKS_MAX] = ROW_TASKS_MAX,
        };
        struct job_limits limits = { .best_effort = read_number(row, ROW_BEST_EFFORT, 1) == 1 };

        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t value = read_number(row, limit_columns[field], limit_field_high(field));

                if (!is_null(row, limit_columns[field]) && value < limit_field_low(field))
                        row_fail(row, limit_columns[field], -EBADMSG);
                job_limits_set(&limits, field, value);
        }
        return limits;
}

static void read_end(struct row *row, struct stored_job *job) {
        job->oom_killed = read_number(row, ROW_OOM_KILLED, 1) == 1;
        job->duration_usec = read_number(row, ROW_DURATION, INT64_MAX);
        job->has_exit_code = !is_null(row, ROW_EXIT_CODE);
        job->exit_code = (int) read_number(row, ROW_EXIT_CODE, INT_MAX);
        job->signal = (int) read_number(row, ROW_SIGNAL, INT_MAX);
        job->error_message = read_copy(row, ROW_ERROR_MESSAGE, ERROR_MESSAGE_MAX);
        job->stdout_total = read_number(row, ROW_STDOUT_TOTAL, INT64_MAX);
        job->stderr_total = read_number(row, ROW_STDERR_TOTAL, INT64_MAX);
        job->stdout_truncated = read_number(row, ROW_STDOUT_TRUNCATED, 1) == 1;
        job->stderr_truncated = read_number(row, ROW_STDERR_TRUNCATED, 1) == 1;
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
                .sequence = read_number(&row, ROW_SEQUENCE, INT64_MAX),
                .id = read_uuid(&row, ROW_JOB_ID),
                .status = read_status(&row),
                .epoch = read_number(&row, ROW_EPOCH, INT64_MAX),
                .attempt = (uint32_t) read_number(&row, ROW_ATTEMPT, UINT32_MAX),
                .command = read_copy(&row, ROW_COMMAND, COMMAND_MAX),
                .cwd = read_copy(&row, ROW_CWD, CWD_MAX),
                .target_node_id = read_node_id(&row, ROW_TARGET),
                .created_by_node = read_node_id(&row, ROW_CREATED_BY),
                .executor_node_id = read_node_id(&row, ROW_EXECUTOR_NODE),
                .env = read_env(&row),
                .timeout_usec = read_number(&row, ROW_TIMEOUT, TIMEOUT_MAX_SEC) * USEC_PER_SEC,
                .created_at = read_time(&row, ROW_CREATED_AT),
                .started_at = read_time(&row, ROW_STARTED_AT),
                .finished_at = read_time(&row, ROW_FINISHED_AT),
                .updated_at = read_time(&row, ROW_UPDATED_AT),
                .cancel_requested = read_number(&row, ROW_CANCEL_REQUESTED, 1) == 1,
                .limits = read_limits(&row),
                .submitter_uid = read_uid(&row),
                .submitter = read_copy(&row, ROW_SUBMITTER, SUBMITTER_MAX),
                .stdin_size = read_number(&row, ROW_STDIN_SIZE, STDIN_MAX),
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

/* The request that the job came from. The strings are borrowed, from the row and from env. */
static void read_request(
        struct row *row, char **env, struct job_env entries[static ENV_ENTRIES_MAX],
        struct job_request *ret) {
        size_t n_env = strv_length(env);

        *ret = (struct job_request){
                .env = entries,
                .n_env = n_env,
                .has_timeout = true,
                .timeout_seconds = (int64_t) read_number(row, ROW_TIMEOUT, TIMEOUT_MAX_SEC),
        };
        ret->command = read_text(row, ROW_COMMAND, COMMAND_MAX, &ret->command_size);
        ret->target_node_id = read_text(row, ROW_TARGET, NODE_ID_MAX, &ret->target_node_id_size);
        ret->cwd = read_text(row, ROW_CWD, CWD_MAX, &ret->cwd_size);
        ret->stdin_data = read_bytes(row, ROW_STDIN, &ret->stdin_size);

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
        _cleanup_strv_free_ char **env = read_env(row);
        struct job_env entries[ENV_ENTRIES_MAX];
        struct job_request request;
        struct job_problem problem;
        const char *text;
        size_t size;
        int r;

        read_request(row, env, entries, &request);
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

        spec->id = read_uuid(row, ROW_JOB_ID);
        spec->created_at = read_time(row, ROW_CREATED_AT);
        spec->submitter_uid = read_uid(row);
        read_digest(row, &spec->has_digest, spec->digest);
        text = read_text(row, ROW_SUBMITTER, SUBMITTER_MAX, &size);
        if (text)
                memcpy(spec->submitter, text, size + 1);
        text = read_text(row, ROW_CREATED_BY, NODE_ID_MAX, &size);
        if (text && node_id_is_valid(text))
                memcpy(spec->created_by_node, text, size + 1);
        else
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
                .status = read_status(&row),
                .run.epoch = read_number(&row, ROW_EPOCH, INT64_MAX),
                .run.attempt = (uint32_t) read_number(&row, ROW_ATTEMPT, UINT32_MAX),
                .executor = read_uuid(&row, ROW_EXECUTOR),
                .started_at = read_time(&row, ROW_STARTED_AT),
                .cancel_requested = read_number(&row, ROW_CANCEL_REQUESTED, 1) == 1,
        };
        int r;

        if (job_status_is_final(job.status) || !is_null(&row, ROW_FINISHED_AT))
                row_fail(&row, ROW_FINISHED_AT, -EBADMSG);
        r = read_spec(&row, &spec);
        if (r < 0 || row.error < 0) {
                *ret_what = column_names[row.where];
                return row.error < 0 ? row.error : r;
        }

        job.run.job = spec->id;
        job.in_executor = !uuid_is_null(&job.executor);
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
        strv_free(job->env);
        free(job->submitter);
        free(job->error_message);
        free(job->stdout_data);
        free(job->stderr_data);
        *job = (struct stored_job){};
}

size_t stored_job_size(const struct stored_job *job) {
        size_t size = sizeof(*job) + strlen(job->command) + job->stdout_size + job->stderr_size;

        STRV_FOREACH(entry, job->env) {
                size += sizeof(*entry) + strlen(*entry) + 1;
        }
        return size;
}
