/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happens to jobs, for subscribers: noted in a ring of fixed size, told a few at a time after
 * everything that moves the node. Where that is too slow, or the bus does not read, events are left out and
 * counted. */

#include "api/dbus/internal.h"

/* Before what is idle, after everything else. */
#define PRIORITY_EVENTS (SD_EVENT_PRIORITY_IDLE - 10)

enum job_event_type {
        JOB_EVENT_NEW,
        JOB_EVENT_STARTED,
        JOB_EVENT_FINISHED,
        JOB_EVENT_MOVED,
};

struct job_event {
        struct uuid id;
        enum job_event_type type;
        enum job_status status;
};

static void
note(struct dbus *dbus, const struct uuid *id, enum job_event_type type, enum job_status status) {
        if (!dbus->events)
                return;
        if (type == JOB_EVENT_STARTED && dbus->n_events >= BUS_EVENTS_MAX / 2)
                return;
        if (dbus->n_events >= BUS_EVENTS_MAX) {
                dbus->n_lost++;
                return;
        }
        dbus->events[(dbus->first_event + dbus->n_events) % BUS_EVENTS_MAX] =
                (struct job_event){ .id = *id, .type = type, .status = status };
        if (dbus->n_events++ == 0)
                (void) sd_event_source_set_enabled(dbus->events_source, SD_EVENT_ONESHOT);
}

void signals_job_new(void *userdata, const struct job_spec *spec) {
        note(userdata, &spec->id, JOB_EVENT_NEW, JOB_PENDING);
}

void signals_job_started(void *userdata, const struct uuid *id) {
        note(userdata, id, JOB_EVENT_STARTED, JOB_RUNNING);
}

void signals_job_finished(void *userdata, const struct uuid *id, enum job_status status) {
        note(userdata, id, JOB_EVENT_FINISHED, status);
}

void signals_job_moved(void *userdata, const struct uuid *id) {
        note(userdata, id, JOB_EVENT_MOVED, JOB_UNKNOWN);
}

/* The new state; everything else that may have changed is to be asked for. */
static int tell_properties(struct dbus *dbus, const char *path, const struct job_event *event) {
        if (event->type == JOB_EVENT_STARTED)
                return sd_bus_emit_signal(
                        dbus->bus, path, PROPERTIES_INTERFACE, "PropertiesChanged", "sa{sv}as",
                        JOB_INTERFACE, 1, "Status", "s", job_status_to_text(event->status), 4, "StartedAt",
                        "Attempt", "Attempts", "ExecutorNodeId");
        return sd_bus_emit_signal(
                dbus->bus, path, PROPERTIES_INTERFACE, "PropertiesChanged", "sa{sv}as", JOB_INTERFACE, 1,
                "Status", "s", job_status_to_text(event->status), 16, "OomKilled", "ExitCode", "Signal",
                "StartedAt", "FinishedAt", "DurationUSec", "Attempt", "Attempts", "ExecutorNodeId",
                "ErrorMessage", "Stdout", "Stderr", "StdoutTotalBytes", "StderrTotalBytes",
                "StdoutTruncated", "StderrTruncated");
}

static void tell_removed(struct dbus *dbus, const char *id, const char *path, enum job_status status) {
        (void) sd_bus_emit_signal(
                dbus->bus, MANAGER_PATH, MANAGER_INTERFACE, "JobRemoved", "sos", id, path,
                job_status_to_text(status));
}

static void tell_event(struct dbus *dbus, const struct job_event *event) {
        char id[UUID_TEXT_SIZE], path[JOB_PATH_SIZE];

        (void) uuid_to_text(&event->id, id);
        (void) job_path(&event->id, path);
        switch (event->type) {
        case JOB_EVENT_NEW:
                (void) sd_bus_emit_signal(
                        dbus->bus, MANAGER_PATH, MANAGER_INTERFACE, "JobNew", "so", id, path);
                break;
        case JOB_EVENT_STARTED:
                (void) tell_properties(dbus, path, event);
                break;
        case JOB_EVENT_FINISHED:
                (void) tell_properties(dbus, path, event);
                tell_removed(dbus, id, path, event->status);
                break;
        case JOB_EVENT_MOVED:
                tell_removed(dbus, id, path, event->status);
                break;
        }
}

