/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-column.h"

#include <errno.h>

#include "util/utf8.h"

void row_fail(struct row *row, int column, int error) {
        if (row->error == 0) {
                row->error = error;
                row->where = column;
        }
}

bool row_is_null(struct row *row, int column) {
        return sqlite3_column_type(row->statement, column) == SQLITE_NULL;
}

int64_t row_integer(struct row *row, int column, int64_t low, int64_t high) {
        int64_t value;

        if (row_is_null(row, column))
                return 0;
        if (sqlite3_column_type(row->statement, column) != SQLITE_INTEGER) {
                row_fail(row, column, -EBADMSG);
                return 0;
        }
        value = sqlite3_column_int64(row->statement, column);
        if (value < low || value > high) {
                row_fail(row, column, -EBADMSG);
                return 0;
        }
        return value;
}

uint64_t row_number(struct row *row, int column, uint64_t limit) {
        return (uint64_t) row_integer(row, column, 0, (int64_t) MIN(limit, (uint64_t) INT64_MAX));
}

const char *row_text(struct row *row, int column, size_t limit, size_t *ret_size) {
        const char *text;
        size_t size;

        *ret_size = 0;
        if (row_is_null(row, column))
                return NULL;
        if (sqlite3_column_type(row->statement, column) != SQLITE_TEXT) {
                row_fail(row, column, -EBADMSG);
                return NULL;
        }
        text = (const char *) sqlite3_column_text(row->statement, column);
        if (!text) {
                row_fail(row, column, -ENOMEM);
                return NULL;
        }
        size = (size_t) sqlite3_column_bytes(row->statement, column);
        if (size > limit || memchr(text, 0, size) || !utf8_is_valid(text, size)) {
                row_fail(row, column, -EBADMSG);
                return NULL;
        }
        *ret_size = size;
        return text;
}

char *row_copy(struct row *row, int column, size_t limit) {
        size_t size;
        const char *text = row_text(row, column, limit, &size);
        char *copy = text ? strdup(text) : NULL;

        if (text && !copy)
                row_fail(row, column, -ENOMEM);
        return copy;
}

usec_t row_time(struct row *row, int column) {
        size_t size;
        const char *text = row_text(row, column, TIME_TEXT_MAX - 1, &size);
        usec_t time = 0;

        if (text && parse_time(text, &time) < 0)
                row_fail(row, column, -EBADMSG);
        return time;
}

struct uuid row_uuid(struct row *row, int column) {
        size_t size;
        const char *text = row_text(row, column, UUID_TEXT_SIZE - 1, &size);
        struct uuid id = UUID_NULL;

        if (text && uuid_from_text(text, &id) < 0)
                row_fail(row, column, -EBADMSG);
        return id;
}

void row_node_id(struct row *row, int column, char ret[static NODE_ID_MAX + 1]) {
        size_t size;
        const char *text = row_text(row, column, NODE_ID_MAX, &size);

        ret[0] = '\0';
        if (text && node_id_is_valid(text))
                memcpy(ret, text, size + 1);
        else if (text)
                row_fail(row, column, -EBADMSG);
}

char *row_node_id_copy(struct row *row, int column) {
        char *text = row_copy(row, column, NODE_ID_MAX);

        if (text && !node_id_is_valid(text))
                row_fail(row, column, -EBADMSG);
        return text;
}

const void *row_bytes(struct row *row, int column, size_t *ret_size) {
        int type = sqlite3_column_type(row->statement, column);
        const void *data;

        *ret_size = 0;
        if (type == SQLITE_NULL)
                return NULL;
        if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
                row_fail(row, column, -EBADMSG);
                return NULL;
        }
        data = sqlite3_column_blob(row->statement, column);
        *ret_size = (size_t) sqlite3_column_bytes(row->statement, column);
        if (*ret_size > 0 && !data) {
                row_fail(row, column, -ENOMEM);
                *ret_size = 0;
        }
        return *ret_size > 0 ? data : "";
}
