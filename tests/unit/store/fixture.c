/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"

#include <errno.h>

#include "store/store-query.h"
#include "util/array.h"

void fixture_init(struct fixture *fixture) {
        *fixture = (struct fixture){};
        folder_make(&fixture->folder);
        (void) snprintf(fixture->directory, sizeof(fixture->directory), "%s", fixture->folder.path);
        fixture->config = (struct store_config){
                .directory = fixture->directory,
                .node_id = NODE_ID,
                .history_max_age_usec = USEC_INFINITY,
                .history_max_jobs = UINT64_MAX,
                .history_max_bytes = UINT64_MAX,
        };
        ASSERT_OK(sd_event_new(&fixture->event));
}

static void on_written(void *userdata, struct record_batch *batch, int error) {
        struct fixture *fixture = userdata;
        uintptr_t owner = (uintptr_t) batch->owner;

        if (owner > 0) {
                fixture->out_of_order = fixture->out_of_order || owner != fixture->next_owner + 1;
                fixture->next_owner = owner;
        }
        fixture->n_written++;
        fixture->last_error = error;
        fixture->last_owner = batch->owner;
        if (error < 0)
                fixture->n_failed++;
        record_batch_free(batch);
}

static void on_health_changed(void *userdata, int error, const char *reason) {
        struct fixture *fixture = userdata;

        fixture->n_health++;
        fixture->health = error;
        (void) snprintf(fixture->reason, sizeof(fixture->reason), "%s", reason ? reason : "");
}

static int on_unfinished(void *userdata, struct store_unfinished *job) {
        struct fixture *fixture = userdata;

        ASSERT_LT(fixture->n_unfinished, ELEMENTSOF(fixture->unfinished));
        fixture->unfinished[fixture->n_unfinished++] = *job;
        return 0;
}

/* Allocates, and so may fail where faults are made. */
static int on_guest(void *userdata, struct store_guest *guest) {
        struct fixture *fixture = userdata;

        int r = ARRAY_RESERVE(fixture->guests, fixture->n_guests + 1, fixture->n_guests_allocated, 16);

        if (r < 0) {
                job_spec_unref(guest->spec);
                job_result_unref(guest->result);
                return r;
        }
        fixture->guests[fixture->n_guests++] = *guest;
        return 0;
}

static int on_copy(void *userdata, struct store_copy *copy) {
        struct fixture *fixture = userdata;

        int r = ARRAY_RESERVE(fixture->copies, fixture->n_copies + 1, fixture->n_copies_allocated, 16);

        if (r < 0) {
                job_spec_unref(copy->spec);
                return r;
        }
        fixture->copies[fixture->n_copies++] = *copy;
        return 0;
}

static int on_holder(void *userdata, const char *node_id, uint64_t term) {
        struct fixture *fixture = userdata;

        ASSERT_LT(fixture->n_holders, ELEMENTSOF(fixture->holders));
        (void) snprintf(
                fixture->holders[fixture->n_holders].node_id, sizeof(fixture->holders->node_id), "%s",
                node_id);
        fixture->holders[fixture->n_holders++].term = term;
        return 0;
}

static int on_swept(void *userdata, const char *owner_node_id, uint64_t term, uint64_t owner_instance) {
        struct fixture *fixture = userdata;

        ASSERT_LT(fixture->n_sweeps, ELEMENTSOF(fixture->sweeps));
        (void) snprintf(
                fixture->sweeps[fixture->n_sweeps].owner_node_id, sizeof(fixture->sweeps->owner_node_id),
                "%s", owner_node_id);
        fixture->sweeps[fixture->n_sweeps].term = term;
        fixture->sweeps[fixture->n_sweeps++].owner_instance = owner_instance;
        return 0;
}

static void on_drain(void *userdata, const struct store_drain *drain) {
        struct fixture *fixture = userdata;

        ASSERT_FALSE(fixture->drained);
        fixture->drained = true;
        fixture->drain = *drain;
}

static void forget_unfinished(struct fixture *fixture) {
        for (size_t i = 0; i < fixture->n_guests; i++) {
                job_spec_unref(fixture->guests[i].spec);
                job_result_unref(fixture->guests[i].result);
        }
        fixture->n_guests = 0;
        for (size_t i = 0; i < fixture->n_copies; i++)
                job_spec_unref(fixture->copies[i].spec);
        fixture->n_copies = fixture->n_holders = fixture->n_sweeps = 0;
        fixture->drained = false;
        for (size_t i = 0; i < fixture->n_unfinished; i++)
                job_spec_unref(fixture->unfinished[i].spec);
        fixture->n_unfinished = 0;
}

int fixture_open(struct fixture *fixture) {
        struct store_handlers handlers = {
                .written = on_written,
                .health_changed = on_health_changed,
                .guest = on_guest,
                .copy = on_copy,
                .holder = on_holder,
                .swept = on_swept,
                .drain = on_drain,
                .userdata = fixture,
        };

        forget_unfinished(fixture);
        return store_open(
                &fixture->config, fixture->event, &handlers, on_unfinished, fixture, &fixture->store);
}

