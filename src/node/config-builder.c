/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <syslog.h>

#include "node/config-internal.h"
#include "util/log.h"

#define MESSAGE_MAX 1024

void config_builder_done(struct config_builder *builder) {
        config_done(&builder->config);
        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                free(builder->settings[id].origin);
                builder->settings[id].origin = NULL;
        }
}

static void report_to_stderr(int level, const char *message) {
        /* The command line is read before anybody could have asked for the form of a log. */
        if (log_is_journal())
                (void) log_full_errno(level, 0, "%s", message);
        else
                fprintf(stderr, "worker-mesh: %s%s\n", level == LOG_WARNING ? "warning: " : "", message);
}

void config_report(struct config_builder *builder, int level, const char *format, ...) {
        char message[MESSAGE_MAX];
        va_list arguments;

        if (level <= LOG_ERR)
                builder->is_invalid = true;
        if (builder->messages > CONFIG_MESSAGES_MAX)
                return;
        if (builder->messages++ == CONFIG_MESSAGES_MAX)
                (void) snprintf(
                        message, sizeof(message), "More than %d messages; the rest is left out.",
                        CONFIG_MESSAGES_MAX);
        else {
                va_start(arguments, format);
                (void) vsnprintf(message, sizeof(message), format, arguments);
                va_end(arguments);
        }

        if (builder->context->report)
                builder->context->report(level, message, builder->context->userdata);
        else
                report_to_stderr(level, message);
}

static void report_value(
        struct config_builder *builder, const struct setting *setting, enum config_layer layer,
        const char *origin, const char *text) {
        char allowed[256], shown[SHORT_TEXT_MAX];

        (void) setting_describe(setting, allowed, sizeof(allowed));
        (void) text_shorten(text, shown, sizeof(shown));
        if (layer == LAYER_FILE)
                config_report(
                        builder, LOG_ERR, "%s: %s=%s: must be %s.", origin, setting->key, shown, allowed);
        else
                config_report(builder, LOG_ERR, "%s=%s: must be %s.", origin, shown, allowed);
}

static int
set_origin(struct config_builder *builder, enum setting_id id, enum config_layer layer, const char *origin) {
        char *copy = NULL;

        if (origin) {
                copy = strdup(origin);
                if (!copy)
                        return -ENOMEM;
        }
        free(builder->settings[id].origin);
        builder->settings[id].origin = copy;
        builder->settings[id].layer = layer;
        return 0;
}

static int set_default(struct config_builder *builder, enum setting_id id) {
        _cleanup_setting_value_ struct setting_value value = {};
        int r;

        if (settings[id].value) {
                r = setting_parse(&settings[id], settings[id].value, /* may_be_relative= */ false, &value);
                if (r < 0)
                        return r;
        }
        r = setting_store(&settings[id], &builder->config, &value, /* add= */ false);
        if (r < 0)
                return r;
        return set_origin(builder, id, LAYER_DEFAULT, /* origin= */ NULL);
}

int config_builder_init(struct config_builder *builder, const struct config_context *context) {
        *builder = (struct config_builder){ .context = context };
        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                int r = set_default(builder, id);
                if (r < 0)
                        return r;
        }
        return 0;
}

int config_assign(
        struct config_builder *builder, enum setting_id id, enum config_layer layer, const char *origin,
        const char *text) {
        _cleanup_setting_value_ struct setting_value value = {};
        const struct setting *setting = &settings[id];

        if (layer == LAYER_FILE && *text == '\0')
                return builder->settings[id].layer > LAYER_FILE ? 0 : set_default(builder, id);

        int r = setting_parse(setting, text, /* may_be_relative= */ layer != LAYER_FILE, &value);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                report_value(builder, setting, layer, origin, text);
                return 0;
        }
        if (layer < builder->settings[id].layer)
                return 0;

        r = setting_store(
                setting, &builder->config, &value, /* add= */ layer == builder->settings[id].layer);
        if (r == -E2BIG) {
                report_value(builder, setting, layer, origin, text);
                return 0;
        }
        if (r < 0)
                return r;
        return set_origin(builder, id, layer, origin);
}
