/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-copy-writer.h"

#include <errno.h>

#include "mesh/job-link.h"
#include "store/store-link-blob.h"
#include "store/store-records.h"

#define WHERE_OWNERS " WHERE job_id = ? AND owner_node_id = ?"
#define OF_OWNER " FROM copies WHERE status IS NULL AND owner_node_id = ?"

enum statement {
        STATEMENT_KEEP,
        STATEMENT_CHANGE,
        STATEMENT_END,
        STATEMENT_GO,
        STATEMENT_GO_UNFINISHED,
        STATEMENT_GO_ANY,
        STATEMENT_SWEEP,
        STATEMENT_FORGET,
        STATEMENT_SWEPT,
        STATEMENT_NOT_SWEPT,
        STATEMENT_HOLDER,
        STATEMENT_HOLDER_GONE,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        [STATEMENT_KEEP] =
                "INSERT OR REPLACE INTO copies (term, epoch, run_epoch, attempt, executor_node_id,"
                " cancel_requested, retries_used, updated_at, job_id, owner_node_id, created_at, command,"
                " assignment) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?8, ?11, ?12)",
        [STATEMENT_CHANGE] =
                "UPDATE copies SET term = ?, epoch = ?, run_epoch = ?, attempt = ?, executor_node_id = ?,"
                " cancel_requested = ?, retries_used = ?, updated_at = ?, status = NULL, ending = "
                "NULL" WHERE_OWNERS,
        [STATEMENT_END] =
                "UPDATE copies SET term = ?, epoch = ?, run_epoch = ?, attempt = ?, executor_node_id = ?,"
                " cancel_requested = ?, retries_used = ?, updated_at = ?, status = ?, ending = "
                "?" WHERE_OWNERS,
        [STATEMENT_GO] = "DELETE FROM copies" WHERE_OWNERS,
        [STATEMENT_GO_UNFINISHED] = "DELETE FROM copies" WHERE_OWNERS " AND status IS NULL",
        [STATEMENT_GO_ANY] = "DELETE FROM copies WHERE job_id = ?",
        [STATEMENT_SWEEP] = "DELETE" OF_OWNER " AND term < ?",
        [STATEMENT_FORGET] = "DELETE" OF_OWNER " AND term <= ?",
        [STATEMENT_SWEPT] =
                "INSERT OR REPLACE INTO swept (owner_node_id, term, instance) VALUES (?1, ?2, ?3)",
        [STATEMENT_NOT_SWEPT] = "DELETE FROM swept WHERE owner_node_id = ? AND term <= ?",
        [STATEMENT_HOLDER] = "INSERT INTO holders (node_id, term) VALUES (?1, ?2)"
                             " ON CONFLICT (node_id) DO UPDATE SET term = ?2",
        [STATEMENT_HOLDER_GONE] = "DELETE FROM holders WHERE node_id = ? AND term <= ?",
};

struct copy_writer {
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct buffer frame;
};

int copy_writer_new(sqlite3 *db, struct copy_writer **ret) {
        _cleanup_(copy_writer_free_p) struct copy_writer *writer = calloc(1, sizeof(*writer));
        int r;

        if (!writer)
                return -ENOMEM;
        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, writer->statements);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(writer);
        return 0;
}

struct copy_writer *copy_writer_free(struct copy_writer *writer) {
        if (!writer)
                return NULL;
        sqlite_finalize_all(writer->statements, _STATEMENT_MAX);
        buffer_done(&writer->frame);
        free(writer);
        return NULL;
}

/* What the statements that write a row begin with, and the texts that they borrow. */
struct state_texts {
        char now[TIME_TEXT_MAX], id[UUID_TEXT_SIZE];
};

static void bind_state(struct binder *binder, const struct record *record, struct state_texts *texts) {
        bind_u64(binder, record->term);
        bind_u64(binder, record->epoch);
        bind_u64(binder, record->run.epoch);
        bind_u64(binder, record->run.attempt);
        bind_text(binder, record->node ? record->node->text : NULL);
        bind_i64(binder, record->cancel_requested);
        bind_u64(binder, record->retries_used);
        bind_time(binder, record_time(record), texts->now);
}

static void bind_job(struct binder *binder, const struct record *record, struct state_texts *texts) {
        bind_uuid(binder, &record->run.job, texts->id);
        bind_text(binder, record->owner->text);
}

