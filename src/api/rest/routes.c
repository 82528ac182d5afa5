/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/routes.h"

#include <string.h>

static const struct endpoint table[] = {
        { "/", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_map, NULL, "this map" },
        { "/api/v1", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_map, NULL, "this map" },
        { "/api/v1/health", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_health, NULL,
          "whether the node works" },
        { "/api/v1/status", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_status, NULL, "the node" },
        { "/api/v1/node/drain", HTTP_POST, ACCESS_MANAGE, BODY_SMALL, route_drain, NULL,
          "begin nothing new, and hand back what has not begun; {\"timeout_seconds\":60} ends what still "
          "runs then" },
        { "/api/v1/node/resume", HTTP_POST, ACCESS_MANAGE, BODY_NONE, route_resume, NULL,
          "take jobs again" },
        { "/api/v1/mesh/invite", HTTP_POST, ACCESS_MANAGE, BODY_SMALL, route_invite, NULL,
          "a word with which another node can join the mesh, once; {\"expires_seconds\":600}" },
        { "/api/v1/mesh/join", HTTP_POST, ACCESS_MANAGE, BODY_SMALL, route_join, NULL,
          "join the mesh of an invitation; {\"token\":\"...\"}" },
        { "/api/v1/mesh/leave", HTTP_POST, ACCESS_MANAGE, BODY_NONE, route_leave, NULL,
          "have a mesh of its own, with a new key" },
        { "/api/v1/peers", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_peers, NULL, "the other nodes" },
        { "/api/v1/jobs", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_list, route_list_parameter,
          "jobs, newest first; ?limit=50&status=RUNNING,FAILED&cursor=" },
        { "/api/v1/jobs", HTTP_POST, ACCESS_SUBMIT, BODY_JOBS, route_submit, route_wait_parameter,
          "submit a job, an array of jobs, or one a line; ?wait=30s for a single one" },
        { "/api/v1/jobs/{id}", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_job, route_wait_parameter,
          "one job; ?wait=30s answers when it has ended" },
        { "/api/v1/jobs/{id}/cancel", HTTP_POST, ACCESS_SUBMIT, BODY_NONE, route_cancel, NULL, "end a job" },
        { "/api/v1/jobs/{id}/stdout", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_stdout,
          route_output_parameter, "its output as it is; ?offset=0&follow=1" },
        { "/api/v1/jobs/{id}/stderr", HTTP_GET, ACCESS_READ_STATE, BODY_NONE, route_stderr,
          route_output_parameter, "its errors as they are; ?offset=0&follow=1" },
};

const struct endpoint *endpoints(size_t *ret_n) {
        *ret_n = ELEMENTSOF(table);
        return table;
}

/* NULL: *ret_allow is NULL where the path is unknown, else the methods it takes. */
const struct endpoint *endpoint_find(
        const char *path, size_t path_size, enum http_method method, const char **ret_segment,
        size_t *ret_segment_size, const char **ret_allow) {
        bool get = false, post = false;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                if (!target_matches(table[i].path, path, path_size, ret_segment, ret_segment_size))
                        continue;
                if (table[i].method == method || (table[i].method == HTTP_GET && method == HTTP_HEAD))
                        return &table[i];
                get = get || table[i].method == HTTP_GET;
                post = post || table[i].method == HTTP_POST;
        }
        *ret_allow = get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : post ? "POST" : NULL;
        return NULL;
}

const struct caller *request_caller(struct request *request) {
        return &request_client(request)->caller;
}

void request_fail(struct request *request, const struct fault *fault) {
        _cleanup_answer_ struct answer answer = {};

        if (answer_from_fault(&answer, fault) < 0)
                http_abort(request);
        else
                http_answer(request, &answer);
}

void request_fail_problem(struct request *request, const struct problem *problem) {
        struct fault fault;

        request_fail(request, fault_from_problem(&fault, problem));
}

void request_fail_memory(struct request *request) {
        struct fault fault;

        request_fail(request, fault_set(&fault, FAULT_INTERNAL, "out of memory"));
}

void request_answer(struct request *request, unsigned status, struct writer *writer, const char *location) {
        _cleanup_answer_ struct answer answer = { .status = status, .content_type = CONTENT_TYPE_JSON };

        if (writer_finish(writer, &answer.body) < 0) {
                request_fail_memory(request);
                return;
        }
        if (location)
                strncpy(answer.location, location, sizeof(answer.location) - 1);
        http_answer(request, &answer);
}

