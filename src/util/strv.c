/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/strv.h"

#include <errno.h>

char **strv_free(char **strv) {
        STRV_FOREACH(text, strv) {
                free(*text);
        }
        free(strv);
        return NULL;
}

size_t strv_length(char *const *strv) {
        size_t length = 0;

        while (strv && strv[length])
                length++;
        return length;
}

int strv_append(char ***strv, const char *text) {
        _cleanup_free_ char *copy = strdup(text);
        if (!copy)
                return -ENOMEM;

        size_t length = strv_length(*strv);
        char **longer = reallocarray(*strv, length + 2, sizeof(char *));
        if (!longer)
                return -ENOMEM;
        longer[length] = TAKE_PTR(copy);
        longer[length + 1] = NULL;
        *strv = longer;
        return 0;
}
