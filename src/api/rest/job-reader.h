/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The body of a submission, as it arrives, to job_requests: one object, an array of objects, or one object a
 * line. Each job is parsed when its last byte is there, so that never more than one job's text is kept. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/rest/json.h"
#include "mesh/job.h"
#include "util/macros.h"

/* Longer than any job that could be accepted: command, env and stdin with each byte written as \u00XX. */
#define JOB_TEXT_MAX (8u * 1024 * 1024)

enum job_format {
        JOB_FORMAT_JSON,   /* an object or an array */
        JOB_FORMAT_NDJSON, /* one object a line; empty lines are skipped */
};

struct job_reader;

/* parser is borrowed, and used only while one of the functions below runs. */
int job_reader_new(struct json_parser *parser, enum job_format format, struct job_reader **ret);
struct job_reader *job_reader_free(struct job_reader *reader); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct job_reader *, job_reader_free)

/* 0, -ENOMEM, or -EBADMSG: see job_reader_problem(); the rest of the body does not matter then. */
int job_reader_feed(struct job_reader *reader, const char *data, size_t size);
/* The body has ended; likewise. */
int job_reader_finish(struct job_reader *reader);

const struct json_problem *job_reader_problem(const struct job_reader *reader);
/* Which job the problem is about; false: none in particular. */
bool job_reader_problem_index(const struct job_reader *reader, size_t *ret_index);

/* What has been read; valid until the reader is freed. */
const struct job_request *job_reader_jobs(const struct job_reader *reader, size_t *ret_n);
/* An array or lines, however many: the answer is a list then. */
bool job_reader_is_list(const struct job_reader *reader);
/* The line of a job, from 1; 0: the body is not lines. */
size_t job_reader_line(const struct job_reader *reader, size_t index);
/* Bytes held. */
size_t job_reader_memory(const struct job_reader *reader);
