/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "node/journal-entry.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/log.h"

/* What has been written behind used becomes a field. */
static void take_field(struct journal_entry *entry, size_t size) {
        entry->fields[entry->n_fields++] = (struct iovec){ entry->text + entry->used, size };
        entry->used += size;
}

void journal_entry_add(struct journal_entry *entry, const char *format, ...) {
        size_t room = sizeof(entry->text) - entry->used;
        va_list arguments;
        int size;

        if (entry->n_fields >= JOURNAL_FIELDS_MAX)
                return;
        va_start(arguments, format);
        size = vsnprintf(entry->text + entry->used, room, format, arguments);
        va_end(arguments);
        if (size > 0 && (size_t) size < room)
                take_field(entry, (size_t) size);
}

void journal_entry_add_value(
        struct journal_entry *entry, const char *prefix, const char *value, size_t size, size_t limit) {
        static const char mark[] = "…";
        size_t prefix_size = strlen(prefix), room = sizeof(entry->text) - entry->used;
        char *to = entry->text + entry->used;
        bool cut;

        if (entry->n_fields >= JOURNAL_FIELDS_MAX || room < prefix_size + strlen(mark))
                return;
        limit = MIN(limit, room - prefix_size - strlen(mark));
        cut = size > limit;
        if (cut)
                for (size = limit; size > 0 && ((unsigned char) value[size] & 0xc0) == 0x80;)
                        size--;
        to = mempcpy(to, prefix, prefix_size);
        to = mempcpy(to, value, size);
        if (cut)
                to = mempcpy(to, mark, strlen(mark));
        take_field(entry, (size_t) (to - entry->text) - entry->used);
}

void journal_entry_cut(struct journal_entry *entry, size_t n_fields) {
        if (n_fields >= entry->n_fields)
                return;
        entry->used = (size_t) ((char *) entry->fields[n_fields].iov_base - entry->text);
        entry->n_fields = n_fields;
}

void journal_entry_send(const struct journal_entry *entry, bool bulk) {
        /* Where there is no journal any more nobody can be told. */
        (void) log_entry(entry->fields, entry->n_fields, bulk);
}

const char *line_break_to_text(enum line_break line_break) {
        switch (line_break) {
        case LINE_BREAK_NEWLINE:
                break;
        case LINE_BREAK_NUL:
                return "nul";
        case LINE_BREAK_MAX:
                return "line-max";
        case LINE_BREAK_END:
                return "eof";
        }
        return NULL;
}

bool text_line_next(const char *data, size_t size, bool ended, struct text_line *ret) {
        size_t limit = MIN(size, (size_t) JOURNAL_LINE_MAX);
        const char *newline, *nul, *end;

        if (size == 0)
                return false;
        newline = memchr(data, '\n', limit);
        nul = memchr(data, '\0', newline ? (size_t) (newline - data) : limit);
        end = nul ? nul : newline;

        /* Not within a character, where the bytes are text. */
        if (!end && limit < size)
                for (size_t i = 0; i < 3 && ((unsigned char) data[limit] & 0xc0) == 0x80; i++)
                        limit--;

        if (end)
                *ret = (struct text_line){
                        .text = data,
                        .size = (size_t) (end - data),
                        .consumed = (size_t) (end - data) + 1,
                        .line_break = nul ? LINE_BREAK_NUL : LINE_BREAK_NEWLINE,
                };
        else if (size >= JOURNAL_LINE_MAX || (ended && size > 0))
                *ret = (struct text_line){
                        .text = data,
                        .size = limit,
                        .consumed = limit,
                        .line_break = size >= JOURNAL_LINE_MAX ? LINE_BREAK_MAX : LINE_BREAK_END,
                };
        else
                return false;
        return true;
}

size_t text_count_lines(const char *data, size_t size) {
        size_t n = 0;

        for (size_t i = 0; i < size; i++)
                n += data[i] == '\n';
        return size > 0 && data[size - 1] != '\n' ? n + 1 : n;
}
