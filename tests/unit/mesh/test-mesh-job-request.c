/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/tests.h"
#include "mesh/job-link.h"
#include "mesh/job.h"
#include "mesh/record.h"
#include "wire/job-limits.h"

#define TEXT(text) .command = (text), .command_size = strlen(text)

static void check_good(const struct job_request *request) {
        struct job_problem problem;

        if (job_request_check(request, &problem) < 0)
                _TEST_FAIL("refused: %s", problem.detail);
}

static void check_bad(const struct job_request *request, const char *field, const char *part) {
        struct job_problem problem = { .field = NULL };

        ASSERT_ERROR(job_request_check(request, &problem), EINVAL);
        ASSERT_STREQ(problem.field, field);
        if (!strstr(problem.detail, part))
                _TEST_FAIL("'%s' does not say '%s'", problem.detail, part);
        ASSERT_NULL(strchr(problem.detail, '\n'));
}

static void test_command(void) {
        _cleanup_free_ char *longest = malloc(COMMAND_MAX + 1);

        ASSERT_NOT_NULL(longest);
        memset(longest, 'x', COMMAND_MAX + 1);
        check_good(&(struct job_request){ TEXT("true") });
        check_good(&(struct job_request){ .command = longest, .command_size = COMMAND_MAX });
        check_bad(
                &(struct job_request){ .command = longest, .command_size = COMMAND_MAX + 1 }, "command",
                "65537");
        check_bad(&(struct job_request){ 0 }, "command", "missing");
        check_bad(&(struct job_request){ TEXT("") }, "command", "empty");
        check_bad(&(struct job_request){ TEXT(" \t\n") }, "command", "empty");
        check_bad(&(struct job_request){ .command = "a\0b", .command_size = 3 }, "command", "NUL");
        check_bad(&(struct job_request){ TEXT("echo \xff") }, "command", "UTF-8");
        /* A command that is not followed by a NUL is read no further than it is long. */
        check_bad(&(struct job_request){ .command = "  true", .command_size = 2 }, "command", "empty");
}

static void test_target(void) {
        char id[NODE_ID_MAX + 2];

        memset(id, 'n', sizeof(id));
        check_good(
                &(struct job_request){ TEXT("true"), .target_node_id = "node-1", .target_node_id_size = 6 });
        check_good(&(struct job_request){ TEXT("true"), .target_node_id = id,
                                          .target_node_id_size = NODE_ID_MAX });
        check_bad(
                &(struct job_request){ TEXT("true"), .target_node_id = id,
                                       .target_node_id_size = NODE_ID_MAX + 1 },
                "target_node_id", "63");
        check_bad(
                &(struct job_request){ TEXT("true"), .target_node_id = "", .target_node_id_size = 0 },
                "target_node_id", "letters");
        check_bad(
                &(struct job_request){ TEXT("true"), .target_node_id = "a/b", .target_node_id_size = 3 },
                "target_node_id", "letters");
        check_bad(
                &(struct job_request){ TEXT("true"), .target_node_id = "a\0b", .target_node_id_size = 3 },
                "target_node_id", "letters");
}

static void test_cwd(void) {
        check_good(&(struct job_request){ TEXT("true"), .cwd = "/srv/a b", .cwd_size = 8 });
        check_bad(&(struct job_request){ TEXT("true"), .cwd = "srv", .cwd_size = 3 }, "cwd", "absolute");
        check_bad(&(struct job_request){ TEXT("true"), .cwd = "", .cwd_size = 0 }, "cwd", "absolute");
        check_bad(&(struct job_request){ TEXT("true"), .cwd = "/a\0b", .cwd_size = 4 }, "cwd", "NUL");
}

static void check_env(const char *name, const char *value, const char *part) {
        struct job_env env = {
                .name = name, .name_size = strlen(name), .value = value, .value_size = strlen(value)
        };
        struct job_request request = { TEXT("true"), .env = &env, .n_env = 1 };

        if (part)
                check_bad(&request, "env", part);
        else
                check_good(&request);
}

