/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What goes from the history, what stays, and that numbers are never given twice. */

#include "fixture.h"
#include "store/store-history.h"
#include "store/store-schema.h"

struct database {
        struct fixture f;
        sqlite3 *db;
        struct store_history *history;
};

static const struct history_limits no_limits = {
        .max_age_usec = USEC_INFINITY,
        .max_jobs = UINT64_MAX,
        .max_bytes = UINT64_MAX,
};

static void database_open(struct database *database, const struct history_limits *limits) {
        fixture_init(&database->f);
        ASSERT_OK(store_schema_open(database_path(&database->f), &database->db));
        ASSERT_OK(store_history_new(database->db, limits, &database->history));
}

static void database_done(struct database *database) {
        store_history_free(database->history);
        sqlite_close(database->db);
        fixture_done(&database->f);
}

static void execute(struct database *database, const char *text) {
        if (sqlite3_exec(database->db, text, NULL, NULL, NULL) != SQLITE_OK)
                _TEST_FAIL("%s: %s", text, sqlite3_errmsg(database->db));
}

static uint64_t count(struct database *database, const char *text) {
        uint64_t n;

        ASSERT_OK(sqlite_query_u64(database->db, text, &n));
        return n;
}

/* Jobs first to last, each of output_size bytes; every fourth is unfinished. */
static void
insert_jobs(struct database *database, uint64_t first, uint64_t last, const char *time, size_t output_size) {
        char text[1024];

        (void) snprintf(
                text, sizeof(text),
                "WITH RECURSIVE n(i) AS (VALUES (%" PRIu64
                ") UNION ALL SELECT i + 1 FROM n WHERE i < %" PRIu64 ")"
                " INSERT INTO jobs (seq, job_id, status, created_at, finished_at, updated_at, "
                "timeout_seconds,"
                " epoch, attempt, created_by_node, command, env, stdout) SELECT i, 'id-' || i,"
                " iif(i %% 4 = 0, 'JOB_PENDING', iif(i %% 4 = 1, 'JOB_FAILED', 'JOB_COMPLETED')), '%s',"
                " iif(i %% 4 = 0, NULL, '%s'), '%s', 1, 1, 1, 'node', 'true', '{}', zeroblob(%zu) FROM n",
                first, last, time, time, time, output_size);
        execute(database, text);
}

static unsigned prune_all(struct database *database) {
        unsigned slices = 0;
        int r;

        do {
                r = store_history_prune(database->history);
                ASSERT_OK(r);
                slices++;
                ASSERT_LT(slices, 1000);
        } while (r > 0);
        return slices;
}

static void test_by_number(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;

        limits.max_jobs = 100;
        database_open(&d, &limits);
        insert_jobs(&d, 1, 4000, "2026-01-01T00:00:00.000000Z", 10);

        /* Nothing goes before the jobs have been counted. */
        (void) prune_all(&d);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs"), 4000);

        store_history_set_count(d.history, &(struct ended_counts){ .jobs = 3000 });
        ASSERT_FALSE(store_history_is_excessive(d.history));
        ASSERT_GE(prune_all(&d), 5);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL"), 100);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NULL"), 1000);
        /* The youngest ones stay. */
        ASSERT_EQ(count(&d, "SELECT min(seq) FROM jobs WHERE finished_at IS NOT NULL"), 3867);

        store_history_add(d.history, &(struct ended_counts){ .jobs = HISTORY_EXCESS_MAX + 1 });
        ASSERT_TRUE(store_history_is_excessive(d.history));
}

static void test_by_age(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;
        char recent[TIME_TEXT_MAX], text[256];

        limits.max_age_usec = USEC_PER_HOUR;
        database_open(&d, &limits);
        (void) format_time(recent, sizeof(recent), now_usec(CLOCK_REALTIME), 6);
        insert_jobs(&d, 1, 1200, "2020-01-01T00:00:00.000000Z", 10);
        insert_jobs(&d, 1201, 1300, recent, 10);
        /* Accepted long ago, ended just now. */
        (void) snprintf(
                text, sizeof(text), "UPDATE jobs SET finished_at = '%s' WHERE seq IN (1, 2, 899)", recent);
        execute(&d, text);

        (void) prune_all(&d);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL AND seq <= 1200"), 3);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NULL"), 325);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE seq > 1200"), 100);
        ASSERT_EQ(prune_all(&d), 1);
}

