/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One call after the other fails: writes, syncs, reads and allocations, once or for a while, from the
 * opening of the file through the life of some jobs to its closing. Whatever fails, what was told as written
 * is there afterwards, what was told as failed is not, no file is taken for damaged, and nothing leaks. */

#include <glob.h>

#include "faulty-sqlite.h"
#include "fixture.h"
#include "lib/fault.h"
#include "store/store-copies.h"
#include "store/store-guests.h"
#include "store/store-query.h"
#include "store/store-records.h"
#include "store/store-schema.h"

#define JOBS 4u
#define GUEST 100u
#define COPY 200u
#define ADOPTED 300u

/* How far a job got, by what was told. */
struct outcome {
        bool accepted, lost, started, finished;
};

/* Of the copy of a job and its end, of who has copies of ours, and of a job that comes and goes. */
struct move_outcome {
        bool kept, ended, swept, held, adopted, moved;
};

struct guest_outcome {
        bool taken, ended, gone;
};

static bool write_one(struct fixture *f, struct record_batch *batch) {
        return write_and_wait(f, batch) >= 0;
}

#define LOSER 2u /* the job whose first attempt is lost */

static bool lose_attempt(struct fixture *f, struct job_spec *spec) {
        struct record_batch *batch = batch_of(RECORD_REQUEUED, job_spec_ref(spec), 1);
        struct record *record = record_batch_add(batch, RECORD_ATTEMPT);

        ASSERT_NOT_NULL(record);
        record->spec = job_spec_ref(spec);
        record->run = batch->records[0].run;
        record->fate = ATTEMPT_LOST;
        return write_one(f, batch);
}

static void run_job(struct fixture *f, uint64_t n, struct outcome *ret) {
        struct job_spec *spec = n == 1 ? spec_make_rich(n) : spec_make(n);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 2 };

        ret->accepted = write_one(f, batch_accept(job_spec_ref(spec)));
        if (ret->accepted) {
                struct uuid id = spec->id;

                ret->lost = n == LOSER && lose_attempt(f, spec);
                ret->started = write_one(f, batch_of(RECORD_STARTED, job_spec_ref(spec), 2));
                /* Reading may fail, too; it may not claim that the job is not there. */
                ASSERT_OK(store_get_jobs(f->store, &id, 1, true, take_answer, f, NULL));
                ret->finished = write_one(
                        f, batch_finish(job_spec_ref(spec), result_make(&run, 0, "some output", 11)));
                WAIT_UNTIL(f, f->n_answers > n);
                ASSERT_TRUE(f->answer.error < 0 || f->answer.n_jobs == 1);
        } else
                f->n_answers++;
        job_spec_unref(spec);
}

static void run_guest(struct fixture *f, struct guest_outcome *ret) {
        struct job_spec *spec = spec_make_rich(GUEST);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        ret->taken = write_one(f, batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL));
        ret->ended = ret->taken && write_one(
                                           f, batch_guest(
                                                      RECORD_GUEST_ENDED, job_spec_ref(spec),
                                                      result_make(&run, 0, "some output", 11)));
        ret->gone = ret->ended && write_one(f, batch_guest(RECORD_GUEST_GONE, job_spec_ref(spec), NULL));
        job_spec_unref(spec);
}

static void check_guest(const struct fixture *f, const struct guest_outcome *outcome) {
        const struct store_guest *guest = find_guest(f, GUEST);

        ASSERT_EQ(guest != NULL, outcome->taken && !outcome->gone);
        if (guest)
                ASSERT_EQ(guest->result != NULL, outcome->ended);
}

static void run_moves(struct fixture *f, struct move_outcome *ret) {
        struct job_spec *spec = spec_make_rich(COPY), *adopted = spec_make(ADOPTED);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        ret->kept = write_one(f, batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL));
        ret->ended = ret->kept && write_one(
                                          f, batch_copy(
                                                     RECORD_COPY_ENDED, job_spec_ref(spec), JOB_COMPLETED,
                                                     result_make(&run, 0, "some output", 11)));
        ret->swept = write_one(f, batch_copy(RECORD_COPIES_SWEPT, job_spec_ref(spec), JOB_UNKNOWN, NULL));
        ret->held = write_one(f, batch_copy(RECORD_HOLDER, job_spec_ref(spec), JOB_UNKNOWN, NULL));
        ret->adopted = write_one(f, batch_copy(RECORD_ADOPTED, job_spec_ref(adopted), JOB_UNKNOWN, NULL));
        ret->moved = ret->adopted &&
                     write_one(f, batch_copy(RECORD_MOVED, job_spec_ref(adopted), JOB_UNKNOWN, NULL));
        job_spec_unref(spec);
        job_spec_unref(adopted);
}

