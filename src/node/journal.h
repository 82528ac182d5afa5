/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The story of every job in the journal: "journalctl -u worker-mesh JOB_ID=…" tells who submitted it, what
 * it printed and how it ended. Only where the log goes to the journal; elsewhere nothing is written and
 * nothing is done.
 *
 * The end of a job is one line, written when the end is durable and before the executor forgets the run. So
 * it is written once; when the daemon is killed just between the two, the next one writes it again, and its
 * output from where the last one is known to have been. Lines that wait for the journal are lost with the
 * daemon; so the executor keeps those runs for up to JOURNAL_HOLD_USEC longer.
 *
 * Output: of a job that ends soon it is written just before its last line, all at once. A job that runs for
 * a while is followed, and the executor remembers how far, so that the next daemon goes on there. What is
 * written is bounded for each job and for the node (journal-budget.h); what is left out is counted and said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "executor/client.h"
#include "mesh/record.h"
#include "util/macros.h"

struct journal;
struct mesh;
struct ops;
struct store;
struct store_unfinished;

#define JOURNAL_STARTED_AFTER_USEC                                                               \
        USEC_PER_SEC                  /* a job that runs so long has a line about its start, too \
                                       */
#define JOURNAL_FOLLOWED_MAX 48u      /* jobs followed at once: each takes two of EXECUTOR_READS_MAX */
#define JOURNAL_LINE_MAX (16u * 1024) /* bytes; longer lines are split */
#define JOURNAL_COMMAND_MAX 1024u     /* bytes of COMMAND= */
#define JOURNAL_END_LINES_MAX 1000u   /* written at the end of a job */
#define JOURNAL_END_BYTES_MAX (256u * 1024)
#define JOURNAL_HELD_MAX 1024u /* runs that the executor keeps until the journal has taken their lines */
#define JOURNAL_HOLD_USEC (5 * USEC_PER_SEC)      /* and for so long at most */
#define JOURNAL_JOB_BYTES_MAX (16u * 1024 * 1024) /* written of one job in all */

int journal_new(const char *node_id, bool output, sd_event *event, struct journal **ret);
/* Borrowed; all of them outlive it. */
void journal_connect(
        struct journal *journal, struct mesh *mesh, struct store *store, struct executor_client *executor,
        struct ops *ops);
struct journal *journal_free(struct journal *journal); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct journal *, journal_free)

/* JournalOutput= */
void journal_set_output(struct journal *journal, bool output);

/* What happened. An unfinished job of the process before; what the executor has, before the mind compares
 * it; a run that ended, before the mind hears of it; a batch that the store gives back, before the mind
 * does. */
void journal_restored(struct journal *journal, const struct store_unfinished *job);
void journal_synchronised(struct journal *journal, const struct executor_known_run *runs, size_t n_runs);
void journal_exited(struct journal *journal, struct job_result *result);
void journal_written(struct journal *journal, const struct record_batch *batch, int error);
/* The executor may forget a run. True: not yet, since lines about it wait for the journal; it is told later.
 */
bool journal_holds(struct journal *journal, const struct run_id *run);
void journal_disconnected(struct journal *journal);
