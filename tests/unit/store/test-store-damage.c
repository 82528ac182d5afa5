/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files that are not what they should be: of another version, of another program, and broken in each way
 * that a disk or a person can break them. The node starts with what can be read. */

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include "fixture.h"
#include "store/store-schema.h"

#define PAGE_SIZE 4096u

static size_t count_set_aside(const struct fixture *f, char *ret_path, size_t size) {
        glob_t found;
        char pattern[256];
        size_t n;

        (void) snprintf(pattern, sizeof(pattern), "%s.damaged-*Z", database_path(f));
        if (glob(pattern, 0, NULL, &found) != 0)
                return 0;
        n = found.gl_pathc;
        if (ret_path)
                (void) snprintf(ret_path, size, "%s", found.gl_pathv[0]);
        globfree(&found);
        return n;
}

static off_t file_size(const char *path) {
        struct stat st;

        return stat(path, &st) < 0 ? -1 : st.st_size;
}

static void overwrite(const char *path, off_t offset, const void *data, size_t size) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        ASSERT_OK(fd);
        ASSERT_EQ(pwrite(fd, data, size, offset), (ssize_t) size);
}

static void overwrite_page(const char *path, uint64_t page) {
        char garbage[PAGE_SIZE];

        for (size_t i = 0; i < sizeof(garbage); i++)
                garbage[i] = (char) (i * 31 + 17);
        overwrite(path, (off_t) ((page - 1) * PAGE_SIZE), garbage, sizeof(garbage));
}

/* n finished jobs, then some unfinished ones; closed. */
static void make_database(struct fixture *f, uint64_t n) {
        fixture_init(f);
        ASSERT_OK(fixture_open(f));
        for (uint64_t i = 0; i < n; i++)
                write_finished_job(f, i, 0);
        for (uint64_t i = n; i < n + 10; i++)
                ASSERT_OK(write_and_wait(f, batch_accept(spec_make(i))));
        fixture_close(f);
        ASSERT_EQ(file_size(database_path(f)) % PAGE_SIZE, 0);
        ASSERT_GT(file_size(database_path(f)), 0);
}

/* The store works after all, on a new file. */
static void check_works_anew(struct fixture *f) {
        ASSERT_OK(fixture_open(f));
        ASSERT_EQ(count_set_aside(f, NULL, 0), 1);
        write_finished_job(f, 1000, 0);
        ask_job(f, 1000, true);
        ASSERT_EQ(f->answer.n_jobs, 1);
        ASSERT_EQ(f->health, 0);
}

static void test_broken_header(void) {
        _cleanup_fixture_ struct fixture f;
        char path[256];

        make_database(&f, 20);
        overwrite(database_path(&f), 0, "this is no database", 20);
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 0);
        ASSERT_EQ(count_set_aside(&f, path, sizeof(path)), 1);
        ASSERT_GT(file_size(path), 0);

        /* And again: the second one goes beside the first. */
        fixture_close(&f);
        overwrite(database_path(&f), 0, "this is no database", 20);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 2);
}

static void test_short_file(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 200);
        ASSERT_EQ(truncate(database_path(&f), file_size(database_path(&f)) / 2 / PAGE_SIZE * PAGE_SIZE), 0);
        check_works_anew(&f);
}

static void test_text_file(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        folder_write(
                &f.folder, "worker_" NODE_ID ".db", "not a database, but a note that somebody left here\n");
        check_works_anew(&f);
}

static void test_empty_file_is_new(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db", "");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
}

