/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/json-job.h"

#include <string.h>

#include "util/strv.h"
#include "wire/job-limits.h"

/* One of the two outputs, under its name. */
struct output {
        const char *key;
        const char *binary_key, *truncated_key, *partial_key, *total_key;
        const char *data;
        size_t size;
        uint64_t kept, total;
        bool truncated;
};

static void get_outputs(const struct stored_job *job, struct output ret[static 2]) {
        ret[0] = (struct output){
                .key = "stdout",
                .binary_key = "stdout_binary",
                .truncated_key = "stdout_truncated",
                .partial_key = "stdout_partial",
                .total_key = "stdout_total_bytes",
                .data = job->stdout_data,
                .size = job->stdout_size,
                .kept = job->stdout_kept,
                .total = job->stdout_total,
                .truncated = job->stdout_truncated,
        };
        ret[1] = (struct output){
                .key = "stderr",
                .binary_key = "stderr_binary",
                .truncated_key = "stderr_truncated",
                .partial_key = "stderr_partial",
                .total_key = "stderr_total_bytes",
                .data = job->stderr_data,
                .size = job->stderr_size,
                .kept = job->stderr_kept,
                .total = job->stderr_total,
                .truncated = job->stderr_truncated,
        };
}

/* A character that is cut in two by the end of the excerpt is left out, and no reason to call the output
 * binary. */
static size_t whole_characters(const char *data, size_t size) {
        size_t tail = 0;

        while (tail < MIN(size, (size_t) 3) && ((unsigned char) data[size - 1 - tail] & 0xc0) == 0x80)
                tail++;
        if (tail == size)
                return size;
        unsigned char lead = (unsigned char) data[size - 1 - tail];
        size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
        return wanted > tail + 1 ? size - tail - 1 : size;
}

/* Which of the outputs had bytes that JSON cannot hold is told with the other facts about them. */
static void write_outputs(
        struct writer *writer, const struct output outputs[static 2], bool in_list,
        bool ret_binary[static 2]) {
        for (size_t i = 0; i < 2; i++) {
                const struct output *output = &outputs[i];
                bool partial = in_list && output->size < output->kept;

                if (!output->data) {
                        writer_text(writer, output->key, "");
                        ret_binary[i] = false;
                        continue;
                }
                ret_binary[i] = writer_bytes(
                        writer, output->key, output->data,
                        partial ? whole_characters(output->data, output->size) : output->size);
        }
}

static void write_output_facts(
        struct writer *writer, const struct output outputs[static 2], bool in_list,
        const bool binary[static 2]) {
        for (size_t i = 0; i < 2; i++) {
                const struct output *output = &outputs[i];

                writer_boolean(writer, output->truncated_key, output->truncated);
                writer_unsigned(writer, output->total_key, output->total);
                if (binary[i])
                        writer_boolean(writer, output->binary_key, true);
                if (in_list && output->size < output->kept)
                        writer_boolean(writer, output->partial_key, true);
        }
}

static void write_env_names(struct writer *writer, char *const *env) {
        writer_open(writer, "env_names", '[');
        for (; env && *env; env++)
                (void) writer_bytes(writer, NULL, *env, strcspn(*env, "="));
        writer_close(writer, ']');
}

/* Those that were asked for. */
static void write_limits(struct writer *writer, const struct job_limits *limits) {
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++)
                if (job_limits_get(limits, field) > 0)
                        writer_unsigned(writer, limit_field_to_text(field), job_limits_get(limits, field));
        if (limits->best_effort)
                writer_boolean(writer, "best_effort", true);
}

static void write_rules(struct writer *writer, const struct stored_job *job) {
        writer_integer(writer, "priority", job->rules.priority);
        writer_unsigned(writer, "retries", job->rules.retries);
        writer_unsigned(writer, "retries_used", job->retries_used);
        writer_text(writer, "on_node_loss", job_loss_to_text(job->rules.loss_is_failure));
        writer_open(writer, "requires", '[');
        STRV_FOREACH(label, job->requires) {
                writer_text(writer, NULL, *label);
        }
        writer_close(writer, ']');
}

static void write_signal(struct writer *writer, int signal) {
        if (signal > 0)
                writer_integer(writer, "signal", signal);
        else
                writer_null(writer, "signal");
}

static void write_exit_code(struct writer *writer, bool has_exit_code, int exit_code) {
        if (has_exit_code)
                writer_integer(writer, "exit_code", exit_code);
        else
                writer_null(writer, "exit_code");
}

