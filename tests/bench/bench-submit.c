/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Submissions, one job a request, over many keep-alive connections that each wait for their answer: how many
 * a second are acknowledged, and so durable. */

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench/http.h"
#include "bench/measure.h"
#include "bench/options.h"

#define CONNECTIONS_MAX 1024u
#define EVENTS_PER_WAIT 64

struct submitter {
        struct http_connection connection;
        uint64_t begin_nsec;
};

struct load {
        unsigned port;
        const char *socket_path; /* of a unix socket, instead of the port */
        struct buffer request;   /* the same every time */
        struct samples *samples;
        unsigned n_to_send;
        int epoll_fd;
        size_t n_submitters;
        struct submitter submitters[CONNECTIONS_MAX];
};

static void load_done(struct load *load) {
        for (size_t i = 0; i < load->n_submitters; i++)
                http_disconnect(&load->submitters[i].connection);
        load->epoll_fd = close_fd(load->epoll_fd);
        buffer_done(&load->request);
        free(load->samples);
}

static int load_connect(struct load *load, size_t n_connections) {
        load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (load->epoll_fd < 0)
                return -errno;
        while (load->n_submitters < n_connections) {
                struct submitter *submitter = &load->submitters[load->n_submitters];
                struct epoll_event event = { .events = EPOLLIN, .data.ptr = submitter };
                int r;

                r = load->socket_path ? http_connect_unix(load->socket_path, &submitter->connection)
                                      : http_connect((uint16_t) load->port, &submitter->connection);
                if (r < 0)
                        return r;
                load->n_submitters++;
                if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, submitter->connection.fd, &event) < 0)
                        return -errno;
        }
        return 0;
}

static int submitter_send(struct load *load, struct submitter *submitter) {
        if (load->n_to_send == 0)
                return 0;
        load->n_to_send--;
        submitter->begin_nsec = monotonic_nsec();
        return http_send(&submitter->connection, load->request.data, load->request.size);
}

static int submitter_receive(struct load *load, struct submitter *submitter) {
        struct http_answer answer;
        int r;

        r = http_receive(&submitter->connection, MSG_DONTWAIT, &answer);
        if (r <= 0)
                return r;
        if (answer.status != 201)
                return http_unexpected(&answer);
        samples_add(load->samples, monotonic_nsec() - submitter->begin_nsec);
        return submitter_send(load, submitter);
}

static int load_run(struct load *load) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int r;

        for (size_t i = 0; i < load->n_submitters; i++) {
                r = submitter_send(load, &load->submitters[i]);
                if (r < 0)
                        return r;
        }
        while (load->samples->n < load->samples->n_allocated) {
                int n = epoll_wait(load->epoll_fd, events, EVENTS_PER_WAIT, -1);

                if (n < 0)
                        return -errno;
                for (int i = 0; i < n; i++) {
                        r = submitter_receive(load, events[i].data.ptr);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int measure(struct load *load, size_t n_connections, const char *body) {
        int r;

        r = http_format(&load->request, "POST", "/api/v1/jobs", "application/json", body, strlen(body));
        if (r < 0)
                return r;
        r = samples_new(load->n_to_send, &load->samples);
        if (r < 0)
                return r;
        r = load_connect(load, n_connections);
        if (r < 0)
                return r;

        uint64_t begin_nsec = monotonic_nsec();
        r = load_run(load);
        if (r < 0)
                return r;
        rate_print(load->samples->n, monotonic_nsec() - begin_nsec);
        samples_print(load->samples);
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned count = 10000, connections = 64;
        const char *body = "{\"command\":\"true\"}";
        static struct load load = { .port = 3000, .epoll_fd = -EBADF };
        const struct bench_option options[] = {
                { "port", "Of the node (3000).", 1, UINT16_MAX, &load.port, NULL, NULL },
                { "socket", "A unix socket of the node, instead.", 0, 0, NULL, &load.socket_path, NULL },
                { "count", "How many jobs (10000).", 1, 10000000, &count, NULL, NULL },
                { "connections", "How many at once (64).", 1, CONNECTIONS_MAX, &connections, NULL, NULL },
                { "body", "The job ({\"command\":\"true\"}).", 0, 0, NULL, &body, NULL },
        };
        int r;

        r = bench_options_parse(
                argc, argv, "Submits jobs one by one over many connections.", options, ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        load.n_to_send = count;
        r = measure(&load, connections, body);
        load_done(&load);
        if (r < 0)
                fprintf(stderr, "Cannot submit: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
