/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

/* What the journal did not take at once is sent by this loop when it takes more. A loop that does not watch
 * sends it with the next message. */
int log_watch(sd_event *event, sd_event_source **ret);
