/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NULL-terminated arrays of strings. */

#include <stddef.h>

#include "util/macros.h"

char **strv_free(char **strv);
size_t strv_length(char *const *strv);           /* of NULL: 0 */
int strv_append(char ***strv, const char *text); /* -ENOMEM */
DEFINE_CLEANUP(char **, strv_free)
#define _cleanup_strv_free_ _cleanup_(strv_free_p)

#define STRV_FOREACH(variable, strv) for (char *const *variable = (strv); variable && *variable; variable++)
