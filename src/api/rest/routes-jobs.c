/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that are there: the list, one of them, and its end on request. */

#include <string.h>

#include "api/rest/json-job.h"
#include "api/rest/routes.h"
#include "util/parse.h"

static enum parameter_use wrong(struct fault *ret_fault, const char *detail) {
        fault_set(ret_fault, FAULT_BAD_PARAMETER, "%s", detail);
        return PARAMETER_WRONG;
}

/* "RUNNING,JOB_FAILED" to a mask of states. */
static int parse_statuses(char *text, uint32_t *ret_mask) {
        char *saved = NULL;
        uint32_t mask = 0;

        for (char *word = strtok_r(text, ",", &saved); word; word = strtok_r(NULL, ",", &saved)) {
                int status = job_status_from_text(word);
                if (status <= JOB_UNKNOWN)
                        return -EINVAL;
                mask |= 1u << status;
        }
        if (mask == 0)
                return -EINVAL;
        *ret_mask = mask;
        return 0;
}

enum parameter_use
route_list_parameter(struct request *request, const struct parameter *parameter, struct fault *ret_fault) {
        char words[sizeof(parameter->value)];
        unsigned limit;

        if (streq(parameter->name, "limit")) {
                if (parse_unsigned(parameter->value, 1, OPS_LIST_MAX, &limit) < 0) {
                        fault_set(
                                ret_fault, FAULT_BAD_PARAMETER, "limit must be a number from 1 to %u",
                                OPS_LIST_MAX);
                        return PARAMETER_WRONG;
                }
                request->list.limit = limit;
                return PARAMETER_TAKEN;
        }
        if (streq(parameter->name, "status")) {
                memcpy(words, parameter->value, sizeof(words));
                if (parse_statuses(words, &request->list.status_mask) < 0)
                        return wrong(
                                ret_fault, "status must be one or several of PENDING, RUNNING, COMPLETED, "
                                           "FAILED, TIMEOUT "
                                           "and CANCELLED, with commas between");
                return PARAMETER_TAKEN;
        }
        if (streq(parameter->name, "scope")) {
                if (ops_scope_from_text(parameter->value, &request->scope) < 0)
                        return wrong(ret_fault, "scope must be node or mesh");
                return PARAMETER_TAKEN;
        }
        if (streq(parameter->name, "cursor")) {
                if (cursor_from_text(parameter->value, &request->cursor_kind, &request->list.before) < 0)
                        return wrong(ret_fault, "cursor must be a next_cursor from an earlier answer");
                return PARAMETER_TAKEN;
        }
        return PARAMETER_UNKNOWN;
}

enum parameter_use
route_wait_parameter(struct request *request, const struct parameter *parameter, struct fault *ret_fault) {
        if (!streq(parameter->name, "wait"))
                return PARAMETER_UNKNOWN;
        if (parse_span(parameter->value, &request->wait_usec) < 0 || request->wait_usec > OPS_WAIT_MAX_USEC)
                return wrong(ret_fault, "wait must be a time of at most 5 minutes, such as 30s");
        return PARAMETER_TAKEN;
}

static char cursor_kind(enum ops_scope scope) {
        return scope == OPS_SCOPE_MESH ? CURSOR_MESH : CURSOR_NODE;
}

static void on_list(void *userdata, const struct ops_list *answer) {
        _cleanup_writer_ struct writer writer = {};
        struct request *request = userdata;
        struct rest *rest = request_client(request)->rest;
        char cursor[CURSOR_TEXT_SIZE];

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                request_fail_problem(request, &answer->problem);
                return;
        }

        writer_open(&writer, NULL, '{');
        writer_open(&writer, "jobs", '[');
        for (size_t i = 0; i < answer->n_jobs; i++) {
                const struct stored_job *job = &answer->jobs[i];

                write_job(
                        &writer, NULL, job, ops_may_read(rest->ops, request_caller(request), job),
                        /* in_list= */ true);
        }
        for (size_t i = 0; i < answer->n_items; i++)
                write_recent_job(&writer, &answer->items[i]);
        writer_close(&writer, ']');
        writer_unsigned(&writer, "count", answer->n_jobs + answer->n_items);
        if (answer->more)
                writer_text(
                        &writer, "next_cursor",
                        cursor_to_text(cursor_kind(request->scope), answer->next_before, cursor));
        writer_close(&writer, '}');
        request_answer(request, 200, &writer, NULL);
}

void route_list(struct request *request) {
        struct rest *rest = request_client(request)->rest;
        struct fault fault;

        if (request->cursor_kind != '\0' && request->cursor_kind != cursor_kind(request->scope)) {
                (void) wrong(&fault, "cursor must be a next_cursor from an answer with the same scope");
                request_fail(request, &fault);
                return;
        }
        int r = ops_list_jobs(
                rest->ops, request_caller(request), request->scope, &request->list, on_list, request,
                &request->call);
        if (r < 0)
                request_fail_memory(request);
}

static void on_job(void *userdata, const struct ops_job *answer) {
        _cleanup_writer_ struct writer writer = {};
        struct request *request = userdata;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                request_fail_problem(request, &answer->problem);
                return;
        }
        write_job(&writer, NULL, answer->job, answer->may_read, /* in_list= */ false);
        request_answer(request, 200, &writer, NULL);
}

void route_job(struct request *request) {
        struct rest *rest = request_client(request)->rest;

        int r = ops_get_job(
                rest->ops, request_caller(request), &request->job_id, request->wait_usec, on_job, request,
                &request->call);
        if (r < 0)
                request_fail_memory(request);
        else if (request->wait_usec > 0)
                http_watch(request);
}

/* A cancel that is under way says so, whatever the record that was read along with it. */
static void on_cancelled(void *userdata, const struct ops_job *answer) {
        _cleanup_writer_ struct writer writer = {};
        struct request *request = userdata;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                request_fail_problem(request, &answer->problem);
                return;
        }
        struct stored_job job = *answer->job;
        job.cancel_requested = job.cancel_requested || answer->accepted;
        write_job(&writer, NULL, &job, answer->may_read, /* in_list= */ false);
        request_answer(request, answer->accepted ? 202 : 200, &writer, NULL);
}

void route_cancel(struct request *request) {
        struct rest *rest = request_client(request)->rest;

        int r = ops_cancel_job(
                rest->ops, request_caller(request), &request->job_id, on_cancelled, request, &request->call);
        if (r < 0)
                request_fail_memory(request);
        else
                http_watch(request);
}
