/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Checks what a client asks for, field by field, with a message for each way to be wrong; and the digest by
 * which a repeated request is recognised. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "mesh/job.h"
#include "util/utf8.h"
#include "wire/job-limits.h"
#include "wire/label.h"

static int problem(struct job_problem *ret, const char *field, const char *format, ...) _printf_(3, 4);

static int problem(struct job_problem *ret, const char *field, const char *format, ...) {
        va_list arguments;

        ret->field = field;
        va_start(arguments, format);
        (void) vsnprintf(ret->detail, sizeof(ret->detail), format, arguments);
        va_end(arguments);
        return -EINVAL;
}

/* What execve(2) takes as a string: no NUL. What JSON and SQLite take as text: UTF-8. */
static int
check_text(const char *field, const char *text, size_t size, size_t limit, struct job_problem *ret) {
        if (size > limit)
                return problem(
                        ret, field, "%s is %zu bytes long; at most %zu are allowed", field, size, limit);
        if (memchr(text, '\0', size))
                return problem(
                        ret, field, "%s contains a NUL character, which no command can receive", field);
        if (!utf8_is_valid(text, size))
                return problem(ret, field, "%s is not valid UTF-8", field);
        return 0;
}

static bool is_blank(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (!memchr(" \t\r\n", text[i], 4))
                        return false;
        return true;
}

static int check_command(const struct job_request *request, struct job_problem *ret) {
        if (!request->command)
                return problem(ret, "command", "command is missing; give the shell command to run");
        if (is_blank(request->command, request->command_size))
                return problem(ret, "command", "command is empty; give the shell command to run");
        return check_text("command", request->command, request->command_size, COMMAND_MAX, ret);
}

static int check_target(const struct job_request *request, struct job_problem *ret) {
        char text[NODE_ID_MAX + 1];

        if (!request->target_node_id)
                return 0;
        if (request->target_node_id_size <= NODE_ID_MAX &&
            !memchr(request->target_node_id, 0, request->target_node_id_size)) {
                memcpy(text, request->target_node_id, request->target_node_id_size);
                text[request->target_node_id_size] = '\0';
                if (node_id_is_valid(text))
                        return 0;
        }
        return problem(
                ret, "target_node_id",
                "target_node_id is not a node id: 1 to %u letters, digits, '-', '_' or '.'", NODE_ID_MAX);
}

static int check_cwd(const struct job_request *request, struct job_problem *ret) {
        if (!request->cwd)
                return 0;
        if (request->cwd_size == 0 || request->cwd[0] != '/')
                return problem(ret, "cwd", "cwd must be an absolute path, such as \"/srv/app\"");
        return check_text("cwd", request->cwd, request->cwd_size, CWD_MAX, ret);
}

/* POSIX names, so that a shell can use them: letters, digits and underscore, not beginning with a digit. */
static bool env_name_is_valid(const char *name, size_t size) {
        if (size == 0 || size > ENV_NAME_MAX || (name[0] >= '0' && name[0] <= '9'))
                return false;
        for (size_t i = 0; i < size; i++) {
                char c = name[i];

                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_'))
                        return false;
        }
        return true;
}

static bool env_name_is_reserved(const struct job_env *env) {
        static const char *const reserved[] = { "JOB_ID", "NODE_ID", "EPOCH", "ATTEMPT" };

        for (size_t i = 0; i < ELEMENTSOF(reserved); i++)
                if (env->name_size == strlen(reserved[i]) &&
                    memcmp(env->name, reserved[i], env->name_size) == 0)
                        return true;
        return false;
}

static int compare_env(const void *a, const void *b) {
        const struct job_env *x = *(const struct job_env *const *) a,
                             *y = *(const struct job_env *const *) b;
        int c = memcmp(x->name, y->name, MIN(x->name_size, y->name_size));

        return c != 0 ? c : (x->name_size > y->name_size) - (x->name_size < y->name_size);
}