static void write_attempts(struct writer *writer, const struct stored_job *job, bool may_read) {
        writer_open(writer, "attempts", '[');
        for (size_t i = 0; i < job->n_attempts; i++) {
                const struct stored_attempt *attempt = &job->attempts[i];

                writer_open(writer, NULL, '{');
                writer_unsigned(writer, "attempt", attempt->attempt);
                writer_unsigned(writer, "epoch", attempt->epoch);
                writer_text(writer, "node_id", attempt->node_id);
                writer_text(writer, "outcome", attempt_fate_to_text(attempt->fate));
                writer_time(writer, "started_at", attempt->started_at);
                writer_time(writer, "finished_at", attempt->finished_at);
                write_exit_code(writer, attempt->has_exit_code, attempt->exit_code);
                write_signal(writer, attempt->signal);
                if (may_read)
                        writer_text(writer, "error_message", attempt->error_message);
                writer_close(writer, '}');
        }
        writer_close(writer, ']');
}

/* What is free to read about every job. */
static void write_state(struct writer *writer, const struct stored_job *job) {
        write_signal(writer, job->signal);
        writer_unsigned(writer, "attempt", job->attempt);
        writer_unsigned(writer, "timeout_seconds", job->timeout_usec / USEC_PER_SEC);
        writer_text(writer, "created_by_node", job->created_by_node);
        writer_text(writer, "executor_node_id", job->executor_node_id);
        if (job->finished_at > 0 && job->started_at > 0)
                writer_unsigned(writer, "duration_ms", job->duration_usec / USEC_PER_MSEC);
        else
                writer_null(writer, "duration_ms");
        writer_boolean(writer, "cancel_requested", job->cancel_requested);
        writer_text(writer, "pending_reason", job->pending_reason);
        write_rules(writer, job);
        write_limits(writer, &job->limits);
        if (job_status_is_final(job->status))
                writer_boolean(writer, "oom_killed", job->oom_killed);
}

/* The keys of the original come first, in its order. */
void write_job(
        struct writer *writer, const char *key, const struct stored_job *job, bool may_read, bool in_list) {
        char id[UUID_TEXT_SIZE];
        struct output outputs[2];
        bool binary[2] = {};

        get_outputs(job, outputs);
        writer_open(writer, key, '{');
        writer_text(writer, "job_id", uuid_to_text(&job->id, id));
        writer_text(writer, "target_node_id", job->target_node_id);
        if (may_read)
                writer_text(writer, "command", job->command);
        writer_text(writer, "status", job_status_to_text(job->status));
        write_exit_code(writer, job->has_exit_code, job->exit_code);
        if (may_read) {
                write_outputs(writer, outputs, in_list, binary);
                writer_text(writer, "error_message", job->error_message);
        }
        writer_time(writer, "created_at", job->created_at);
        writer_time(writer, "started_at", job->started_at);
        writer_time(writer, "finished_at", job->finished_at);

        write_state(writer, job);
        if (!in_list)
                write_attempts(writer, job, may_read);
        if (may_read) {
                writer_text(writer, "cwd", job->cwd);
                write_env_names(writer, job->env);
                writer_unsigned(writer, "stdin_bytes", job->stdin_size);
                writer_text(writer, "submitter", job->submitter);
                write_output_facts(writer, outputs, in_list, binary);
        } else
                writer_boolean(writer, "redacted", true);
        writer_close(writer, '}');
}

void write_recent_job(struct writer *writer, const struct mesh_index_item *job) {
        char id[UUID_TEXT_SIZE];

        writer_open(writer, NULL, '{');
        writer_text(writer, "job_id", uuid_to_text(&job->id, id));
        writer_text(writer, "status", job_status_to_text(job->status));
        if (job->has_exit_code)
                writer_integer(writer, "exit_code", job->exit_code);
        else
                writer_null(writer, "exit_code");
        writer_time(writer, "created_at", job->created_at);
        writer_time(writer, "started_at", job->started_at);
        writer_time(writer, "finished_at", job->finished_at);
        writer_text(writer, "owner_node_id", job->owner_node_id);
        writer_text(writer, "executor_node_id", job->executor_node_id);
        writer_close(writer, '}');
}

static void
write_entries(struct writer *writer, const char *key, const struct metadata_entry *entries, size_t n) {
        writer_open(writer, key, '{');
        for (size_t i = 0; i < n; i++)
                writer_pair(writer, entries[i].key, entries[i].value);
        writer_close(writer, '}');
}

