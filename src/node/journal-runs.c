/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The runs that are in the executor for more than a moment: which of them have been there long enough to be
 * told of, and the one timer of all. */

#include "node/journal-internal.h"
#include "util/log.h"

#define TIMER_ACCURACY_USEC (20 * USEC_PER_MSEC)

struct journal_run *journal_run_find(struct journal *journal, const struct uuid *id) {
        return MAP_GET(&journal->runs, id, sizeof(*id), struct journal_run, by_job);
}

int journal_run_new(
        struct journal *journal, const struct run_id *id, struct job_spec *spec, struct journal_run **ret) {
        struct journal_run *run = calloc(1, sizeof(*run));
        int r;

        if (!run)
                return -ENOMEM;
        run->journal = journal;
        run->run = *id;
        for (int i = 0; i < 2; i++) {
                run->streams[i].run = run;
                run->streams[i].number = i + 1;
        }
        r = map_add(&journal->runs, &run->by_job, &run->run.job, sizeof(run->run.job));
        if (r < 0) {
                free(run);
                return r;
        }
        run->spec = spec ? job_spec_ref(spec) : NULL;
        *ret = run;
        return 0;
}

/* One that had to wait for its turn to be followed. */
static void follow_another(struct journal *journal) {
        struct journal_run *run;

        if (journal->n_followed >= JOURNAL_FOLLOWED_MAX)
                return;
        MAP_FOREACH(&journal->runs, run, struct journal_run, by_job)
                if (!run->followed) {
                        journal_follow(run);
                        if (run->followed)
                                return;
                }
}

struct journal_run *journal_run_free(struct journal_run *run) {
        struct journal *journal;
        bool was_followed;

        if (!run)
                return NULL;
        journal = run->journal;
        was_followed = run->followed;
        journal_unfollow(run);
        map_remove(&journal->runs, &run->by_job);
        list_remove(&run->due_link);
        job_spec_unref(run->spec);
        free(run);
        if (was_followed)
                follow_another(journal);
        return NULL;
}

void journal_arm(struct journal *journal) {
        struct journal_run *run = LIST_FIRST(&journal->due, struct journal_run, due_link);
        usec_t next = run ? run->due_usec : USEC_INFINITY;

        if (!list_is_empty(&journal->slow))
                next = MIN(next, journal->slow_usec);
        if (journal->n_held > 0)
                next = MIN(next, journal->held_due);
        (void) sd_event_source_set_time(journal->timer, next);
        (void) sd_event_source_set_enabled(
                journal->timer, next == USEC_INFINITY ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

void journal_run_expect(struct journal_run *run, usec_t started_at) {
        struct journal *journal = run->journal;
        usec_t now = now_usec(CLOCK_BOOTTIME);
        usec_t ago = started_at > 0 ? usec_sub(now_usec(CLOCK_REALTIME), started_at) : 0;

        run->started_at = started_at;
        /* The process before has told it, where the job was old enough. */
        run->tell_start = usec_add(started_at, JOURNAL_STARTED_AFTER_USEC) > journal->begun_at;
        run->due_usec = usec_add(now, usec_sub(JOURNAL_STARTED_AFTER_USEC, ago));
        /* In order as they come, but for those of the process before, which are early by a second at most.
         */
        if (ago >= JOURNAL_STARTED_AFTER_USEC)
                list_prepend(&journal->due, &run->due_link);
        else
                list_append(&journal->due, &run->due_link);
        journal_arm(journal);
}

static void tell_due(struct journal *journal, usec_t now) {
        struct journal_run *run;
        struct run_id current;

        while ((run = LIST_FIRST(&journal->due, struct journal_run, due_link)) && run->due_usec <= now) {
                list_remove(&run->due_link);
                /* It has ended, which is on its way to the disk. */
                if (!mesh_job_current_run(journal->mesh, &run->run.job, &current) ||
                    !run_id_equal(&current, &run->run))
                        continue;
                if (run->tell_start)
                        journal_tell_start(run);
                journal_follow(run);
        }
}

void journal_run_is_slow(struct journal_run *run) {
        struct journal *journal = run->journal;

        if (list_is_linked(&run->slow_link))
                return;
        if (list_is_empty(&journal->slow))
                journal->slow_usec = usec_add(now_usec(CLOCK_BOOTTIME), JOURNAL_SLOW_USEC);
        list_append(&journal->slow, &run->slow_link);
        journal_arm(journal);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct journal *journal = userdata;
        struct journal_run *run;
        struct list slow;

        tell_due(journal, now_usec(CLOCK_BOOTTIME));
        journal_hold_check(journal, now_usec(CLOCK_BOOTTIME));
        if (now_usec(CLOCK_BOOTTIME) < journal->slow_usec)
                list_init(&slow);
        else
                list_move(&journal->slow, &slow);
        while ((run = LIST_FIRST(&slow, struct journal_run, slow_link))) {
                list_remove(&run->slow_link);
                journal_follow_on(run);
        }
        journal_arm(journal);
        return 0;
}

int journal_runs_init(struct journal *journal) {
        int r;

        list_init(&journal->due);
        list_init(&journal->slow);
        r = sd_event_add_time(
                journal->event, &journal->timer, CLOCK_BOOTTIME, USEC_INFINITY, TIMER_ACCURACY_USEC,
                on_timer, journal);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(journal->timer, "journal");
        return sd_event_source_set_enabled(journal->timer, SD_EVENT_OFF);
}

void journal_runs_done(struct journal *journal) {
        struct journal_run *run;

        journal->output = false; /* nothing is followed any more */
        MAP_FOREACH(&journal->runs, run, struct journal_run, by_job)
                journal_run_free(run);
        sd_event_source_disable_unref(journal->timer);
}
