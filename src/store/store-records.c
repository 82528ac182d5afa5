/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-records.h"

#include <errno.h>

#include "store/store-attempts.h"
#include "store/store-copy-writer.h"
#include "store/store-guest-writer.h"
#include "store/store-job-rows.h"
#include "store/store-json.h"
#include "store/store-move-writer.h"
#include "store/store-runs.h"
#include "store/store-schema.h"
#include "util/log.h"
#include "wire/job-limits.h"

/* A job that has ended is not changed again, whatever is still said about it (but see move_writer_merged()).
 */
#define WHERE_UNFINISHED " WHERE job_id = ? AND finished_at IS NULL"

enum statement {
        STATEMENT_BEGIN,
        STATEMENT_COMMIT,
        STATEMENT_ROLLBACK,
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
        STATEMENT_PEER,
        STATEMENT_PEER_GONE,
        STATEMENT_DRAIN,
        STATEMENT_RESUMED,
        STATEMENT_TOUCH,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",
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
        [STATEMENT_PEER] =
                "INSERT INTO worker_nodes (node_id, address, status, last_heartbeat, metadata, version,"
                " created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)"
                " ON CONFLICT (node_id) DO UPDATE SET address = ?2, status = ?3, last_heartbeat = ?4,"
                " metadata = ?5, version = ?6, updated_at = ?7",
        [STATEMENT_PEER_GONE] = "DELETE FROM worker_nodes WHERE node_id = ?",
        [STATEMENT_DRAIN] = "INSERT OR REPLACE INTO drain (one, since, until, uid) VALUES (1, ?, ?, ?)",
        [STATEMENT_RESUMED] = "DELETE FROM drain",
        /* Writes a page with what is there already. */
        [STATEMENT_TOUCH] = "PRAGMA user_version = " MACRO_TEXT(STORE_SCHEMA_VERSION),
};

struct store_records {
        sqlite3 *db;
        const char *node_id;
        uint64_t last_sequence;
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct guest_writer *guests;
        struct attempt_writer *attempts;
        struct copy_writer *copies;
        struct move_writer *moves;
        struct buffer json; /* kept between records, so that they do not each allocate */
};

/* JSON of the largest environment is not worth keeping until the next one. */
#define JSON_KEPT_MAX 4096u

int store_records_new(sqlite3 *db, const char *node_id, struct store_records **ret) {
        _cleanup_(store_records_free_p) struct store_records *records = calloc(1, sizeof(*records));
        int r;

        if (!records)
                return -ENOMEM;
        records->db = db;
        records->node_id = node_id;

        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, records->statements);
        if (r < 0)
                return r;
        r = guest_writer_new(db, &records->guests);
        if (r >= 0)
                r = attempt_writer_new(db, node_id, &records->attempts);
        if (r >= 0)
                r = copy_writer_new(db, &records->copies);
        if (r >= 0)
                r = move_writer_new(db, &records->moves);
        /* No job gets the number of one that a foreign hand took away and left something beside it of. */
        if (r >= 0)
                r = job_rows_last_sequence(db, &records->last_sequence);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(records);
        return 0;
}

struct store_records *store_records_free(struct store_records *records) {
        if (!records)
                return NULL;
        for (size_t i = 0; i < _STATEMENT_MAX; i++)
                sqlite_finalize(records->statements[i]);
        guest_writer_free(records->guests);
        attempt_writer_free(records->attempts);
        copy_writer_free(records->copies);
        move_writer_free(records->moves);
        buffer_done(&records->json);
        free(records);
        return NULL;
}

uint64_t store_records_last_sequence(const struct store_records *records) {
        return records->last_sequence;
}

static int run_simple(struct store_records *records, enum statement statement) {
        /* How many rows changed says nothing here: SQLite tells it of the last statement that changed any.
         */
        return MIN(binder_run(&(struct binder){ .statement = records->statements[statement] }), 0);
}

int store_records_touch(struct store_records *records) {
        return run_simple(records, STATEMENT_TOUCH);
}

static const char *json_text(struct store_records *records, int r) {
        return r < 0 ? NULL : records->json.data;
}