/* A page with unfinished jobs: found at once. Those before and behind it are carried over. */
static void test_garbage_in_unfinished_jobs(void) {
        _cleanup_fixture_ struct fixture f;
        struct uuid last;
        uint64_t page;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t i = 0; i < 100; i++)
                ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(i))));
        fixture_close(&f);
        page = (uint64_t) sql_number(
                &f, "SELECT pageno FROM dbstat WHERE name = 'jobs' AND pagetype = 'leaf' ORDER BY path "
                    "LIMIT 1 OFFSET 2");
        ASSERT_GT(page, 1);
        overwrite_page(database_path(&f), page);

        check_works_anew(&f);
        ASSERT_GT(f.n_unfinished, 70);
        ASSERT_LT(f.n_unfinished, 100);
        for (uint64_t i = 0, n = 0; n < f.n_unfinished; n++, i++) {
                struct uuid first = job_id(i), behind = job_id(i + 100 - f.n_unfinished);
                const struct uuid *id = &f.unfinished[n].spec->id;

                ASSERT_TRUE(uuid_equal(id, &first) || uuid_equal(id, &behind));
        }
        last = job_id(99);
        ASSERT_TRUE(uuid_equal(&f.unfinished[f.n_unfinished - 1].spec->id, &last));

        /* They are in the new file. */
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM jobs WHERE status = 'JOB_PENDING'"), f.n_unfinished);
}

static uint64_t history_page(struct fixture *f) {
        return (uint64_t) sql_number(
                f,
                "SELECT pageno FROM dbstat WHERE name = 'jobs' AND pagetype = 'leaf' ORDER BY path LIMIT 1");
}

/* A page of the history: found by a reader, told, and set aside by the next start, which loses no unfinished
 * job. */
static void test_garbage_in_the_history(void) {
        _cleanup_fixture_ struct fixture f;
        struct record_batch *batch;

        make_database(&f, 200);
        ASSERT_OK(fixture_open(&f));
        /* One that another node has, and a running one with a wish to be cancelled, to be carried over as
         * such. */
        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(f.unfinished[2].spec), 1);
        ASSERT_OK(node_name_new(OWNER_ID, &batch->records[0].node));
        ASSERT_OK(write_and_wait(&f, batch));
        batch = batch_of(RECORD_ASSIGNED, job_spec_ref(f.unfinished[3].spec), 4);
        batch->records[0].executor = job_id(77);
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_STARTED, job_spec_ref(f.unfinished[3].spec), 4)));
        ASSERT_OK(write_and_wait(&f, batch_of(RECORD_CANCEL, job_spec_ref(f.unfinished[3].spec), 4)));
        fixture_close(&f);
        overwrite_page(database_path(&f), history_page(&f));

        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ask_list(&f, 50, 50, 0);
        ASSERT_ERROR(f.answer.error, EUCLEAN);
        WAIT_UNTIL(&f, f.health == -EUCLEAN);
        ASSERT_GT(strlen(f.reason), 0);
        /* It stays so although commits go well. */
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(500))));
        ASSERT_EQ(f.n_health, 1);
        fixture_close(&f);

        f.health = 0;
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 11);
        ASSERT_TRUE(f.unfinished[2].in_executor);
        ASSERT_STREQ(f.unfinished[2].executor_node_id, OWNER_ID);
        ASSERT_STREQ(f.unfinished[3].executor_node_id, NODE_ID);
        ASSERT_EQ(f.unfinished[3].status, JOB_RUNNING);
        ASSERT_EQ(f.unfinished[3].run.attempt, 4);
        ASSERT_TRUE(f.unfinished[3].in_executor);
        ASSERT_TRUE(f.unfinished[3].cancel_requested);
        fixture_close(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 1);
        ASSERT_EQ(f.n_unfinished, 11);
        ASSERT_EQ(f.unfinished[3].status, JOB_RUNNING);
        ASSERT_EQ(f.unfinished[3].run.attempt, 4);
        ASSERT_TRUE(f.unfinished[3].in_executor);
        ASSERT_TRUE(f.unfinished[3].cancel_requested);
}

