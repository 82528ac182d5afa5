/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The sources together: command line, environment, search path, defaults; and --help. */

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>

#include "api/dbus/dbus.h"
#include "lib/fault.h"
#include "lib/folder.h"
#include "messages.h"
#include "util/strv.h"

/* One run of the loader with its own search path, "a" before "b" in a folder. */
struct run {
        struct folder folder;
        char *paths[3];
        struct messages messages;
        struct config_context context;
        struct config config;
};

static void run_begin(struct run *run) {
        clear_environment();
        *run = (struct run){};
        folder_make(&run->folder);
        ASSERT_GE(asprintf(&run->paths[0], "%s/a", run->folder.path), 0);
        ASSERT_GE(asprintf(&run->paths[1], "%s/b", run->folder.path), 0);
        run->context = (struct config_context){
                .folders = (const char *const *) run->paths,
                .report = messages_report,
                .userdata = &run->messages,
        };
}

static void run_end(struct run *run) {
        config_done(&run->config);
        free(run->paths[0]);
        free(run->paths[1]);
        folder_remove(&run->folder);
}
#define _cleanup_run_ _cleanup_(run_end)

/* The command line is a list of words after the program's name, ending in NULL. */
static int run_load(struct run *run, const char *const *arguments) {
        char *argv[16] = { (char *) "worker-mesh" };
        int argc = 1;

        for (; *arguments; arguments++)
                argv[argc++] = (char *) *arguments;
        config_done(&run->config);
        run->config = (struct config){};
        run->messages = (struct messages){};
        return config_load_with(&run->context, argc, argv, &run->config);
}

#define LOAD(run, ...) run_load((run), (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void test_defaults(void) {
        _cleanup_run_ struct run run;
        const struct config *config = &run.config;

        run_begin(&run);
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_STREQ(run.messages.text, "");
        ASSERT_EQ(config->api_port, 3000);
        ASSERT_NULL(config->api_socket);
        ASSERT_EQ(config->discovery_port, 8080);
        ASSERT_EQ(config->node_port, 0);
        ASSERT_NULL(config->interfaces);
        ASSERT_NULL(config->labels);
        ASSERT_STREQ(config->state_directory, "/srv/somebody/.local/state/worker-mesh/3000");
        ASSERT_GE(config->slots, 1);
        ASSERT_EQ(config->heartbeat_interval_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(config->peer_timeout_usec, 30 * USEC_PER_SEC);
        ASSERT_EQ(config->keeper_wait_usec, 100 * USEC_PER_MSEC);
        ASSERT_EQ(config->drain_timeout_usec, 30 * USEC_PER_SEC);
        ASSERT_EQ(config->kill_grace_usec, 5 * USEC_PER_SEC);
        ASSERT_EQ(config->queue_max, 1000000);
        ASSERT_EQ(config->output_max_bytes, 1024 * 1024);
        ASSERT_EQ(config->history_max_age_usec, 30 * USEC_PER_DAY);
        ASSERT_EQ(config->history_max_jobs, 2000000);
        ASSERT_EQ(config->history_max_bytes, UINT64_C(4) << 30);
        ASSERT_EQ(config->connections_max, 2048);
        ASSERT_EQ(config->bus, DBUS_BUS_AUTO);
        ASSERT_EQ(config->peers_max, 1024);
        ASSERT_EQ(config->index_max, 100000);
        ASSERT_EQ(config->log_level, LOG_INFO);
        ASSERT_EQ(config->executor_program[0], '/');
        ASSERT_NULL(config->config_path);
}