static void check_moves(struct fixture *f, const struct move_outcome *outcome) {
        ASSERT_EQ(f->n_copies, outcome->kept && !outcome->ended);
        ASSERT_EQ(f->n_holders, outcome->held);
        ASSERT_EQ(f->n_sweeps, outcome->swept);
        ask_job(f, COPY, true);
        ASSERT_EQ(f->answer.n_jobs, outcome->ended);
        ask_job(f, ADOPTED, false);
        ASSERT_EQ(f->answer.n_jobs, outcome->adopted && !outcome->moved);
        ASSERT_EQ(sql_number(f, "SELECT count(*) FROM takeovers"), outcome->adopted && !outcome->moved);
}

static void check_job(struct fixture *f, uint64_t n, const struct outcome *outcome) {
        ask_job(f, n, true);
        ASSERT_OK(f->answer.error);
        ASSERT_EQ(f->answer.n_jobs, outcome->accepted);
        if (!outcome->accepted)
                return;
        ASSERT_EQ(f->answer.jobs->n_attempts, outcome->lost);
        ASSERT_EQ(f->answer.jobs->finished_at > 0, outcome->finished);
        if (outcome->finished) {
                ASSERT_EQ(f->answer.jobs->status, JOB_COMPLETED);
                ASSERT_EQ(f->answer.jobs->stdout_size, 11);
        } else
                ASSERT_EQ(f->answer.jobs->status, outcome->started ? JOB_RUNNING : JOB_PENDING);
}

static void check_not_set_aside(const struct fixture *f) {
        char pattern[256];
        glob_t found;

        (void) snprintf(pattern, sizeof(pattern), "%s*damaged*", database_path(f));
        ASSERT_EQ(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

/* Whether a call failed at all. */
static bool run_with_fault(enum faulty_what what, unsigned call, unsigned n_calls) {
        _cleanup_fixture_ struct fixture f;
        struct outcome outcomes[JOBS] = {};
        struct guest_outcome guest = {};
        struct move_outcome moves = {};
        bool failed;
        int r;

        fixture_init(&f);
        faulty_sqlite_arm(what, call, n_calls);
        r = fixture_open(&f);
        if (r >= 0) {
                for (uint64_t n = 0; n < JOBS; n++)
                        run_job(&f, n, &outcomes[n]);
                run_guest(&f, &guest);
                run_moves(&f, &moves);
        }
        fixture_close(&f);
        failed = faulty_sqlite_disarm();
        if (!failed) {
                ASSERT_OK(r);
                ASSERT_EQ(f.n_failed, 0);
                ASSERT_EQ(f.n_health, 0);
        }

        check_not_set_aside(&f);
        ASSERT_OK(fixture_open(&f));
        check_not_set_aside(&f);
        for (uint64_t n = 0; n < JOBS; n++)
                check_job(&f, n, &outcomes[n]);
        check_guest(&f, &guest);
        check_moves(&f, &moves);
        ASSERT_EQ(
                sql_number(&f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'"),
                0);
        return failed;
}

static void walk(enum faulty_what what, unsigned n_calls) {
        unsigned call = 0;

        /* There are thousands of allocations and few writes: the further on, the larger the steps. */
        while (run_with_fault(what, call, n_calls))
                call += 1 + call / 12;
        fprintf(stderr, "  %u calls, failing %u\n", call, n_calls);
        ASSERT_GT(call, 2);
}

static void test_writes(void) {
        walk(FAULTY_WRITE, 1);
        walk(FAULTY_WRITE, 3);
}

static void test_syncs(void) {
        walk(FAULTY_SYNC, 1);
        walk(FAULTY_SYNC, 2);
}

static void test_reads(void) {
        walk(FAULTY_READ, 1);
}

static void test_opens(void) {
        walk(FAULTY_OPEN, 1);
}

static void test_memory(void) {
        walk(FAULTY_MEMORY, 1);
        walk(FAULTY_MEMORY, 20);
}

/* A disk that fails for some time: told once, and told when it works again, without anybody writing. */
static void test_recovery(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        faulty_sqlite_arm(FAULTY_SYNC, 0, 1000000);
        for (uint64_t n = 0; n < 5; n++)
                ASSERT_ERROR(write_and_wait(&f, batch_accept(spec_make(n))), EIO);
        WAIT_UNTIL(&f, f.health == -EIO);
        ASSERT_EQ(f.n_health, 1);
        (void) faulty_sqlite_disarm();
        WAIT_UNTIL(&f, f.health == 0);
        ASSERT_EQ(f.n_health, 2);
        ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(0))));
}

