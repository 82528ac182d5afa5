/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* SubmitJob() and SubmitJobs(): answered when all jobs are durable. */

#include "api/dbus/submission.h"

static int append_job(sd_bus_message *reply, const struct uuid *id, const char *format) {
        char text[UUID_TEXT_SIZE], path[JOB_PATH_SIZE];

        return sd_bus_message_append(reply, format, uuid_to_text(id, text), job_path(id, path));
}

static int append_jobs(sd_bus_message *reply, const struct ops_submitted *answer) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(so)");
        for (size_t i = 0; r >= 0 && i < answer->n_ids; i++)
                r = append_job(reply, &answer->ids[i], "(so)");
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void on_submitted(void *userdata, const struct ops_submitted *answer) {
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
        r = request->submission->is_list ? append_jobs(reply, answer)
                                         : append_job(reply, &answer->ids[0], "so");
        if (r < 0)
                bus_request_fail_errno(request, r);
        else
                bus_request_reply(request, reply);
}

static void run_submit(struct bus_request *request) {
        const struct submission *submission = request->submission;
        int r;

        r = ops_submit(
                request->dbus->ops, &request->caller, submission->jobs, submission->n_jobs,
                submission->idempotency_key, on_submitted, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

static int submit(sd_bus_message *message, struct dbus *dbus, bool is_list) {
        struct bus_request *request = bus_request_new(dbus, message);
        int r;

        if (!request)
                return 1;
        r = submission_read(message, is_list, &request->submission, &request->fault);
        if (r < 0 && request->fault.name[0] == '\0') {
                bus_request_fail_errno(request, r);
                return 1;
        }
        return bus_request_begin(request, ACCESS_SUBMIT, POLKIT_SUBMIT, run_submit);
}

int manager_submit_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return submit(message, userdata, /* is_list= */ false);
}

int manager_submit_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return submit(message, userdata, /* is_list= */ true);
}
