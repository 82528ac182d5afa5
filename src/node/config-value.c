/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From text to a value of its type, and back to words that say what would have been allowed. */

#include <ctype.h>
#include <limits.h>
#include <net/if.h>

#include "node/config-internal.h"
#include "node/labels.h"
#include "util/buffer.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/strv.h"
#include "util/utf8.h"

void setting_value_done(struct setting_value *value) {
        free(value->text);
        value->text = NULL;
        value->names = strv_free(value->names);
}

char *text_shorten(const char *text, char *buffer, size_t size) {
        static const char mark[] = "...";
        size_t length = strlen(text), used = 0;

        assert(size > sizeof(mark));
        for (size_t i = 0; i < length;) {
                size_t sequence = utf8_sequence(text + i, length - i);
                if (used + MAX(sequence, (size_t) 1) + sizeof(mark) > size) {
                        memcpy(buffer + used, mark, sizeof(mark));
                        return buffer;
                }
                if (sequence > 1 || (sequence == 1 && isprint((unsigned char) text[i])))
                        memcpy(buffer + used, text + i, sequence);
                else {
                        buffer[used] = '?';
                        sequence = 1;
                }
                used += sequence;
                i += sequence;
        }
        buffer[used] = '\0';
        return buffer;
}

static int parse_path(const struct setting *setting, const char *text, bool may_be_relative, char **ret) {
        _cleanup_buffer_ struct buffer path = {};
        size_t longest = setting->high > 0 ? setting->high : PATH_MAX - 1;

        for (const char *c = text; *c; c++)
                if ((unsigned char) *c < 0x20 || *c == 0x7f)
                        return -EINVAL;
        if (*text != '/') {
                if (!may_be_relative)
                        return -EINVAL;
                _cleanup_free_ char *folder = getcwd(NULL, 0);
                if (!folder)
                        return errno == ENOMEM ? -ENOMEM : -EINVAL;
                int r = buffer_printf(&path, "%s/", streq(folder, "/") ? "" : folder);
                if (r < 0)
                        return r;
        }

        int r = buffer_append_text(&path, text);
        if (r < 0)
                return r;
        while (path.size > 1 && path.data[path.size - 1] == '/')
                path.data[--path.size] = '\0';
        if (path.size > longest)
                return -ERANGE;

        *ret = TAKE_PTR(path.data);
        return 0;
}

/* As the kernel checks the name of an interface. */
static bool interface_name_is_valid(const char *name) {
        if (*name == '\0' || strlen(name) >= IFNAMSIZ || streq(name, ".") || streq(name, ".."))
                return false;
        for (const char *c = name; *c; c++)
                if (*c == '/' || *c == ':' || !isgraph((unsigned char) *c))
                        return false;
        return true;
}

static bool name_is_valid(const struct setting *setting, const char *name) {
        return setting->type == SETTING_LABEL_LIST ? label_is_valid(name, strlen(name))
                                                   : interface_name_is_valid(name);
}

static bool names_contain(char *const *names, const char *name) {
        STRV_FOREACH(known, names) {
                if (streq(*known, name))
                        return true;
        }
        return false;
}

/* Puts it where one with the same key is. False: there is none. */
static int replace_label(char **labels, const char *label, bool *ret_replaced) {
        size_t size = strcspn(label, "=");

        for (*ret_replaced = false; labels && *labels; labels++) {
                if (strcspn(*labels, "=") != size || memcmp(*labels, label, size) != 0)
                        continue;
                char *copy = strdup(label);
                if (!copy)
                        return -ENOMEM;
                free(*labels);
                *labels = copy;
                *ret_replaced = true;
                break;
        }
        return 0;
}

static bool labels_fit(char *const *labels) {
        size_t size = 0;

        STRV_FOREACH(label, labels)
                size += strlen(*label) - (strchr(*label, '=') != NULL);
        return strv_length(labels) <= CONFIG_LABELS_MAX && size <= CONFIG_LABELS_SIZE_MAX;
}

/* The last of those with one key counts. */
static int add_label(char ***labels, const char *label) {
        bool replaced;
        int r;

        r = replace_label(*labels, label, &replaced);
        if (r >= 0 && !replaced)
                r = strv_append(labels, label);
        if (r < 0)
                return r;
        return labels_fit(*labels) ? 0 : -ERANGE;
}