static void test_env(void) {
        char names[ENV_ENTRIES_MAX + 1][8];
        struct job_env many[ENV_ENTRIES_MAX + 1];
        _cleanup_free_ char *large = malloc(ENV_SIZE_MAX + 1);

        ASSERT_NOT_NULL(large);
        memset(large, 'x', ENV_SIZE_MAX);
        large[ENV_SIZE_MAX] = '\0';

        check_env("DEBUG", "1", NULL);
        check_env("_a9", "", NULL);
        check_env("HOME", "/tmp", NULL);
        check_env("9a", "1", "shell");
        check_env("A-B", "1", "shell");
        check_env("", "1", "shell");
        check_env("A=B", "1", "shell");
        check_env("JOB_ID", "1", "JOB_ID");
        check_env("NODE_ID", "1", "NODE_ID");
        check_env("ATTEMPT", "1", "ATTEMPT");
        check_env("A", "\xc3", "UTF-8");
        check_env("A", large, "65536");

        for (size_t i = 0; i < ELEMENTSOF(many); i++) {
                (void) snprintf(names[i], sizeof(names[i]), "A%zu", i);
                many[i] = (struct job_env){ .name = names[i], .name_size = strlen(names[i]), .value = "" };
        }
        check_good(&(struct job_request){ TEXT("true"), .env = many, .n_env = ENV_ENTRIES_MAX });
        check_bad(
                &(struct job_request){ TEXT("true"), .env = many, .n_env = ENV_ENTRIES_MAX + 1 }, "env",
                "257");
        many[ENV_ENTRIES_MAX - 1] = many[7];
        check_bad(
                &(struct job_request){ TEXT("true"), .env = many, .n_env = ENV_ENTRIES_MAX }, "env",
                "sets A7 more than once");
}

static void test_timeout(void) {
        static const int64_t bad[] = { 0, -1, INT64_MIN, INT64_MAX, TIMEOUT_MAX_SEC + 1 };

        check_good(&(struct job_request){ TEXT("true"), .has_timeout = true, .timeout_seconds = 1 });
        check_good(&(struct job_request){ TEXT("true"), .has_timeout = true,
                                          .timeout_seconds = TIMEOUT_MAX_SEC });
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                check_bad(
                        &(struct job_request){ TEXT("true"), .has_timeout = true,
                                               .timeout_seconds = bad[i] },
                        "timeout_seconds", "604800");
}

static void test_stdin(void) {
        check_good(&(struct job_request){ TEXT("cat"), .stdin_data = "a\0b", .stdin_size = 3 });
        check_good(&(struct job_request){ TEXT("cat"), .stdin_data = "", .stdin_size = 0 });
        check_bad(
                &(struct job_request){ TEXT("cat"), .stdin_data = "", .stdin_size = STDIN_MAX + 1 }, "stdin",
                "1048576");
}

static void test_spec_holds_everything(void) {
        struct job_env env[] = {
                { .name = "A", .name_size = 1, .value = "one", .value_size = 3 },
                { .name = "BC", .name_size = 2, .value = "", .value_size = 0 },
        };
        struct job_request request = {
                TEXT("echo $A"),
                .cwd = "/srv",
                .cwd_size = 4,
                .target_node_id = "node-1",
                .target_node_id_size = 6,
                .stdin_data = "x\0y",
                .stdin_size = 3,
                .env = env,
                .n_env = 2,
                .has_timeout = true,
                .timeout_seconds = 7,
        };
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;

        ASSERT_OK(job_spec_new(&request, &spec));
        ASSERT_STREQ(spec->command, "echo $A");
        ASSERT_STREQ(spec->cwd, "/srv");
        ASSERT_STREQ(spec->target_node_id, "node-1");
        ASSERT_EQ(spec->stdin_size, 3);
        ASSERT_EQ(memcmp(spec->stdin_data, "x\0y", 4), 0);
        ASSERT_STREQ(spec->env[0], "A=one");
        ASSERT_STREQ(spec->env[1], "BC=");
        ASSERT_NULL(spec->env[2]);
        ASSERT_EQ(spec->timeout_usec, 7 * USEC_PER_SEC);
}

