/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/answer.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/rest/json-write.h"

#define RETRY_SOON_SEC 1u
#define RETRY_LATER_SEC 10u

void answer_done(struct answer *answer) {
        buffer_done(&answer->body);
}

struct fault_kind {
        const char *code;
        unsigned status;
        const char *title;
        unsigned retry_after_sec;
};

static const struct fault_kind fault_kinds[_FAULT_CODE_MAX] = {
        [FAULT_BAD_REQUEST] = { "bad_request", 400, "The request is malformed", 0 },
        [FAULT_BAD_JSON] = { "bad_json", 400, "The body is not a valid request", 0 },
        [FAULT_WRONG_TYPE] = { "invalid", 400, "The request is not valid", 0 },
        [FAULT_UNKNOWN_FIELD] = { "unknown_field", 400, "A field is not known", 0 },
        [FAULT_BAD_PARAMETER] = { "bad_parameter", 400, "A query parameter or header is not valid", 0 },
        [FAULT_FORBIDDEN] = { "forbidden", 403, "Not permitted", 0 },
        [FAULT_FORBIDDEN_HOST] = { "forbidden_host", 403, "Not a name of this node", 0 },
        [FAULT_FORBIDDEN_ORIGIN] = { "forbidden_origin", 403, "Not open to other web sites", 0 },
        [FAULT_NOT_FOUND] = { "not_found", 404, "Not found", 0 },
        [FAULT_METHOD_NOT_ALLOWED] = { "method_not_allowed", 405, "Method not allowed", 0 },
        [FAULT_REQUEST_TIMEOUT] = { "request_timeout", 408, "The request did not arrive in time", 0 },
        [FAULT_BODY_TOO_LARGE] = { "body_too_large", 413, "The body is too large", 0 },
        [FAULT_TARGET_TOO_LONG] = { "target_too_long", 414, "The address is too long", 0 },
        [FAULT_UNSUPPORTED_MEDIA_TYPE] = { "unsupported_media_type", 415, "Unsupported media type", 0 },
        [FAULT_HEADER_TOO_LARGE] = { "header_too_large", 431, "The header is too large", 0 },
        [FAULT_INTERNAL] = { "internal", 500, "Internal error", 0 },
        [FAULT_NOT_IMPLEMENTED] = { "not_implemented", 501, "Not implemented", 0 },
        [FAULT_BUSY] = { "busy", 503, "Too much is under way", RETRY_SOON_SEC },
        [FAULT_TOO_MANY_CONNECTIONS] = { "too_many_connections", 503, "Too many connections",
                                         RETRY_SOON_SEC },
};

/* The codes of the operations are named by problem_code_to_text(), the same for all faces. */
static const struct fault_kind problem_kinds[_PROBLEM_CODE_MAX] = {
        [PROBLEM_NONE] = { NULL, 500, "Internal error", 0 },
        [PROBLEM_INVALID] = { NULL, 400, "The request is not valid", 0 },
        [PROBLEM_FORBIDDEN] = { NULL, 403, "Not permitted", 0 },
        [PROBLEM_NOT_FOUND] = { NULL, 404, "Not found", 0 },
        [PROBLEM_TARGET_UNKNOWN] = { NULL, 422, "No such node to run it", 0 },
        [PROBLEM_KEY_REUSED] = { NULL, 422, "The Idempotency-Key belongs to another request", 0 },
        [PROBLEM_QUEUE_FULL] = { NULL, 429, "The queue is full", RETRY_SOON_SEC },
        [PROBLEM_TOO_MANY_CALLS] = { NULL, 429, "Too many requests under way", RETRY_SOON_SEC },
        [PROBLEM_DRAINING] = { NULL, 503, "The node takes no new jobs", RETRY_LATER_SEC },
        [PROBLEM_STORAGE] = { NULL, 503, "The node cannot store jobs", RETRY_LATER_SEC },
        [PROBLEM_DUPLICATE_NODE] = { NULL, 503, "Another node has the same identity", RETRY_LATER_SEC },
        [PROBLEM_EXECUTOR_AWAY] = { NULL, 503, "The executor is away", RETRY_SOON_SEC },
        [PROBLEM_NODE_AWAY] = { NULL, 503, "The node that has the job does not answer", RETRY_SOON_SEC },
        [PROBLEM_GONE] = { NULL, 410, "No longer kept", 0 },
        [PROBLEM_LIMIT] = { NULL, 422, "The node cannot enforce a limit", 0 },
        [PROBLEM_CONFLICT] = { NULL, 409, "Not as things are", 0 },
        [PROBLEM_INVITER_AWAY] = { NULL, 503, "The node that invites cannot be reached", RETRY_LATER_SEC },
        [PROBLEM_INVITATION_UNKNOWN] = { NULL, 422, "The invitation is not good", 0 },
        [PROBLEM_INTERNAL] = { NULL, 500, "Internal error", 0 },
};

struct fault *fault_set(struct fault *ret, enum fault_code code, const char *format, ...) {
        const struct fault_kind *kind = &fault_kinds[code];
        va_list arguments;