static void write_ended_guests(struct fixture *f, uint64_t n_guests) {
        for (uint64_t n = 0; n < n_guests; n++) {
                struct job_spec *spec = spec_make_rich(GUEST + n);
                struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

                ASSERT_OK(write_and_wait(f, batch_guest(RECORD_GUEST_TAKEN, job_spec_ref(spec), NULL)));
                ASSERT_OK(write_and_wait(
                        f, batch_guest(RECORD_GUEST_ENDED, spec, result_make(&run, 1, "some output", 11))));
        }
}

static void write_copies(struct fixture *f, uint64_t n_copies) {
        for (uint64_t n = 0; n < n_copies; n++)
                ASSERT_OK(write_and_wait(
                        f, batch_copy(RECORD_COPY, spec_make_rich(COPY + n), JOB_UNKNOWN, NULL)));
        ASSERT_OK(write_and_wait(f, batch_copy(RECORD_HOLDER, spec_make(COPY), JOB_UNKNOWN, NULL)));
        ASSERT_OK(write_and_wait(f, batch_copy(RECORD_COPIES_SWEPT, spec_make(COPY), JOB_UNKNOWN, NULL)));
}

static void drop_batches(struct list *list) {
        struct record_batch *batch;

        LIST_FOREACH(list, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
}

static int salvage_copies(sqlite3 *db) {
        _cleanup_(store_copies_done) struct store_copies copies = {};
        struct list batches;
        int r;

        list_init(&batches);
        r = store_copies_salvage(db, &copies);
        if (r >= 0)
                r = store_copies_describe(&copies, &batches);
        if (r >= 0)
                ASSERT_EQ(copies.n + copies.n_holders, 4);
        drop_batches(&batches);
        return r;
}

static int salvage_guests(sqlite3 *db) {
        _cleanup_(store_guests_done) struct store_guests guests = {};
        int r;

        r = store_guests_salvage(db, &guests);
        for (size_t i = 0; i < guests.n && r >= 0; i++) {
                _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;

                r = store_guest_describe(&guests.guests[i], &batch);
        }
        if (r >= 0)
                ASSERT_EQ(guests.n, 3);
        return r;
}

static int open_and_close(struct fixture *f) {
        int r = fixture_open(f);

        fixture_close(f);
        return r;
}

static void test_own_allocations_of_open(void) {
        _cleanup_fixture_ struct fixture f;
        uint64_t n_failed;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t n = 0; n < 3; n++)
                ASSERT_OK(write_and_wait(&f, batch_accept(spec_make_rich(n))));
        write_ended_guests(&f, 3);
        write_copies(&f, 3);
        fixture_close(&f);
        n_failed = FAULT_LOOP(r = open_and_close(&f));
        ASSERT_GT(n_failed, 5);
        check_not_set_aside(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 3);
        ASSERT_EQ(f.n_guests, 3);
        ASSERT_EQ(f.n_copies, 3);
        ASSERT_EQ(f.n_holders, 1);
        ASSERT_EQ(f.n_sweeps, 1);
}

/* Of a damaged file everything is found, or the start fails and the next one finds it: never a part of it.
 */
