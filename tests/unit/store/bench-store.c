/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints what the store does beside what SQLite alone does with the same table in the same folder. Not a
 * test.
 *
 *         bench-store insert|group|guests|list [number of jobs [submitters]]
 */

#include <fcntl.h>
#include <malloc.h>

#include "fixture.h"

#define ROUNDS 5
#define BATCH_SIZE 10000u
#define SUBMITTERS 64u /* unless told otherwise */

static double seconds_since(usec_t begin) {
        return (double) (now_usec(CLOCK_MONOTONIC) - begin) / USEC_PER_SEC;
}

static int compare_doubles(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static double median(double values[static ROUNDS]) {
        qsort(values, ROUNDS, sizeof(values[0]), compare_doubles);
        return values[ROUNDS / 2];
}

/* A second file with the same table, written by nothing but SQLite. */
struct bare {
        sqlite3 *db;
        sqlite3_stmt *insert;
        int64_t sequence;
};

static void bare_open(struct bare *bare, struct fixture *f) {
        char text[512];

        (void) snprintf(text, sizeof(text), "%s/bare.db", f->folder.path);
        ASSERT_EQ(sqlite3_open(text, &bare->db), SQLITE_OK);
        (void) snprintf(text, sizeof(text), "ATTACH '%s' AS original", database_path(f));
        ASSERT_EQ(sqlite3_exec(bare->db, text, NULL, NULL, NULL), SQLITE_OK);
        for (int i = 0; i < 2; i++) {
                sqlite3_stmt *statement;
                char *create;

                ASSERT_EQ(
                        sqlite3_prepare_v2(
                                bare->db,
                                i == 0 ? "SELECT sql FROM original.sqlite_schema WHERE name = 'jobs'"
                                       : "SELECT sql FROM original.sqlite_schema WHERE name = "
                                         "'jobs_by_status'",
                                -1, &statement, NULL),
                        SQLITE_OK);
                ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
                create = strdup((const char *) sqlite3_column_text(statement, 0));
                sqlite3_finalize(statement);
                ASSERT_EQ(sqlite3_exec(bare->db, create, NULL, NULL, NULL), SQLITE_OK);
                free(create);
        }
        ASSERT_EQ(
                sqlite3_exec(
                        bare->db, "DETACH original; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
                        NULL, NULL, NULL),
                SQLITE_OK);
        ASSERT_EQ(
                sqlite3_prepare_v2(
                        bare->db,
                        "INSERT INTO jobs (seq, job_id, status, created_at, updated_at, timeout_seconds, "
                        "epoch,"
                        " attempt, created_by_node, command, env)"
                        " VALUES (?, ?, 'JOB_PENDING', ?, ?, 300, 1, 0, 'node-0123456789abcdef', 'true', "
                        "'{}')",
                        -1, &bare->insert, NULL),
                SQLITE_OK);
}

static void bare_insert(struct bare *bare, size_t n) {
        static const char time[] = "2026-01-01T00:00:00.000000Z";
        char text[UUID_TEXT_SIZE];

        ASSERT_EQ(sqlite3_exec(bare->db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
        for (size_t i = 0; i < n; i++) {
                struct uuid id = job_id((uint64_t) ++bare->sequence);

                sqlite3_bind_int64(bare->insert, 1, bare->sequence);
                sqlite3_bind_text(bare->insert, 2, uuid_to_text(&id, text), -1, SQLITE_STATIC);
                sqlite3_bind_text(bare->insert, 3, time, -1, SQLITE_STATIC);
                sqlite3_bind_text(bare->insert, 4, time, -1, SQLITE_STATIC);
                ASSERT_EQ(sqlite3_step(bare->insert), SQLITE_DONE);
                sqlite3_reset(bare->insert);
        }
        ASSERT_EQ(sqlite3_exec(bare->db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
}

static void bare_close(struct bare *bare) {
        sqlite3_finalize(bare->insert);
        sqlite3_close(bare->db);
}

static struct record_batch *make_batch(uint64_t first, size_t n) {
        struct record_batch *batch;

        ASSERT_OK(record_batch_new(n, &batch));
        for (size_t i = 0; i < n; i++) {
                struct record *record = record_batch_add(batch, RECORD_ACCEPTED);

                record->spec = spec_make(first + i);
                record->run = (struct run_id){ .job = record->spec->id, .epoch = 1 };
                record->at_usec = record->spec->created_at;
        }
        batch->urgent = true;
        return batch;
}

static void bench_insert(uint64_t n_rounds) {
        _cleanup_fixture_ struct fixture f;
        double store[ROUNDS], bare_times[ROUNDS];
        uint64_t sequence = 1;
        struct bare bare = {};

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        bare_open(&bare, &f);
        for (size_t i = 0; i < ROUNDS; i++) {
                struct record_batch *batch = make_batch(sequence, BATCH_SIZE);
                usec_t begin = now_usec(CLOCK_MONOTONIC);

                sequence += BATCH_SIZE;
                ASSERT_OK(write_and_wait(&f, batch));
                store[i] = seconds_since(begin);
                begin = now_usec(CLOCK_MONOTONIC);
                bare_insert(&bare, BATCH_SIZE);
                bare_times[i] = seconds_since(begin);
        }
        printf("batch of %u: store %.0f/s, SQLite alone %.0f/s, ratio %.2f\n", BATCH_SIZE,
               BATCH_SIZE / median(store), BATCH_SIZE / median(bare_times),
               median(bare_times) / median(store));
        bare_close(&bare);
}

static void bench_group(uint64_t n_jobs, uint64_t submitters) {
        _cleanup_fixture_ struct fixture f;
        double store[ROUNDS], bare_times[ROUNDS];
        uint64_t sequence = 1;
        struct bare bare = {};

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        bare_open(&bare, &f);
        for (size_t i = 0; i < ROUNDS; i++) {
                uint64_t written = f.n_written, handed_in = written, end = written + n_jobs;
                usec_t begin = now_usec(CLOCK_MONOTONIC);

                while (f.n_written < end) {
                        for (; handed_in < end && handed_in - f.n_written < submitters; handed_in++)
                                store_write(f.store, make_batch(sequence++, 1));
                        ASSERT_OK(sd_event_run(f.event, UINT64_MAX));
                }
                store[i] = seconds_since(begin);
                ASSERT_EQ(f.n_failed, 0);
                begin = now_usec(CLOCK_MONOTONIC);
                for (uint64_t j = 0; j < n_jobs; j += submitters)
                        bare_insert(&bare, submitters);
                bare_times[i] = seconds_since(begin);
        }
        printf("%" PRIu64
               " submitters: store %.0f/s, SQLite alone in groups of as many %.0f/s, ratio %.2f\n",
               submitters, n_jobs / median(store), n_jobs / median(bare_times),
               median(bare_times) / median(store));
        bare_close(&bare);
}

static struct record_batch *make_guest_batch(enum record_type type, uint64_t first, size_t n) {
        struct record_batch *batch = make_batch(first, n);

        for (size_t i = 0; i < n; i++) {
                struct record *record = &batch->records[i];

                record->type = type;
                record->run.attempt = 1;
                ASSERT_OK(node_name_new(OWNER_ID, &record->node));
                if (type == RECORD_GUEST_ENDED)
                        record->result = result_make(&record->run, 0, "some output\n", 12);
        }
        return batch;
}

static double time_write(struct fixture *f, struct record_batch *batch) {
        usec_t begin = now_usec(CLOCK_MONOTONIC);

        ASSERT_OK(write_and_wait(f, batch));
        return seconds_since(begin) * 1000;
}

/* Batches of others' jobs beside one of own jobs. */
static void bench_guests(size_t n) {
        double own[ROUNDS], taken[ROUNDS], ended[ROUNDS], found[ROUNDS], gone[ROUNDS];
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (size_t i = 0; i < ROUNDS; i++) {
                uint64_t first = 1 + i * n;
                usec_t begin;

                own[i] = time_write(&f, make_batch(first, n));
                taken[i] = time_write(&f, make_guest_batch(RECORD_GUEST_TAKEN, first, n));
                ended[i] = time_write(&f, make_guest_batch(RECORD_GUEST_ENDED, first, n));
                sql(&f, "UPDATE jobs SET status = 'JOB_FAILED', finished_at = updated_at");
                fixture_close(&f);
                begin = now_usec(CLOCK_MONOTONIC);
                ASSERT_OK(fixture_open(&f));
                found[i] = seconds_since(begin) * 1000;
                ASSERT_EQ(f.n_guests, n);
                gone[i] = time_write(&f, make_guest_batch(RECORD_GUEST_GONE, first, n));
        }
        printf("%zu jobs: own accepted %.1f ms; guests taken %.1f ms, ended %.1f ms, found at start %.1f "
               "ms, "
               "gone %.1f ms; taken / accepted %.2f\n",
               n, median(own), median(taken), median(ended), median(found), median(gone),
               median(taken) / median(own));
}

static void print_list_time(struct fixture *f, const char *name, uint64_t before, uint32_t status_mask) {
        double times[201];

        for (size_t i = 0; i < ELEMENTSOF(times); i++) {
                usec_t begin = now_usec(CLOCK_MONOTONIC);

                ask_list(f, 50, before, status_mask);
                times[i] = (double) (now_usec(CLOCK_MONOTONIC) - begin);
        }
        qsort(times, ELEMENTSOF(times), sizeof(times[0]), compare_doubles);
        printf("list of 50, %s: %zu jobs, median %.0f us, worst %.0f us\n", name, f->answer.n_jobs,
               times[ELEMENTSOF(times) / 2], times[ELEMENTSOF(times) - 1]);
}

static void fill(struct fixture *f, uint64_t n_jobs) {
        uint64_t in_flight_max = 4;
        usec_t begin = now_usec(CLOCK_MONOTONIC);
        uint64_t handed_in = 0;

        for (uint64_t n = 1; n <= n_jobs; n += BATCH_SIZE) {
                struct record_batch *batch = make_batch(n, BATCH_SIZE);

                for (size_t i = 0; i < BATCH_SIZE; i++) {
                        struct record *record = record_batch_add(batch, RECORD_FINISHED);

                        record->spec = job_spec_ref(batch->records[i].spec);
                        record->run = batch->records[i].run;
                        record->result = result_make(&record->run, i % 100 == 0, "some output\n", 12);
                        record->status = job_result_status(record->result);
                }
                store_write(f->store, batch);
                handed_in++;
                WAIT_UNTIL(f, handed_in - f->n_written < in_flight_max);
        }
        WAIT_UNTIL(f, handed_in == f->n_written);
        ASSERT_EQ(f->n_failed, 0);
        printf("%" PRIu64 " jobs accepted and finished in %.1f s\n", n_jobs, seconds_since(begin));
}

static void bench_list(uint64_t n_jobs) {
        _cleanup_fixture_ struct fixture f;
        usec_t begin;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        fill(&f, n_jobs);
        print_list_time(&f, "newest", UINT64_MAX, 0);
        print_list_time(&f, "deep", n_jobs / 3, 0);
        print_list_time(&f, "failed", UINT64_MAX, 1u << JOB_FAILED);
        print_list_time(&f, "failed, deep", n_jobs / 3, 1u << JOB_FAILED);
        print_list_time(
                &f, "completed or failed or running, deep", n_jobs / 3,
                1u << JOB_FAILED | 1u << JOB_COMPLETED | 1u << JOB_RUNNING);
        print_list_time(&f, "timed out (none)", UINT64_MAX, 1u << JOB_TIMEOUT);

        begin = now_usec(CLOCK_MONOTONIC);
        fixture_close(&f);
        printf("close: %.0f ms\n", seconds_since(begin) * 1000);
        begin = now_usec(CLOCK_MONOTONIC);
        ASSERT_OK(fixture_open(&f));
        printf("open: %.1f ms\n", seconds_since(begin) * 1000);
        begin = now_usec(CLOCK_MONOTONIC);
        ask_list(&f, 50, UINT64_MAX, 0);
        printf("first list after it, behind the count: %.1f ms\n", seconds_since(begin) * 1000);
        begin = now_usec(CLOCK_MONOTONIC);
        ASSERT_EQ(sql_number(&f, "PRAGMA quick_check"), 0);
        printf("quick_check: %.1f s\n", seconds_since(begin));
}

int main(int argc, char *argv[]) {
        uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

        if (argc > 1 && streq(argv[1], "insert"))
                bench_insert(n);
        else if (argc > 1 && streq(argv[1], "group"))
                bench_group(n > 0 ? n : 20000, argc > 3 ? strtoull(argv[3], NULL, 10) : SUBMITTERS);
        else if (argc > 1 && streq(argv[1], "guests"))
                bench_guests(n > 0 ? n : 1000);
        else if (argc > 1 && streq(argv[1], "list"))
                bench_list(n > 0 ? n : 1000000);
        else {
                fprintf(stderr, "Usage: %s insert|group|guests|list [number of jobs [submitters]]\n",
                        argv[0]);
                return 2;
        }
        return 0;
}
