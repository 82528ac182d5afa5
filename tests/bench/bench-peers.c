/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Plays nodes of this host that have nothing to do: each broadcasts its heartbeat on loopback and answers
 * when it is asked whether it is there. The heartbeats are spread evenly over the interval. Each may know
 * jobs that have ended, and tells those who ask for its index over a link. Ends by itself. */

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <systemd/sd-event.h>

#include "bench/measure.h"
#include "bench/options.h"
#include "net/links.h"
#include "net/seal.h"
#include "trust/key-file.h"
#include "util/random.h"
#include "util/time.h"
#include "util/uuid.h"
#include "wire/codec.h"

#define NODES_MAX 1000u
#define JOBS_MAX 100000u      /* of one node */
#define PORT_ATTEMPTS 100u    /* a number that is free for UDP may be taken for TCP */
#define JOB_USEC USEC_PER_SEC /* from its acceptance to its end */

struct node {
        struct nodes *nodes;
        int fd, listen_fd;
        struct mesh_message heartbeat; /* as it is sent; an answer is made from it */
        struct links *links;           /* NULL: it knows no jobs */
        struct uuid *jobs;
};

struct nodes {
        sd_event *event;
        int timer_fd;
        struct sockaddr_in broadcast;
        unsigned n_nodes, next, n_jobs;
        usec_t began_at;
        const struct mesh_keys *keys; /* NULL: none */
        uint64_t n_sent, n_answered, n_told;
        struct node nodes[NODES_MAX];
};

static int node_send(struct node *node, struct mesh_message *message, const struct sockaddr_in *address) {
        uint8_t data[DATAGRAM_MAX];
        int size;

        message->sequence = ++node->heartbeat.sequence;
        message->timestamp_usec = now_usec(CLOCK_REALTIME);
        message->node_info.last_heartbeat_usec = message->timestamp_usec;
        size = seal_encode(node->nodes->keys, message, /* pad= */ false, data);
        if (size < 0)
                return size;
        if (sendto(node->fd, data, (size_t) size, 0, (const struct sockaddr *) address, sizeof(*address)) <
            0)
                return -errno;
        return 0;
}

/* Whoever asks with a nonce gets it back. */
static int node_receive(struct node *node) {
        struct sockaddr_in source;
        socklen_t source_size = sizeof(source);
        uint8_t data[DATAGRAM_MAX + 1];
        struct mesh_message question, answer;
        ssize_t n;

        n = recvfrom(node->fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *) &source, &source_size);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        if (mesh_message_decode(data, (size_t) n, &question) < 0 || !question.has_nonce)
                return 0;
        answer = node->heartbeat;
        answer.type = MESSAGE_PROBE_ACK;
        answer.has_echo = true;
        memcpy(answer.echo, question.nonce, sizeof(answer.echo));
        answer.known_incarnation = question.incarnation;
        node->nodes->n_answered++;
        return node_send(node, &answer, &source);
}

static int on_datagram(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        return node_receive(userdata);
}

/* Job number n of a node was accepted n ms after the first. */
static void fill_entry(const struct node *node, uint64_t number, struct link_index_entry *ret) {
        usec_t created_at = node->nodes->began_at + number * USEC_PER_MSEC;

        *ret = (struct link_index_entry){
                .job = node->jobs[number - 1],
                .number = number,
                .epoch = 1,
                .status = JOB_COMPLETED,
                .executor = 1,
                .has_exit_code = true,
                .created_at = created_at,
                .started_at = created_at,
                .finished_at = created_at + JOB_USEC,
        };
}

/* All that is asked for is told at once; there is never anything new. */
static void on_message(void *userdata, const char *node_id, const struct link_message *message) {
        static struct link_index_entry entries[LINK_INDEX_ENTRIES_MAX];
        struct node *node = userdata;
        const struct link_index_ask *ask = &message->index_ask;
        const char *name = node->heartbeat.sender_node_id;
        uint64_t n_jobs = node->nodes->n_jobs, number;
        struct link_message answer = { .has_index_part = true, .index_entries = entries };

        if (!message->has_index_ask)
                return;
        number = ask->generation == node->heartbeat.instance ? ask->after : 0;
        if (number >= n_jobs)
                return;
        while (number < n_jobs && answer.n_index_entries < MIN(ask->room, LINK_INDEX_ENTRIES_MAX))
                fill_entry(node, ++number, &entries[answer.n_index_entries++]);
        answer.index_nodes = &name;
        answer.n_index_nodes = 1;
        answer.index_part = (struct link_index_part){
                .generation = node->heartbeat.instance,
                .head = n_jobs,
                .through = number,
                .complete = number == n_jobs,
        };
        if (links_send(node->links, node_id, &answer) >= 0)
                node->nodes->n_told += answer.n_index_entries;
}

