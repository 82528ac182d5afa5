/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Our names on the bus: one of this node's own, and the well-known one, which waits in a queue while another
 * node of this host has it. */

#include <stdio.h>

#include "api/dbus/internal.h"

/* What the bus answers to RequestName, of the D-Bus specification. */
enum {
        REPLY_IN_QUEUE = 2,
        REPLY_EXISTS = 3,
};

/* Letters, digits and '_' are allowed in the last part of a name; "node-" is not repeated. */
int bus_name_from_node_id(const char *node_id, char ret[static BUS_NAME_MAX + 1]) {
        static const char prefix[] = "node-";
        const char *rest =
                strncmp(node_id, prefix, strlen(prefix)) == 0 ? node_id + strlen(prefix) : node_id;

        (void) snprintf(ret, BUS_NAME_MAX + 1, "%s%s", BUS_NODE_NAME_PREFIX, rest);
        for (char *position = ret + strlen(BUS_NODE_NAME_PREFIX); *position != '\0'; position++)
                if (!((*position >= 'a' && *position <= 'z') || (*position >= 'A' && *position <= 'Z') ||
                      (*position >= '0' && *position <= '9')))
                        *position = '_';
        return 0;
}

/* The bus tells us of every name that becomes ours, without being asked to. */
static int on_name_acquired(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        const char *name;

        if (sd_bus_message_read(message, "s", &name) < 0 || *name == ':')
                return 0;
        if (streq(name, BUS_NAME))
                log_info("Reachable on the %s bus as %s.", dbus->bus_kind, name);
        else
                log_debug("Reachable on the %s bus as %s.", dbus->bus_kind, name);
        return 0;
}

static int on_name_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        const sd_bus_error *refusal = sd_bus_message_get_error(reply);
        uint32_t outcome;

        if (refusal && dbus->connected)
                log_warning(
                        "The %s bus does not let this node have its name, ignoring: %s", dbus->bus_kind,
                        refusal->message ? refusal->message : refusal->name);
        if (refusal || sd_bus_message_read(reply, "u", &outcome) < 0)
                return 0;
        if (outcome == REPLY_EXISTS)
                log_warning(
                        "Somebody else has this node's name %s on the %s bus, ignoring.", dbus->node_name,
                        dbus->bus_kind);
        else if (outcome == REPLY_IN_QUEUE)
                log_info(
                        "Another node has the name " BUS_NAME " on the %s bus; this one is %s.",
                        dbus->bus_kind, dbus->node_name);
        return 0;
}

int bus_names_request(struct dbus *dbus) {
        int r;

        r = sd_bus_match_signal_async(
                dbus->bus, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                "NameAcquired", on_name_acquired, NULL, dbus);
        if (r < 0)
                return r;
        r = sd_bus_request_name_async(dbus->bus, NULL, dbus->node_name, 0, on_name_answer, dbus);
        if (r < 0)
                return r;
        return sd_bus_request_name_async(dbus->bus, NULL, BUS_NAME, SD_BUS_NAME_QUEUE, on_name_answer, dbus);
}
