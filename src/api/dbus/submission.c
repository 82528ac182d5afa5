/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/dbus/submission.h"

#include "util/array.h"

#define WHOLE_SECONDS "a whole number of seconds, such as 300"
#define WHOLE_NUMBER "a whole number"

/* As refused by name; idempotency_key is one of the call, where there may be several jobs. */
static const char *const job_keys[] = {
        "target_node_id", "env",        "timeout_seconds", "cwd",       "stdin",
        "memory_max",     "cpu_weight", "cpu_quota",       "tasks_max", "best_effort",
        "priority",       "retries",    "on_node_loss",    "requires",  NULL,
};
static const char *const one_job_keys[] = {
        "target_node_id", "env",       "timeout_seconds", "cwd",         "stdin",    "memory_max",
        "cpu_weight",     "cpu_quota", "tasks_max",       "best_effort", "priority", "retries",
        "on_node_loss",   "requires",  "idempotency_key", NULL,
};
static const char *const call_keys[] = { "idempotency_key", NULL };

struct submission *submission_free(struct submission *submission) {
        if (!submission)
                return NULL;
        for (size_t i = 0; i < submission->n_jobs; i++) {
                free((struct job_env *) submission->jobs[i].env);
                free((struct job_label *) submission->jobs[i].requires);
        }
        free(submission->jobs);
        free(submission);
        return NULL;
}

