/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The clock, the network, and the nodes. */

#include "lib/mesh-world.h"

#include <arpa/inet.h>

#include "wire/codec.h"

#define WORLD_BEGIN_USEC (1000 * USEC_PER_SEC)
#define REALTIME_OFFSET_USEC (UINT64_C(1764000000) * USEC_PER_SEC)
#define RECORDED_MAX 4096

/* A datagram on its way to one node. */
struct delivery {
        struct list_link link;
        usec_t due;
        struct world_node *node;
        struct sockaddr_in source;
        size_t size;
        uint8_t bytes[2048]; /* longer than any node sends: a test may */
};

usec_t world_realtime(const struct world *world) {
        return world->now + REALTIME_OFFSET_USEC;
}

/* xorshift64*: the same world from the same seed. */
void world_random(struct world *world, void *buffer, size_t size) {
        uint8_t *bytes = buffer;

        for (size_t i = 0; i < size; i++) {
                world->random_state ^= world->random_state >> 12;
                world->random_state ^= world->random_state << 25;
                world->random_state ^= world->random_state >> 27;
                bytes[i] = (uint8_t) (world->random_state * UINT64_C(2685821657736338717) >> 56);
        }
}

struct sockaddr_in world_address(unsigned host, uint16_t port) {
        return (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(0x0a000000 | host),
        };
}

static bool address_equal(const struct sockaddr_in *a, const struct sockaddr_in *b) {
        return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

void world_deliver(
        struct world_node *node, const struct sockaddr_in *source, const void *data, size_t size) {
        struct delivery *delivery;
        uint32_t drawn = 0;

        if (node->world->loss > 0)
                world_random(node->world, &drawn, sizeof(drawn));
        if (drawn % 100 < node->world->loss)
                return;
        delivery = calloc(1, sizeof(*delivery));
        ASSERT_NOT_NULL(delivery);
        ASSERT_TRUE(size <= sizeof(delivery->bytes));
        delivery->due = node->world->now + WORLD_LATENCY_USEC;
        delivery->node = node;
        delivery->source = *source;
        delivery->size = size;
        memcpy(delivery->bytes, data, size);
        list_append(&node->world->deliveries, &delivery->link);
}

void world_deliver_message(
        struct world_node *node, const struct sockaddr_in *source, const struct mesh_message *message,
        bool pad) {
        uint8_t bytes[DATAGRAM_MAX];

        int size = (int) ASSERT_OK(mesh_message_encode(message, pad, bytes));
        world_deliver(node, source, bytes, (size_t) size);
}

static void delivery_free(struct delivery *delivery) {
        list_remove(&delivery->link);
        free(delivery);
}

static void deliver(struct delivery *delivery) {
        struct world_node *node = delivery->node;
        struct mesh_message message;

        if (node->mesh && !node->detached && delivery->size <= DATAGRAM_MAX &&
            mesh_message_decode(delivery->bytes, delivery->size, &message) >= 0)
                mesh_received(node->mesh, &message, &delivery->source, delivery->size);
        delivery_free(delivery);
}

static void record(struct world *world, const struct world_datagram *datagram) {
        if (!world->recording)
                return;
        if (!world->recorded)
                world->recorded = calloc(RECORDED_MAX, sizeof(*world->recorded));
        ASSERT_NOT_NULL(world->recorded);
        ASSERT_LT(world->n_recorded, RECORDED_MAX);
        world->recorded[world->n_recorded++] = *datagram;
}

static struct world_datagram make_datagram(
        struct world_node *node, const struct mesh_message *message, bool pad,
        const struct sockaddr_in *destination) {
        struct world_datagram datagram = { .source = node->address, .destination = *destination };

        datagram.size = (size_t) ASSERT_OK(mesh_message_encode(message, pad, datagram.bytes));
        return datagram;
}

static void
on_send(void *userdata, const struct sockaddr_in *address, const struct mesh_message *message, bool pad) {
        struct world_node *node = userdata;
        struct world *world = node->world;
        struct world_datagram datagram = make_datagram(node, message, pad, address);

        node->n_sent++;
        record(world, &datagram);
        if (node->detached)
                return;
        for (size_t i = 0; i < world->n_nodes; i++)
                if (address_equal(&world->nodes[i]->address, address)) {
                        world_deliver(world->nodes[i], &node->address, datagram.bytes, datagram.size);
                        return;
                }
        world->n_strays++;
        world->stray_bytes += datagram.size;
        world->last_stray = datagram;
}

static void on_broadcast(void *userdata, const struct mesh_message *message, bool pad) {
        struct world_node *node = userdata;
        struct world *world = node->world;
        const struct sockaddr_in everybody = {
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_BROADCAST),
        };
        struct world_datagram datagram = make_datagram(node, message, pad, &everybody);

        node->n_broadcasts++;
        record(world, &datagram);
        for (size_t i = 0; i < world->n_nodes; i++)
                if (!node->detached || world->nodes[i] == node)
                        world_deliver(world->nodes[i], &node->address, datagram.bytes, datagram.size);
}

