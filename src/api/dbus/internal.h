/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the D-Bus face share. A method call becomes a bus_request: its arguments are read at
 * once, who asks is found out, permission is asked for where the rule alone does not give it, one operation
 * is called, and its answer is sent. Nothing here waits: every question to the bus is answered by a
 * callback. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "api/dbus/dbus.h"
#include "api/ops.h"
#include "util/list.h"
#include "util/log.h"
#include "util/map.h"

#define BUS_NAME "org.workermesh.Mesh1"
#define BUS_NODE_NAME_PREFIX BUS_NAME ".node_"
#define BUS_NAME_MAX 255u /* of the D-Bus specification */
#define MANAGER_PATH "/org/workermesh/Mesh1"
#define MANAGER_INTERFACE "org.workermesh.Mesh1.Manager"
#define JOB_PATH_PREFIX MANAGER_PATH "/job"
#define JOB_INTERFACE "org.workermesh.Mesh1.Job"
#define PEER_PATH_PREFIX MANAGER_PATH "/peer"
#define PEER_INTERFACE "org.workermesh.Mesh1.Peer"
#define LOG_CONTROL_PATH "/org/freedesktop/LogControl1"
#define LOG_CONTROL_INTERFACE "org.freedesktop.LogControl1"
#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"
#define ERROR_PREFIX "org.workermesh.Mesh1.Error."

/* Calls that are not answered yet: of all clients, and of one. */
#define BUS_REQUESTS_MAX 1024u
#define BUS_REQUESTS_PER_SENDER_MAX 256u
/* The arguments of one call, and of all that are not answered yet. */
#define BUS_MESSAGE_SIZE_MAX (32u * 1024 * 1024)
#define BUS_REQUESTS_MEMORY_MAX (128u * 1024 * 1024)
/* Clients whose user is remembered although they have no call under way. */
#define BUS_SENDERS_IDLE_MAX 256u
#define BUS_SUBSCRIBERS_MAX 256u
/* Questions to polkit under way; one that is not answered in this time counts as refused. */
#define BUS_POLKIT_CHECKS_MAX 128u
/* Of one user, whom the rule gives nothing: questions, and arguments that wait for more than one. */
#define BUS_POLKIT_CHECKS_PER_USER_MAX 32u
#define BUS_POLKIT_MEMORY_PER_USER_MAX (8u * 1024 * 1024)
#define BUS_POLKIT_WAIT_USEC (5 * USEC_PER_SEC)
#define BUS_POLKIT_INTERACTIVE_WAIT_USEC (2 * USEC_PER_MINUTE)
/* For the bus itself to answer; callers give up after 25 seconds. */
#define BUS_QUESTION_WAIT_USEC (20 * USEC_PER_SEC)
/* Job signals that wait to be sent; beyond half of it the start of a job is not told, beyond it nothing, and
 * what was not told is counted. */
#define BUS_EVENTS_MAX 32768u
#define BUS_EVENTS_PER_TURN 32u
/* While so many messages wait for the bus to read them, no signal is sent. */
#define BUS_UNSENT_MAX 1024u
#define BUS_UNSENT_RETRY_USEC (50 * USEC_PER_MSEC)
/* Changed properties are told together, no more often than this; and of so many peers at once. */
#define BUS_CHANGES_INTERVAL_USEC (250 * USEC_PER_MSEC)
#define BUS_PEERS_PER_CHANGE 64u
/* Attempts to connect again. */
#define BUS_RECONNECT_MIN_USEC (100 * USEC_PER_MSEC)
#define BUS_RECONNECT_MAX_USEC (10 * USEC_PER_SEC)
/* Replies stay far below what a bus takes as one message. */
#define BUS_LIST_SIZE_MAX (4u * 1024 * 1024)
#define BUS_OUTPUT_MAX STORE_LIST_OUTPUT_MAX /* of each output as a property */

#define JOB_PATH_SIZE (sizeof(JOB_PATH_PREFIX) + 1 + 32)

struct job_event; /* signals.c */

/* What the last PropertiesChanged of the manager said. */
struct manager_view {
        enum node_status status;
        const char *status_reason; /* static */
        unsigned slots, running, queued, peer_count, stranger_count;
        bool executor_connected;
        struct mesh_drain drain; /* since: 0: none */
};

struct dbus {
        sd_event *event;
        struct ops *ops;
        struct ops_watcher watcher;
        char *node_id;
        char *address;        /* of the bus; NULL: none */
        const char *bus_kind; /* "system" or "session" */
        char node_name[BUS_NAME_MAX + 1];

