/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The process before was killed after it wrote an end to the disk and before the executor forgot the run:
 * whether the journal has it is not known. What the executor does not tell is asked of the store. */

#include "node/journal-internal.h"
#include "util/log.h"

#define LOOKUPS_MAX 256u /* at once; more ends are not written a second time */

struct lookup {
        struct journal *journal;
        struct list_link link;
        struct store_query *query;
        struct job_result *result;
};

static void lookup_free(struct lookup *lookup) {
        list_remove(&lookup->link);
        lookup->journal->n_lookups--;
        job_result_unref(lookup->result);
        free(lookup);
}

static void on_job(void *userdata, const struct store_answer *answer) {
        struct lookup *lookup = userdata;
        struct journal *journal = lookup->journal;
        const struct stored_job *job = answer->n_jobs > 0 ? &answer->jobs[0] : NULL;
        struct journal_run *run = journal_run_find(journal, &lookup->result->run.job);

        if (answer->error >= 0 && job && job_status_is_final(job->status) &&
            job->attempt == lookup->result->run.attempt && job->epoch == lookup->result->run.epoch) {
                const struct journal_end end = {
                        .id = &job->id,
                        .attempt = job->attempt,
                        .status = job->status,
                        .command = job->command,
                        .submitter = job->submitter,
                        .submitter_uid = job->submitter_uid,
                        .timeout_usec = job->timeout_usec,
                        .error_message = job->error_message,
                        .result = lookup->result,
                };

                journal_output_rest(journal, &job->id, run, lookup->result);
                journal_tell_end(journal, &end);
        }
        journal_run_free(run);
        lookup_free(lookup);
}

void journal_look_up(struct journal *journal, struct job_result *result) {
        struct lookup *lookup;

        if (journal->n_lookups >= LOOKUPS_MAX || !(lookup = calloc(1, sizeof(*lookup))))
                return;
        lookup->journal = journal;
        lookup->result = job_result_ref(result);
        list_append(&journal->lookups, &lookup->link);
        journal->n_lookups++;
        if (store_get_jobs(
                    journal->store, &result->run.job, 1, /* with_output= */ false, on_job, lookup,
                    &lookup->query) < 0)
                lookup_free(lookup);
}

void journal_lookups_drop(struct journal *journal) {
        struct lookup *lookup;

        LIST_FOREACH(&journal->lookups, lookup, struct lookup, link) {
                store_query_cancel(lookup->query);
                lookup_free(lookup);
        }
}