void fixture_close(struct fixture *fixture) {
        fixture->store = store_close(fixture->store);
}

void fixture_done(struct fixture *fixture) {
        fixture_close(fixture);
        forget_unfinished(fixture);
        free(fixture->guests);
        free(fixture->copies);
        store_answer_done(&fixture->answer);
        sd_event_unref(fixture->event);
        folder_remove(&fixture->folder);
}

struct uuid job_id(uint64_t n) {
        /* Scattered, as random ids are. */
        uint64_t mixed = n * UINT64_C(0x9e3779b97f4a7c15) + 1;
        struct uuid id;

        memcpy(id.bytes, &mixed, sizeof(mixed));
        memcpy(id.bytes + sizeof(mixed), &n, sizeof(n));
        uuid_set_version(&id, 4);
        return id;
}

static struct job_spec *spec_from(const struct job_request *request, uint64_t n) {
        struct job_spec *spec;
        struct job_problem problem;

        ASSERT_OK(job_request_check(request, &problem));
        ASSERT_OK(job_spec_new(request, &spec));
        spec->id = job_id(n);
        spec->created_at = now_usec(CLOCK_REALTIME);
        (void) snprintf(spec->created_by_node, sizeof(spec->created_by_node), "%s", NODE_ID);
        return spec;
}

struct job_spec *spec_make(uint64_t n) {
        return spec_from(&(struct job_request){ .command = "true", .command_size = 4 }, n);
}

#define TEXT(text) .name = text, .name_size = sizeof(text) - 1
#define VALUE(text) .value = text, .value_size = sizeof(text) - 1

struct job_spec *spec_make_rich(uint64_t n) {
        static const char command[] = "printf '\"%s\"\\n' grüße | tee log";
        static char input[STDIN_MAX];
        struct job_env env[] = {
                { TEXT("QUOTED"), VALUE("say \"hello\\\"\n\t\x01") },
                { TEXT("EMPTY"), VALUE("") },
                { TEXT("EQUALS"), VALUE("a=b=c") },
                { TEXT("UMLAUT"), VALUE("äöü€😀") },
        };
        struct job_label labels[] = { { "arch=x86_64", 11 }, { "gpu", 3 }, { "x=\\", 3 } };
        struct job_spec *spec;

        for (size_t i = 0; i < sizeof(input); i++)
                input[i] = (char) (i * 7 + i / 256);
        spec = spec_from(
                &(struct job_request){
                        .command = command,
                        .command_size = sizeof(command) - 1,
                        .target_node_id = NODE_ID,
                        .target_node_id_size = strlen(NODE_ID),
                        .cwd = "/srv/app",
                        .cwd_size = strlen("/srv/app"),
                        .stdin_data = input,
                        .stdin_size = sizeof(input),
                        .env = env,
                        .n_env = ELEMENTSOF(env),
                        .has_timeout = true,
                        .timeout_seconds = 17,
                        .limits = {
                                .has_memory_max = true, .memory_max = INT64_C(3) << 30,
                                .has_cpu_weight = true, .cpu_weight = 50,
                                .has_cpu_quota = true, .cpu_quota = 150,
                                .has_tasks_max = true, .tasks_max = 64,
                                .best_effort = true,
                        },
                        .rules = { .priority = -5,
                                   .retries = 3,
                                   .on_node_loss = JOB_LOSS_FAIL,
                                   .on_node_loss_size = strlen(JOB_LOSS_FAIL) },
                        .requires = labels,
                        .n_requires = ELEMENTSOF(labels),
                },
                n);
        spec->has_digest = true;
        for (size_t i = 0; i < SHA256_SIZE; i++)
                spec->digest[i] = (uint8_t) (i * 9);
        spec->submitter_uid = 1000;
        (void) snprintf(spec->submitter, sizeof(spec->submitter), "uid:1000");
        return spec;
}

static void set_output(struct job_output *output, const char *data, size_t size) {
        output->data = malloc(size + 1);
        ASSERT_NOT_NULL(output->data);
        memcpy(output->data, data, size);
        output->size = size;
        output->total = size;
}

struct job_result *result_make(const struct run_id *run, int exit_code, const char *output, size_t size) {
        struct job_result *result;

        ASSERT_OK(job_result_new(&result));
        result->run = *run;
        result->outcome = RUN_EXITED;
        result->exit_code = exit_code;
        result->finished_at = now_usec(CLOCK_REALTIME);
        result->started_at = result->finished_at - 1500;
        result->duration_usec = 1500;
        set_output(&result->stdout_output, output, size);
        set_output(&result->stderr_output, "", 0);
        return result;
}

struct record_batch *batch_of(enum record_type type, struct job_spec *spec, uint32_t attempt) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, type);
        record->spec = spec;
        record->run = (struct run_id){ .job = spec->id, .epoch = 1, .attempt = attempt };
        record->at_usec = now_usec(CLOCK_REALTIME);
        batch->urgent = true;
        return batch;
}

struct record_batch *batch_accept(struct job_spec *spec) {
        struct record_batch *batch = batch_of(RECORD_ACCEPTED, spec, 0);

