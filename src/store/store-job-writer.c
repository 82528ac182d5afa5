/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-job-writer.h"

#include <errno.h>

#include "store/store-job-rows.h"
#include "store/store-json.h"
#include "store/store-records.h"
#include "wire/job-limits.h"

/* A job that has ended is not changed again, whatever is still said about it (but see move_writer_merged()).
 */
#define WHERE_UNFINISHED " WHERE job_id = ? AND finished_at IS NULL"

/* JSON of the largest environment is not worth keeping until the next one. */
#define JSON_KEPT_MAX 4096u

enum statement {
        STATEMENT_ACCEPT,
        STATEMENT_LIMITS,
        STATEMENT_OPTIONS,
        STATEMENT_RETRIES,
        STATEMENT_ASSIGN,
        STATEMENT_START,
        STATEMENT_REQUEUE,
        STATEMENT_FINISH,
        STATEMENT_OOM,
        STATEMENT_CANCEL,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        [STATEMENT_ACCEPT] =
                "INSERT INTO jobs (seq, job_id, status, created_at, updated_at, timeout_seconds, epoch, "
                "attempt,"
                " target_node_id, created_by_node, executor_node_id, executor_instance, submitter, "
                "submitter_uid,"
                " digest, cwd, command, env, stdin_size, stdin)"
                " VALUES (?, ?, 'JOB_PENDING', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [STATEMENT_LIMITS] =
                "INSERT INTO job_limits (seq, memory_max, cpu_weight, cpu_quota, tasks_max, best_effort)"
                " VALUES (?, ?, ?, ?, ?, ?)",
        [STATEMENT_OPTIONS] = "INSERT INTO job_options (seq, priority, retries, retries_used,"
                              " loss_is_failure, requires) VALUES (?, ?, ?, ?, ?, ?)",
        [STATEMENT_RETRIES] = "UPDATE job_options SET retries_used = ?"
                              " WHERE seq = (SELECT seq FROM jobs" WHERE_UNFINISHED ")",
        [STATEMENT_ASSIGN] =
                "UPDATE jobs SET epoch = ?, attempt = ?, executor_node_id = ?, executor_instance = ?,"
                " updated_at = ?" WHERE_UNFINISHED,
        [STATEMENT_START] = "UPDATE jobs SET status = 'JOB_RUNNING', epoch = ?, attempt = ?, started_at = ?,"
                            " updated_at = ?" WHERE_UNFINISHED,
        [STATEMENT_REQUEUE] =
                "UPDATE jobs SET status = 'JOB_PENDING', epoch = ?, attempt = ?, started_at = NULL,"
                " executor_node_id = NULL, executor_instance = NULL, updated_at = ?" WHERE_UNFINISHED,
        [STATEMENT_FINISH] = "UPDATE jobs SET status = ?, epoch = ?, attempt = ?, exit_code = ?, signal = ?,"
                             " started_at = coalesce(?, started_at), finished_at = ?, updated_at = ?,"
                             " duration_usec = ?, error_message = ?, stdout_total = ?, stdout_truncated = ?,"
                             " stdout_size = ?, stdout = ?, stderr_total = ?, stderr_truncated = ?,"
                             " stderr_size = ?, stderr = ?" WHERE_UNFINISHED,
        [STATEMENT_OOM] = "INSERT INTO job_limits (seq, oom_killed) SELECT seq, 1 FROM jobs WHERE job_id = ?"
                          " ON CONFLICT (seq) DO UPDATE SET oom_killed = 1",
        [STATEMENT_CANCEL] = "UPDATE jobs SET cancel_requested = 1, updated_at = ?" WHERE_UNFINISHED,
};

struct job_writer {
        const char *node_id;
        uint64_t last_sequence;
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct buffer json; /* kept between records, so that they do not each allocate */
};

int job_writer_new(sqlite3 *db, const char *node_id, struct job_writer **ret) {
        _cleanup_(job_writer_free_p) struct job_writer *writer = calloc(1, sizeof(*writer));
        int r;

        if (!writer)
                return -ENOMEM;
        writer->node_id = node_id;
        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, writer->statements);
        /* No job gets the number of one that a foreign hand took away and left something beside it of. */
        if (r >= 0)
                r = job_rows_last_sequence(db, &writer->last_sequence);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(writer);
        return 0;
}

