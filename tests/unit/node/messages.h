/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the configuration reports, one line each, instead of stderr. */

#include "node/config-internal.h"

struct messages {
        char text[16384];
        unsigned count;
};

/* For struct config_context. */
void messages_report(int level, const char *message, void *userdata);
/* Takes every variable that the configuration reads out of the environment. */
void clear_environment(void);
