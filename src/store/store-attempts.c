/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-attempts.h"

#include <errno.h>
#include <limits.h>

#include "store/store-column.h"

#define ATTEMPT_MESSAGE_MAX (64u * 1024) /* bytes; what is written is one line */

/* A job without a duration has no end, or one that was decided without that of its last attempt. What is
 * known of an attempt only grows, and ends with its end. */
static const char insert_attempt[] =
        "INSERT INTO attempts (seq, epoch, attempt, node_id, started_at, finished_at, outcome, exit_code,"
        " signal, error_message)"
        " SELECT seq, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM jobs"
        " WHERE job_id = ?1 AND ((epoch, attempt) > (?2, ?3) OR"
        " ((epoch, attempt) = (?2, ?3) AND duration_usec IS NULL))"
        " ON CONFLICT (seq, epoch, attempt) DO UPDATE SET"
        " started_at = coalesce(excluded.started_at, started_at), finished_at = excluded.finished_at,"
        " exit_code = excluded.exit_code, signal = excluded.signal, error_message = excluded.error_message"
        " WHERE finished_at IS NULL AND excluded.finished_at IS NOT NULL";

/* The newest stay. */
static const char prune_attempts[] =
        "DELETE FROM attempts WHERE seq = (SELECT seq FROM jobs WHERE job_id = ?1) AND (epoch, attempt) <="
        " (SELECT epoch, attempt FROM attempts WHERE seq = (SELECT seq FROM jobs WHERE job_id = ?1)"
        " ORDER BY epoch DESC, attempt DESC LIMIT 1 OFFSET " MACRO_TEXT(ATTEMPTS_KEPT_MAX) ")";

struct attempt_writer {
        const char *node_id;
        sqlite3_stmt *insert, *prune;
};

int attempt_writer_new(sqlite3 *db, const char *node_id, struct attempt_writer **ret) {
        _cleanup_(attempt_writer_free_p) struct attempt_writer *writer = calloc(1, sizeof(*writer));
        int r;

        if (!writer)
                return -ENOMEM;
        writer->node_id = node_id;
        r = sqlite_prepare(db, insert_attempt, &writer->insert);
        if (r >= 0)
                r = sqlite_prepare(db, prune_attempts, &writer->prune);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(writer);
        return 0;
}

struct attempt_writer *attempt_writer_free(struct attempt_writer *writer) {
        if (!writer)
                return NULL;
        sqlite_finalize(writer->insert);
        sqlite_finalize(writer->prune);
        free(writer);
        return NULL;
}

static void bind_end(struct binder *binder, const struct job_result *result) {
        if (result && result->outcome == RUN_EXITED)
                bind_i64(binder, result->exit_code);
        else
                bind_null(binder);
        if (result && result->signal > 0)
                bind_i64(binder, result->signal);
        else
                bind_null(binder);
        bind_text(binder, result ? result->error_message : NULL);
}

int attempt_writer_write(struct attempt_writer *writer, const struct record *record) {
        struct binder insert = { .statement = writer->insert }, prune = { .statement = writer->prune };
        const struct job_result *result = record->result;
        char id[UUID_TEXT_SIZE], started_at[TIME_TEXT_MAX], finished_at[TIME_TEXT_MAX];
        int n, r;

        if (record->fate == ATTEMPT_NEVER_BEGAN || record->fate >= _ATTEMPT_FATE_MAX ||
            (record->fate == ATTEMPT_LATE && !result))
                return -EINVAL;
        bind_uuid(&insert, &record->run.job, id);
        bind_u64(&insert, record->run.epoch);
        bind_u64(&insert, record->run.attempt);
        bind_text(&insert, record->node ? record->node->text : writer->node_id);
        bind_time(&insert, record->started_at, started_at);
        bind_time(
                &insert,
                !result                   ? 0
                : result->finished_at > 0 ? result->finished_at
                                          : record->at_usec,
                finished_at);
        bind_text(&insert, attempt_fate_to_text(record->fate));
        bind_end(&insert, result);
        n = binder_run(&insert);
        if (n <= 0)
                return n;

        bind_uuid(&prune, &record->run.job, id);
        r = binder_run(&prune);
        return r < 0 ? r : n;
}

