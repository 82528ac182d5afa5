/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The text of one job to a job_request, and that of other small requests. json.c is the only file that sees
 * json-c; its objects never leave it. */

#include <stddef.h>

#include "api/ops.h"
#include "api/rest/arena.h"
#include "mesh/job.h"
#include "util/macros.h"

/* Why a request's text was refused, for the person who wrote it. */
enum json_refusal {
        JSON_NOT_JSON,      /* not the text of a JSON object, or not UTF-8 */
        JSON_WRONG_TYPE,    /* a field holds something of another kind */
        JSON_UNKNOWN_FIELD, /* a field that no job has */
        JSON_TOO_MANY,      /* more jobs than one request may bring, or one too long */
};

struct json_problem {
        enum json_refusal refusal;
        const char *field; /* static; NULL: the request as a whole */
        char detail[256];
};

struct json_parser; /* reused from one job to the next */

int json_parser_new(struct json_parser **ret);
struct json_parser *json_parser_free(struct json_parser *parser); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct json_parser *, json_parser_free)

/* text is one object that json_scan_feed() has walked over without a fault, n_members what it counted,
 * offset where it lies in the whole body. The strings of *ret live in arena. 0, -ENOMEM, or -EBADMSG with
 * *ret_problem filled. */
int json_parser_read_job(
        struct json_parser *parser, const char *text, size_t size, size_t n_members, size_t offset,
        struct arena *arena, struct job_request *ret, struct json_problem *ret_problem);

/* A field of a small body: a number of seconds, or a text of less than text_size bytes. null is as if it
 * were not there. */
struct json_field {
        const char *name;
        int64_t *seconds;
        bool *has; /* of the seconds */
        char *text;
        size_t text_size;
};
/* The body: an object of one or two fields, or nothing but white space. what: "a drain". As
 * json_parser_read_job(). */
int json_parser_read_fields(
        struct json_parser *parser, const char *text, size_t size, const struct json_field *fields,
        size_t n_fields, const char *what, struct json_problem *ret_problem);

/* -EBADMSG. */
int json_problem_set(
        struct json_problem *problem, enum json_refusal refusal, const char *field, const char *format, ...)
        _printf_(4, 5);