static void test_places(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        setenv("XDG_STATE_HOME", "/var/state", 1);
        setenv("SYSTEMD_LOG_LEVEL", "debug", 1);
        ASSERT_EQ(LOAD(&run, "--api-port=3001"), CONFIG_OK);
        ASSERT_STREQ(run.config.state_directory, "/var/state/worker-mesh/3001");
        ASSERT_EQ(run.config.log_level, LOG_DEBUG);
        setenv("XDG_STATE_HOME", "relative", 1);
        setenv("HOME", "/", 1);
        ASSERT_EQ(LOAD(&run, "--log-level=error"), CONFIG_OK);
        ASSERT_STREQ(run.config.state_directory, "/.local/state/worker-mesh/3000");
        ASSERT_EQ(run.config.log_level, LOG_ERR);

        /* As the service manager passes more than one. */
        setenv("STATE_DIRECTORY", "/var/lib/worker-mesh:/var/lib/other", 1);
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_STREQ(run.config.state_directory, "/var/lib/worker-mesh");

        clear_environment();
        unsetenv("HOME");
        ASSERT_EQ(LOAD(&run), CONFIG_INVALID);
        ASSERT_STREQ(
                run.messages.text,
                "No state directory: set --state-dir, $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME.\n");
        ASSERT_EQ(LOAD(&run, "--state-dir", "/srv/state/"), CONFIG_OK);
        ASSERT_STREQ(run.config.state_directory, "/srv/state");
        ASSERT_EQ(LOAD(&run, "--state-dir", "below"), CONFIG_OK);
        ASSERT_EQ(run.config.state_directory[0], '/');
        ASSERT_STREQ(strrchr(run.config.state_directory, '/'), "/below");
}

static void test_precedence(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        folder_write(
                &run.folder, "a/worker-mesh.conf",
                "[Mesh]\nApiPort=1001\nSlots=1\nQueueMax=1\nInterfaces=one\n");
        setenv("API_PORT", "1002", 1);
        setenv("SLOTS", "2", 1);
        setenv("INTERFACES", "two three", 1);
        setenv("QUEUE_MAX", "", 1); /* as if not set */
        ASSERT_EQ(LOAD(&run, "--api-port", "1003"), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 1003);
        ASSERT_EQ(run.config.slots, 2);
        ASSERT_EQ(run.config.queue_max, 1);
        ASSERT_EQ(strv_length(run.config.interfaces), 2);
        ASSERT_STREQ(run.config.interfaces[0], "two");

        /* Repeated options: the last value, or all names. */
        ASSERT_EQ(LOAD(&run, "-slots=3", "-interface", "lo", "--slots", "4", "--interface=eth0"), CONFIG_OK);
        ASSERT_EQ(run.config.slots, 4);
        ASSERT_EQ(strv_length(run.config.interfaces), 2);
        ASSERT_STREQ(run.config.interfaces[0], "lo");
        ASSERT_STREQ(run.config.interfaces[1], "eth0");
}

static void test_command_line(void) {
        static const struct {
                const char *arguments[3];
                const char *message;
        } cases[] = {
                { { "--api-port", "70000" }, "--api-port=70000: must be a port from 1 to 65535." },
                { { "-api-port=x" }, "--api-port=x: must be a port from 1 to 65535." },
                { { "--api-port" }, "--api-port needs a value." },
                { { "--api-port=" }, "--api-port needs a value." },
                { { "--api-port", "" }, "--api-port needs a value." },
                { { "--config" }, "--config needs a value." },
                { { "--api" }, "Unknown option --api; --help lists those that there are." },
                { { "-x", "1" }, "Unknown option --x; --help lists those that there are." },
                { { "---slots=1" }, "Unknown option ---slots=1; --help lists those that there are." },
                { { "--help=1" }, "Unknown option --help=1; --help lists those that there are." },
                { { "start" }, "Unexpected argument \"start\"; there are only options." },
                { { "-" }, "Unexpected argument \"-\"; there are only options." },
                { { "--" }, "Unexpected argument \"--\"; there are only options." },
                { { "" }, "Unexpected argument \"\"; there are only options." },
                { { "\x1b\xff" }, "Unexpected argument \"??\"; there are only options." },
                { { "--label", "a b=c,d" },
                  "--label=a b=c,d: must be labels such as gpu=a100 or fast, at most 21 of them and 376 "
                  "bytes; a "
                  "key has letters, digits, -, _, . and /, a value no spaces, commas and quotes." },
                { { "--interface", "a/b" },
                  "--interface=a/b: must be names of network interfaces, at most 15 bytes each, at most 64 "
                  "names." },
        };
        _cleanup_run_ struct run run;

        run_begin(&run);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char expected[256];

                (void) snprintf(expected, sizeof(expected), "%s\n", cases[i].message);
                ASSERT_EQ(LOAD(&run, cases[i].arguments[0], cases[i].arguments[1]), CONFIG_USAGE);
                ASSERT_STREQ(run.messages.text, expected);
        }
}

