/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What differs between two configurations. */

#include "node/config-internal.h"
#include "util/buffer.h"
#include "util/strv.h"

static bool names_differ(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (strv_length(b) != n)
                return true;
        for (size_t i = 0; i < n; i++)
                if (!streq(a[i], b[i]))
                        return true;
        return false;
}

static bool setting_differs(const struct setting *setting, const struct config *a, const struct config *b) {
        const void *x = (const char *) a + setting->offset, *y = (const char *) b + setting->offset;

        switch (setting->type) {
        case SETTING_PORT:
                return *(const uint16_t *) x != *(const uint16_t *) y;
        case SETTING_UNSIGNED:
        case SETTING_PERCENT:
                return *(const unsigned *) x != *(const unsigned *) y;
        case SETTING_COUNT:
        case SETTING_SPAN:
        case SETTING_SIZE:
                return *(const uint64_t *) x != *(const uint64_t *) y;
        case SETTING_PATH:
                return !streq_ptr(*(char *const *) x, *(char *const *) y);
        case SETTING_BOOLEAN:
                return *(const bool *) x != *(const bool *) y;
        case SETTING_NAMES:
        case SETTING_LABEL_LIST:
                return names_differ(*(char *const *const *) x, *(char *const *const *) y);
        case SETTING_LEVEL:
        case SETTING_CHOICE:
                return *(const int *) x != *(const int *) y;
        }
        return false;
}

int config_list_changes_for_start(const struct config *old, const struct config *new, char **ret) {
        _cleanup_buffer_ struct buffer keys = {};
        int r;

        *ret = NULL;
        for (size_t id = 0; id < _SETTING_MAX; id++) {
                if (settings[id].reloads || !setting_differs(&settings[id], old, new))
                        continue;
                r = buffer_printf(&keys, "%s%s", keys.size > 0 ? ", " : "", settings[id].key);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(keys.data);
        return 0;
}
