/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The clock, and the nodes. */

#include "lib/mesh-world.h"

#define WORLD_BEGIN_USEC (1000 * USEC_PER_SEC)
#define REALTIME_OFFSET_USEC (UINT64_C(1764000000) * USEC_PER_SEC)

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

static void
on_send(void *userdata, const struct sockaddr_in *address, const struct mesh_message *message, bool pad) {
        network_send(userdata, address, message, pad);
}

static void on_broadcast(void *userdata, const struct mesh_message *message, bool pad) {
        network_broadcast(userdata, message, pad);
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
        world_wake(node, at_usec);
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

        if (node->world->accepted) {
                node->world->accepted(node, tag, error, copies);
                return;
        }
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
        if (node->world->finished) {
                node->world->finished(node, spec, status);
                return;
        }
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
        if (peer->lost && !gone && node->world->lost)
                node->world->lost(node, peer->info.node_id);
}

static void on_incarnation_raised(void *userdata, uint64_t incarnation) {
        struct world_node *node = userdata;

        ASSERT_TRUE(incarnation > node->disk.incarnation);
        node->disk.incarnation = incarnation;
}

static void on_drain_written(void *userdata, int error) {
        struct world_node *node = userdata;

        node->n_drains_written++;
        node->drain_error = error;
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
        .drain_written = on_drain_written,
        .notice = on_notice,
};

void world_init(struct world *world, uint64_t seed) {
        memset(world, 0, sizeof(*world));
        world->now = WORLD_BEGIN_USEC;
        world->random_state = seed * 2 + 1; /* never 0 */
}

void world_done(struct world *world) {
        for (size_t i = 0; i < world->n_nodes; i++) {
                struct world_node *node = world->nodes[i];

                mesh_free(node->mesh);
                disk_done(&node->disk);
                executor_done(node);
                network_forget(node);
        }
        events_done(world);
        for (size_t i = 0; i < world->n_nodes; i++) {
                links_done(world->nodes[i]);
                map_remove(&world->by_id, &world->nodes[i]->by_id);
                free(world->nodes[i]);
        }
        free(world->recorded);
}

struct world_node *world_find(struct world *world, const char *id) {
        return MAP_GET(&world->by_id, id, strlen(id), struct world_node, by_id);
}

struct world_node *world_add(struct world *world, const char *id, unsigned slots) {
        struct world_node *node = calloc(1, sizeof(*node));
        int r;

        ASSERT_NOT_NULL(node);
        ASSERT_LT(world->n_nodes, WORLD_NODES_MAX);
        node->index = world->n_nodes;
        world->nodes[world->n_nodes++] = node;
        node->world = world;
        node->woken_at = USEC_INFINITY;
        list_init(&node->held);
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
        /* Of two with one id the first is the one that links find. */
        r = map_add(&world->by_id, &node->by_id, node->config.node_id, strlen(node->config.node_id));
        ASSERT_TRUE(r == 0 || r == -EEXIST);
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

/* A paused host does nothing at all. While only the daemon is down its executor goes on, but cannot tell. */
static usec_t node_due(const struct world_node *node) {
        if (node->is_paused)
                return USEC_INFINITY;
        return MIN(MIN(node->timer_at, node->disk.due), executor_due(node));
}

void world_crash(struct world_node *node) {
        node->executor.connected = false;
        node->timer_at = USEC_INFINITY;
        disk_forget(&node->disk);
        network_forget(node);
        node->mesh = mesh_free(node->mesh);
        links_crash(node);
        executor_disconnect(node);
        node->is_paused = false;
}

void world_destroy(struct world_node *node) {
        world_crash(node);
        executor_crash(node);
        disk_wipe(&node->disk);
        node->gone = node->is_detached = node->world->any_gone = true;
}

void world_pause(struct world_node *node) {
        node->is_paused = true;
}

void world_resume(struct world_node *node) {
        if (!node->is_paused)
                return;
        node->is_paused = false;
        network_resume(node);
        links_release(node);
        node->woken_at = USEC_INFINITY;
        world_wake(node, node_due(node));
}

void world_detach(struct world_node *node) {
        node->is_detached = true;
}

void world_attach(struct world_node *node) {
        node->is_detached = false;
        links_release(node);
}

void world_set_deaf(struct world_node *node, const struct world_node *to, bool deaf) {
        uint64_t bit = UINT64_C(1) << to->index % 64;

        if (deaf)
                node->deaf_to[to->index / 64] |= bit;
        else
                node->deaf_to[to->index / 64] &= ~bit;
        if (!deaf)
                links_release(node);
}

bool world_is_deaf(const struct world_node *node, const struct world_node *to) {
        return node->deaf_to[to->index / 64] >> to->index % 64 & 1;
}

/* A node hears itself without a cable. */
bool world_reaches(const struct world_node *from, const struct world_node *to) {
        if (from == to)
                return true;
        return !from->is_detached && !to->is_detached && !world_is_deaf(to, from);
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

/* What was due may not be any more, and what is due now may have become so since. */
static void node_wakes(struct world_node *node, usec_t due) {
        if (node->woken_at != due)
                return;
        node->woken_at = USEC_INFINITY;
        if (node_due(node) <= node->world->now)
                node_step(node);
        world_wake(node, node_due(node));
}

bool world_step(struct world *world, usec_t at) {
        struct world_event event;

        if (!events_take(world, at, &event)) {
                world->now = MAX(world->now, at);
                return false;
        }
        world->now = MAX(world->now, event.due);
        switch (event.kind) {
        case EVENT_NODE:
                node_wakes(event.node, event.due);
                break;
        case EVENT_DATAGRAM:
                network_step(event.node, event.what);
                break;
        case EVENT_LINK:
                links_step(event.node, event.what);
                break;
        }
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
        ASSERT_EQ(search.n, world_state(node).n_peers + world_state(node).n_strangers);
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
