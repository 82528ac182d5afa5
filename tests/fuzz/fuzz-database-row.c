/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A row of the job database that somebody else wrote. The input changes a good row, one column after the
 * other: a byte for the column, one for the type of the value, two for its length (least significant byte
 * first), and its bytes. The columns are numbered as in the table below. */

#include "lib/tests.h"
#include "store/store-row.h"
#include "wire/job-limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Name, and a good value. */
static const char *const columns[][2] = {
        { "seq", "1" },
        { "job_id", "'00000001-0000-4000-8000-000000000001'" },
        { "status", "'JOB_COMPLETED'" },
        { "exit_code", "0" },
        { "signal", "NULL" },
        { "created_at", "'2026-01-01T00:00:00.000001Z'" },
        { "started_at", "'2026-01-01T00:00:00.000002Z'" },
        { "finished_at", "'2026-01-01T00:00:00.000003Z'" },
        { "updated_at", "'2026-01-01T00:00:00.000003Z'" },
        { "duration_usec", "1" },
        { "timeout_seconds", "300" },
        { "epoch", "1" },
        { "attempt", "1" },
        { "cancel_requested", "0" },
        { "target_node_id", "'node-0123456789abcdef'" },
        { "created_by_node", "'node-0123456789abcdef'" },
        { "executor_node_id", "'node-0123456789abcdef'" },
        { "executor_instance", "'00000002-0000-4000-8000-000000000002'" },
        { "submitter", "'uid:1000'" },
        { "submitter_uid", "1000" },
        { "digest", "zeroblob(32)" },
        { "stdin_size", "2" },
        { "stdout_size", "3" },
        { "stderr_size", "3" },
        { "stdout_total", "3" },
        { "stderr_total", "3" },
        { "stdout_truncated", "0" },
        { "stderr_truncated", "0" },
        { "error_message", "'message'" },
        { "cwd", "'/srv'" },
        { "command", "'true'" },
        { "env", "'{\"NAME\":\"value\"}'" },
        { "stderr", "'err'" },
        { "stdout", "'out'" },
        { "stdin", "'in'" },
        { "memory_max", "1048576" },
        { "cpu_weight", "100" },
        { "cpu_quota", "50" },
        { "tasks_max", "10" },
        { "best_effort", "0" },
        { "oom_killed", "0" },
};

enum value_type {
        VALUE_NULL,
        VALUE_INTEGER, /* of up to eight bytes, least significant first */
        VALUE_REAL,
        VALUE_TEXT,
        VALUE_BLOB,
        _VALUE_TYPE_MAX,
};

struct change {
        size_t column;
        enum value_type type;
        const uint8_t *data;
        size_t size;
};