static const char *env_to_json(struct store_records *records, char *const *env) {
        if (!env[0])
                return "{}";
        records->json.size = 0;
        return json_text(records, json_write_env(&records->json, env));
}

static const char *requires_to_json(struct store_records *records, char *const *requires) {
        records->json.size = 0;
        return json_text(records, json_write_labels(&records->json, requires));
}

static const char *metadata_to_json(struct store_records *records, const struct node_info *info) {
        records->json.size = 0;
        return json_text(records, json_write_metadata(&records->json, info->metadata, info->n_metadata));
}

usec_t record_time(const struct record *record) {
        return record->at_usec > 0 ? record->at_usec : now_usec(CLOCK_REALTIME);
}

/* The node that an attempt is given to; NULL: it is not given to any. */
static const char *executor_node(const struct store_records *records, const struct record *record) {
        if (record->node)
                return record->node->text;
        return uuid_is_null(&record->executor) ? NULL : records->node_id;
}

/* Of the job that was accepted last. */
static int write_limits(struct store_records *records, const struct job_limits *limits) {
        struct binder binder = { .statement = records->statements[STATEMENT_LIMITS] };

        if (job_limits_kinds(limits) == 0)
                return 0;
        bind_u64(&binder, records->last_sequence);
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
static int write_options(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_OPTIONS] };
        const struct job_rules *rules = &record->spec->rules;
        char *const *requires = record->spec->requires;
        const char *json = NULL;

        if (job_rules_are_default(rules) && !requires[0])
                return 0;
        if (requires[0]) {
                json = requires_to_json(records, requires);
                if (!json)
                        return -ENOMEM;
        }
        bind_u64(&binder, records->last_sequence);
        bind_i64(&binder, rules->priority);
        bind_u64(&binder, rules->retries);
        bind_u64(&binder, record->retries_used);
        bind_i64(&binder, rules->loss_is_failure);
        bind_text(&binder, json);
        return binder_run(&binder);
}

static int write_accepted(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_ACCEPT] };
        const struct job_spec *spec = record->spec;
        char id[UUID_TEXT_SIZE], executor[UUID_TEXT_SIZE], created_at[TIME_TEXT_MAX],
                updated_at[TIME_TEXT_MAX];
        const char *env = env_to_json(records, spec->env);
        int r;

        if (!env)
                return -ENOMEM;

        bind_u64(&binder, records->last_sequence + 1);
        bind_uuid(&binder, &spec->id, id);
        bind_time(&binder, spec->created_at, created_at);
        bind_time(&binder, record_time(record), updated_at);
        bind_u64(&binder, spec->timeout_usec / USEC_PER_SEC);
        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_text(&binder, spec->target_node_id);
        bind_text(&binder, spec->created_by_node);
        bind_text(&binder, executor_node(records, record));
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
        records->last_sequence++;
        r = write_limits(records, &spec->limits);
        return r < 0 ? r : write_options(records, record);
}

static void bind_job(struct binder *binder, const struct record *record, char id[static UUID_TEXT_SIZE]) {
        bind_uuid(binder, &record->spec->id, id);
}

static int write_assigned(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_ASSIGN] };
        char id[UUID_TEXT_SIZE], executor[UUID_TEXT_SIZE], updated_at[TIME_TEXT_MAX];

        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_text(&binder, executor_node(records, record));
        bind_uuid(&binder, &record->executor, executor);
        bind_time(&binder, record_time(record), updated_at);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

static int write_started(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_START] };
        char id[UUID_TEXT_SIZE], started_at[TIME_TEXT_MAX];
        usec_t at_usec = record_time(record);

        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_time(&binder, at_usec, started_at);
        bind_time(&binder, at_usec, started_at);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

static int write_retries(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_RETRIES] };
        char id[UUID_TEXT_SIZE];

        if (record->retries_used == 0)
                return 0;
        bind_u64(&binder, record->retries_used);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

static int write_requeued(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_REQUEUE] };
        char id[UUID_TEXT_SIZE], updated_at[TIME_TEXT_MAX];
        int n, r;

        bind_u64(&binder, record->run.epoch);
        bind_u64(&binder, record->run.attempt);
        bind_time(&binder, record_time(record), updated_at);
        bind_job(&binder, record, id);
        n = binder_run(&binder);
        r = n > 0 ? write_retries(records, record) : 0;
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