struct job_writer *job_writer_free(struct job_writer *writer) {
        if (!writer)
                return NULL;
        sqlite_finalize_all(writer->statements, _STATEMENT_MAX);
        buffer_done(&writer->json);
        free(writer);
        return NULL;
}

uint64_t job_writer_last_sequence(const struct job_writer *writer) {
        return writer->last_sequence;
}

void job_writer_rolled_back(struct job_writer *writer, uint64_t last_sequence) {
        writer->last_sequence = last_sequence;
}

static const char *json_text(struct job_writer *writer, int r) {
        return r < 0 ? NULL : writer->json.data;
}

static const char *env_to_json(struct job_writer *writer, char *const *env) {
        if (!env[0])
                return "{}";
        writer->json.size = 0;
        return json_text(writer, json_write_env(&writer->json, env));
}

static const char *requires_to_json(struct job_writer *writer, char *const *requires) {
        writer->json.size = 0;
        return json_text(writer, json_write_labels(&writer->json, requires));
}

/* The node that an attempt is given to; NULL: it is not given to any. */
static const char *executor_node(const struct job_writer *writer, const struct record *record) {
        if (record->node)
                return record->node->text;
        return uuid_is_null(&record->executor) ? NULL : writer->node_id;
}

/* Of the job that was accepted last. */
static int write_limits(struct job_writer *writer, const struct job_limits *limits) {
        struct binder binder = { .statement = writer->statements[STATEMENT_LIMITS] };

        if (job_limits_kinds(limits) == 0)
                return 0;
        bind_u64(&binder, writer->last_sequence);
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t value = job_limits_get(limits, field);

                if (value > 0)
                        bind_u64(&binder, value);
                else
                        bind_null(&binder);
        }
        bind_i64(&binder, limits->best_effort);
        return binder_run(&binder);
}

/* Of the job that was accepted last. */
static int write_options(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_OPTIONS] };
        const struct job_rules *rules = &record->spec->rules;
        char *const *requires = record->spec->requires;
        const char *json = NULL;

        if (job_rules_are_default(rules) && !requires[0])
                return 0;
        if (requires[0]) {
                json = requires_to_json(writer, requires);
                if (!json)
                        return -ENOMEM;
        }
        bind_u64(&binder, writer->last_sequence);
        bind_i64(&binder, rules->priority);
        bind_u64(&binder, rules->retries);
        bind_u64(&binder, record->retries_used);
        bind_i64(&binder, rules->loss_is_failure);
        bind_text(&binder, json);
        return binder_run(&binder);
}

int job_writer_accepted(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_ACCEPT] };
        const struct job_spec *spec = record->spec;
        char id[UUID_TEXT_SIZE], executor[UUID_TEXT_SIZE], created_at[TIME_TEXT_MAX],
                updated_at[TIME_TEXT_MAX];
        const char *env = env_to_json(writer, spec->env);
        int r;

        if (!env)
                return -ENOMEM;

        bind_u64(&binder, writer->last_sequence + 1);
        bind_uuid(&binder, &spec->id, id);
        bind_time(&binder, spec->created_at, created_at);
        bind_time(&binder, record_time(record), updated_at);
        bind_u64(&binder, spec->timeout_usec / USEC_PER_SEC);
        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_text(&binder, spec->target_node_id);
        bind_text(&binder, spec->created_by_node);
        bind_text(&binder, executor_node(writer, record));
        bind_uuid(&binder, &record->executor, executor);
        bind_text(&binder, spec->submitter[0] != '\0' ? spec->submitter : NULL);
        if (spec->submitter_uid != (uid_t) -1)
                bind_u64(&binder, spec->submitter_uid);
        else
                bind_null(&binder);
        if (spec->has_digest)
                bind_blob(&binder, spec->digest, SHA256_SIZE);
        else
                bind_null(&binder);
        bind_text(&binder, spec->cwd);
        bind_text(&binder, spec->command);
        bind_text(&binder, env);
        if (spec->stdin_data) {
                bind_u64(&binder, spec->stdin_size);
                bind_bytes(&binder, spec->stdin_data, spec->stdin_size);
        } else {
                bind_null(&binder);
                bind_null(&binder);
        }

        r = binder_run(&binder);
        if (r <= 0)
                return r;
        writer->last_sequence++;
        r = write_limits(writer, &spec->limits);
        return r < 0 ? r : write_options(writer, record);
}