static void digest(const struct job_request *request, uint8_t ret[static SHA256_SIZE]) {
        struct sha256 *hash;

        ASSERT_OK(sha256_new(&hash));
        ASSERT_OK(job_request_digest(request, hash, ret));
        sha256_free(hash);
}

static void test_digest(void) {
        struct job_env ab[] = { { "A", "1", 1, 1 }, { "B", "2", 1, 1 } },
                       ba[] = { { "B", "2", 1, 1 }, { "A", "1", 1, 1 } };
        struct job_request one = { TEXT("true"), .env = ab, .n_env = 2 };
        struct job_request same = { TEXT("true"), .env = ba, .n_env = 2, .has_timeout = true,
                                    .timeout_seconds = 300 };
        struct job_request others[] = {
                { TEXT("tru"), .env = ab, .n_env = 2 },
                { TEXT("true"), .env = ab, .n_env = 1 },
                { TEXT("true"), .env = ab, .n_env = 2, .stdin_data = "", .stdin_size = 0 },
                { TEXT("true"), .env = ab, .n_env = 2, .has_timeout = true, .timeout_seconds = 301 },
        };
        uint8_t expected[SHA256_SIZE], other[SHA256_SIZE];

        digest(&one, expected);
        digest(&same, other);
        ASSERT_EQ(memcmp(expected, other, SHA256_SIZE), 0);
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                digest(&others[i], other);
                ASSERT_NE(memcmp(expected, other, SHA256_SIZE), 0);
        }
}

/* They are stored: this one is from before there were limits. */
static void test_digest_without_limits_stays(void) {
        static const uint8_t before[SHA256_SIZE] = { 0xa6, 0xee, 0x1b, 0x82, 0xb0, 0x79, 0x0b, 0xb7,
                                                     0x4e, 0x2e, 0x03, 0xb2, 0xca, 0x61, 0x38, 0x25,
                                                     0x2e, 0xa1, 0x5e, 0xd3, 0xcd, 0xed, 0x89, 0xba,
                                                     0xe8, 0xf6, 0x1f, 0x66, 0x6a, 0xd9, 0x99, 0x46 };
        uint8_t now[SHA256_SIZE];

        digest(&(struct job_request){ TEXT("true") }, now);
        ASSERT_EQ(memcmp(now, before, SHA256_SIZE), 0);
}

static void test_digest_covers_limits(void) {
        struct job_request requests[] = {
                { TEXT("true") },
                { TEXT("true"), .limits = { .has_memory_max = true, .memory_max = JOB_MEMORY_MIN } },
                { TEXT("true"), .limits = { .has_memory_max = true, .memory_max = JOB_MEMORY_MIN + 1 } },
                { TEXT("true"), .limits = { .has_cpu_weight = true, .cpu_weight = 7 } },
                { TEXT("true"), .limits = { .has_cpu_quota = true, .cpu_quota = 7 } },
                { TEXT("true"), .limits = { .has_tasks_max = true, .tasks_max = 7 } },
                { TEXT("true"), .limits = { .has_tasks_max = true, .tasks_max = 7, .best_effort = true } },
                { TEXT("true"), .limits = { .best_effort = true } },
        };
        uint8_t digests[ELEMENTSOF(requests)][SHA256_SIZE];

        for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
                digest(&requests[i], digests[i]);
                for (size_t j = 0; j < i; j++)
                        ASSERT_NE(memcmp(digests[i], digests[j], SHA256_SIZE), 0);
        }
}

static struct job_request limited(enum limit_field field, int64_t value) {
        struct job_request request = { TEXT("true") };

