/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading a job's output, over a mind, a store and an executor that do what the test says: what this file
 * defines is taken before what the rooms have. */

#include "api/ops.h"
#include "executor/client.h"
#include "lib/tests.h"
#include "mesh/mesh.h"
#include "util/buffer.h"

#define JOBS 3u
#define READS_MAX 16u

struct job {
        bool awaited;     /* the mind has it */
        bool runs;        /* it has a current run */
        uint32_t attempt; /* in the store, and of that run */
        bool ended;       /* in the store */
        const char *text; /* what the store keeps */
        uint64_t total;   /* of what the job wrote */
        struct uuid id;
};

struct store_query {
        bool used;
        struct uuid id;
        uint64_t offset;
        size_t size;
        store_answer_t handler;
        void *userdata;
};

struct executor_read {
        bool used;
        struct run_id run;
        uint64_t offset;
        executor_output_t handler;
        void *userdata;
};

static struct world {
        sd_event *event;
        struct ops *ops;
        struct job jobs[JOBS];
        struct store_query queries[READS_MAX];
        struct executor_read reads[READS_MAX];
        size_t n_reads; /* ever */
        int read_error; /* of the next wishes */
} world;

/* What a reader was told. */
struct reader {
        struct ops_call *call;
        struct buffer text;
        enum problem_code problem;
        bool ended;
};

static struct job *job_of(const struct uuid *id) {
        for (size_t i = 0; i < JOBS; i++)
                if (uuid_equal(&world.jobs[i].id, id))
                        return &world.jobs[i];
        _TEST_FAIL("no such job");
}

const char *mesh_job_pending_reason(struct mesh *mesh, const struct uuid *id) {
        return NULL;
}

unsigned mesh_job_copies(struct mesh *mesh, const struct uuid *id) {
        return 0;
}

bool mesh_job_is_awaited(struct mesh *mesh, const struct uuid *id) {
        return job_of(id)->awaited;
}

bool mesh_job_current_run(struct mesh *mesh, const struct uuid *id, struct run_id *ret) {
        const struct job *job = job_of(id);

        *ret = (struct run_id){ .job = *id, .epoch = 1, .attempt = job->attempt };
        return job->runs;
}

int store_read_output(
        struct store *store, const struct uuid *id, int stream, uint64_t offset, size_t size,
        store_answer_t handler, void *userdata, struct store_query **ret_query) {
        for (size_t i = 0; i < READS_MAX; i++)
                if (!world.queries[i].used) {
                        world.queries[i] =
                                (struct store_query){ true, *id, offset, size, handler, userdata };
                        *ret_query = &world.queries[i];
                        return 0;
                }
        return -EBUSY;
}

void store_query_cancel(struct store_query *query) {
        query->used = false;
}

int executor_client_read(
        struct executor_client *client, const struct run_id *run, int stream, uint64_t offset, bool wait,
        executor_output_t handler, void *userdata, struct executor_read **ret) {
        if (world.read_error < 0)
                return world.read_error;
        ASSERT_LT(world.n_reads, READS_MAX);
        *ret = &world.reads[world.n_reads++];
        **ret = (struct executor_read){ true, *run, offset, handler, userdata };
        return 0;
}

void executor_read_cancel(struct executor_read *read) {
        if (read)
                read->used = false;
}

/* Not asked for here. */
const struct limit_support *executor_client_support(const struct executor_client *client) {
        return NULL;
}

int mesh_index_list(
        struct mesh *mesh, const struct index_query *query, struct mesh_index_item *items,
        uint64_t *ret_next) {
        ASSERT_TRUE(false);
        return -ENOSYS;
}

int mesh_drain_asked(struct mesh *mesh, uid_t uid, usec_t limit_usec) {
        return -EOPNOTSUPP;
}

int mesh_resume_asked(struct mesh *mesh, uid_t uid) {
        return -EOPNOTSUPP;
}