enum column {
        COLUMN_EPOCH,
        COLUMN_ATTEMPT,
        COLUMN_NODE,
        COLUMN_STARTED_AT,
        COLUMN_FINISHED_AT,
        COLUMN_OUTCOME,
        COLUMN_EXIT_CODE,
        COLUMN_SIGNAL,
        COLUMN_ERROR_MESSAGE,
        _COLUMN_MAX,
};

static const char *const column_names[_COLUMN_MAX] = {
        [COLUMN_EPOCH] = "attempts.epoch",
        [COLUMN_ATTEMPT] = "attempts.attempt",
        [COLUMN_NODE] = "attempts.node_id",
        [COLUMN_STARTED_AT] = "attempts.started_at",
        [COLUMN_FINISHED_AT] = "attempts.finished_at",
        [COLUMN_OUTCOME] = "attempts.outcome",
        [COLUMN_EXIT_CODE] = "attempts.exit_code",
        [COLUMN_SIGNAL] = "attempts.signal",
        [COLUMN_ERROR_MESSAGE] = "attempts.error_message",
};

static enum attempt_fate read_fate(struct row *row) {
        size_t size;
        const char *text = row_text(row, COLUMN_OUTCOME, 64, &size);
        int fate = text ? attempt_fate_from_text(text) : -EINVAL;

        if (fate <= ATTEMPT_NEVER_BEGAN) {
                row_fail(row, COLUMN_OUTCOME, -EBADMSG);
                return ATTEMPT_LATE;
        }
        return (enum attempt_fate) fate;
}

static void read_attempt(struct row *row, struct stored_attempt *ret) {
        *ret = (struct stored_attempt){
                .epoch = row_number(row, COLUMN_EPOCH, INT64_MAX),
                .attempt = (uint32_t) row_number(row, COLUMN_ATTEMPT, UINT32_MAX),
                .started_at = row_time(row, COLUMN_STARTED_AT),
                .finished_at = row_time(row, COLUMN_FINISHED_AT),
                .fate = read_fate(row),
                .has_exit_code = !row_is_null(row, COLUMN_EXIT_CODE),
                .exit_code = (int) row_number(row, COLUMN_EXIT_CODE, INT_MAX),
                .signal = (int) row_number(row, COLUMN_SIGNAL, INT_MAX),
        };
        row_node_id(row, COLUMN_NODE, ret->node_id);
        if (ret->node_id[0] == '\0')
                row_fail(row, COLUMN_NODE, -EBADMSG);
        ret->error_message = row_copy(row, COLUMN_ERROR_MESSAGE, ATTEMPT_MESSAGE_MAX);
}

static int add_attempt(struct stored_job *job, const struct stored_attempt *attempt) {
        struct stored_attempt *larger =
                reallocarray(job->attempts, job->n_attempts + 1, sizeof(*job->attempts));

        if (!larger)
                return -ENOMEM;
        job->attempts = larger;
        job->attempts[job->n_attempts++] = *attempt;
        return 0;
}

int store_attempts_read(sqlite3_stmt *statement, struct stored_job *job, const char **ret_broken) {
        _cleanup_sqlite_reset_ sqlite3_stmt *rows = statement;
        struct binder binder = { .statement = rows };
        int r;

        *ret_broken = NULL;
        bind_u64(&binder, job->sequence);
        if (binder.code != SQLITE_OK)
                return sqlite_error(sqlite3_db_handle(rows), binder.code);
        while ((r = sqlite_step(rows)) > 0) {
                struct row row = { .statement = rows };
                struct stored_attempt attempt;

                read_attempt(&row, &attempt);
                if (row.error == 0)
                        row.error = add_attempt(job, &attempt);
                if (row.error < 0)
                        free(attempt.error_message);
                if (row.error == -EBADMSG)
                        *ret_broken = column_names[row.where];
                else if (row.error < 0)
                        return row.error;
        }
        return r;
}

void stored_attempts_done(struct stored_job *job) {
        for (size_t i = 0; i < job->n_attempts; i++)
                free(job->attempts[i].error_message);
        free(job->attempts);
}

size_t stored_attempts_size(const struct stored_job *job) {
        size_t size = job->n_attempts * sizeof(*job->attempts);

        for (size_t i = 0; i < job->n_attempts; i++)
                size += job->attempts[i].error_message ? strlen(job->attempts[i].error_message) : 0;
        return size;
}
