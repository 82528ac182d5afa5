/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The D-Bus face: a connection to the system or the session bus inside the loop, the objects of
 * org.workermesh.Mesh1, and org.freedesktop.LogControl1. A bus that is not there, goes away or comes back is
 * no error: the face waits for it without costing anything, and takes its names again. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "api/ops.h"
#include "util/macros.h"

struct dbus;

enum dbus_bus {
        DBUS_BUS_AUTO, /* the system bus where the system's service manager started us, else the session bus
                        */
        DBUS_BUS_SYSTEM,
        DBUS_BUS_SESSION,
        DBUS_BUS_NONE,
        _DBUS_BUS_MAX,
};

struct dbus_config {
        enum dbus_bus bus;
        const char *node_id;
};

/* Watches the operations, which outlive it. Fails for want of memory only. */
int dbus_new(const struct dbus_config *config, sd_event *event, struct ops *ops, struct dbus **ret);
struct dbus *dbus_free(struct dbus *dbus); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct dbus *, dbus_free)

/* Whether somebody is told of every job. */
bool dbus_has_subscribers(const struct dbus *dbus);
