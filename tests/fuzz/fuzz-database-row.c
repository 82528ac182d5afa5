/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rows of the job database that somebody else wrote. The input changes a good row of each table, one column
 * after the other: a byte for the column, one for the type of the value, two for its length (least
 * significant byte first), and its bytes. The columns are numbered as in the table below. */

#include "lib/tests.h"
#include "store/store-copy-row.h"
#include "store/store-guest-row.h"
#include "store/store-row.h"
#include "util/strv.h"
#include "wire/job-limits.h"
#include "wire/label.h"
#include "wire/link-codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define JOB_ID "00000001-0000-4000-8000-000000000001"

/* Name, and a good value: of a job, of a guest, of a copy, and of a takeover. */
static const char *columns[][2] = {
        { "seq", "1" },
        { "job_id", "'" JOB_ID "'" },
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
        { "priority", "-3" },
        { "retries", "2" },
        { "retries_used", "1" },
        { "loss_is_failure", "1" },
        { "requires", "'[\"arch=x86_64\",\"gpu\"]'" },

        { "seq", "1" },
        { "job_id", "'" JOB_ID "'" },
        { "owner_node_id", "'node-0123456789abcdef'" },
        { "epoch", "1" },
        { "attempt", "1" },
        { "executor_instance", "'00000002-0000-4000-8000-000000000002'" },
        { "ending", NULL }, /* see write_messages() */
        { "assignment", NULL },
        { "stderr", "'err'" },
        { "stdout", "'out'" },

        { "seq", "1" },
        { "job_id", "'" JOB_ID "'" },
        { "owner_node_id", "'node-0123456789abcdef'" },
        { "term", "1" },
        { "epoch", "1" },
        { "run_epoch", "1" },
        { "attempt", "1" },
        { "executor_node_id", "'node-0123456789abcdef'" },
        { "cancel_requested", "0" },
        { "status", "'JOB_COMPLETED'" },
        { "updated_at", "'2026-01-01T00:00:00.000003Z'" },
        { "assignment", NULL },
        { "ending", NULL },
        { "retries_used", "1" },

        { "epoch", "4294967297" },
};

/* The first of each table, and of what follows. */
#define COLUMN_TAKEOVERS (ELEMENTSOF(columns) - 1)
#define COLUMN_COPIES (COLUMN_TAKEOVERS - 14)
#define COLUMN_GUESTS (COLUMN_COPIES - 10)

#define COLUMN_ENDING (COLUMN_COPIES - 4)
#define COLUMN_ASSIGNMENT (COLUMN_COPIES - 3)
#define COLUMN_COPY_ASSIGNMENT (COLUMN_TAKEOVERS - 3)
#define COLUMN_COPY_ENDING (COLUMN_TAKEOVERS - 2)

static const struct table {
        const char *name;
        size_t first, end;
} tables[] = {
        { "jobs", 0, COLUMN_GUESTS },
        { "guests", COLUMN_GUESTS, COLUMN_COPIES },
        { "copies", COLUMN_COPIES, COLUMN_TAKEOVERS },
        { "takeovers", COLUMN_TAKEOVERS, ELEMENTSOF(columns) },
};

#define BLOB_TEXT_MAX 1024u

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

/* As SQL has it. */
static void write_blob(const void *data, size_t size, char ret[static BLOB_TEXT_MAX]) {
        ASSERT_LT(size * 2 + 4, BLOB_TEXT_MAX);
        strcpy(ret, "x'");
        for (size_t i = 0; i < size; i++)
                (void) sprintf(ret + 2 + i * 2, "%02x", ((const uint8_t *) data)[i]);
        strcat(ret, "'");
}

static void write_message(const struct link_message *message, char ret[static BLOB_TEXT_MAX]) {
        _cleanup_buffer_ struct buffer frame = {};

        ASSERT_OK(link_message_encode(message, &frame));
        write_blob(frame.data + LINK_FRAME_HEADER_SIZE, frame.size - LINK_FRAME_HEADER_SIZE, ret);
}

