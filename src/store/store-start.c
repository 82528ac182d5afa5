/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-start.h"

#include <errno.h>

#include "store/store-column.h"
#include "store/store-damaged-rows.h"
#include "store/store-guests.h"
#include "store/store-records.h"
#include "store/store-row.h"
#include "store/store-schema.h"
#include "util/array.h"
#include "util/log.h"
#include "util/message-ids.h"

/* Both halves come in order from the index, and are merged without sorting. */
#define UNFINISHED_SEQUENCES                                             \
        "SELECT seq FROM jobs WHERE status = 'JOB_PENDING' AND seq > ?1" \
        " UNION ALL SELECT seq FROM jobs WHERE status = 'JOB_RUNNING' AND seq > ?1 ORDER BY seq"

static void unfinished_jobs_done(struct unfinished_jobs *jobs) {
        for (size_t i = 0; i < jobs->n; i++)
                job_spec_unref(jobs->jobs[i].spec);
        free(jobs->jobs);
        *jobs = (struct unfinished_jobs){};
}

void store_found_done(struct store_found *found) {
        unfinished_jobs_done(&found->jobs);
        store_guests_done(&found->guests);
        store_copies_done(&found->copies);
        found->drained = false;
}

/* Takes the job, also when it fails. */
static int jobs_add(struct unfinished_jobs *jobs, struct store_unfinished *job) {
        int r = ARRAY_RESERVE(jobs->jobs, jobs->n + 1, jobs->n_allocated, 64);

        if (r < 0)
                job_spec_unref(job->spec);
        else
                jobs->jobs[jobs->n++] = *job;
        return r;
}

static int collect_one(
        sqlite3_stmt *statement, int64_t sequence, struct unfinished_jobs *jobs,
        struct damaged_rows *damaged) {
        _cleanup_sqlite_reset_ sqlite3_stmt *row = statement;
        struct binder binder = { .statement = row };
        struct store_unfinished job;
        const char *what;
        int r;

        bind_i64(&binder, ROW_OUTPUT_NONE);
        bind_i64(&binder, sequence);
        if (binder.code != SQLITE_OK)
                return sqlite_error(sqlite3_db_handle(row), binder.code);
        r = sqlite_step(row);
        if (r < 0)
                return r;
        /* The index has a job that the table has not. */
        if (r == 0)
                return -EUCLEAN;

        r = store_row_read_unfinished(row, &job, &what);
        if (r == -EBADMSG)
                return damaged_rows_add(damaged, sequence, what);
        return r < 0 ? r : jobs_add(jobs, &job);
}

#define ROW_OF(tables, epoch) "SELECT " ROW_COLUMNS ", stdin, " epoch " FROM " tables " WHERE seq = ?2"
#define ROW_NOW ROW_OF(ROW_TABLES, "(SELECT epoch FROM takeovers WHERE takeovers.seq = ?2)")

/* Reads the jobs whose numbers the query yields, as far as the file can be read; what was found until then
 * stays in jobs. after: parameter ?1 of the query; becomes the last number. row_query: ROW_OF(). */
static int
collect(sqlite3 *db, const char *query, const char *row_query, int64_t *after, struct unfinished_jobs *jobs,
        struct damaged_rows *damaged) {
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *sequences = NULL, *row = NULL;
        struct binder binder;
        int r;

        r = sqlite_prepare(db, query, &sequences);
        if (r < 0)
                return r;
        r = sqlite_prepare(db, row_query, &row);
        if (r < 0)
                return r;

        binder = (struct binder){ .statement = sequences };
        bind_i64(&binder, *after);
        if (binder.code != SQLITE_OK)
                return sqlite_error(db, binder.code);
        while ((r = sqlite_step(sequences)) > 0) {
                int64_t sequence = sqlite3_column_int64(sequences, 0);

                r = collect_one(row, sequence, jobs, damaged);
                if (r < 0)
                        return r;
                *after = sequence;
        }
        return r;
}

static int add_record(
        struct record_batch *batch, enum record_type type, const struct store_unfinished *job,
        usec_t at_usec) {
        struct record *record = record_batch_add(batch, type);

        if (!record)
                return -ENOMEM;
        record->spec = job_spec_ref(job->spec);
        record->run = job->run;
        record->executor = job->executor;
        record->at_usec = at_usec;
        record->retries_used = job->retries_used;
        record->epoch = job->epoch;
        return job->executor_node_id[0] != '\0' ? node_name_new(job->executor_node_id, &record->node) : 0;
}

/* What would have led to the job as it is. */
static int describe(const struct store_unfinished *job, struct record_batch **ret) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        int r;

        r = record_batch_new(3, &batch);
        if (r < 0)
                return r;
        r = add_record(batch, job->epoch > 1 ? RECORD_ADOPTED : RECORD_ACCEPTED, job, job->spec->created_at);
        if (r >= 0 && job->status == JOB_RUNNING)
                r = add_record(batch, RECORD_STARTED, job, job->started_at);
        if (r >= 0 && job->cancel_requested)
                r = add_record(batch, RECORD_CANCEL, job, 0);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(batch);
        return 0;
}