        switch (field) {
        case LIMIT_MEMORY_MAX:
                request.limits.has_memory_max = true;
                request.limits.memory_max = value;
                break;
        case LIMIT_CPU_WEIGHT:
                request.limits.has_cpu_weight = true;
                request.limits.cpu_weight = value;
                break;
        case LIMIT_CPU_QUOTA:
                request.limits.has_cpu_quota = true;
                request.limits.cpu_quota = value;
                break;
        case LIMIT_TASKS_MAX:
                request.limits.has_tasks_max = true;
                request.limits.tasks_max = value;
                break;
        case _LIMIT_FIELD_MAX:
                break;
        }
        return request;
}

/* Each with its name and its range in the message. */
static void test_limits(void) {
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                int64_t low = (int64_t) limit_field_low(field), high = (int64_t) limit_field_high(field);
                const int64_t bad[] = { INT64_MIN, -1, 0, low - 1, high + 1, INT64_MAX };
                struct job_request request = limited(field, low);
                char range[64];

                check_good(&request);
                request = limited(field, high);
                check_good(&request);
                (void) snprintf(range, sizeof(range), "%" PRIi64 " to %" PRIi64, low, high);
                for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                        request = limited(field, bad[i]);
                        check_bad(&request, limit_field_to_text(field), range);
                }
        }
}

static void test_limits_reach_the_spec(void) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        struct job_request request = {
                TEXT("true"),
                .limits = {
                        .has_memory_max = true, .memory_max = INT64_C(1) << 40,
                        .has_cpu_weight = true, .cpu_weight = 10,
                        .has_cpu_quota = true, .cpu_quota = 150,
                        .has_tasks_max = true, .tasks_max = 20,
                        .best_effort = true,
                },
        };

        ASSERT_OK(job_spec_new(&request, &spec));
        ASSERT_EQ(spec->limits.memory_max, UINT64_C(1) << 40);
        ASSERT_EQ(spec->limits.cpu_weight, 10);
        ASSERT_EQ(spec->limits.cpu_quota, 150);
        ASSERT_EQ(spec->limits.tasks_max, 20);
        ASSERT_TRUE(spec->limits.best_effort);
        spec = job_spec_unref(spec);

        /* A number without its flag is none. */
        request.limits = (struct job_request_limits){ .memory_max = 5, .tasks_max = 7 };
        ASSERT_OK(job_spec_new(&request, &spec));
        ASSERT_EQ(job_limits_kinds(&spec->limits), 0);
}

static struct job_request ruled(int64_t priority, int64_t retries, const char *on_node_loss) {
        return (struct job_request){
                TEXT("true"),
                .rules = { .priority = priority,
                           .retries = retries,
                           .on_node_loss = on_node_loss,
                           .on_node_loss_size = on_node_loss ? strlen(on_node_loss) : 0 },
        };
}

static void test_rules(void) {
        struct job_request request;

        request = ruled(JOB_PRIORITY_MIN, JOB_RETRIES_MAX, "fail");
        check_good(&request);
        request = ruled(JOB_PRIORITY_MAX, 0, "requeue");
        check_good(&request);
        request = ruled(JOB_PRIORITY_MAX + 1, 0, NULL);
        check_bad(&request, "priority", "-1000 to 1000");
        request = ruled(INT64_MIN, 0, NULL);
        check_bad(&request, "priority", "-1000 to 1000");
        request = ruled(0, -1, NULL);
        check_bad(&request, "retries", "0 to 100");
        request = ruled(0, JOB_RETRIES_MAX + 1, NULL);
        check_bad(&request, "retries", "0 to 100");
        request = ruled(0, 0, "");
        check_bad(&request, "on_node_loss", "\"fail\"");
        request = ruled(0, 0, "failed");
        check_bad(&request, "on_node_loss", "\"requeue\"");
        request.rules.on_node_loss_size = 4; /* is not followed by a NUL */
        check_good(&request);
}