/* Those beyond the limit are counted only: the check of the job tells how many there are. */
static int read_env(
        sd_bus_message *message, const char *signature, struct job_request *job,
        struct bus_fault *ret_fault) {
        struct job_env *env;
        const char *name, *value;
        int r;

        if (!streq(signature, "a{ss}")) {
                bus_fault_set(
                        ret_fault, ERROR_PREFIX "Invalid",
                        "env must be a dictionary of strings (a{ss}), not %s", bus_type_to_text(signature));
                return -EINVAL;
        }
        env = calloc(ENV_ENTRIES_MAX, sizeof(*env));
        if (!env)
                return -ENOMEM;
        job->env = env; /* owned by the submission */
        r = sd_bus_message_enter_container(message, 'a', "{ss}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(message, "{ss}", &name, &value)) > 0) {
                if (job->n_env < ENV_ENTRIES_MAX)
                        env[job->n_env] = (struct job_env){ .name = name,
                                                            .name_size = strlen(name),
                                                            .value = value,
                                                            .value_size = strlen(value) };
                job->n_env++;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* Likewise. */
static int read_requires(
        sd_bus_message *message, const char *signature, struct job_request *job,
        struct bus_fault *ret_fault) {
        struct job_label *labels;
        const char *text;
        int r;

        if (!streq(signature, "as")) {
                bus_fault_set(
                        ret_fault, ERROR_PREFIX "Invalid",
                        "requires must be an array of strings (as), not %s", bus_type_to_text(signature));
                return -EINVAL;
        }
        labels = calloc(REQUIRES_MAX, sizeof(*labels));
        if (!labels)
                return -ENOMEM;
        job->requires = labels; /* owned by the submission */
        r = sd_bus_message_enter_container(message, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read_basic(message, 's', &text)) > 0) {
                if (job->n_requires < REQUIRES_MAX)
                        labels[job->n_requires] = (struct job_label){ text, strlen(text) };
                job->n_requires++;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* Text, or bytes. */
static int read_stdin(
        sd_bus_message *message, const char *signature, struct job_request *job,
        struct bus_fault *ret_fault) {
        const void *data;
        int r;

        if (streq(signature, "s"))
                return option_read_text(
                        message, "stdin", signature, &job->stdin_data, &job->stdin_size, ret_fault);
        if (!streq(signature, "ay")) {
                bus_fault_set(
                        ret_fault, ERROR_PREFIX "Invalid", "stdin must be a string or bytes (ay), not %s",
                        bus_type_to_text(signature));
                return -EINVAL;
        }
        r = sd_bus_message_read_array(message, 'y', &data, &job->stdin_size);
        job->stdin_data = data ? data : "";
        return r;
}

/* -ENOENT: it is none of these options. */
static int read_rule(
        sd_bus_message *message, const char *key, const char *signature, struct job_request *job,
        struct bus_fault *ret_fault) {
        struct job_request_rules *rules = &job->rules;

        if (streq(key, "priority"))
                return option_read_integer(
                        message, key, signature, WHOLE_NUMBER, &rules->priority, ret_fault);
        if (streq(key, "retries"))
                return option_read_integer(
                        message, key, signature, WHOLE_NUMBER, &rules->retries, ret_fault);
        if (streq(key, "on_node_loss"))
                return option_read_text(
                        message, key, signature, &rules->on_node_loss, &rules->on_node_loss_size, ret_fault);
        if (streq(key, "requires"))
                return read_requires(message, signature, job, ret_fault);
        return -ENOENT;
}

static int read_limit(
        sd_bus_message *message, const char *key, const char *signature, struct job_request_limits *limits,
        struct bus_fault *ret_fault) {
        struct {
                const char *key;
                bool *has;
                int64_t *value;
        } const all[] = {
                { "memory_max", &limits->has_memory_max, &limits->memory_max },
                { "cpu_weight", &limits->has_cpu_weight, &limits->cpu_weight },
                { "cpu_quota", &limits->has_cpu_quota, &limits->cpu_quota },
                { "tasks_max", &limits->has_tasks_max, &limits->tasks_max },
        };

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (streq(key, all[i].key)) {
                        *all[i].has = true;
                        return option_read_integer(
                                message, key, signature, WHOLE_NUMBER, all[i].value, ret_fault);
                }
        return option_read_boolean(message, key, signature, &limits->best_effort, ret_fault);
}

struct reading {
        struct submission *submission;
        struct job_request *job;
};

static int read_key(
        sd_bus_message *message, const char *key, const char *signature, void *userdata,
        struct bus_fault *ret_fault) {
        struct reading *reading = userdata;
        size_t size;

        return option_read_text(
                message, key, signature, &reading->submission->idempotency_key, &size, ret_fault);
}

/* An empty target_node_id stands for any node, as in the other face. */
static int read_job_option(
        sd_bus_message *message, const char *key, const char *signature, void *userdata,
        struct bus_fault *ret_fault) {
        struct reading *reading = userdata;
        struct job_request *job = reading->job;
        int r;

        if (streq(key, "idempotency_key"))
                return read_key(message, key, signature, userdata, ret_fault);
        if (streq(key, "env"))
                return read_env(message, signature, job, ret_fault);
        if (streq(key, "stdin"))
                return read_stdin(message, signature, job, ret_fault);
        if (streq(key, "cwd"))
                return option_read_text(message, key, signature, &job->cwd, &job->cwd_size, ret_fault);
        if (streq(key, "target_node_id")) {
                r = option_read_text(
                        message, key, signature, &job->target_node_id, &job->target_node_id_size, ret_fault);
                if (r >= 0 && job->target_node_id_size == 0)
                        job->target_node_id = NULL;
                return r;
        }
        if (streq(key, "timeout_seconds")) {
                job->has_timeout = true;
                return option_read_integer(
                        message, key, signature, WHOLE_SECONDS, &job->timeout_seconds, ret_fault);
        }
        r = read_rule(message, key, signature, job, ret_fault);
        return r == -ENOENT ? read_limit(message, key, signature, &job->limits, ret_fault) : r;
}

static int read_job(
        sd_bus_message *message, struct submission *submission, const char *const *keys,
        struct bus_fault *ret_fault) {
        struct reading reading = { .submission = submission };
        struct job_request *job;
        int r;

        r = ARRAY_RESERVE(submission->jobs, submission->n_jobs + 1, submission->n_allocated, 1);
        if (r < 0)
                return r;
        reading.job = job = &submission->jobs[submission->n_jobs++];
        *job = (struct job_request){};

        r = sd_bus_message_read_basic(message, 's', &job->command);
        if (r < 0)
                return r;
        job->command_size = strlen(job->command);
        return options_read(message, read_job_option, keys, "a job", &reading, ret_fault);
}

static void add_index(size_t index, struct bus_fault *fault) {
        struct bus_fault plain = *fault;

        bus_fault_set(fault, plain.name, "job %zu: %s", index, plain.detail);
}

static int read_list(sd_bus_message *message, struct submission *submission, struct bus_fault *ret_fault) {
        struct reading reading = { .submission = submission };
        int r;

        r = sd_bus_message_enter_container(message, 'a', "(sa{sv})");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(message, 'r', "sa{sv}")) > 0) {
                if (submission->n_jobs == JOBS_PER_REQUEST_MAX) {
                        bus_fault_set(
                                ret_fault, ERROR_PREFIX "BodyTooLarge",
                                "more than %u jobs; send the rest in another request", JOBS_PER_REQUEST_MAX);
                        return -EINVAL;
                }
                r = read_job(message, submission, job_keys, ret_fault);
                if (r == -EINVAL && ret_fault->name[0] != '\0')
                        add_index(submission->n_jobs - 1, ret_fault);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;
        return options_read(message, read_key, call_keys, "SubmitJobs", &reading, ret_fault);
}

int submission_read(
        sd_bus_message *message, bool is_list, struct submission **ret, struct bus_fault *ret_fault) {
        _cleanup_(submission_free_p) struct submission *submission = calloc(1, sizeof(*submission));
        int r;

        if (!submission)
                return -ENOMEM;
        submission->is_list = is_list;
        r = is_list ? read_list(message, submission, ret_fault)
                    : read_job(message, submission, one_job_keys, ret_fault);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(submission);
        return 0;
}
