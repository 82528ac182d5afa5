/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-guest-writer.h"

#include <errno.h>

#include "mesh/job-link.h"
#include "store/store-link-blob.h"
#include "store/store-records.h"

#define WHERE_RUN " WHERE job_id = ? AND owner_node_id = ? AND epoch = ? AND attempt = ?"

enum statement {
        STATEMENT_TAKE,
        STATEMENT_MOVE,
        STATEMENT_END,
        STATEMENT_GO,
        _STATEMENT_MAX,
};

static const char *const statement_text[_STATEMENT_MAX] = {
        [STATEMENT_TAKE] = "INSERT OR REPLACE INTO guests (job_id, owner_node_id, epoch, attempt,"
                           " executor_instance, created_at, updated_at, command, assignment)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
        [STATEMENT_MOVE] = "UPDATE guests SET executor_instance = ?, updated_at = ?" WHERE_RUN,
        [STATEMENT_END] = "UPDATE guests SET ending = ?, stdout = ?, stderr = ?, updated_at = ?" WHERE_RUN,
        [STATEMENT_GO] = "DELETE FROM guests" WHERE_RUN,
};

struct guest_writer {
        sqlite3_stmt *statements[_STATEMENT_MAX];
        struct buffer frame;
};

int guest_writer_new(sqlite3 *db, struct guest_writer **ret) {
        _cleanup_(guest_writer_free_p) struct guest_writer *writer = calloc(1, sizeof(*writer));
        int r;

        if (!writer)
                return -ENOMEM;
        r = sqlite_prepare_all(db, statement_text, _STATEMENT_MAX, writer->statements);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(writer);
        return 0;
}

struct guest_writer *guest_writer_free(struct guest_writer *writer) {
        if (!writer)
                return NULL;
        sqlite_finalize_all(writer->statements, _STATEMENT_MAX);
        buffer_done(&writer->frame);
        free(writer);
        return NULL;
}

static void bind_run(struct binder *binder, const struct record *record, char id[static UUID_TEXT_SIZE]) {
        bind_uuid(binder, &record->run.job, id);
        bind_text(binder, record->node->text);
        bind_u64(binder, record->run.epoch);
        bind_u64(binder, record->run.attempt);
}

static int finish(struct guest_writer *writer, struct binder *binder) {
        int r = binder_run(binder);

        link_blob_trim(&writer->frame);
        return r;
}

static int take(struct guest_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_TAKE] };
        struct link_assignment assignment = { .run = record->run };
        const struct link_message message = { .n_assignments = 1, .assignments = &assignment };
        char id[UUID_TEXT_SIZE], executor[UUID_TEXT_SIZE], now[TIME_TEXT_MAX];
        int r;

        job_spec_to_link(record->spec, &assignment.job);
        r = link_blob_encode(&message, &writer->frame);
        if (r < 0)
                return r;
        bind_run(&binder, record, id);
        bind_uuid(&binder, &record->executor, executor);
        bind_time(&binder, record_time(record), now);
        bind_text(&binder, record->spec->command);
        bind_link_blob(&binder, &writer->frame);
        return finish(writer, &binder);
}

int guest_writer_taken(struct guest_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_MOVE] };
        char id[UUID_TEXT_SIZE], executor[UUID_TEXT_SIZE], now[TIME_TEXT_MAX];
        int n;

        if (!record->node || !record->spec)
                return -EINVAL;
        bind_uuid(&binder, &record->executor, executor);
        bind_time(&binder, record_time(record), now);
        bind_run(&binder, record, id);
        n = binder_run(&binder);
        return n == 0 ? take(writer, record) : n;
}

static int end(struct guest_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_END] };
        const struct job_result *result = record->result;
        struct link_ended ended;
        const struct link_message message = { .n_ended = 1, .ended = &ended };
        char id[UUID_TEXT_SIZE], now[TIME_TEXT_MAX];
        int r;

        /* The outputs, whole, have columns of their own. */
        job_result_to_link(result, &ended);
        ended.stdout_output.data_size = ended.stderr_output.data_size = 0;
        r = link_blob_encode(&message, &writer->frame);
        if (r < 0)
                return r;
        bind_link_blob(&binder, &writer->frame);
        bind_bytes(&binder, result->stdout_output.data, result->stdout_output.size);
        bind_bytes(&binder, result->stderr_output.data, result->stderr_output.size);
        bind_time(&binder, record_time(record), now);
        bind_run(&binder, record, id);
        return finish(writer, &binder);
}

int guest_writer_ended(struct guest_writer *writer, const struct record *record) {
        int n;

        if (!record->node || !record->spec || !record->result)
                return -EINVAL;
        n = end(writer, record);
        if (n != 0)
                return n;
        /* A foreign hand took the row away. The end must not be lost for that. */
        n = take(writer, record);
        return n < 0 ? n : end(writer, record);
}

int guest_writer_gone(struct guest_writer *writer, const struct record *record) {
        struct binder binder = { .statement = writer->statements[STATEMENT_GO] };
        char id[UUID_TEXT_SIZE];

        if (!record->node)
                return -EINVAL;
        bind_run(&binder, record, id);
        return binder_run(&binder);
}