        sd_bus *bus; /* NULL: between two attempts */
        bool connected;
        bool said_absent; /* that there is no bus, until there was one */
        sd_event_source *reconnect_timer;
        usec_t connected_usec; /* when it was */
        usec_t reconnect_usec; /* before the next attempt */

        struct map senders;       /* struct bus_sender, by unique name */
        struct list idle_senders; /* those without a request or a subscription, longest idle first */
        unsigned n_idle_senders, n_requests, n_subscribers, n_checks;
        size_t requests_memory;

        struct job_event *events; /* a ring of BUS_EVENTS_MAX; NULL without subscribers */
        size_t first_event, n_events;
        uint64_t n_lost; /* not told yet */
        sd_event_source *events_source, *events_timer;
        struct ratelimit lost_limit;

        sd_event_source *changes_timer;
        bool changes_wait; /* the timer is set */
        bool peers_changed;
        struct manager_view told;
        struct map peers; /* struct bus_peer, by node id: what was told of */
};

/* An error reply. */
struct bus_fault {
        char name[96]; /* empty: none */
        char detail[320];
};

/* faults.c */
void bus_fault_set(struct bus_fault *ret, const char *name, const char *format, ...) _printf_(3, 4);
void bus_fault_from_problem(struct bus_fault *ret, const struct problem *problem);
/* "a string", "a{ss}": what a client gave, in words where there are some. */
const char *bus_type_to_text(const char *signature);

/* text.c */
/* In place: valid UTF-8 as every client takes it. */
void bus_text_make_plain(char *text);
int bus_append_text(sd_bus_message *message, const char *text); /* "s" */
int bus_append_metadata(
        sd_bus_message *message, const struct metadata_entry *metadata, size_t n); /* "a{ss}" */
/* "a{sd}": percent of the last ten seconds; empty where it is not known. */
int bus_append_pressure(sd_bus_message *message, const struct node_pressure *pressure);

/* A client, by its unique name; senders.c. */
struct bus_sender {
        struct map_link by_name;
        struct list_link idle_link;
        struct dbus *dbus;
        char *name;
        bool known; /* caller is valid */
        struct caller caller;
        gid_t *groups;
        sd_bus_slot *credentials_slot; /* asked for */
        struct list requests;
        unsigned n_requests;
        bool subscribed;
        sd_bus_slot *leaves_slot, *presence_slot;
};
int bus_sender_get(struct dbus *dbus, const char *name, struct bus_sender **ret);
/* Asks for the credentials unless they are known or asked for; then bus_request_caller_known() is called for
 * each of its requests. */
int bus_sender_ask(struct bus_sender *sender);
void bus_sender_check_idle(struct bus_sender *sender);
void bus_senders_done(struct dbus *dbus); /* with their requests */

/* subscribers.c */
int bus_subscribe(struct bus_sender *sender, struct bus_fault *ret_fault);
bool bus_unsubscribe(struct bus_sender *sender); /* false: was none */

struct submission; /* submission.h */
struct polkit_check;

/* A method call that has not been answered. */
struct bus_request {
        struct dbus *dbus;
        struct bus_sender *sender;
        struct list_link link; /* in sender->requests */
        sd_bus_message *message;
        size_t memory;
        struct bus_fault fault; /* what is wrong with the arguments: told to those who may ask at all */

        unsigned access;    /* of enum access: what it takes */
        const char *action; /* of polkit: gives what the rule does not; NULL: nothing does */
        void (*run)(struct bus_request *request); /* once permitted */
        struct caller caller;
        struct polkit_check *check;
        struct ops_call *call;

        /* Arguments. */
        struct uuid id;
        struct store_list list;
        enum ops_scope scope;
        struct submission *submission;
        struct ops_drain_request drain;
        int64_t expires_seconds;
        const char *token, *inviter; /* in the message */
        const char *property;        /* in the message; NULL: all of them */
        int stream;
        uint64_t offset;
        int level;
};

/* requests.c */
/* NULL: refused, and answered. */
struct bus_request *bus_request_new(struct dbus *dbus, sd_bus_message *message);
struct bus_request *bus_request_free(struct bus_request *request);
/* run() is called at once or later, for whom access or the action permits. Always returns 1, as a handler of
 * sd-bus that has taken care of a message. */
