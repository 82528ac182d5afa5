/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-records.h"

#include <errno.h>

#include "store/store-attempts.h"
#include "store/store-copy-writer.h"
#include "store/store-guest-writer.h"
#include "store/store-job-writer.h"
#include "store/store-json.h"
#include "store/store-move-writer.h"
#include "store/store-runs.h"
#include "store/store-schema.h"

enum statement {
        STATEMENT_BEGIN,
        STATEMENT_COMMIT,
        STATEMENT_ROLLBACK,
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
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct job_writer *jobs;
        struct guest_writer *guests;
        struct attempt_writer *attempts;
        struct copy_writer *copies;
        struct move_writer *moves;
};

int store_records_new(sqlite3 *db, const char *node_id, struct store_records **ret) {
        _cleanup_(store_records_free_p) struct store_records *records = calloc(1, sizeof(*records));
        int r;

        if (!records)
                return -ENOMEM;
        records->db = db;

        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, records->statements);
        if (r < 0)
                return r;
        r = job_writer_new(db, node_id, &records->jobs);
        if (r >= 0)
                r = guest_writer_new(db, &records->guests);
        if (r >= 0)
                r = attempt_writer_new(db, node_id, &records->attempts);
        if (r >= 0)
                r = copy_writer_new(db, &records->copies);
        if (r >= 0)
                r = move_writer_new(db, &records->moves);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(records);
        return 0;
}

struct store_records *store_records_free(struct store_records *records) {
        if (!records)
                return NULL;
        sqlite_finalize_all(records->statements, _STATEMENT_MAX);
        job_writer_free(records->jobs);
        guest_writer_free(records->guests);
        attempt_writer_free(records->attempts);
        copy_writer_free(records->copies);
        move_writer_free(records->moves);
        free(records);
        return NULL;
}

uint64_t store_records_last_sequence(const struct store_records *records) {
        return job_writer_last_sequence(records->jobs);
}

static int run_simple(struct store_records *records, enum statement statement) {
        /* How many rows changed says nothing here: SQLite tells it of the last statement that changed any.
         */
        return MIN(binder_run(&(struct binder){ .statement = records->statements[statement] }), 0);
}

int store_records_touch(struct store_records *records) {
        return run_simple(records, STATEMENT_TOUCH);
}

usec_t record_time(const struct record *record) {
        return record->at_usec > 0 ? record->at_usec : now_usec(CLOCK_REALTIME);
}

/* What is here of it already is history, or moved away without the disk taking note. */
static int write_adopted(struct store_records *records, const struct record *record) {
        int r;

        r = move_writer_moved(records->moves, record);
        if (r >= 0)
                r = copy_writer_adopted(records->copies, record);
        if (r >= 0)
                r = job_writer_accepted(records->jobs, record);
        if (r >= 0)
                r = move_writer_adopted(records->moves, record, job_writer_last_sequence(records->jobs));
        return r >= 0 && record->cancel_requested ? job_writer_cancel(records->jobs, record) : r;
}

static int write_peer(struct store_records *records, const struct record *record) {
        struct binder binder = { .statement = records->statements[STATEMENT_PEER] };
        const struct node_info *info = record->peer;
        char heartbeat_at[TIME_TEXT_MAX], updated_at[TIME_TEXT_MAX];
        _cleanup_buffer_ struct buffer metadata = {};

        if (json_write_metadata(&metadata, info->metadata, info->n_metadata) < 0)
                return -ENOMEM;

        bind_text(&binder, info->node_id);
        bind_text(&binder, info->address);
        bind_text(&binder, node_status_to_text(info->status));
        bind_time(&binder, info->last_heartbeat_usec, heartbeat_at);
        bind_text(&binder, metadata.data);
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
                return job_writer_accepted(records->jobs, record);
        case RECORD_ASSIGNED:
                return job_writer_assigned(records->jobs, record);
        case RECORD_STARTED:
                return job_writer_started(records->jobs, record);
        case RECORD_REQUEUED:
                return job_writer_requeued(records->jobs, record);
        case RECORD_FINISHED:
                return job_writer_finished(records->jobs, record);
        case RECORD_CANCEL:
                return job_writer_cancel(records->jobs, record);
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
        uint64_t last_sequence = job_writer_last_sequence(records->jobs);
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
                job_writer_rolled_back(records->jobs, last_sequence);
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

        job_writer_trim(records->jobs);
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
