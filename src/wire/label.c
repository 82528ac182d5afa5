/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/label.h"

#include <errno.h>
#include <string.h>

static bool is_key_character(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '_' || c == '.' || c == '/';
}

static bool is_value_character(char c) {
        return c > ' ' && c < 0x7f && c != ',' && c != '"' && c != '\'';
}

bool label_key_is_valid(const char *key, size_t size) {
        if (size == 0 || size > LABEL_KEY_MAX)
                return false;
        for (size_t i = 0; i < size; i++)
                if (!is_key_character(key[i]))
                        return false;
        return true;
}

bool label_value_is_valid(const char *value, size_t size) {
        if (size > LABEL_VALUE_MAX)
                return false;
        for (size_t i = 0; i < size; i++)
                if (!is_value_character(value[i]))
                        return false;
        return true;
}

bool label_is_valid(const char *text, size_t size) {
        const char *equals = size > 0 ? memchr(text, '=', size) : NULL;
        size_t key_size = equals ? (size_t) (equals - text) : size;

        return label_key_is_valid(text, key_size) &&
               (!equals || label_value_is_valid(equals + 1, size - key_size - 1));
}

static struct metadata_entry *
find(struct metadata_entry *labels, size_t n_labels, const char *key, size_t key_size) {
        for (size_t i = 0; i < n_labels; i++)
                if (strlen(labels[i].key) == key_size && memcmp(labels[i].key, key, key_size) == 0)
                        return &labels[i];
        return NULL;
}

int label_set(
        struct metadata_entry labels[static LABELS_MAX], size_t *n_labels, const char *key, size_t key_size,
        const char *value, size_t value_size) {
        struct metadata_entry *place;

        if (!label_key_is_valid(key, key_size) || !label_value_is_valid(value, value_size))
                return -EINVAL;
        place = find(labels, *n_labels, key, key_size);
        if (!place) {
                if (*n_labels == LABELS_MAX)
                        return -ENOBUFS;
                place = &labels[(*n_labels)++];
        }
        *place = (struct metadata_entry){};
        memcpy(place->key, key, key_size);
        memcpy(place->value, value, value_size);
        return 0;
}

size_t labels_size(const struct metadata_entry *labels, size_t n_labels) {
        size_t size = 0;

        for (size_t i = 0; i < n_labels; i++)
                size += strlen(labels[i].key) + strlen(labels[i].value);
        return size;
}