/* A path of a socket has less room than others. */
static void test_socket_path(void) {
        _cleanup_run_ struct run run;
        char path[128] = "/";

        run_begin(&run);
        memset(path + 1, 'x', 106);
        ASSERT_EQ(LOAD(&run, "--api-socket", path), CONFIG_OK);
        ASSERT_STREQ(run.config.api_socket, path);
        path[107] = 'x';
        ASSERT_EQ(LOAD(&run, "--api-socket", path), CONFIG_USAGE);
        ASSERT_NOT_NULL(strstr(run.messages.text, "...: must be an absolute path of at most 107 bytes.\n"));
}

static void test_environment(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        setenv("HEARTBEAT_INTERVAL", "soon", 1);
        setenv("API_PORT", "0", 1);
        /* Wrong even where an option makes it of no effect. */
        ASSERT_EQ(LOAD(&run, "--api-port=3001"), CONFIG_INVALID);
        ASSERT_STREQ(
                run.messages.text,
                "$API_PORT=0: must be a port from 1 to 65535.\n"
                "$HEARTBEAT_INTERVAL=soon: must be a time span such as 5s or 1min 30s, from 100ms to 1h.\n");
}

static void test_search_path(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        folder_write(&run.folder, "b/worker-mesh.conf", "[Mesh]\nApiPort=1001\nNodePort=1\n");
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 1001);

        folder_write(&run.folder, "a/worker-mesh.conf", "[Mesh]\nApiPort=1002\n");
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 1002);
        ASSERT_EQ(run.config.node_port, 0); /* the other file is not read at all */

        /* Sorted by name over both folders, whatever the folder. */
        folder_write(
                &run.folder, "a/worker-mesh.conf.d/20-b.conf", "[Mesh]\nApiPort=1020\nInterfaces=two\n");
        folder_write(
                &run.folder, "b/worker-mesh.conf.d/10-a.conf", "[Mesh]\nApiPort=1010\nInterfaces=one\n");
        folder_write(&run.folder, "a/worker-mesh.conf.d/30.config", "[Mesh]\nQueueMax=30\n");
        folder_write(&run.folder, "a/worker-mesh.conf.d/.40.conf", "[Mesh]\nQueueMax=40\n");
        folder_write(&run.folder, "a/worker-mesh.conf.d/.conf", "[Mesh]\nQueueMax=50\n");
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 1020);
        ASSERT_EQ(run.config.queue_max, 1000000); /* no file of another name is read */
        ASSERT_EQ(strv_length(run.config.interfaces), 2);
        ASSERT_STREQ(run.config.interfaces[0], "one");

        /* The same name in the earlier folder. */
        folder_write(&run.folder, "b/worker-mesh.conf.d/20-b.conf", "[Mesh]\nApiPort=1021\n");
        folder_write(&run.folder, "a/worker-mesh.conf.d/20-b.conf", "[Mesh]\nSlots=7\n");
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 1010);
        ASSERT_EQ(run.config.slots, 7);

        ASSERT_EQ(unlinkat(run.folder.fd, "a/worker-mesh.conf.d/20-b.conf", 0), 0);
        ASSERT_EQ(symlinkat("/dev/null", run.folder.fd, "a/worker-mesh.conf.d/20-b.conf"), 0);
        ASSERT_EQ(unlinkat(run.folder.fd, "a/worker-mesh.conf", 0), 0);
        ASSERT_EQ(symlinkat("/dev/null", run.folder.fd, "a/worker-mesh.conf"), 0);
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 1010);
        ASSERT_EQ(run.config.node_port, 0);
        ASSERT_STREQ(run.messages.text, "");
}

/* The folder of the calling test stands before each path. */
static void expect_messages(struct run *run, const char *format) {
        char expected[1024];

        (void) snprintf(expected, sizeof(expected), "%s/%s\n", run->folder.path, format);
        ASSERT_STREQ(run->messages.text, expected);
}

