/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What this file defines is taken before what the rooms have. */

#include "ops-world.h"

#include <stdio.h>

#include "wire/link-codec.h"

struct world world;

/* The store answers in the next turn of world_settle(). */
static struct store_query {
        bool used, output;
        uint64_t offset;
        size_t size;
        struct uuid id;
        store_answer_t handler;
        void *userdata;
} queries[OPS_CALLS_MAX];

static size_t peer_number(const char *node_id) {
        return (size_t) atoi(node_id + strlen("node-"));
}

static struct world_job *job_of(const struct uuid *id) {
        for (size_t i = 0; i < WORLD_JOBS_MAX; i++)
                if (!uuid_is_null(id) && uuid_equal(&world.jobs[i].stored.id, id))
                        return &world.jobs[i];
        return NULL;
}

struct uuid world_id(uint8_t number) {
        struct uuid id = {};

        memset(id.bytes, number, sizeof(id.bytes));
        return id;
}

static int fake_open(void *userdata, const char *node_id, const struct sockaddr_in *address) {
        world.n_opened++;
        return 0;
}

static bool fake_is_up(void *userdata, const char *node_id) {
        return world.up[peer_number(node_id)];
}

/* As the other side reads it. */
static int fake_send(void *userdata, const char *node_id, const struct link_message *message) {
        _cleanup_buffer_ struct buffer frame = {};
        struct sent *sent = &world.sent[world.n_sent];

        if (!world.up[peer_number(node_id)])
                return -ENOTCONN;
        if (world.stuffed)
                return -ENOBUFS;
        ASSERT_LT(world.n_sent, WORLD_SENT_MAX);
        (void) snprintf(sent->node_id, sizeof(sent->node_id), "%s", node_id);
        ASSERT_OK(link_message_encode(message, &frame));
        ASSERT_OK(link_message_decode(
                frame.data + LINK_FRAME_HEADER_SIZE, frame.size - LINK_FRAME_HEADER_SIZE, &sent->message));
        world.n_sent++;
        return 0;
}

void world_hears(size_t peer, const struct link_message *message) {
        _cleanup_link_message_ struct link_message heard = {};
        _cleanup_buffer_ struct buffer frame = {};

        ASSERT_OK(link_message_encode(message, &frame));
        ASSERT_OK(link_message_decode(
                frame.data + LINK_FRAME_HEADER_SIZE, frame.size - LINK_FRAME_HEADER_SIZE, &heard));
        ops_link_received(world.ops, world.peers[peer].info.node_id, &heard);
}

size_t world_calls_to(size_t peer, struct link_call *ret) {
        size_t n = 0;

        for (size_t i = 0; i < world.n_sent; i++)
                if (peer_number(world.sent[i].node_id) == peer && world.sent[i].message.n_calls > 0) {
                        n++;
                        if (ret)
                                *ret = world.sent[i].message.calls[0];
                }
        return n;
}

const struct link_message *world_last(void) {
        ASSERT_GT(world.n_sent, 0);
        return &world.sent[world.n_sent - 1].message;
}

void world_begin(size_t n_peers) {
        const struct ops_config config = { .node_id = "node-here" };
        const struct ops_links links = { .open = fake_open, .is_up = fake_is_up, .send = fake_send };

        world = (struct world){ .n_peers = n_peers };
        memset(queries, 0, sizeof(queries));
        for (size_t i = 0; i < n_peers; i++) {
                world.peers[i].verified = world.peers[i].trusted = world.up[i] = true;
                (void) snprintf(
                        world.peers[i].info.node_id, sizeof(world.peers[i].info.node_id), "node-%03zu", i);
        }
        ASSERT_OK(sd_event_new(&world.event));
        ASSERT_OK(ops_new(&config, world.event, &world.ops));
        ops_set_links(world.ops, &links);
}

void world_end(void) {
        ops_free(world.ops);
        sd_event_unref(world.event);
        for (size_t i = 0; i < world.n_sent; i++)
                link_message_done(&world.sent[i].message);
}

static void answer_query(struct store_query *query) {
        const struct world_job *job = job_of(&query->id);
        struct stored_job stored = job ? job->stored : (struct stored_job){};
        struct store_answer answer = { .n_jobs = job ? 1 : 0, .jobs = &stored };

        query->used = false;
        if (query->output && job) {
                size_t kept = job->kept ? strlen(job->kept) : 0;
                size_t offset = (size_t) MIN(query->offset, (uint64_t) kept);

                answer.data = (char *) job->kept + offset;
                answer.data_size = MIN(kept - offset, query->size);
                answer.data_kept = kept;
        }
        query->handler(query->userdata, &answer);
}

void world_settle(void) {
        bool busy;

        do {
                busy = ASSERT_OK(sd_event_run(world.event, 0)) > 0;
                for (size_t i = 0; i < ELEMENTSOF(queries); i++)
                        if (queries[i].used) {
                                answer_query(&queries[i]);
                                busy = true;
                        }
        } while (busy);
}

void world_answer_read(size_t n, const struct executor_output *output) {
        ASSERT_LT(n, world.n_reads);
        ASSERT_TRUE(world.reads[n].used);
        world.reads[n].used = false;
        world.reads[n].handler(world.reads[n].userdata, output);
        world_settle();
}