        *ret = (struct fault){
                .status = kind->status,
                .code = kind->code,
                .title = kind->title,
                .retry_after_sec = kind->retry_after_sec,
        };
        va_start(arguments, format);
        (void) vsnprintf(ret->detail, sizeof(ret->detail), format, arguments);
        va_end(arguments);
        /* It is one line, whatever strangers wrote that it quotes. */
        for (char *position = ret->detail; *position != '\0'; position++)
                if ((unsigned char) *position < 0x20 || *position == 0x7f)
                        *position = '?';
        return ret;
}

struct fault *fault_from_problem(struct fault *ret, const struct problem *problem) {
        const struct fault_kind *kind = &problem_kinds[problem->code];

        *ret = (struct fault){
                .status = kind->status,
                .code = problem_code_to_text(problem->code),
                .title = kind->title,
                .retry_after_sec = kind->retry_after_sec,
                .field = problem->field,
                .has_index = problem->has_index,
                .index = problem->index,
        };
        (void) snprintf(ret->detail, sizeof(ret->detail), "%s", problem->detail);
        return ret;
}

const char *fault_code_to_text(enum fault_code code) {
        return code < _FAULT_CODE_MAX ? fault_kinds[code].code : NULL;
}

/* What a person reads: the detail, after the place in the request where there are several. */
static void write_error(struct writer *writer, const struct fault *fault) {
        char text[sizeof(fault->detail) + 32];

        if (fault->line > 0)
                (void) snprintf(text, sizeof(text), "line %zu: %s", fault->line, fault->detail);
        else if (fault->has_index)
                (void) snprintf(text, sizeof(text), "job %zu: %s", fault->index, fault->detail);
        else
                (void) snprintf(text, sizeof(text), "%s", fault->detail);
        writer_text(writer, "detail", text);
        writer_text(writer, "code", fault->code);
        writer_text(writer, "error", text);
}

int answer_from_fault(struct answer *ret, const struct fault *fault) {
        _cleanup_writer_ struct writer writer = {};
        _cleanup_answer_ struct answer answer = {
                .status = fault->status,
                .content_type = CONTENT_TYPE_PROBLEM,
                .allow = fault->allow,
                .retry_after_sec = fault->retry_after_sec,
        };
        char type[64];

        (void) snprintf(type, sizeof(type), "urn:worker-mesh:problem:%s", fault->code);
        writer_open(&writer, NULL, '{');
        writer_text(&writer, "type", type);
        writer_text(&writer, "title", fault->title);
        writer_unsigned(&writer, "status", fault->status);
        write_error(&writer, fault);
        if (fault->field)
                writer_text(&writer, "field", fault->field);
        if (fault->has_index)
                writer_unsigned(&writer, "index", fault->index);
        if (fault->line > 0)
                writer_unsigned(&writer, "line", fault->line);
        writer_close(&writer, '}');
        int r = writer_finish(&writer, &answer.body);
        if (r < 0)
                return r;

        *ret = answer;
        answer.body = (struct buffer){};
        return 0;
}

/* Cache-Control: what a node says is true now. nosniff: output of a job must not become a page. */
int answer_foreach_header(
        const struct answer *answer, const char *node_id, answer_header_t function, void *userdata) {
        char seconds[16];
        int r;

        (void) snprintf(seconds, sizeof(seconds), "%u", answer->retry_after_sec);
        const struct {
                const char *name, *value;
        } headers[] = {
                { "X-Node-ID", node_id },
                { "Content-Type", answer->content_type },
                { "X-Content-Type-Options", "nosniff" },
                { "Cache-Control", "no-store" },
                { "Allow", answer->allow },
                { "Location", answer->location[0] != '\0' ? answer->location : NULL },
                { "Retry-After", answer->retry_after_sec > 0 ? seconds : NULL },
                { "Idempotency-Replayed", answer->replayed ? "true" : NULL },
        };
        for (size_t i = 0; i < ELEMENTSOF(headers); i++) {
                if (!headers[i].value)
                        continue;
                r = function(userdata, headers[i].name, headers[i].value);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int append_header(void *userdata, const char *name, const char *value) {
        return buffer_printf(userdata, "%s: %s\r\n", name, value);
}

int answer_format(const struct answer *answer, const char *node_id, struct buffer *ret) {
        _cleanup_buffer_ struct buffer text = {};

        /* The phrase may be empty; the status is what counts. */
        int r = buffer_printf(&text, "HTTP/1.1 %u \r\n", answer->status);
        if (r < 0)
                return r;
        r = answer_foreach_header(answer, node_id, append_header, &text);
        if (r < 0)
                return r;
        r = buffer_printf(&text, "Content-Length: %zu\r\nConnection: close\r\n\r\n", answer->body.size);
        if (r < 0)
                return r;
        r = buffer_append(&text, answer->body.data, answer->body.size);
        if (r < 0)
                return r;

        *ret = text;
        text = (struct buffer){};
        return 0;
}
