/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is sent back: status, a few headers, a body; and the words for everything that can go wrong. */

#include <stdbool.h>
#include <stddef.h>

#include "api/ops.h"
#include "util/buffer.h"

#define CONTENT_TYPE_JSON "application/json"
#define CONTENT_TYPE_PROBLEM "application/problem+json"
#define CONTENT_TYPE_BYTES "application/octet-stream"

struct answer {
        unsigned status;
        const char *content_type; /* static */
        struct buffer body;
        const char *allow;        /* static; NULL: none */
        char location[80];        /* empty: none */
        unsigned retry_after_sec; /* 0: none */
        bool replayed;            /* the first answer to the same Idempotency-Key */
};

void answer_done(struct answer *answer);
#define _cleanup_answer_ _cleanup_(answer_done)

/* What goes wrong before an operation is called. What goes wrong in one is an enum problem_code. */
enum fault_code {
        FAULT_BAD_REQUEST,
        FAULT_BAD_JSON,
        FAULT_WRONG_TYPE,
        FAULT_UNKNOWN_FIELD,
        FAULT_BAD_PARAMETER,
        FAULT_FORBIDDEN,
        FAULT_FORBIDDEN_HOST,
        FAULT_FORBIDDEN_ORIGIN,
        FAULT_NOT_FOUND,
        FAULT_METHOD_NOT_ALLOWED,
        FAULT_REQUEST_TIMEOUT,
        FAULT_BODY_TOO_LARGE,
        FAULT_TARGET_TOO_LONG,
        FAULT_UNSUPPORTED_MEDIA_TYPE,
        FAULT_HEADER_TOO_LARGE,
        FAULT_INTERNAL,
        FAULT_NOT_IMPLEMENTED,
        FAULT_BUSY,
        FAULT_TOO_MANY_CONNECTIONS,
        _FAULT_CODE_MAX,
};

/* One refusal, ready to be written. */
struct fault {
        unsigned status;
        const char *code;         /* static, stable: programs may rely on it */
        const char *title;        /* static */
        const char *field;        /* static; NULL: none in particular */
        const char *allow;        /* static; for method_not_allowed */
        unsigned retry_after_sec; /* 0: trying again will not help */
        bool has_index;           /* which job of the request, from 0 */
        size_t index;
        size_t line; /* which line of the body, from 1; 0: none */
        char detail[320];
};

/* Returns ret. */
struct fault *fault_set(struct fault *ret, enum fault_code code, const char *format, ...) _printf_(3, 4);
struct fault *fault_from_problem(struct fault *ret, const struct problem *problem);

/* The same as text, "queue_full"; for the description of the interface. NULL past the end. */
const char *fault_code_to_text(enum fault_code code);

int answer_from_fault(struct answer *ret, const struct fault *fault);

/* Every header of the answer but its length. */
typedef int (*answer_header_t)(void *userdata, const char *name, const char *value);
int answer_foreach_header(
        const struct answer *answer, const char *node_id, answer_header_t function, void *userdata);

/* The whole answer as bytes, for a connection that is closed after it. */
int answer_format(const struct answer *answer, const char *node_id, struct buffer *ret);