static int add_interface(char ***names, const char *name) {
        if (names_contain(*names, name))
                return 0;
        if (strv_length(*names) >= CONFIG_INTERFACES_MAX)
                return -ERANGE;
        return strv_append(names, name);
}

static int add_name(const struct setting *setting, char ***names, const char *name) {
        return setting->type == SETTING_LABEL_LIST ? add_label(names, name) : add_interface(names, name);
}

static int parse_names(const struct setting *setting, const char *text, char ***ret) {
        _cleanup_strv_free_ char **names = NULL;
        _cleanup_free_ char *copy = strdup(text);
        if (!copy)
                return -ENOMEM;

        char *rest = copy, *name;
        while ((name = strsep(&rest, " \t"))) {
                if (*name == '\0')
                        continue;
                if (!name_is_valid(setting, name))
                        return -EINVAL;
                int r = add_name(setting, &names, name);
                if (r < 0)
                        return r;
        }
        if (!names)
                return -EINVAL;

        *ret = TAKE_PTR(names);
        return 0;
}

static int parse_choice(const struct setting *setting, const char *text, uint64_t *ret) {
        for (uint64_t i = 0; setting->choices[i]; i++)
                if (streq(text, setting->choices[i])) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}

static int parse_percent(const char *text, uint64_t *ret) {
        _cleanup_free_ char *number = strdup(text);
        size_t length = strlen(text);

        if (!number)
                return -ENOMEM;
        if (length > 0 && number[length - 1] == '%')
                number[length - 1] = '\0';
        return parse_u64(number, ret);
}

static int parse_number(const struct setting *setting, const char *text, uint64_t *ret) {
        int r = -EINVAL, level;
        bool flag = false;

        switch (setting->type) {
        case SETTING_PORT:
        case SETTING_UNSIGNED:
        case SETTING_COUNT:
                r = parse_u64(text, ret);
                break;
        case SETTING_SPAN:
                r = parse_span(text, ret);
                break;
        case SETTING_SIZE:
                r = parse_size(text, ret);
                break;
        case SETTING_PERCENT:
                r = parse_percent(text, ret);
                break;
        case SETTING_LEVEL:
                level = log_level_from_text(text);
                *ret = (uint64_t) MAX(level, 0);
                return level < 0 ? level : 0;
        case SETTING_BOOLEAN:
                r = parse_boolean(text, &flag);
                *ret = flag;
                return r;
        case SETTING_CHOICE:
                return parse_choice(setting, text, ret);
        case SETTING_PATH:
        case SETTING_NAMES:
        case SETTING_LABEL_LIST:
                break;
        }
        if (r < 0)
                return r;
        return *ret < setting->low || *ret > setting->high ? -ERANGE : 0;
}

int setting_parse(
        const struct setting *setting, const char *text, bool may_be_relative, struct setting_value *ret) {
        struct setting_value value = {};
        int r;

        if (setting->type == SETTING_PATH)
                r = parse_path(setting, text, may_be_relative, &value.text);
        else if (setting->type == SETTING_NAMES || setting->type == SETTING_LABEL_LIST)
                r = parse_names(setting, text, &value.names);
        else
                r = parse_number(setting, text, &value.number);
        if (r >= 0)
                *ret = value;
        return r;
}

static int store_names(const struct setting *setting, char ***names, struct setting_value *value, bool add) {
        if (!add) {
                strv_free(*names);
                *names = TAKE_PTR(value->names);
                return 0;
        }

        STRV_FOREACH(name, value->names) {
                int r = add_name(setting, names, *name);
                if (r < 0)
                        return r == -ERANGE ? -E2BIG : r;
        }
        return 0;
}

