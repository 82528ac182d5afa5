/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command line and the environment. Options are taken with one dash as well as with two, and with their
 * value behind "=" or as the next argument; getopt_long_only() would also take abbreviations, which break as
 * soon as an option is added. */

#include <syslog.h>

#include "node/config-internal.h"
#include "util/buffer.h"

static int read_option_value(struct config_builder *builder, enum setting_id id, const char *value) {
        _cleanup_buffer_ struct buffer origin = {};

        int r = buffer_printf(&origin, "--%s", settings[id].option);
        if (r < 0)
                return r;
        r = config_assign(builder, id, LAYER_OPTION, origin.data, value);
        if (r < 0)
                return r;
        return builder->is_invalid ? CONFIG_USAGE : CONFIG_OK;
}

static int read_config_path(struct config_builder *builder, const char *value) {
        char *path = strdup(value);
        if (!path)
                return -ENOMEM;
        free(builder->config.config_path);
        builder->config.config_path = path;
        return CONFIG_OK;
}

/* The setting that an option stands for; _SETTING_MAX where there is none. */
static enum setting_id find_option(const char *name, size_t size) {
        enum setting_id id = 0;

        while (id < _SETTING_MAX &&
               !(strlen(settings[id].option) == size && strncmp(settings[id].option, name, size) == 0))
                id++;
        return id;
}

/* An option without dashes; next is the argument behind it, or NULL. ret_used: whether that was its value.
 */
static int
read_option(struct config_builder *builder, const char *option, const char *next, bool *ret_used) {
        char shown[SHORT_TEXT_MAX];
        size_t size = strcspn(option, "=");
        enum setting_id id = find_option(option, size);
        bool is_config = size == strlen("config") && strncmp(option, "config", size) == 0;

        *ret_used = false;
        if (streq(option, "help") || streq(option, "h")) {
                config_print_help(stdout);
                return CONFIG_HELP;
        }
        if (streq(option, "version")) {
                config_print_version(stdout);
                return CONFIG_HELP;
        }
        if (id == _SETTING_MAX && !is_config) {
                config_report(
                        builder, LOG_ERR, "Unknown option --%s; --help lists those that there are.",
                        text_shorten(option, shown, sizeof(shown)));
                return CONFIG_USAGE;
        }

        *ret_used = option[size] == '\0';
        const char *value = *ret_used ? next : option + size + 1;
        if (!value || *value == '\0') {
                config_report(builder, LOG_ERR, "--%.*s needs a value.", (int) size, option);
                return CONFIG_USAGE;
        }
        return is_config ? read_config_path(builder, value) : read_option_value(builder, id, value);
}

int config_read_options(struct config_builder *builder, int argc, char *argv[]) {
        char shown[SHORT_TEXT_MAX];

        for (int i = 1; i < argc; i++) {
                const char *option = argv[i];
                bool used;

                if (*option == '-')
                        option += option[1] == '-' ? 2 : 1;
                if (option == argv[i] || *option == '\0') {
                        config_report(
                                builder, LOG_ERR, "Unexpected argument \"%s\"; there are only options.",
                                text_shorten(argv[i], shown, sizeof(shown)));
                        return CONFIG_USAGE;
                }
                int r = read_option(builder, option, i + 1 < argc ? argv[i + 1] : NULL, &used);
                if (r != CONFIG_OK)
                        return r;
                if (used)
                        i++;
        }
        return CONFIG_OK;
}

int config_read_environment(struct config_builder *builder) {
        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                _cleanup_buffer_ struct buffer origin = {};
                _cleanup_free_ char *value = NULL;
                const char *text = getenv(settings[id].variable);

                /* A variable that is empty is one that was not set. */
                if (!text || *text == '\0')
                        continue;
                /* The service manager lists all state directories of a unit, separated by colons: the first
                 * is ours. */
                value = id == SETTING_STATE_DIRECTORY ? strndup(text, strcspn(text, ":")) : strdup(text);
                if (!value)
                        return -ENOMEM;
                int r = buffer_printf(&origin, "$%s", settings[id].variable);
                if (r < 0)
                        return r;
                r = config_assign(builder, id, LAYER_ENVIRONMENT, origin.data, value);
                if (r < 0)
                        return r;
        }
        return 0;
}
