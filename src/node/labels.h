/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The labels of this node: host, arch and os of the machine, and those of the configuration, which win. */

#include <stdbool.h>

#include "wire/label.h"

/* What a configuration may have leaves room for the automatic ones, whatever this machine is called: each of
 * them is cut to what is said here. */
#define LABELS_AUTOMATIC 3u
#define LABEL_ARCH_MAX 31u
#define LABEL_OS_MAX 31u
#define CONFIG_LABELS_MAX (LABELS_MAX - LABELS_AUTOMATIC)
#define CONFIG_LABELS_SIZE_MAX 376u /* bytes of all keys and values together */

/* configured: "key=value" or "key", as setting_parse() lets them pass. */
void labels_fill(
        char *const *configured, struct metadata_entry labels[static LABELS_MAX], size_t *ret_n_labels);

/* The ID of os-release(5); "linux" where there is none. */
void os_release_id(const char *text, char ret[static LABEL_OS_MAX + 1]);
