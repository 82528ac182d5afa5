/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* While lines wait for the journal they are lost with this process; so the executor keeps the runs that they
 * are about a little longer, and the next daemon writes them again. Only a little: jobs do not wait for a
 * journal. */

#include "node/journal-internal.h"
#include "util/log.h"

static void let_go(struct journal *journal) {
        for (unsigned i = 0; i < journal->n_held; i++)
                (void) executor_client_release(journal->executor, &journal->held[i]);
        journal->n_held = 0;
}

bool journal_holds(struct journal *journal, const struct run_id *run) {
        if (journal_lookup_holds(journal, run))
                return true;
        if (!log_is_journal() || log_queue_size() == 0 || journal->n_held == JOURNAL_HELD_MAX) {
                let_go(journal);
                return false;
        }
        journal->held[journal->n_held++] = *run;
        if (journal->n_held == 1) {
                journal->held_usec = now_usec(CLOCK_BOOTTIME);
                journal->held_due = usec_add(journal->held_usec, JOURNAL_SLOW_USEC);
                journal_arm(journal);
        }
        return true;
}

void journal_hold_check(struct journal *journal, usec_t now) {
        if (journal->n_held == 0 || now < journal->held_due)
                return;
        journal->held_due = usec_add(now, JOURNAL_SLOW_USEC);
        if (log_queue_size() == 0 || now >= usec_add(journal->held_usec, JOURNAL_HOLD_USEC))
                let_go(journal);
}
