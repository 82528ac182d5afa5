/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The life of a method call: arguments, user, permission, operation, answer. */

#include "api/dbus/internal.h"
#include "api/dbus/submission.h"

static int weigh(sd_bus_message *message, size_t *size);

/* One value, of which a container may hold any number. */
static int weigh_value(sd_bus_message *message, char type, const char *contents, size_t *size) {
        const char signature[] = { type, '\0' };
        const char *text;
        const void *data;
        size_t n;
        int r;

        *size += 8;
        if (type == 's' || type == 'o' || type == 'g') {
                r = sd_bus_message_read_basic(message, type, &text);
                if (r >= 0)
                        *size += strlen(text);
                return r;
        }
        if (type == 'a' && streq(contents, "y")) {
                r = sd_bus_message_read_array(message, 'y', &data, &n);
                if (r >= 0)
                        *size += n;
                return r;
        }
        if (!contents)
                return sd_bus_message_skip(message, signature);

        r = sd_bus_message_enter_container(message, type, contents);
        if (r < 0)
                return r;
        r = weigh(message, size);
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

/* About how many bytes the arguments take: the message stays in memory until it is answered. -EFBIG: more
 * than BUS_MESSAGE_SIZE_MAX. */
static int weigh(sd_bus_message *message, size_t *size) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(message, &type, &contents)) > 0) {
                r = weigh_value(message, type, contents, size);
                if (r < 0)
                        return r;
                if (*size > BUS_MESSAGE_SIZE_MAX)
                        return -EFBIG;
        }
        return r;
}

static const char *too_much(const struct dbus *dbus, const struct bus_sender *sender, size_t size) {
        if (dbus->n_requests >= BUS_REQUESTS_MAX || sender->n_requests >= BUS_REQUESTS_PER_SENDER_MAX)
                return "too many calls are under way already; try again later";
        if (dbus->requests_memory + size > BUS_REQUESTS_MEMORY_MAX)
                return "too many large calls are under way; try again in a moment";
        return NULL;
}

static void refuse_message(sd_bus_message *message, int error) {
        if (error == -EFBIG)
                (void) sd_bus_reply_method_errorf(
                        message, ERROR_PREFIX "BodyTooLarge",
                        "the arguments are longer than %u MiB; send the jobs in several calls",
                        BUS_MESSAGE_SIZE_MAX / (1024 * 1024));
        else if (error == -EBADMSG)
                (void) sd_bus_reply_method_errorf(
                        message, ERROR_PREFIX "Invalid",
                        "the arguments have text that is not UTF-8, or characters such as U+FFFE that stand "
                        "for nothing");
        else
                (void) sd_bus_reply_method_errno(message, error, NULL);
}

/* What the request takes is counted from here on, and until it is freed. */
static struct bus_request *add_request(struct bus_sender *sender, sd_bus_message *message, size_t size) {
        struct bus_request *request = calloc(1, sizeof(*request));
        struct dbus *dbus = sender->dbus;

        if (!request)
                return NULL;
        request->dbus = dbus;
        request->sender = sender;
        request->message = sd_bus_message_ref(message);
        request->memory = size;
        list_append(&sender->requests, &request->link);
        sender->n_requests++;
        dbus->n_requests++;
        dbus->requests_memory += size;
        return request;
}

struct bus_request *bus_request_new(struct dbus *dbus, sd_bus_message *message) {
        const char *name = sd_bus_message_get_sender(message), *refusal;
        struct bus_request *request = NULL;
        struct bus_sender *sender;
        size_t size = 0;
        int r;

        r = name ? weigh(message, &size) : -EINVAL;
        if (r >= 0)
                r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = bus_sender_get(dbus, name, &sender);
        if (r < 0) {
                refuse_message(message, r);
                return NULL;
        }

        refusal = too_much(dbus, sender, size);
        if (refusal)
                (void) sd_bus_reply_method_errorf(message, ERROR_PREFIX "TooManyCalls", "%s", refusal);
        else {
                request = add_request(sender, message, size);
                if (!request)
                        refuse_message(message, -ENOMEM);
        }
        bus_sender_check_idle(sender);
        return request;
}

