/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The syntax of systemd's configuration files: [Section], Key=value, comments with # and ;, a backslash at
 * the end of a line joins it with the next. The bytes may be anything. What is unknown gives a warning,
 * since a newer version may know it; what is wrong gives an error. */

#include <strings.h>
#include <syslog.h>

#include "node/config-internal.h"
#include "util/buffer.h"
#include "util/utf8.h"

#define SECTION_NAME "Mesh"
#define SPACE " \t\r\f\v"

enum section {
        SECTION_NONE, /* before the first one */
        SECTION_MESH,
        SECTION_IGNORED, /* an unknown one, which was warned about */
};

struct file_reader {
        struct config_builder *builder;
        const char *path;
        enum section section;
        unsigned line;        /* of the file, from 1 */
        unsigned first_line;  /* where the text that is being joined began */
        struct buffer joined; /* the lines that ended in a backslash */
};

#define report(reader, level, format, ...)                                                          \
        config_report(                                                                              \
                (reader)->builder, (level), "%s:%u: " format, (reader)->path, (reader)->first_line, \
                ##__VA_ARGS__)

/* Cuts spaces from both ends, in place. */
static char *trim(char *text) {
        text += strspn(text, SPACE);
        size_t size = strlen(text);
        while (size > 0 && strchr(SPACE, text[size - 1]))
                size--;
        text[size] = '\0';
        return text;
}

/* Names that begin so are for other programs, and never warned about. */
static bool is_foreign(const char *name) {
        return strncmp(name, "X-", 2) == 0;
}

static void read_section(struct file_reader *reader, char *text) {
        char shown[SHORT_TEXT_MAX];
        size_t size = strlen(text);

        reader->section = SECTION_IGNORED;
        if (text[size - 1] != ']') {
                report(reader, LOG_ERR, "%s: a section must end with ].",
                       text_shorten(text, shown, sizeof(shown)));
                return;
        }
        text[size - 1] = '\0';
        text++;
        if (streq(text, SECTION_NAME))
                reader->section = SECTION_MESH;
        else if (!is_foreign(text))
                report(reader, LOG_WARNING, "Unknown section [%s], ignoring it; known is [%s].",
                       text_shorten(text, shown, sizeof(shown)), SECTION_NAME);
}

static void warn_unknown_key(struct file_reader *reader, const char *key) {
        char shown[SHORT_TEXT_MAX];

        if (is_foreign(key))
                return;
        (void) text_shorten(key, shown, sizeof(shown));
        for (enum setting_id id = 0; id < _SETTING_MAX; id++)
                if (strcasecmp(key, settings[id].key) == 0) {
                        report(reader, LOG_WARNING, "Unknown key %s=, ignoring it; %s= is meant?", shown,
                               settings[id].key);
                        return;
                }
        report(reader, LOG_WARNING, "Unknown key %s=, ignoring it.", shown);
}

static int read_assignment(struct file_reader *reader, const char *key, const char *value) {
        _cleanup_buffer_ struct buffer origin = {};

        for (enum setting_id id = 0; id < _SETTING_MAX; id++) {
                if (!streq(key, settings[id].key))
                        continue;
                int r = buffer_printf(&origin, "%s:%u", reader->path, reader->first_line);
                if (r < 0)
                        return r;
                return config_assign(reader->builder, id, LAYER_FILE, origin.data, value);
        }
        warn_unknown_key(reader, key);
        return 0;
}

/* One line, after continuations were joined. */
static int read_text(struct file_reader *reader, char *text) {
        char shown[SHORT_TEXT_MAX];

        text = trim(text);
        if (*text == '\0')
                return 0;
        if (*text == '[') {
                read_section(reader, text);
                return 0;
        }

        char *equals = strchr(text, '=');
        if (!equals) {
                report(reader, LOG_ERR, "%s: neither a section nor Key=value.",
                       text_shorten(text, shown, sizeof(shown)));
                return 0;
        }
        *equals = '\0';
        const char *key = trim(text), *value = trim(equals + 1);

        switch (reader->section) {
        case SECTION_NONE:
                report(reader, LOG_ERR, "%s= stands before any section; [%s] is missing.",
                       text_shorten(key, shown, sizeof(shown)), SECTION_NAME);
                return 0;
        case SECTION_MESH:
                return read_assignment(reader, key, value);
        case SECTION_IGNORED:
                return 0;
        }
        return 0;
}

/* Whether a line ends in a backslash that is not itself escaped. */
static bool is_continued(const char *line, size_t size) {
        size_t backslashes = 0;

        while (backslashes < size && line[size - 1 - backslashes] == '\\')
                backslashes++;
        return backslashes % 2 == 1;
}

/* false: not text, or too long, which was reported. */
static bool check_line(struct file_reader *reader, const char *line, size_t size) {
        if (reader->joined.size + size > CONFIG_LINE_MAX) {
                report(reader, LOG_ERR, "The line is longer than %d bytes.", CONFIG_LINE_MAX);
                return false;
        }
        if (memchr(line, '\0', size)) {
                report(reader, LOG_ERR, "The line contains a NUL byte.");
                return false;
        }
        if (!utf8_is_valid(line, size)) {
                report(reader, LOG_ERR, "The line is not valid UTF-8.");
                return false;
        }
        return true;
}

/* Reads what was joined so far, and begins anew. */
static int finish_joined(struct file_reader *reader) {
        int r = reader->joined.size > 0 ? read_text(reader, reader->joined.data) : 0;

        buffer_consume(&reader->joined, reader->joined.size);
        return r;
}

/* One line of the file as it stands there. */
static int read_line(struct file_reader *reader, const char *line, size_t size) {
        bool begins = reader->joined.size == 0;

        reader->line++;
        if (begins)
                reader->first_line = reader->line;
        if (size > 0 && line[size - 1] == '\r')
                size--;
        if (!check_line(reader, line, size)) {
                buffer_consume(&reader->joined, reader->joined.size);
                return 0;
        }

        size_t indent = 0;
        while (indent < size && strchr(SPACE, line[indent]))
                indent++;
        /* A comment between continued lines does not end them. */
        if (indent < size && (line[indent] == '#' || line[indent] == ';'))
                return 0;

        bool continued = is_continued(line, size);
        int r = buffer_append(&reader->joined, line, continued ? size - 1 : size);
        if (r < 0)
                return r;
        if (!continued)
                return finish_joined(reader);
        return buffer_append_text(&reader->joined, " ");
}

int config_parse(struct config_builder *builder, const char *path, const char *data, size_t size) {
        static const char byte_order_mark[] = "\xef\xbb\xbf";
        struct file_reader reader = { .builder = builder, .path = path };
        const char *end = data + size;
        int r = 0;

        if (size >= 3 && memcmp(data, byte_order_mark, 3) == 0)
                data += 3;
        while (data < end && r >= 0) {
                const char *newline = memchr(data, '\n', (size_t) (end - data));
                const char *line_end = newline ?: end;

                r = read_line(&reader, data, (size_t) (line_end - data));
                data = newline ? newline + 1 : end;
        }
        if (r >= 0)
                r = finish_joined(&reader);
        buffer_done(&reader.joined);
        return r;
}