/* A user other than root has a folder of his own in front, unless he may not look into it. */
static void test_folders(void) {
        _cleanup_strv_free_ char **none = NULL, **own = NULL, **forbidden = NULL;
        _cleanup_run_ struct run run;
        uid_t user = geteuid();
        char path[256];

        run_begin(&run);
        folder_write(&run.folder, "worker-mesh/worker-mesh.conf", "");
        ASSERT_EQ(fchmod(run.folder.fd, user == 0 ? 0700 : 0), 0);
        if (user == 0)
                ASSERT_EQ(seteuid(65534), 0);
        ASSERT_OK(config_search_folders(&none)); /* $HOME is not there */
        setenv("XDG_CONFIG_HOME", run.folder.path, 1);
        ASSERT_OK(config_search_folders(&forbidden)); /* mode 0700, and not his */
        ASSERT_EQ(seteuid(user), 0);
        ASSERT_EQ(strv_length(none), 4);
        ASSERT_STREQ(none[0], "/etc/worker-mesh");
        ASSERT_STREQ(none[1], "/run/worker-mesh");
        ASSERT_STREQ(none[2], "/usr/local/lib/worker-mesh");
        ASSERT_STREQ(none[3], "/usr/lib/worker-mesh");
        ASSERT_EQ(strv_length(forbidden), 4);

        ASSERT_EQ(fchmod(run.folder.fd, 0755), 0);
        ASSERT_EQ(fchmodat(run.folder.fd, "worker-mesh", 0755, 0), 0);
        setenv("XDG_CONFIG_HOME", run.folder.path, 1);
        if (user == 0)
                ASSERT_EQ(seteuid(65534), 0);
        ASSERT_OK(config_search_folders(&own));
        ASSERT_EQ(seteuid(user), 0);
        (void) snprintf(path, sizeof(path), "%s/worker-mesh", run.folder.path);
        ASSERT_EQ(strv_length(own), 5);
        ASSERT_STREQ(own[0], path);
}

static void test_unreadable(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        folder_write(&run.folder, "a/worker-mesh.conf/x", "");
        ASSERT_EQ(LOAD(&run), CONFIG_INVALID);
        expect_messages(&run, "a/worker-mesh.conf: Cannot read: Is a directory.");
        ASSERT_EQ(unlinkat(run.folder.fd, "a/worker-mesh.conf/x", 0), 0);
        ASSERT_EQ(unlinkat(run.folder.fd, "a/worker-mesh.conf", AT_REMOVEDIR), 0);

        ASSERT_EQ(symlinkat("/dev/zero", run.folder.fd, "a/worker-mesh.conf"), 0);
        ASSERT_EQ(LOAD(&run), CONFIG_INVALID);
        expect_messages(&run, "a/worker-mesh.conf: The file is larger than 1048576 bytes.");
        ASSERT_EQ(unlinkat(run.folder.fd, "a/worker-mesh.conf", 0), 0);

        folder_write(&run.folder, "a/worker-mesh.conf.d/1.conf", "[Mesh]\n\nApiPort=x\n");
        ASSERT_EQ(LOAD(&run), CONFIG_INVALID);
        expect_messages(&run, "a/worker-mesh.conf.d/1.conf:3: ApiPort=x: must be a port from 1 to 65535.");
        ASSERT_EQ(unlinkat(run.folder.fd, "a/worker-mesh.conf.d/1.conf", 0), 0);
        ASSERT_EQ(symlinkat("missing", run.folder.fd, "a/worker-mesh.conf.d/1.conf"), 0);
        ASSERT_EQ(LOAD(&run), CONFIG_INVALID);
        expect_messages(&run, "a/worker-mesh.conf.d/1.conf: Cannot read: it leads nowhere.");
}

static void test_config_option(void) {
        _cleanup_run_ struct run run;
        char path[256];

        run_begin(&run);
        (void) snprintf(path, sizeof(path), "%s/other", run.folder.path);
        folder_write(&run.folder, "a/worker-mesh.conf", "[Mesh]\nApiPort=1001\n");
        folder_write(&run.folder, "a/worker-mesh.conf.d/1.conf", "[Mesh]\nApiPort=1002\n");
        folder_write(&run.folder, "other", "[Mesh]\nSlots=9\n");
        ASSERT_EQ(LOAD(&run, "--config", path), CONFIG_OK);
        ASSERT_EQ(run.config.api_port, 3000);
        ASSERT_EQ(run.config.slots, 9);
        ASSERT_STREQ(run.config.config_path, path);

        (void) snprintf(path, sizeof(path), "%s/missing", run.folder.path);
        ASSERT_EQ(LOAD(&run, "--config", path), CONFIG_INVALID);
        expect_messages(&run, "missing: There is no such file.");
}