int bus_request_begin(
        struct bus_request *request, unsigned access, const char *action,
        void (*run)(struct bus_request *request));
void bus_request_caller_known(struct bus_request *request, const struct caller *caller);
/* Asks polkit; run() afterwards, or the refusal. */
void bus_request_ask(struct bus_request *request, const char *action, unsigned access);
/* Each answers and frees the request. */
void bus_request_reply(struct bus_request *request, sd_bus_message *reply);
/* An ops_done_t: answers without a value, or by the problem. */
void bus_request_done(void *userdata, const struct problem *problem);
void bus_request_fail(struct bus_request *request, const struct bus_fault *fault);
void bus_request_fail_problem(struct bus_request *request, const struct problem *problem);
void bus_request_fail_errno(struct bus_request *request, int error);
/* A reply to be filled. On failure the request is answered. */
int bus_request_new_reply(struct bus_request *request, sd_bus_message **ret);

/* polkit.c */
typedef void (*polkit_answer_t)(struct bus_request *request, bool granted, bool needs_interaction);
int polkit_ask(
        struct bus_request *request, const char *action, polkit_answer_t handler, struct polkit_check **ret);
struct polkit_check *polkit_check_free(struct polkit_check *check); /* one under way is called off */
#define POLKIT_SUBMIT "org.workermesh.mesh1.submit-job"
#define POLKIT_CANCEL_OWN "org.workermesh.mesh1.cancel-own-job"
#define POLKIT_CANCEL_ANY "org.workermesh.mesh1.cancel-any-job"
#define POLKIT_MANAGE_NODE "org.workermesh.mesh1.manage-node"
#define POLKIT_MANAGE_PEERS "org.workermesh.mesh1.manage-peers"

/* names.c: our names on the bus, whenever there is one. */
int bus_names_request(struct dbus *dbus);
int bus_name_from_node_id(const char *node_id, char ret[static BUS_NAME_MAX + 1]);

/* address.c: *ret is NULL where there is none, and *ret_reason says why then (static). */
int bus_address(enum dbus_bus bus, char **ret, const char **ret_kind, const char **ret_reason);

/* manager.c, job.c, peers.c, log-control.c: their objects. */
int manager_register(struct dbus *dbus);
int jobs_register(struct dbus *dbus);
int peers_register(struct dbus *dbus);
int log_control_register(struct dbus *dbus);

/* submit.c, jobs.c: methods of the manager. */
int manager_submit_job(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_submit_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_get_job(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_cancel_job(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_list_peers(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* membership.c */
int manager_invite(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_join(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_leave(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* cancel.c: ends request->id, and answers whether it has ended. */
void cancel_begin(struct bus_request *request);

/* job-properties.c */
extern const sd_bus_vtable job_vtable[];
/* "a{sv}", without what the caller may not see. */
int job_append_all(sd_bus_message *reply, const struct stored_job *job, bool may_read, bool in_list);
/* "v". -ENOENT: no such property. -EACCES: not for this caller. */
int job_append_one(sd_bus_message *reply, const struct stored_job *job, bool may_read, const char *name);
size_t job_size(const struct stored_job *job); /* about so many bytes in a message */
char *job_path(const struct uuid *id, char buffer[static JOB_PATH_SIZE]);
int job_path_to_id(const char *path, struct uuid *ret);
int job_call_read_output(sd_bus_message *message, void *userdata, sd_bus_error *error);
int job_call_cancel(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* signals.c: what happens to jobs, for subscribers. */
void signals_job_new(void *userdata, const struct job_spec *spec);
void signals_job_started(void *userdata, const struct uuid *id);
void signals_job_finished(void *userdata, const struct uuid *id, enum job_status status);
void signals_job_moved(void *userdata, const struct uuid *id);
int signals_begin(struct dbus *dbus);  /* the first subscriber came */
void signals_flush(struct dbus *dbus); /* the last ones before the end, as far as the bus takes them */
void signals_end(struct dbus *dbus);   /* the last one left */

/* changes.c: properties of manager and peers. */
int changes_new(struct dbus *dbus);
void changes_touch(void *userdata);
void changes_peer(void *userdata, const char *node_id, bool gone);
void changes_begin(struct dbus *dbus); /* connected: what is now has been told by being there */
/* peers.c: tells of at most BUS_PEERS_PER_CHANGE; false: there is more. quiet: tells nobody. */
bool peers_tell_changes(struct dbus *dbus, bool quiet);
void peers_forget(struct dbus *dbus);