static usec_t on_now(void *userdata) {
        struct world_node *node = userdata;
        return node->world->now;
}

static usec_t on_now_realtime(void *userdata) {
        struct world_node *node = userdata;
        return world_realtime(node->world);
}

static void on_random(void *userdata, void *buffer, size_t size) {
        struct world_node *node = userdata;
        world_random(node->world, buffer, size);
}

static void on_set_timer(void *userdata, usec_t at_usec) {
        struct world_node *node = userdata;
        node->timer_at = at_usec;
}

static void on_store(void *userdata, struct record_batch *batch) {
        disk_take(userdata, batch);
}

static int on_start(void *userdata, const struct run_id *run, const struct job_spec *spec) {
        return executor_take(userdata, run, spec);
}

static void on_kill(void *userdata, const struct run_id *run) {
        executor_kill(userdata, run);
}

static void on_withdraw(void *userdata, const struct run_id *run) {
        executor_withdraw(userdata, run);
}

static void on_release(void *userdata, const struct run_id *run) {
        executor_release(userdata, run);
}

static bool on_trusts(void *userdata, const struct sockaddr_in *address) {
        return true;
}

static void on_link_open(void *userdata, const char *node_id, const struct sockaddr_in *address) {
        links_open(userdata, node_id);
}

static int on_link_send(void *userdata, const char *node_id, const struct link_message *message) {
        return links_send(userdata, node_id, message);
}

static void on_link_close(void *userdata, const char *node_id) {
        links_close(userdata, node_id);
}

static void on_hurry(void *userdata) {
        struct world_node *node = userdata;

        node->n_hurries++;
}

/* 201 means durable: all that is accepted is on the disk by now. */
static void on_accepted(void *userdata, void *tag, int error, unsigned copies) {
        struct world_node *node = userdata;

        ASSERT_LT(node->n_answers, WORLD_SEEN_MAX);
        node->answers[node->n_answers++] = (struct world_answer){
                .tag = tag,
                .error = error,
                .copies = copies,
        };
}

static void on_job_finished(void *userdata, const struct job_spec *spec, enum job_status status) {
        struct world_node *node = userdata;

        ASSERT_EQ(disk_status(node, &spec->id), status); /* durable before it is told */
        ASSERT_LT(node->n_ends, WORLD_SEEN_MAX);
        node->ends[node->n_ends++] = (struct world_end){ .id = spec->id, .status = status };
}

static void on_job_moved(void *userdata, const struct uuid *id) {
        struct world_node *node = userdata;

        node->n_moved++;
}

static void on_status_changed(void *userdata) {
        struct world_node *node = userdata;
        ASSERT_NOT_NULL(node->mesh);
}

static void on_peer_changed(void *userdata, const struct mesh_peer *peer, bool gone) {
        struct world_node *node = userdata;

        ASSERT_TRUE(node_id_is_valid(peer->info.node_id));
        node->n_peers_gone += gone;
        node->n_lost += peer->lost && !gone;
}

static void on_incarnation_raised(void *userdata, uint64_t incarnation) {
        struct world_node *node = userdata;

        ASSERT_TRUE(incarnation > node->disk.incarnation);
        node->disk.incarnation = incarnation;
}

static void on_notice(void *userdata, int priority, const char *message_id, const char *text) {
        struct world_node *node = userdata;

        node->n_notices++;
        snprintf(node->notice, sizeof(node->notice), "%s", text);
}