static void execute(sqlite3 *db, const char *sql) {
        ASSERT_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void append(char *text, size_t size, const char *piece) {
        size_t used = strlen(text);

        ASSERT_LT((size_t) snprintf(text + used, size - used, "%s", piece), size - used);
}

/* Without types and constraints, so that every column can hold anything. */
static sqlite3 *make_table(void) {
        char names[1024] = "", values[1024] = "", sql[2200];
        sqlite3 *db;

        for (size_t i = 0; i < ELEMENTSOF(columns); i++) {
                append(names, sizeof(names), i > 0 ? "," : "");
                append(names, sizeof(names), columns[i][0]);
                append(values, sizeof(values), i > 0 ? "," : "");
                append(values, sizeof(values), columns[i][1]);
        }
        ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
        (void) snprintf(sql, sizeof(sql), "CREATE TABLE good (%s)", names);
        execute(db, sql);
        (void) snprintf(sql, sizeof(sql), "INSERT INTO good VALUES (%s)", values);
        execute(db, sql);
        (void) snprintf(sql, sizeof(sql), "CREATE TABLE jobs (%s)", names);
        execute(db, sql);
        return db;
}

static bool take_change(const uint8_t **data, size_t *size, struct change *ret) {
        if (*size < 4)
                return false;
        ret->column = (*data)[0] % ELEMENTSOF(columns);
        ret->type = (enum value_type)((*data)[1] % _VALUE_TYPE_MAX);
        ret->size = MIN((size_t) ((*data)[2] | (*data)[3] << 8), *size - 4);
        ret->data = *data + 4;
        *data += 4 + ret->size;
        *size -= 4 + ret->size;
        return true;
}

static void bind_value(sqlite3_stmt *statement, const struct change *change) {
        uint64_t number = 0;
        double real;

        memcpy(&number, change->data, MIN(change->size, sizeof(number)));
        memcpy(&real, &number, sizeof(real));
        switch (change->type) {
        case VALUE_NULL:
        case _VALUE_TYPE_MAX:
                sqlite3_bind_null(statement, 1);
                break;
        case VALUE_INTEGER:
                sqlite3_bind_int64(statement, 1, (int64_t) number);
                break;
        case VALUE_REAL:
                sqlite3_bind_double(statement, 1, real);
                break;
        case VALUE_TEXT:
                sqlite3_bind_text64(
                        statement, 1, (const char *) change->data, change->size, SQLITE_STATIC, SQLITE_UTF8);
                break;
        case VALUE_BLOB:
                sqlite3_bind_blob64(statement, 1, change->data, change->size, SQLITE_STATIC);
                break;
        }
}

static void apply(sqlite3 *db, const struct change *change) {
        sqlite3_stmt *statement;
        char sql[64];

        (void) snprintf(sql, sizeof(sql), "UPDATE jobs SET %s = ?", columns[change->column][0]);
        ASSERT_EQ(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
        bind_value(statement, change);
        ASSERT_EQ(sqlite3_step(statement), SQLITE_DONE);
        sqlite3_finalize(statement);
}

/* What is read is within the limits, whatever the row says. */
static void check_job(sqlite3_stmt *statement) {
        struct stored_job job;
        const char *what = NULL;
        int r;

        r = store_row_read(statement, &job, &what);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_GT(strlen(what), 0);
                return;
        }
        ASSERT_LE(strlen(job.command), COMMAND_MAX);
        ASSERT_GT(strlen(job.command), 0);
        ASSERT_TRUE(job.status > JOB_UNKNOWN && job.status < _JOB_STATUS_MAX);
        ASSERT_EQ(job_status_is_final(job.status), job.finished_at > 0);
        ASSERT_LE(job.timeout_usec, TIMEOUT_MAX_SEC * USEC_PER_SEC);
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                ASSERT_LE(job_limits_get(&job.limits, field), limit_field_high(field));
        ASSERT_GT(stored_job_size(&job), sizeof(job));
        stored_job_done(&job);
}

static void check_unfinished(sqlite3_stmt *statement) {
        struct store_unfinished job;
        const char *what = NULL;
        int r;

        r = store_row_read_unfinished(statement, &job, &what);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_GT(strlen(what), 0);
                return;
        }
        ASSERT_TRUE(job.status == JOB_PENDING || job.status == JOB_RUNNING);
        ASSERT_LE(job.spec->stdin_size, STDIN_MAX);
        ASSERT_TRUE(uuid_equal(&job.run.job, &job.spec->id));
        job_spec_unref(job.spec);
}

static void read_row(sqlite3 *db, int64_t output_max) {
        sqlite3_stmt *statement;

        ASSERT_EQ(
                sqlite3_prepare_v2(db, "SELECT " ROW_COLUMNS ", stdin FROM jobs", -1, &statement, NULL),
                SQLITE_OK);
        ASSERT_EQ(sqlite3_bind_int64(statement, 1, output_max), SQLITE_OK);
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        check_job(statement);
        check_unfinished(statement);
        sqlite3_finalize(statement);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static sqlite3 *db = NULL;
        struct change change;

        if (!db)
                db = make_table();
        execute(db, "DELETE FROM jobs; INSERT INTO jobs SELECT * FROM good");
        while (take_change(&data, &size, &change))
                apply(db, &change);

        read_row(db, ROW_OUTPUT_WHOLE);
        read_row(db, ROW_OUTPUT_SMALL);
        return 0;
}