static int on_up(void *userdata, const char *node_id, const struct link_hello *hello) {
        return 0;
}

static void on_down(void *userdata, const char *node_id, int error) {
}

static void on_writable(void *userdata, const char *node_id) {
}

static int node_know_jobs(struct node *node) {
        const struct links_config config = {
                .node_id = node->heartbeat.sender_node_id,
                .version = VERSION,
                .incarnation = node->heartbeat.incarnation,
                .instance = node->heartbeat.instance,
                .keys = node->nodes->keys,
                .listen_fd = TAKE_FD(node->listen_fd),
        };
        const struct links_handlers handlers = {
                .up = on_up,
                .received = on_message,
                .down = on_down,
                .writable = on_writable,
                .userdata = node,
        };

        node->jobs = calloc(node->nodes->n_jobs, sizeof(node->jobs[0]));
        if (!node->jobs)
                return -ENOMEM;
        for (unsigned i = 0; i < node->nodes->n_jobs; i++) {
                random_bytes(node->jobs[i].bytes, sizeof(node->jobs[i].bytes));
                uuid_set_version(&node->jobs[i], 4);
        }
        node->heartbeat.node_info.index_head = node->nodes->n_jobs;
        return links_new(&config, node->nodes->event, &handlers, &node->links);
}

/* One number for UDP and TCP, as nodes have it. */
static int node_bind(struct node *node, struct sockaddr_in *address) {
        socklen_t address_size = sizeof(*address);

        *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        node->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        node->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (node->fd < 0 || node->listen_fd < 0 ||
            bind(node->fd, (const struct sockaddr *) address, sizeof(*address)) < 0 ||
            getsockname(node->fd, (struct sockaddr *) address, &address_size) < 0 ||
            bind(node->listen_fd, (const struct sockaddr *) address, sizeof(*address)) < 0)
                return -errno;
        return 0;
}

static void node_close(struct node *node) {
        node->fd = close_fd(node->fd);
        node->listen_fd = close_fd(node->listen_fd);
}

