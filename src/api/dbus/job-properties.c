/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The properties of a job: the vtable is the one list of them. Its getters are given a member of the stored
 * job, which has been read before; sd-bus itself never calls them, since Get() and GetAll() of a job wait
 * for the store. */

#include <stdio.h>

#include "api/dbus/internal.h"

/* What only those may see who may read the job. */
static const char *const private_properties[] = {
        "Command", "Cwd",    "EnvNames",         "StdinBytes",       "Submitter",       "ErrorMessage",
        "Stdout",  "Stderr", "StdoutTotalBytes", "StderrTotalBytes", "StdoutTruncated", "StderrTruncated",
};

char *job_path(const struct uuid *id, char buffer[static JOB_PATH_SIZE]) {
        int used = snprintf(buffer, JOB_PATH_SIZE, "%s/", JOB_PATH_PREFIX);

        for (size_t i = 0; i < sizeof(id->bytes); i++)
                (void) snprintf(buffer + used + 2 * i, 3, "%02x", id->bytes[i]);
        return buffer;
}

/* The digits of a UUID without its dashes, in lower case: one path for each job. */
int job_path_to_id(const char *path, struct uuid *ret) {
        static const char prefix[] = JOB_PATH_PREFIX "/";
        char again[JOB_PATH_SIZE];
        struct uuid id = UUID_NULL;

        if (strncmp(path, prefix, strlen(prefix)) != 0 || strlen(path) != JOB_PATH_SIZE - 1)
                return -EINVAL;
        path += strlen(prefix);
        for (size_t i = 0; i < sizeof(id.bytes); i++) {
                unsigned byte;

                if (sscanf(path + 2 * i, "%2x", &byte) != 1)
                        return -EINVAL;
                id.bytes[i] = (uint8_t) byte;
        }
        if (!streq(job_path(&id, again) + strlen(prefix), path))
                return -EINVAL;
        *ret = id;
        return 0;
}

#define DEFINE_GETTER(name, type, signature, expression)                                    \
        static int get_##name(                                                              \
                sd_bus *bus, const char *path, const char *interface, const char *property, \
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {               \
                const type *value = userdata;                                               \
                                                                                            \
                return sd_bus_message_append(reply, signature, (expression));               \
        }

DEFINE_GETTER(boolean, bool, "b", (int) *value)
DEFINE_GETTER(uint32, uint32_t, "u", *value)
DEFINE_GETTER(uint64, uint64_t, "t", *value)
DEFINE_GETTER(int32, int32_t, "i", *value)
DEFINE_GETTER(node_loss, bool, "s", job_loss_to_text(*value))
DEFINE_GETTER(signal, int, "i", *value)
DEFINE_GETTER(status, enum job_status, "s", job_status_to_text(*value))
DEFINE_GETTER(exit_code, struct stored_job, "i", value->has_exit_code ? value->exit_code : -1)
DEFINE_GETTER(stdin_bytes, size_t, "t", (uint64_t) *value)

static int
get_id(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
       void *userdata, sd_bus_error *error) {
        char text[UUID_TEXT_SIZE];

        return sd_bus_message_append(reply, "s", uuid_to_text(userdata, text));
}

static int get_text(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        const char *text = *(char *const *) userdata;

        return bus_append_text(reply, text ? text : "");
}

