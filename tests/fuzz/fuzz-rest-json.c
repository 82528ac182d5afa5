/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The body of a submission: in one piece and in two it means the same, and what is accepted is text without
 * NUL. */

#include "api/rest/job-reader.h"
#include "lib/tests.h"
#include "util/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size) {
        ASSERT_TRUE(utf8_is_valid(text, size));
        ASSERT_NULL(memchr(text, '\0', size));
        ASSERT_EQ(text[size], '\0');
}

static void check_job(const struct job_request *job) {
        struct job_problem problem;

        if (job->command)
                check_text(job->command, job->command_size);
        if (job->target_node_id)
                check_text(job->target_node_id, job->target_node_id_size);
        if (job->cwd)
                check_text(job->cwd, job->cwd_size);
        if (job->stdin_data)
                check_text(job->stdin_data, job->stdin_size);
        for (size_t i = 0; i < job->n_env; i++) {
                check_text(job->env[i].name, job->env[i].name_size);
                check_text(job->env[i].value, job->env[i].value_size);
        }
        if (job_request_check(job, &problem) < 0)
                ASSERT_TRUE(problem.detail[0] != '\0');
}

static int read_body(struct job_reader *reader, const char *data, size_t size, size_t first) {
        int r = job_reader_feed(reader, data, first);
        if (r >= 0)
                r = job_reader_feed(reader, data + first, size - first);
        return r < 0 ? r : job_reader_finish(reader);
}

static void check_body(struct json_parser *parser, enum job_format format, const char *data, size_t size) {
        struct job_reader *whole, *pieces;
        const struct job_request *jobs;
        size_t n, n_again;

        ASSERT_OK(job_reader_new(parser, format, &whole));
        ASSERT_OK(job_reader_new(parser, format, &pieces));
        int r = read_body(whole, data, size, size);
        ASSERT_EQ(read_body(pieces, data, size, size / 2), r);
        jobs = job_reader_jobs(whole, &n);
        (void) job_reader_jobs(pieces, &n_again);
        ASSERT_EQ(n, n_again);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_TRUE(job_reader_problem(whole)->detail[0] != '\0');
                ASSERT_STREQ(job_reader_problem(whole)->detail, job_reader_problem(pieces)->detail);
        } else
                ASSERT_TRUE(n > 0);
        for (size_t i = 0; i < n; i++)
                check_job(&jobs[i]);
        job_reader_free(whole);
        job_reader_free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct json_parser *parser;

        ASSERT_OK(json_parser_new(&parser));
        check_body(parser, JOB_FORMAT_JSON, (const char *) data, size);
        check_body(parser, JOB_FORMAT_NDJSON, (const char *) data, size);
        json_parser_free(parser);
        return 0;
}
