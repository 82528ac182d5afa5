/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a job wrote, byte for byte: at once when the first piece is all of it, else as a stream. */

#include "api/rest/routes.h"
#include "util/parse.h"

enum parameter_use
route_output_parameter(struct request *request, const struct parameter *parameter, struct fault *ret_fault) {
        if (streq(parameter->name, "offset")) {
                if (parse_u64(parameter->value, &request->offset) < 0) {
                        fault_set(
                                ret_fault, FAULT_BAD_PARAMETER, "offset must be a number of bytes, from 0");
                        return PARAMETER_WRONG;
                }
                return PARAMETER_TAKEN;
        }
        if (streq(parameter->name, "follow")) {
                if (parse_boolean(parameter->value, &request->follow) < 0) {
                        fault_set(ret_fault, FAULT_BAD_PARAMETER, "follow must be 1 or 0");
                        return PARAMETER_WRONG;
                }
                return PARAMETER_TAKEN;
        }
        return PARAMETER_UNKNOWN;
}

/* A problem after the first piece cannot be told any more but by cutting the stream off. */
static void first_piece(struct request *request, const struct ops_output *piece) {
        _cleanup_answer_ struct answer answer = { .status = 200, .content_type = CONTENT_TYPE_BYTES };

        if (piece->problem.code != PROBLEM_NONE) {
                request_fail_problem(request, &piece->problem);
                return;
        }
        if (piece->ended) {
                if (buffer_append(&answer.body, piece->data, piece->size) < 0)
                        request_fail_memory(request);
                else
                        http_answer(request, &answer);
                return;
        }
        if (http_stream_append(request, piece->data, piece->size, false) < 0) {
                request_fail_memory(request);
                return;
        }
        http_stream_start(request, &answer);
}

static void on_output(void *userdata, const struct ops_output *piece) {
        struct request *request = userdata;

        if (piece->ended || piece->problem.code != PROBLEM_NONE)
                request->call = NULL;
        if (!request->answered) {
                first_piece(request, piece);
                return;
        }
        if (piece->problem.code != PROBLEM_NONE ||
            http_stream_append(request, piece->data, piece->size, piece->ended) < 0)
                http_stream_fail(request);
}

void output_more(struct request *request) {
        if (request->call)
                ops_output_next(request->call);
}

static void read_output(struct request *request, int output) {
        struct rest *rest = request_client(request)->rest;

        int r = ops_read_output(
                rest->ops, request_caller(request), &request->job_id, output, request->offset,
                request->follow, on_output, request, &request->call);
        if (r < 0)
                request_fail_memory(request);
        else if (request->follow)
                http_watch(request);
}

void route_stdout(struct request *request) {
        read_output(request, 1);
}

void route_stderr(struct request *request) {
        read_output(request, 2);
}