/* Those that there is room for, in order of the names. */
static size_t
sort_env(const struct job_request *request, const struct job_env *ret[static ENV_ENTRIES_MAX]) {
        size_t n = MIN(request->n_env, (size_t) ENV_ENTRIES_MAX);

        for (size_t i = 0; i < n; i++)
                ret[i] = &request->env[i];
        if (n > 0)
                qsort(ret, n, sizeof(ret[0]), compare_env);
        return n;
}

/* Dictionaries of D-Bus may have a key twice. */
static int check_env_repeats(const struct job_request *request, struct job_problem *ret) {
        const struct job_env *sorted[ENV_ENTRIES_MAX];
        size_t n = sort_env(request, sorted);

        for (size_t i = 1; i < n; i++)
                if (compare_env(&sorted[i - 1], &sorted[i]) == 0)
                        return problem(
                                ret, "env", "env sets %.*s more than once",
                                (int) MIN(sorted[i]->name_size, (size_t) 64), sorted[i]->name);
        return 0;
}

static int check_env(const struct job_request *request, struct job_problem *ret) {
        size_t total = 0;
        int r;

        if (request->n_env > ENV_ENTRIES_MAX)
                return problem(
                        ret, "env", "env has %zu entries; at most %u are allowed", request->n_env,
                        ENV_ENTRIES_MAX);

        for (size_t i = 0; i < request->n_env; i++) {
                const struct job_env *env = &request->env[i];

                if (!env_name_is_valid(env->name, env->name_size))
                        return problem(
                                ret, "env",
                                "env has a name that no shell accepts: 1 to %u letters, digits and '_', not "
                                "beginning with a digit",
                                ENV_NAME_MAX);
                if (env_name_is_reserved(env))
                        return problem(
                                ret, "env", "env sets %.*s, which the node sets itself",
                                (int) env->name_size, env->name);
                r = check_text("env", env->value, env->value_size, ENV_SIZE_MAX, ret);
                if (r < 0)
                        return r;
                total += env->name_size + env->value_size + 2;
        }

        if (total > ENV_SIZE_MAX)
                return problem(
                        ret, "env", "env takes %zu bytes; at most %u are allowed", total, ENV_SIZE_MAX);
        return request->n_env > 1 ? check_env_repeats(request, ret) : 0;
}

static int check_timeout(const struct job_request *request, struct job_problem *ret) {
        if (!request->has_timeout ||
            (request->timeout_seconds >= 1 && request->timeout_seconds <= TIMEOUT_MAX_SEC))
                return 0;
        return problem(
                ret, "timeout_seconds", "timeout_seconds is %" PRIi64 "; it must be 1 to %d (a week)",
                request->timeout_seconds, TIMEOUT_MAX_SEC);
}

static int check_stdin(const struct job_request *request, struct job_problem *ret) {
        if (request->stdin_data && request->stdin_size > STDIN_MAX)
                return problem(
                        ret, "stdin", "stdin is %zu bytes long; at most %u are allowed", request->stdin_size,
                        STDIN_MAX);
        return 0;
}

/* What was given for a limit. */
static bool request_limit(const struct job_request *request, enum limit_field field, int64_t *ret) {
        const struct job_request_limits *limits = &request->limits;

        switch (field) {
        case LIMIT_MEMORY_MAX:
                *ret = limits->memory_max;
                return limits->has_memory_max;
        case LIMIT_CPU_WEIGHT:
                *ret = limits->cpu_weight;
                return limits->has_cpu_weight;
        case LIMIT_CPU_QUOTA:
                *ret = limits->cpu_quota;
                return limits->has_cpu_quota;
        case LIMIT_TASKS_MAX:
                *ret = limits->tasks_max;
                return limits->has_tasks_max;
        case _LIMIT_FIELD_MAX:
                break;
        }
        return false;
}

static const char *limit_unit(enum limit_field field) {
        switch (field) {
        case LIMIT_MEMORY_MAX:
                return " bytes";
        case LIMIT_CPU_QUOTA:
                return " percent of one CPU";
        case LIMIT_CPU_WEIGHT:
        case LIMIT_TASKS_MAX:
        case _LIMIT_FIELD_MAX:
                break;
        }
        return "";
}

