/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happened to which job, passed on to who writes it. */

#include "node/journal.h"

#include <stdio.h>

#include "node/journal-internal.h"
#include "util/log.h"

static void on_cancel(void *userdata, const struct uuid *id, const struct caller *caller) {
        if (log_is_journal())
                journal_tell_cancel(userdata, id, caller);
}

int journal_new(const char *node_id, bool output, sd_event *event, struct journal **ret) {
        _cleanup_(journal_free_p) struct journal *journal = calloc(1, sizeof(*journal));
        int r;

        if (!journal)
                return -ENOMEM;
        (void) snprintf(journal->node_id, sizeof(journal->node_id), "%s", node_id);
        journal->output = output;
        journal->event = sd_event_ref(event);
        journal->begun_at = now_usec(CLOCK_REALTIME);
        journal->watcher = (struct ops_watcher){ .job_cancel = on_cancel,
                                                 .submission_refused = journal_refused,
                                                 .userdata = journal };
        budget_init(&journal->budget, &budget_of_node, now_usec(CLOCK_BOOTTIME));
        list_init(&journal->lookups);
        r = journal_runs_init(journal);
        if (r < 0)
                return r;
        r = journal_refused_init(journal);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(journal);
        return 0;
}

void journal_connect(
        struct journal *journal, struct mesh *mesh, struct store *store, struct executor_client *executor,
        struct ops *ops) {
        journal->mesh = mesh;
        journal->store = store;
        journal->executor = executor;
        journal->ops = ops;
        ops_watch(ops, &journal->watcher);
}

struct journal *journal_free(struct journal *journal) {
        if (!journal)
                return NULL;
        ops_watcher_remove(&journal->watcher);
        journal_lookups_drop(journal);
        journal_runs_done(journal);
        sd_event_source_disable_unref(journal->refused_timer);
        sd_event_unref(journal->event);
        free(journal);
        return NULL;
}

void journal_disconnected(struct journal *journal) {
        /* All that the executor keeps is compared when it is back. */
        journal->n_held = 0;
}

void journal_set_output(struct journal *journal, bool output) {
        struct journal_run *run;

        if (output == journal->output)
                return;
        journal->output = output;
        /* Those that run are followed from where they are known to have been written. */
        MAP_FOREACH(&journal->runs, run, struct journal_run, by_job)
                if (!output)
                        journal_unfollow(run);
                else
                        journal_follow(run);
}

void journal_restored(struct journal *journal, const struct store_unfinished *job) {
        struct journal_run *run;

        if (job->in_executor && journal_run_new(journal, &job->run, job->spec, &run) >= 0)
                run->started_at = job->started_at;
}

/* Where the process before had come to. */
static void take_offsets(struct journal *journal, const struct executor_known_run *known) {
        struct journal_run *run = journal_run_find(journal, &known->run.job);
        bool written = known->journalled[0] > 0 || known->journalled[1] > 0;

        /* Of a job that has ended already only its lookup asks for it. */
        if (!run && (!written || !known->ended || journal->n_synchronised > 0 ||
                     journal_run_new(journal, &known->run, NULL, &run) < 0))
                return;
        if (!run_id_equal(&run->run, &known->run))
                return;
        for (size_t i = 0; i < 2; i++)
                run->streams[i].offset = MAX(run->streams[i].offset, known->journalled[i]);
        if (known->ended)
                return;
        if (known->started && !run->followed && !list_is_linked(&run->due_link))
                journal_run_expect(run, known->started_at);
        else if (run->followed)
                journal_follow_on(run);
}

void journal_synchronised(struct journal *journal, const struct executor_known_run *runs, size_t n_runs) {
        for (size_t i = 0; i < n_runs; i++)
                take_offsets(journal, &runs[i]);
        journal->n_synchronised++;
}

/* Ends that the mind knows are written when they are durable. One that it does not know was durable before
 * the process before was killed, which may not have come to write it. */
void journal_exited(struct journal *journal, struct job_result *result) {
        struct run_id current;

        if (!log_is_journal() || journal->n_synchronised > 1 || result->finished_at >= journal->begun_at ||
            mesh_job_current_run(journal->mesh, &result->run.job, &current))
                return;
        journal_look_up(journal, result);
}

static void on_finished(struct journal *journal, const struct record *record) {
        const struct job_spec *spec = record->spec;
        const struct journal_end end = {
                .id = &spec->id,
                .attempt = record->run.attempt,
                .status = record->status,
                .command = spec->command,
                .submitter = spec->submitter,
                .executor = record->node ? record->node->text : NULL,
                .submitter_uid = spec->submitter_uid,
                .timeout_usec = spec->timeout_usec,
                .error_message = record->error_message ? record->error_message
                                 : record->result      ? record->result->error_message
                                                       : NULL,
                .result = record->result,
        };
        struct journal_run *run = journal_run_find(journal, &spec->id);

        if (run && !run_id_equal(&run->run, &record->run))
                run = journal_run_free(run);
        if (log_is_journal()) {
                if (record->result || run)
                        journal_output_rest(journal, &spec->id, run, record->result);
                journal_tell_end(journal, &end);
        }
        journal_run_free(run);
}

static void on_started(struct journal *journal, const struct record *record) {
        struct journal_run *run = journal_run_find(journal, &record->run.job);

        /* What runs elsewhere is told of at its end: our executor has nothing of it to follow. */
        if (!log_is_journal() || record->node)
                return;
        /* The one before was lost. */
        if (run && !run_id_equal(&run->run, &record->run))
                run = journal_run_free(run);
        if (!run && journal_run_new(journal, &record->run, record->spec, &run) < 0)
                return;
        if (!run->followed && !list_is_linked(&run->due_link))
                journal_run_expect(run, record->at_usec);
}

void journal_written(struct journal *journal, const struct record_batch *batch, int error) {
        for (size_t i = 0; i < batch->n_records; i++) {
                const struct record *record = &batch->records[i];

                switch (record->type) {
                case RECORD_ACCEPTED:
                case RECORD_ADOPTED: /* where it runs here already, STARTED or FINISHED follows */
                        /* Nobody was told that it exists. */
                        if (error < 0)
                                journal_run_free(journal_run_find(journal, &record->run.job));
                        break;
                case RECORD_STARTED:
                        if (error >= 0)
                                on_started(journal, record);
                        break;
                case RECORD_REQUEUED:
                case RECORD_MOVED: /* what is told of it from here on, its new owner tells */
                        journal_run_free(journal_run_find(journal, &record->run.job));
                        break;
                case RECORD_FINISHED:
                        if (error >= 0)
                                on_finished(journal, record);
                        break;
                case RECORD_ATTEMPT:
                        if (error >= 0 && record->changed)
                                journal_tell_attempt(journal, record);
                        break;
                case RECORD_ASSIGNED:
                case RECORD_CANCEL:
                case RECORD_PEER:
                case RECORD_PEER_GONE:
                /* Their story is told by their owners. */
                case RECORD_GUEST_TAKEN:
                case RECORD_GUEST_ENDED:
                case RECORD_GUEST_GONE:
                case RECORD_COPY:
                case RECORD_COPY_ENDED:
                case RECORD_COPY_GONE:
                case RECORD_COPIES_SWEPT:
                case RECORD_COPIES_KEPT:
                case RECORD_COPIES_FORGOTTEN:
                case RECORD_HOLDER:
                case RECORD_HOLDER_GONE:
                case RECORD_DRAIN:
                case RECORD_RESUMED:
                /* The mind says it in words. */
                case RECORD_MERGED:
                        break;
                }
        }
}
