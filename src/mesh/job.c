/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The shared, immutable description of a job, and the result of a run. Checking a request is job-request.c.
 */

#include "mesh/job.h"

static size_t field_size(const char *text, size_t size) {
        return text ? size + 1 : 0;
}

/* Copies a field behind the struct, with a NUL; NULL stays NULL. Moves *position on. */
static const char *place(char **position, const char *text, size_t size) {
        char *start = *position;

        if (!text)
                return NULL;
        memcpy(start, text, size);
        start[size] = '\0';
        *position += size + 1;
        return start;
}

static const char *place_env(char **position, const struct job_env *env) {
        char *start = *position;

        memcpy(start, env->name, env->name_size);
        start[env->name_size] = '=';
        memcpy(start + env->name_size + 1, env->value, env->value_size);
        start[env->name_size + 1 + env->value_size] = '\0';
        *position += env->name_size + env->value_size + 2;
        return start;
}

static const char *place_label(char **position, const struct job_label *label) {
        return place(position, label->text, label->size);
}

/* Of all strings that place() and its like write. */
static size_t strings_size(const struct job_request *request) {
        size_t size = field_size(request->command, request->command_size) +
                      field_size(request->target_node_id, request->target_node_id_size) +
                      field_size(request->cwd, request->cwd_size) +
                      field_size(request->stdin_data, request->stdin_size);

        for (size_t i = 0; i < request->n_env; i++)
                size += request->env[i].name_size + request->env[i].value_size + 2;
        for (size_t i = 0; i < request->n_requires; i++)
                size += request->requires[i].size + 1;
        return size;
}

int job_spec_new(const struct job_request *request, struct job_spec **ret) {
        size_t pointers = (request->n_env + 1 + request->n_requires + 1) * sizeof(char *);
        struct job_spec *spec = malloc(sizeof(*spec) + pointers + strings_size(request));
        const char **env, **requires;
        char *position;

        if (!spec)
                return -ENOMEM;

        env = (const char **) (spec + 1);
        requires = env + request->n_env + 1;
        position = (char *) env + pointers;
        *spec = (struct job_spec){
                .n_references = 1,
                .timeout_usec =
                        (request->has_timeout ? (usec_t) request->timeout_seconds : TIMEOUT_DEFAULT_SEC) *
                        USEC_PER_SEC,
                .command = place(&position, request->command, request->command_size),
                .target_node_id = place(&position, request->target_node_id, request->target_node_id_size),
                .cwd = place(&position, request->cwd, request->cwd_size),
                .stdin_data = place(&position, request->stdin_data, request->stdin_size),
                .stdin_size = request->stdin_size,
                .env = (char *const *) env,
                .requires = (char *const *) requires,
                .submitter_uid = (uid_t) -1,
        };
        for (size_t i = 0; i < request->n_env; i++)
                env[i] = place_env(&position, &request->env[i]);
        env[request->n_env] = NULL;
        for (size_t i = 0; i < request->n_requires; i++)
                requires[i] = place_label(&position, &request->requires[i]);
        requires[request->n_requires] = NULL;
        job_request_get_limits(request, &spec->limits);
        job_request_get_rules(request, &spec->rules);

        *ret = spec;
        return 0;
}

static bool label_is_there(const struct metadata_entry *labels, size_t n_labels, const char *wanted) {
        size_t size = strcspn(wanted, "=");

        for (size_t i = 0; i < n_labels; i++)
                if (strlen(labels[i].key) == size && memcmp(labels[i].key, wanted, size) == 0 &&
                    (wanted[size] == '\0' || streq(labels[i].value, wanted + size + 1)))
                        return true;
        return false;
}

bool job_labels_match(const struct metadata_entry *labels, size_t n_labels, char *const *requires) {
        for (; *requires; requires++)
                if (!label_is_there(labels, n_labels, *requires))
                        return false;
        return true;
}

struct job_spec *job_spec_ref(struct job_spec *spec) {
        assert(spec->n_references > 0);
        spec->n_references++;
        return spec;
}

struct job_spec *job_spec_unref(struct job_spec *spec) {
        if (spec) {
                assert(spec->n_references > 0);
                if (--spec->n_references == 0)
                        free(spec);
        }
        return NULL;
}

int job_result_new(struct job_result **ret) {
        struct job_result *result = calloc(1, sizeof(*result));

        if (!result)
                return -ENOMEM;
        result->n_references = 1;
        *ret = result;
        return 0;
}

struct job_result *job_result_ref(struct job_result *result) {
        assert(result->n_references > 0);
        result->n_references++;
        return result;
}

struct job_result *job_result_unref(struct job_result *result) {
        if (result) {
                assert(result->n_references > 0);
                if (--result->n_references == 0) {
                        free(result->stdout_output.data);
                        free(result->stderr_output.data);
                        free(result->error_message);
                        free(result);
                }
        }
        return NULL;
}

enum job_status job_result_status(const struct job_result *result) {
        switch (result->outcome) {
        case RUN_EXITED:
                return result->exit_code == 0 ? JOB_COMPLETED : JOB_FAILED;
        case RUN_TIMED_OUT:
                return JOB_TIMEOUT;
        case RUN_KILLED:
                return JOB_CANCELLED;
        case RUN_SIGNALLED:
        case RUN_NOT_STARTED:
        case RUN_LOST:
        case _RUN_OUTCOME_MAX:
                break;
        }
        return JOB_FAILED;
}