/* As after a power cut: a log is left over. The whole file is checked then, without anybody asking. */
static void leave_log_behind(struct fixture *f, uint64_t new_job) {
        char text[512];

        /* Copied while it is open, the file looks as if its process had been killed. */
        ASSERT_OK(fixture_open(f));
        ASSERT_OK(write_and_wait(f, batch_accept(spec_make(new_job))));
        (void) snprintf(text, sizeof(text), "cd '%s' && mkdir copy && cp worker_* copy/", f->directory);
        ASSERT_EQ(system(text), 0);
        fixture_close(f);
        (void) snprintf(
                text, sizeof(text),
                "cd '%s' && rm worker_* && mv copy/* . && rmdir copy && test -s worker_" NODE_ID ".db-wal",
                f->directory);
        ASSERT_EQ(system(text), 0);
}

static void test_check_after_an_unclean_stop(void) {
        _cleanup_fixture_ struct fixture f;
        uint64_t page;

        make_database(&f, 200);
        page = history_page(&f);
        leave_log_behind(&f, 600);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 11);
        fixture_close(&f);

        leave_log_behind(&f, 601);
        overwrite_page(database_path(&f), page);
        ASSERT_OK(fixture_open(&f));
        WAIT_UNTIL(&f, f.health == -EUCLEAN);
        fixture_close(&f);
        f.health = 0;
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 12);
}

/* Jobs that nobody could take up again end, and those who ask for them are told why. */
static void test_unreadable_jobs_end(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "UPDATE jobs SET executor_instance = 'none of ours' WHERE seq = 5;"
                "UPDATE jobs SET status = 'JOB_RUNNING', env = '{' WHERE seq = 7");
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ASSERT_EQ(f.n_unfinished, 8);

        ask_job(&f, 4, false);
        ASSERT_EQ(f.answer.n_jobs, 1);
        ASSERT_EQ(f.answer.jobs->status, JOB_FAILED);
        ASSERT_GT(f.answer.jobs->finished_at, 0);
        ASSERT_STREQ(f.answer.jobs->error_message, "its record in the database is damaged");
        ask_list(&f, 50, UINT64_MAX, UINT32_C(1) << JOB_FAILED);
        ASSERT_EQ(f.answer.n_jobs, 1);

        fixture_close(&f);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM jobs WHERE status = 'JOB_FAILED'"), 2);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 8);
}

static void test_unreadable_jobs_cannot_end(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "CREATE UNIQUE INDEX foreign_index ON jobs (error_message);"
                "UPDATE jobs SET executor_instance = 'none of ours' WHERE seq IN (5, 7)");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 8);
}

static void test_newer_version(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "PRAGMA user_version = 99");
        ASSERT_ERROR(fixture_open(&f), EPROTONOSUPPORT);
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM jobs"), 13);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), 99);
}

/* A version 0 is made into the present one, also when a crash came in between. */
static void test_migration(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        sql(&f, "PRAGMA journal_mode = WAL; PRAGMA user_version = 0");
        ASSERT_OK(fixture_open(&f));
        fixture_close(&f);
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
        ASSERT_EQ(sql_number(&f, "PRAGMA application_id"), 0x574d7368);
}

/* What each version added. */
#define DROP_VERSION_2 "DROP TABLE job_limits;"
#define DROP_VERSION_3 "DROP TABLE guests;"
#define DROP_VERSION_4                                                                          \
        "DROP TABLE job_options; DROP TABLE attempts; DROP TABLE copies; DROP TABLE takeovers;" \
        "DROP TABLE holders;"
#define DROP_VERSION_5 "DROP TABLE drain;"
#define DROP_VERSION_6 "DROP TABLE swept;"

/* As the first version left it. */
static void make_version_1(const struct fixture *f) {
        sql(f, DROP_VERSION_6 DROP_VERSION_5 DROP_VERSION_4 DROP_VERSION_3 DROP_VERSION_2
            "PRAGMA user_version = 1");
}