static const struct mesh_ops ops = {
        .now = on_now,
        .now_realtime = on_now_realtime,
        .random = on_random,
        .set_timer = on_set_timer,
        .send = on_send,
        .broadcast = on_broadcast,
        .store = on_store,
        .start = on_start,
        .kill = on_kill,
        .withdraw = on_withdraw,
        .release = on_release,
        .trusts = on_trusts,
        .link_open = on_link_open,
        .link_send = on_link_send,
        .link_close = on_link_close,
        .hurry = on_hurry,
        .accepted = on_accepted,
        .job_finished = on_job_finished,
        .job_moved = on_job_moved,
        .status_changed = on_status_changed,
        .peer_changed = on_peer_changed,
        .incarnation_raised = on_incarnation_raised,
        .notice = on_notice,
};

void world_init(struct world *world, uint64_t seed) {
        memset(world, 0, sizeof(*world));
        world->now = WORLD_BEGIN_USEC;
        world->random_state = seed * 2 + 1; /* never 0 */
        list_init(&world->deliveries);
        list_init(&world->link_events);
}

void world_done(struct world *world) {
        struct delivery *delivery;

        for (size_t i = 0; i < world->n_nodes; i++) {
                mesh_free(world->nodes[i]->mesh);
                disk_done(&world->nodes[i]->disk);
                executor_done(world->nodes[i]);
                free(world->nodes[i]);
        }
        LIST_FOREACH(&world->deliveries, delivery, struct delivery, link)
                delivery_free(delivery);
        links_done(world);
        free(world->recorded);
}

struct world_node *world_add(struct world *world, const char *id, unsigned slots) {
        struct world_node *node = calloc(1, sizeof(*node));

        ASSERT_NOT_NULL(node);
        ASSERT_LT(world->n_nodes, WORLD_NODES_MAX);
        world->nodes[world->n_nodes++] = node;
        node->world = world;
        node->address = world_address((unsigned) world->n_nodes, 8081);
        node->timer_at = USEC_INFINITY;
        node->config = (struct mesh_config){
                .slots = slots,
                .queue_max = 10000,
                .peers_max = 64,
                .heartbeat_interval_usec = 5 * USEC_PER_SEC,
                .peer_timeout_usec = 30 * USEC_PER_SEC,
                .keeper_wait_usec = 100 * USEC_PER_MSEC,
                .node_port = 8081,
                .version = "1.2.3",
                .metadata = { { "hostname", "example" } },
                .n_metadata = 1,
        };
        strcpy(node->config.node_id, id);
        strcpy(node->config.address, "127.0.0.1:3000");
        disk_init(&node->disk);
        executor_init(node, slots);
        return node;
}

void world_start(struct world_node *node) {
        ASSERT_NULL(node->mesh);
        node->config.incarnation = ++node->disk.incarnation;
        world_random(node->world, &node->config.instance, sizeof(node->config.instance));
        ASSERT_OK(mesh_new(&node->config, &ops, node, &node->mesh));
        disk_restore(node);
        mesh_start(node->mesh);
        executor_connect(node);
}

void world_crash(struct world_node *node) {
        struct delivery *delivery;

        node->executor.connected = false;
        node->timer_at = USEC_INFINITY;
        disk_forget(&node->disk);
        LIST_FOREACH(&node->world->deliveries, delivery, struct delivery, link)
                if (delivery->node == node)
                        delivery_free(delivery);
        node->mesh = mesh_free(node->mesh);
        links_crash(node);
        executor_disconnect(node);
}

static struct delivery *next_delivery(struct world *world) {
        struct delivery *delivery;

        LIST_FOREACH(&world->deliveries, delivery, struct delivery, link)
                if (!delivery->node->paused)
                        return delivery;
        return NULL;
}

/* A paused host does nothing at all. While only the daemon is down its executor goes on, but cannot tell. */
static usec_t node_due(const struct world_node *node) {
        usec_t due = node->paused ? USEC_INFINITY : MIN(node->timer_at, node->disk.due);
        return node->paused ? due : MIN(due, executor_due(node));
}

static void node_step(struct world_node *node) {
        usec_t now = node->world->now;

        if (node->disk.due <= now)
                disk_write_next(node);
        else if (node->timer_at <= now) {
                node->timer_at = USEC_INFINITY;
                mesh_timer_due(node->mesh);
        } else
                executor_step(node);
}

