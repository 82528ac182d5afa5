/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The connection: made, lost, and made again. Everything that belongs to one connection (objects, clients,
 * calls) goes with it. */

#include "api/dbus/internal.h"

static void connect_later(struct dbus *dbus);

/* Our names are asked for as soon as the bus has answered; what is told on the way waits in the connection.
 */
static int on_connected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;
        const char *name = NULL;

        dbus->connected = true;
        dbus->said_absent = false;
        dbus->connected_usec = now_usec(CLOCK_BOOTTIME);
        (void) sd_bus_get_unique_name(dbus->bus, &name);
        log_debug("Connected to the %s bus as %s.", dbus->bus_kind, name ? name : "?");
        changes_begin(dbus);
        return 0;
}

/* Called from within the connection, which is taken apart later. A bus that lets us go at once again and
 * again is asked less and less often. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        struct dbus *dbus = userdata;

        if (dbus->connected)
                log_info("The %s bus has gone away; connecting again when it is back.", dbus->bus_kind);
        else if (!dbus->said_absent) {
                log_info("The %s bus did not accept the connection; trying again.", dbus->bus_kind);
                dbus->said_absent = true;
        }
        if (dbus->connected &&
            usec_sub(now_usec(CLOCK_BOOTTIME), dbus->connected_usec) >= BUS_RECONNECT_MAX_USEC)
                dbus->reconnect_usec = BUS_RECONNECT_MIN_USEC;
        dbus->connected = false;
        connect_later(dbus);
        return 0;
}

static void disconnect(struct dbus *dbus) {
        dbus->connected = false;
        bus_senders_done(dbus);
        signals_end(dbus);
        peers_forget(dbus);
        dbus->bus = sd_bus_close_unref(dbus->bus);
}

static int match_local(struct dbus *dbus, const char *member, sd_bus_message_handler_t handler) {
        return sd_bus_match_signal_async(
                dbus->bus, NULL, "org.freedesktop.DBus.Local", NULL, "org.freedesktop.DBus.Local", member,
                handler, NULL, dbus);
}

static int register_objects(struct dbus *dbus) {
        int r;

        r = match_local(dbus, "Connected", on_connected);
        if (r < 0)
                return r;
        r = match_local(dbus, "Disconnected", on_disconnected);
        if (r < 0)
                return r;
        r = manager_register(dbus);
        if (r < 0)
                return r;
        r = jobs_register(dbus);
        if (r < 0)
                return r;
        r = peers_register(dbus);
        if (r < 0)
                return r;
        r = log_control_register(dbus);
        if (r < 0)
                return r;
        return bus_names_request(dbus);
}

/* Waits for the socket by inotify where it is not there yet. */
static int start_bus(struct dbus *dbus) {
        int r;

        r = sd_bus_new(&dbus->bus);
        if (r < 0)
                return r;
        (void) sd_bus_set_description(dbus->bus, "worker-mesh");
        r = sd_bus_set_address(dbus->bus, dbus->address);
        if (r < 0)
                return r;
        r = sd_bus_set_bus_client(dbus->bus, true);
        if (r < 0)
                return r;
        r = sd_bus_set_watch_bind(dbus->bus, true);
        if (r < 0)
                return r;
        r = sd_bus_set_connected_signal(dbus->bus, true);
        if (r < 0)
                return r;
        /* Else the end of the loop would wait for the bus to take what is left. */
        r = sd_bus_set_close_on_exit(dbus->bus, false);
        if (r < 0)
                return r;
        r = sd_bus_negotiate_fds(dbus->bus, false);
        if (r < 0)
                return r;
        r = sd_bus_start(dbus->bus);
        if (r < 0)
                return r;
        return sd_bus_attach_event(dbus->bus, dbus->event, SD_EVENT_PRIORITY_NORMAL);
}