/* In percent. */
static void write_pressure(struct writer *writer, const struct node_pressure *pressure) {
        if (!pressure->known) {
                writer_null(writer, "pressure");
                return;
        }
        writer_open(writer, "pressure", '{');
        writer_tenths(writer, "cpu", pressure->cpu);
        writer_tenths(writer, "memory", pressure->memory);
        writer_tenths(writer, "io", pressure->io);
        writer_close(writer, '}');
}

static void write_limit_or_null(struct writer *writer, const char *key, uint64_t value) {
        if (value > 0)
                writer_unsigned(writer, key, value);
        else
                writer_null(writer, key);
}

static void
write_enforced(struct writer *writer, const struct limit_support *support, enum limit_kind kind) {
        enum limit_obstacle obstacle = support ? limit_support_obstacle(support, kind) : OBSTACLE_NONE;
        char text[OBSTACLE_TEXT_MAX];

        if (support)
                writer_boolean(writer, "enforced", obstacle == OBSTACLE_NONE);
        else
                writer_null(writer, "enforced");
        if (obstacle != OBSTACLE_NONE)
                writer_text(writer, "reason", limit_obstacle_describe(obstacle, kind, text));
}

static void write_node_limits(struct writer *writer, const struct ops_status *status) {
        writer_open(writer, "limits", '{');
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                writer_open(writer, limit_field_to_text(field), '{');
                write_enforced(writer, status->limit_support, limit_field_kind(field));
                write_limit_or_null(writer, "default", job_limits_get(&status->default_limits, field));
                write_limit_or_null(writer, "ceiling", job_limits_get(&status->limit_ceilings, field));
                writer_close(writer, '}');
        }
        writer_close(writer, '}');
}

static void write_drain(struct writer *writer, const struct mesh_drain *drain) {
        if (!drain) {
                writer_null(writer, "drain");
                return;
        }
        writer_open(writer, "drain", '{');
        writer_time(writer, "since", drain->since);
        if (drain->until == USEC_INFINITY)
                writer_null(writer, "until");
        else
                writer_time(writer, "until", drain->until);
        if (drain->uid == (uid_t) -1)
                writer_null(writer, "uid");
        else
                writer_unsigned(writer, "uid", drain->uid);
        writer_boolean(writer, "remembered", drain->saved);
        writer_close(writer, '}');
}

void write_status(struct writer *writer, const struct ops_status *status) {
        writer_open(writer, NULL, '{');
        writer_text(writer, "node_id", status->node_id);
        writer_text(writer, "address", status->address);
        writer_text(writer, "status", node_status_to_text(status->status));
        writer_unsigned(writer, "peer_count", status->peer_count);
        write_entries(writer, "metadata", status->metadata, status->n_metadata);
        writer_time(writer, "timestamp", now_usec(CLOCK_REALTIME));
        writer_text(writer, "status_reason", status->status_reason);
        write_drain(writer, status->drain);
        writer_text(writer, "version", status->version);
        writer_text(writer, "security", status->mesh_id ? "closed" : "open");
        writer_text(writer, "mesh_id", status->mesh_id);
        writer_unsigned(writer, "stranger_count", status->stranger_count);
        writer_unsigned(writer, "slots", status->slots);
        writer_unsigned(writer, "running", status->running);
        writer_unsigned(writer, "queued", status->queued);
        write_pressure(writer, &status->pressure);
        write_entries(writer, "labels", status->labels, status->n_labels);
        writer_boolean(writer, "executor_connected", status->executor_connected);
        write_node_limits(writer, status);
        writer_time(writer, "started_at", status->started_at);
        writer_close(writer, '}');
}

void write_peer(struct writer *writer, const struct ops_peer *peer) {
        const struct node_info *info = peer->info;

        writer_open(writer, NULL, '{');
        writer_text(writer, "node_id", info->node_id);
        writer_text(writer, "address", info->address);
        writer_text(writer, "status", node_status_to_text(info->status));
        writer_time(writer, "last_heartbeat", peer->last_heard_at);
        writer_text(writer, "version", info->version);
        write_entries(writer, "metadata", info->metadata, info->n_metadata);
        writer_unsigned(writer, "slots", info->slots);
        writer_unsigned(writer, "running", info->running);
        writer_unsigned(writer, "queued", info->queued);
        write_pressure(writer, &info->pressure);
        write_entries(writer, "labels", info->labels, info->n_labels);
        writer_boolean(writer, "verified", peer->verified);
        writer_boolean(writer, "trusted", peer->trusted);
        writer_close(writer, '}');
}
