/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The process before was killed after it wrote an end to the disk and before the executor forgot the run:
 * whether the journal has it is not known. What the executor does not tell is asked of the store; until the
 * answer is written the executor keeps the run, for the case that we are killed as well. */

#include "node/journal-internal.h"
#include "util/log.h"

#define LOOKUPS_MAX 512u /* at once; more ends are not written a second time */

struct lookup {
        struct journal *journal;
        struct list_link link;
        struct store_query *query;
        struct job_result *result;
        bool release_wanted; /* the executor may forget the run as far as others are concerned */
};

static void lookup_free(struct lookup *lookup) {
        list_remove(&lookup->link);
        lookup->journal->n_lookups--;
        job_result_unref(lookup->result);
        free(lookup);
}

bool journal_lookup_holds(struct journal *journal, const struct run_id *run) {
        struct lookup *lookup;

        LIST_FOREACH(&journal->lookups, lookup, struct lookup, link)
                if (run_id_equal(&lookup->result->run, run)) {
                        lookup->release_wanted = true;
                        return true;
                }
        return false;
}

static void lookup_end(struct lookup *lookup) {
        struct journal *journal = lookup->journal;
        struct run_id run = lookup->result->run;
        bool release = lookup->release_wanted;

        lookup_free(lookup);
        if (release && !journal_holds(journal, &run))
                (void) executor_client_release(journal->executor, &run);
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
        lookup_end(lookup);
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
