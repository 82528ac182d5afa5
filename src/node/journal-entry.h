/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One entry of the journal, built in place without allocations, and the lines of a text. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "node/journal.h"
#include "util/macros.h"

#define JOURNAL_FIELDS_MAX 24u
#define JOURNAL_TEXT_MAX (JOURNAL_LINE_MAX + 4096u)

struct journal_entry {
        size_t n_fields, used;
        struct iovec fields[JOURNAL_FIELDS_MAX];
        char text[JOURNAL_TEXT_MAX];
};

static inline void journal_entry_begin(struct journal_entry *entry) {
        entry->n_fields = entry->used = 0; /* the text need not be touched */
}

/* "NAME=value"; what does not fit is left out. */
void journal_entry_add(struct journal_entry *entry, const char *format, ...) _printf_(2, 3);
/* prefix is "NAME="; value holds any bytes. Cut at limit, between characters, with "…" at the end. */
void journal_entry_add_value(
        struct journal_entry *entry, const char *prefix, const char *value, size_t size, size_t limit);
/* Back to so many fields, to put others in the place of the rest. */
void journal_entry_cut(struct journal_entry *entry, size_t n_fields);
/* bulk: see log_entry() */
void journal_entry_send(const struct journal_entry *entry, bool bulk);

/* How a line ended: as the journal itself divides what services print. */
enum line_break {
        LINE_BREAK_NEWLINE,
        LINE_BREAK_NUL,
        LINE_BREAK_MAX, /* after JOURNAL_LINE_MAX bytes */
        LINE_BREAK_END, /* of the text */
};
const char *
line_break_to_text(enum line_break line_break); /* "nul", "line-max", "eof"; NULL for a newline */

struct text_line {
        const char *text;
        size_t size;     /* of the text */
        size_t consumed; /* with what ended it */
        enum line_break line_break;
};

/* The first line of a text, which more follows unless it has ended. False: there is none yet. */
bool text_line_next(const char *data, size_t size, bool ended, struct text_line *ret);
/* How many lines these bytes are. */
size_t text_count_lines(const char *data, size_t size);
