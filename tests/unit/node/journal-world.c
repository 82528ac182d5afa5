/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "journal-world.h"

#include <stdio.h>

#include "util/log.h"

struct world world;

bool mesh_job_current_run(struct mesh *mesh, const struct uuid *id, struct run_id *ret) {
        if (world.unknown)
                return false;
        *ret = (struct run_id){ .job = *id, .epoch = 1, .attempt = 1 };
        return true;
}

int executor_client_read(
        struct executor_client *client, const struct run_id *run, int stream, uint64_t offset, bool wait,
        executor_output_t handler, void *userdata, struct executor_read **ret) {
        struct executor_read *read = world.reads;

        if (world.read_result < 0)
                return world.read_result;
        while (read->used)
                ASSERT_LT(++read - world.reads, (ptrdiff_t) WORLD_READS_MAX);
        *read = (struct executor_read){ .used = true,
                                        .run = *run,
                                        .stream = stream,
                                        .offset = offset,
                                        .handler = handler,
                                        .userdata = userdata };
        *ret = read;
        return 0;
}

void executor_read_cancel(struct executor_read *read) {
        if (read)
                read->used = false;
}

int executor_client_journalled(
        struct executor_client *client, const struct run_id *run, const uint64_t offsets[static 2]) {
        world.noted_run = *run;
        memcpy(world.noted, offsets, sizeof(world.noted));
        world.n_noted++;
        return 0;
}

int executor_client_release(struct executor_client *client, const struct run_id *run) {
        world.n_released++;
        return 0;
}

int store_get_jobs(
        struct store *store, const struct uuid *ids, size_t n_ids, bool with_output, store_answer_t handler,
        void *userdata, struct store_query **ret) {
        world.lookup = handler;
        world.lookup_userdata = userdata;
        *ret = (struct store_query *) &world;
        return 0;
}

void store_query_cancel(struct store_query *query) {
        world.lookup = NULL;
}

void ops_watch(struct ops *ops, struct ops_watcher *watcher) {
}

void ops_watcher_remove(struct ops_watcher *watcher) {
}

const char *problem_code_to_text(enum problem_code code) {
        return "problem";
}

void world_begin(void) {
        char path[160];

        world = (struct world){ .read_result = 0 };
        folder_make(&world.folder);
        (void) snprintf(path, sizeof(path), "%s/journal", world.folder.path);
        fake_journal_open(&world.socket, path);
        setenv("WORKER_MESH_JOURNAL", path, 1);
        log_setup("test");
        log_set_max_level(LOG_INFO);
        ASSERT_OK(sd_event_new(&world.event));
        ASSERT_OK(journal_new("node-test", /* output= */ true, world.event, &world.journal));
        journal_connect(world.journal, NULL, NULL, NULL, NULL);
}

void world_end(void) {
        (void) journal_free(world.journal);
        (void) sd_event_unref(world.event);
        fake_journal_close(&world.socket);
        folder_remove(&world.folder);
        log_flush();
}

void world_turn(usec_t wait_usec) {
        ASSERT_GE(sd_event_run(world.event, wait_usec), 0);
}

struct run_id world_run(unsigned number) {
        return (struct run_id){ .job.bytes = { (uint8_t) (number >> 8), (uint8_t) number, 1 },
                                .epoch = 1,
                                .attempt = 1 };
}

struct job_spec *world_spec(unsigned number) {
        const struct job_request request = { .command = "make", .command_size = 4 };
        struct job_spec *spec;

        ASSERT_OK(job_spec_new(&request, &spec));
        spec->id = world_run(number).job;
        spec->submitter_uid = 1000;
        (void) snprintf(spec->submitter, sizeof(spec->submitter), "uid:1000");
        return spec;
}

static void tell(unsigned number, const struct record *like) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = world_spec(number);
        struct record record = *like;
        const struct record_batch batch = { .n_records = 1, .records = &record };

        record.run = world_run(number);
        record.spec = spec;
        journal_written(world.journal, &batch, 0);
}

void world_started(unsigned number, usec_t started_at) {
        tell(number, &(const struct record){ .type = RECORD_STARTED, .at_usec = started_at });
}

void world_finished(unsigned number, enum job_status status, const char *output) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;

        ASSERT_OK(job_result_new(&result));
        result->run = world_run(number);
        result->outcome = RUN_EXITED;
        result->exit_code = status == JOB_COMPLETED ? 0 : 1;
        result->started_at = 1;
        result->duration_usec = 12 * USEC_PER_MSEC;
        if (output) {
                ASSERT_NOT_NULL(result->stdout_output.data = strdup(output));
                result->stdout_output.size = strlen(output);
                result->stdout_output.total = strlen(output);
        }
        tell(number, &(const struct record){ .type = RECORD_FINISHED, .status = status, .result = result });
}

struct executor_read *world_find_read(unsigned number, int stream) {
        const struct run_id run = world_run(number);

        for (size_t i = 0; i < WORLD_READS_MAX; i++)
                if (world.reads[i].used && world.reads[i].stream == stream &&
                    run_id_equal(&world.reads[i].run, &run))
                        return &world.reads[i];
        return NULL;
}

void world_answer(unsigned number, int stream, uint64_t offset, const char *data, bool ended) {
        struct executor_read *read = world_find_read(number, stream);
        const struct executor_output output = {
                .offset = offset, .data = data, .size = strlen(data), .ended = ended
        };

        ASSERT_NOT_NULL(read);
        read->used = false;
        read->handler(read->userdata, &output);
}

int world_expect(unsigned number, const char *expected) {
        struct journal_message message;
        char id[UUID_TEXT_SIZE], text[512];
        const struct run_id run = world_run(number);
        const struct journal_value *value;
        int priority;

        ASSERT_TRUE(fake_journal_receive(&world.socket, &message));
        value = journal_message_get(&message, "MESSAGE");
        ASSERT_NOT_NULL(value);
        (void) snprintf(text, sizeof(text), "%.*s", (int) value->size, value->value);
        ASSERT_STREQ(text, expected);
        ASSERT_TRUE(journal_message_has(&message, "JOB_ID", uuid_to_text(&run.job, id)));
        priority = atoi(journal_message_get(&message, "PRIORITY")->value);
        journal_message_done(&message);
        return priority;
}

void world_expect_nothing(void) {
        struct journal_message message;

        if (fake_journal_receive(&world.socket, &message))
                _TEST_FAIL("there is: %.*s", (int) message.size, message.data);
}
