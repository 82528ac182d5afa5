/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "mesh/job.h"
#include "util/strv.h"
#include "util/utf8.h"
#include "wire/label.h"

static int write_string(struct buffer *buffer, const char *text, size_t size) {
        size_t plain = 0;
        int r;

        r = buffer_append(buffer, "\"", 1);
        for (size_t i = 0; i <= size && r >= 0; i++) {
                bool special =
                        i < size && ((unsigned char) text[i] < 0x20 || text[i] == '"' || text[i] == '\\');

                if (i < size && !special)
                        continue;
                r = buffer_append(buffer, text + plain, i - plain);
                plain = i + 1;
                if (r < 0 || !special)
                        continue;
                if (text[i] == '"' || text[i] == '\\')
                        r = buffer_printf(buffer, "\\%c", text[i]);
                else
                        r = buffer_printf(buffer, "\\u%04x", (unsigned) text[i]);
        }
        return r < 0 ? r : buffer_append(buffer, "\"", 1);
}

static int
write_member(struct buffer *buffer, bool first, const char *name, size_t name_size, const char *value) {
        int r;

        r = buffer_append_text(buffer, first ? "{" : ",");
        if (r < 0)
                return r;
        r = write_string(buffer, name, name_size);
        if (r < 0)
                return r;
        r = buffer_append(buffer, ":", 1);
        if (r < 0)
                return r;
        return write_string(buffer, value, strlen(value));
}

int json_write_env(struct buffer *buffer, char *const *env) {
        int r;

        for (size_t i = 0; env[i]; i++) {
                size_t name_size = strcspn(env[i], "=");

                if (env[i][name_size] == '\0')
                        return -EINVAL;
                r = write_member(buffer, i == 0, env[i], name_size, env[i] + name_size + 1);
                if (r < 0)
                        return r;
        }
        return buffer_append_text(buffer, env[0] ? "}" : "{}");
}

int json_write_metadata(struct buffer *buffer, const struct metadata_entry *entries, size_t n_entries) {
        int r;

        for (size_t i = 0; i < n_entries; i++) {
                r = write_member(buffer, i == 0, entries[i].key, strlen(entries[i].key), entries[i].value);
                if (r < 0)
                        return r;
        }
        return buffer_append_text(buffer, n_entries > 0 ? "}" : "{}");
}

int json_write_labels(struct buffer *buffer, char *const *labels) {
        int r = buffer_append_text(buffer, "[");

        for (size_t i = 0; labels[i] && r >= 0; i++) {
                if (i > 0)
                        r = buffer_append_text(buffer, ",");
                if (r >= 0)
                        r = write_string(buffer, labels[i], strlen(labels[i]));
        }
        return r < 0 ? r : buffer_append_text(buffer, "]");
}

struct reader {
        const char *position, *end;
        struct buffer string; /* the entry that is being read */
};

static void reader_done(struct reader *reader) {
        buffer_done(&reader->string);
}

static void skip_space(struct reader *reader) {
        while (reader->position < reader->end && memchr(" \t\r\n", *reader->position, 4))
                reader->position++;
}

/* Takes the character if it is the next one after any space. */
static bool take(struct reader *reader, char character) {
        skip_space(reader);
        if (reader->position == reader->end || *reader->position != character)
                return false;
        reader->position++;
        return true;
}

static int take_hex(struct reader *reader, uint32_t *ret) {
        uint32_t value = 0;

        if (reader->end - reader->position < 4)
                return -EBADMSG;
        for (unsigned i = 0; i < 4; i++) {
                char c = *reader->position++;

                if (c >= '0' && c <= '9')
                        value = value << 4 | (uint32_t) (c - '0');
                else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
                        value = value << 4 | (uint32_t) ((c | 0x20) - 'a' + 10);
                else
                        return -EBADMSG;
        }
        *ret = value;
        return 0;
}

static int append_character(struct buffer *buffer, uint32_t c) {
        char bytes[4];
        size_t n = 0;

        if (c < 0x80)
                bytes[n++] = (char) c;
        else {
                if (c < 0x800)
                        bytes[n++] = (char) (0xc0 | c >> 6);
                else {
                        if (c < 0x10000)
                                bytes[n++] = (char) (0xe0 | c >> 12);
                        else {
                                bytes[n++] = (char) (0xf0 | c >> 18);
                                bytes[n++] = (char) (0x80 | (c >> 12 & 0x3f));
                        }
                        bytes[n++] = (char) (0x80 | (c >> 6 & 0x3f));
                }
                bytes[n++] = (char) (0x80 | (c & 0x3f));
        }
        return buffer_append(buffer, bytes, n);
}

