/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bytes of one file: what they set, and what is said about them. */

#include <syslog.h>

#include "api/dbus/dbus.h"
#include "lib/fault.h"
#include "messages.h"
#include "util/buffer.h"
#include "util/strv.h"

static int parse(struct config_builder *builder, const char *data, size_t size) {
        int r = config_builder_init(builder, builder->context);

        return r < 0 ? r : config_parse(builder, "file", data, size);
}

static void test_good(void) {
        static const char text[] = "\xef\xbb\xbf# comment\n"
                                   "  ; another = one\n"
                                   "\n"
                                   "[Mesh]\r\n"
                                   "ApiPort=3001\r\n"
                                   "  DiscoveryPort \t =  8090  \n"
                                   "HeartbeatInterval=1min 30s\n"
                                   "PeerTimeout=5min\n"
                                   "KeeperWait=250ms\n"
                                   "Interfaces=lo eth0\n"
                                   "Interfaces=\\\n"
                                   "# a comment between continued lines\n"
                                   "  wlan0 \\\n"
                                   "  lo\n"
                                   "OutputMax=\\\r\n"
                                   "64K\n"
                                   "HistoryMaxUse=infinity\n"
                                   "HistoryMaxAge=infinity\n"
                                   "StateDirectory=/srv/mesh state/\n"
                                   "ApiSocket=/run/a=b#c;d\\\\\n"
                                   "Bus=none\n"
                                   "LogLevel=debug\n"
                                   "Slots=0\n"
                                   "Labels=arch=x86_64 gpu=a100\n"
                                   "Labels=fast gpu=h100 gpu=h200\n"
                                   "[X-Other]\n"
                                   "ApiPort=nonsense\n"
                                   "[Mesh]\n"
                                   "X-Key=nonsense\n"
                                   "KillGrace=0";
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };
        const struct config *config = &builder.config;

        ASSERT_OK(parse(&builder, text, sizeof(text) - 1));
        ASSERT_STREQ(messages.text, "");
        ASSERT_FALSE(builder.is_invalid);
        ASSERT_EQ(config->api_port, 3001);
        ASSERT_EQ(config->discovery_port, 8090);
        ASSERT_EQ(config->heartbeat_interval_usec, 90 * USEC_PER_SEC);
        ASSERT_EQ(config->peer_timeout_usec, 5 * USEC_PER_MINUTE);
        ASSERT_EQ(config->keeper_wait_usec, 250 * USEC_PER_MSEC);
        ASSERT_EQ(strv_length(config->labels), 3);
        ASSERT_STREQ(config->labels[0], "arch=x86_64");
        ASSERT_STREQ(config->labels[1], "gpu=h200");
        ASSERT_STREQ(config->labels[2], "fast");
        ASSERT_EQ(strv_length(config->interfaces), 3);
        ASSERT_STREQ(config->interfaces[0], "lo");
        ASSERT_STREQ(config->interfaces[1], "eth0");
        ASSERT_STREQ(config->interfaces[2], "wlan0");
        ASSERT_EQ(config->output_max_bytes, 65536);
        ASSERT_TRUE(config->history_max_bytes == UINT64_MAX);
        ASSERT_TRUE(config->history_max_age_usec == USEC_INFINITY);
        ASSERT_STREQ(config->state_directory, "/srv/mesh state");
        ASSERT_STREQ(config->api_socket, "/run/a=b#c;d\\\\");
        ASSERT_EQ(config->bus, DBUS_BUS_NONE);
        ASSERT_EQ(config->log_level, LOG_DEBUG);
        ASSERT_EQ(config->slots, 0);
        ASSERT_EQ(config->kill_grace_usec, 0);
        ASSERT_EQ(config->queue_max, 1000000); /* not named: the default */
        ASSERT_STREQ(builder.settings[SETTING_API_PORT].origin, "file:5");
        ASSERT_STREQ(builder.settings[SETTING_INTERFACES].origin, "file:11");
}

