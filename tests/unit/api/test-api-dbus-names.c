/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names, paths, addresses and errors of the D-Bus face, without a bus. */

#include "api/dbus/internal.h"
#include "lib/tests.h"

static void test_names_of_nodes(void) {
        char name[BUS_NAME_MAX + 1], longest[NODE_ID_MAX + 1];

        ASSERT_OK(bus_name_from_node_id("node-0123456789abcdef", name));
        ASSERT_STREQ(name, "org.workermesh.Mesh1.node_0123456789abcdef");
        ASSERT_TRUE(sd_bus_service_name_is_valid(name) > 0);

        ASSERT_OK(bus_name_from_node_id("web.1-Berlin_x", name));
        ASSERT_STREQ(name, "org.workermesh.Mesh1.node_web_1_Berlin_x");
        memset(longest, '.', NODE_ID_MAX);
        longest[NODE_ID_MAX] = '\0';
        ASSERT_OK(bus_name_from_node_id(longest, name));
        ASSERT_TRUE(sd_bus_service_name_is_valid(name) > 0);
}

static void test_paths_of_jobs(void) {
        static const char *const wrong[] = {
                "",
                "/org/workermesh/Mesh1",
                JOB_PATH_PREFIX,
                JOB_PATH_PREFIX "/",
                JOB_PATH_PREFIX "/550e8400e29b41d4a71644665544000",
                JOB_PATH_PREFIX "/550e8400e29b41d4a7164466554400000",
                JOB_PATH_PREFIX "/550E8400e29b41d4a716446655440000",
                JOB_PATH_PREFIX "/ 50e8400e29b41d4a716446655440000",
                JOB_PATH_PREFIX "/0x0e8400e29b41d4a716446655440000",
                JOB_PATH_PREFIX "/550e8400-e29b-41d4-a716-44665544",
                PEER_PATH_PREFIX "/550e8400e29b41d4a716446655440000",
        };
        char path[JOB_PATH_SIZE];
        struct uuid id, again;

        ASSERT_OK(uuid_from_text("550e8400-e29b-41d4-a716-446655440000", &id));
        ASSERT_STREQ(job_path(&id, path), JOB_PATH_PREFIX "/550e8400e29b41d4a716446655440000");
        ASSERT_TRUE(sd_bus_object_path_is_valid(path) > 0);
        ASSERT_OK(job_path_to_id(path, &again));
        ASSERT_TRUE(uuid_equal(&id, &again));
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                ASSERT_ERROR(job_path_to_id(wrong[i], &again), EINVAL);
}

static void clear_environment(void) {
        static const char *const names[] = { "DBUS_SESSION_BUS_ADDRESS",
                                             "DBUS_SYSTEM_BUS_ADDRESS",
                                             "XDG_RUNTIME_DIR",
                                             "NOTIFY_SOCKET",
                                             "SYSTEMD_EXEC_PID",
                                             "MANAGERPID",
                                             "INVOCATION_ID" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                (void) unsetenv(names[i]);
}

/* kind: that of the bus; address: NULL where there is none. */
static void check_address(enum dbus_bus bus, const char *kind, const char *address) {
        _cleanup_free_ char *found = NULL;
        const char *found_kind, *reason;

        ASSERT_OK(bus_address(bus, &found, &found_kind, &reason));
        ASSERT_STREQ(found_kind, kind);
        if (address)
                ASSERT_STREQ(found, address);
        else
                ASSERT_NULL(found);
        ASSERT_EQ(reason != NULL, address == NULL);
}

static void test_which_bus(void) {
        char pid[16];

        clear_environment();
        check_address(DBUS_BUS_AUTO, "session", NULL);
        check_address(DBUS_BUS_NONE, "session", NULL);
        check_address(DBUS_BUS_SYSTEM, "system", "unix:path=/run/dbus/system_bus_socket");
        (void) setenv("INVOCATION_ID", "inherited by a shell", 1);
        check_address(DBUS_BUS_AUTO, "session", NULL);

        (void) setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/system", 1);
        (void) setenv("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=session", 1);
        check_address(DBUS_BUS_AUTO, "session", "unix:abstract=session");
        (void) setenv("SYSTEMD_EXEC_PID", "1", 1);
        check_address(DBUS_BUS_AUTO, "session", "unix:abstract=session");
        (void) snprintf(pid, sizeof(pid), "%d", (int) getpid());
        (void) setenv("SYSTEMD_EXEC_PID", pid, 1);
        check_address(DBUS_BUS_AUTO, "system", "unix:path=/system");
        check_address(DBUS_BUS_SESSION, "session", "unix:abstract=session");
        (void) setenv("MANAGERPID", "17", 1); /* the manager of a user */
        check_address(DBUS_BUS_AUTO, "session", "unix:abstract=session");
        clear_environment();
        (void) setenv("NOTIFY_SOCKET", "/run/notify", 1);
        check_address(DBUS_BUS_AUTO, "system", "unix:path=/run/dbus/system_bus_socket");
        clear_environment();
}

static void test_addresses_of_other_kinds(void) {
        static const char *const wrong[] = { "unixexec:path=/bin/true", "tcp:host=example.org,port=1",
                                             "unix:path=/a;tcp:host=b", "autolaunch:", "x" };

        clear_environment();
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                (void) setenv("DBUS_SESSION_BUS_ADDRESS", wrong[i], 1);
                check_address(DBUS_BUS_SESSION, "session", NULL);
        }
        (void) setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/a;unix:path=/b", 1);
        check_address(DBUS_BUS_SESSION, "session", "unix:path=/a;unix:path=/b");
        clear_environment();
}

