/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who asks: the bus tells whose process a unique name belongs to, once for each, since it is never given to
 * another connection. Calls wait meanwhile. */

#include "api/dbus/internal.h"

static void sender_free(struct bus_sender *sender) {
        struct dbus *dbus = sender->dbus;

        if (list_is_linked(&sender->idle_link)) {
                list_remove(&sender->idle_link);
                dbus->n_idle_senders--;
        }
        (void) bus_unsubscribe(sender);
        sd_bus_slot_unref(sender->credentials_slot);
        map_remove(&dbus->senders, &sender->by_name);
        free(sender->groups);
        free(sender->name);
        free(sender);
}

int bus_sender_get(struct dbus *dbus, const char *name, struct bus_sender **ret) {
        struct bus_sender *sender = MAP_GET(&dbus->senders, name, strlen(name), struct bus_sender, by_name);
        int r;

        if (sender) {
                *ret = sender;
                return 0;
        }
        sender = calloc(1, sizeof(*sender));
        if (!sender)
                return -ENOMEM;
        sender->dbus = dbus;
        list_init(&sender->requests);
        sender->name = strdup(name);
        r = sender->name ? map_add(&dbus->senders, &sender->by_name, sender->name, strlen(name)) : -ENOMEM;
        if (r < 0) {
                free(sender->name);
                free(sender);
                return r;
        }
        *ret = sender;
        return 0;
}

/* The longest idle one is forgotten first. */
void bus_sender_check_idle(struct bus_sender *sender) {
        struct dbus *dbus = sender->dbus;
        bool idle = sender->n_requests == 0 && !sender->subscribed;

        if (idle == list_is_linked(&sender->idle_link))
                return;
        if (!idle) {
                list_remove(&sender->idle_link);
                dbus->n_idle_senders--;
                return;
        }
        list_append(&dbus->idle_senders, &sender->idle_link);
        dbus->n_idle_senders++;
        if (dbus->n_idle_senders > BUS_SENDERS_IDLE_MAX)
                sender_free(LIST_FIRST(&dbus->idle_senders, struct bus_sender, idle_link));
}

void bus_senders_done(struct dbus *dbus) {
        struct bus_request *request;
        struct bus_sender *sender;
        struct map_link *link;

        while ((link = map_first(&dbus->senders))) {
                sender = CONTAINER_OF(link, struct bus_sender, by_name);
                /* The last request must not take the sender with it. */
                sender->n_requests++;
                LIST_FOREACH(&sender->requests, request, struct bus_request, link)
                        bus_request_free(request);
                sender_free(sender);
        }
}

static int read_groups(sd_bus_message *reply, struct bus_sender *sender) {
        const uint32_t *groups;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(reply, 'v', "au");
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'u', (const void **) &groups, &size);
        if (r < 0)
                return r;
        free(sender->groups);
        sender->groups = calloc(size / sizeof(*groups) + 1, sizeof(*sender->groups));
        if (!sender->groups)
                return -ENOMEM;
        for (size_t i = 0; i < size / sizeof(*groups); i++)
                sender->groups[i] = groups[i];
        sender->caller.groups = sender->groups;
        sender->caller.n_groups = size / sizeof(*groups);
        return sd_bus_message_exit_container(reply);
}

/* The user and, where the bus knows them, the groups of the process at the other end. */
static int read_credentials(sd_bus_message *reply, struct bus_sender *sender) {
        const char *key;
        uint32_t uid;
        int r;

        sender->caller = (struct caller){ .gid = (gid_t) -1 };
        r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = sd_bus_message_read(reply, "s", &key);
                if (r < 0)
                        return r;
                if (streq(key, "UnixUserID")) {
                        r = sd_bus_message_read(reply, "v", "u", &uid);
                        sender->caller.uid_known = r >= 0;
                        sender->caller.uid = uid;
                } else if (streq(key, "UnixGroupIDs"))
                        r = read_groups(reply, sender);
                else
                        r = sd_bus_message_skip(reply, "v");
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(reply);
                if (r < 0)
                        return r;
        }
        return r;
}

/* The bus may be busy with what others send; that says nothing about who asked. */
static void refuse_for_now(struct bus_sender *sender) {
        struct bus_request *request;
        struct bus_fault fault;

        bus_fault_set(
                &fault, ERROR_PREFIX "TooManyCalls",
                "the bus did not say in time which user this is; try again in a moment");
        LIST_FOREACH(&sender->requests, request, struct bus_request, link)
                bus_request_fail(request, &fault);
}

/* A client that has gone is nobody, and gets its refusal for nothing. */
static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct bus_sender *sender = userdata;
        struct bus_request *request;
        int r = 0;

        sender->credentials_slot = sd_bus_slot_unref(sender->credentials_slot);
        if (!sd_bus_message_is_method_error(reply, NULL))
                r = read_credentials(reply, sender);
        if (r < 0) {
                log_debug_errno(r, "The bus does not tell whose process %s is: %m", sender->name);
                sender->caller.uid_known = false;
        }
        sender->known = sender->caller.uid_known;

        sender->n_requests++; /* keeps the sender while its requests go */
        if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY) ||
            sd_bus_message_is_method_error(reply, SD_BUS_ERROR_TIMEOUT))
                refuse_for_now(sender);
        LIST_FOREACH(&sender->requests, request, struct bus_request, link)
                bus_request_caller_known(request, &sender->caller);
        sender->n_requests--;
        bus_sender_check_idle(sender);
        return 0;
}

int bus_sender_ask(struct bus_sender *sender) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *question = NULL;
        sd_bus *bus = sender->dbus->bus;
        int r;

        if (sender->credentials_slot)
                return 0;
        r = sd_bus_message_new_method_call(
                bus, &question, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                "GetConnectionCredentials");
        if (r < 0)
                return r;
        r = sd_bus_message_append(question, "s", sender->name);
        if (r < 0)
                return r;
        return sd_bus_call_async(
                bus, &sender->credentials_slot, question, on_credentials, sender, BUS_QUESTION_WAIT_USEC);
}
