/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The manager object: the node itself, and the way to jobs and peers. */

#include "api/dbus/submission.h"
#include "wire/job-limits.h"

static int get_text(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;
        const char *text = NULL;

        ops_get_status(dbus->ops, &status);
        if (streq(property, "NodeId"))
                text = status.node_id;
        else if (streq(property, "Version"))
                text = status.version;
        else if (streq(property, "Address"))
                text = status.address;
        else if (streq(property, "Security"))
                text = status.mesh_id ? "closed" : "open";
        else if (streq(property, "MeshId"))
                text = status.mesh_id;
        else if (streq(property, "Status"))
                text = node_status_to_text(status.status);
        else if (streq(property, "StatusReason"))
                text = status.status_reason;
        return bus_append_text(reply, text ? text : "");
}

static int get_count(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;
        unsigned number = 0;

        ops_get_status(dbus->ops, &status);
        if (streq(property, "Slots"))
                number = status.slots;
        else if (streq(property, "RunningJobs"))
                number = status.running;
        else if (streq(property, "QueuedJobs"))
                number = status.queued;
        else if (streq(property, "PeerCount"))
                number = status.peer_count;
        else if (streq(property, "StrangerCount"))
                number = status.stranger_count;
        return sd_bus_message_append(reply, "u", number);
}

static int get_executor_connected(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        return sd_bus_message_append(reply, "b", status.executor_connected);
}

static int get_started_at(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        return sd_bus_message_append(reply, "t", status.started_at);
}

static int get_metadata(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        return bus_append_metadata(reply, status.metadata, status.n_metadata);
}

static int get_labels(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        return bus_append_metadata(reply, status.labels, status.n_labels);
}

static int get_pressure(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        return bus_append_pressure(reply, &status.pressure);
}

static int append_limit(sd_bus_message *reply, const struct ops_status *status, enum limit_field field) {
        enum limit_kind kind = limit_field_kind(field);
        enum limit_obstacle obstacle = status->limit_support
                                               ? limit_support_obstacle(status->limit_support, kind)
                                               : OBSTACLE_UNKNOWN;
        char reason[OBSTACLE_TEXT_MAX] = "";

        if (status->limit_support && obstacle != OBSTACLE_NONE)
                (void) limit_obstacle_describe(obstacle, kind, reason);
        return sd_bus_message_append(
                reply, "{sa{sv}}", limit_field_to_text(field), 4, "enforced", "b", obstacle == OBSTACLE_NONE,
                "reason", "s", reason, "default", "t", job_limits_get(&status->default_limits, field),
                "ceiling", "t", job_limits_get(&status->limit_ceilings, field));
}