static void tell_lost(struct dbus *dbus) {
        if (ratelimit_below(&dbus->lost_limit, now_usec(CLOCK_BOOTTIME)))
                log_info(
                        "The bus or its clients do not keep up: %" PRIu64 " job signals were left out.",
                        dbus->n_lost);
        (void) sd_bus_emit_signal(
                dbus->bus, MANAGER_PATH, MANAGER_INTERFACE, "JobSignalsLost", "t", dbus->n_lost);
        dbus->n_lost = 0;
}

static bool bus_takes_more(struct dbus *dbus) {
        uint64_t unsent = 0;

        return sd_bus_get_n_queued_write(dbus->bus, &unsent) >= 0 && unsent < BUS_UNSENT_MAX;
}

static void tell_next(struct dbus *dbus) {
        tell_event(dbus, &dbus->events[dbus->first_event]);
        dbus->first_event = (dbus->first_event + 1) % BUS_EVENTS_MAX;
        dbus->n_events--;
}

void signals_flush(struct dbus *dbus) {
        while (dbus->n_events > 0 && bus_takes_more(dbus))
                tell_next(dbus);
}

static int on_events(sd_event_source *source, void *userdata) {
        struct dbus *dbus = userdata;

        for (unsigned n = 0; dbus->n_events > 0 && n < BUS_EVENTS_PER_TURN; n++) {
                if (!bus_takes_more(dbus)) {
                        (void) sd_event_source_set_time_relative(dbus->events_timer, BUS_UNSENT_RETRY_USEC);
                        (void) sd_event_source_set_enabled(dbus->events_timer, SD_EVENT_ONESHOT);
                        return 0;
                }
                tell_next(dbus);
        }
        if (dbus->n_events > 0)
                (void) sd_event_source_set_enabled(dbus->events_source, SD_EVENT_ONESHOT);
        /* Where it never ends, it is told now and then. */
        if (dbus->n_lost > 0 && (dbus->n_events == 0 || dbus->n_lost >= BUS_EVENTS_MAX))
                tell_lost(dbus);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        return on_events(source, userdata);
}

int signals_begin(struct dbus *dbus) {
        int r;

        signals_end(dbus);
        r = sd_event_add_defer(dbus->event, &dbus->events_source, on_events, dbus);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(dbus->events_source, "dbus-job-signals");
        r = sd_event_source_set_priority(dbus->events_source, PRIORITY_EVENTS);
        if (r >= 0)
                r = sd_event_source_set_enabled(dbus->events_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(
                        dbus->event, &dbus->events_timer, CLOCK_BOOTTIME, 0, USEC_PER_MSEC, on_retry, dbus);
        if (r >= 0) {
                (void) sd_event_source_set_description(dbus->events_timer, "dbus-job-signals-retry");
                r = sd_event_source_set_enabled(dbus->events_timer, SD_EVENT_OFF);
        }
        if (r >= 0) {
                dbus->events = calloc(BUS_EVENTS_MAX, sizeof(*dbus->events));
                r = dbus->events ? 0 : -ENOMEM;
        }
        if (r < 0)
                signals_end(dbus);
        return r;
}

void signals_end(struct dbus *dbus) {
        dbus->events_source = sd_event_source_disable_unref(dbus->events_source);
        dbus->events_timer = sd_event_source_disable_unref(dbus->events_timer);
        free(dbus->events);
        dbus->events = NULL;
        dbus->first_event = dbus->n_events = 0;
        dbus->n_lost = 0;
}