static int check_limits(const struct job_request *request, struct job_problem *ret) {
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t low = limit_field_low(field), high = limit_field_high(field);
                const char *name = limit_field_to_text(field);
                int64_t value;

                if (!request_limit(request, field, &value))
                        continue;
                if (value < 0 || (uint64_t) value < low || (uint64_t) value > high)
                        return problem(
                                ret, name, "%s is %" PRIi64 "; it must be %" PRIu64 " to %" PRIu64 "%s",
                                name, value, low, high, limit_unit(field));
        }
        return 0;
}

void job_request_get_limits(const struct job_request *request, struct job_limits *ret) {
        int64_t value;

        *ret = (struct job_limits){ .best_effort = request->limits.best_effort };
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                if (request_limit(request, field, &value))
                        job_limits_set(ret, field, (uint64_t) value);
}

static bool is_loss(const struct job_request *request, const char *word) {
        const struct job_request_rules *rules = &request->rules;

        return rules->on_node_loss && rules->on_node_loss_size == strlen(word) &&
               memcmp(rules->on_node_loss, word, rules->on_node_loss_size) == 0;
}

static int check_rules(const struct job_request *request, struct job_problem *ret) {
        const struct job_request_rules *rules = &request->rules;

        if (rules->priority < JOB_PRIORITY_MIN || rules->priority > JOB_PRIORITY_MAX)
                return problem(
                        ret, "priority", "priority is %" PRIi64 "; it must be %d to %d", rules->priority,
                        JOB_PRIORITY_MIN, JOB_PRIORITY_MAX);
        if (rules->retries < 0 || rules->retries > JOB_RETRIES_MAX)
                return problem(
                        ret, "retries", "retries is %" PRIi64 "; it must be 0 to %u", rules->retries,
                        JOB_RETRIES_MAX);
        if (rules->on_node_loss && !is_loss(request, JOB_LOSS_REQUEUE) && !is_loss(request, JOB_LOSS_FAIL))
                return problem(
                        ret, "on_node_loss",
                        "on_node_loss must be \"" JOB_LOSS_REQUEUE "\" or \"" JOB_LOSS_FAIL "\"");
        return 0;
}

static int check_requires(const struct job_request *request, struct job_problem *ret) {
        if (request->n_requires > REQUIRES_MAX)
                return problem(
                        ret, "requires", "requires has %zu labels; at most %u are allowed",
                        request->n_requires, REQUIRES_MAX);
        for (size_t i = 0; i < request->n_requires; i++)
                if (!label_is_valid(request->requires[i].text, request->requires[i].size))
                        return problem(
                                ret, "requires",
                                "requires has something that is no label: \"key=value\" or \"key\"; a key "
                                "is 1 to %u of A-Z a-z 0-9 - _ . /, a value up to %u printable characters "
                                "without spaces, commas and quotes",
                                LABEL_KEY_MAX, LABEL_VALUE_MAX);
        return 0;
}

void job_request_get_rules(const struct job_request *request, struct job_rules *ret) {
        *ret = (struct job_rules){
                .priority = (int32_t) request->rules.priority,
                .retries = (uint32_t) request->rules.retries,
                .loss_is_failure = is_loss(request, JOB_LOSS_FAIL),
        };
}

int job_request_check(const struct job_request *request, struct job_problem *ret_problem) {
        int r;

        r = check_command(request, ret_problem);
        if (r < 0)
                return r;
        r = check_target(request, ret_problem);
        if (r < 0)
                return r;
        r = check_cwd(request, ret_problem);
        if (r < 0)
                return r;
        r = check_env(request, ret_problem);
        if (r < 0)
                return r;
        r = check_timeout(request, ret_problem);
        if (r < 0)
                return r;
        r = check_stdin(request, ret_problem);
        if (r < 0)
                return r;
        r = check_limits(request, ret_problem);
        if (r < 0)
                return r;
        r = check_rules(request, ret_problem);
        if (r < 0)
                return r;
        return check_requires(request, ret_problem);
}

