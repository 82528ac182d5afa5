/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-encode.h"

void link_encoder_add(struct link_encoder *encoder, const Link__LinkMessage *part) {
        if (encoder->to)
                encoder->size += link__link_message__pack(part, encoder->to + encoder->size);
        else
                encoder->size += link__link_message__get_packed_size(part);
}

Link__RunId link_run_encoding(const struct run_id *run) {
        Link__RunId out = LINK__RUN_ID__INIT;

        out.job = bytes(run->job.bytes, sizeof(run->job.bytes));
        out.epoch = run->epoch;
        out.attempt = run->attempt;
        return out;
}

Link__Limits link_limits_encoding(const struct job_limits *limits) {
        Link__Limits out = LINK__LIMITS__INIT;

        out.memory_max = limits->memory_max;
        out.cpu_weight = limits->cpu_weight;
        out.cpu_quota = limits->cpu_quota;
        out.tasks_max = limits->tasks_max;
        out.best_effort = limits->best_effort;
        return out;
}

Link__Job link_job_encoding(const struct link_job *job, Link__Limits *limits) {
        Link__Job out = LINK__JOB__INIT;

        out.id = bytes(job->id.bytes, sizeof(job->id.bytes));
        out.created_at_usec = job->created_at;
        out.timeout_usec = job->timeout_usec == USEC_INFINITY ? 0 : job->timeout_usec;
        out.command = unconst(job->command);
        out.cwd = unconst(job->cwd);
        out.n_env = job->n_env;
        out.env = (char **) job->env;
        out.stdin = bytes(job->stdin_data, job->stdin_size);
        out.has_stdin = job->stdin_data != NULL;
        if (job_limits_kinds(&job->limits) != 0 || job->limits.best_effort)
                out.limits = limits;
        out.target_node_id = unconst(job->target_node_id);
        out.created_by_node = unconst(job->created_by_node);
        out.submitter = unconst(job->submitter);
        out.submitter_uid_plus_one = (uint32_t) job->submitter_uid + 1;
        out.digest = bytes(job->digest, job->has_digest ? sizeof(job->digest) : 0);
        out.priority = job->rules.priority;
        out.retries = job->rules.retries;
        out.loss_is_failure = job->rules.loss_is_failure;
        out.n_requires = job->n_requires;
        out.requires = (char **) job->requires;
        return out;
}

Link__Output link_output_encoding(const struct link_output *output) {
        Link__Output out = LINK__OUTPUT__INIT;

        out.data = bytes(output->data, output->data_size);
        out.size = output->size;
        out.total = output->total;
        out.truncated = output->truncated;
        return out;
}