static void test_reset(void) {
        static const char text[] = "[Mesh]\n"
                                   "ApiPort=3001\n"
                                   "ApiPort=\n"
                                   "Interfaces=lo\n"
                                   "Interfaces=\n"
                                   "Interfaces=eth0\n"
                                   "ApiSocket=/run/socket\n"
                                   "ApiSocket =   \n"
                                   "HeartbeatInterval=1s\n"
                                   "HeartbeatInterval=\n";
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };

        ASSERT_OK(parse(&builder, text, sizeof(text) - 1));
        ASSERT_STREQ(messages.text, "");
        ASSERT_EQ(builder.config.api_port, 3000);
        ASSERT_EQ(strv_length(builder.config.interfaces), 1);
        ASSERT_STREQ(builder.config.interfaces[0], "eth0");
        ASSERT_NULL(builder.config.api_socket);
        ASSERT_EQ(builder.config.heartbeat_interval_usec, 5 * USEC_PER_SEC);
        ASSERT_NULL(builder.settings[SETTING_API_PORT].origin);
}

#define PORT_TEXT "must be a port from 1 to 65535."
#define SPAN_TEXT "must be a time span such as 5s or 1min 30s, from 100ms to 1h."
#define PERCENT_TEXT "must be a percentage of one CPU such as 150%, from 1% to 1000000%."
#define SIZE_TEXT "must be a size in bytes such as 64K or 1.5M, from 4K to 64M."
#define PATH_TEXT "must be an absolute path of at most 4095 bytes."
#define NAMES_TEXT "must be names of network interfaces, at most 15 bytes each, at most 64 names."

#define LABELS_TEXT                                                                                      \
        "must be labels such as gpu=a100 or fast, at most 21 of them and 376 bytes; a key has letters, " \
        "digits, -, _, . and /, a value no spaces, commas and quotes."