static void connect_now(struct dbus *dbus) {
        int r;

        disconnect(dbus);
        r = start_bus(dbus);
        if (r >= 0)
                r = register_objects(dbus);
        if (r >= 0)
                return;

        if (!dbus->said_absent)
                log_info_errno(r, "No %s bus can be reached, trying again: %m", dbus->bus_kind);
        dbus->said_absent = true;
        disconnect(dbus);
        connect_later(dbus);
}

static int on_reconnect(sd_event_source *source, uint64_t usec, void *userdata) {
        connect_now(userdata);
        return 0;
}

/* Twice as long each time. */
static void connect_later(struct dbus *dbus) {
        int r;

        r = sd_event_source_set_time_relative(dbus->reconnect_timer, dbus->reconnect_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(dbus->reconnect_timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_error_errno(r, "Failed to set a timer, going on without D-Bus: %m");
        dbus->reconnect_usec = MIN(dbus->reconnect_usec * 2, (usec_t) BUS_RECONNECT_MAX_USEC);
}

static int add_timer(struct dbus *dbus) {
        int r;

        r = sd_event_add_time(
                dbus->event, &dbus->reconnect_timer, CLOCK_BOOTTIME, 0, 10 * USEC_PER_MSEC, on_reconnect,
                dbus);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(dbus->reconnect_timer, "dbus-reconnect");
        return sd_event_source_set_enabled(dbus->reconnect_timer, SD_EVENT_OFF);
}

static void watch_ops(struct dbus *dbus) {
        dbus->watcher = (struct ops_watcher){
                .job_new = signals_job_new,
                .job_started = signals_job_started,
                .job_finished = signals_job_finished,
                .job_moved = signals_job_moved,
                .status_changed = changes_touch,
                .peer_changed = changes_peer,
                .userdata = dbus,
        };
        ops_watch(dbus->ops, &dbus->watcher);
}

/* The first attempt is made by the loop, when the node is complete. */
int dbus_new(const struct dbus_config *config, sd_event *event, struct ops *ops, struct dbus **ret) {
        _cleanup_(dbus_free_p) struct dbus *dbus = NULL;
        const char *reason;
        int r;

        dbus = calloc(1, sizeof(*dbus));
        if (!dbus)
                return -ENOMEM;
        dbus->event = sd_event_ref(event);
        dbus->ops = ops;
        dbus->lost_limit = (struct ratelimit){ .interval_usec = 10 * USEC_PER_SEC, .burst = 1 };
        dbus->reconnect_usec = BUS_RECONNECT_MIN_USEC;
        list_init(&dbus->idle_senders);
        dbus->node_id = strdup(config->node_id);
        if (!dbus->node_id)
                return -ENOMEM;

        r = bus_address(config->bus, &dbus->address, &dbus->bus_kind, &reason);
        if (r < 0)
                return r;
        if (!dbus->address) {
                if (config->bus != DBUS_BUS_NONE)
                        log_info("No D-Bus interface: %s.", reason);
                *ret = TAKE_PTR(dbus);
                return 0;
        }
        r = bus_name_from_node_id(config->node_id, dbus->node_name);
        if (r < 0)
                return r;
        r = changes_new(dbus);
        if (r < 0)
                return r;
        r = add_timer(dbus);
        if (r < 0)
                return r;
        watch_ops(dbus);
        r = sd_event_source_set_enabled(dbus->reconnect_timer, SD_EVENT_ONESHOT);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(dbus);
        return 0;
}

struct dbus *dbus_free(struct dbus *dbus) {
        if (!dbus)
                return NULL;
        ops_watcher_remove(&dbus->watcher);
        if (dbus->connected)
                signals_flush(dbus);
        disconnect(dbus);
        sd_event_source_disable_unref(dbus->reconnect_timer);
        sd_event_source_disable_unref(dbus->changes_timer);
        sd_event_unref(dbus->event);
        free(dbus->address);
        free(dbus->node_id);
        free(dbus);
        return NULL;
}