static void test_version_1(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *spec;

        make_database(&f, 30);
        make_version_1(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(job_limits_kinds(&f.unfinished[0].spec->limits), 0);
        ask_list(&f, 100, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 40);

        spec = spec_make(100);
        spec->limits.tasks_max = 5;
        ASSERT_OK(write_and_wait(&f, batch_accept(spec)));
        ask_job(&f, 100, false);
        ASSERT_EQ(f.answer.jobs->limits.tasks_max, 5);
        fixture_close(&f);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
}

/* Damaged before it could be brought to this version: its jobs have no limits, and are not lost. */
static void test_damaged_version_1(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 10);
        make_version_1(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM jobs"), 11);
}

/* As the second version left it. */
static void make_version_2(const struct fixture *f) {
        sql(f, DROP_VERSION_6 DROP_VERSION_5 DROP_VERSION_4 DROP_VERSION_3 "PRAGMA user_version = 2");
}

static void write_guest(struct fixture *f, uint64_t n, bool ended) {
        struct job_spec *spec = spec_make(n);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        ASSERT_OK(write_and_wait(f, batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL)));
        if (ended)
                ASSERT_OK(write_and_wait(
                        f, batch_guest(
                                   RECORD_GUEST_ENDED, job_spec_ref(spec),
                                   result_make(&run, 0, "some output", 11))));
        job_spec_unref(spec);
}

static void test_version_2(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 30);
        sql(&f, "INSERT INTO job_limits (seq, memory_max) VALUES (32, 2097152)");
        make_version_2(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(f.unfinished[1].spec->limits.memory_max, 2097152);
        write_guest(&f, 100, true);
        fixture_close(&f);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_guests, 1);
}

static void test_damaged_version_2(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 10);
        make_version_2(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(f.n_guests, 0);
        write_guest(&f, 100, true);
}

/* As the third version left it. */
static void make_version_3(const struct fixture *f) {
        sql(f, DROP_VERSION_6 DROP_VERSION_5 DROP_VERSION_4 "PRAGMA user_version = 3");
}

static void test_version_3(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 30);
        ASSERT_OK(fixture_open(&f));
        write_guest(&f, 100, true);
        fixture_close(&f);
        make_version_3(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(count_set_aside(&f, NULL, 0), 0);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(f.n_guests, 1);
        ASSERT_TRUE(job_rules_are_default(&f.unfinished[0].spec->rules));
        ASSERT_EQ(f.unfinished[0].epoch, 1);
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make_rich(200))));
        ask_job(&f, 200, false);
        ASSERT_EQ(f.answer.jobs->rules.retries, 3);
        ASSERT_OK(write_and_wait(&f, batch_copy(RECORD_COPY, spec_make(201), JOB_UNKNOWN, NULL)));
        fixture_close(&f);
        ASSERT_EQ(sql_number(&f, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_copies, 1);
}

/* Damaged before it could be brought to this version: its jobs keep their limits. */
static void test_damaged_version_3(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 10);
        sql(&f, "INSERT INTO job_limits (seq, memory_max) VALUES (12, 2097152)");
        make_version_3(&f);
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(f.unfinished[1].spec->limits.memory_max, 2097152);
}

/* Wherever the damage is, guests and jobs are carried over. */
static void test_guests_survive_damage(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 10);
        ASSERT_OK(fixture_open(&f));
        write_guest(&f, 100, true);
        write_guest(&f, 101, false);
        fixture_close(&f);
        sql(&f, "UPDATE guests SET executor_instance = NULL WHERE seq = 2");
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        fixture_close(&f);

        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_guests, 2);
        ASSERT_STREQ(f.guests[0].owner_node_id, OWNER_ID);
        ASSERT_EQ(f.guests[0].result->stdout_output.size, 11);
        ASSERT_EQ(memcmp(f.guests[0].result->stdout_output.data, "some output", 11), 0);
        ASSERT_NULL(f.guests[1].result);
        ASSERT_TRUE(uuid_is_null(&f.guests[1].executor));
}

