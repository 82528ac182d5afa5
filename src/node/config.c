/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node/config.h"

#include <inttypes.h>
#include <syslog.h>

#include "node/config-internal.h"
#include "util/strv.h"
#include "wire/job-limits.h"

void config_done(struct config *config) {
        free(config->api_socket);
        config->interfaces = strv_free(config->interfaces);
        config->labels = strv_free(config->labels);
        free(config->state_directory);
        free(config->executor_program);
        free(config->executor_socket);
        free(config->config_path);
        free(config->key_file);
        free(config->key_file_default);
        config->api_socket = config->state_directory = config->executor_program = config->executor_socket =
                config->config_path = config->key_file = config->key_file_default = NULL;
}

/* "--api-port", "/etc/worker-mesh/worker-mesh.conf:3" or "default". */
static const char *origin(const struct config_builder *builder, enum setting_id id) {
        return builder->settings[id].origin ?: "default";
}

static void check_ports(struct config_builder *builder, enum setting_id other, const char *protocol) {
        const struct config *config = &builder->config;
        unsigned port = other == SETTING_API_PORT ? config->api_port : config->discovery_port;

        if (port != config->node_port)
                return;
        config_report(
                builder, LOG_ERR, "%s= (%s) and NodePort= (%s) must differ: both are %s port %u.",
                settings[other].key, origin(builder, other), origin(builder, SETTING_NODE_PORT), protocol,
                port);
}

static void check_ceilings(struct config_builder *builder) {
        static const enum setting_id defaults[_LIMIT_FIELD_MAX] = {
                [LIMIT_MEMORY_MAX] = SETTING_JOB_MEMORY_MAX,
                [LIMIT_CPU_WEIGHT] = SETTING_JOB_CPU_WEIGHT,
                [LIMIT_CPU_QUOTA] = SETTING_JOB_CPU_QUOTA,
                [LIMIT_TASKS_MAX] = SETTING_JOB_TASKS_MAX,
        };

        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t value = job_limits_get(&builder->config.job_limits, field);
                uint64_t ceiling = job_limits_get(&builder->config.job_ceilings, field);
                /* Each is followed by its ceiling. */
                enum setting_id id = defaults[field], other = id + 1;

                if (ceiling > 0 && value > ceiling)
                        config_report(
                                builder, LOG_ERR,
                                "%s=%" PRIu64 " (%s) must not be above %s=%" PRIu64 " (%s).",
                                settings[id].key, value, origin(builder, id), settings[other].key, ceiling,
                                origin(builder, other));
        }
}

/* What is wrong only in company. */
static void check_together(struct config_builder *builder) {
        const struct config *config = &builder->config;
        char interval[SPAN_TEXT_MAX], timeout[SPAN_TEXT_MAX];

        if (config->peer_timeout_usec <= config->heartbeat_interval_usec)
                config_report(
                        builder, LOG_ERR,
                        "PeerTimeout=%s (%s) must be longer than HeartbeatInterval=%s (%s).",
                        format_span(timeout, sizeof(timeout), config->peer_timeout_usec),
                        origin(builder, SETTING_PEER_TIMEOUT),
                        format_span(interval, sizeof(interval), config->heartbeat_interval_usec),
                        origin(builder, SETTING_HEARTBEAT_INTERVAL));
        /* REST is TCP, discovery UDP, and a node port is both; a node port of 0 steps aside by itself. */
        check_ports(builder, SETTING_API_PORT, "TCP");
        check_ports(builder, SETTING_DISCOVERY_PORT, "UDP");
        check_ceilings(builder);
}

/* A job that asks for nothing gets no more than it could ask for. The weight of such a job is 100. */
static void apply_ceilings(struct config *config) {
        for (enum limit_field field = 0; field < _LIMIT_FIELD_MAX; field++) {
                uint64_t ceiling = job_limits_get(&config->job_ceilings, field);

                if (job_limits_get(&config->job_limits, field) == 0 &&
                    (field != LIMIT_CPU_WEIGHT || ceiling < JOB_CPU_WEIGHT_DEFAULT))
                        job_limits_set(&config->job_limits, field, ceiling);
        }
}

int config_load_with(const struct config_context *context, int argc, char *argv[], struct config *ret) {
        _cleanup_config_builder_ struct config_builder builder = {};

        int r = config_builder_init(&builder, context);
        if (r < 0)
                return r;
        r = config_read_options(&builder, argc, argv);
        if (r != CONFIG_OK)
                return r;
        r = config_read_environment(&builder);
        if (r < 0)
                return r;
        r = config_read_files(&builder);
        if (r < 0)
                return r;
        /* Against half of the values the checks below would say nonsense. */
        if (builder.is_invalid)
                return CONFIG_INVALID;

        r = config_fill_in(&builder);
        if (r < 0)
                return r;
        check_together(&builder);
        if (builder.is_invalid)
                return CONFIG_INVALID;
        apply_ceilings(&builder.config);

        *ret = builder.config;
        builder.config = (struct config){};
        return CONFIG_OK;
}

int config_load(int argc, char *argv[], struct config *ret) {
        static const struct config_context context = {};

        return config_load_with(&context, argc, argv, ret);
}

int config_reload(int argc, char *argv[], struct config *ret) {
        struct config fresh;

        int r = config_load(argc, argv, &fresh);
        if (r != CONFIG_OK)
                return r;
        config_done(ret);
        *ret = fresh;
        return CONFIG_OK;
}
