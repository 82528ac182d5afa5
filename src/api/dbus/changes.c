/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Changed properties of the manager, and the time to tell of changed peers: a busy node changes its counts
 * thousands of times a second, and is heard of four times. */

#include "api/dbus/internal.h"

static struct manager_view view_now(struct dbus *dbus) {
        struct ops_status status;

        ops_get_status(dbus->ops, &status);
        return (struct manager_view){
                .drain = status.drain ? *status.drain : (struct mesh_drain){},
                .status = status.status,
                .status_reason = status.status_reason,
                .slots = status.slots,
                .running = status.running,
                .queued = status.queued,
                .peer_count = status.peer_count,
                .stranger_count = status.stranger_count,
                .executor_connected = status.executor_connected,
        };
}

static void tell_manager(struct dbus *dbus) {
        const struct manager_view now = view_now(dbus), told = dbus->told;
        const char *names[10];
        size_t n = 0;

        if (now.status != told.status)
                names[n++] = "Status";
        if (!streq_ptr(now.status_reason, told.status_reason))
                names[n++] = "StatusReason";
        if (now.slots != told.slots)
                names[n++] = "Slots";
        if (now.running != told.running)
                names[n++] = "RunningJobs";
        if (now.queued != told.queued)
                names[n++] = "QueuedJobs";
        if (now.peer_count != told.peer_count)
                names[n++] = "PeerCount";
        if (now.stranger_count != told.stranger_count)
                names[n++] = "StrangerCount";
        if (now.executor_connected != told.executor_connected)
                names[n++] = "ExecutorConnected";
        if (now.drain.since != told.drain.since || now.drain.until != told.drain.until ||
            now.drain.uid != told.drain.uid || now.drain.saved != told.drain.saved)
                names[n++] = "Drained";
        names[n] = NULL;
        dbus->told = now;
        if (n > 0)
                (void) sd_bus_emit_properties_changed_strv(
                        dbus->bus, MANAGER_PATH, MANAGER_INTERFACE, (char **) names);
}

static void wait_for_more(struct dbus *dbus) {
        if (dbus->changes_wait || !dbus->connected)
                return;
        dbus->changes_wait =
                sd_event_source_set_time_relative(dbus->changes_timer, BUS_CHANGES_INTERVAL_USEC) >= 0 &&
                sd_event_source_set_enabled(dbus->changes_timer, SD_EVENT_ONESHOT) >= 0;
}

/* A bus that does not read is told later, and only what is true then. */
static int on_changes(sd_event_source *source, uint64_t usec, void *userdata) {
        struct dbus *dbus = userdata;
        uint64_t unsent = 0;

        dbus->changes_wait = false;
        if (!dbus->connected)
                return 0;
        (void) sd_bus_get_n_queued_write(dbus->bus, &unsent);
        if (unsent >= BUS_UNSENT_MAX) {
                wait_for_more(dbus);
                return 0;
        }
        tell_manager(dbus);
        if (dbus->peers_changed) {
                dbus->peers_changed = !peers_tell_changes(dbus, /* quiet= */ false);
                if (dbus->peers_changed)
                        wait_for_more(dbus);
        }
        return 0;
}

void changes_touch(void *userdata) {
        wait_for_more(userdata);
}

void changes_peer(void *userdata, const char *node_id, bool gone) {
        struct dbus *dbus = userdata;

        dbus->peers_changed = true;
        wait_for_more(dbus);
}

void changes_begin(struct dbus *dbus) {
        dbus->told = view_now(dbus);
        (void) peers_tell_changes(dbus, /* quiet= */ true);
        dbus->peers_changed = false;
}

int changes_new(struct dbus *dbus) {
        int r;

        r = sd_event_add_time(
                dbus->event, &dbus->changes_timer, CLOCK_BOOTTIME, 0, 50 * USEC_PER_MSEC, on_changes, dbus);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(dbus->changes_timer, "dbus-changes");
        return sd_event_source_set_enabled(dbus->changes_timer, SD_EVENT_OFF);
}
