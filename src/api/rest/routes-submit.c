/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Submissions: the body as it comes in, the operation, and the wait for the end of a single job. */

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "api/rest/json-job.h"
#include "api/rest/routes.h"

#define JOBS_PATH "/api/v1/jobs"
#define TRIM_FROM (16u * 1024 * 1024) /* bytes of bodies */

/* After many bodies at once the heap is full of holes, which the C library would keep. */
static void give_memory_back(struct rest *rest) {
        if (rest->bodies_memory > 0)
                return;
        if (rest->bodies_peak >= TRIM_FROM)
                (void) malloc_trim(0);
        rest->bodies_peak = 0;
}

/* What the reader holds counts in a sum of all; false: there is no room for more. */
static bool count_memory(struct request *request) {
        struct rest *rest = request_client(request)->rest;
        size_t memory = request->reader ? job_reader_memory(request->reader) : 0;

        rest->bodies_memory += memory - request->memory;
        request->memory = memory;
        rest->bodies_peak = MAX(rest->bodies_peak, rest->bodies_memory);
        give_memory_back(rest);
        return rest->bodies_memory <= BODIES_MEMORY_MAX;
}

static struct fault *body_too_large(struct fault *ret) {
        return fault_set(
                ret, FAULT_BODY_TOO_LARGE,
                "the body is longer than %u bytes; send the jobs in several requests", REQUEST_BODY_MAX);
}

bool submit_begin(struct request *request, struct fault *ret_fault) {
        struct rest *rest = request_client(request)->rest;
        enum job_format format;

        if (!gate_job_format(request->headers.content_type, &format, ret_fault))
                return false;
        if (request->headers.idempotency_key && !ops_key_is_valid(request->headers.idempotency_key)) {
                fault_set(
                        ret_fault, FAULT_BAD_PARAMETER,
                        "Idempotency-Key must be 1 to %u printable ASCII characters", IDEMPOTENCY_KEY_MAX);
                return false;
        }
        if (request->content_length > REQUEST_BODY_MAX) {
                body_too_large(ret_fault);
                return false;
        }
        if (job_reader_new(rest->parser, format, &request->reader) < 0) {
                fault_set(ret_fault, FAULT_INTERNAL, "out of memory");
                return false;
        }
        (void) count_memory(request);
        return true;
}

void submit_gone(struct request *request) {
        request->reader = job_reader_free(request->reader);
        (void) count_memory(request);
}

void fault_from_json(struct fault *ret, const struct json_problem *problem) {
        enum fault_code code = FAULT_BAD_JSON;

        switch (problem->refusal) {
        case JSON_NOT_JSON:
                code = FAULT_BAD_JSON;
                break;
        case JSON_WRONG_TYPE:
                code = FAULT_WRONG_TYPE;
                break;
        case JSON_UNKNOWN_FIELD:
                code = FAULT_UNKNOWN_FIELD;
                break;
        case JSON_TOO_MANY:
                code = FAULT_BODY_TOO_LARGE;
                break;
        }
        fault_set(ret, code, "%s", problem->detail);
        ret->field = problem->field;
}

static void fail_body(struct request *request) {
        struct fault fault;
        size_t index;

        fault_from_json(&fault, job_reader_problem(request->reader));
        fault.has_index = job_reader_problem_index(request->reader, &index);
        if (fault.has_index) {
                fault.index = index;
                fault.line = job_reader_line(request->reader, index);
        }
        request_fail(request, &fault);
}

/* After an answer the rest of the body is read in vain, and needs no memory. */
static void fail_and_forget(struct request *request, int error) {
        if (error == -EBADMSG)
                fail_body(request);
        else
                request_fail_memory(request);
        submit_gone(request);
}

void submit_body(struct request *request, const char *data, size_t size) {
        struct fault fault;

        if (request->body_size > REQUEST_BODY_MAX) {
                request_fail(request, body_too_large(&fault));
                submit_gone(request);
                return;
        }
        int r = job_reader_feed(request->reader, data, size);
        if (r < 0) {
                fail_and_forget(request, r);
                return;
        }
        if (!count_memory(request)) {
                fault_set(
                        &fault, FAULT_BUSY,
                        "too many large submissions are being read; try again in a moment");
                request_fail(request, &fault);
                submit_gone(request);
        }
}

