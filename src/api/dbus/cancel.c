/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The end of a job on request: of the manager's CancelJob() and of a job's Cancel(). Where the rule does not
 * permit it, polkit is asked, and whose job it is decides for which action. */

#include "api/dbus/internal.h"

static void on_cancelled(void *userdata, const struct ops_job *answer) {
        struct bus_request *request = userdata;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE) {
                bus_request_fail_problem(request, &answer->problem);
                return;
        }
        (void) sd_bus_reply_method_return(request->message, "b", !answer->accepted);
        bus_request_free(request);
}

static void run_cancel(struct bus_request *request) {
        int r;

        r = ops_cancel_job(
                request->dbus->ops, &request->caller, &request->id, on_cancelled, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

/* One that is not there is nobody's; that it is not is told only to those who may cancel any. */
static void on_owner(void *userdata, const struct ops_job *answer) {
        struct bus_request *request = userdata;
        bool own = answer->problem.code == PROBLEM_NONE && answer->job->submitter_uid == request->caller.uid;

        request->call = NULL;
        if (answer->problem.code != PROBLEM_NONE && answer->problem.code != PROBLEM_NOT_FOUND) {
                bus_request_fail_problem(request, &answer->problem);
                return;
        }
        request->run = run_cancel;
        bus_request_ask(request, own ? POLKIT_CANCEL_OWN : POLKIT_CANCEL_ANY, ACCESS_SUBMIT);
}

void cancel_begin(struct bus_request *request) {
        const char *reason;
        int r;

        if (ops_access(request->dbus->ops, &request->caller, &reason) & ACCESS_SUBMIT) {
                run_cancel(request);
                return;
        }
        r = ops_get_job(
                request->dbus->ops, &request->caller, &request->id, 0, on_owner, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}