static int get_limits(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        struct ops_status status;
        int r;

        ops_get_status(dbus->ops, &status);
        r = sd_bus_message_open_container(reply, 'a', "{sa{sv}}");
        for (enum limit_field field = 0; r >= 0 && field < _LIMIT_FIELD_MAX; field++)
                r = append_limit(reply, &status, field);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void run_subscribe(struct bus_request *request) {
        int r;

        r = bus_subscribe(request->sender, &request->fault);
        if (r == -EUSERS)
                bus_request_fail(request, &request->fault);
        else if (r < 0)
                bus_request_fail_errno(request, r);
        else {
                (void) sd_bus_reply_method_return(request->message, NULL);
                bus_request_free(request);
        }
}

static int call_subscribe(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        return request ? bus_request_begin(request, ACCESS_READ_STATE, NULL, run_subscribe) : 1;
}

static void run_unsubscribe(struct bus_request *request) {
        struct bus_fault fault;

        if (bus_unsubscribe(request->sender)) {
                (void) sd_bus_reply_method_return(request->message, NULL);
                bus_request_free(request);
                return;
        }
        bus_fault_set(&fault, ERROR_PREFIX "NotSubscribed", "this client is not subscribed");
        bus_request_fail(request, &fault);
}

/* Empty where nobody asked for one. */
static int get_drain(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        const struct mesh_drain *drain;
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        drain = status.drain;
        if (!drain)
                return sd_bus_message_append(reply, "a{sv}", 0);
        return sd_bus_message_append(
                reply, "a{sv}", 4, "Since", "t", drain->since, "Until", "t", drain->until, "Uid", "u",
                (uint32_t) drain->uid, "Remembered", "b", drain->saved);
}

static void set_drain(struct bus_request *request, const struct ops_drain_request *drain) {
        int r;

        r = ops_set_drain(
                request->dbus->ops, &request->caller, drain, bus_request_done, request, &request->call);
        if (r < 0)
                bus_request_fail_errno(request, r);
}

static void run_drain(struct bus_request *request) {
        set_drain(request, &request->drain);
}

static void run_resume(struct bus_request *request) {
        set_drain(request, NULL);
}

static int read_drain_option(
        sd_bus_message *message, const char *key, const char *signature, void *userdata,
        struct bus_fault *ret_fault) {
        struct ops_drain_request *drain = userdata;

        drain->has_timeout = true;
        return option_read_integer(
                message, key, signature, "a whole number of seconds, such as 300", &drain->timeout_seconds,
                ret_fault);
}

static int call_drain_with_options(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char *const keys[] = { "timeout_seconds", NULL };
        struct bus_request *request = bus_request_new(userdata, message);
        int r;

        if (!request)
                return 1;
        r = options_read(message, read_drain_option, keys, "a drain", &request->drain, &request->fault);
        if (r < 0 && request->fault.name[0] == '\0') {
                bus_request_fail_errno(request, r);
                return 1;
        }
        return bus_request_begin(request, ACCESS_MANAGE, POLKIT_MANAGE_NODE, run_drain);
}

static int call_drain(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        return request ? bus_request_begin(request, ACCESS_MANAGE, POLKIT_MANAGE_NODE, run_drain) : 1;
}

static int call_resume(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        return request ? bus_request_begin(request, ACCESS_MANAGE, POLKIT_MANAGE_NODE, run_resume) : 1;
}

static int call_unsubscribe(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_request *request = bus_request_new(userdata, message);

        return request ? bus_request_begin(request, ACCESS_READ_STATE, NULL, run_unsubscribe) : 1;
}

/* Who may is found out by the methods themselves, which do not wait for it: UNPRIVILEGED keeps sd-bus from
 * asking the bus and waiting. */
static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("NodeId", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Version", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Address", "s", get_text, 0, 0),
        SD_BUS_PROPERTY("Security", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MeshId", "s", get_text, 0, 0),
        SD_BUS_PROPERTY("Metadata", "a{ss}", get_metadata, 0, 0),
        SD_BUS_PROPERTY("Labels", "a{ss}", get_labels, 0, 0),
        SD_BUS_PROPERTY("Pressure", "a{sd}", get_pressure, 0, 0),
        SD_BUS_PROPERTY("Limits", "a{sa{sv}}", get_limits, 0, 0),
        SD_BUS_PROPERTY("StartedAt", "t", get_started_at, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Status", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("StatusReason", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Slots", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("RunningJobs", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("QueuedJobs", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("PeerCount", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("StrangerCount", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY(
                "ExecutorConnected", "b", get_executor_connected, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Drained", "a{sv}", get_drain, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),

        SD_BUS_METHOD("Drain", NULL, NULL, call_drain, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "DrainWithOptions", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, call_drain_with_options,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Resume", NULL, NULL, call_resume, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "SubmitJob", SD_BUS_ARGS("s", command, "a{sv}", options),
                SD_BUS_RESULT("s", job_id, "o", job), manager_submit_job, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "SubmitJobs", SD_BUS_ARGS("a(sa{sv})", jobs, "a{sv}", options),
                SD_BUS_RESULT("a(so)", accepted), manager_submit_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "GetJob", SD_BUS_ARGS("s", job_id), SD_BUS_RESULT("o", job), manager_get_job,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ListJobs", SD_BUS_ARGS("a{sv}", options),
                SD_BUS_RESULT("a(oa{sv})", jobs, "t", next_cursor), manager_list_jobs,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "CancelJob", SD_BUS_ARGS("s", job_id), SD_BUS_RESULT("b", ended), manager_cancel_job,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "ListPeers", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(soss)", peers), manager_list_peers,
                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "Invite", SD_BUS_ARGS("t", expires_seconds), SD_BUS_RESULT("s", token, "t", expires_at),
                manager_invite, SD_BUS_VTABLE_UNPRIVILEGED | SD_BUS_VTABLE_SENSITIVE),
        SD_BUS_METHOD_WITH_ARGS(
                "Join", SD_BUS_ARGS("s", token, "s", peer), SD_BUS_NO_RESULT, manager_join,
                SD_BUS_VTABLE_UNPRIVILEGED | SD_BUS_VTABLE_SENSITIVE),
        SD_BUS_METHOD("Leave", NULL, NULL, manager_leave, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Subscribe", NULL, NULL, call_subscribe, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Unsubscribe", NULL, NULL, call_unsubscribe, SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_SIGNAL_WITH_ARGS("JobNew", SD_BUS_ARGS("s", job_id, "o", job), 0),
        SD_BUS_SIGNAL_WITH_ARGS("JobRemoved", SD_BUS_ARGS("s", job_id, "o", job, "s", result), 0),
        SD_BUS_SIGNAL_WITH_ARGS("JobSignalsLost", SD_BUS_ARGS("t", count), 0),
        SD_BUS_SIGNAL_WITH_ARGS("PeerAdded", SD_BUS_ARGS("s", node_id, "o", peer), 0),
        SD_BUS_SIGNAL_WITH_ARGS("PeerRemoved", SD_BUS_ARGS("s", node_id, "o", peer), 0),
        SD_BUS_VTABLE_END,
};

int manager_register(struct dbus *dbus) {
        return sd_bus_add_object_vtable(
                dbus->bus, NULL, MANAGER_PATH, MANAGER_INTERFACE, manager_vtable, dbus);
}
