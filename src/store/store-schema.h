/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file: where it is, how it is opened, migrated and, when damaged, set aside. */

#include <stdbool.h>
#include <stdint.h>

#include "store/store-sqlite.h"

#define STORE_SCHEMA_VERSION 6 /* becomes part of a statement */
#define STORE_WRITER_CACHE_KIB 2048u
#define STORE_READER_CACHE_KIB 1024u

/* "<directory>/worker_<node id>.db". */
int store_schema_path(const char *directory, const char *node_id, char **ret);

/* Opens or makes the file for the writer and brings it to the present version. -EUCLEAN: it is damaged, or
 * not ours. -EPROTONOSUPPORT: it is of a newer version. Until store_schema_accept() says that the file is
 * sound, closing it leaves its log as it is. */
int store_schema_open(const char *path, sqlite3 **ret);
void store_schema_accept(sqlite3 *db);
int store_schema_open_reader(const char *path, sqlite3 **ret);

/* The last process did not get to close the file: there is a write-ahead log. */
bool store_schema_was_left_open(const char *path);

/* A note beside the file that it was found damaged while in use; the next start sets it aside. */
void store_schema_mark_damaged(const char *path);
bool store_schema_is_marked_damaged(const char *path);

/* Renames the file and its log to *.damaged-<UTC time>, and drops the mark. ret is the new name. */
int store_schema_set_aside(const char *path, char **ret);
