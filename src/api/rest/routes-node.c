/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The node itself: answered at once, from memory. */

#include "api/rest/json-job.h"
#include "api/rest/routes.h"

void route_map(struct request *request) {
        _cleanup_writer_ struct writer writer = {};
        struct rest *rest = request_client(request)->rest;
        size_t n;
        const struct endpoint *all = endpoints(&n);

        writer_open(&writer, NULL, '{');
        writer_text(&writer, "service", "worker-mesh");
        writer_text(&writer, "version", VERSION);
        writer_text(&writer, "node_id", rest->node_id);
        writer_open(&writer, "endpoints", '[');
        for (size_t i = 0; i < n; i++) {
                writer_open(&writer, NULL, '{');
                writer_text(&writer, "method", all[i].method == HTTP_POST ? "POST" : "GET");
                writer_text(&writer, "path", all[i].path);
                writer_text(&writer, "summary", all[i].summary);
                writer_close(&writer, '}');
        }
        writer_close(&writer, ']');
        writer_close(&writer, '}');
        request_answer(request, 200, &writer, NULL);
}

/* A monitor looks at the status of the answer. A node that drains is well. */
void route_health(struct request *request) {
        _cleanup_writer_ struct writer writer = {};
        struct rest *rest = request_client(request)->rest;
        struct ops_status status;

        ops_get_status(rest->ops, &status);
        bool failed = status.status == NODE_FAILED;
        writer_open(&writer, NULL, '{');
        writer_text(&writer, "status", failed ? "unhealthy" : "healthy");
        writer_time(&writer, "timestamp", now_usec(CLOCK_REALTIME));
        writer_text(&writer, "node_id", rest->node_id);
        if (failed)
                writer_text(&writer, "reason", status.status_reason);
        writer_close(&writer, '}');
        request_answer(request, failed ? 503 : 200, &writer, NULL);
}

void route_status(struct request *request) {
        _cleanup_writer_ struct writer writer = {};
        struct ops_status status;

        ops_get_status(request_client(request)->rest->ops, &status);
        write_status(&writer, &status);
        request_answer(request, 200, &writer, NULL);
}

void node_changed(void *userdata, const struct problem *problem) {
        struct request *request = userdata;

        request->call = NULL;
        if (problem->code == PROBLEM_NONE)
                route_status(request);
        else
                request_fail_problem(request, problem);
}

static void set_drain(struct request *request, const struct ops_drain_request *drain) {
        int r;

        r = ops_set_drain(
                request_client(request)->rest->ops, request_caller(request), drain, node_changed, request,
                &request->call);
        if (r < 0)
                request_fail_memory(request);
}

void route_drain(struct request *request) {
        struct ops_drain_request drain = {};
        const struct json_field fields[] = {
                { .name = "timeout_seconds", .seconds = &drain.timeout_seconds, .has = &drain.has_timeout },
        };

        if (small_body_read(request, fields, ELEMENTSOF(fields), "a drain"))
                set_drain(request, &drain);
}

void route_resume(struct request *request) {
        set_drain(request, NULL);
}

struct peer_list {
        struct writer writer;
        uint64_t n;
};

static void add_peer(void *userdata, const struct ops_peer *peer) {
        struct peer_list *list = userdata;

        write_peer(&list->writer, peer);
        list->n++;
}

void route_peers(struct request *request) {
        struct peer_list list = {};

        writer_open(&list.writer, NULL, '{');
        writer_open(&list.writer, "peers", '[');
        ops_foreach_peer(request_client(request)->rest->ops, add_peer, &list);
        writer_close(&list.writer, ']');
        writer_unsigned(&list.writer, "count", list.n);
        writer_close(&list.writer, '}');
        request_answer(request, 200, &list.writer, NULL);
        writer_done(&list.writer);
}
