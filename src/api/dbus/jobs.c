/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* GetJob(), ListJobs() and CancelJob() of the manager. */

#include <stdio.h>

#include "api/dbus/submission.h"

/* One that is not of the right form names no job. */
static void read_id(sd_bus_message *message, struct bus_request *request) {
        const char *text;

        if (sd_bus_message_read(message, "s", &text) < 0 || uuid_from_text(text, &request->id) < 0)
                bus_fault_set(
                        &request->fault, ERROR_PREFIX "NotFound",
                        "this is not the id of a job, such as 550e8400-e29b-41d4-a716-446655440000");
}

static void on_job(void *userdata, const struct ops_job *answer) {
        struct bus_request *request = userdata;
        char path[JOB_PATH_SIZE];

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                bus_request_fail_problem(request, &answer->problem);
                return;
        }
        (void) sd_bus_reply_method_return(request->message, "o", job_path(&request->id, path));
        bus_request_free(request);
}

static void run_get(struct bus_request *request) {
        int r;

        r = ops_get_job(
                request->dbus->ops, &request->caller, &request->id, 0, on_job, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

int manager_get_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        if (!request)
                return 1;
        read_id(message, request);
        return bus_request_begin(request, ACCESS_READ_STATE, NULL, run_get);
}

int manager_cancel_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        if (!request)
                return 1;
        read_id(message, request);
        return bus_request_begin(request, ACCESS_READ_STATE, NULL, cancel_begin);
}

static int wrong_parameter(struct bus_fault *ret_fault, const char *text) {
        bus_fault_set(ret_fault, ERROR_PREFIX "BadParameter", "%s", text);
        return -EINVAL;
}

/* "RUNNING,JOB_FAILED" to a mask of states. */
static int parse_statuses(const char *text, uint32_t *ret_mask) {
        char *saved = NULL, words[128];
        uint32_t mask = 0;

        if (strlen(text) >= sizeof(words))
                return -EINVAL;
        memcpy(words, text, strlen(text) + 1);
        for (char *word = strtok_r(words, ",", &saved); word; word = strtok_r(NULL, ",", &saved)) {
                int status = job_status_from_text(word);

                if (status <= JOB_UNKNOWN)
                        return -EINVAL;
                mask |= 1u << status;
        }
        if (mask == 0)
                return -EINVAL;
        *ret_mask = mask;
        return 0;
}

static int read_status(
        sd_bus_message *message, const char *key, const char *signature, struct store_list *list,
        struct bus_fault *ret_fault) {
        const char *text;
        size_t size;
        int r;

        r = option_read_text(message, key, signature, &text, &size, ret_fault);
        if (r < 0)
                return r;
        if (parse_statuses(text, &list->status_mask) < 0)
                return wrong_parameter(
                        ret_fault, "status must be one or several of PENDING, RUNNING, COMPLETED, FAILED, "
                                   "TIMEOUT and CANCELLED, with commas between");
        return 0;
}

static int read_scope(
        sd_bus_message *message, const char *key, const char *signature, enum ops_scope *ret,
        struct bus_fault *ret_fault) {
        const char *text;
        size_t size;
        int r;

        r = option_read_text(message, key, signature, &text, &size, ret_fault);
        if (r < 0)
                return r;
        return ops_scope_from_text(text, ret) < 0 ? wrong_parameter(ret_fault, "scope must be node or mesh")
                                                  : 0;
}

static int read_list_option(
        sd_bus_message *message, const char *key, const char *signature, void *userdata,
        struct bus_fault *ret_fault) {
        struct bus_request *request = userdata;
        struct store_list *list = &request->list;
        int64_t number;
        char text[64];
        int r;

        if (streq(key, "status"))
                return read_status(message, key, signature, list, ret_fault);
        if (streq(key, "scope"))
                return read_scope(message, key, signature, &request->scope, ret_fault);

        if (streq(key, "cursor")) {
                if (!streq(signature, "t"))
                        return wrong_parameter(
                                ret_fault, "cursor must be a next_cursor from an earlier answer");
                return sd_bus_message_read_basic(message, 't', &list->before);
        }

        r = option_read_integer(message, key, signature, "a whole number", &number, ret_fault);
        if (r < 0)
                return r;
        if (number < 1 || number > OPS_LIST_MAX) {
                (void) snprintf(text, sizeof(text), "limit must be a number from 1 to %u", OPS_LIST_MAX);
                return wrong_parameter(ret_fault, text);
        }
        list->limit = (unsigned) number;
        return 0;
}

static int append_recent_job(sd_bus_message *reply, const struct mesh_index_item *job) {
        char path[JOB_PATH_SIZE], id[UUID_TEXT_SIZE];

        return sd_bus_message_append(
                reply, "(oa{sv})", job_path(&job->id, path), 8, "Id", "s", uuid_to_text(&job->id, id),
                "Status", "s", job_status_to_text(job->status), "ExitCode", "i",
                job->has_exit_code ? job->exit_code : -1, "CreatedAt", "t", job->created_at, "StartedAt",
                "t", job->started_at, "FinishedAt", "t", job->finished_at, "OwnerNodeId", "s",
                job->owner_node_id, "ExecutorNodeId", "s",
                job->executor_node_id ? job->executor_node_id : "");
}

/* A message of a bus has a limit that is not ours to know: a page that would become too large ends before,
 * and the next one begins there. */
static int append_page(struct bus_request *request, sd_bus_message *reply, const struct ops_list *answer) {
        uint64_t next = answer->more ? answer->next_before : 0;
        char path[JOB_PATH_SIZE];
        size_t size = 0;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(oa{sv})");
        for (size_t i = 0; r >= 0 && i < answer->n_jobs; i++) {
                const struct stored_job *job = &answer->jobs[i];

                size += job_size(job);
                if (i > 0 && size > BUS_LIST_SIZE_MAX) {
                        next = answer->jobs[i - 1].sequence;
                        break;
                }
                r = sd_bus_message_open_container(reply, 'r', "oa{sv}");
                if (r >= 0)
                        r = sd_bus_message_append(reply, "o", job_path(&job->id, path));
                if (r >= 0)
                        r = job_append_all(
                                reply, job, ops_may_read(request->dbus->ops, &request->caller, job),
                                /* in_list= */ true);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }
        /* All of a page are far below that limit. */
        for (size_t i = 0; r >= 0 && i < answer->n_items; i++)
                r = append_recent_job(reply, &answer->items[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_append(reply, "t", next);
}

static void on_list(void *userdata, const struct ops_list *answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct bus_request *request = userdata;
        int r;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                bus_request_fail_problem(request, &answer->problem);
                return;
        }
        if (bus_request_new_reply(request, &reply) < 0)
                return;
        r = append_page(request, reply, answer);
        if (r < 0)
                bus_request_fail_errno(request, r);
        else
                bus_request_reply(request, reply);
}

static void run_list(struct bus_request *request) {
        int r;

        r = ops_list_jobs(
                request->dbus->ops, &request->caller, request->scope, &request->list, on_list, request,
                &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

int manager_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char *const keys[] = { "scope", "limit", "status", "cursor", NULL };
        struct bus_request *request = bus_request_new(userdata, message);
        int r;

        if (!request)
                return 1;
        request->list = (struct store_list){ .limit = OPS_LIST_DEFAULT, .before = UINT64_MAX };
        r = options_read(message, read_list_option, keys, "ListJobs", request, &request->fault);
        if (r < 0 && request->fault.name[0] == '\0') {
                bus_request_fail_errno(request, r);
                return 1;
        }
        return bus_request_begin(request, ACCESS_READ_STATE, NULL, run_list);
}
