/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "node/labels.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "util/file.h"
#include "util/strv.h"

#define OS_RELEASE_SIZE_MAX 65536u

_Static_assert(
        CONFIG_LABELS_SIZE_MAX + sizeof("host") - 1 + LABEL_VALUE_MAX + sizeof("arch") - 1 + LABEL_ARCH_MAX +
                        sizeof("os") - 1 + LABEL_OS_MAX <=
                LABELS_SIZE_MAX,
        "the automatic labels do not fit");

/* The value of a line of a shell's assignments, without its quotes: an ID needs no escapes. */
static size_t trim_value(const char **value, size_t size) {
        if (size >= 2 && (**value == '"' || **value == '\'') && (*value)[size - 1] == **value) {
                (*value)++;
                size -= 2;
        }
        return size;
}

void os_release_id(const char *text, char ret[static LABEL_OS_MAX + 1]) {
        static const char key[] = "ID=";

        strcpy(ret, "linux");
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                const char *value = line + strlen(key);
                size_t size;

                if (strncmp(line, key, strlen(key)) != 0)
                        continue;
                size = strcspn(value, "\r\n");
                size = trim_value(&value, size);
                if (size == 0 || size > LABEL_OS_MAX || !label_value_is_valid(value, size))
                        continue;
                memcpy(ret, value, size);
                ret[size] = '\0';
        }
}

static void add(struct metadata_entry *labels, size_t *n, const char *key, const char *value, size_t max) {
        /* What this machine is called is not ours to choose: what is no label is left out. */
        (void) label_set(labels, n, key, strlen(key), value, strnlen(value, max));
}

static void add_automatic(struct metadata_entry *labels, size_t *n) {
        static const char *const places[] = { "/etc/os-release", "/usr/lib/os-release" };
        _cleanup_free_ char *text = NULL;
        char os[LABEL_OS_MAX + 1];
        struct utsname names;

        if (uname(&names) >= 0) {
                add(labels, n, "host", names.nodename, LABEL_VALUE_MAX);
                add(labels, n, "arch", names.machine, LABEL_ARCH_MAX);
        }
        for (size_t i = 0; i < ELEMENTSOF(places) && !text; i++)
                (void) read_file(AT_FDCWD, places[i], OS_RELEASE_SIZE_MAX, &text, NULL);
        os_release_id(text ? text : "", os);
        add(labels, n, "os", os, LABEL_OS_MAX);
}

void labels_fill(
        char *const *configured, struct metadata_entry labels[static LABELS_MAX], size_t *ret_n_labels) {
        *ret_n_labels = 0;
        add_automatic(labels, ret_n_labels);
        STRV_FOREACH(label, configured) {
                size_t key_size = strcspn(*label, "=");
                const char *value = *label + key_size + ((*label)[key_size] == '=');

                (void) label_set(labels, ret_n_labels, *label, key_size, value, strlen(value));
        }
}
