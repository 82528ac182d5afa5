/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The gate before routing: a web site that a person on this machine visits must not reach the node through
 * the browser, by a form, a script, or a name that it points at 127.0.0.1. So everything here is a list of
 * what is allowed. Also refused are headers that two parsers could read in two ways. */

#include <stdbool.h>
#include <stdint.h>

#include "api/rest/answer.h"
#include "api/rest/job-reader.h"

/* The headers that matter, as they came; NULL: absent. */
struct gate_headers {
        const char *host, *origin, *fetch_site, *content_type, *content_length, *transfer_encoding, *expect;
        const char *idempotency_key;
        const char *repeated; /* the name of one of these that came twice; static */
};

struct gate_door {
        bool is_unix;  /* no browser gets here, and Host is whatever the client likes */
        uint16_t port; /* of a TCP one */
};

/* The fields behind the name of a header that the gate knows; NULL: it is none of ours. */
const char **
gate_header(struct gate_headers *headers, const char *name, size_t name_size, const char **ret_name);

/* false: *ret_fault says why not. http_1_0: such a client need not send Host. */
bool gate_admits(
        const struct gate_door *door, const struct gate_headers *headers, bool http_1_0,
        struct fault *ret_fault);

/* Whether the headers leave no doubt where the body ends; when they do not, the connection is of no further
 * use. */
bool gate_framing(const struct gate_headers *headers, struct fault *ret_fault);

/* For a request that brings jobs. */
bool gate_job_format(const char *content_type, enum job_format *ret, struct fault *ret_fault);
/* For a POST that needs no body: no type, or JSON. A form is what a browser could send unasked. */
bool gate_no_content(const char *content_type, struct fault *ret_fault);
