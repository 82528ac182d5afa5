/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Labels: what a node says of itself ("arch=x86_64"), and what a job asks of it (the same, or the key
 * alone). A key is 1 to LABEL_KEY_MAX letters, digits, '-', '_', '.' or '/'; a value 0 to LABEL_VALUE_MAX
 * printable characters of ASCII without space, comma, '"' and '\''. */

#include <stdbool.h>
#include <stddef.h>

#include "wire/message.h"

#define LABEL_KEY_MAX METADATA_KEY_MAX
#define LABEL_VALUE_MAX METADATA_VALUE_MAX
#define LABEL_TEXT_MAX (LABEL_KEY_MAX + 1 + LABEL_VALUE_MAX)

bool label_key_is_valid(const char *key, size_t size);
bool label_value_is_valid(const char *value, size_t size);

/* "key=value", or "key" alone. */
bool label_is_valid(const char *text, size_t size);

/* Replaces the one of this key, or comes behind the others. -EINVAL: it is no label. -ENOBUFS: there are
 * LABELS_MAX of them. */
int label_set(
        struct metadata_entry labels[static LABELS_MAX], size_t *n_labels, const char *key, size_t key_size,
        const char *value, size_t value_size);

/* Bytes of all keys and values together; at most LABELS_SIZE_MAX are sent. */
size_t labels_size(const struct metadata_entry *labels, size_t n_labels);