static void test_messages(void) {
        static const struct {
                const char *text; /* behind "[Mesh]\n" */
                const char *message;
        } cases[] = {
                { "ApiPort=70000", "file:2: ApiPort=70000: " PORT_TEXT },
                { "ApiPort=0", "file:2: ApiPort=0: " PORT_TEXT },
                { "ApiPort=-1", "file:2: ApiPort=-1: " PORT_TEXT },
                { "ApiPort=http", "file:2: ApiPort=http: " PORT_TEXT },
                { "ApiPort=3000 # port", "file:2: ApiPort=3000 # port: " PORT_TEXT },
                { "ApiPort=\\\n 30 \\\n 00", "file:2: ApiPort=30   00: " PORT_TEXT },
                { "NodePort=65536", "file:2: NodePort=65536: must be a port from 0 to 65535." },
                { "Slots=4097", "file:2: Slots=4097: must be a whole number from 0 to 4096." },
                { "Slots=1.5", "file:2: Slots=1.5: must be a whole number from 0 to 4096." },
                { "HeartbeatInterval=5x", "file:2: HeartbeatInterval=5x: " SPAN_TEXT },
                { "HeartbeatInterval=99ms", "file:2: HeartbeatInterval=99ms: " SPAN_TEXT },
                { "HeartbeatInterval=61min", "file:2: HeartbeatInterval=61min: " SPAN_TEXT },
                { "OutputMax=1K", "file:2: OutputMax=1K: " SIZE_TEXT },
                { "OutputMax=1 MB", "file:2: OutputMax=1 MB: " SIZE_TEXT },
                { "HistoryMaxUse=1", "file:2: HistoryMaxUse=1: must be a size in bytes such as 64K or 1.5M, "
                                     "from 1M to infinity." },
                { "HistoryMaxAge=0", "file:2: HistoryMaxAge=0: must be a time span such as 5s or 1min 30s, "
                                     "from 1s to infinity." },
                { "JobMemoryMax=1K", "file:2: JobMemoryMax=1K: must be a size in bytes such as 64K or 1.5M, "
                                     "from 1M to 1P." },
                { "JobCpuWeightCeiling=10001",
                  "file:2: JobCpuWeightCeiling=10001: must be a whole number from 1 to 10000." },
                { "JobCpuQuota=1.5", "file:2: JobCpuQuota=1.5: " PERCENT_TEXT },
                { "JobCpuQuota=0%", "file:2: JobCpuQuota=0%: " PERCENT_TEXT },
                { "JobCpuQuota=50%%", "file:2: JobCpuQuota=50%%: " PERCENT_TEXT },
                { "JobCpuQuota=%", "file:2: JobCpuQuota=%: " PERCENT_TEXT },
                { "StateDirectory=state", "file:2: StateDirectory=state: " PATH_TEXT },
                { "StateDirectory=/a\tb", "file:2: StateDirectory=/a?b: " PATH_TEXT },
                { "Interfaces=lo 0123456789abcdef", "file:2: Interfaces=lo 0123456789abcdef: " NAMES_TEXT },
                { "Interfaces=a/b", "file:2: Interfaces=a/b: " NAMES_TEXT },
                { "Labels=gpu=a,b", "file:2: Labels=gpu=a,b: " LABELS_TEXT },
                { "Labels==x", "file:2: Labels==x: " LABELS_TEXT },
                { "Labels=\"a b\"", "file:2: Labels=\"a b\": " LABELS_TEXT },
                { "Bus=both", "file:2: Bus=both: must be one of auto, system, session, none." },
                { "Bus=System", "file:2: Bus=System: must be one of auto, system, session, none." },
                { "LogLevel=loud", "file:2: LogLevel=loud: must be one of debug, info, notice, warning, "
                                   "error, crit, alert, emerg, "
                                   "or 7 to 0." },
                { "ApiPort 3001", "file:2: ApiPort 3001: neither a section nor Key=value." },
                { "[Mesh", "file:2: [Mesh: a section must end with ]." },
                { "\n\n[", "file:4: [: a section must end with ]." },
                { "Port=1", "warning: file:2: Unknown key Port=, ignoring it." },
                { "apiport=1", "warning: file:2: Unknown key apiport=, ignoring it; ApiPort= is meant?" },
                { "=1", "warning: file:2: Unknown key =, ignoring it." },
                { "[Other]\nApiPort=x",
                  "warning: file:2: Unknown section [Other], ignoring it; known is [Mesh]." },
                { "[]", "warning: file:2: Unknown section [], ignoring it; known is [Mesh]." },
                { "ApiPort=3\x01\x1b[1m", "file:2: ApiPort=3??[1m: " PORT_TEXT },
                { "ApiPort=12345678901234567890123456789012345678901234567890123456789012345",
                  "file:2: "
                  "ApiPort=123456789012345678901234567890123456789012345678901234567890...: " PORT_TEXT },
                { "ApiPort=\xff", "file:2: The line is not valid UTF-8." },
                { "ApiPort=\\", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct messages messages = {};
                struct config_context context = { .report = messages_report, .userdata = &messages };
                _cleanup_config_builder_ struct config_builder builder = { .context = &context };
                char text[512], expected[512] = "";

                (void) snprintf(text, sizeof(text), "[Mesh]\n%s\n", cases[i].text);
                if (cases[i].message)
                        (void) snprintf(expected, sizeof(expected), "%s\n", cases[i].message);
                ASSERT_OK(parse(&builder, text, strlen(text)));
                ASSERT_STREQ(messages.text, expected);
                ASSERT_EQ(
                        builder.is_invalid,
                        cases[i].message && strncmp(cases[i].message, "warning", 7) != 0);
                /* What is wrong changes nothing. */
                ASSERT_EQ(builder.config.api_port, 3000);
                ASSERT_NULL(builder.config.interfaces);
                ASSERT_NULL(builder.config.labels);
        }
}

static void expect_message(const char *data, size_t size, const char *message) {
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };

        ASSERT_OK(parse(&builder, data, size));
        ASSERT_STREQ(messages.text, message);
}

static void test_odd_bytes(void) {
        static char line[CONFIG_LINE_MAX + 32];
        char *position;

        expect_message("", 0, "");
        expect_message("\n", 1, "");
        expect_message("\\", 1, "");
        expect_message("\xef\xbb", 2, "file:1: The line is not valid UTF-8.\n");
        expect_message("[Mesh]\nApiPort=1\0\n", 18, "file:2: The line contains a NUL byte.\n");
        expect_message("ApiPort=1", 9, "file:1: ApiPort= stands before any section; [Mesh] is missing.\n");

        /* As long as allowed, and one byte more. */
        position = mempcpy(line, "[Mesh]\n#", 8);
        memset(position, 'x', CONFIG_LINE_MAX);
        expect_message(line, 7 + CONFIG_LINE_MAX, "");
        expect_message(line, 8 + CONFIG_LINE_MAX, "file:2: The line is longer than 8192 bytes.\n");
}

static void test_long_continuation(void) {
        _cleanup_buffer_ struct buffer text = {};

        ASSERT_OK(buffer_append_text(&text, "[Mesh]\nInterfaces=\\\n"));
        for (unsigned i = 0; i < 2000; i++)
                ASSERT_OK(buffer_append_text(&text, "lo   \\\n"));
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };
        ASSERT_OK(parse(&builder, text.data, text.size));
        ASSERT_EQ(strncmp(messages.text, "file:2: The line is longer than 8192 bytes.\n", 44), 0);
}