bool world_step(struct world *world, usec_t at) {
        struct delivery *delivery = next_delivery(world);
        struct world_node *first = NULL;
        usec_t due = delivery ? delivery->due : USEC_INFINITY;
        bool link = links_due(world) < due;

        if (link)
                due = links_due(world);
        for (size_t i = 0; i < world->n_nodes; i++)
                if (node_due(world->nodes[i]) < due) {
                        first = world->nodes[i];
                        due = node_due(first);
                }
        if (due > at) {
                world->now = MAX(world->now, at);
                return false;
        }

        world->now = MAX(world->now, due);
        if (first)
                node_step(first);
        else if (link)
                links_step(world);
        else
                deliver(delivery);
        return true;
}

void world_run_until_time(struct world *world, usec_t at) {
        while (world_step(world, at))
                ;
}

void world_run_for(struct world *world, usec_t usec) {
        world_run_until_time(world, world->now + usec);
}

struct peer_search {
        const char *id;
        const struct mesh_peer *found;
        unsigned n;
};

static void search_peer(void *userdata, const struct mesh_peer *peer) {
        struct peer_search *search = userdata;

        search->n++;
        if (search->id && streq(peer->info.node_id, search->id))
                search->found = peer;
}

const struct mesh_peer *world_peer(struct world_node *node, const char *id) {
        struct peer_search search = { .id = id };

        mesh_foreach_peer(node->mesh, search_peer, &search);
        return search.found;
}

unsigned world_n_peers(struct world_node *node) {
        struct peer_search search = { .id = NULL };

        mesh_foreach_peer(node->mesh, search_peer, &search);
        ASSERT_EQ(search.n, world_state(node).n_peers);
        return search.n;
}

static struct job_spec *make_spec(struct world_node *node, const char *command) {
        const struct job_request request = { .command = command, .command_size = strlen(command) };
        struct job_problem problem;
        struct job_spec *spec;

        ASSERT_OK(job_request_check(&request, &problem));
        ASSERT_OK(job_spec_new(&request, &spec));
        world_random(node->world, &spec->id, sizeof(spec->id));
        spec->created_at = world_realtime(node->world);
        strcpy(spec->created_by_node, node->config.node_id);
        return spec;
}

int world_submit_wishes(
        struct world_node *node, const char *command, size_t n, const struct world_wishes *wishes,
        struct uuid *ret_ids, void *tag) {
        struct job_spec *specs[WORLD_SEEN_MAX] = { NULL };

        ASSERT_LE(n, WORLD_SEEN_MAX);
        for (size_t i = 0; i < n; i++) {
                specs[i] = make_spec(node, command);
                specs[i]->created_at += i; /* they keep their order over a restart */
                specs[i]->rules = wishes->rules;
                specs[i]->target_node_id = wishes->target;
                if (wishes->requires)
                        specs[i]->requires = wishes->requires;
                ret_ids[i] = specs[i]->id;
        }
        int r = mesh_submit(node->mesh, specs, n, tag);
        for (size_t i = 0; i < n; i++)
                job_spec_unref(specs[i]);
        return r;
}

int world_submit_batch(
        struct world_node *node, const char *command, size_t n, struct uuid *ret_ids, void *tag) {
        const struct world_wishes none = {};

        return world_submit_wishes(node, command, n, &none, ret_ids, tag);
}

int world_submit(struct world_node *node, const char *command, struct uuid *ret_id) {
        return world_submit_batch(node, command, 1, ret_id, ret_id);
}

enum job_status world_end(struct world_node *node, const struct uuid *id) {
        enum job_status status = JOB_UNKNOWN;

        for (size_t i = 0; i < node->n_ends; i++)
                if (uuid_equal(&node->ends[i].id, id)) {
                        ASSERT_EQ(status, JOB_UNKNOWN);
                        status = node->ends[i].status;
                }
        return status;
}

int world_answer(struct world_node *node, const void *tag) {
        int answer = 1;

        for (size_t i = 0; i < node->n_answers; i++)
                if (node->answers[i].tag == tag) {
                        ASSERT_EQ(answer, 1);
                        answer = node->answers[i].error;
                }
        return answer;
}

struct mesh_state world_state(struct world_node *node) {
        struct mesh_state state;

        mesh_get_state(node->mesh, &state);
        return state;
}