static int node_open(struct nodes *nodes, struct node *node, unsigned number, unsigned interval_msec) {
        struct mesh_message *heartbeat = &node->heartbeat;
        struct sockaddr_in address;
        int on = 1, r;

        node->nodes = nodes;
        for (unsigned i = 0; (r = node_bind(node, &address)) == -EADDRINUSE && i < PORT_ATTEMPTS; i++)
                node_close(node);
        if (r < 0)
                return r;
        if (setsockopt(node->fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0)
                return -errno;

        *heartbeat = (struct mesh_message){
                .type = MESSAGE_HEARTBEAT,
                .incarnation = 1,
                .has_node_info = true,
                .node_info = {
                        .status = NODE_IDLE,
                        .version = VERSION,
                        .node_port = ntohs(address.sin_port),
                        .slots = 4,
                        .heartbeat_interval_usec = interval_msec * USEC_PER_MSEC,
                },
        };
        (void) snprintf(
                heartbeat->sender_node_id, sizeof(heartbeat->sender_node_id), "node-%016x", number + 1);
        (void) snprintf(
                heartbeat->node_info.node_id, sizeof(heartbeat->node_info.node_id), "%s",
                heartbeat->sender_node_id);
        (void) snprintf(
                heartbeat->node_info.address, sizeof(heartbeat->node_info.address), "127.0.0.1:%u",
                heartbeat->node_info.node_port);
        if (getrandom(&heartbeat->instance, sizeof(heartbeat->instance), 0) < 0)
                return -errno;
        r = sd_event_add_io(nodes->event, NULL, node->fd, EPOLLIN, on_datagram, node);
        return r < 0 || nodes->n_jobs == 0 ? r : node_know_jobs(node);
}

/* One heartbeat for each period that has passed. */
static int on_period(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        struct nodes *nodes = userdata;
        uint64_t n_periods = 0;
        int r = 0;

        if (read(nodes->timer_fd, &n_periods, sizeof(n_periods)) < 0)
                return errno == EAGAIN ? 0 : -errno;
        for (; n_periods > 0 && r == 0; n_periods--) {
                struct node *node = &nodes->nodes[nodes->next];
                struct mesh_message message = node->heartbeat;

                nodes->next = (nodes->next + 1) % nodes->n_nodes;
                nodes->n_sent++;
                r = node_send(node, &message, &nodes->broadcast);
        }
        return r;
}

static int nodes_open(struct nodes *nodes, unsigned n_nodes, unsigned interval_msec, unsigned seconds) {
        uint64_t period_nsec = interval_msec * UINT64_C(1000000) / n_nodes;
        struct itimerspec period = {
                .it_value.tv_nsec = 1,
                .it_interval = { (time_t) (period_nsec / NSEC_PER_SEC),
                                 (long) (period_nsec % NSEC_PER_SEC) },
        };
        int r;

        r = sd_event_new(&nodes->event);
        if (r < 0)
                return r;
        for (; nodes->n_nodes < n_nodes; nodes->n_nodes++) {
                r = node_open(nodes, &nodes->nodes[nodes->n_nodes], nodes->n_nodes, interval_msec);
                if (r < 0)
                        return r;
        }
        nodes->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (nodes->timer_fd < 0 || timerfd_settime(nodes->timer_fd, 0, &period, NULL) < 0)
                return -errno;
        r = sd_event_add_io(nodes->event, NULL, nodes->timer_fd, EPOLLIN, on_period, nodes);
        if (r < 0)
                return r;
        /* Without a handler it ends the loop. */
        return sd_event_add_time_relative(
                nodes->event, NULL, CLOCK_MONOTONIC, seconds * USEC_PER_SEC, 0, NULL, NULL);
}

static void nodes_done(struct nodes *nodes) {
        for (unsigned i = 0; i < NODES_MAX; i++) {
                struct node *node = &nodes->nodes[i];

                if (!node->nodes)
                        continue;
                node->links = links_free(node->links);
                node_close(node);
                free(node->jobs);
        }
        sd_event_unref(nodes->event);
}

/* Three descriptors a node. */
static void raise_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char *argv[]) {
        static struct mesh_keys keys;
        static struct nodes nodes;
        const char *key_file = NULL;
        char *problem = NULL;
        unsigned discovery_port = 8080, count = 50, interval_msec = 5000, seconds = 60;
        const struct bench_option options[] = {
                { "port", "The discovery port (8080).", 1, UINT16_MAX, &discovery_port, NULL, NULL },
                { "count", "How many nodes (50).", 1, NODES_MAX, &count, NULL, NULL },
                { "interval", "Between two heartbeats of a node, in ms (5000).", 10, 3600000, &interval_msec,
                  NULL, NULL },
                { "jobs", "How many jobs each knows, all ended (0).", 0, JOBS_MAX, &nodes.n_jobs, NULL,
                  NULL },
                { "seconds", "How long (60).", 1, 3600, &seconds, NULL, NULL },
                { "key-file", "The keys of their mesh; without, they have none.", 0, 0, NULL, &key_file,
                  NULL },
        };
        int r;

        r = bench_options_parse(argc, argv, "Plays idle nodes on loopback.", options, ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        if (key_file && key_file_read(key_file, KEY_FILE_OWN, &keys, &problem) < 0) {
                fprintf(stderr, "%s\n", problem ? problem : "The key file cannot be read.");
                return EXIT_FAILURE;
        }
        nodes.keys = key_file ? &keys : NULL;
        raise_limit();
        nodes.began_at = now_usec(CLOCK_REALTIME);
        nodes.broadcast = (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t) discovery_port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK | 0x00ffffff),
        };
        r = nodes_open(&nodes, count, interval_msec, seconds);
        if (r >= 0)
                r = sd_event_loop(nodes.event);
        nodes_done(&nodes);
        if (r < 0) {
                fprintf(stderr, "Cannot play nodes: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        figure_print("heartbeats", (double) nodes.n_sent);
        figure_print("answers", (double) nodes.n_answered);
        figure_print("entries", (double) nodes.n_told);
        return EXIT_SUCCESS;
}