static void test_by_bytes(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;
        uint64_t pages_before;

        limits.max_bytes = 4 * 1024 * 1024;
        database_open(&d, &limits);
        insert_jobs(&d, 1, 2000, "2026-01-01T00:00:00.000000Z", 10000);
        pages_before = count(&d, "PRAGMA page_count");
        ASSERT_GT(pages_before * 4096, 4 * limits.max_bytes);

        /* Unfinished ones alone are more than that: all others go, but never one that waits. */
        (void) prune_all(&d);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NULL"), 500);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL"), 0);

        execute(&d, "UPDATE jobs SET finished_at = updated_at, status = 'JOB_COMPLETED'");
        (void) prune_all(&d);
        ASSERT_GT(count(&d, "SELECT count(*) FROM jobs"), 200);
        ASSERT_LT(count(&d, "SELECT count(*) FROM jobs"), 450);
        ASSERT_EQ(count(&d, "PRAGMA page_count"), pages_before);
}

static void test_limits_go_with_their_jobs(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;

        limits.max_jobs = 10;
        database_open(&d, &limits);
        insert_jobs(&d, 1, 40, "2026-01-01T00:00:00.000000Z", 10);
        execute(&d, "INSERT INTO job_limits (seq, tasks_max) SELECT seq, 5 FROM jobs WHERE seq % 2 = 0");
        execute(&d, "INSERT INTO job_options (seq, retries) SELECT seq, 5 FROM jobs WHERE seq % 3 = 0");
        execute(&d, "INSERT INTO attempts (seq, epoch, attempt, node_id, outcome)"
                    " SELECT seq, 1, 1, 'node-b', 'lost' FROM jobs UNION ALL"
                    " SELECT seq, 1, 2, 'node-c', 'lost' FROM jobs");
        store_history_set_count(d.history, &(struct ended_counts){ .jobs = 30 });
        prune_all(&d);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs"), 20);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM attempts WHERE seq NOT IN (SELECT seq FROM jobs)"), 0);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM attempts"), 40);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM job_limits WHERE seq NOT IN (SELECT seq FROM jobs)"), 0);
        ASSERT_EQ(
                count(&d, "SELECT count(*) FROM job_limits"),
                count(&d, "SELECT count(*) FROM jobs WHERE seq % 2 = 0"));
        ASSERT_EQ(count(&d, "SELECT count(*) FROM job_options WHERE seq NOT IN (SELECT seq FROM jobs)"), 0);
        ASSERT_EQ(
                count(&d, "SELECT count(*) FROM job_options"),
                count(&d, "SELECT count(*) FROM jobs WHERE seq % 3 = 0"));
}

/* Copies first to last, each with an end of size bytes; every fourth is unfinished. */
static void insert_copies(struct database *database, uint64_t first, uint64_t last, size_t size) {
        char text[1024];

        (void) snprintf(
                text, sizeof(text),
                "WITH RECURSIVE n(i) AS (VALUES (%" PRIu64
                ") UNION ALL SELECT i + 1 FROM n WHERE i < %" PRIu64 ")"
                " INSERT INTO copies (seq, job_id, owner_node_id, term, epoch, run_epoch, attempt, status,"
                " created_at, updated_at, command, assignment, ending) SELECT i, 'id-' || i, 'node', 1, 1,"
                " 1, 1, iif(i %% 4 = 0, NULL, 'JOB_COMPLETED'), '2026-01-01T00:00:00.000000Z',"
                " '2026-01-01T00:00:00.000000Z', 'true', x'00', zeroblob(%zu) FROM n",
                first, last, size);
        execute(database, text);
}

