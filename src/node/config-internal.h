/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How the files of the configuration share their work. All sources assign to one struct config_builder, the
 * strongest first: command line, environment, files. What a weaker one says about a setting that is taken
 * already is still checked, so that a mistake is found even where it has no effect today. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "node/config.h"
#include "util/macros.h"

#define CONFIG_FILE_MAX (1024 * 1024) /* bytes of one file */
#define CONFIG_LINE_MAX 8192          /* bytes of one line, continuations included */
#define CONFIG_DROP_INS_MAX 1024      /* files in all worker-mesh.conf.d folders */
#define CONFIG_MESSAGES_MAX 20        /* messages of one run; a wrong file may have a million mistakes */
#define CONFIG_INTERFACES_MAX 64      /* names in Interfaces= */
#define CONFIG_SLOTS_MAX 4096

enum setting_id {
        SETTING_API_PORT,
        SETTING_API_SOCKET,
        SETTING_CONNECTIONS_MAX,
        SETTING_BUS,
        SETTING_SECURITY,
        SETTING_KEY_FILE,
        SETTING_DISCOVERY_PORT,
        SETTING_NODE_PORT,
        SETTING_INTERFACES,
        SETTING_HEARTBEAT_INTERVAL,
        SETTING_PEER_TIMEOUT,
        SETTING_PEERS_MAX,
        SETTING_INDEX_MAX,
        SETTING_KEEPER_WAIT,
        SETTING_SLOTS,
        SETTING_LABELS,
        SETTING_QUEUE_MAX,
        SETTING_OUTPUT_MAX,
        SETTING_KILL_GRACE,
        SETTING_DRAIN_TIMEOUT,
        SETTING_JOB_MEMORY_MAX,
        SETTING_JOB_MEMORY_MAX_CEILING,
        SETTING_JOB_CPU_WEIGHT,
        SETTING_JOB_CPU_WEIGHT_CEILING,
        SETTING_JOB_CPU_QUOTA,
        SETTING_JOB_CPU_QUOTA_CEILING,
        SETTING_JOB_TASKS_MAX,
        SETTING_JOB_TASKS_MAX_CEILING,
        SETTING_EXECUTOR_PROGRAM,
        SETTING_EXECUTOR_SOCKET,
        SETTING_STATE_DIRECTORY,
        SETTING_HISTORY_MAX_AGE,
        SETTING_HISTORY_MAX_JOBS,
        SETTING_HISTORY_MAX_USE,
        SETTING_JOURNAL_OUTPUT,
        SETTING_LOG_LEVEL,
        _SETTING_MAX,
};

enum setting_type {
        SETTING_PORT,       /* uint16_t */
        SETTING_UNSIGNED,   /* unsigned */
        SETTING_COUNT,      /* uint64_t */
        SETTING_SPAN,       /* usec_t */
        SETTING_SIZE,       /* uint64_t, bytes */
        SETTING_PERCENT,    /* unsigned; "150%" or 150 */
        SETTING_PATH,       /* char *, absolute */
        SETTING_NAMES,      /* char **, network interfaces */
        SETTING_LABEL_LIST, /* char **, labels */
        SETTING_LEVEL,      /* int, of syslog(3) */
        SETTING_BOOLEAN,    /* bool */
        SETTING_CHOICE,     /* int, which of the choices */
};

enum setting_group {
        GROUP_CLIENTS,
        GROUP_MESH,
        GROUP_JOBS,
        GROUP_STATE,
        _GROUP_MAX,
};

/* Everything there is to know about a setting. */
struct setting {
        const char *key;      /* in a file */
        const char *variable; /* in the environment */
        const char *option;   /* on the command line, without dashes */
        const char *argument; /* what --help calls its value */
        const char *help;
        enum setting_group group;
        enum setting_type type;
        size_t offset;      /* in struct config */
        uint64_t low, high; /* numbers: both are allowed; paths: high is the longest, 0 for PATH_MAX - 1 */
        const char *value;  /* the default, as a person would write it; NULL: see config-defaults.c */
        const char *const *choices; /* the words of a SETTING_CHOICE, in order, and NULL */
        const char *shown;          /* the default in --help, where that is another text */
        bool reloads;               /* takes effect while the node runs */
};