/* The good job, the good end of a guest, whose outputs are beside it, and that of a copy. */
static void write_messages(
        char ret_assignment[static BLOB_TEXT_MAX], char ret_ending[static BLOB_TEXT_MAX],
        char ret_bare_ending[static BLOB_TEXT_MAX]) {
        char *const env[] = { (char *) "NAME=value" };
        struct link_assignment assignment = {
                .run = { .epoch = 1, .attempt = 1 },
                .job = {
                        .created_at = 1,
                        .timeout_usec = 300 * USEC_PER_SEC,
                        .command = "true",
                        .created_by_node = "node-0123456789abcdef",
                        .env = env,
                        .n_env = 1,
                        .rules = { .priority = 1, .retries = 1, .loss_is_failure = true },
                        .requires = env,
                        .n_requires = 1,
                        .submitter = "uid:1000",
                },
        };
        struct link_ended ended = {
                .finished_at = 1,
                .stdout_output = { .size = 3, .total = 3 },
                .stderr_output = { .size = 3, .total = 3 },
        };

        ASSERT_OK(uuid_from_text(JOB_ID, &assignment.run.job));
        assignment.job.id = assignment.run.job;
        ended.run = assignment.run;
        write_message(
                &(struct link_message){ .n_assignments = 1, .assignments = &assignment }, ret_assignment);
        write_message(&(struct link_message){ .n_ended = 1, .ended = &ended }, ret_ending);
        ended.stdout_output.size = ended.stderr_output.size = 0;
        write_message(&(struct link_message){ .n_ended = 1, .ended = &ended }, ret_bare_ending);
}

/* Of the columns from first up to, and without, end; with a good row beside it. Without types and
 * constraints, so that every column can hold anything. */
static void make_table(sqlite3 *db, const struct table *table) {
        char names[1024] = "", values[4 * BLOB_TEXT_MAX] = "", sql[6 * BLOB_TEXT_MAX];

        for (size_t i = table->first; i < table->end; i++) {
                append(names, sizeof(names), i > table->first ? "," : "");
                append(names, sizeof(names), columns[i][0]);
                append(values, sizeof(values), i > table->first ? "," : "");
                append(values, sizeof(values), columns[i][1]);
        }
        (void) snprintf(
                sql, sizeof(sql),
                "CREATE TABLE good_%s (%s); INSERT INTO good_%s VALUES (%s); CREATE TABLE %s (%s)",
                table->name, names, table->name, values, table->name, names);
        execute(db, sql);
}

static sqlite3 *make_tables(void) {
        static char assignment[BLOB_TEXT_MAX], ending[BLOB_TEXT_MAX], bare_ending[BLOB_TEXT_MAX];
        sqlite3 *db;

        write_messages(assignment, ending, bare_ending);
        columns[COLUMN_ASSIGNMENT][1] = assignment;
        columns[COLUMN_ENDING][1] = ending;
        columns[COLUMN_COPY_ASSIGNMENT][1] = assignment;
        columns[COLUMN_COPY_ENDING][1] = bare_ending;
        ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
        for (size_t i = 0; i < ELEMENTSOF(tables); i++)
                make_table(db, &tables[i]);
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
        const struct table *table = tables;
        sqlite3_stmt *statement;
        char sql[64];

        while (change->column >= table->end)
                table++;
        (void) snprintf(sql, sizeof(sql), "UPDATE %s SET %s = ?", table->name, columns[change->column][0]);
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
        ASSERT_TRUE(job.rules.priority >= JOB_PRIORITY_MIN && job.rules.priority <= JOB_PRIORITY_MAX);
        ASSERT_LE(job.rules.retries, JOB_RETRIES_MAX);
        ASSERT_LE(job.retries_used, JOB_RETRIES_MAX);
        STRV_FOREACH(label, job.requires) {
                ASSERT_TRUE(label_is_valid(*label, strlen(*label)));
        }
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
        ASSERT_TRUE(job.epoch > 0 && job.epoch >= job.run.epoch && job.epoch <= INT64_MAX);
        job_spec_unref(job.spec);
}

