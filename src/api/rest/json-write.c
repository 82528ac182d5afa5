/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/json-write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void writer_done(struct writer *writer) {
        buffer_done(&writer->buffer);
}

static void append(struct writer *writer, const char *data, size_t size) {
        if (writer->error >= 0)
                writer->error = buffer_append(&writer->buffer, data, size);
}

int writer_finish(struct writer *writer, struct buffer *ret) {
        append(writer, "\n", 1);
        if (writer->error < 0)
                return writer->error;
        *ret = writer->buffer;
        writer->buffer = (struct buffer){};
        return 0;
}

static void begin_value(struct writer *writer, const char *key) {
        if (writer->after_value)
                append(writer, ",", 1);
        writer->after_value = true;
        if (!key)
                return;
        append(writer, "\"", 1);
        append(writer, key, strlen(key));
        append(writer, "\":", 2);
}

void writer_open(struct writer *writer, const char *key, char bracket) {
        begin_value(writer, key);
        append(writer, &bracket, 1);
        writer->after_value = false;
}

void writer_close(struct writer *writer, char bracket) {
        append(writer, &bracket, 1);
        writer->after_value = true;
}

/* The short escape of a byte, or 0. */
static char short_escape(char byte) {
        switch (byte) {
        case '"':
        case '\\':
                return byte;
        case '\n':
                return 'n';
        case '\t':
                return 't';
        case '\r':
                return 'r';
        case '\b':
                return 'b';
        case '\f':
                return 'f';
        default:
                return 0;
        }
}

/* 0x7f is allowed in JSON as it is, but would act on a terminal. */
static bool is_plain(char byte) {
        return (unsigned char) byte >= 0x20 && (unsigned char) byte < 0x7f && byte != '"' && byte != '\\';
}

static void escape(struct writer *writer, char byte) {
        static const char digits[] = "0123456789abcdef";
        char text[] = { '\\', short_escape(byte), '0', '0', digits[(byte >> 4) & 0xf], digits[byte & 0xf] };

        if (text[1] != 0) {
                append(writer, text, 2);
                return;
        }
        text[1] = 'u';
        append(writer, text, sizeof(text));
}

/* Runs of bytes that need nothing are copied as a whole. */
static bool quoted(struct writer *writer, const char *data, size_t size) {
        bool replaced = false;
        size_t i = 0, start = 0;

        append(writer, "\"", 1);
        while (i < size) {
                if (is_plain(data[i])) {
                        i++;
                        continue;
                }
                size_t sequence = (unsigned char) data[i] >= 0x80 ? utf8_sequence(data + i, size - i) : 0;
                if (sequence > 0) {
                        i += sequence;
                        continue;
                }

                append(writer, data + start, i - start);
                if ((unsigned char) data[i] >= 0x80) {
                        append(writer, REPLACEMENT, strlen(REPLACEMENT));
                        replaced = true;
                } else
                        escape(writer, data[i]);
                start = ++i;
        }
        append(writer, data + start, size - start);
        append(writer, "\"", 1);
        return replaced;
}

bool writer_bytes(struct writer *writer, const char *key, const char *data, size_t size) {
        begin_value(writer, key);
        return quoted(writer, data, size);
}

void writer_text(struct writer *writer, const char *key, const char *text) {
        if (text)
                (void) writer_bytes(writer, key, text, strlen(text));
        else
                writer_null(writer, key);
}

void writer_pair(struct writer *writer, const char *key, const char *text) {
        (void) writer_bytes(writer, NULL, key, strlen(key));
        append(writer, ":", 1);
        (void) quoted(writer, text, strlen(text));
}

void writer_unsigned(struct writer *writer, const char *key, uint64_t value) {
        char text[24];

        begin_value(writer, key);
        append(writer, text, (size_t) snprintf(text, sizeof(text), "%" PRIu64, value));
}

void writer_integer(struct writer *writer, const char *key, int64_t value) {
        char text[24];

        begin_value(writer, key);
        append(writer, text, (size_t) snprintf(text, sizeof(text), "%" PRIi64, value));
}

void writer_tenths(struct writer *writer, const char *key, uint64_t tenths) {
        char text[32];

        begin_value(writer, key);
        append(writer, text,
               (size_t) snprintf(text, sizeof(text), "%" PRIu64 ".%" PRIu64, tenths / 10, tenths % 10));
}

void writer_boolean(struct writer *writer, const char *key, bool value) {
        begin_value(writer, key);
        append(writer, value ? "true" : "false", value ? 4 : 5);
}

void writer_null(struct writer *writer, const char *key) {
        begin_value(writer, key);
        append(writer, "null", 4);
}

void writer_time(struct writer *writer, const char *key, usec_t realtime_usec) {
        char text[TIME_TEXT_MAX];

        if (realtime_usec == 0)
                writer_null(writer, key);
        else
                writer_text(writer, key, format_time(text, sizeof(text), realtime_usec, 3));
}
