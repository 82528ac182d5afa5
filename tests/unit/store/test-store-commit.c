/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Groups of batches: their order, what is left out, what one bad batch does to the others, and how long a
 * batch may wait for company. */

#include "fixture.h"
#include "store/store-records.h"
#include "store/store-runs.h"
#include "store/store-schema.h"

static void
add_record(struct record_batch *batch, enum record_type type, struct job_spec *spec, uint32_t attempt) {
        struct record *record = record_batch_add(batch, type);

        record->spec = job_spec_ref(spec);
        record->run = (struct run_id){ .job = spec->id, .epoch = 1, .attempt = attempt };
        record->at_usec = 1700000000000000;
        if (type == RECORD_FINISHED) {
                record->result = result_make(&record->run, 0, "out", 3);
                record->status = JOB_COMPLETED;
        }
}

static struct record_batch *batch_empty(void) {
        struct record_batch *batch;

        ASSERT_OK(record_batch_new(4, &batch));
        return batch;
}

static void test_outcomes_come_in_order(void) {
        _cleanup_fixture_ struct fixture f;
        struct job_spec *specs[3000];

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uintptr_t i = 0; i < ELEMENTSOF(specs); i++) {
                struct record_batch *batch;

                specs[i] = spec_make(i);
                batch = batch_accept(job_spec_ref(specs[i]));
                batch->owner = (void *) (i + 1);
                batch->urgent = i % 3 == 0;
                store_write(f.store, batch);
                ASSERT_GT(store_backlog(f.store), 0);
                if (i % 100 == 0)
                        ASSERT_OK(sd_event_run(f.event, 0));
        }
        WAIT_UNTIL(&f, f.n_written == ELEMENTSOF(specs));
        ASSERT_EQ(f.n_failed, 0);
        ASSERT_FALSE(f.out_of_order);
        ASSERT_EQ(store_backlog(f.store), 0);
        ASSERT_EQ(f.n_health, 0);

        for (uint64_t i = 0; i < ELEMENTSOF(specs); i += 97) {
                ask_job(&f, i, false);
                ASSERT_EQ(f.answer.jobs->sequence, i + 1);
        }
        for (size_t i = 0; i < ELEMENTSOF(specs); i++)
                job_spec_unref(specs[i]);
}

/* What was told as written is seen by a question that is asked then. */
static void test_reads_see_what_was_told(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t i = 0; i < 300; i++) {
                ASSERT_OK(write_and_wait(&f, batch_accept(spec_make(i))));
                ask_job(&f, i, false);
                ASSERT_EQ(f.answer.n_jobs, 1);
                ask_list(&f, 1, UINT64_MAX, 0);
                ASSERT_EQ(f.answer.jobs->sequence, i + 1);
        }
}

static void test_lone_batch_waits_for_company(void) {
        _cleanup_fixture_ struct fixture f;
        struct record_batch *batch;
        usec_t begin;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        batch = batch_accept(spec_make(1));
        batch->urgent = false;
        begin = now_usec(CLOCK_MONOTONIC);
        ASSERT_OK(write_and_wait(&f, batch));
        ASSERT_GE(now_usec(CLOCK_MONOTONIC) - begin, RECORD_LINGER_USEC);

        /* One that cannot wait takes the other along: both are there when it is told. */
        batch = batch_accept(spec_make(2));
        batch->urgent = false;
        batch->owner = (void *) 1;
        store_write(f.store, batch);
        batch = batch_accept(spec_make(3));
        batch->owner = (void *) 2;
        store_write(f.store, batch);
        WAIT_UNTIL(&f, f.n_written == 3);
        ASSERT_FALSE(f.out_of_order);
}

static void test_close_commits(void) {
        _cleanup_fixture_ struct fixture f;

        fixture_init(&f);
        ASSERT_OK(fixture_open(&f));
        for (uint64_t i = 0; i < 200; i++) {
                struct record_batch *batch = batch_accept(spec_make(i));

                batch->urgent = false;
                store_write(f.store, batch);
        }
        fixture_close(&f);
        ASSERT_EQ(f.n_written, 0);
        ASSERT_OK(fixture_open(&f));
        ASSERT_EQ(f.n_unfinished, 200);
        for (uint64_t i = 0; i < 200; i++) {
                struct uuid id = job_id(i);

                ASSERT_TRUE(uuid_equal(&f.unfinished[i].spec->id, &id));
        }
}

/* The SQL side by itself, so that groups are what the test says. */
struct database {
        struct fixture f;
        sqlite3 *db;
        struct store_records *records;
        struct list group;
};

static void database_open(struct database *database) {
        fixture_init(&database->f);
        ASSERT_OK(store_schema_open(database_path(&database->f), &database->db));
        ASSERT_OK(store_records_new(database->db, NODE_ID, &database->records));
        list_init(&database->group);
}