static void test_many_messages(void) {
        _cleanup_buffer_ struct buffer text = {};
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };

        ASSERT_OK(buffer_append_text(&text, "[Mesh]\n"));
        for (unsigned i = 0; i < 10000; i++)
                ASSERT_OK(buffer_append_text(&text, "Unknown=1\n"));
        ASSERT_OK(buffer_append_text(&text, "ApiPort=0\n"));
        ASSERT_OK(parse(&builder, text.data, text.size));
        ASSERT_EQ(messages.count, CONFIG_MESSAGES_MAX + 1);
        ASSERT_NOT_NULL(strstr(messages.text, "\nwarning: More than 20 messages; the rest is left out.\n"));
        ASSERT_TRUE(builder.is_invalid); /* even so */
}

static void test_many_interfaces(void) {
        _cleanup_buffer_ struct buffer text = {};
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };

        ASSERT_OK(buffer_append_text(&text, "[Mesh]\n"));
        for (unsigned i = 0; i <= CONFIG_INTERFACES_MAX; i++)
                ASSERT_OK(buffer_printf(&text, "Interfaces=eth%u\n", i));
        ASSERT_OK(parse(&builder, text.data, text.size));
        ASSERT_STREQ(messages.text, "file:66: Interfaces=eth64: " NAMES_TEXT "\n");
        ASSERT_EQ(strv_length(builder.config.interfaces), CONFIG_INTERFACES_MAX);
}

static int parse_and_forget(const char *text) {
        static const struct config_context context = {};
        _cleanup_config_builder_ struct config_builder builder = { .context = &context };

        return parse(&builder, text, strlen(text));
}

static void test_out_of_memory(void) {
        uint64_t failed = FAULT_LOOP(
                r = parse_and_forget(
                        "[Mesh]\nApiPort=1\nInterfaces=a b\nInterfaces=c\nStateDirectory=/x\n"));
        ASSERT_GE(failed, 10);
}

/* One label, or one byte, more than there is room for; a changed one needs none. */
static void test_many_labels(void) {
        struct messages messages = {};
        struct config_context context = { .report = messages_report, .userdata = &messages };
        _cleanup_config_builder_ struct config_builder builder = { .context = &context }, large = builder;
        _cleanup_buffer_ struct buffer text = {}, long_text = {};

        ASSERT_OK(buffer_append_text(&text, "[Mesh]\n"));
        for (unsigned i = 0; i < 21; i++)
                ASSERT_OK(buffer_printf(&text, "Labels=k%u=v\n", i));
        ASSERT_OK(buffer_append_text(&text, "Labels=k3=other\n"));
        ASSERT_OK(parse(&builder, text.data, text.size));
        ASSERT_STREQ(messages.text, "");
        ASSERT_EQ(strv_length(builder.config.labels), 21);
        ASSERT_STREQ(builder.config.labels[3], "k3=other");
        ASSERT_OK(config_parse(&builder, "file", "[Mesh]\nLabels=more\n", 19));
        ASSERT_STREQ(messages.text, "file:2: Labels=more: " LABELS_TEXT "\n");

        ASSERT_OK(buffer_append_text(&long_text, "[Mesh]\n"));
        for (unsigned i = 0; i < 6; i++)
                ASSERT_OK(buffer_printf(&long_text, "Labels=k%u=%0*u\n", i, i < 5 ? 61 : 58, i));
        messages = (struct messages){};
        ASSERT_OK(parse(&large, long_text.data, long_text.size));
        ASSERT_STREQ(messages.text, "");
        ASSERT_OK(config_parse(&large, "file", "[Mesh]\nLabels=k=\n", 17));
        ASSERT_STREQ(messages.text, "");
        ASSERT_OK(config_parse(&large, "file", "[Mesh]\nLabels=1=2\n", 18));
        ASSERT_STREQ(messages.text, "file:2: Labels=1=2: " LABELS_TEXT "\n");
}

int main(void) {
        clear_environment();
        RUN(test_good);
        RUN(test_reset);
        RUN(test_messages);
        RUN(test_odd_bytes);
        RUN(test_long_continuation);
        RUN(test_many_messages);
        RUN(test_many_interfaces);
        RUN(test_many_labels);
        RUN(test_out_of_memory);
        return 0;
}