static int ask_store(struct store_query query, struct store_query **ret) {
        for (size_t i = 0; i < ELEMENTSOF(queries); i++)
                if (!queries[i].used) {
                        queries[i] = query;
                        world.n_queries++;
                        *ret = &queries[i];
                        return 0;
                }
        return -EBUSY;
}

int store_get_jobs(
        struct store *store, const struct uuid *ids, size_t n_ids, bool with_output, store_answer_t handler,
        void *userdata, struct store_query **ret_query) {
        return ask_store(
                (struct store_query){ .used = true, .id = ids[0], .handler = handler, .userdata = userdata },
                ret_query);
}

int store_read_output(
        struct store *store, const struct uuid *id, int stream, uint64_t offset, size_t size,
        store_answer_t handler, void *userdata, struct store_query **ret_query) {
        return ask_store(
                (struct store_query){ .used = true,
                                      .output = true,
                                      .id = *id,
                                      .offset = offset,
                                      .size = size,
                                      .handler = handler,
                                      .userdata = userdata },
                ret_query);
}

int store_list_jobs(
        struct store *store, const struct store_list *list, store_answer_t handler, void *userdata,
        struct store_query **ret_query) {
        return -EOPNOTSUPP;
}

void store_query_cancel(struct store_query *query) {
        query->used = false;
}

size_t store_backlog(const struct store *store) {
        return 0;
}

int executor_client_read(
        struct executor_client *client, const struct run_id *run, int stream, uint64_t offset, bool wait,
        executor_output_t handler, void *userdata, struct executor_read **ret) {
        if (world.read_error < 0)
                return world.read_error;
        ASSERT_LT(world.n_reads, WORLD_READS_MAX);
        *ret = &world.reads[world.n_reads++];
        **ret = (struct executor_read){ true, *run, handler, userdata };
        return 0;
}

void executor_read_cancel(struct executor_read *read) {
        if (read)
                read->used = false;
}

const struct limit_support *executor_client_support(const struct executor_client *client) {
        return world.support;
}

const struct mesh_peer *mesh_get_peer(const struct mesh *mesh, const char *node_id) {
        for (size_t i = 0; i < world.n_peers; i++)
                if (streq(world.peers[i].info.node_id, node_id))
                        return &world.peers[i];
        return NULL;
}

const struct mesh_peer *mesh_get_listed(const struct mesh *mesh, const char *node_id) {
        return mesh_get_peer(mesh, node_id);
}

void mesh_foreach_peer(
        struct mesh *mesh, void (*function)(void *userdata, const struct mesh_peer *peer), void *userdata) {
        for (size_t i = 0; i < world.n_peers; i++)
                function(userdata, &world.peers[i]);
}

void mesh_get_state(const struct mesh *mesh, struct mesh_state *ret) {
        *ret = (struct mesh_state){ .n_peers = (unsigned) world.n_peers };
}

unsigned mesh_job_copies(struct mesh *mesh, const struct uuid *id) {
        return 0;
}

bool mesh_job_is_awaited(struct mesh *mesh, const struct uuid *id) {
        const struct world_job *job = job_of(id);

        return job && !job_status_is_final(job->stored.status);
}

bool mesh_job_current_run(struct mesh *mesh, const struct uuid *id, struct run_id *ret) {
        const struct world_job *job = job_of(id);

        if (!job || !job->runs)
                return false;
        *ret = (struct run_id){ .job = *id, .epoch = job->stored.epoch, .attempt = job->stored.attempt };
        return true;
}

bool mesh_job_place(
        struct mesh *mesh, const struct uuid *id, struct run_id *ret_run,
        char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

const struct job_result *mesh_guest_result(const struct mesh *mesh, const struct run_id *run) {
        return uuid_is_null(&world.result.run.job) ? NULL : &world.result;
}

bool mesh_guest_owner(
        const struct mesh *mesh, const struct uuid *id, char ret_node_id[static NODE_ID_MAX + 1]) {
        return false;
}

bool mesh_index_find_owner(
        struct mesh *mesh, const struct uuid *job, char ret_node_id[static NODE_ID_MAX + 1]) {
        if (world.owner)
                strcpy(ret_node_id, world.owner);
        return world.owner != NULL;
}

int mesh_index_list(
        struct mesh *mesh, const struct index_query *query, struct mesh_index_item *items,
        uint64_t *ret_next) {
        return -EOPNOTSUPP;
}

const char *mesh_job_pending_reason(struct mesh *mesh, const struct uuid *id) {
        return "no free slot";
}

int mesh_cancel(struct mesh *mesh, const struct uuid *id) {
        struct world_job *job = job_of(id);

        if (!job)
                return MESH_CANCEL_UNKNOWN;
        job->stored.cancel_requested = true;
        return MESH_CANCEL_STARTED;
}

int mesh_submit(struct mesh *mesh, struct job_spec *const *specs, size_t n_specs, void *tag) {
        if (!world.takes_jobs)
                return MESH_DRAINING;
        world.accepted = specs[n_specs - 1]->limits;
        world.n_accepted += n_specs;
        world.tag = tag;
        return MESH_ACCEPTED;
}

int mesh_drain_asked(struct mesh *mesh, uid_t uid, usec_t limit_usec) {
        return -EOPNOTSUPP;
}

int mesh_resume_asked(struct mesh *mesh, uid_t uid) {
        return -EOPNOTSUPP;
}