static void test_requires(void) {
        struct job_label labels[REQUIRES_MAX + 1];
        struct job_request request = { TEXT("true"), .requires = labels, .n_requires = REQUIRES_MAX };

        for (size_t i = 0; i < ELEMENTSOF(labels); i++)
                labels[i] = (struct job_label){ "gpu=a100", 8 };
        check_good(&request);
        request.n_requires++;
        check_bad(&request, "requires", "17 labels; at most 16");
        request.n_requires = 1;
        labels[0] = (struct job_label){ "gpu=a 100", 9 };
        check_bad(&request, "requires", "key=value");
        labels[0].size = 5; /* is not followed by a NUL */
        check_good(&request);
        labels[0].size = 0;
        check_bad(&request, "requires", "key=value");
}

static void test_rules_reach_the_spec(void) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        struct job_env env = { "A", "one", 1, 3 };
        struct job_label labels[] = { { "gpu=a100", 8 }, { "fast,", 4 } };
        struct job_request request = ruled(-7, 3, "fail");

        request.env = &env;
        request.n_env = 1;
        request.requires = labels;
        request.n_requires = 2;
        ASSERT_OK(job_spec_new(&request, &spec));
        ASSERT_EQ(spec->rules.priority, -7);
        ASSERT_EQ(spec->rules.retries, 3);
        ASSERT_TRUE(spec->rules.loss_is_failure);
        ASSERT_STREQ(spec->requires[0], "gpu=a100");
        ASSERT_STREQ(spec->requires[1], "fast");
        ASSERT_NULL(spec->requires[2]);
        ASSERT_STREQ(spec->env[0], "A=one");
        ASSERT_NULL(spec->env[1]);
        spec = job_spec_unref(spec);

        request = ruled(0, 0, "requeue");
        ASSERT_OK(job_spec_new(&request, &spec));
        ASSERT_TRUE(job_rules_are_default(&spec->rules));
        ASSERT_NULL(spec->requires[0]);
}

/* What another node says of a job is checked as if a client had said it. */
static void test_rules_over_a_link(void) {
        static const char *many[REQUIRES_MAX + 1];
        struct job_spec *back = NULL, *spec = NULL;
        struct job_label labels[] = { { "gpu=a100", 8 }, { "fast", 4 } };
        struct job_request request = ruled(-7, 3, "fail");
        struct link_job job;

        request.requires = labels;
        request.n_requires = 2;
        ASSERT_OK(job_spec_new(&request, &spec));
        (void) snprintf(spec->created_by_node, sizeof(spec->created_by_node), "node-1");
        job_spec_to_link(spec, &job);
        ASSERT_OK(job_spec_from_link(&job, &back));
        ASSERT_EQ(back->rules.priority, -7);
        ASSERT_EQ(back->rules.retries, 3);
        ASSERT_TRUE(back->rules.loss_is_failure);
        ASSERT_STREQ(back->requires[0], "gpu=a100");
        ASSERT_STREQ(back->requires[1], "fast");
        ASSERT_NULL(back->requires[2]);
        job_spec_unref(back);

        for (size_t i = 0; i < ELEMENTSOF(many); i++)
                many[i] = "gpu";
        job.requires = (char *const *) many;
        job.n_requires = REQUIRES_MAX + 1;
        ASSERT_ERROR(job_spec_from_link(&job, &back), EINVAL);
        job.n_requires = REQUIRES_MAX;
        ASSERT_OK(job_spec_from_link(&job, &back));
        job_spec_unref(back);
        job.rules.retries = JOB_RETRIES_MAX + 1;
        ASSERT_ERROR(job_spec_from_link(&job, &back), EINVAL);
        job_spec_unref(spec);
}

