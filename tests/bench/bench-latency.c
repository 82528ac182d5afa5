/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One request at a time over one connection: how long each answer takes. */

#include <stdio.h>

#include "bench/http.h"
#include "bench/measure.h"
#include "bench/options.h"

static int measure(uint16_t port, const struct buffer *request, struct samples *samples) {
        _cleanup_http_ struct http_connection connection = HTTP_CONNECTION_NULL;
        struct http_answer answer;
        int r;

        r = http_connect(port, &connection);
        if (r < 0) {
                fprintf(stderr, "Cannot connect to port %u: %s\n", port, strerror(-r));
                return r;
        }
        while (samples->n < samples->n_allocated) {
                uint64_t begin_nsec = monotonic_nsec();

                r = http_exchange(&connection, request, 200, &answer);
                if (r < 0)
                        return r;
                samples_add(samples, monotonic_nsec() - begin_nsec);
        }
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned port = 3000, count = 1000;
        const char *path = "/api/v1/jobs?wait=30s", *body = NULL;
        const struct bench_option options[] = {
                { "port", "Of the node (3000).", 1, UINT16_MAX, &port, NULL, NULL },
                { "count", "How many requests (1000).", 1, 10000000, &count, NULL, NULL },
                { "path", "What to ask for (/api/v1/jobs?wait=30s).", 0, 0, NULL, &path, NULL },
                { "body", "JSON to POST there; without it, GET.", 0, 0, NULL, &body, NULL },
        };
        _cleanup_free_ struct samples *samples = NULL;
        _cleanup_buffer_ struct buffer request = {};
        int r;

        r = bench_options_parse(
                argc, argv, "Sends one request over and over and tells how long the answers took.", options,
                ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        if (body)
                r = http_format(&request, "POST", path, "application/json", body, strlen(body));
        else
                r = http_format(&request, "GET", path, NULL, NULL, 0);
        if (r < 0 || samples_new(count, &samples) < 0)
                return EXIT_FAILURE;
        if (measure((uint16_t) port, &request, samples) < 0)
                return EXIT_FAILURE;
        samples_print(samples);
        return EXIT_SUCCESS;
}
