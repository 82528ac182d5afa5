/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A flat JSON object of strings (RFC 8259), as the columns env and metadata hold it, and an array of
 * strings, as requires does. */

#include <stddef.h>

#include "util/buffer.h"
#include "wire/message.h"

/* Writes {"NAME":"value", …} from "NAME=value", and a final NUL that is not counted. */
int json_write_env(struct buffer *buffer, char *const *env);
int json_write_metadata(struct buffer *buffer, const struct metadata_entry *entries, size_t n_entries);

/* The way back, strictly: one object, string values only, no NUL, valid UTF-8, names without '='; at most
 * ENV_ENTRIES_MAX of them and ENV_SIZE_MAX bytes. -EBADMSG: it is not that. */
int json_read_env(const char *text, size_t size, char ***ret);

/* ["text", …], and the way back, as strictly: at most REQUIRES_MAX labels (see wire/label.h), and not none.
 */
int json_write_labels(struct buffer *buffer, char *const *labels);
int json_read_labels(const char *text, size_t size, char ***ret);
