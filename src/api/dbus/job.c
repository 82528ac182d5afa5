/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Job objects. There is one for each job in the history, far too many to list: a fallback answers for all of
 * them. Its properties come from the store, so that Get() and GetAll() are answered later; this is why they
 * are taken before sd-bus, whose getters cannot wait, sees them. */

#include "api/dbus/internal.h"

static void fail_unknown_property(struct bus_request *request) {
        struct bus_fault fault;

        bus_fault_set(
                &fault, SD_BUS_ERROR_UNKNOWN_PROPERTY, "a job has no property '%s'", request->property);
        bus_request_fail(request, &fault);
}

static void fail_private_property(struct bus_request *request) {
        struct bus_fault fault;

        bus_fault_set(
                &fault, SD_BUS_ERROR_ACCESS_DENIED,
                "only who submitted the job, root, the user that runs the node, and members of group "
                "worker-mesh may see its %s",
                request->property);
        bus_request_fail(request, &fault);
}

static void on_properties(void *userdata, const struct ops_job *answer) {
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
        r = request->property ? job_append_one(reply, answer->job, answer->may_read, request->property)
                              : job_append_all(reply, answer->job, answer->may_read, /* in_list= */ false);
        if (r == -ENOENT)
                fail_unknown_property(request);
        else if (r == -EACCES)
                fail_private_property(request);
        else if (r < 0)
                bus_request_fail_errno(request, r);
        else
                bus_request_reply(request, reply);
}

static void run_properties(struct bus_request *request) {
        int r;

        r = ops_get_job(
                request->dbus->ops, &request->caller, &request->id, 0, on_properties, request,
                &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

/* The id is the object's; one that is not of the right form is no object. */
static struct bus_request *request_for_job(struct dbus *dbus, sd_bus_message *message) {
        struct bus_request *request;
        struct uuid id;

        if (job_path_to_id(sd_bus_message_get_path(message), &id) < 0) {
                (void) sd_bus_reply_method_errorf(
                        message, SD_BUS_ERROR_UNKNOWN_OBJECT,
                        "this is not the object of a job: its name is the id of the job without dashes");
                return NULL;
        }
        request = bus_request_new(dbus, message);
        if (request)
                request->id = id;
        return request;
}

static int get_properties(struct dbus *dbus, sd_bus_message *message, bool all) {
        struct bus_request *request;
        const char *interface = "";

        request = request_for_job(dbus, message);
        if (!request)
                return 1;
        if (sd_bus_message_read(message, "s", &interface) < 0 ||
            (!all && sd_bus_message_read(message, "s", &request->property) < 0))
                bus_fault_set(
                        &request->fault, SD_BUS_ERROR_INVALID_ARGS,
                        all ? "GetAll takes the name of an interface"
                            : "Get takes the names of an interface and of a property");
        else if (*interface != '\0' && !streq(interface, JOB_INTERFACE))
                bus_fault_set(
                        &request->fault, SD_BUS_ERROR_UNKNOWN_INTERFACE,
                        "a job has no properties but those of " JOB_INTERFACE);
        return bus_request_begin(request, ACCESS_READ_STATE, NULL, run_properties);
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;

        if (sd_bus_message_is_method_call(message, PROPERTIES_INTERFACE, "GetAll"))
                return get_properties(dbus, message, /* all= */ true);
        if (sd_bus_message_is_method_call(message, PROPERTIES_INTERFACE, "Get"))
                return get_properties(dbus, message, /* all= */ false);
        return 0;
}

int job_call_cancel(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = request_for_job(userdata, message);

        return request ? bus_request_begin(request, ACCESS_READ_STATE, NULL, cancel_begin) : 1;
}

/* The first piece is the answer: the caller asks again from where it ends. */
static void on_output(void *userdata, const struct ops_output *piece) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct bus_request *request = userdata;
        int r;

        if (piece->ended || piece->problem.code != PROBLEM_NONE)
                request->call = NULL;
        if (piece->problem.code != PROBLEM_NONE) {
                bus_request_fail_problem(request, &piece->problem);
                return;
        }
        if (bus_request_new_reply(request, &reply) < 0)
                return;
        r = sd_bus_message_append_array(reply, 'y', piece->data, piece->size);
        if (r >= 0)
                r = sd_bus_message_append(reply, "b", !piece->ended);
        if (r < 0)
                bus_request_fail_errno(request, r);
        else
                bus_request_reply(request, reply);
}

static void run_read_output(struct bus_request *request) {
        int r;

        r = ops_read_output(
                request->dbus->ops, &request->caller, &request->id, request->stream, request->offset,
                /* follow= */ false, on_output, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

int job_call_read_output(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = request_for_job(userdata, message);
        const char *stream = "";

        if (!request)
                return 1;
        (void) sd_bus_message_read(message, "st", &stream, &request->offset);
        request->stream = streq(stream, "stderr") ? 2 : 1;
        if (!streq(stream, "stdout") && !streq(stream, "stderr"))
                bus_fault_set(
                        &request->fault, ERROR_PREFIX "BadParameter", "stream must be stdout or stderr");
        return bus_request_begin(request, ACCESS_READ_STATE, NULL, run_read_output);
}

/* Whether there is such a job only the store knows; the methods ask it. */
static int find_job(
        sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
        sd_bus_error *error) {
        struct uuid id;

        *ret_found = userdata;
        return job_path_to_id(path, &id) >= 0;
}

int jobs_register(struct dbus *dbus) {
        int r;

        r = sd_bus_add_fallback(dbus->bus, NULL, JOB_PATH_PREFIX, on_message, dbus);
        if (r < 0)
                return r;
        return sd_bus_add_fallback_vtable(
                dbus->bus, NULL, JOB_PATH_PREFIX, JOB_INTERFACE, job_vtable, find_job, dbus);
}
