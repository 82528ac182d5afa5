/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Asks org.freedesktop.PolicyKit1 whether a client may do what the rule does not give to it. Where polkit is
 * not there, or does not answer in time, the rule stands. */

#include <inttypes.h>
#include <stdio.h>

#include "api/dbus/internal.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ALLOW_INTERACTION 1u

struct polkit_check {
        struct bus_request *request;
        polkit_answer_t handler;
        sd_bus_slot *slot;
        char cancellation_id[48];
        bool answered;
};

/* A dialog that is still open has nobody to answer to any more. */
static void call_off(struct polkit_check *check) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        sd_bus *bus = check->request->dbus->bus;

        if (!check->request->dbus->connected || sd_bus_message_new_method_call(
                                                        bus, &message, POLKIT_NAME, POLKIT_PATH,
                                                        POLKIT_INTERFACE, "CancelCheckAuthorization") < 0)
                return;
        if (sd_bus_message_append(message, "s", check->cancellation_id) >= 0 &&
            sd_bus_message_set_expect_reply(message, false) >= 0 &&
            sd_bus_message_set_auto_start(message, false) >= 0)
                (void) sd_bus_send(bus, message, NULL);
}

struct polkit_check *polkit_check_free(struct polkit_check *check) {
        if (!check)
                return NULL;
        if (check->slot && !check->answered)
                call_off(check);
        sd_bus_slot_unref(check->slot);
        check->request->dbus->n_checks--;
        free(check);
        return NULL;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct polkit_check *check = userdata;
        const sd_bus_error *refusal = sd_bus_message_get_error(reply);
        int granted = false, challenge = false;

        /* A wait that is over is an error of sd-bus's own: polkit has not answered. */
        check->answered = !(refusal && streq(refusal->name, SD_BUS_ERROR_TIMEOUT)) &&
                          !(refusal && streq(refusal->name, SD_BUS_ERROR_NO_REPLY));
        if (refusal)
                log_debug("polkit gives no answer: %s", refusal->message ? refusal->message : refusal->name);
        else if (
                sd_bus_message_enter_container(reply, 'r', "bba{ss}") < 0 ||
                sd_bus_message_read(reply, "bb", &granted, &challenge) < 0)
                granted = challenge = false;
        check->handler(check->request, granted, challenge && !granted);
        return 0;
}

/* A user may have any number of connections, and a dialog that nobody answers is open for minutes: one user
 * must not keep polkit, or the memory for arguments, from all others. */
static bool has_room(const struct bus_request *request) {
        struct dbus *dbus = request->dbus;
        size_t n = 0, memory = request->memory;
        struct bus_sender *sender;
        struct bus_request *other;

        if (dbus->n_checks >= BUS_POLKIT_CHECKS_MAX)
                return false;
        MAP_FOREACH(&dbus->senders, sender, struct bus_sender, by_name) {
                if (!sender->known || sender->caller.uid != request->caller.uid)
                        continue;
                LIST_FOREACH(&sender->requests, other, struct bus_request, link)
                        if (other->check) {
                                n++;
                                memory += other->memory;
                        }
        }
        return n == 0 || (n < BUS_POLKIT_CHECKS_PER_USER_MAX && memory <= BUS_POLKIT_MEMORY_PER_USER_MAX);
}

int polkit_ask(
        struct bus_request *request, const char *action, polkit_answer_t handler,
        struct polkit_check **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *question = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(request->message) > 0;
        struct dbus *dbus = request->dbus;
        static uint64_t counter;
        struct polkit_check *check;
        int r;

        if (!has_room(request))
                return -EBUSY;
        r = sd_bus_message_new_method_call(
                dbus->bus, &question, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");
        if (r < 0)
                return r;
        check = calloc(1, sizeof(*check));
        if (!check)
                return -ENOMEM;
        check->request = request;
        check->handler = handler;
        (void) snprintf(
                check->cancellation_id, sizeof(check->cancellation_id), "worker-mesh-%" PRIu64, ++counter);
        r = sd_bus_message_append(
                question, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s", request->sender->name,
                action, 0, interactive ? POLKIT_ALLOW_INTERACTION : 0, check->cancellation_id);
        if (r >= 0)
                r = sd_bus_call_async(
                        dbus->bus, &check->slot, question, on_answer, check,
                        interactive ? BUS_POLKIT_INTERACTIVE_WAIT_USEC : BUS_POLKIT_WAIT_USEC);
        if (r < 0) {
                free(check);
                return r;
        }
        dbus->n_checks++;
        *ret = check;
        return 0;
}