static void test_garbage_in_guests(void) {
        _cleanup_fixture_ struct fixture f;
        size_t n;

        make_database(&f, 3);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t i = 0; i < 100; i++)
                write_guest(&f, 100 + i, i % 2 == 0);
        fixture_close(&f);
        overwrite_page(
                database_path(&f),
                (uint64_t) sql_number(
                        &f, "SELECT pageno FROM dbstat WHERE name = 'guests' AND pagetype = 'leaf' ORDER BY "
                            "path LIMIT 1 OFFSET 2"));
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        n = f.n_guests;
        ASSERT_GT(n, 70);
        ASSERT_LT(n, 100);
        for (size_t i = 0; i < n; i++) {
                struct uuid first = job_id(100 + i), behind = job_id(200 - n + i);

                ASSERT_TRUE(
                        uuid_equal(&f.guests[i].run.job, &first) ||
                        uuid_equal(&f.guests[i].run.job, &behind));
        }
        ASSERT_NOT_NULL(find_guest(&f, 100));
        ASSERT_NOT_NULL(find_guest(&f, 199));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM guests"), n);
}

/* What a damaged file has twice is found once. */
static void test_twice_in_a_damaged_file(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        ASSERT_OK(fixture_open(&f));
        write_guest(&f, 100, true);
        fixture_close(&f);
        sql(&f, "CREATE TABLE jobs_2 AS SELECT * FROM jobs; DROP TABLE jobs;"
                "ALTER TABLE jobs_2 RENAME TO jobs;"
                "UPDATE jobs SET job_id = (SELECT job_id FROM jobs WHERE seq = 4) WHERE seq = 9;"
                "CREATE TABLE guests_2 AS SELECT * FROM guests; DROP TABLE guests;"
                "ALTER TABLE guests_2 RENAME TO guests;"
                "INSERT INTO guests SELECT * FROM guests; UPDATE guests SET seq = rowid");
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 9);
        ASSERT_EQ(f.n_guests, 1);
        ASSERT_EQ(f.guests[0].result->stdout_output.size, 11);
}

static void test_limits_survive_damage(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 10);
        sql(&f, "INSERT INTO job_limits (seq, memory_max, best_effort) VALUES (12, 2097152, 1)");
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(f.unfinished[1].spec->limits.memory_max, 2097152);
        ASSERT_TRUE(f.unfinished[1].spec->limits.best_effort);
        ASSERT_EQ(sql_number(&f, "SELECT memory_max FROM job_limits JOIN jobs USING (seq)"), 2097152);
}

static void test_options_survive_damage(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 10);
        sql(&f, "INSERT INTO job_options (seq, priority, retries, retries_used, requires)"
                " VALUES (12, -3, 5, 4, '[\"gpu\"]')");
        folder_write(&f.folder, "worker_" NODE_ID ".db.is-damaged", "");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
        ASSERT_EQ(f.unfinished[1].spec->rules.priority, -3);
        ASSERT_EQ(f.unfinished[1].retries_used, 4);
        ASSERT_STREQ(f.unfinished[1].spec->requires[0], "gpu");
        ASSERT_EQ(sql_number(&f, "SELECT retries_used FROM job_options JOIN jobs USING (seq)"), 4);
}

/* An unfinished job whose options cannot be read could run where it must not: it ends. */
static void test_broken_options(void) {
        static const char *const broken[] = {
                "priority = 1001", "priority = -1001",   "retries = 101",
                "retries = -1",    "retries_used = 101", "loss_is_failure = 2",
                "requires = '[]'", "requires = '{}'",    "requires = '[\"a b\"]'",
        };

        for (size_t i = 0; i < ELEMENTSOF(broken); i++) {
                _cleanup_fixture_ struct fixture f;
                char text[128];

                make_database(&f, 1);
                sql(&f, "INSERT INTO job_options (seq, priority) VALUES (3, 1)");
                (void) snprintf(text, sizeof(text), "UPDATE job_options SET %s", broken[i]);
                sql(&f, text);
                ASSERT_OK(fixture_open(&f));
                ASSERT_EQ(f.n_unfinished, 9);
                ASSERT_EQ(sql_number(&f, "SELECT seq FROM jobs WHERE status = 'JOB_FAILED'"), 3);
        }
}

