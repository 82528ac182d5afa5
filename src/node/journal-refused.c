/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Submissions that were refused: anybody can make thousands a second, so they are counted and told together.
 */

#include <stdio.h>

#include "node/journal-internal.h"
#include "util/log.h"
#include "util/message-ids.h"

#define TELL_AFTER_USEC (10 * USEC_PER_SEC)

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_buffer_ struct buffer reasons = {};
        struct journal *journal = userdata;
        char span[SPAN_TEXT_MAX];
        unsigned n = 0;

        for (enum problem_code code = 0; code < _PROBLEM_CODE_MAX; code++) {
                if (journal->n_refused[code] == 0)
                        continue;
                n += journal->n_refused[code];
                (void) buffer_printf(
                        &reasons, "%s%u %s", reasons.size > 0 ? ", " : "", journal->n_refused[code],
                        problem_code_to_text(code));
                journal->n_refused[code] = 0;
        }
        if (n > 0)
                log_event(
                        LOG_NOTICE, MESSAGE_SUBMISSIONS_REFUSED,
                        "Refused %u submission%s in the last %s: %s.", n, n == 1 ? "" : "s",
                        format_span(span, sizeof(span), TELL_AFTER_USEC),
                        reasons.data ? reasons.data : "out of memory");
        return 0;
}

void journal_refused(void *userdata, const struct caller *caller, const struct problem *why) {
        struct journal *journal = userdata;
        int enabled = SD_EVENT_OFF;

        log_debug(
                "Refused a submission of user %d: %s.", caller->uid_known ? (int) caller->uid : -1,
                why->detail);
        journal->n_refused[why->code]++;
        if (sd_event_source_get_enabled(journal->refused_timer, &enabled) > 0)
                return;
        (void) sd_event_source_set_time_relative(journal->refused_timer, TELL_AFTER_USEC);
        (void) sd_event_source_set_enabled(journal->refused_timer, SD_EVENT_ONESHOT);
}

int journal_refused_init(struct journal *journal) {
        int r;

        r = sd_event_add_time(
                journal->event, &journal->refused_timer, CLOCK_BOOTTIME, USEC_INFINITY, USEC_PER_SEC,
                on_timer, journal);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(journal->refused_timer, "refused-submissions");
        return sd_event_source_set_enabled(journal->refused_timer, SD_EVENT_OFF);
}