static void read_row(sqlite3 *db, int64_t output_max) {
        sqlite3_stmt *statement;

        ASSERT_EQ(
                sqlite3_prepare_v2(
                        db, "SELECT " ROW_COLUMNS ", stdin, (SELECT epoch FROM takeovers) FROM jobs", -1,
                        &statement, NULL),
                SQLITE_OK);
        ASSERT_EQ(sqlite3_bind_int64(statement, 1, output_max), SQLITE_OK);
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        check_job(statement);
        check_unfinished(statement);
        sqlite3_finalize(statement);
}

static int read_guest(sqlite3 *db, const char *table) {
        sqlite3_stmt *statement;
        struct store_guest guest;
        const char *what = NULL;
        char sql[256];
        int r;

        (void) snprintf(sql, sizeof(sql), "SELECT " GUEST_COLUMNS " FROM %s", table);
        ASSERT_EQ(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        r = store_guest_read(statement, &guest, &what);
        sqlite3_finalize(statement);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_GT(strlen(what), 0);
                return r;
        }
        ASSERT_TRUE(node_id_is_valid(guest.owner_node_id));
        ASSERT_TRUE(uuid_equal(&guest.run.job, &guest.spec->id));
        ASSERT_LE(strlen(guest.spec->command), COMMAND_MAX);
        ASSERT_LE(guest.spec->stdin_size, STDIN_MAX);
        if (guest.result) {
                ASSERT_TRUE(run_id_equal(&guest.result->run, &guest.run));
                ASSERT_TRUE(guest.result->outcome < _RUN_OUTCOME_MAX);
                ASSERT_LE(guest.result->stdout_output.size, LINK_OUTPUT_MAX);
        }
        store_guest_done(&guest);
        return 0;
}

static void check_copy(sqlite3_stmt *statement) {
        struct store_copy copy;
        const char *what = NULL;
        int r;

        r = store_copy_read(statement, &copy, &what);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_GT(strlen(what), 0);
                return;
        }
        ASSERT_TRUE(node_id_is_valid(copy.owner_node_id));
        ASSERT_TRUE(copy.executor_node_id[0] == '\0' || node_id_is_valid(copy.executor_node_id));
        ASSERT_TRUE(copy.term > 0 && copy.epoch > 0);
        ASSERT_TRUE(uuid_equal(&copy.run.job, &copy.spec->id));
        store_copy_done(&copy);
}

static int check_ended_copy(sqlite3_stmt *statement) {
        struct stored_job job;
        const char *what = NULL;
        int r;

        r = store_copy_read_ended(statement, /* with_output= */ true, &job, &what);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_GT(strlen(what), 0);
                return r;
        }
        ASSERT_TRUE(job_status_is_final(job.status));
        ASSERT_GT(job.finished_at, 0);
        ASSERT_LE(strlen(job.command), COMMAND_MAX);
        ASSERT_TRUE(node_id_is_valid(job.owner_node_id));
        ASSERT_LE(job.stdout_size, LINK_OUTPUT_INLINE_MAX);
        ASSERT_EQ(job.stdout_size, job.stdout_kept);
        stored_job_done(&job);
        return 0;
}

static int read_copy(sqlite3 *db, const char *table) {
        sqlite3_stmt *statement;
        char sql[256];
        int r;

        (void) snprintf(sql, sizeof(sql), "SELECT " COPY_COLUMNS " FROM %s", table);
        ASSERT_EQ(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        check_copy(statement);
        r = check_ended_copy(statement);
        sqlite3_finalize(statement);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static sqlite3 *db = NULL;
        struct change change;

        if (!db) {
                db = make_tables();
                ASSERT_OK(read_guest(db, "good_guests"));
                ASSERT_OK(read_copy(db, "good_copies"));
        }
        execute(db, "DELETE FROM jobs; INSERT INTO jobs SELECT * FROM good_jobs;"
                    "DELETE FROM guests; INSERT INTO guests SELECT * FROM good_guests;"
                    "DELETE FROM copies; INSERT INTO copies SELECT * FROM good_copies;"
                    "DELETE FROM takeovers; INSERT INTO takeovers SELECT * FROM good_takeovers");
        while (take_change(&data, &size, &change))
                apply(db, &change);

        read_row(db, ROW_OUTPUT_WHOLE);
        read_row(db, ROW_OUTPUT_SMALL);
        (void) read_guest(db, "guests");
        (void) read_copy(db, "copies");
        return 0;
}