        batch->records[0].at_usec = spec->created_at;
        return batch;
}

struct record_batch *batch_finish(struct job_spec *spec, struct job_result *result) {
        struct record_batch *batch = batch_of(RECORD_FINISHED, spec, result->run.attempt);

        batch->records[0].status = job_result_status(result);
        batch->records[0].result = result;
        return batch;
}

struct record_batch *batch_guest(enum record_type type, struct job_spec *spec, struct job_result *result) {
        struct record_batch *batch = batch_of(type, spec, 1);

        ASSERT_OK(node_name_new(OWNER_ID, &batch->records[0].node));
        batch->records[0].executor = job_id(UINT64_MAX);
        batch->records[0].result = result;
        return batch;
}

struct record_batch *
batch_copy(enum record_type type, struct job_spec *spec, enum job_status status, struct job_result *result) {
        struct record_batch *batch = batch_of(type, spec, 1);
        struct record *record = &batch->records[0];

        ASSERT_OK(node_name_new(OWNER_ID, &record->owner));
        ASSERT_OK(node_name_new(OTHER_ID, &record->node));
        record->epoch = 1;
        record->term = 5;
        record->status = status;
        record->result = result;
        return batch;
}

const struct store_copy *find_copy(const struct fixture *fixture, uint64_t n) {
        struct uuid id = job_id(n);

        for (size_t i = 0; i < fixture->n_copies; i++)
                if (uuid_equal(&fixture->copies[i].run.job, &id))
                        return &fixture->copies[i];
        return NULL;
}

const struct store_guest *find_guest(const struct fixture *fixture, uint64_t n) {
        struct uuid id = job_id(n);

        for (size_t i = 0; i < fixture->n_guests; i++)
                if (uuid_equal(&fixture->guests[i].run.job, &id))
                        return &fixture->guests[i];
        return NULL;
}

int write_and_wait(struct fixture *fixture, struct record_batch *batch) {
        size_t n = fixture->n_written;

        store_write(fixture->store, batch);
        WAIT_UNTIL(fixture, fixture->n_written > n);
        return fixture->last_error;
}

void write_finished_job(struct fixture *fixture, uint64_t n, int exit_code) {
        struct job_spec *spec = spec_make(n);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        ASSERT_OK(write_and_wait(fixture, batch_accept(job_spec_ref(spec))));
        ASSERT_OK(write_and_wait(fixture, batch_finish(spec, result_make(&run, exit_code, "out", 3))));
}

/* The answer is the test's from here on; the store finds an empty one. */
void take_answer(void *userdata, const struct store_answer *answer) {
        struct fixture *fixture = userdata;

        store_answer_done(&fixture->answer);
        fixture->answer = *answer;
        *(struct store_answer *) answer = (struct store_answer){};
        fixture->n_answers++;
}

void ask_list(struct fixture *fixture, size_t limit, uint64_t before, uint32_t status_mask) {
        struct store_list list = { .limit = limit, .before = before, .status_mask = status_mask };
        size_t n = fixture->n_answers;

        ASSERT_OK(store_list_jobs(fixture->store, &list, take_answer, fixture, NULL));
        WAIT_UNTIL(fixture, fixture->n_answers > n);
}

void ask_job(struct fixture *fixture, uint64_t n_job, bool with_output) {
        struct uuid id = job_id(n_job);
        size_t n = fixture->n_answers;

        ASSERT_OK(store_get_jobs(fixture->store, &id, 1, with_output, take_answer, fixture, NULL));
        WAIT_UNTIL(fixture, fixture->n_answers > n);
}

void ask_output(struct fixture *fixture, uint64_t n_job, int stream, uint64_t offset, size_t size) {
        struct uuid id = job_id(n_job);
        size_t n = fixture->n_answers;

        ASSERT_OK(store_read_output(fixture->store, &id, stream, offset, size, take_answer, fixture, NULL));
        WAIT_UNTIL(fixture, fixture->n_answers > n);
}

const char *database_path(const struct fixture *fixture) {
        static char path[256];

        (void) snprintf(path, sizeof(path), "%s/worker_%s.db", fixture->directory, NODE_ID);
        return path;
}

void sql(const struct fixture *fixture, const char *text) {
        sqlite3 *db;

        ASSERT_EQ(sqlite3_open(database_path(fixture), &db), SQLITE_OK);
        ASSERT_EQ(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
        if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
                _TEST_FAIL("%s: %s", text, sqlite3_errmsg(db));
        ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
}

int64_t sql_number(const struct fixture *fixture, const char *text) {
        sqlite3_stmt *statement;
        sqlite3 *db;
        int64_t value;

        ASSERT_EQ(sqlite3_open(database_path(fixture), &db), SQLITE_OK);
        ASSERT_EQ(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
        if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK)
                _TEST_FAIL("%s: %s", text, sqlite3_errmsg(db));
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        value = sqlite3_column_int64(statement, 0);
        ASSERT_EQ(sqlite3_finalize(statement), SQLITE_OK);
        ASSERT_EQ(sqlite3_close(db), SQLITE_OK);
        return value;
}