static int get_env_names(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        char name[ENV_NAME_MAX + 1];
        int r;

        r = sd_bus_message_open_container(reply, 'a', "s");
        for (char *const *env = *(char *const *const *) userdata; r >= 0 && env && *env; env++) {
                (void) snprintf(name, sizeof(name), "%.*s", (int) strcspn(*env, "="), *env);
                r = sd_bus_message_append(reply, "s", name);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_requires(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "s");
        for (char *const *label = *(char *const *const *) userdata; r >= 0 && label && *label; label++)
                r = sd_bus_message_append(reply, "s", *label);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_output(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        const struct stored_job *job = userdata;
        bool is_stdout = streq(property, "Stdout");
        size_t size = is_stdout ? job->stdout_size : job->stderr_size;
        const char *data = is_stdout ? job->stdout_data : job->stderr_data;

        return sd_bus_message_append_array(reply, 'y', data, MIN(data ? size : 0, (size_t) BUS_OUTPUT_MAX));
}

static int append_attempt(sd_bus_message *reply, const struct stored_attempt *attempt, bool may_read) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(
                        reply, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "Attempt", "u", attempt->attempt, "Epoch",
                        "t", attempt->epoch, "NodeId", "s", attempt->node_id, "Outcome", "s",
                        attempt_fate_to_text(attempt->fate), "StartedAt", "t", attempt->started_at,
                        "FinishedAt", "t", attempt->finished_at, "ExitCode", "i",
                        attempt->has_exit_code ? attempt->exit_code : -1, "Signal", "i", attempt->signal);
        if (r >= 0 && may_read)
                r = sd_bus_message_append(
                        reply, "{sv}", "ErrorMessage", "s",
                        attempt->error_message ? attempt->error_message : "");
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_attempts(sd_bus_message *reply, const struct stored_job *job, bool may_read) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < job->n_attempts; i++)
                r = append_attempt(reply, &job->attempts[i], may_read);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_attempts(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        return append_attempts(reply, userdata, /* may_read= */ false);
}

#define MEMBER(name) offsetof(struct stored_job, name)

const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "s", get_id, MEMBER(id), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Status", "s", get_status, MEMBER(status), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ExitCode", "i", get_exit_code, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "Signal", "i", get_signal, MEMBER(signal), SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("CreatedAt", "t", get_uint64, MEMBER(created_at), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "StartedAt", "t", get_uint64, MEMBER(started_at), SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "FinishedAt", "t", get_uint64, MEMBER(finished_at),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "DurationUSec", "t", get_uint64, MEMBER(duration_usec),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "Attempt", "u", get_uint32, MEMBER(attempt), SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Attempts", "aa{sv}", get_attempts, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("TimeoutUSec", "t", get_uint64, MEMBER(timeout_usec), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("TargetNodeId", "s", get_text, MEMBER(target_node_id), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "CreatedByNode", "s", get_text, MEMBER(created_by_node), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "ExecutorNodeId", "s", get_text, MEMBER(executor_node_id),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("CancelRequested", "b", get_boolean, MEMBER(cancel_requested), 0),
        SD_BUS_PROPERTY("PendingReason", "s", get_text, MEMBER(pending_reason), 0),
        SD_BUS_PROPERTY("Priority", "i", get_int32, MEMBER(rules.priority), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Retries", "u", get_uint32, MEMBER(rules.retries), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "RetriesUsed", "u", get_uint32, MEMBER(retries_used),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "OnNodeLoss", "s", get_node_loss, MEMBER(rules.loss_is_failure),
                SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Requires", "as", get_requires, MEMBER(requires), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "MemoryMax", "t", get_uint64, MEMBER(limits.memory_max), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "CpuWeight", "u", get_uint32, MEMBER(limits.cpu_weight), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("CpuQuota", "u", get_uint32, MEMBER(limits.cpu_quota), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("TasksMax", "u", get_uint32, MEMBER(limits.tasks_max), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "BestEffort", "b", get_boolean, MEMBER(limits.best_effort), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "OomKilled", "b", get_boolean, MEMBER(oom_killed),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Command", "s", get_text, MEMBER(command), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Cwd", "s", get_text, MEMBER(cwd), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("EnvNames", "as", get_env_names, MEMBER(env), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "StdinBytes", "t", get_stdin_bytes, MEMBER(stdin_size), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Submitter", "s", get_text, MEMBER(submitter), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "ErrorMessage", "s", get_text, MEMBER(error_message),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Stdout", "ay", get_output, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Stderr", "ay", get_output, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "StdoutTotalBytes", "t", get_uint64, MEMBER(stdout_total),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "StderrTotalBytes", "t", get_uint64, MEMBER(stderr_total),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "StdoutTruncated", "b", get_boolean, MEMBER(stdout_truncated),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY(
                "StderrTruncated", "b", get_boolean, MEMBER(stderr_truncated),
                SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_METHOD_WITH_ARGS(
                "Cancel", SD_BUS_NO_ARGS, SD_BUS_RESULT("b", ended), job_call_cancel,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ReadOutput", SD_BUS_ARGS("s", stream, "t", offset), SD_BUS_RESULT("ay", data, "b", more),
                job_call_read_output, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static bool is_private(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(private_properties); i++)
                if (streq(private_properties[i], name))
                        return true;
        return false;
}

static int append_value(
        sd_bus_message *reply, const struct stored_job *job, bool may_read, const sd_bus_vtable *entry) {
        int r;

        r = sd_bus_message_open_container(reply, 'v', entry->x.property.signature);
        if (r < 0)
                return r;
        /* Of these a part is private. */
        if (entry->x.property.get == get_attempts)
                r = append_attempts(reply, job, may_read);
        else
                r = entry->x.property.get(
                        NULL, NULL, JOB_INTERFACE, entry->x.property.member, reply,
                        (char *) job + entry->x.property.offset, NULL);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int job_append_all(sd_bus_message *reply, const struct stored_job *job, bool may_read, bool in_list) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        for (const sd_bus_vtable *entry = job_vtable; r >= 0 && entry->type != _SD_BUS_VTABLE_END; entry++) {
                if (entry->type != _SD_BUS_VTABLE_PROPERTY ||
                    (!may_read && is_private(entry->x.property.member)) ||
                    (in_list && entry->x.property.get == get_attempts))
                        continue;
                r = sd_bus_message_open_container(reply, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(reply, "s", entry->x.property.member);
                if (r >= 0)
                        r = append_value(reply, job, may_read, entry);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int job_append_one(sd_bus_message *reply, const struct stored_job *job, bool may_read, const char *name) {
        for (const sd_bus_vtable *entry = job_vtable; entry->type != _SD_BUS_VTABLE_END; entry++) {
                if (entry->type != _SD_BUS_VTABLE_PROPERTY || !streq(entry->x.property.member, name))
                        continue;
                return !may_read && is_private(name) ? -EACCES : append_value(reply, job, may_read, entry);
        }
        return -ENOENT;
}

size_t job_size(const struct stored_job *job) {
        size_t size = 2048; /* names and fixed parts */

        size += job->command ? strlen(job->command) : 0;
        size += job->cwd ? strlen(job->cwd) : 0;
        size += job->error_message ? strlen(job->error_message) : 0;
        size += MIN(job->stdout_size, (size_t) BUS_OUTPUT_MAX) +
                MIN(job->stderr_size, (size_t) BUS_OUTPUT_MAX);
        for (char *const *env = job->env; env && *env; env++)
                size += strcspn(*env, "=") + 8;
        for (char *const *label = job->requires; label && *label; label++)
                size += strlen(*label) + 8;
        return size;
}