static int write_oom(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_OOM] };
        char id[UUID_TEXT_SIZE];

        bind_job(&binder, record, id);
        return binder_run(&binder);
}

static int write_finished(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_FINISH] };
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
                int r = write_oom(records, record);

                if (r < 0)
                        return r;
        }
        return n;
}

static int write_cancel(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_CANCEL] };
        char id[UUID_TEXT_SIZE], updated_at[TIME_TEXT_MAX];

        bind_time(&binder, record_time(record), updated_at);
        bind_job(&binder, record, id);
        return binder_run(&binder);
}

/* What is here of it already is history, or moved away without the disk taking note. */
static int write_adopted(struct store_records *records, const struct record *record) {
        int r;

        r = move_writer_moved(records->moves, record);
        if (r >= 0)
                r = copy_writer_adopted(records->copies, record);
        if (r >= 0)
                r = write_accepted(records, record);
        if (r >= 0)
                r = move_writer_adopted(records->moves, record, records->last_sequence);
        return r >= 0 && record->cancel_requested ? write_cancel(records, record) : r;
}

static int write_peer(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_PEER] };
        const struct node_info *info = record->peer;
        const char *metadata = metadata_to_json(records, info);
        char heartbeat_at[TIME_TEXT_MAX], updated_at[TIME_TEXT_MAX];

        if (!metadata)
                return -ENOMEM;

        bind_text(&binder, info->node_id);
        bind_text(&binder, info->address);
        bind_text(&binder, node_status_to_text(info->status));
        bind_time(&binder, info->last_heartbeat_usec, heartbeat_at);
        bind_text(&binder, metadata);
        bind_text(&binder, info->version);
        bind_time(&binder, record_time(record), updated_at);
        return binder_run(&binder);
}

static int write_peer_gone(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_PEER_GONE] };

        bind_text(&binder, record->peer->node_id);
        return binder_run(&binder);
}

static int write_drain(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_DRAIN] };
        char since[TIME_TEXT_MAX], until[TIME_TEXT_MAX];

        bind_time(&binder, record_time(record), since);
        bind_time(&binder, record->until_usec == USEC_INFINITY ? 0 : record->until_usec, until);
        if (record->uid != (uid_t) -1)
                bind_u64(&binder, record->uid);
        else
                bind_null(&binder);
        return binder_run(&binder);
}

/* Returns the number of rows that changed. */
static int write_record(struct store_records *records, const struct record *record) {
        switch (record->type) {
        case RECORD_ACCEPTED:
                return write_accepted(records, record);
        case RECORD_ASSIGNED:
                return write_assigned(records, record);
        case RECORD_STARTED:
                return write_started(records, record);
        case RECORD_REQUEUED:
                return write_requeued(records, record);
        case RECORD_FINISHED:
                return write_finished(records, record);
        case RECORD_CANCEL:
                return write_cancel(records, record);
        case RECORD_ATTEMPT:
                return attempt_writer_write(records->attempts, record);
        case RECORD_PEER:
                return write_peer(records, record);
        case RECORD_PEER_GONE:
                return write_peer_gone(records, record);
        case RECORD_GUEST_TAKEN:
                return guest_writer_taken(records->guests, record);
        case RECORD_GUEST_ENDED:
                return guest_writer_ended(records->guests, record);
        case RECORD_GUEST_GONE:
                return guest_writer_gone(records->guests, record);
        case RECORD_ADOPTED:
                return write_adopted(records, record);
        case RECORD_MOVED:
                return move_writer_moved(records->moves, record);
        case RECORD_MERGED:
                return move_writer_merged(records->moves, record);
        case RECORD_COPY:
        case RECORD_COPY_ENDED:
        case RECORD_COPY_GONE:
        case RECORD_COPIES_SWEPT:
        case RECORD_COPIES_KEPT:
        case RECORD_COPIES_FORGOTTEN:
        case RECORD_HOLDER:
        case RECORD_HOLDER_GONE:
                return copy_writer_write(records->copies, record);
        case RECORD_DRAIN:
                return write_drain(records, record);
        case RECORD_RESUMED:
                return run_simple(records, STATEMENT_RESUMED);
        }
        return -EINVAL;
}