static void test_together(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        setenv("HEARTBEAT_INTERVAL", "1min", 1);
        ASSERT_EQ(LOAD(&run), CONFIG_INVALID);
        ASSERT_STREQ(
                run.messages.text, "PeerTimeout=30s (default) must be longer than HeartbeatInterval=1min "
                                   "($HEARTBEAT_INTERVAL).\n");
        ASSERT_EQ(LOAD(&run, "--peer-timeout=1min"), CONFIG_INVALID);
        ASSERT_EQ(LOAD(&run, "--peer-timeout=61s"), CONFIG_OK);

        clear_environment();
        ASSERT_EQ(LOAD(&run, "--node-port=3000"), CONFIG_INVALID);
        ASSERT_STREQ(
                run.messages.text,
                "ApiPort= (default) and NodePort= (--node-port) must differ: both are TCP port 3000.\n");
        ASSERT_EQ(LOAD(&run, "--node-port=8080"), CONFIG_INVALID);
        ASSERT_STREQ(
                run.messages.text, "DiscoveryPort= (default) and NodePort= (--node-port) must differ: both "
                                   "are UDP port 8080.\n");
        /* TCP and UDP do not meet. */
        ASSERT_EQ(LOAD(&run, "--api-port=8080"), CONFIG_OK);
}

static void test_limits(void) {
        _cleanup_run_ struct run run;
        const struct config *config = &run.config;

        run_begin(&run);
        ASSERT_EQ(LOAD(&run), CONFIG_OK);
        ASSERT_EQ(job_limits_kinds(&config->job_limits), 0);
        ASSERT_EQ(job_limits_kinds(&config->job_ceilings), 0);

        ASSERT_EQ(
                LOAD(&run, "--job-memory-max=64M", "--job-memory-max-ceiling=64M", "--job-cpu-weight=10",
                     "--job-cpu-quota=150%", "--job-cpu-quota-ceiling=200", "--job-tasks-max=5"),
                CONFIG_OK);
        ASSERT_EQ(config->job_limits.memory_max, 64 << 20);
        ASSERT_EQ(config->job_ceilings.memory_max, 64 << 20);
        ASSERT_EQ(config->job_limits.cpu_weight, 10);
        ASSERT_EQ(config->job_ceilings.cpu_weight, 0);
        ASSERT_EQ(config->job_limits.cpu_quota, 150);
        ASSERT_EQ(config->job_ceilings.cpu_quota, 200);
        ASSERT_EQ(config->job_limits.tasks_max, 5);
        ASSERT_FALSE(config->job_limits.best_effort);
}

/* Who asks for nothing gets no more than who asks. */
static void test_ceilings_are_defaults(void) {
        _cleanup_run_ struct run run;
        const struct config *config = &run.config;

        run_begin(&run);
        ASSERT_EQ(
                LOAD(&run, "--job-memory-max-ceiling=64M", "--job-cpu-weight-ceiling=50",
                     "--job-cpu-quota-ceiling=200%", "--job-tasks-max-ceiling=20"),
                CONFIG_OK);
        ASSERT_EQ(config->job_limits.memory_max, 64 << 20);
        ASSERT_EQ(config->job_limits.cpu_weight, 50);
        ASSERT_EQ(config->job_limits.cpu_quota, 200);
        ASSERT_EQ(config->job_limits.tasks_max, 20);

        /* Without a weight it is 100 anyway. */
        ASSERT_EQ(LOAD(&run, "--job-cpu-weight-ceiling=100"), CONFIG_OK);
        ASSERT_EQ(config->job_limits.cpu_weight, 0);
}

