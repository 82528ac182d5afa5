/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/job-reader.h"

#include "api/rest/json-scan.h"
#include "util/buffer.h"

enum place {
        PLACE_START,  /* nothing but white space so far */
        PLACE_FIRST,  /* after '[': a job or the end */
        PLACE_JOB,    /* inside of a job */
        PLACE_NEXT,   /* after a job of the array: a comma or the end */
        PLACE_COMMA,  /* after the comma: a job */
        PLACE_END,    /* only white space may follow */
        PLACE_BROKEN, /* there is a problem; nothing is read any more */
};

struct job_reader {
        struct json_parser *parser;
        enum job_format format;
        enum place place;
        bool is_list;
        size_t offset; /* bytes of the body so far */
        size_t line;   /* the current one, from 1 */

        struct json_scan scan;
        struct buffer text; /* the beginning of a job that is not complete */

        struct arena arena;
        size_t n_jobs, n_allocated;
        struct job_request *jobs;
        uint32_t *lines; /* NDJSON: where each job was */

        struct json_problem problem;
        bool problem_has_index;
};

int job_reader_new(struct json_parser *parser, enum job_format format, struct job_reader **ret) {
        struct job_reader *reader = malloc(sizeof(*reader));
        if (!reader)
                return -ENOMEM;

        *reader = (struct job_reader){
                .parser = parser,
                .format = format,
                .is_list = format == JOB_FORMAT_NDJSON,
                .line = 1,
                .text.limit = JOB_TEXT_MAX,
        };
        *ret = reader;
        return 0;
}

struct job_reader *job_reader_free(struct job_reader *reader) {
        if (!reader)
                return NULL;
        buffer_done(&reader->text);
        arena_done(&reader->arena);
        free(reader->jobs);
        free(reader->lines);
        free(reader);
        return NULL;
}

/* A problem that json_problem_set() has described. */
static int broken(struct job_reader *reader, bool of_this_job, int r) {
        reader->place = PLACE_BROKEN;
        reader->problem_has_index = of_this_job && reader->is_list;
        return r;
}

static int reserve_job(struct job_reader *reader) {
        if (reader->n_jobs == JOBS_PER_REQUEST_MAX)
                return broken(
                        reader, false,
                        json_problem_set(
                                &reader->problem, JSON_TOO_MANY, NULL,
                                "more than %u jobs; send the rest in another request",
                                JOBS_PER_REQUEST_MAX));
        if (reader->n_jobs < reader->n_allocated)
                return 0;

        size_t n = reader->is_list ? MAX(reader->n_allocated * 2, (size_t) 16) : 1;
        struct job_request *jobs = reallocarray(reader->jobs, n, sizeof(*jobs));
        if (!jobs)
                return -ENOMEM;
        reader->jobs = jobs;
        if (reader->format == JOB_FORMAT_NDJSON) {
                uint32_t *lines = reallocarray(reader->lines, n, sizeof(*lines));
                if (!lines)
                        return -ENOMEM;
                reader->lines = lines;
        }
        reader->n_allocated = n;
        return 0;
}

/* The text of a job is complete, and ends here in the body. */
static int read_job(struct job_reader *reader, const char *text, size_t size) {
        int r = reserve_job(reader);
        if (r < 0)
                return r;

        r = json_parser_read_job(
                reader->parser, text, size, reader->scan.members, reader->offset - size, &reader->arena,
                &reader->jobs[reader->n_jobs], &reader->problem);
        if (r < 0)
                return r == -EBADMSG ? broken(reader, true, r) : r;

        if (reader->format == JOB_FORMAT_NDJSON)
                reader->lines[reader->n_jobs] = (uint32_t) MIN(reader->line, (size_t) UINT32_MAX);
        reader->n_jobs++;
        reader->place = reader->is_list ? PLACE_NEXT : PLACE_END;
        return 0;
}

static int scan_fault(struct job_reader *reader) {
        return broken(
                reader, true,
                json_problem_set(
                        &reader->problem, JSON_NOT_JSON, NULL, "not valid JSON at byte %zu: %s",
                        reader->offset, json_scan_fault_to_text(reader->scan.fault)));
}

/* Bytes of a job. A job that lies in one piece is parsed where it is, others are put together first. */
static int feed_job(struct job_reader *reader, const char *data, size_t size, size_t *ret_taken) {
        size_t taken = json_scan_feed(&reader->scan, data, size);

        *ret_taken = taken;
        reader->offset += taken;
        if (reader->scan.fault != JSON_SCAN_FINE)
                return scan_fault(reader);
        if (reader->scan.done && reader->text.size == 0)
                return read_job(reader, data, taken);

        int r = buffer_append(&reader->text, data, taken);
        if (r == -E2BIG)
                return broken(
                        reader, true,
                        json_problem_set(
                                &reader->problem, JSON_TOO_MANY, NULL,
                                "the text of one job is longer than %u bytes", JOB_TEXT_MAX));
        if (r < 0 || !reader->scan.done)
                return r;

        r = read_job(reader, reader->text.data, reader->text.size);
        reader->text.size = 0;
        return r;
}

