/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mesh/job-link.h"

#include <stdio.h>

/* The numbers travel as they are. */
_Static_assert((int) LINK_EXITED == (int) RUN_EXITED, "outcomes differ");
_Static_assert((int) LINK_SIGNALLED == (int) RUN_SIGNALLED, "outcomes differ");
_Static_assert((int) LINK_TIMED_OUT == (int) RUN_TIMED_OUT, "outcomes differ");
_Static_assert((int) LINK_KILLED == (int) RUN_KILLED, "outcomes differ");
_Static_assert((int) LINK_NOT_STARTED == (int) RUN_NOT_STARTED, "outcomes differ");
_Static_assert((int) LINK_LOST == (int) RUN_LOST, "outcomes differ");
_Static_assert((int) _LINK_OUTCOME_MAX == (int) _RUN_OUTCOME_MAX, "outcomes differ");

static size_t count_entries(char *const *entries) {
        size_t n = 0;

        while (entries[n])
                n++;
        return n;
}

void job_spec_to_link(const struct job_spec *spec, struct link_job *ret) {
        *ret = (struct link_job){
                .id = spec->id,
                .created_at = spec->created_at,
                .timeout_usec = spec->timeout_usec,
                .command = spec->command,
                .cwd = spec->cwd,
                .target_node_id = spec->target_node_id,
                .created_by_node = spec->created_by_node,
                .env = spec->env,
                .n_env = count_entries(spec->env),
                .stdin_data = spec->stdin_data,
                .stdin_size = spec->stdin_size,
                .limits = spec->limits,
                .rules = spec->rules,
                .requires = spec->requires,
                .n_requires = count_entries(spec->requires),
                .submitter_uid = spec->submitter_uid,
                .submitter = spec->submitter,
                .has_digest = spec->has_digest,
        };
        memcpy(ret->digest, spec->digest, sizeof(ret->digest));
}

static void split_environment(const struct link_job *job, struct job_env *ret) {
        for (size_t i = 0; i < job->n_env; i++) {
                const char *equals = strchr(job->env[i], '=');

                ret[i] = (struct job_env){
                        .name = job->env[i],
                        .name_size = (size_t) (equals - job->env[i]),
                        .value = equals + 1,
                        .value_size = strlen(equals + 1),
                };
        }
}

static struct job_request_limits limits_to_request(const struct job_limits *limits) {
        return (struct job_request_limits){
                .has_memory_max = limits->memory_max > 0,
                .has_cpu_weight = limits->cpu_weight > 0,
                .has_cpu_quota = limits->cpu_quota > 0,
                .has_tasks_max = limits->tasks_max > 0,
                .memory_max = (int64_t) limits->memory_max,
                .cpu_weight = limits->cpu_weight,
                .cpu_quota = limits->cpu_quota,
                .tasks_max = limits->tasks_max,
                .best_effort = limits->best_effort,
        };
}

static struct job_request_rules rules_to_request(const struct job_rules *rules) {
        const char *on_node_loss = job_loss_to_text(rules->loss_is_failure);

        return (struct job_request_rules){
                .priority = rules->priority,
                .retries = rules->retries,
                .on_node_loss = on_node_loss,
                .on_node_loss_size = strlen(on_node_loss),
        };
}

int job_spec_from_link(const struct link_job *job, struct job_spec **ret) {
        struct job_env env[LINK_ENV_MAX];
        struct job_label requires[LINK_REQUIRES_MAX];
        struct job_request request = {
                .command = job->command,
                .command_size = strlen(job->command),
                .target_node_id = job->target_node_id,
                .target_node_id_size = job->target_node_id ? strlen(job->target_node_id) : 0,
                .cwd = job->cwd,
                .cwd_size = job->cwd ? strlen(job->cwd) : 0,
                .stdin_data = job->stdin_data,
                .stdin_size = job->stdin_size,
                .env = env,
                .n_env = job->n_env,
                .has_timeout = true,
                .timeout_seconds = (int64_t) (job->timeout_usec / USEC_PER_SEC),
                .limits = limits_to_request(&job->limits),
                .rules = rules_to_request(&job->rules),
                .requires = requires,
                .n_requires = job->n_requires,
        };
        struct job_problem problem;
        struct job_spec *spec;
        int r;

        split_environment(job, env);
        for (size_t i = 0; i < job->n_requires; i++)
                requires[i] = (struct job_label){ job->requires[i], strlen(job->requires[i]) };
        r = job_request_check(&request, &problem);
        if (r < 0)
                return r;
        r = job_spec_new(&request, &spec);
        if (r < 0)
                return r;
        spec->id = job->id;
        spec->created_at = job->created_at;
        spec->submitter_uid = job->submitter_uid;
        spec->has_digest = job->has_digest;
        memcpy(spec->digest, job->digest, sizeof(spec->digest));
        (void) snprintf(spec->submitter, sizeof(spec->submitter), "%s", job->submitter);
        (void) snprintf(spec->created_by_node, sizeof(spec->created_by_node), "%s", job->created_by_node);
        *ret = spec;
        return 0;
}

static struct link_output output_to_link(const struct job_output *output) {
        return (struct link_output){
                .data = output->data,
                .data_size = MIN(output->size, (size_t) LINK_OUTPUT_INLINE_MAX),
                .size = output->size,
                .total = output->total,
                .truncated = output->truncated,
        };
}

void job_result_to_link(const struct job_result *result, struct link_ended *ret) {
        *ret = (struct link_ended){
                .run = result->run,
                .outcome = (enum link_outcome) result->outcome,
                .exit_code = result->exit_code,
                .signal = result->signal,
                .started_at = result->started_at,
                .finished_at = result->finished_at,
                .duration_usec = result->duration_usec,
                .stdout_output = output_to_link(&result->stdout_output),
                .stderr_output = output_to_link(&result->stderr_output),
                .error_message = result->error_message,
                .oom_killed = result->oom_killed,
                .drained = result->drained,
        };
}

static int output_from_link(const struct link_output *output, size_t max, struct job_output *ret) {
        *ret = (struct job_output){ .total = output->total, .truncated = output->truncated };
        if (output->size > max)
                return -E2BIG;
        if (output->size == 0)
                return 0;
        ret->data = malloc(output->size);
        if (!ret->data)
                return -ENOMEM;
        ret->size = output->size;
        memcpy(ret->data, output->data, MIN(output->data_size, output->size));
        return 0;
}

int job_result_from_link(const struct link_ended *ended, size_t max, struct job_result **ret) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        int r;

        r = job_result_new(&result);
        if (r < 0)
                return r;
        result->run = ended->run;
        result->outcome = (enum run_outcome) ended->outcome;
        result->exit_code = ended->exit_code;
        result->signal = ended->signal;
        result->started_at = ended->started_at;
        result->finished_at = ended->finished_at;
        result->duration_usec = ended->duration_usec;
        result->oom_killed = ended->oom_killed;
        result->drained = ended->drained;
        if (ended->error_message) {
                result->error_message = strdup(ended->error_message);
                if (!result->error_message)
                        return -ENOMEM;
        }
        r = output_from_link(&ended->stdout_output, max, &result->stdout_output);
        if (r < 0)
                return r;
        r = output_from_link(&ended->stderr_output, max, &result->stderr_output);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(result);
        return 0;
}