/* A foreign hand took a job away and left its limits or options: the next job does not get them. */
static void test_orphaned_limits(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "INSERT INTO job_limits (seq, memory_max) VALUES (13, 2097152); DELETE FROM jobs WHERE seq "
                "= 13");
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(50))));
        ask_job(&f, 50, false);
        ASSERT_EQ(f.answer.jobs->sequence, 14);
        ASSERT_EQ(job_limits_kinds(&f.answer.jobs->limits), 0);

        fixture_close(&f);
        sql(&f, "INSERT INTO job_options (seq, priority) VALUES (15, 9)");
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(51))));
        ask_job(&f, 51, false);
        ASSERT_EQ(f.answer.jobs->sequence, 16);
        ASSERT_EQ(f.answer.jobs->rules.priority, 0);
}

static void test_foreign_tables(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        sql(&f, "CREATE TABLE jobs (job_id TEXT PRIMARY KEY, command TEXT); INSERT INTO jobs VALUES ('1', "
                "'true')");
        check_works_anew(&f);
}

static void test_missing_column(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "ALTER TABLE jobs RENAME COLUMN cwd TO directory");
        check_works_anew(&f);
}

static void test_missing_column_of_copies(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "ALTER TABLE copies RENAME COLUMN ending TO result");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
}

static void test_missing_column_of_guests(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "ALTER TABLE guests RENAME COLUMN ending TO result");
        check_works_anew(&f);
        ASSERT_EQ(f.n_unfinished, 10);
}

/* Triggers that somebody put into the file do not run. */
static void test_triggers_are_ignored(void) {
        _cleanup_fixture_ struct fixture f;

        make_database(&f, 3);
        sql(&f, "CREATE TRIGGER bad AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END");
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(50))));
        ASSERT_EQ(sql_number(&f, "SELECT count(*) FROM jobs"), 14);
}

static void test_unusable_folder(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        f.config.directory = "/nonexistent/folder";
        ASSERT_ERROR(fixture_open(&f), ENOENT);
        f.config.directory = f.directory;
        ASSERT_EQ(symlink("elsewhere.db", database_path(&f)), 0);
        ASSERT_ERROR(fixture_open(&f), ELOOP);
}

int main(void) {
        RUN(test_broken_header);
        RUN(test_short_file);
        RUN(test_text_file);
        RUN(test_empty_file_is_new);
        RUN(test_garbage_in_unfinished_jobs);
        RUN(test_garbage_in_the_history);
        RUN(test_check_after_an_unclean_stop);
        RUN(test_unreadable_jobs_end);
        RUN(test_unreadable_jobs_cannot_end);
        RUN(test_newer_version);
        RUN(test_migration);
        RUN(test_version_1);
        RUN(test_damaged_version_1);
        RUN(test_version_2);
        RUN(test_damaged_version_2);
        RUN(test_version_3);
        RUN(test_damaged_version_3);
        RUN(test_guests_survive_damage);
        RUN(test_garbage_in_guests);
        RUN(test_twice_in_a_damaged_file);
        RUN(test_limits_survive_damage);
        RUN(test_options_survive_damage);
        RUN(test_broken_options);
        RUN(test_orphaned_limits);
        RUN(test_foreign_tables);
        RUN(test_missing_column);
        RUN(test_missing_column_of_guests);
        RUN(test_missing_column_of_copies);
        RUN(test_triggers_are_ignored);
        RUN(test_unusable_folder);
        return 0;
}