static int unexpected(struct job_reader *reader, const char *wanted) {
        return broken(
                reader, reader->place != PLACE_END,
                json_problem_set(
                        &reader->problem, JSON_NOT_JSON, NULL, "not valid JSON at byte %zu: expected %s",
                        reader->offset, wanted));
}

/* A byte between jobs, which is not white space. */
static int feed_between(struct job_reader *reader, char byte) {
        bool lines = reader->format == JOB_FORMAT_NDJSON;

        switch (reader->place) {
        case PLACE_START:
                if (byte == '[' && !lines) {
                        reader->is_list = true;
                        reader->place = PLACE_FIRST;
                        return 0;
                }
                if (byte != '{')
                        return unexpected(
                                reader,
                                lines ? "an object on each line" : "an object or an array of objects");
                break;
        case PLACE_FIRST:
        case PLACE_COMMA:
                if (byte == ']' && reader->place == PLACE_FIRST) {
                        reader->place = PLACE_END;
                        return 0;
                }
                if (byte != '{')
                        return unexpected(reader, "an object");
                break;
        case PLACE_NEXT:
                if (lines)
                        return unexpected(reader, "the end of the line after an object");
                if (byte != ',' && byte != ']')
                        return unexpected(reader, "a comma or the end of the array");
                reader->place = byte == ',' ? PLACE_COMMA : PLACE_END;
                return 0;
        case PLACE_END:
                return unexpected(reader, "nothing more");
        case PLACE_JOB:
        case PLACE_BROKEN:
                assert(false);
                return -EINVAL;
        }

        reader->scan = (struct json_scan){};
        reader->place = PLACE_JOB;
        return 0;
}

/* White space between jobs; the end of a line ends what was on it. */
static bool skip_space(struct job_reader *reader, char byte) {
        if (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n')
                return false;
        reader->offset++;
        if (byte == '\n') {
                reader->line++;
                if (reader->format == JOB_FORMAT_NDJSON)
                        reader->place = PLACE_START;
        }
        return true;
}

static int end_of_line_in_job(struct job_reader *reader) {
        return broken(
                reader, true,
                json_problem_set(
                        &reader->problem, JSON_NOT_JSON, NULL,
                        "not valid JSON at byte %zu: the line ends inside of an object", reader->offset));
}

int job_reader_feed(struct job_reader *reader, const char *data, size_t size) {
        bool lines = reader->format == JOB_FORMAT_NDJSON;

        while (size > 0) {
                size_t taken = 1;
                int r = 0;

                if (reader->place == PLACE_BROKEN)
                        return -EBADMSG;
                if (reader->place == PLACE_JOB) {
                        const char *end = lines ? memchr(data, '\n', size) : NULL;

                        if (end == data)
                                return end_of_line_in_job(reader);
                        r = feed_job(reader, data, end ? (size_t) (end - data) : size, &taken);
                } else if (!skip_space(reader, *data)) {
                        r = feed_between(reader, *data);
                        /* The brace belongs to the job, and is walked over again with it. */
                        if (reader->place == PLACE_JOB)
                                taken = 0;
                        else
                                reader->offset++;
                }
                if (r < 0)
                        return r;
                data += taken;
                size -= taken;
        }
        return 0;
}

int job_reader_finish(struct job_reader *reader) {
        switch (reader->place) {
        case PLACE_BROKEN:
                return -EBADMSG;
        case PLACE_START:
                if (reader->n_jobs > 0)
                        return 0;
                return broken(
                        reader, false,
                        json_problem_set(
                                &reader->problem, JSON_NOT_JSON, NULL,
                                "the body is empty; send a job, such as {\"command\":\"uptime\"}"));
        case PLACE_NEXT:
                if (reader->format == JOB_FORMAT_NDJSON)
                        return 0;
                return unexpected(reader, "a comma or the end of the array, not the end of the body");
        case PLACE_FIRST:
        case PLACE_COMMA:
                return unexpected(reader, "an object, not the end of the body");
        case PLACE_JOB:
                return unexpected(reader, "the rest of the object, not the end of the body");
        case PLACE_END:
                if (reader->n_jobs > 0)
                        return 0;
                return broken(
                        reader, false,
                        json_problem_set(
                                &reader->problem, JSON_NOT_JSON, NULL,
                                "the array is empty; send at least one job"));
        }
        return -EINVAL;
}

const struct json_problem *job_reader_problem(const struct job_reader *reader) {
        return &reader->problem;
}

bool job_reader_problem_index(const struct job_reader *reader, size_t *ret_index) {
        if (reader->problem_has_index)
                *ret_index = reader->n_jobs;
        return reader->problem_has_index;
}

const struct job_request *job_reader_jobs(const struct job_reader *reader, size_t *ret_n) {
        *ret_n = reader->n_jobs;
        return reader->jobs;
}

bool job_reader_is_list(const struct job_reader *reader) {
        return reader->is_list;
}

size_t job_reader_line(const struct job_reader *reader, size_t index) {
        if (reader->format != JOB_FORMAT_NDJSON)
                return 0;
        return index < reader->n_jobs ? reader->lines[index] : reader->line;
}

size_t job_reader_memory(const struct job_reader *reader) {
        return sizeof(*reader) + reader->text.allocated + reader->arena.size +
               reader->n_allocated * sizeof(*reader->jobs);
}