static void test_defaults_above_ceilings(void) {
        _cleanup_run_ struct run run;
        char path[256], expected[1024];

        run_begin(&run);
        (void) snprintf(path, sizeof(path), "--config=%s/file", run.folder.path);
        folder_write(
                &run.folder, "file",
                "[Mesh]\nJobMemoryMax=65M\nJobTasksMaxCeiling=9\nJobTasksMax=10\nJobMemoryMaxCeiling=64M\n");
        ASSERT_EQ(LOAD(&run, path), CONFIG_INVALID);
        (void) snprintf(
                expected, sizeof(expected),
                "JobMemoryMax=68157440 (%s/file:2) must not be above JobMemoryMaxCeiling=67108864 "
                "(%s/file:5).\n"
                "JobTasksMax=10 (%s/file:4) must not be above JobTasksMaxCeiling=9 (%s/file:3).\n",
                run.folder.path, run.folder.path, run.folder.path, run.folder.path);
        ASSERT_STREQ(run.messages.text, expected);
        ASSERT_EQ(LOAD(&run, path, "--job-memory-max=64M", "--job-tasks-max-ceiling=10"), CONFIG_OK);

        ASSERT_EQ(LOAD(&run, "--job-cpu-quota=101%", "--job-cpu-quota-ceiling=100"), CONFIG_INVALID);
        ASSERT_STREQ(
                run.messages.text,
                "JobCpuQuota=101 (--job-cpu-quota) must not be above JobCpuQuotaCeiling=100 "
                "(--job-cpu-quota-ceiling).\n");
}

/* What fails writes nothing. */
static void test_untouched(void) {
        _cleanup_run_ struct run run;
        struct config config;
        char *argv[] = { (char *) "worker-mesh", (char *) "--slots=x", NULL };

        run_begin(&run);
        memset(&config, 0xa5, sizeof(config));
        ASSERT_EQ(config_load_with(&run.context, 2, argv, &config), CONFIG_USAGE);
        ASSERT_EQ(config.api_port, 0xa5a5);
        ASSERT_TRUE(memcmp(&config.peers_max, &config.queue_max, sizeof(unsigned)) == 0);
}

static void test_reload(void) {
        _cleanup_run_ struct run run;
        char path[256];
        char *argv[] = { (char *) "worker-mesh", (char *) "--config", path, (char *) "--api-port=3001",
                         NULL };

        run_begin(&run);
        (void) snprintf(path, sizeof(path), "%s/file", run.folder.path);
        folder_write(&run.folder, "file", "[Mesh]\nSlots=1\nApiPort=1\n");
        ASSERT_EQ(config_load(4, argv, &run.config), CONFIG_OK);
        ASSERT_EQ(run.config.slots, 1);

        folder_write(&run.folder, "file", "[Mesh]\nSlots=2\n");
        ASSERT_EQ(config_reload(4, argv, &run.config), CONFIG_OK);
        ASSERT_EQ(run.config.slots, 2);
        ASSERT_EQ(run.config.api_port, 3001);

        folder_write(&run.folder, "file", "[Mesh]\nSlots=x\n");
        ASSERT_EQ(config_reload(4, argv, &run.config), CONFIG_INVALID);
        ASSERT_EQ(run.config.slots, 2);
        ASSERT_STREQ(run.config.config_path, path);
}

/* Each setting is noticed, by itself. */
static void test_changes_for_start(void) {
        char *eth0[] = { (char *) "eth0", NULL };

        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                const struct setting *setting = &settings[id];
                struct setting_value value = { .number = 7 };
                _cleanup_config_ struct config old = {}, new = {};
                _cleanup_free_ char *same = NULL, *keys = NULL, *back = NULL;

                if (setting->type == SETTING_PATH)
                        ASSERT_NOT_NULL(value.text = strdup("/somewhere"));
                if (setting->type == SETTING_NAMES)
                        value.names = eth0;
                ASSERT_OK(config_list_changes_for_start(&old, &new, &same));
                ASSERT_NULL(same);
                ASSERT_OK(setting_store(setting, &new, &value, /* add= */ true));
                ASSERT_OK(config_list_changes_for_start(&old, &new, &keys));
                ASSERT_OK(config_list_changes_for_start(&new, &old, &back));
                if (setting->reloads)
                        ASSERT_TRUE(!keys && !back);
                else {
                        ASSERT_STREQ(keys, setting->key);
                        ASSERT_STREQ(back, setting->key);
                }
        }
}