bool mesh_job_place(
        struct mesh *mesh, const struct uuid *id, struct run_id *ret_run,
        char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

const struct job_result *mesh_guest_result(const struct mesh *mesh, const struct run_id *run) {
        return NULL;
}

bool mesh_guest_owner(
        const struct mesh *mesh, const struct uuid *id, char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

bool mesh_index_find_owner(
        struct mesh *mesh, const struct uuid *job, char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

int mesh_cancel(struct mesh *mesh, const struct uuid *id) {
        return MESH_CANCEL_UNKNOWN;
}

int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag) {
        return -EOPNOTSUPP;
}

void mesh_get_state(const struct mesh *mesh, struct mesh_state *ret) {
        *ret = (struct mesh_state){};
}

const struct mesh_peer *mesh_get_peer(const struct mesh *mesh, const char *node_id) {
        return NULL;
}

void mesh_foreach_peer(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata) {
}

size_t store_backlog(const struct store *store) {
        return 0;
}

int store_get_jobs(
        struct store *store, const struct uuid *ids, size_t n_ids, bool with_output, store_answer_t handler,
        void *userdata, struct store_query **ret_query) {
        return -EOPNOTSUPP;
}

int store_list_jobs(
        struct store *store, const struct store_list *list, store_answer_t handler, void *userdata,
        struct store_query **ret_query) {
        return -EOPNOTSUPP;
}

static void begin(void) {
        const struct ops_config config = { .node_id = "node-0123456789abcdef" };

        world = (struct world){};
        for (size_t i = 0; i < JOBS; i++)
                world.jobs[i].id.bytes[15] = (uint8_t) (i + 1);
        ASSERT_OK(sd_event_new(&world.event));
        ASSERT_OK(ops_new(&config, world.event, &world.ops));
}

static void finish(void) {
        ops_free(world.ops);
        sd_event_unref(world.event);
}

static void answer_query(struct store_query *query) {
        const struct job *job = job_of(&query->id);
        size_t kept = job->text ? strlen(job->text) : 0;
        size_t offset = (size_t) MIN(query->offset, (uint64_t) kept);
        struct stored_job stored = {
                .id = query->id,
                .status = job->ended ? JOB_COMPLETED : JOB_PENDING,
                .epoch = 1,
                .attempt = job->attempt,
                .stdout_total = job->total,
                .stdout_truncated = job->total > kept || (job->text && strstr(job->text, "left out")),
        };
        struct store_answer answer = {
                .n_jobs = 1,
                .jobs = &stored,
                .data = (char *) job->text + offset,
                .data_size = MIN(kept - offset, query->size),
                .data_kept = kept,
        };

        query->used = false;
        query->handler(query->userdata, &answer);
}

/* Until nothing happens by itself: the store answers at once, the executor when the test says so. */
static void settle(void) {
        bool busy;

        do {
                busy = ASSERT_OK(sd_event_run(world.event, 0)) > 0;
                for (size_t i = 0; i < READS_MAX; i++)
                        if (world.queries[i].used) {
                                answer_query(&world.queries[i]);
                                busy = true;
                        }
        } while (busy);
}

static void answer_read(size_t n, const struct executor_output *output) {
        ASSERT_LT(n, world.n_reads);
        ASSERT_TRUE(world.reads[n].used);
        world.reads[n].used = false;
        world.reads[n].handler(world.reads[n].userdata, output);
        settle();
}

static void on_piece(void *userdata, const struct ops_output *piece) {
        struct reader *reader = userdata;

        ASSERT_FALSE(reader->ended);
        ASSERT_OK(buffer_append(&reader->text, piece->data, piece->size));
        reader->problem = piece->problem.code;
        reader->ended = piece->ended;
}

static void read_from(struct reader *reader, size_t n_job, uint64_t offset, bool follow) {
        const struct caller root = { .uid_known = true };

        *reader = (struct reader){};
        ASSERT_OK(ops_read_output(
                world.ops, &root, &world.jobs[n_job].id, 1, offset, follow, on_piece, reader,
                &reader->call));
        settle();
}

/* Checks what was told until now, and forgets the reader. */
static void check(struct reader *reader, const char *text, bool ended) {
        ASSERT_EQ(reader->ended, ended);
        ASSERT_EQ(reader->problem, PROBLEM_NONE);
        ASSERT_OK(buffer_append(&reader->text, "", 1));
        ASSERT_STREQ(reader->text.data, text);
        buffer_done(&reader->text);
        if (!ended)
                ops_call_cancel(reader->call);
}

/* The start of one run is nothing to those who wait for another. */
static void test_a_start_wakes_its_own_followers(void) {
        struct reader readers[JOBS];

        begin();
        for (size_t i = 0; i < JOBS; i++) {
                world.jobs[i].awaited = true;
                read_from(&readers[i], i, 0, true);
        }
        ASSERT_EQ(world.n_reads, 0);

        for (size_t i = 0; i < JOBS; i++)
                world.jobs[i].runs = true;
        ops_run_started(world.ops, &world.jobs[1].id);
        settle();
        ASSERT_EQ(world.n_reads, 1);
        ASSERT_TRUE(uuid_equal(&world.reads[0].run.job, &world.jobs[1].id));

        ops_executor_synchronised(world.ops);
        settle();
        ASSERT_EQ(world.n_reads, 3);
        for (size_t i = 0; i < JOBS; i++)
                check(&readers[i], "", false);
        finish();
}

static void test_followers_hear_of_an_end_without_a_run(void) {
        struct reader reader;

        begin();
        world.jobs[0].awaited = true;
        read_from(&reader, 0, 0, true);
        world.jobs[0] = (struct job){ .id = world.jobs[0].id, .ended = true };
        ops_job_finished(world.ops, &world.jobs[0].id, JOB_COMPLETED);
        settle();
        check(&reader, "", true);
        ASSERT_EQ(world.n_reads, 0);
        finish();
}

/* It has ended, which is not durable yet: the mind has no current run, and the executor has it all. */
static void test_an_end_on_its_way_to_the_disk(void) {
        struct reader reader;

        begin();
        world.jobs[0].awaited = true;
        world.jobs[0].attempt = 2;
        read_from(&reader, 0, 0, false);
        ASSERT_EQ(world.n_reads, 1);
        ASSERT_EQ(world.reads[0].run.attempt, 2);
        answer_read(0, &(struct executor_output){ .data = "all", .size = 3, .total = 3, .ended = true });
        check(&reader, "all", true);

        /* It became durable while the executor was asked. */
        read_from(&reader, 0, 0, false);
        world.jobs[0] =
                (struct job){ .id = world.jobs[0].id, .ended = true, .text = "all of it", .total = 9 };
        answer_read(1, &(struct executor_output){ .error = -ENOENT });
        check(&reader, "all of it", true);
        finish();
}

static void test_one_that_waits_has_written_nothing(void) {
        struct reader reader;

        begin();
        world.jobs[0].awaited = true;
        read_from(&reader, 0, 0, false);
        check(&reader, "", true);
        finish();
}

static void test_the_executor_is_away(void) {
        struct reader reader;

        begin();
        world.jobs[0] = (struct job){ .id = world.jobs[0].id, .awaited = true, .runs = true, .attempt = 1 };
        world.read_error = -ENOTCONN;
        read_from(&reader, 0, 0, false);
        ASSERT_TRUE(reader.ended);
        ASSERT_EQ(reader.problem, PROBLEM_EXECUTOR_AWAY);
        buffer_done(&reader.text);

        read_from(&reader, 0, 0, true);
        ASSERT_FALSE(reader.ended);
        world.read_error = 0;
        ops_executor_synchronised(world.ops);
        settle();
        ASSERT_EQ(world.n_reads, 1);
        check(&reader, "", false);
        finish();
}

/* A job may print faster than its reader reads. */
static void test_without_follow_it_ends_where_it_began(void) {
        struct reader reader;

        begin();
        world.jobs[0] = (struct job){ .id = world.jobs[0].id, .awaited = true, .runs = true, .attempt = 1 };
        read_from(&reader, 0, 0, false);
        answer_read(0, &(struct executor_output){ .data = "012345", .size = 6, .total = 10 });
        ops_output_next(reader.call);
        settle();
        answer_read(
                1, &(struct executor_output){ .offset = 6, .data = "6789abcdef", .size = 10, .total = 99 });
        check(&reader, "0123456789", true);

        /* What there was is no longer kept. */
        read_from(&reader, 0, 0, false);
        answer_read(2, &(struct executor_output){ .data = "012345", .size = 6, .total = 10 });
        ops_output_next(reader.call);
        settle();
        answer_read(3, &(struct executor_output){ .offset = 500, .data = "later", .size = 5, .total = 999 });
        check(&reader, "012345\n[… 4 bytes left out …]\n", true);
        finish();
}

#define GAP "\n[… 28 bytes left out …]\n"

/* The position in what the job wrote, not in what is kept of it. */
static void test_offset_of_a_truncated_output(void) {
        static const struct {
                uint64_t offset;
                const char *text;
        } cases[] = {
                { 0, "0123" GAP "wxyz" },
                { 2, "23" GAP "wxyz" },
                { 4, GAP "wxyz" },
                { 20, GAP "wxyz" },
                { 31, GAP "wxyz" },
                { 32, "wxyz" },
                { 34, "yz" },
                { 36, "" },
                { 99, "" },
        };
        struct reader reader;

        begin();
        world.jobs[0] = (struct job){
                .id = world.jobs[0].id, .ended = true, .text = "0123" GAP "wxyz", .total = 36
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                read_from(&reader, 0, cases[i].offset, false);
                check(&reader, cases[i].text, true);
        }
        finish();
}

int main(void) {
        RUN(test_a_start_wakes_its_own_followers);
        RUN(test_followers_hear_of_an_end_without_a_run);
        RUN(test_an_end_on_its_way_to_the_disk);
        RUN(test_one_that_waits_has_written_nothing);
        RUN(test_the_executor_is_away);
        RUN(test_without_follow_it_ends_where_it_began);
        RUN(test_offset_of_a_truncated_output);
        return 0;
}
