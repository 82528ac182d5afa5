/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The arguments of a submission, with one allocation after the other failing while they are read. */

#include <sys/socket.h>

#include "api/dbus/submission.h"
#include "lib/fault.h"
#include "lib/tests.h"

static int read_and_free(sd_bus_message *message, bool is_list) {
        struct submission *submission;
        struct bus_fault fault = {};
        int r;

        ASSERT_OK(sd_bus_message_rewind(message, true));
        r = submission_read(message, is_list, &submission, &fault);
        ASSERT_EQ(fault.name[0], '\0');
        if (r >= 0)
                submission_free(submission);
        return r;
}

/* A message needs a connection that has begun; nobody is at its other end. */
static sd_bus *make_bus(void) {
        sd_bus *bus;
        int fds[2];

        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        ASSERT_OK(sd_bus_set_fd(bus, fds[0], fds[0]));
        ASSERT_OK(sd_bus_start(bus));
        close_fd(fds[1]);
        return bus;
}

static sd_bus_message *make_message(sd_bus *bus, const char *member) {
        sd_bus_message *message;

        ASSERT_OK(sd_bus_message_new_method_call(
                bus, &message, BUS_NAME, "/org/workermesh/Mesh1", BUS_NAME ".Manager", member));
        return message;
}

static void test_one_job(sd_bus *bus) {
        sd_bus_message *message = make_message(bus, "SubmitJob");
        uint64_t n_failed;

        ASSERT_OK(sd_bus_message_append(
                message, "sa{sv}", "true", 4, "env", "a{ss}", 1, "NAME", "value", "stdin", "s", "text",
                "timeout_seconds", "i", 30, "idempotency_key", "s", "key"));
        ASSERT_OK(sd_bus_message_seal(message, 1, 0));
        n_failed = FAULT_LOOP(r = read_and_free(message, /* is_list= */ false));
        ASSERT_GE(n_failed, 3);
        sd_bus_message_unref(message);
}

static void test_list(sd_bus *bus) {
        sd_bus_message *message = make_message(bus, "SubmitJobs");
        uint64_t n_failed;

        ASSERT_OK(sd_bus_message_append(
                message, "a(sa{sv})a{sv}", 3, "true", 1, "env", "a{ss}", 1, "A", "b", "false", 0, "true", 1,
                "env", "a{ss}", 0, 0));
        ASSERT_OK(sd_bus_message_seal(message, 1, 0));
        n_failed = FAULT_LOOP(r = read_and_free(message, /* is_list= */ true));
        ASSERT_GE(n_failed, 5);
        sd_bus_message_unref(message);
}

int main(void) {
        sd_bus *bus = make_bus();

        test_one_job(bus);
        test_list(bus);
        sd_bus_unref(bus);
        return 0;
}
