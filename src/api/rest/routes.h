/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What there is to ask for. routes.c finds the endpoint and everything that can be refused by the header;
 * the other routes-*.c hold one handler for each endpoint: call one operation, format its answer. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/ops.h"
#include "api/rest/http.h"
#include "api/rest/json-write.h"
#include "api/rest/request.h"
#include "api/rest/target.h"

#define REQUEST_BODY_MAX (32u * 1024 * 1024)
#define SMALL_BODY_MAX 4096u
#define BODIES_MEMORY_MAX (128u * 1024 * 1024) /* of all submissions that are being read */

struct peer_uid;
struct door;

struct rest {
        char *node_id;
        struct ops *ops;
        struct http *http;
        struct json_parser *parser;
        struct peer_uid *peer_uid; /* NULL: the kernel cannot be asked */
        struct door **doors;
        size_t n_doors;
        size_t bodies_memory, bodies_peak; /* now, and at most since there were none */
};

/* Whether a query parameter was taken. */
enum parameter_use {
        PARAMETER_UNKNOWN,
        PARAMETER_TAKEN,
        PARAMETER_WRONG, /* *ret_fault says what is */
};

enum endpoint_body {
        BODY_NONE, /* one that comes is read in vain */
        BODY_JOBS,
        BODY_SMALL, /* an object of a few fields, or nothing */
};

struct endpoint {
        const char *path;        /* "{id}" is the id of a job */
        enum http_method method; /* GET stands for HEAD too */
        unsigned access;         /* of enum access: what it takes */
        enum endpoint_body body;
        void (*handle)(struct request *request);
        enum parameter_use (*parameter)(
                struct request *request, const struct parameter *parameter,
                struct fault *ret_fault); /* NULL: takes none */
        const char *summary;
};

/* The table of routes.c. */
const struct endpoint *endpoints(size_t *ret_n);
const struct endpoint *endpoint_find(
        const char *path, size_t path_size, enum http_method method, const char **ret_segment,
        size_t *ret_segment_size, const char **ret_allow);

extern const struct http_handlers routes_handlers; /* userdata is not used */

void request_fail(struct request *request, const struct fault *fault);
void request_fail_problem(struct request *request, const struct problem *problem);
void request_fail_memory(struct request *request);
/* Ends the writer's text. location: NULL for none. */
void request_answer(struct request *request, unsigned status, struct writer *writer, const char *location);
const struct caller *request_caller(struct request *request);

/* routes-node.c */
void route_map(struct request *request);
void route_health(struct request *request);
void route_status(struct request *request);
void route_peers(struct request *request);
/* An ops_done_t: answers with the node as it is now, or by the problem. */
void node_changed(void *userdata, const struct problem *problem);
void route_drain(struct request *request);
void route_resume(struct request *request);

/* routes-mesh.c */
void small_body(struct request *request, const char *data, size_t size);
void small_body_gone(struct request *request);
/* False: it was refused, and answered. */
struct json_field;
bool small_body_read(
        struct request *request, const struct json_field *fields, size_t n_fields, const char *what);
void route_invite(struct request *request);
void route_join(struct request *request);
void route_leave(struct request *request);

/* routes-jobs.c */
void route_list(struct request *request);
enum parameter_use
route_list_parameter(struct request *request, const struct parameter *parameter, struct fault *ret_fault);
void route_job(struct request *request);
void route_cancel(struct request *request);
enum parameter_use
route_wait_parameter(struct request *request, const struct parameter *parameter, struct fault *ret_fault);

/* routes-submit.c */
bool submit_begin(
        struct request *request, struct fault *ret_fault); /* the header of a submission is there */
void submit_body(struct request *request, const char *data, size_t size);
void submit_gone(struct request *request);
/* A refusal of the JSON reader, in the words of REST. */
void fault_from_json(struct fault *ret, const struct json_problem *problem);
void route_submit(struct request *request);

/* routes-output.c */
void route_stdout(struct request *request);
void route_stderr(struct request *request);
void output_more(struct request *request);
enum parameter_use
route_output_parameter(struct request *request, const struct parameter *parameter, struct fault *ret_fault);