static void test_digest_covers_rules(void) {
        struct job_label ab[] = { { "a", 1 }, { "b=1", 3 } },
                         ba[] = { { "b=1", 3 }, { "a", 1 }, { "a", 1 } };
        struct job_env env = { "A", "1", 1, 1 };
        struct job_request requests[] = {
                { TEXT("true") },
                ruled(1, 0, NULL),
                ruled(0, 1, NULL),
                ruled(-1, 0, NULL),
                ruled(0, 0, "fail"),
                { TEXT("true"), .requires = ab, .n_requires = 1 },
                { TEXT("true"), .requires = ab, .n_requires = 2 },
                { TEXT("true"), .requires = ab + 1, .n_requires = 1 },
                { TEXT("true"), .env = &env, .n_env = 1, .requires = ab, .n_requires = 2 },
                { TEXT("true"), .requires = ab, .n_requires = 2,
                  .limits = { .has_tasks_max = true, .tasks_max = 7 } },
        };
        struct job_request same = { TEXT("true"), .requires = ba, .n_requires = 3 },
                           plain = ruled(0, 0, "requeue");
        uint8_t digests[ELEMENTSOF(requests)][SHA256_SIZE], other[SHA256_SIZE];

        for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
                digest(&requests[i], digests[i]);
                for (size_t j = 0; j < i; j++)
                        ASSERT_NE(memcmp(digests[i], digests[j], SHA256_SIZE), 0);
        }
        digest(&same, other);
        ASSERT_EQ(memcmp(digests[6], other, SHA256_SIZE), 0);
        digest(&plain, other);
        ASSERT_EQ(memcmp(digests[0], other, SHA256_SIZE), 0);
}

static void test_labels_match(void) {
        const struct metadata_entry labels[] = { { "arch", "x86_64" }, { "gpu", "" } };
        static const struct {
                const char *requires[3];
                bool match;
        } cases[] = {
                { { NULL }, true },
                { { "arch", NULL }, true },
                { { "arch=x86_64", "gpu", NULL }, true },
                { { "gpu=", NULL }, true },
                { { "arch=", NULL }, false },
                { { "arch=x86", NULL }, false },
                { { "arc", NULL }, false },
                { { "archx", NULL }, false },
                { { "gpu", "os", NULL }, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_EQ(job_labels_match(labels, 2, (char *const *) cases[i].requires), cases[i].match);
        ASSERT_FALSE(job_labels_match(labels, 0, (char *const *) cases[1].requires));
}

static void test_result_status(void) {
        static const enum job_status expected[_RUN_OUTCOME_MAX] = {
                [RUN_EXITED] = JOB_COMPLETED, [RUN_SIGNALLED] = JOB_FAILED,   [RUN_TIMED_OUT] = JOB_TIMEOUT,
                [RUN_KILLED] = JOB_CANCELLED, [RUN_NOT_STARTED] = JOB_FAILED, [RUN_LOST] = JOB_FAILED,
        };
        struct job_result result = { .outcome = RUN_EXITED, .exit_code = 1 };

        ASSERT_EQ(job_result_status(&result), JOB_FAILED);
        result.exit_code = 0;
        for (int i = 0; i < _RUN_OUTCOME_MAX; i++) {
                result.outcome = (enum run_outcome) i;
                ASSERT_EQ(job_result_status(&result), expected[i]);
        }
}

static void test_batch_grows(void) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;

        ASSERT_OK(record_batch_new(0, &batch));
        for (uint64_t i = 0; i < 100; i++)
                record_batch_add(batch, RECORD_STARTED)->at_usec = i;
        ASSERT_EQ(batch->n_records, 100);
        for (uint64_t i = 0; i < 100; i++)
                ASSERT_EQ(batch->records[i].at_usec, i);
}

int main(void) {
        RUN(test_command);
        RUN(test_target);
        RUN(test_cwd);
        RUN(test_env);
        RUN(test_timeout);
        RUN(test_stdin);
        RUN(test_spec_holds_everything);
        RUN(test_digest);
        RUN(test_digest_without_limits_stays);
        RUN(test_digest_covers_limits);
        RUN(test_limits);
        RUN(test_limits_reach_the_spec);
        RUN(test_rules);
        RUN(test_requires);
        RUN(test_rules_reach_the_spec);
        RUN(test_rules_over_a_link);
        RUN(test_digest_covers_rules);
        RUN(test_labels_match);
        RUN(test_result_status);
        RUN(test_batch_grows);
        return 0;
}