/* Each of the two has the limit of number for itself. */
static void test_copies_by_number(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;

        limits.max_jobs = 100;
        database_open(&d, &limits);
        insert_jobs(&d, 1, 400, "2026-01-01T00:00:00.000000Z", 10);
        insert_copies(&d, 1, 4000, 10);
        (void) prune_all(&d);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM copies"), 4000);

        store_history_set_count(d.history, &(struct ended_counts){ .jobs = 300, .copies = 3000 });
        ASSERT_GE(prune_all(&d), 5);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL"), 100);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM copies WHERE status NOTNULL"), 100);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM copies WHERE status IS NULL"), 1000);
        ASSERT_EQ(count(&d, "SELECT min(seq) FROM copies WHERE status NOTNULL"), 3867);

        store_history_add(d.history, &(struct ended_counts){ .copies = HISTORY_EXCESS_MAX + 1 });
        ASSERT_TRUE(store_history_is_excessive(d.history));
}

/* The disk is both's: neither gives way alone. */
static void test_both_give_way(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;
        uint64_t n_jobs, n_copies;

        database_open(&d, &limits);
        insert_jobs(&d, 1, 6000, "2026-01-01T00:00:00.000000Z", 1000);
        insert_copies(&d, 1, 6000, 1000);
        limits.max_bytes = count(&d, "SELECT page_count * 4096 / 2 FROM pragma_page_count");
        store_history_set_limits(d.history, &limits);
        (void) prune_all(&d);
        n_jobs = count(&d, "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL");
        n_copies = count(&d, "SELECT count(*) FROM copies WHERE status NOTNULL");
        ASSERT_GT(n_jobs, 500);
        ASSERT_GT(n_copies, 500);
        ASSERT_LT(n_jobs, 4000);
        ASSERT_LT(n_copies, 4000);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM copies WHERE status IS NULL"), 1500);
}

static void test_newest_stays(void) {
        _cleanup_(database_done) struct database d;
        struct history_limits limits = no_limits;

        limits.max_jobs = 0;
        database_open(&d, &limits);
        insert_jobs(&d, 1, 999, "2026-01-01T00:00:00.000000Z", 10);
        store_history_set_count(d.history, &(struct ended_counts){ .jobs = 750 });
        (void) prune_all(&d);
        ASSERT_EQ(count(&d, "SELECT seq FROM jobs WHERE finished_at IS NOT NULL"), 999);
}

static bool history_is(struct fixture *f, int64_t n) {
        return sql_number(f, "SELECT count(*) FROM jobs") == n;
}

static void test_in_the_store(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t i = 0; i < 50; i++)
                write_finished_job(&f, i, 0);

        store_set_history_limits(f.store, USEC_INFINITY, 20, UINT64_MAX);
        WAIT_UNTIL(&f, history_is(&f, 20));
        ask_list(&f, 100, UINT64_MAX, 0);
        ASSERT_EQ(f.answer.n_jobs, 20);
        ASSERT_EQ(f.answer.jobs[0].sequence, 50);

        /* After a restart the jobs that are there already count too. */
        fixture_close(&f);
        f.config.history_max_jobs = 5;
        ASSERT_OK(fixture_open(&f));
        WAIT_UNTIL(&f, history_is(&f, 5));
        write_finished_job(&f, 100, 0);
        store_set_history_limits(f.store, 0, UINT64_MAX, UINT64_MAX);
        WAIT_UNTIL(&f, history_is(&f, 1));
        write_finished_job(&f, 101, 0);
        ask_job(&f, 101, false);
        ASSERT_EQ(f.answer.jobs->sequence, 52);
}

int main(void) {
        RUN(test_by_number);
        RUN(test_by_age);
        RUN(test_by_bytes);
        RUN(test_limits_go_with_their_jobs);
        RUN(test_copies_by_number);
        RUN(test_both_give_way);
        RUN(test_newest_stays);
        RUN(test_in_the_store);
        return 0;
}