/* The original's keys in its order. */
static void write_accepted(struct request *request, struct writer *writer) {
        struct rest *rest = request_client(request)->rest;
        const struct job_request *job;
        char id[UUID_TEXT_SIZE];
        size_t n;

        job = job_reader_jobs(request->reader, &n);
        writer_open(writer, NULL, '{');
        writer_text(writer, "job_id", uuid_to_text(&request->job_id, id));
        if (job->target_node_id)
                (void) writer_bytes(writer, "target_node", job->target_node_id, job->target_node_id_size);
        else
                writer_text(writer, "target_node", rest->node_id);
        (void) writer_bytes(writer, "command", job->command, job->command_size);
        writer_text(writer, "status", job_status_to_text(JOB_PENDING));
        writer_time(writer, "created_at", request->created_at);
        writer_unsigned(writer, "copies", request->copies);
        writer_close(writer, '}');
}

static void answer_submission(struct request *request, unsigned status, struct writer *writer) {
        _cleanup_answer_ struct answer answer = {
                .status = status,
                .content_type = CONTENT_TYPE_JSON,
                .replayed = request->repeated,
        };
        char id[UUID_TEXT_SIZE];

        if (writer_finish(writer, &answer.body) < 0) {
                request_fail_memory(request);
                return;
        }
        if (!job_reader_is_list(request->reader))
                (void) snprintf(
                        answer.location, sizeof(answer.location), JOBS_PATH "/%s",
                        uuid_to_text(&request->job_id, id));
        http_answer(request, &answer);
}

static void answer_accepted(struct request *request, unsigned status) {
        _cleanup_writer_ struct writer writer = {};

        write_accepted(request, &writer);
        answer_submission(request, status, &writer);
}

static void answer_list(struct request *request, const struct ops_submitted *submitted) {
        _cleanup_writer_ struct writer writer = {};
        char id[UUID_TEXT_SIZE];

        writer_open(&writer, NULL, '{');
        writer_unsigned(&writer, "count", submitted->n_ids);
        writer_open(&writer, "jobs", '[');
        for (size_t i = 0; i < submitted->n_ids; i++) {
                writer_open(&writer, NULL, '{');
                writer_text(&writer, "job_id", uuid_to_text(&submitted->ids[i], id));
                writer_unsigned(&writer, "copies", submitted->copies);
                writer_close(&writer, '}');
        }
        writer_close(&writer, ']');
        writer_close(&writer, '}');
        answer_submission(request, 201, &writer);
}

/* The job is durable: whatever goes wrong with the wait, its id is told. */
static void on_waited(void *userdata, const struct ops_job *answer) {
        _cleanup_writer_ struct writer writer = {};
        struct request *request = userdata;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                answer_accepted(request, 202);
                return;
        }
        write_job(&writer, NULL, answer->job, answer->may_read, /* in_list= */ false);
        answer_submission(request, answer->timed_out ? 202 : 200, &writer);
}

static void fail_submission(struct request *request, const struct problem *problem) {
        struct fault fault;

        fault_from_problem(&fault, problem);
        fault.has_index = fault.has_index && job_reader_is_list(request->reader);
        if (fault.has_index)
                fault.line = job_reader_line(request->reader, fault.index);
        request_fail(request, &fault);
}

static void on_submitted(void *userdata, const struct ops_submitted *answer) {
        struct request *request = userdata;
        struct rest *rest = request_client(request)->rest;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                fail_submission(request, &answer->problem);
                return;
        }
        request->repeated = answer->repeated;
        request->copies = answer->copies;
        request->created_at = answer->created_at;
        if (job_reader_is_list(request->reader)) {
                answer_list(request, answer);
                return;
        }

        request->job_id = answer->ids[0];
        if (request->wait_usec == 0) {
                answer_accepted(request, 201);
                return;
        }
        int r = ops_get_job(
                rest->ops, request_caller(request), &request->job_id, request->wait_usec, on_waited, request,
                &request->call);
        if (r < 0)
                answer_accepted(request, 202);
        else
                http_watch(request);
}

void route_submit(struct request *request) {
        struct rest *rest = request_client(request)->rest;
        struct fault fault;
        size_t n;

        int r = job_reader_finish(request->reader);
        if (r < 0) {
                fail_and_forget(request, r);
                return;
        }
        if (request->wait_usec > 0 && job_reader_is_list(request->reader)) {
                fault_set(
                        &fault, FAULT_BAD_PARAMETER,
                        "wait is for a single job; submit several without it, then GET each with ?wait=");
                request_fail(request, &fault);
                return;
        }

        const struct job_request *jobs = job_reader_jobs(request->reader, &n);
        r = ops_submit(
                rest->ops, request_caller(request), jobs, n, request->headers.idempotency_key, on_submitted,
                request, &request->call);
        if (r < 0)
                request_fail_memory(request);
}