static int describe_drain(const struct store_found *found, struct list *batches) {
        struct record_batch *batch;
        struct record *record;
        int r;

        if (!found->drained)
                return 0;
        r = record_batch_new(1, &batch);
        if (r < 0)
                return r;
        list_append(batches, &batch->link);
        record = record_batch_add(batch, RECORD_DRAIN); /* there is room for one */
        record->at_usec = found->drain.since;
        record->until_usec = found->drain.until;
        record->uid = found->drain.uid;
        return 0;
}

static void drop_batches(struct list *list) {
        struct record_batch *batch;

        LIST_FOREACH(list, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
}

/* A job that is there twice, since the damaged file said so, is written once. */
static int write_found(sqlite3 *db, const char *node_id, const struct store_found *found) {
        _cleanup_(store_records_free_p) struct store_records *records = NULL;
        struct ended_counts n_ended;
        struct list group;
        int r;

        r = store_records_new(db, node_id, &records);
        if (r < 0)
                return r;

        list_init(&group);
        for (size_t i = 0; i < found->jobs.n && r >= 0; i++) {
                struct record_batch *batch;

                r = describe(&found->jobs.jobs[i], &batch);
                if (r >= 0)
                        list_append(&group, &batch->link);
        }
        for (size_t i = 0; i < found->guests.n && r >= 0; i++) {
                struct record_batch *batch;

                r = store_guest_describe(&found->guests.guests[i], &batch);
                if (r >= 0)
                        list_append(&group, &batch->link);
        }
        if (r >= 0)
                r = store_copies_describe(&found->copies, &group);
        if (r >= 0)
                r = describe_drain(found, &group);
        if (r >= 0 && !list_is_empty(&group))
                r = store_records_commit(records, &group, &n_ended);
        drop_batches(&group);
        return r;
}

static int append_reversed(struct unfinished_jobs *jobs, struct unfinished_jobs *tail) {
        int r = 0;

        while (tail->n > 0 && r >= 0)
                r = jobs_add(jobs, &tail->jobs[--tail->n]);
        return r;
}

static bool may_have_table(sqlite3 *db, const char *count) {
        uint64_t n;

        return sqlite_query_u64(db, count, &n) < 0 || n > 0;
}

/* It may be damaged before it was brought to the present version. */
static const char *row_query_of(sqlite3 *db) {
        if (!may_have_table(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'job_limits'"))
                return ROW_OF(ROW_TABLES_1, "NULL");
        if (!may_have_table(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'job_options'"))
                return ROW_OF(ROW_TABLES_2, "NULL");
        return ROW_NOW;
}

/* From both ends up to the damage, without the help of any index. */
static int salvage_jobs(sqlite3 *db, struct unfinished_jobs *jobs) {
        _cleanup_(unfinished_jobs_done) struct unfinished_jobs tail = {};
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {}; /* stay in the old file */
        const char *row_query = row_query_of(db);
        int64_t last = 0;
        int r;

        r = collect(
                db, "SELECT seq FROM jobs NOT INDEXED WHERE finished_at IS NULL AND seq > ?1 ORDER BY seq",
                row_query, &last, jobs, &damaged);
        if (r >= 0 || r == -ENOMEM)
                return r;
        r = collect(
                db,
                "SELECT seq FROM jobs NOT INDEXED WHERE finished_at IS NULL AND seq > ?1 ORDER BY seq DESC",
                row_query, &last, &tail, &damaged);
        return r == -ENOMEM ? r : append_reversed(jobs, &tail);
}

/* What cannot be understood still says that the node is drained: that is the safe side. */
static int read_drain(sqlite3 *db, struct store_found *found) {
        enum { SINCE, UNTIL, UID };
        _cleanup_(sqlite_finalize_p) sqlite3_stmt *statement = NULL;
        struct row row;
        uint64_t uid;
        int r;

        r = sqlite_prepare(db, "SELECT since, until, uid FROM drain LIMIT 1", &statement);
        if (r < 0)
                return r;
        r = sqlite_step(statement);
        if (r <= 0)
                return r;
        row = (struct row){ .statement = statement };
        uid = row_is_null(&row, UID) ? (uid_t) -1 : row_number(&row, UID, (uid_t) -1);
        found->drain = (struct store_drain){
                .since = row_time(&row, SINCE),
                .until = row_is_null(&row, UNTIL) ? USEC_INFINITY : row_time(&row, UNTIL),
                .uid = (uid_t) uid,
        };
        found->drained = true;
        if (row.error == -ENOMEM)
                return row.error;
        if (row.error < 0 || found->drain.since == 0) {
                log_warning("Who drained this node, and for how long, cannot be read; it stays drained.");
                found->drain = (struct store_drain){ .since = now_usec(CLOCK_REALTIME),
                                                     .until = USEC_INFINITY,
                                                     .uid = (uid_t) -1 };
        }
        return 0;
}

/* What can be read of a damaged file. */
static int salvage(const char *path, struct store_found *found) {
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        int r;

        r = store_schema_open_reader(path, &db);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        /* Then a file that was cut off is read as far as it goes. */
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
        (void) sqlite_execute(db, "PRAGMA writable_schema = ON");

        r = salvage_jobs(db, &found->jobs);
        if (r != -ENOMEM)
                r = store_guests_salvage(db, &found->guests);
        if (r != -ENOMEM)
                r = store_copies_salvage(db, &found->copies);
        if (r != -ENOMEM)
                r = read_drain(db, found);
        return r == -ENOMEM ? r : 0;
}

/* Without the columns that cannot be read: nobody could run, cancel or wait for such a job. */
#define END_DAMAGED                                                                 \
        "UPDATE jobs SET status = 'JOB_FAILED', finished_at = ?1, updated_at = ?1," \
        " error_message = 'its record in the database is damaged' WHERE seq = ?2"

/* -EUCLEAN: the file does not even take that. Where the disk does not, the next start tries again: that is
 * no reason to give up the history. */
static int end_damaged(sqlite3 *db, const char *path, const struct damaged_rows *damaged) {
        int r;

        if (damaged->n == 0)
                return 0;
        r = damaged_rows_apply(damaged, db, END_DAMAGED);
        if (r == -EUCLEAN || r == -ENOMEM)
                return r;

        log_warning_errno(
                r,
                r < 0 ? "%zu unfinished jobs in %s cannot be read (the first: row %" PRIi64
                        ", column %s), and cannot be ended now, ignoring: %m"
                      : "%zu unfinished jobs in %s cannot be read (the first: row %" PRIi64
                        ", column %s); they end as failed.",
                damaged->n, path, damaged->sequences[0], damaged->column);
        return 0;
}

static int read_all(sqlite3 *db, const char *path, struct store_found *found) {
        _cleanup_(damaged_rows_done) struct damaged_rows damaged = {};
        int64_t last = 0;
        int r;

        r = collect(db, UNFINISHED_SEQUENCES, ROW_NOW, &last, &found->jobs, &damaged);
        if (r >= 0)
                r = end_damaged(db, path, &damaged);
        if (r >= 0)
                r = store_guests_read(db, path, &found->guests);
        if (r >= 0)
                r = store_copies_read(db, path, &found->copies);
        return r < 0 ? r : read_drain(db, found);
}

static int open_sound(const char *path, sqlite3 **ret_db, struct store_found *found) {
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        int r;

        if (store_schema_is_marked_damaged(path))
                return -EUCLEAN;
        r = store_schema_open(path, &db);
        if (r >= 0)
                r = read_all(db, path, found);
        if (r < 0)
                return r;
        *ret_db = TAKE_PTR(db);
        return 0;
}

/* What is found is what is in the new file. */
static int make_anew(const char *path, const char *node_id, sqlite3 **ret_db, struct store_found *found) {
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        int r;

        r = store_schema_open(path, &db);
        if (r >= 0)
                r = write_found(db, node_id, found);
        if (r < 0)
                return r;
        store_found_done(found);
        r = read_all(db, path, found);
        if (r < 0)
                return r;
        *ret_db = TAKE_PTR(db);
        return 0;
}

static int open_anew(const char *path, const char *node_id, sqlite3 **ret_db, struct store_found *found) {
        _cleanup_free_ char *aside = NULL;
        int r;

        r = store_schema_set_aside(path, &aside);
        if (r < 0)
                return log_error_errno(
                        r, "The job database %s is damaged and cannot be set aside: %m", path);

        r = make_anew(path, node_id, ret_db, found);
        if (r < 0)
                return log_error_errno(
                        r,
                        "The job database %s was damaged and set aside as %s; making a new one failed: %m",
                        path, aside);

        log_event(
                LOG_ERR, MESSAGE_DATABASE_DAMAGED,
                "The job database %s is damaged. It was set aside as %s, and a new one was made with what "
                "could be read: %zu unfinished jobs of this node, %zu of others, and copies of %zu; the "
                "history "
                "is in the old file only.",
                path, aside, found->jobs.n, found->guests.n, found->copies.n);
        return 0;
}

static int find(const char *path, const char *node_id, sqlite3 **ret_db, struct store_found *found) {
        int r;

        r = open_sound(path, ret_db, found);
        if (r != -EUCLEAN)
                return r;
        store_found_done(found);
        r = salvage(path, found);
        return r < 0 ? r : open_anew(path, node_id, ret_db, found);
}

int store_start(const char *path, const char *node_id, sqlite3 **ret_db, struct store_found *ret) {
        struct store_found found = {};
        sqlite3 *db = NULL;
        int r;

        r = find(path, node_id, &db, &found);
        if (r < 0) {
                store_found_done(&found);
                return r;
        }

        store_schema_accept(db);
        *ret_db = db;
        *ret = found;
        return 0;
}