static void bind_job(struct binder *binder, const struct record *record, char id[static UUID_TEXT_SIZE]) {
        bind_uuid(binder, &record->spec->id, id);
}

int job_writer_assigned(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_ASSIGN] };
        char id[UUID_TEXT_SIZE], executor[UUID_TEXT_SIZE], updated_at[TIME_TEXT_MAX];

        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_text(&binder, executor_node(writer, record));
        bind_uuid(&binder, &record->executor, executor);
        bind_time(&binder, record_time(record), updated_at);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

int job_writer_started(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_START] };
        char id[UUID_TEXT_SIZE], started_at[TIME_TEXT_MAX];
        usec_t at_usec = record_time(record);

        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_time(&binder, at_usec, started_at);
        bind_time(&binder, at_usec, started_at);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

static int write_retries(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_RETRIES] };
        char id[UUID_TEXT_SIZE];

        if (record->retries_used == 0)
                return 0;
        bind_u64(&binder, record->retries_used);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

int job_writer_requeued(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_REQUEUE] };
        char id[UUID_TEXT_SIZE], updated_at[TIME_TEXT_MAX];
        int n, r;

        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_time(&binder, record_time(record), updated_at);
        bind_job(&binder, record, id);
        n = binder_run(&binder);
        r = n > 0 ? write_retries(writer, record) : 0;
        return r < 0 ? r : n;
}

static void bind_output(struct binder *binder, const struct job_output *output) {
        bind_u64(binder, output->total);
        bind_i64(binder, output->truncated);
        bind_u64(binder, output->size);
        bind_bytes(binder, output->data, output->size);
}

static void bind_no_output(struct binder *binder) {
        bind_null(binder);
        bind_i64(binder, 0);
        bind_null(binder);
        bind_null(binder);
}

static void bind_exit(struct binder *binder, const struct job_result *result) {
        if (result && result->outcome == RUN_EXITED)
                bind_i64(binder, result->exit_code);
        else
                bind_null(binder);
        if (result && result->signal > 0)
                bind_i64(binder, result->signal);
        else
                bind_null(binder);
}

static int write_oom(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_OOM] };
        char id[UUID_TEXT_SIZE];

        bind_job(&binder, record, id);
        return binder_run(&binder);
}

int job_writer_finished(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_FINISH] };
        const struct job_result *result = record->result;
        char id[UUID_TEXT_SIZE], started_at[TIME_TEXT_MAX], finished_at[TIME_TEXT_MAX],
                updated_at[TIME_TEXT_MAX];
        usec_t now = record_time(record);
        int n;

        if (!job_status_is_final(record->status))
                return -EINVAL;

        bind_text(&binder, job_status_to_text(record->status));
        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_exit(&binder, result);
        bind_time(&binder, result ? result->started_at : 0, started_at);
        bind_time(&binder, result && result->finished_at > 0 ? result->finished_at : now, finished_at);
        bind_time(&binder, now, updated_at);
        if (result)
                bind_u64(&binder, result->duration_usec);
        else
                bind_null(&binder);
        bind_text(&binder, record->error_message || !result ? record->error_message : result->error_message);
        if (result) {
                bind_output(&binder, &result->stdout_output);
                bind_output(&binder, &result->stderr_output);
        } else {
                bind_no_output(&binder);
                bind_no_output(&binder);
        }
        bind_job(&binder, record, id);
        n = binder_run(&binder);
        if (n > 0 && result && result->oom_killed) {
                int r = write_oom(writer, record);

                if (r < 0)
                        return r;
        }
        return n;
}

int job_writer_cancel(struct job_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_CANCEL] };
        char id[UUID_TEXT_SIZE], updated_at[TIME_TEXT_MAX];

        bind_time(&binder, record_time(record), updated_at);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

void job_writer_trim(struct job_writer *writer) {
        if (writer->json.allocated > JSON_KEPT_MAX)
                buffer_done(&writer->json);
}
