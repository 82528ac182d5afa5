/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.freedesktop.LogControl1, as "systemctl service-log-level" uses it. Reading is open; setting is for
 * root and our own user, and is taken before sd-bus sees it, since who asks is known later only. */

#include "api/dbus/internal.h"

static const char *level_to_text(int level) {
        static const char *const texts[] = { "emerg",   "alert",  "crit", "err",
                                             "warning", "notice", "info", "debug" };

        return texts[CLAMP(level, LOG_EMERG, LOG_DEBUG)];
}

static const char *current_target(void) {
        return log_is_journal() ? "journal" : "console";
}

static int get_property(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        if (streq(property, "LogLevel"))
                return sd_bus_message_append(reply, "s", level_to_text(log_max_level()));
        if (streq(property, "LogTarget"))
                return sd_bus_message_append(reply, "s", current_target());
        return sd_bus_message_append(reply, "s", "worker-mesh");
}

/* Set() is answered by on_message() before sd-bus comes to this. */
static int set_property(
        sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *value,
        void *userdata, sd_bus_error *error) {
        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "this property is not set this way");
}

static const sd_bus_vtable log_control_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_property, set_property, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_WRITABLE_PROPERTY(
                "LogTarget", "s", get_property, set_property, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

static void fail(struct bus_request *request, const char *name, const char *text) {
        bus_fault_set(&request->fault, name, "%s", text);
        bus_request_fail(request, &request->fault);
}

static void run_set(struct bus_request *request) {
        if (request->caller.uid != 0 && request->caller.uid != getuid()) {
                fail(request, SD_BUS_ERROR_ACCESS_DENIED,
                     "only root and the user that runs the node may change how it logs");
                return;
        }
        if (request->level >= 0 && request->level != log_max_level()) {
                log_set_max_level(request->level);
                log_info("Log level is %s now.", level_to_text(request->level));
        }
        (void) sd_bus_reply_method_return(request->message, NULL);
        bus_request_free(request);
}

/* What a value means; the target is where the node was started, and can only be said again. */
static void read_value(struct bus_request *request, const char *property, const char *value) {
        request->level = -1;
        if (streq(property, "LogLevel")) {
                request->level = log_level_from_text(value);
                if (request->level < 0)
                        bus_fault_set(
                                &request->fault, SD_BUS_ERROR_INVALID_ARGS,
                                "LogLevel must be one of emerg, alert, crit, err, warning, notice, info, "
                                "debug");
        } else if (streq(property, "LogTarget")) {
                if (!streq(value, current_target()) && !streq(value, "auto"))
                        bus_fault_set(
                                &request->fault, SD_BUS_ERROR_NOT_SUPPORTED,
                                "the log goes to the %s, where the node was started; that cannot be changed "
                                "while it runs",
                                current_target());
        } else if (streq(property, "SyslogIdentifier"))
                bus_fault_set(
                        &request->fault, SD_BUS_ERROR_PROPERTY_READ_ONLY, "SyslogIdentifier cannot be set");
        else
                bus_fault_set(
                        &request->fault, SD_BUS_ERROR_UNKNOWN_PROPERTY, "there is no such property to set");
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *interface, *property, *value;
        struct bus_request *request;

        if (!sd_bus_message_is_method_call(message, PROPERTIES_INTERFACE, "Set"))
                return 0;
        request = bus_request_new(userdata, message);
        if (!request)
                return 1;
        if (sd_bus_message_read(message, "ssv", &interface, &property, "s", &value) < 0 ||
            (*interface != '\0' && !streq(interface, LOG_CONTROL_INTERFACE)))
                bus_fault_set(
                        &request->fault, SD_BUS_ERROR_INVALID_ARGS,
                        "give " LOG_CONTROL_INTERFACE ", a property, and a string");
        else
                read_value(request, property, value);
        return bus_request_begin(request, ACCESS_READ_STATE, NULL, run_set);
}

int log_control_register(struct dbus *dbus) {
        int r;

        r = sd_bus_add_object(dbus->bus, NULL, LOG_CONTROL_PATH, on_message, dbus);
        if (r < 0)
                return r;
        return sd_bus_add_object_vtable(
                dbus->bus, NULL, LOG_CONTROL_PATH, LOG_CONTROL_INTERFACE, log_control_vtable, dbus);
}