/* What follows "\u": one unit of UTF-16, or a pair that stands for one character. */
static int take_unicode(struct reader *reader) {
        uint32_t c, low;
        int r;

        r = take_hex(reader, &c);
        if (r < 0)
                return r;
        if (c >= 0xd800 && c <= 0xdbff) {
                if (reader->end - reader->position < 2 || memcmp(reader->position, "\\u", 2) != 0)
                        return -EBADMSG;
                reader->position += 2;
                r = take_hex(reader, &low);
                if (r < 0)
                        return r;
                if (low < 0xdc00 || low > 0xdfff)
                        return -EBADMSG;
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        } else if ((c >= 0xdc00 && c <= 0xdfff) || c == 0)
                return -EBADMSG;
        return append_character(&reader->string, c);
}

static int take_escape(struct reader *reader) {
        static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
        const char *name;
        char c;

        if (reader->position == reader->end)
                return -EBADMSG;
        c = *reader->position++;
        if (c == 'u')
                return take_unicode(reader);
        name = c != '\0' ? strchr(names, c) : NULL;
        if (!name)
                return -EBADMSG;
        return buffer_append(&reader->string, &values[name - names], 1);
}

/* Appends what is between the quotes. */
static int take_string(struct reader *reader) {
        int r;

        if (!take(reader, '"'))
                return -EBADMSG;
        while (reader->position < reader->end) {
                const char *start = reader->position;

                while (reader->position < reader->end && (unsigned char) *reader->position >= 0x20 &&
                       *reader->position != '"' && *reader->position != '\\')
                        reader->position++;
                r = buffer_append(&reader->string, start, (size_t) (reader->position - start));
                if (r < 0)
                        return r;
                if (reader->position == reader->end)
                        break;

                char c = *reader->position++;
                if (c == '"')
                        return 0;
                if (c != '\\')
                        return -EBADMSG;
                r = take_escape(reader);
                if (r < 0)
                        return r;
        }
        return -EBADMSG;
}

/* One member, as "NAME=value" in reader->string. */
static int take_member(struct reader *reader) {
        int r;

        reader->string.size = 0;
        r = take_string(reader);
        if (r < 0)
                return r;
        if (reader->string.size == 0 || memchr(reader->string.data, '=', reader->string.size))
                return -EBADMSG;
        r = buffer_append(&reader->string, "=", 1);
        if (r < 0)
                return r;
        if (!take(reader, ':'))
                return -EBADMSG;
        r = take_string(reader);
        if (r < 0)
                return r;
        return utf8_is_valid(reader->string.data, reader->string.size) ? 0 : -EBADMSG;
}

static int take_members(struct reader *reader, char ***entries) {
        size_t total = 0, n = 0;
        int r;

        do {
                r = take_member(reader);
                if (r < 0)
                        return r == -E2BIG ? -EBADMSG : r;
                total += reader->string.size + 1;
                if (++n > ENV_ENTRIES_MAX || total > ENV_SIZE_MAX)
                        return -EBADMSG;
                r = strv_append(entries, reader->string.data);
                if (r < 0)
                        return r;
        } while (take(reader, ','));
        return take(reader, '}') ? 0 : -EBADMSG;
}

int json_read_env(const char *text, size_t size, char ***ret) {
        _cleanup_(reader_done) struct reader reader = {
                .position = text,
                .end = text + size,
                .string.limit = ENV_SIZE_MAX + 1,
        };
        _cleanup_strv_free_ char **entries = NULL;
        int r;

        if (memchr(text, 0, size) || !take(&reader, '{'))
                return -EBADMSG;
        if (!take(&reader, '}')) {
                r = take_members(&reader, &entries);
                if (r < 0)
                        return r;
        }
        skip_space(&reader);
        if (reader.position != reader.end)
                return -EBADMSG;

        *ret = TAKE_PTR(entries);
        return 0;
}

static int take_labels(struct reader *reader, char ***labels) {
        size_t n = 0;
        int r;

        do {
                reader->string.size = 0;
                r = take_string(reader);
                if (r < 0)
                        return r == -E2BIG ? -EBADMSG : r;
                if (++n > REQUIRES_MAX || !label_is_valid(reader->string.data, reader->string.size))
                        return -EBADMSG;
                r = strv_append(labels, reader->string.data);
                if (r < 0)
                        return r;
        } while (take(reader, ','));
        return take(reader, ']') ? 0 : -EBADMSG;
}

int json_read_labels(const char *text, size_t size, char ***ret) {
        _cleanup_(reader_done) struct reader reader = {
                .position = text,
                .end = text + size,
                .string.limit = LABEL_TEXT_MAX + 1,
        };
        _cleanup_strv_free_ char **labels = NULL;
        int r;

        if (memchr(text, 0, size) || !take(&reader, '['))
                return -EBADMSG;
        r = take_labels(&reader, &labels);
        if (r < 0)
                return r;
        skip_space(&reader);
        if (reader.position != reader.end)
                return -EBADMSG;

        *ret = TAKE_PTR(labels);
        return 0;
}
