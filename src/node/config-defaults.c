/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sched.h>
#include <syslog.h>

#include "node/config-internal.h"
#include "util/buffer.h"
#include "util/log.h"

#define CPUS_MAX 8192 /* what the kernel can be built for */
#define EXECUTOR_NAME "worker-mesh-executor"

/* The CPUs that this process may be scheduled on. */
static unsigned cpus_usable(void) {
        cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
        size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
        long count = -1;

        if (set && sched_getaffinity(0, size, set) >= 0)
                count = CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (count < 0)
                count = sysconf(_SC_NPROCESSORS_ONLN);
        return (unsigned) CLAMP(count, 1L, (long) CONFIG_SLOTS_MAX);
}

static int log_level_default(void) {
        const char *text = getenv("SYSTEMD_LOG_LEVEL");
        int level = text ? log_level_from_text(text) : -EINVAL;

        return level >= 0 ? level : LOG_INFO;
}

/* Each API port has a folder of its own, so that several nodes of one user do not meet. */
static int state_directory_default(struct config_builder *builder, char **ret) {
        _cleanup_buffer_ struct buffer path = {};
        const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
        unsigned port = builder->config.api_port;
        int r;

        if (state && *state == '/')
                r = buffer_printf(&path, "%s/worker-mesh/%u", state, port);
        else if (home && *home == '/')
                r = buffer_printf(
                        &path, "%s/.local/state/worker-mesh/%u", streq(home, "/") ? "" : home, port);
        else {
                config_report(
                        builder, LOG_ERR,
                        "No state directory: set --state-dir, $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME.");
                return 0;
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(path.data);
        return 0;
}

/* One for all nodes of a user, beside their folders: the service manager names the upper one first. */
static int key_file_default(const struct config *config, char **ret) {
        const char *managed = getenv("STATE_DIRECTORY"), *state = getenv("XDG_STATE_HOME");
        const char *home = getenv("HOME");
        _cleanup_buffer_ struct buffer path = {};
        int r;

        if (managed && *managed == '/')
                r = buffer_printf(&path, "%.*s/mesh.key", (int) strcspn(managed, ":"), managed);
        else if (state && *state == '/')
                r = buffer_printf(&path, "%s/worker-mesh/mesh.key", state);
        else if (home && *home == '/')
                r = buffer_printf(
                        &path, "%s/.local/state/worker-mesh/mesh.key", streq(home, "/") ? "" : home);
        else
                r = buffer_printf(&path, "%s/mesh.key", config->state_directory);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(path.data);
        return 0;
}

/* In the folder of this program, in the one below it that the build makes, or where it was installed. */
static int executor_program_default(char **ret) {
        static const char *const places[] = { EXECUTOR_NAME, "executor/" EXECUTOR_NAME };
        char own[4096];

        ssize_t length = readlink("/proc/self/exe", own, sizeof(own));
        if (length > 0 && (size_t) length < sizeof(own)) {
                own[length] = '\0';
                char *name = strrchr(own, '/') + 1;
                for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                        _cleanup_buffer_ struct buffer path = {};
                        int r = buffer_printf(&path, "%.*s%s", (int) (name - own), own, places[i]);
                        if (r < 0)
                                return r;
                        if (access(path.data, X_OK) >= 0) {
                                *ret = TAKE_PTR(path.data);
                                return 0;
                        }
                }
        }

        *ret = strdup(EXECUTOR_PATH);
        return *ret ? 0 : -ENOMEM;
}

int config_fill_in(struct config_builder *builder) {
        struct config *config = &builder->config;
        int r;

        if (builder->settings[SETTING_SLOTS].layer == LAYER_DEFAULT)
                config->slots = cpus_usable();
        if (builder->settings[SETTING_LOG_LEVEL].layer == LAYER_DEFAULT)
                config->log_level = log_level_default();
        if (!config->state_directory) {
                r = state_directory_default(builder, &config->state_directory);
                if (r < 0)
                        return r;
        }
        r = key_file_default(config, &config->key_file_default);
        if (r < 0)
                return r;
        return config->executor_program || config->executor_socket
                       ? 0
                       : executor_program_default(&config->executor_program);
}
