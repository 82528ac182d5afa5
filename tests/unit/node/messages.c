/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "messages.h"

#include <syslog.h>

#include "lib/tests.h"

void messages_report(int level, const char *message, void *userdata) {
        struct messages *messages = userdata;
        size_t used = strlen(messages->text);

        ASSERT_TRUE(level == LOG_ERR || level == LOG_WARNING);
        (void) snprintf(
                messages->text + used, sizeof(messages->text) - used, "%s%s\n",
                level == LOG_WARNING ? "warning: " : "", message);
        messages->count++;
}

void clear_environment(void) {
        for (enum setting_id id = 0; id < _SETTING_MAX; id++)
                unsetenv(settings[id].variable);
        unsetenv("XDG_STATE_HOME");
        unsetenv("XDG_CONFIG_HOME");
        unsetenv("SYSTEMD_LOG_LEVEL");
        setenv("HOME", "/srv/somebody", 1);
}
