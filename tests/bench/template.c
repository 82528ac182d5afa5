/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "bench/template.h"
#include "util/buffer.h"

static void statement_p(sqlite3_stmt **statement) {
        (void) sqlite3_finalize(*statement);
}

#define _cleanup_statement_ _cleanup_(statement_p)

int sql_problem(sqlite3 *database, const char *what) {
        fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(database));
        return -EIO;
}

int sql_run(sqlite3 *database, const char *statements) {
        return sqlite3_exec(database, statements, NULL, NULL, NULL) == SQLITE_OK
                       ? 0
                       : sql_problem(database, statements);
}

void template_done(struct template *template) {
        for (int i = 0; i < template->n_columns; i++)
                sqlite3_value_free(template->columns[i].value);
        free(template->schema);
        free(template->insert);
        *template = (struct template){};
}

static int schema_load(sqlite3 *database, struct template *template) {
        static const char query[] =
                "SELECT sql FROM sqlite_schema WHERE tbl_name = 'jobs' AND sql IS NOT NULL AND "
                "type IN ('table', 'index') ORDER BY type = 'index'";
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        struct buffer text = {};
        int r = 0;

        if (sqlite3_prepare_v2(database, query, -1, &statement, NULL) != SQLITE_OK)
                return sql_problem(database, "Cannot read the schema");
        while (r == 0 && sqlite3_step(statement) == SQLITE_ROW)
                r = buffer_printf(&text, "%s;\n", (const char *) sqlite3_column_text(statement, 0));
        template->schema = text.data;
        return r < 0 ? r : text.size == 0 ? -ENOENT : 0;
}

/* Whether the column alone is a key of the table. */
static int column_is_unique(sqlite3 *database, const char *name, bool *ret) {
        static const char query[] =
                "SELECT 1 FROM pragma_table_info('jobs') WHERE pk > 0 AND name = ?1 UNION ALL "
                "SELECT 1 FROM pragma_index_list('jobs') AS l, pragma_index_info(l.name) AS i "
                "WHERE l.\"unique\" AND i.name = ?1";
        _cleanup_statement_ sqlite3_stmt *statement = NULL;

        if (sqlite3_prepare_v2(database, query, -1, &statement, NULL) != SQLITE_OK ||
            sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC) != SQLITE_OK)
                return sql_problem(database, "Cannot read the keys");
        *ret = sqlite3_step(statement) == SQLITE_ROW;
        return 0;
}

static enum template_column_kind kind_of_key(int type) {
        switch (type) {
        case SQLITE_INTEGER:
                return COLUMN_NUMBER;
        case SQLITE_TEXT:
                return COLUMN_TEXT;
        case SQLITE_BLOB:
                return COLUMN_BLOB;
        default: /* NULL is no key */
                return COLUMN_COPIED;
        }
}

static int columns_load(sqlite3 *database, struct template *template) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;

        if (sqlite3_prepare_v2(
                    database, "SELECT * FROM jobs ORDER BY rowid DESC LIMIT 1", -1, &statement, NULL) !=
                    SQLITE_OK ||
            sqlite3_step(statement) != SQLITE_ROW)
                return sql_problem(database, "No job to take as a template");
        if (sqlite3_column_count(statement) > (int) TEMPLATE_COLUMNS_MAX)
                return -E2BIG;

        for (int i = 0; i < sqlite3_column_count(statement); i++) {
                struct template_column *column = &template->columns[i];
                bool unique;
                int r;

                r = column_is_unique(database, sqlite3_column_name(statement, i), &unique);
                if (r < 0)
                        return r;
                column->value = sqlite3_value_dup(sqlite3_column_value(statement, i));
                if (!column->value)
                        return -ENOMEM;
                template->n_columns++;
                column->kind = unique ? kind_of_key(sqlite3_column_type(statement, i)) : COLUMN_COPIED;
        }
        return 0;
}

static int insert_format(struct template *template) {
        struct buffer text = {};
        int r;

        r = buffer_append_text(&text, "INSERT INTO jobs VALUES (?");
        for (int i = 1; i < template->n_columns && r == 0; i++)
                r = buffer_append_text(&text, ", ?");
        if (r == 0)
                r = buffer_printf(&text, ")");
        template->insert = text.data;
        return r;
}

int template_load(sqlite3 *database, struct template *ret) {
        _cleanup_template_ struct template template = {};
        int r;

        r = schema_load(database, &template);
        if (r < 0)
                return r;
        r = columns_load(database, &template);
        if (r < 0)
                return r;
        r = insert_format(&template);
        if (r < 0)
                return r;
        *ret = template;
        template = (struct template){};
        return 0;
}

/* The value stays where it is, so that nothing is copied. */
static int bind_value(sqlite3_stmt *insert, int position, sqlite3_value *value) {
        switch (sqlite3_value_type(value)) {
        case SQLITE_INTEGER:
                return sqlite3_bind_int64(insert, position, sqlite3_value_int64(value));
        case SQLITE_FLOAT:
                return sqlite3_bind_double(insert, position, sqlite3_value_double(value));
        case SQLITE_TEXT:
                return sqlite3_bind_text(
                        insert, position, (const char *) sqlite3_value_text(value),
                        sqlite3_value_bytes(value), SQLITE_STATIC);
        case SQLITE_BLOB:
                return sqlite3_bind_blob(
                        insert, position, sqlite3_value_blob(value), sqlite3_value_bytes(value),
                        SQLITE_STATIC);
        default: /* NULL is what a parameter is without a value */
                return SQLITE_OK;
        }
}

int template_bind(const struct template *template, sqlite3_stmt *insert, const struct template_key *key) {
        int r = SQLITE_OK;

        for (int i = 0; i < template->n_columns && r == SQLITE_OK; i++) {
                const struct template_column *column = &template->columns[i];

                switch (column->kind) {
                case COLUMN_COPIED:
                        r = bind_value(insert, i + 1, column->value);
                        break;
                case COLUMN_NUMBER:
                        r = sqlite3_bind_int64(insert, i + 1, key->number);
                        break;
                case COLUMN_TEXT:
                        r = sqlite3_bind_text(
                                insert, i + 1, key->text, sizeof(key->text) - 1, SQLITE_STATIC);
                        break;
                case COLUMN_BLOB:
                        r = sqlite3_bind_blob(
                                insert, i + 1, key->id.bytes, sizeof(key->id.bytes), SQLITE_STATIC);
                        break;
                }
        }
        return r == SQLITE_OK ? 0 : -EIO;
}
