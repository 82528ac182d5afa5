/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-move-writer.h"

#include <errno.h>

#include "store/store-job-rows.h"
#include "store/store-records.h"

/* Characters of an earlier message that stay, so that both fit where messages are read. */
#define MESSAGE_KEPT 4000

enum statement {
        STATEMENT_ADOPT,
        STATEMENT_MERGE,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        [STATEMENT_ADOPT] = "INSERT INTO takeovers (seq, epoch, from_node_id) VALUES (?, ?, ?)",
        [STATEMENT_MERGE] =
                "UPDATE jobs SET status = ?1, updated_at = ?2, epoch = max(epoch, ?4), error_message ="
                " coalesce(substr(error_message, 1, " MACRO_TEXT(
                        MESSAGE_KEPT) ") || '; ', '')"
                                      " || 'after a split of the mesh: it ended here as ' || status ||"
                                      " ', and on another node as ' || ?1 || ', which counts'"
                                      " WHERE job_id = ?3 AND finished_at NOTNULL",
};

struct move_writer {
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct job_rows *rows;
};

int move_writer_new(sqlite3 *db, struct move_writer **ret) {
        _cleanup_(move_writer_free_p) struct move_writer *writer = calloc(1, sizeof(*writer));
        int r;

        if (!writer)
                return -ENOMEM;
        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, writer->statements);
        if (r < 0)
                return r;
        r = job_rows_new(db, &writer->rows);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(writer);
        return 0;
}

struct move_writer *move_writer_free(struct move_writer *writer) {
        if (!writer)
                return NULL;
        sqlite_finalize_all(writer->statements, _STATEMENT_MAX);
        job_rows_free(writer->rows);
        free(writer);
        return NULL;
}

int move_writer_moved(struct move_writer *writer, const struct record *record) {
        return job_rows_delete_job(writer->rows, &record->run.job);
}

int move_writer_adopted(struct move_writer *writer, const struct record *record, uint64_t sequence) {
        struct binder binder = { .statement = writer->statements[STATEMENT_ADOPT] };

        bind_u64(&binder, sequence);
        bind_u64(&binder, record->epoch);
        bind_text(&binder, record->owner ? record->owner->text : NULL);
        return binder_run(&binder);
}

int move_writer_merged(struct move_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_MERGE] };
        char id[UUID_TEXT_SIZE], now[TIME_TEXT_MAX];

        if (!job_status_is_final(record->status))
                return -EINVAL;
        bind_text(&binder, job_status_to_text(record->status));
        bind_time(&binder, record_time(record), now);
        bind_uuid(&binder, &record->run.job, id);
        bind_u64(&binder, record->run.epoch);
        return binder_run(&binder);
}
