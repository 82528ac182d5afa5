/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The names of errors on the bus. Every code of the operations has one, made from its text. */

#include <stdarg.h>
#include <stdio.h>

#include "api/dbus/internal.h"
#include "util/utf8.h"

/* A text that had no room may end in the middle of a character, and no bus takes that. */
static void cut_to_characters(char *text) {
        size_t left = strlen(text), sequence;

        while (left > 0 && (sequence = utf8_sequence(text, left)) > 0) {
                text += sequence;
                left -= sequence;
        }
        *text = '\0';
}

void bus_fault_set(struct bus_fault *ret, const char *name, const char *format, ...) {
        va_list arguments;

        (void) snprintf(ret->name, sizeof(ret->name), "%s", name);
        va_start(arguments, format);
        if (vsnprintf(ret->detail, sizeof(ret->detail), format, arguments) < 0)
                ret->detail[0] = '\0';
        va_end(arguments);
        cut_to_characters(ret->detail);
        bus_text_make_plain(ret->detail);
        /* It is one line, whatever strangers wrote that it quotes. */
        for (char *position = ret->detail; *position != '\0'; position++)
                if ((unsigned char) *position < 0x20 || *position == 0x7f)
                        *position = '?';
}

/* "queue_full" becomes "QueueFull". */
static void append_camel_case(char *name, size_t size, const char *code) {
        size_t used = strlen(name);
        bool upper = true;

        for (; *code != '\0' && used + 1 < size; code++) {
                if (*code == '_') {
                        upper = true;
                        continue;
                }
                name[used++] = (char) (upper && *code >= 'a' && *code <= 'z' ? *code - 'a' + 'A' : *code);
                upper = false;
        }
        name[used] = '\0';
}

/* A refusal has the name that every client of a bus knows. */
void bus_fault_from_problem(struct bus_fault *ret, const struct problem *problem) {
        char name[sizeof(ret->name)] = ERROR_PREFIX;

        append_camel_case(name, sizeof(name), problem_code_to_text(problem->code));
        if (problem->code == PROBLEM_FORBIDDEN)
                (void) snprintf(name, sizeof(name), "%s", SD_BUS_ERROR_ACCESS_DENIED);
        if (problem->has_index)
                bus_fault_set(ret, name, "job %zu: %s", problem->index, problem->detail);
        else
                bus_fault_set(ret, name, "%s", problem->detail);
}

const char *bus_type_to_text(const char *signature) {
        static const struct {
                const char *signature, *text;
        } types[] = {
                { "s", "a string" },
                { "o", "an object path" },
                { "g", "a signature" },
                { "b", "a boolean" },
                { "d", "a number with a fraction" },
                { "y", "a number" },
                { "n", "a number" },
                { "q", "a number" },
                { "i", "a number" },
                { "u", "a number" },
                { "x", "a number" },
                { "t", "a number" },
                { "ay", "bytes" },
                { "as", "an array of strings" },
                { "h", "a file descriptor" },
                { "v", "a variant" },
                { "a{ss}", "a dictionary of strings" },
                { "a{sv}", "a dictionary of variants" },
        };

        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (streq(signature, types[i].signature))
                        return types[i].text;
        return "another type";
}