/* Each part goes in with its length, so that no two requests give the same bytes. */
static int digest_part(struct sha256 *hash, const char *data, size_t size) {
        uint64_t prefix = data ? size : UINT64_MAX;
        int r;

        r = sha256_update(hash, &prefix, sizeof(prefix));
        if (r < 0 || !data)
                return r;
        return sha256_update(hash, data, size);
}

/* In order of the names: JSON objects have no order. */
static int digest_env(const struct job_request *request, struct sha256 *hash) {
        const struct job_env *sorted[ENV_ENTRIES_MAX];
        size_t n = sort_env(request, sorted);
        int r;

        for (size_t i = 0; i < n; i++) {
                r = digest_part(hash, sorted[i]->name, sorted[i]->name_size);
                if (r < 0)
                        return r;
                r = digest_part(hash, sorted[i]->value, sorted[i]->value_size);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Digests are kept: that of a request without limits is what it was before there were any. Variables give
 * an even number of parts, this is one more, so that neither can be taken for the other. */
static int digest_limits(const struct job_request *request, struct sha256 *hash) {
        struct job_limits limits;
        uint64_t values[_LIMIT_FIELD_MAX + 1];

        job_request_get_limits(request, &limits);
        if (job_limits_kinds(&limits) == 0 && !limits.best_effort)
                return 0;
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                values[field] = job_limits_get(&limits, field);
        values[_LIMIT_FIELD_MAX] = limits.best_effort;
        return digest_part(hash, (const char *) values, sizeof(values));
}

static int compare_labels(const void *a, const void *b) {
        const struct job_label *x = a, *y = b;
        int c = memcmp(x->text, y->text, MIN(x->size, y->size));

        return c != 0 ? c : (x->size > y->size) - (x->size < y->size);
}

/* As with limits: none of them leave the digest as it was before there were any. No variable and no limit
 * begins with an absent part, so that what follows one is neither. Who asks for the same labels in another
 * order asks for the same. */
static int digest_rules(const struct job_request *request, struct sha256 *hash) {
        struct job_label labels[REQUIRES_MAX];
        size_t n = MIN(request->n_requires, (size_t) REQUIRES_MAX);
        struct job_rules rules;
        int64_t values[3];
        int r;

        job_request_get_rules(request, &rules);
        if (job_rules_are_default(&rules) && n == 0)
                return 0;
        values[0] = rules.priority;
        values[1] = rules.retries;
        values[2] = rules.loss_is_failure;
        r = digest_part(hash, NULL, 0);
        if (r >= 0)
                r = digest_part(hash, (const char *) values, sizeof(values));
        if (r < 0 || n == 0)
                return r;

        memcpy(labels, request->requires, n * sizeof(labels[0]));
        qsort(labels, n, sizeof(labels[0]), compare_labels);
        for (size_t i = 0; i < n && r >= 0; i++)
                if (i == 0 || compare_labels(&labels[i - 1], &labels[i]) != 0)
                        r = digest_part(hash, labels[i].text, labels[i].size);
        return r;
}

int job_request_digest(
        const struct job_request *request, struct sha256 *hash, uint8_t ret[static SHA256_SIZE]) {
        int64_t timeout = request->has_timeout ? request->timeout_seconds : TIMEOUT_DEFAULT_SEC;
        int r;

        r = digest_part(hash, request->command, request->command_size);
        if (r < 0)
                return r;
        r = digest_part(hash, request->target_node_id, request->target_node_id_size);
        if (r < 0)
                return r;
        r = digest_part(hash, request->cwd, request->cwd_size);
        if (r < 0)
                return r;
        r = digest_part(hash, request->stdin_data, request->stdin_size);
        if (r < 0)
                return r;
        r = digest_part(hash, (const char *) &timeout, sizeof(timeout));
        if (r < 0)
                return r;
        r = digest_env(request, hash);
        if (r < 0)
                return r;
        r = digest_limits(request, hash);
        if (r < 0)
                return r;
        r = digest_rules(request, hash);
        if (r < 0)
                return r;

        sha256_finish(hash, ret);
        return 0;
}
