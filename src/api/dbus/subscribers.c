/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who wants to hear of jobs. A client that leaves the bus is forgotten: its name is watched, and looked up
 * once afterwards, in case it left before. */

#include <stdio.h>

#include "api/dbus/internal.h"

static int on_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct bus_sender *sender = userdata;
        const char *name, *old_owner, *new_owner;

        if (sd_bus_message_read(message, "sss", &name, &old_owner, &new_owner) >= 0 &&
            streq(name, sender->name) && *new_owner == '\0') {
                (void) bus_unsubscribe(sender);
                bus_sender_check_idle(sender);
        }
        return 0;
}

static int on_presence(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct bus_sender *sender = userdata;
        int present = false;

        sender->presence_slot = sd_bus_slot_unref(sender->presence_slot);
        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "b", &present) < 0 ||
            present)
                return 0;
        (void) bus_unsubscribe(sender);
        bus_sender_check_idle(sender);
        return 0;
}

static int watch_name(struct bus_sender *sender) {
        sd_bus *bus = sender->dbus->bus;
        char rule[BUS_NAME_MAX + 160];
        int r;

        (void) snprintf(
                rule, sizeof(rule),
                "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='%s'",
                sender->name);
        r = sd_bus_add_match_async(bus, &sender->leaves_slot, rule, on_owner_changed, NULL, sender);
        if (r < 0)
                return r;
        return sd_bus_call_method_async(
                bus, &sender->presence_slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                "org.freedesktop.DBus", "NameHasOwner", on_presence, sender, "s", sender->name);
}

int bus_subscribe(struct bus_sender *sender, struct bus_fault *ret_fault) {
        struct dbus *dbus = sender->dbus;
        int r;

        if (sender->subscribed)
                return 0;
        if (dbus->n_subscribers >= BUS_SUBSCRIBERS_MAX) {
                bus_fault_set(
                        ret_fault, ERROR_PREFIX "TooManySubscribers", "%u clients are subscribed already",
                        BUS_SUBSCRIBERS_MAX);
                return -EUSERS;
        }
        if (dbus->n_subscribers == 0) {
                r = signals_begin(dbus);
                if (r < 0)
                        return r;
        }
        sender->subscribed = true;
        dbus->n_subscribers++;
        r = watch_name(sender);
        if (r < 0)
                (void) bus_unsubscribe(sender);
        return r;
}

bool bus_unsubscribe(struct bus_sender *sender) {
        struct dbus *dbus = sender->dbus;

        if (!sender->subscribed)
                return false;
        sender->leaves_slot = sd_bus_slot_unref(sender->leaves_slot);
        sender->presence_slot = sd_bus_slot_unref(sender->presence_slot);
        sender->subscribed = false;
        if (--dbus->n_subscribers == 0)
                signals_end(dbus);
        return true;
}

bool dbus_has_subscribers(const struct dbus *dbus) {
        return dbus->n_subscribers > 0;
}