int setting_store(
        const struct setting *setting, struct config *config, struct setting_value *value, bool add) {
        void *field = (char *) config + setting->offset;

        switch (setting->type) {
        case SETTING_PORT:
                *(uint16_t *) field = (uint16_t) value->number;
                break;
        case SETTING_UNSIGNED:
        case SETTING_PERCENT:
                *(unsigned *) field = (unsigned) value->number;
                break;
        case SETTING_COUNT:
        case SETTING_SPAN:
        case SETTING_SIZE:
                *(uint64_t *) field = value->number;
                break;
        case SETTING_LEVEL:
        case SETTING_CHOICE:
                *(int *) field = (int) value->number;
                break;
        case SETTING_BOOLEAN:
                *(bool *) field = value->number != 0;
                break;
        case SETTING_PATH:
                free(*(char **) field);
                *(char **) field = TAKE_PTR(value->text);
                break;
        case SETTING_NAMES:
        case SETTING_LABEL_LIST:
                return store_names(setting, field, value, add);
        }
        return 0;
}

/* The largest unit that leaves a whole number. */
static char *format_size(char *buffer, size_t size, uint64_t bytes) {
        static const char units[] = "KMGTPE";
        char suffix[2] = "";
        size_t unit = 0;

        if (bytes == UINT64_MAX) {
                (void) snprintf(buffer, size, "infinity");
                return buffer;
        }
        for (; bytes > 0 && bytes % 1024 == 0 && unit < strlen(units); bytes /= 1024)
                suffix[0] = units[unit++];
        (void) snprintf(buffer, size, "%" PRIu64 "%s", bytes, suffix);
        return buffer;
}

static void describe_choice(const struct setting *setting, char *buffer, size_t size) {
        int used = snprintf(buffer, size, "one of");

        for (size_t i = 0; setting->choices[i] && used > 0 && (size_t) used < size; i++)
                used += snprintf(
                        buffer + used, size - (size_t) used, "%s %s", i > 0 ? "," : "", setting->choices[i]);
}

char *setting_describe(const struct setting *setting, char *buffer, size_t size) {
        char low[SPAN_TEXT_MAX], high[SPAN_TEXT_MAX];

        switch (setting->type) {
        case SETTING_PORT:
                (void) snprintf(
                        buffer, size, "a port from %" PRIu64 " to %" PRIu64, setting->low, setting->high);
                break;
        case SETTING_UNSIGNED:
        case SETTING_COUNT:
                (void) snprintf(
                        buffer, size, "a whole number from %" PRIu64 " to %" PRIu64, setting->low,
                        setting->high);
                break;
        case SETTING_SPAN:
                (void) snprintf(
                        buffer, size, "a time span such as 5s or 1min 30s, from %s to %s",
                        format_span(low, sizeof(low), setting->low),
                        format_span(high, sizeof(high), setting->high));
                break;
        case SETTING_SIZE:
                (void) snprintf(
                        buffer, size, "a size in bytes such as 64K or 1.5M, from %s to %s",
                        format_size(low, sizeof(low), setting->low),
                        format_size(high, sizeof(high), setting->high));
                break;
        case SETTING_PERCENT:
                (void) snprintf(
                        buffer, size,
                        "a percentage of one CPU such as 150%%, from %" PRIu64 "%% to %" PRIu64 "%%",
                        setting->low, setting->high);
                break;
        case SETTING_PATH:
                (void) snprintf(
                        buffer, size, "an absolute path of at most %" PRIu64 " bytes",
                        setting->high > 0 ? setting->high : (uint64_t) PATH_MAX - 1);
                break;
        case SETTING_NAMES:
                (void) snprintf(
                        buffer, size, "names of network interfaces, at most %d bytes each, at most %d names",
                        IFNAMSIZ - 1, CONFIG_INTERFACES_MAX);
                break;
        case SETTING_LABEL_LIST:
                (void) snprintf(
                        buffer, size,
                        "labels such as gpu=a100 or fast, at most %u of them and %u bytes; a key has "
                        "letters, "
                        "digits, -, _, . and /, a value no spaces, commas and quotes",
                        CONFIG_LABELS_MAX, CONFIG_LABELS_SIZE_MAX);
                break;
        case SETTING_LEVEL:
                (void) snprintf(
                        buffer, size,
                        "one of debug, info, notice, warning, error, crit, alert, emerg, or 7 to 0");
                break;
        case SETTING_BOOLEAN:
                (void) snprintf(buffer, size, "yes or no");
                break;
        case SETTING_CHOICE:
                describe_choice(setting, buffer, size);
                break;
        }
        return buffer;
}