/* The place of a user's bus, with characters that an address writes in another way. */
static void test_bus_of_a_user(void) {
        char folder[] = "/tmp/worker mesh,XXXXXX", path[64], wanted[128];
        FILE *file;

        ASSERT_NOT_NULL(mkdtemp(folder));
        clear_environment();
        (void) setenv("XDG_RUNTIME_DIR", folder, 1);
        check_address(DBUS_BUS_AUTO, "session", NULL);

        (void) snprintf(path, sizeof(path), "%s/bus", folder);
        file = fopen(path, "we");
        ASSERT_NOT_NULL(file);
        (void) fclose(file);
        (void) snprintf(
                wanted, sizeof(wanted), "unix:path=/tmp/worker%%20mesh%%2c%s/bus",
                folder + strlen("/tmp/worker mesh,"));
        check_address(DBUS_BUS_AUTO, "session", wanted);
        clear_environment();
        (void) unlink(path);
        (void) rmdir(folder);
}

/* Every code has a valid name of its own. */
static void test_names_of_errors(void) {
        char names[_PROBLEM_CODE_MAX][sizeof(((struct bus_fault *) NULL)->name)];

        for (unsigned code = PROBLEM_INVALID; code < _PROBLEM_CODE_MAX; code++) {
                struct problem problem = { .code = (enum problem_code) code, .detail = "why" };
                struct bus_fault fault;

                bus_fault_from_problem(&fault, &problem);
                ASSERT_STREQ(fault.detail, "why");
                ASSERT_TRUE(sd_bus_interface_name_is_valid(fault.name) > 0);
                for (unsigned other = PROBLEM_INVALID; other < code; other++)
                        ASSERT_FALSE(streq(fault.name, names[other]));
                memcpy(names[code], fault.name, sizeof(names[code]));
        }
        ASSERT_STREQ(names[PROBLEM_FORBIDDEN], SD_BUS_ERROR_ACCESS_DENIED);
        ASSERT_STREQ(names[PROBLEM_QUEUE_FULL], "org.workermesh.Mesh1.Error.QueueFull");
        ASSERT_STREQ(names[PROBLEM_TOO_MANY_CALLS], "org.workermesh.Mesh1.Error.TooManyCalls");
}

static void test_texts_of_errors(void) {
        struct problem problem = {
                .code = PROBLEM_INVALID, .has_index = true, .index = 17, .detail = "why"
        };
        char text[400] = "";
        struct bus_fault fault;

        bus_fault_from_problem(&fault, &problem);
        ASSERT_STREQ(fault.detail, "job 17: why");

        bus_fault_set(&fault, "a.b", "one\nline\t\x7f");
        ASSERT_STREQ(fault.detail, "one?line??");
        /* Two bytes each: the limit lies within one of them for one of the two. */
        for (size_t start = 0; start < 2; start++) {
                memset(text, 'x', start);
                for (size_t i = start; i + 2 < sizeof(text); i += 2)
                        memcpy(text + i, "\xc3\xbc", 3);
                bus_fault_set(&fault, "a.b", "%s", text);
                ASSERT_GE(strlen(fault.detail), sizeof(fault.detail) - 2);
                ASSERT_TRUE(strncmp(fault.detail, text, strlen(fault.detail)) == 0);
                ASSERT_EQ((strlen(fault.detail) - start) % 2, 0);
        }
}

/* sd-bus refuses these, and all of a message with one. */
static void test_characters_that_stand_for_nothing(void) {
        static const struct {
                const char *text, *plain;
        } cases[] = {
                { "", "" },
                { "plain", "plain" },
                { "\xef\xbf\xbd \xf0\x9f\x98\x80", "\xef\xbf\xbd \xf0\x9f\x98\x80" },
                { "\xef\xb7\x8f\xef\xb7\xb0", "\xef\xb7\x8f\xef\xb7\xb0" }, /* U+FDCF, U+FDF0 */
                { "a\xef\xb7\x90z", "a\xef\xbf\xbdz" },
                { "\xef\xb7\xaf", "\xef\xbf\xbd" },
                { "\xef\xbf\xbe\xef\xbf\xbf", "\xef\xbf\xbd\xef\xbf\xbd" },
                { "a\xf0\x9f\xbf\xbe"
                  "b\xf4\x8f\xbf\xbf",
                  "a\xef\xbf\xbd"
                  "b\xef\xbf\xbd" },
                { "\xff"
                  "a\xc3",
                  "?a?" },
        };
        struct bus_fault fault;
        char text[32];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                (void) snprintf(text, sizeof(text), "%s", cases[i].text);
                bus_text_make_plain(text);
                ASSERT_STREQ(text, cases[i].plain);
        }
        bus_fault_set(&fault, "a.b", "%s", "\xef\xbf\xbe");
        ASSERT_STREQ(fault.detail, "\xef\xbf\xbd");
}

int main(void) {
        RUN(test_names_of_nodes);
        RUN(test_paths_of_jobs);
        RUN(test_which_bus);
        RUN(test_addresses_of_other_kinds);
        RUN(test_bus_of_a_user);
        RUN(test_names_of_errors);
        RUN(test_texts_of_errors);
        RUN(test_characters_that_stand_for_nothing);
        return 0;
}