static bool check_header(struct request *request, struct fault *ret_fault) {
        struct client *client = request_client(request);

        if (!gate_framing(&request->headers, ret_fault)) {
                request->close = true;
                return false;
        }
        if (request->header_too_large) {
                fault_set(
                        ret_fault, FAULT_HEADER_TOO_LARGE, "the header is longer than %u bytes",
                        REQUEST_HEADER_MAX);
                return false;
        }
        if (request->target_too_long) {
                fault_set(
                        ret_fault, FAULT_TARGET_TOO_LONG, "path and query are longer than %u bytes",
                        TARGET_MAX);
                return false;
        }
        if (!request->target) {
                fault_set(ret_fault, FAULT_INTERNAL, "out of memory");
                return false;
        }
        return gate_admits(&client->door, &request->headers, request->http_1_0, ret_fault);
}

static bool find_endpoint(struct request *request, struct fault *ret_fault) {
        size_t path_size = strcspn(request->target, "?"), id_size;
        const char *id, *allow;
        char text[UUID_TEXT_SIZE];

        request->endpoint =
                endpoint_find(request->target, path_size, request->method, &id, &id_size, &allow);
        if (!request->endpoint && allow) {
                fault_set(ret_fault, FAULT_METHOD_NOT_ALLOWED, "this path takes %s only", allow);
                ret_fault->allow = allow;
                return false;
        }
        if (!request->endpoint) {
                fault_set(
                        ret_fault, FAULT_NOT_FOUND,
                        "there is nothing at this path; GET / lists what there is");
                return false;
        }
        if (!id)
                return true;

        if (id_size == sizeof(text) - 1) {
                memcpy(text, id, id_size);
                text[id_size] = '\0';
                if (uuid_from_text(text, &request->job_id) >= 0)
                        return true;
        }
        fault_set(
                ret_fault, FAULT_NOT_FOUND,
                "this is not the id of a job, such as 550e8400-e29b-41d4-a716-446655440000");
        return false;
}

static bool check_access(struct request *request, struct fault *ret_fault) {
        struct client *client = request_client(request);

        if (!client->access_known) {
                client->access = ops_access(client->rest->ops, &client->caller, &client->access_reason);
                client->access_known = true;
        }
        if ((client->access & request->endpoint->access) == request->endpoint->access)
                return true;
        fault_set(
                ret_fault, FAULT_FORBIDDEN, "%s",
                client->access_reason ? client->access_reason : "this user may not do that");
        return false;
}

static bool read_parameters(struct request *request, struct fault *ret_fault) {
        const struct endpoint *endpoint = request->endpoint;
        const char *query = strchr(request->target, '?');
        struct parameter parameter;
        enum parameter_outcome outcome;

        if (query)
                query++;
        while ((outcome = target_next_parameter(&query, &parameter)) == PARAMETER_FOUND) {
                switch (endpoint->parameter ? endpoint->parameter(request, &parameter, ret_fault)
                                            : PARAMETER_UNKNOWN) {
                case PARAMETER_TAKEN:
                        break;
                case PARAMETER_WRONG:
                        return false;
                case PARAMETER_UNKNOWN:
                        fault_set(
                                ret_fault, FAULT_BAD_PARAMETER, "unknown parameter \"%s\" for %s: %s",
                                parameter.name, endpoint->path, endpoint->summary);
                        return false;
                }
        }
        if (outcome == PARAMETER_MALFORMED)
                fault_set(
                        ret_fault, FAULT_BAD_PARAMETER,
                        "a parameter is too long, or has an escape that is not %%XX");
        return outcome == PARAMETER_END;
}

static bool admit(struct request *request, struct fault *ret_fault) {
        if (!check_header(request, ret_fault) || !find_endpoint(request, ret_fault) ||
            !check_access(request, ret_fault) || !read_parameters(request, ret_fault))
                return false;
        if (request->endpoint->body == BODY_JOBS)
                return submit_begin(request, ret_fault);
        return request->method != HTTP_POST || gate_no_content(request->headers.content_type, ret_fault);
}

static void on_begin(void *userdata, struct request *request) {
        struct fault fault;

        request->list = (struct store_list){ .limit = OPS_LIST_DEFAULT, .before = UINT64_MAX };
        if (!admit(request, &fault))
                request_fail(request, &fault);
}

static void on_body(void *userdata, struct request *request, const char *data, size_t size) {
        if (request->endpoint->body == BODY_JOBS)
                submit_body(request, data, size);
        else if (request->endpoint->body == BODY_SMALL)
                small_body(request, data, size);
}

static void on_end(void *userdata, struct request *request) {
        request->endpoint->handle(request);
}

static void on_stream_more(void *userdata, struct request *request) {
        output_more(request);
}

static void on_gone(void *userdata, struct request *request) {
        ops_call_cancel(request->call);
        request->call = NULL;
        submit_gone(request);
        small_body_gone(request);
}

const struct http_handlers routes_handlers = {
        .begin = on_begin,
        .body = on_body,
        .end = on_end,
        .stream_more = on_stream_more,
        .gone = on_gone,
};
