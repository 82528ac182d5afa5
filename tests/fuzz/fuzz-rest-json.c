/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The body of a submission: however it is cut into pieces it means the same, and what is accepted is text
 * without NUL. */

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

/* In how many bytes the body comes: where the cuts are follows from what it says. */
enum cut {
        CUT_NOT,
        CUT_EVERYWHERE,
        CUT_RANDOMLY,
        _CUT_MAX,
};

/* xorshift64*. */
static uint64_t next_random(uint64_t *state) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        return *state * UINT64_C(2685821657736338717);
}

static size_t piece_size(enum cut cut, size_t left, uint64_t *state) {
        switch (cut) {
        case CUT_EVERYWHERE:
                return 1;
        case CUT_RANDOMLY:
                /* Short ones and long ones alike. */
                return 1 + next_random(state) % (UINT64_C(1) << next_random(state) % 8);
        case CUT_NOT:
        case _CUT_MAX:
                break;
        }
        return left;
}

static int read_body(struct job_reader *reader, enum cut cut, const char *data, size_t size) {
        uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
        int r = 0;

        for (size_t i = 0; i < size; i++)
                state = (state ^ (uint8_t) data[i]) * UINT64_C(0x100000001b3) | 1;
        for (size_t n; size > 0 && r >= 0; data += n, size -= n) {
                n = MIN(piece_size(cut, size, &state), size);
                r = job_reader_feed(reader, data, n);
        }
        return r < 0 ? r : job_reader_finish(reader);
}

static void assert_same_text(const char *a, size_t a_size, const char *b, size_t b_size) {
        ASSERT_EQ(a == NULL, b == NULL);
        ASSERT_EQ(a_size, b_size);
        ASSERT_TRUE(a_size == 0 || memcmp(a, b, a_size) == 0);
}

static void assert_same_job(const struct job_request *a, const struct job_request *b) {
        assert_same_text(a->command, a->command_size, b->command, b->command_size);
        assert_same_text(
                a->target_node_id, a->target_node_id_size, b->target_node_id, b->target_node_id_size);
        assert_same_text(a->cwd, a->cwd_size, b->cwd, b->cwd_size);
        assert_same_text(a->stdin_data, a->stdin_size, b->stdin_data, b->stdin_size);
        ASSERT_EQ(a->n_env, b->n_env);
        for (size_t i = 0; i < a->n_env; i++) {
                assert_same_text(a->env[i].name, a->env[i].name_size, b->env[i].name, b->env[i].name_size);
                assert_same_text(
                        a->env[i].value, a->env[i].value_size, b->env[i].value, b->env[i].value_size);
        }
        ASSERT_EQ(a->has_timeout, b->has_timeout);
        ASSERT_EQ(a->timeout_seconds, b->timeout_seconds);
        ASSERT_EQ(a->limits.memory_max, b->limits.memory_max);
        ASSERT_EQ(a->limits.cpu_weight, b->limits.cpu_weight);
        ASSERT_EQ(a->limits.cpu_quota, b->limits.cpu_quota);
        ASSERT_EQ(a->limits.tasks_max, b->limits.tasks_max);
        ASSERT_EQ(a->limits.best_effort, b->limits.best_effort);
        ASSERT_EQ(a->rules.priority, b->rules.priority);
        ASSERT_EQ(a->rules.retries, b->rules.retries);
        assert_same_text(
                a->rules.on_node_loss, a->rules.on_node_loss_size, b->rules.on_node_loss,
                b->rules.on_node_loss_size);
        ASSERT_EQ(a->n_requires, b->n_requires);
        for (size_t i = 0; i < a->n_requires; i++)
                assert_same_text(
                        a->requires[i].text, a->requires[i].size, b->requires[i].text, b->requires[i].size);
}

static void check_pieces(
        struct json_parser *parser, enum job_format format, enum cut cut, const char *data, size_t size,
        const struct job_reader *whole, int result) {
        _cleanup_(job_reader_free_p) struct job_reader *pieces = NULL;
        const struct job_request *jobs, *again;
        size_t n, n_again;

        ASSERT_OK(job_reader_new(parser, format, &pieces));
        ASSERT_EQ(read_body(pieces, cut, data, size), result);
        jobs = job_reader_jobs(whole, &n);
        again = job_reader_jobs(pieces, &n_again);
        ASSERT_EQ(n, n_again);
        for (size_t i = 0; i < n; i++)
                assert_same_job(&jobs[i], &again[i]);
        if (result < 0)
                ASSERT_STREQ(job_reader_problem(whole)->detail, job_reader_problem(pieces)->detail);
}

static void check_body(struct json_parser *parser, enum job_format format, const char *data, size_t size) {
        _cleanup_(job_reader_free_p) struct job_reader *whole = NULL;
        const struct job_request *jobs;
        size_t n;

        ASSERT_OK(job_reader_new(parser, format, &whole));
        int r = read_body(whole, CUT_NOT, data, size);
        jobs = job_reader_jobs(whole, &n);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_TRUE(job_reader_problem(whole)->detail[0] != '\0');
        } else
                ASSERT_TRUE(n > 0);
        for (size_t i = 0; i < n; i++)
                check_job(&jobs[i]);
        check_pieces(parser, format, CUT_EVERYWHERE, data, size, whole, r);
        check_pieces(parser, format, CUT_RANDOMLY, data, size, whole, r);
}

struct small {
        bool has;
        int64_t number;
        char text[16];
};

static int read_small(
        struct json_parser *parser, const char *data, size_t size, struct small *ret,
        struct json_problem *ret_problem) {
        const struct json_field fields[] = {
                { .name = "timeout_seconds", .seconds = &ret->number, .has = &ret->has },
                { .name = "command", .text = ret->text, .text_size = sizeof(ret->text) },
        };

        *ret = (struct small){};
        return json_parser_read_fields(parser, data, size, fields, ELEMENTSOF(fields), "a job", ret_problem);
}

/* What follows an object that was taken would have been refused. */
static void check_small(struct json_parser *parser, const char *data, size_t size) {
        _cleanup_free_ char *longer = NULL;
        struct json_problem problem = {};
        struct small small, again;
        int r;

        r = read_small(parser, data, size, &small, &problem);
        ASSERT_LT(strlen(small.text), sizeof(small.text));
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_TRUE(problem.detail[0] != '\0');
                return;
        }
        longer = malloc(size + 1);
        ASSERT_NOT_NULL(longer);
        memcpy(longer, data, size);
        longer[size] = ' ';
        ASSERT_OK(read_small(parser, longer, size + 1, &again, &problem));
        ASSERT_EQ(small.has, again.has);
        ASSERT_EQ(small.number, again.number);
        ASSERT_STREQ(small.text, again.text);
        longer[size] = '\0';
        ASSERT_ERROR(read_small(parser, longer, size + 1, &again, &problem), EBADMSG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct json_parser *parser;

        ASSERT_OK(json_parser_new(&parser));
        check_body(parser, JOB_FORMAT_JSON, (const char *) data, size);
        check_body(parser, JOB_FORMAT_NDJSON, (const char *) data, size);
        check_small(parser, (const char *) data, size);
        json_parser_free(parser);
        return 0;
}