static void database_done(struct database *database) {
        struct record_batch *batch;

        LIST_FOREACH(&database->group, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
        store_records_free(database->records);
        sqlite_close(database->db);
        fixture_done(&database->f);
}

static uint64_t count(struct database *database, const char *text) {
        uint64_t n;

        ASSERT_OK(sqlite_query_u64(database->db, text, &n));
        return n;
}

static void test_start_is_left_out_when_the_end_is_there(void) {
        _cleanup_(database_done) struct database d;
        struct job_spec *ended = spec_make(1), *running = spec_make(2), *again = spec_make(3);
        struct record_batch *first = batch_empty(), *second = batch_empty();
        struct ended_counts n_ended;
        int changes;

        database_open(&d);
        add_record(first, RECORD_ACCEPTED, ended, 0);
        add_record(first, RECORD_ACCEPTED, running, 0);
        add_record(first, RECORD_ACCEPTED, again, 0);
        add_record(first, RECORD_STARTED, ended, 1);
        add_record(first, RECORD_STARTED, running, 1);
        add_record(first, RECORD_STARTED, again, 1);
        add_record(second, RECORD_FINISHED, ended, 1);
        add_record(second, RECORD_FINISHED, again, 2);
        list_append(&d.group, &first->link);
        list_append(&d.group, &second->link);

        changes = sqlite3_total_changes(d.db);
        ASSERT_OK(store_records_commit(d.records, &d.group, &n_ended));
        ASSERT_OK(first->error);
        ASSERT_OK(second->error);
        ASSERT_EQ(n_ended.jobs, 2);
        /* Three jobs, two ends, and two of the three starts: the other run of "again" is not the one that
         * ended. */
        ASSERT_EQ(sqlite3_total_changes(d.db) - changes, 7);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE status = 'JOB_RUNNING'"), 1);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE started_at IS NOT NULL"), 3);
        job_spec_unref(ended);
        job_spec_unref(running);
        job_spec_unref(again);
}

static void test_bad_batch_fails_alone(void) {
        _cleanup_(database_done) struct database d;
        struct job_spec *specs[4];
        struct record_batch *batches[4];
        struct ended_counts n_ended;

        database_open(&d);
        for (size_t i = 0; i < 4; i++) {
                specs[i] = spec_make(i);
                batches[i] = batch_empty();
                list_append(&d.group, &batches[i]->link);
        }
        add_record(batches[0], RECORD_ACCEPTED, specs[0], 0);
        add_record(batches[0], RECORD_STARTED, specs[0], 1);
        /* Not as a whole: the same id again. */
        add_record(batches[1], RECORD_ACCEPTED, specs[1], 0);
        add_record(batches[1], RECORD_ACCEPTED, specs[0], 0);
        add_record(batches[2], RECORD_FINISHED, specs[0], 1);
        /* An end that is none. */
        add_record(batches[3], RECORD_FINISHED, specs[0], 1);
        batches[3]->records[0].status = JOB_RUNNING;

        ASSERT_OK(store_records_commit(d.records, &d.group, &n_ended));
        ASSERT_OK(batches[0]->error);
        ASSERT_ERROR(batches[1]->error, EEXIST);
        ASSERT_OK(batches[2]->error);
        ASSERT_ERROR(batches[3]->error, EINVAL);
        ASSERT_EQ(n_ended.jobs, 1);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs"), 1);
        ASSERT_EQ(count(&d, "SELECT count(*) FROM jobs WHERE status = 'JOB_COMPLETED'"), 1);
        ASSERT_EQ(store_records_last_sequence(d.records), 1);
        for (size_t i = 0; i < 4; i++)
                job_spec_unref(specs[i]);
}

static void test_finished_runs(void) {
        _cleanup_(finished_runs_done) struct finished_runs runs = {};
        struct record_batch *batch = batch_empty();
        struct job_spec *specs[500];
        struct list group;

        list_init(&group);
        list_append(&group, &batch->link);
        finished_runs_collect(&runs, group.root.next, &group.root);
        ASSERT_EQ(runs.n_slots, 0);

        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                specs[i] = spec_make(i);
                add_record(batch, i % 2 == 0 ? RECORD_FINISHED : RECORD_STARTED, specs[i], 1);
        }
        finished_runs_collect(&runs, group.root.next, &group.root);
        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                ASSERT_EQ(finished_runs_contain(&runs, &batch->records[i].run), i % 2 == 0);
                batch->records[i].run.attempt = 2;
                ASSERT_FALSE(finished_runs_contain(
                        &runs, &(struct run_id){ .job = specs[i]->id, .epoch = 2, .attempt = 1 }));
        }
        record_batch_free(batch);
        for (size_t i = 0; i < ELEMENTSOF(specs); i++)
                job_spec_unref(specs[i]);
}

int main(void) {
        RUN(test_outcomes_come_in_order);
        RUN(test_reads_see_what_was_told);
        RUN(test_lone_batch_waits_for_company);
        RUN(test_close_commits);
        RUN(test_start_is_left_out_when_the_end_is_there);
        RUN(test_bad_batch_fails_alone);
        RUN(test_finished_runs);
        return 0;
}