/* Where a value comes from; a higher one wins. */
enum config_layer {
        LAYER_DEFAULT,
        LAYER_FILE,
        LAYER_ENVIRONMENT,
        LAYER_OPTION,
};

/* What tests and fuzzers replace. */
struct config_context {
        const char *const
                *folders; /* searched for files, first found wins; NULL: the system's and the user's */
        /* level is that of syslog(3). NULL: stderr. */
        void (*report)(int level, const char *message, void *userdata);
        void *userdata;
};

struct config_builder {
        const struct config_context *context;
        struct config config;
        struct {
                enum config_layer layer;
                char *origin; /* "/etc/worker-mesh/worker-mesh.conf:3", "$SLOTS", …; NULL for a default */
        } settings[_SETTING_MAX];
        unsigned messages;
        bool is_invalid; /* a mistake was reported that forbids to start */
};

/* config-table.c */
extern const struct setting settings[_SETTING_MAX];

/* config-builder.c */
int config_builder_init(struct config_builder *builder, const struct config_context *context);
void config_builder_done(struct config_builder *builder);
#define _cleanup_config_builder_ _cleanup_(config_builder_done)
void config_report(struct config_builder *builder, int level, const char *format, ...) _printf_(3, 4);
/* Checks text, and stores it unless a stronger layer has spoken. A wrong value is reported and marks the
 * builder invalid. Empty text in a file brings the default back. origin is what a message calls the place.
 * -ENOMEM. */
int config_assign(
        struct config_builder *builder, enum setting_id id, enum config_layer layer, const char *origin,
        const char *text);

/* config-value.c */
struct setting_value {
        uint64_t number;
        char *text;
        char **names;
};
void setting_value_done(struct setting_value *value);
#define _cleanup_setting_value_ _cleanup_(setting_value_done)
/* -EINVAL, -ERANGE: not allowed; what is, says setting_describe(). -ENOMEM. */
int setting_parse(
        const struct setting *setting, const char *text, bool may_be_relative, struct setting_value *ret);
/* Takes what value owns. -ENOMEM, -E2BIG: more names than CONFIG_INTERFACES_MAX, more labels than
 * CONFIG_LABELS_MAX or CONFIG_LABELS_SIZE_MAX. */
int setting_store(
        const struct setting *setting, struct config *config, struct setting_value *value, bool add);
/* "a port from 1 to 65535", … Returns buffer. */
char *setting_describe(const struct setting *setting, char *buffer, size_t size);
/* Text of strangers, cut short and made printable. Returns buffer. */
char *text_shorten(const char *text, char *buffer, size_t size);
#define SHORT_TEXT_MAX 64

/* config-defaults.c: what no source has set and depends on the machine or on other settings. -ENOMEM. */
int config_fill_in(struct config_builder *builder);

/* config-file.c */
/* Reads the bytes of a file; path is for messages. -ENOMEM. */
int config_parse(struct config_builder *builder, const char *path, const char *data, size_t size);

/* config-search.c */
/* The files of the search path, or only the one that --config names. -ENOMEM. */
int config_read_files(struct config_builder *builder);
/* The folders to search, first found wins. -ENOMEM. */
int config_search_folders(char ***ret);

/* config-options.c */
/* CONFIG_OK, CONFIG_HELP, CONFIG_USAGE (reported), -ENOMEM. */
int config_read_options(struct config_builder *builder, int argc, char *argv[]);
int config_read_environment(struct config_builder *builder);

/* config-help.c */
void config_print_help(FILE *file);
void config_print_version(FILE *file);

/* config.c: config_load() with everything replaceable. */
int config_load_with(const struct config_context *context, int argc, char *argv[], struct config *ret);
