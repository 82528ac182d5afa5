/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/rest/target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/hex.h"

#define SEGMENT "{id}"

bool target_matches(
        const char *pattern, const char *path, size_t path_size, const char **ret_segment,
        size_t *ret_segment_size) {
        const char *mark = strstr(pattern, SEGMENT);
        size_t head = mark ? (size_t) (mark - pattern) : strlen(pattern);

        *ret_segment = NULL;
        *ret_segment_size = 0;
        if (path_size < head || memcmp(pattern, path, head) != 0)
                return false;
        if (!mark)
                return path_size == head;

        const char *segment = path + head, *tail = mark + strlen(SEGMENT);
        const char *slash = memchr(segment, '/', path_size - head);
        size_t segment_size = slash ? (size_t) (slash - segment) : path_size - head;
        size_t tail_size = path_size - head - segment_size;

        if (segment_size == 0 || tail_size != strlen(tail) ||
            memcmp(tail, segment + segment_size, tail_size) != 0)
                return false;
        *ret_segment = segment;
        *ret_segment_size = segment_size;
        return true;
}

/* Decodes %XX and '+' into buffer, which has room for buffer_size - 1 bytes and a NUL. */
static bool decode(const char *text, size_t size, char *buffer, size_t buffer_size) {
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                char byte = text[i] == '+' ? ' ' : text[i];

                if (byte == '%') {
                        int high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
                        int low = i + 2 < size ? hex_digit(text[i + 2]) : -1;
                        if (high < 0 || low < 0)
                                return false;
                        byte = (char) (high << 4 | low);
                        i += 2;
                }
                if (n + 1 >= buffer_size || byte == '\0')
                        return false;
                buffer[n++] = byte;
        }
        buffer[n] = '\0';
        return true;
}

enum parameter_outcome target_next_parameter(const char **query, struct parameter *ret) {
        if (!*query || **query == '\0')
                return PARAMETER_END;

        const char *text = *query;
        size_t size = strcspn(text, "&");
        const char *equals = memchr(text, '=', size);
        size_t name_size = equals ? (size_t) (equals - text) : size;

        *query = text[size] == '&' ? text + size + 1 : text + size;
        ret->value[0] = '\0';
        if (!decode(text, name_size, ret->name, sizeof(ret->name)) ||
            (equals && !decode(equals + 1, size - name_size - 1, ret->value, sizeof(ret->value))))
                return PARAMETER_MALFORMED;
        return PARAMETER_FOUND;
}

char *cursor_to_text(char kind, uint64_t before, char buffer[static CURSOR_TEXT_SIZE]) {
        (void) snprintf(buffer, CURSOR_TEXT_SIZE, "%c%016" PRIx64, kind, before);
        return buffer;
}

int cursor_from_text(const char *text, char *ret_kind, uint64_t *ret) {
        uint64_t value = 0;

        if (strlen(text) != CURSOR_TEXT_SIZE - 1 || (text[0] != CURSOR_NODE && text[0] != CURSOR_MESH))
                return -EINVAL;
        for (const char *position = text + 1; *position != '\0'; position++) {
                int digit = hex_digit(*position);
                if (digit < 0)
                        return -EINVAL;
                value = value << 4 | (uint64_t) digit;
        }
        *ret_kind = text[0];
        *ret = value;
        return 0;
}