static void test_own_allocations_of_salvage(void) {
        _cleanup_fixture_ struct fixture f;
        sqlite3 *db;
        uint64_t n_failed;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        write_ended_guests(&f, 3);
        write_copies(&f, 3);
        fixture_close(&f);
        ASSERT_OK(store_schema_open_reader(database_path(&f), &db));
        n_failed = FAULT_LOOP(r = salvage_guests(db));
        ASSERT_GT(n_failed, 3);
        n_failed = FAULT_LOOP(r = salvage_copies(db));
        ASSERT_GT(n_failed, 3);
        sqlite_close(db);
}

static int ask(struct fixture *f) {
        struct uuid id = job_id(1);
        struct store_query *query;
        int r = store_get_jobs(f->store, &id, 1, true, take_answer, f, &query);

        if (r >= 0)
                store_query_cancel(query);
        return r;
}

static int answer(struct store_queries *queries, const struct query_question *question) {
        struct store_answer answered;
        size_t size;
        int r;

        store_queries_answer(queries, question, &answered, &size);
        r = answered.error;
        if (r >= 0)
                ASSERT_EQ(answered.n_jobs, 1);
        store_answer_done(&answered);
        return r;
}

static void test_own_allocations_of_questions(void) {
        _cleanup_fixture_ struct fixture f;
        _cleanup_(store_queries_free_p) struct store_queries *queries = NULL;
        _cleanup_(sqlite_close_p) sqlite3 *db = NULL;
        struct job_spec *spec = spec_make_rich(1);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };
        struct query_question list = { .kind = QUERY_LIST, .list = { .limit = 10, .before = UINT64_MAX } };
        struct query_question jobs = {
                .kind = QUERY_JOBS, .ids = &spec->id, .n_ids = 1, .with_output = true
        };
        struct uuid copy_id = job_id(COPY);
        struct run_id copy_run = { .job = copy_id, .epoch = 1, .attempt = 1 };
        struct query_question copy = {
                .kind = QUERY_JOBS, .ids = &copy_id, .n_ids = 1, .with_output = true
        };
        struct query_question copied = { .kind = QUERY_OUTPUT, .id = copy_id, .stream = 1, .size = 100 };
        struct query_question output = { .kind = QUERY_OUTPUT, .id = spec->id, .stream = 1, .size = 100 };
        static char data[10000];
        uint64_t n_failed;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        ASSERT_OK(write_and_wait(&f, batch_accept(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(
                &f, batch_finish(job_spec_ref(spec), result_make(&run, 0, data, sizeof(data)))));

        ASSERT_OK(write_and_wait(
                &f, batch_copy(
                            RECORD_COPY_ENDED, spec_make_rich(COPY), JOB_COMPLETED,
                            result_make(&copy_run, 0, data, sizeof(data)))));

        n_failed = FAULT_LOOP(r = ask(&f));
        ASSERT_GT(n_failed, 1);
        ASSERT_OK(store_schema_open_reader(database_path(&f), &db));
        n_failed = FAULT_LOOP(r = store_queries_new(db, &queries));
        ASSERT_GT(n_failed, 0);
        n_failed = FAULT_LOOP(r = answer(queries, &list));
        ASSERT_GT(n_failed, 5);
        n_failed = FAULT_LOOP(r = answer(queries, &jobs));
        ASSERT_GT(n_failed, 5);
        n_failed = FAULT_LOOP(r = answer(queries, &output));
        ASSERT_GT(n_failed, 5);
        n_failed = FAULT_LOOP(r = answer(queries, &copy));
        ASSERT_GT(n_failed, 10);
        n_failed = FAULT_LOOP(r = answer(queries, &copied));
        ASSERT_GT(n_failed, 10);
        queries = store_queries_free(queries);
        job_spec_unref(spec);
}

int main(void) {
        faulty_sqlite_install();
        RUN(test_writes);
        RUN(test_syncs);
        RUN(test_reads);
        RUN(test_opens);
        RUN(test_memory);
        RUN(test_recovery);
        RUN(test_own_allocations_of_open);
        RUN(test_own_allocations_of_salvage);
        RUN(test_own_allocations_of_questions);
        return 0;
}