static int keep(struct copy_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_KEEP] };
        struct link_assignment assignment = { .run = record->run };
        const struct link_message message = { .n_assignments = 1, .assignments = &assignment };
        struct state_texts texts;
        int r;

        job_spec_to_link(record->spec, &assignment.job);
        r = link_blob_encode(&message, &writer->frame);
        if (r < 0)
                return r;
        bind_state(&binder, record, &texts);
        bind_job(&binder, record, &texts);
        bind_text(&binder, record->spec->command);
        bind_link_blob(&binder, &writer->frame);
        r = binder_run(&binder);
        link_blob_trim(&writer->frame);
        return r;
}

/* A job does not change: of one that is here already only its state is written. */
static int write_copy(struct copy_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_CHANGE] };
        struct state_texts texts;
        int n;

        if (!record->spec)
                return -EINVAL;
        bind_state(&binder, record, &texts);
        bind_job(&binder, record, &texts);
        n = binder_run(&binder);
        return n == 0 ? keep(writer, record) : n;
}

static int end(struct copy_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_END] };
        struct link_ended ended;
        const struct link_message message = { .n_ended = 1, .ended = &ended };
        struct state_texts texts;
        int r;

        bind_state(&binder, record, &texts);
        bind_text(&binder, job_status_to_text(record->status));
        if (record->result) {
                job_result_to_link(record->result, &ended);
                r = link_blob_encode(&message, &writer->frame);
                if (r < 0)
                        return r;
                bind_link_blob(&binder, &writer->frame);
        } else
                bind_null(&binder);
        bind_job(&binder, record, &texts);
        r = binder_run(&binder);
        link_blob_trim(&writer->frame);
        return r;
}

static int write_ended(struct copy_writer *writer, const struct record *record) {
        int n;

        if (!record->spec || !job_status_is_final(record->status))
                return -EINVAL;
        n = end(writer, record);
        if (n != 0)
                return n;
        /* It has another owner here, or a foreign hand took the row away. */
        n = keep(writer, record);
        return n < 0 ? n : end(writer, record);
}

/* Who says once more that the job has ended does not mean that its end is to be forgotten. */
static int write_gone(struct copy_writer *writer, const struct record *record) {
        enum statement statement =
                job_status_is_final(record->status) ? STATEMENT_GO_UNFINISHED : STATEMENT_GO;
        struct binder binder = { .statement = writer->statements[statement] };
        struct state_texts texts;

        bind_job(&binder, record, &texts);
        return binder_run(&binder);
}

static int
write_term(struct copy_writer *writer, enum statement statement, const char *node, uint64_t term) {
        struct binder binder = { .statement = writer->statements[statement] };

        bind_text(&binder, node);
        bind_u64(&binder, term);
        return binder_run(&binder);
}

static int write_swept(struct copy_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_SWEPT] };
        int r;

        r = write_term(writer, STATEMENT_SWEEP, record->owner->text, record->term);
        if (r < 0)
                return r;
        bind_text(&binder, record->owner->text);
        bind_u64(&binder, record->term);
        bind_i64(&binder, (int64_t) record->number);
        return binder_run(&binder);
}

static int write_forgotten(struct copy_writer *writer, const struct record *record) {
        int r;

        r = write_term(writer, STATEMENT_FORGET, record->owner->text, record->term);
        return r < 0 || record->taken_over
                       ? r
                       : write_term(writer, STATEMENT_NOT_SWEPT, record->owner->text, record->term);
}

static int write_of_owner(struct copy_writer *writer, const struct record *record) {
        if (!record->owner)
                return -EINVAL;
        if (record->type == RECORD_COPY)
                return write_copy(writer, record);
        if (record->type == RECORD_COPY_ENDED)
                return write_ended(writer, record);
        if (record->type == RECORD_COPY_GONE)
                return write_gone(writer, record);
        if (record->type == RECORD_COPIES_SWEPT)
                return write_swept(writer, record);
        if (record->type == RECORD_COPIES_FORGOTTEN)
                return write_forgotten(writer, record);
        return -EINVAL;
}

int copy_writer_write(struct copy_writer *writer, const struct record *record) {
        bool held = record->type == RECORD_HOLDER;

        /* It only waits for those before it. */
        if (record->type == RECORD_COPIES_KEPT)
                return 0;
        if (!held && record->type != RECORD_HOLDER_GONE)
                return write_of_owner(writer, record);
        if (!record->node)
                return -EINVAL;
        return write_term(
                writer, held ? STATEMENT_HOLDER : STATEMENT_HOLDER_GONE, record->node->text, record->term);
}

int copy_writer_adopted(struct copy_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_GO_ANY] };
        char id[UUID_TEXT_SIZE];

        bind_uuid(&binder, &record->run.job, id);
        return binder_run(&binder);
}