struct bus_request *bus_request_free(struct bus_request *request) {
        if (!request)
                return NULL;
        ops_call_cancel(request->call);
        polkit_check_free(request->check);
        submission_free(request->submission);
        sd_bus_message_unref(request->message);
        request->dbus->requests_memory -= request->memory;
        request->dbus->n_requests--;
        list_remove(&request->link);
        request->sender->n_requests--;
        bus_sender_check_idle(request->sender);
        free(request);
        return NULL;
}

void bus_request_reply(struct bus_request *request, sd_bus_message *reply) {
        int r;

        r = sd_bus_send(NULL, reply, NULL);
        if (r < 0)
                log_debug_errno(r, "Failed to answer a call on the bus, ignoring: %m");
        bus_request_free(request);
}

void bus_request_fail(struct bus_request *request, const struct bus_fault *fault) {
        (void) sd_bus_reply_method_errorf(request->message, fault->name, "%s", fault->detail);
        bus_request_free(request);
}

void bus_request_fail_problem(struct bus_request *request, const struct problem *problem) {
        struct bus_fault fault;

        bus_fault_from_problem(&fault, problem);
        bus_request_fail(request, &fault);
}

void bus_request_fail_errno(struct bus_request *request, int error) {
        struct bus_fault fault;

        bus_fault_set(
                &fault, ERROR_PREFIX "Internal", "%s",
                error == -ENOMEM ? "out of memory" : strerror(-error));
        bus_request_fail(request, &fault);
}

int bus_request_new_reply(struct bus_request *request, sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_return(request->message, ret);
        if (r < 0)
                bus_request_fail_errno(request, r);
        return r;
}

static void refuse(struct bus_request *request, const char *name) {
        struct bus_fault fault;
        const char *reason = NULL;

        (void) ops_access(request->dbus->ops, &request->caller, &reason);
        bus_fault_set(&fault, name, "%s", reason ? reason : "this user may not do that");
        bus_request_fail(request, &fault);
}

/* What is wrong with the arguments is for those who may ask. */
static void run(struct bus_request *request) {
        if (request->fault.name[0] != '\0')
                bus_request_fail(request, &request->fault);
        else
                request->run(request);
}

static void on_polkit(struct bus_request *request, bool granted, bool needs_interaction) {
        request->check = polkit_check_free(request->check);
        if (granted) {
                request->caller.granted |= request->access;
                run(request);
        } else
                refuse(request, needs_interaction ? SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED
                                                  : SD_BUS_ERROR_ACCESS_DENIED);
}

void bus_request_ask(struct bus_request *request, const char *action, unsigned access) {
        int r;

        request->access = access;
        r = polkit_ask(request, action, on_polkit, &request->check);
        if (r == -EBUSY) {
                bus_fault_set(
                        &request->fault, ERROR_PREFIX "TooManyCalls",
                        "polkit is asked for too many calls already; try again later");
                bus_request_fail(request, &request->fault);
        } else if (r < 0)
                refuse(request, SD_BUS_ERROR_ACCESS_DENIED);
}

/* Nobody gives anything to those to whom the rule gives nothing at all: unknown users, and jobs. */
void bus_request_caller_known(struct bus_request *request, const struct caller *caller) {
        const char *reason;
        unsigned access;

        request->caller = *caller;
        access = ops_access(request->dbus->ops, caller, &reason);
        if ((access & request->access) == request->access)
                run(request);
        else if (access == ACCESS_NONE || !request->action)
                refuse(request, SD_BUS_ERROR_ACCESS_DENIED);
        else
                bus_request_ask(request, request->action, request->access);
}

int bus_request_begin(
        struct bus_request *request, unsigned access, const char *action,
        void (*run_function)(struct bus_request *request)) {
        int r;

        request->access = access;
        request->action = action;
        request->run = run_function;
        if (request->sender->known)
                bus_request_caller_known(request, &request->sender->caller);
        else {
                r = bus_sender_ask(request->sender);
                if (r < 0)
                        bus_request_fail_errno(request, r);
        }
        return 1;
}

void bus_request_done(void *userdata, const struct problem *problem) {
        struct bus_request *request = userdata;

        request->call = NULL;
        if (problem->code != PROBLEM_NONE) {
                bus_request_fail_problem(request, problem);
                return;
        }
        (void) sd_bus_reply_method_return(request->message, NULL);
        bus_request_free(request);
}