static int write_batch(
        struct store_records *records, const struct record_batch *batch,
        const struct finished_runs *finished, struct ended_counts *n_ended) {
        for (size_t i = 0; i < batch->n_records; i++) {
                struct record *record = &batch->records[i];
                int r;

                if (record->type == RECORD_STARTED && finished_runs_contain(finished, &record->run))
                        continue;
                r = write_record(records, record);
                if (r < 0)
                        return r;
                if (record->type == RECORD_FINISHED)
                        n_ended->jobs += (uint64_t) r;
                else if (record->type == RECORD_COPY_ENDED)
                        n_ended->copies += (uint64_t) r;
                if (record->type == RECORD_ATTEMPT)
                        record->changed = r > 0;
        }
        return 0;
}

/* One transaction around the batches from first up to, and without, end. */
static int commit_range(
        struct store_records *records, struct list_link *first, struct list_link *end,
        struct ended_counts *n_ended) {
        _cleanup_(finished_runs_done) struct finished_runs finished = {};
        struct ended_counts n = {};
        uint64_t last_sequence = records->last_sequence;
        bool committing = false;
        int r;

        finished_runs_collect(&finished, first, end);

        r = run_simple(records, STATEMENT_BEGIN);
        for (struct list_link *link = first; link != end && r >= 0; link = link->next)
                r = write_batch(records, CONTAINER_OF(link, struct record_batch, link), &finished, &n);
        if (r >= 0) {
                r = run_simple(records, STATEMENT_COMMIT);
                committing = true;
        }
        if (r < 0) {
                /* Some failures have ended the transaction already. */
                if (!sqlite3_get_autocommit(records->db))
                        (void) run_simple(records, STATEMENT_ROLLBACK);
                /* If it was the sync that failed, all of the transaction may stand in the log, and a later
                 * process would take it for committed. The next transaction begins at the same place of the
                 * log. */
                if (committing)
                        (void) store_records_touch(records);
                records->last_sequence = last_sequence;
                return r;
        }
        n_ended->jobs += n.jobs;
        n_ended->copies += n.copies;
        return 0;
}

/* Whether an error comes from what was to be written, and not from where. */
static bool is_fault_of_batch(int error) {
        return error == -EEXIST || error == -EINVAL || error == -EFBIG;
}

int store_records_commit(struct store_records *records, struct list *group, struct ended_counts *ret_ended) {
        struct record_batch *batch;
        int r;

        *ret_ended = (struct ended_counts){};
        r = commit_range(records, group->root.next, &group->root, ret_ended);
        LIST_FOREACH(group, batch, struct record_batch, link)
                batch->error = r;

        if (is_fault_of_batch(r)) {
                bool single = group->root.next == group->root.prev;

                r = 0;
                LIST_FOREACH(group, batch, struct record_batch, link) {
                        if (!single)
                                batch->error =
                                        commit_range(records, &batch->link, batch->link.next, ret_ended);
                        if (batch->error < 0 && !is_fault_of_batch(batch->error))
                                r = batch->error;
                }
        }

        if (records->json.allocated > JSON_KEPT_MAX)
                buffer_done(&records->json);
        return r;
}

size_t record_batch_size(const struct record_batch *batch) {
        size_t size = sizeof(*batch) + batch->n_allocated * sizeof(*batch->records);

        for (size_t i = 0; i < batch->n_records; i++) {
                const struct record *record = &batch->records[i];

                if (record->type == RECORD_ACCEPTED || record->type == RECORD_GUEST_TAKEN ||
                    record->type == RECORD_ADOPTED || record->type == RECORD_COPY)
                        size += sizeof(*record->spec) + strlen(record->spec->command) +
                                record->spec->stdin_size;
                if (record->result)
                        size += sizeof(*record->result) + record->result->stdout_output.size +
                                record->result->stderr_output.size;
        }
        return size;
}