/* What an option prints on stdout, into text. */
static void capture_stdout(struct run *run, const char *option, char *text, size_t size) {
        int saved = dup(STDOUT_FILENO), fds[2];

        ASSERT_EQ(pipe(fds), 0);
        ASSERT_GE(dup2(fds[1], STDOUT_FILENO), 0);
        close(fds[1]);
        int r = LOAD(run, option);
        ASSERT_EQ(fflush(stdout), 0);
        ASSERT_GE(dup2(saved, STDOUT_FILENO), 0);
        close(saved);
        ssize_t n = read(fds[0], text, size - 1);
        close(fds[0]);
        ASSERT_GT(n, 0);
        text[n] = '\0';
        ASSERT_EQ(r, CONFIG_HELP);
        ASSERT_STREQ(run->messages.text, "");
}

static void test_help(void) {
        _cleanup_run_ struct run run;
        char text[8192], again[8192], option[64];
        unsigned lines = 0;

        run_begin(&run);
        capture_stdout(&run, "--help", text, sizeof(text));
        static const char *const others[] = { "-h", "-help" };
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                capture_stdout(&run, others[i], again, sizeof(again));
                ASSERT_STREQ(text, again);
        }
        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                (void) snprintf(
                        option, sizeof(option), "\n  --%s=%s", settings[id].option, settings[id].argument);
                const char *found = strstr(text, option);
                if (!found || !strchr(" \n", found[strlen(option)]))
                        _TEST_FAIL("--help does not have %s", option);
        }

        char *rest = text;
        for (char *line; (line = strsep(&rest, "\n")); lines++) {
                if (strlen(line) > 80)
                        _TEST_FAIL("wider than 80 columns: %s", line);
                ASSERT_FALSE(strlen(line) > 0 && line[strlen(line) - 1] == ' ');
        }
        ASSERT_LE(lines, 70);

        capture_stdout(&run, "--version", text, sizeof(text));
        ASSERT_STREQ(text, "worker-mesh " VERSION "\n");
}

/* The table keeps its own rule: one name in three spellings, and a default that is allowed. */
static void test_table(void) {
        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                const struct setting *setting = &settings[id];
                char key[64], *position = key;
                bool upper = true;

                for (const char *c = setting->option; *c; c++) {
                        if (*c != '-')
                                *position++ = (char) (upper ? *c - 'a' + 'A' : *c);
                        upper = *c == '-';
                }
                *position = '\0';
                if (id != SETTING_INTERFACES && id != SETTING_LABELS && id != SETTING_STATE_DIRECTORY)
                        ASSERT_STREQ(setting->key, key);

                position = key;
                for (const char *c = setting->key; *c; c++) {
                        bool is_upper = *c >= 'A' && *c <= 'Z';
                        if (is_upper && c > setting->key)
                                *position++ = '_';
                        *position++ = (char) (is_upper ? *c : *c - 'a' + 'A');
                }
                *position = '\0';
                ASSERT_STREQ(setting->variable, key);
                ASSERT_TRUE(setting->value || setting->shown);
        }
}

static int load_and_forget(struct run *run) {
        struct config config = {};
        char *argv[] = { (char *) "worker-mesh",    (char *) "--slots=2",   (char *) "--interface=lo",
                         (char *) "--label=gpu=a1", (char *) "--label=gpu", NULL };

        int r = config_load_with(&run->context, 5, argv, &config);
        config_done(&config);
        return r;
}

static void test_out_of_memory(void) {
        _cleanup_run_ struct run run;

        run_begin(&run);
        folder_write(&run.folder, "a/worker-mesh.conf", "[Mesh]\nApiPort=1001\n");
        folder_write(
                &run.folder, "b/worker-mesh.conf.d/1.conf", "[Mesh]\nInterfaces=eth0\nStateDirectory=/x\n");
        setenv("API_SOCKET", "/run/socket", 1);
        uint64_t failed = FAULT_LOOP(r = load_and_forget(&run));
        ASSERT_GE(failed, 20);
}

int main(void) {
        RUN(test_defaults);
        RUN(test_places);
        RUN(test_precedence);
        RUN(test_command_line);
        RUN(test_socket_path);
        RUN(test_environment);
        RUN(test_search_path);
        RUN(test_folders);
        RUN(test_unreadable);
        RUN(test_config_option);
        RUN(test_together);
        RUN(test_limits);
        RUN(test_ceilings_are_defaults);
        RUN(test_defaults_above_ceilings);
        RUN(test_untouched);
        RUN(test_reload);
        RUN(test_changes_for_start);
        RUN(test_help);
        RUN(test_table);
        RUN(test_out_of_memory);
        return 0;
}
