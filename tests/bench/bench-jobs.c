/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs from the first byte of their submission (NDJSON) to the moment when every result is durable and can
 * be read. */

#include <stdio.h>

#include "bench/http.h"
#include "bench/measure.h"
#include "bench/options.h"
#include "mesh/job.h"
#include "util/uuid.h"

/* With so many slots jobs end out of order: so many of the last ones are waited for one by one, which costs
 * the node next to nothing, before it is asked whether any is left. */
#define TAIL_MAX 64u

struct bench {
        struct http_connection connection;
        struct buffer batch; /* the request, the same every time */
        unsigned n_batches;
        unsigned slots;
};

static int batch_format(const char *body, unsigned n_jobs, struct buffer *request) {
        _cleanup_buffer_ struct buffer lines = {};

        for (unsigned i = 0; i < n_jobs; i++) {
                int r = buffer_printf(&lines, "%s\n", body);

                if (r < 0)
                        return r;
        }
        return http_format(request, "POST", "/api/v1/jobs", "application/x-ndjson", lines.data, lines.size);
}

static int get(struct bench *bench, const char *path, struct http_answer *ret_answer) {
        _cleanup_buffer_ struct buffer request = {};
        int r;

        r = http_format(&request, "GET", path, NULL, NULL, 0);
        return r < 0 ? r : http_exchange(&bench->connection, &request, 200, ret_answer);
}

/* The ids of the last jobs of an answer, the last one first. Returns how many. */
static size_t
tail_ids(const struct http_answer *answer, size_t n_wanted, char ret[static TAIL_MAX][UUID_TEXT_SIZE]) {
        static const char key[] = "\"job_id\"";
        const size_t key_size = sizeof(key) - 1;
        size_t n = 0;

        for (size_t at = answer->body_size; at-- > 0 && n < n_wanted;) {
                const char *found = answer->body + at, *quote;

                if (answer->body_size - at < key_size || memcmp(found, key, key_size) != 0)
                        continue;
                quote = memchr(found + key_size, '"', answer->body_size - at - key_size);
                if (!quote || (size_t) (answer->body + answer->body_size - quote) < UUID_TEXT_SIZE)
                        return 0;
                memcpy(ret[n], quote + 1, UUID_TEXT_SIZE - 1);
                ret[n++][UUID_TEXT_SIZE - 1] = 0;
        }
        return n;
}

static int wait_for_jobs(struct bench *bench, char ids[static TAIL_MAX][UUID_TEXT_SIZE], size_t n_ids) {
        for (size_t i = 0; i < n_ids; i++) {
                char path[128];
                struct http_answer answer;
                int r;

                (void) snprintf(path, sizeof(path), "/api/v1/jobs/%.36s?wait=5min", ids[i]);
                r = get(bench, path, &answer);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Whether the list of the jobs in this state is empty. */
static int list_is_empty(struct bench *bench, const char *status, bool *ret) {
        char path[64];
        struct http_answer answer;
        int r;

        (void) snprintf(path, sizeof(path), "/api/v1/jobs?limit=1&status=%s", status);
        r = get(bench, path, &answer);
        if (r < 0)
                return r;
        *ret = !memmem(answer.body, answer.body_size, "\"job_id\"", strlen("\"job_id\""));
        return 0;
}

static int wait_until_none_is_left(struct bench *bench) {
        bool none_waits = false, none_runs = false;

        while (!none_waits || !none_runs) {
                int r;

                r = list_is_empty(bench, "JOB_PENDING", &none_waits);
                if (r == 0)
                        r = list_is_empty(bench, "JOB_RUNNING", &none_runs);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int measure(struct bench *bench, unsigned n_jobs) {
        char ids[TAIL_MAX][UUID_TEXT_SIZE];
        uint64_t begin_nsec = monotonic_nsec();
        struct http_answer answer;
        size_t n_ids;
        int r;

        for (unsigned i = 0; i < bench->n_batches; i++) {
                r = http_exchange(&bench->connection, &bench->batch, 201, &answer);
                if (r < 0)
                        return r;
        }
        if (bench->slots > 0) {
                n_ids = tail_ids(&answer, MIN(2 * bench->slots, TAIL_MAX), ids);
                r = wait_for_jobs(bench, ids, n_ids);
                if (r < 0)
                        return r;
                r = wait_until_none_is_left(bench);
                if (r < 0)
                        return r;
        }
        rate_print((size_t) n_jobs * bench->n_batches, monotonic_nsec() - begin_nsec);
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned port = 3000, batch = JOBS_PER_REQUEST_MAX;
        const char *body = "{\"command\":\"true\"}";
        struct bench bench = { .connection = HTTP_CONNECTION_NULL, .n_batches = 1, .slots = 2 };
        const struct bench_option options[] = {
                { "port", "Of the node (3000).", 1, UINT16_MAX, &port, NULL, NULL },
                { "batch", "Jobs in one request (10000).", 1, JOBS_PER_REQUEST_MAX, &batch, NULL, NULL },
                { "requests", "How many of them, one after another (1).", 1, 1000, &bench.n_batches, NULL,
                  NULL },
                { "slots", "Jobs that the node runs at once (2); 0: it runs none, measure their acceptance.",
                  0, 1024, &bench.slots, NULL, NULL },
                { "body", "The job ({\"command\":\"true\"}).", 0, 0, NULL, &body, NULL },
        };
        int r;

        r = bench_options_parse(
                argc, argv, "Submits jobs in batches and waits until every result is durable.", options,
                ELEMENTSOF(options));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        r = batch_format(body, batch, &bench.batch);
        if (r == 0)
                r = http_connect((uint16_t) port, &bench.connection);
        if (r == 0)
                r = measure(&bench, batch);
        http_disconnect(&bench.connection);
        buffer_done(&bench.batch);
        if (r < 0)
                fprintf(stderr, "Cannot run the jobs: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
