/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the journal share. */

#include "api/ops.h"
#include "mesh/mesh.h"
#include "node/journal-budget.h"
#include "node/journal.h"
#include "store/store.h"
#include "util/buffer.h"
#include "util/list.h"
#include "util/map.h"

struct journal_run;

struct journal_stream {
        struct journal_run *run;
        int number;                 /* 1 or 2 */
        struct executor_read *read; /* a wish that is under way; NULL */
        uint64_t offset;            /* in the stream: so much is written, or was not to be had */
        struct buffer text;         /* read, and not written yet: the stream from offset on */
        bool ended;
};

/* A run that has been in the executor for more than a moment, or that the process before knew of. */
struct journal_run {
        struct journal *journal;
        struct map_link by_job;
        struct run_id run;
        struct job_spec *spec;      /* a reference; NULL: its job ended before this process began */
        struct list_link due_link;  /* until it has run for a while; in order of due_usec */
        struct list_link slow_link; /* while it waits until it may write more */
        usec_t due_usec;            /* CLOCK_BOOTTIME */
        usec_t started_at;          /* CLOCK_REALTIME */
        bool tell_start;
        bool followed;
        bool note; /* the executor has to be told the offsets */
        struct journal_stream streams[2];
        struct budget budget;
        uint64_t n_written; /* bytes of output */
        uint64_t n_missed;  /* bytes that the executor did not keep until they were read */
};

struct journal {
        char node_id[NODE_ID_MAX + 1];
        bool output;
        sd_event *event;
        struct mesh *mesh;
        struct store *store;
        struct executor_client *executor;
        struct ops *ops;
        struct ops_watcher watcher;
        usec_t begun_at;         /* CLOCK_REALTIME */
        unsigned n_synchronised; /* so often has the executor been found */

        struct map runs;
        unsigned n_followed;
        struct list due, slow;
        usec_t slow_usec; /* when those that are slow are looked at again */
        sd_event_source *timer;
        struct budget budget;

        unsigned n_refused[_PROBLEM_CODE_MAX];
        sd_event_source *refused_timer;
        struct run_id held[JOURNAL_HELD_MAX];
        unsigned n_held;
        usec_t held_usec; /* since when, the first of them */
        usec_t held_due;  /* when it is looked at again */

        struct list lookups; /* struct lookup: ends of which the store is asked */
        unsigned n_lookups;
};

/* The end of a job, from what the mind wrote or from what the store has. */
struct journal_end {
        const struct uuid *id;
        uint32_t attempt; /* 0: it never came so far */
        enum job_status status;
        const char *command, *submitter;
        const char *executor; /* the node that ran it; NULL: this one */
        uid_t submitter_uid;
        usec_t timeout_usec;
        const char *error_message;       /* NULL */
        const struct job_result *result; /* NULL: it has none */
};

/* journal-job.c: one line each. */
void journal_tell_start(const struct journal_run *run);
void journal_tell_end(struct journal *journal, const struct journal_end *end);
void journal_tell_attempt(struct journal *journal, const struct record *record);
void journal_tell_cancel(struct journal *journal, const struct uuid *id, const struct caller *caller);
void journal_tell_left_out(const struct uuid *id, uint64_t bytes, uint64_t lines);

/* journal-output.c */
struct journal_entry;
/* The fields of a line of output, in which only the line itself has to be put. */
void journal_output_begin(struct journal_entry *entry, const struct uuid *job, uint32_t attempt, int stream);
/* False: an empty line, which is not written. */
bool journal_output_line(struct journal_entry *entry, const char *text, size_t size, const char *line_break);
/* What is not written yet of a run that has ended; run: NULL where it was never followed; result: NULL where
 * it is lost. */
void journal_output_rest(
        struct journal *journal, const struct uuid *id, struct journal_run *run,
        const struct job_result *result);

/* journal-runs.c */
int journal_runs_init(struct journal *journal);
void journal_runs_done(struct journal *journal);
struct journal_run *journal_run_find(struct journal *journal, const struct uuid *id);
/* -EEXIST, -ENOMEM. spec: NULL, or a reference is taken. */
int journal_run_new(
        struct journal *journal, const struct run_id *run, struct job_spec *spec, struct journal_run **ret);
struct journal_run *journal_run_free(struct journal_run *run);
/* It has a line about its start, and is followed, once it has run for a while. */
void journal_run_expect(struct journal_run *run, usec_t started_at);
/* It may not write more now; later. */
void journal_run_is_slow(struct journal_run *run);

void journal_arm(struct journal *journal);

/* How often it is tried again to do what had to wait. */
#define JOURNAL_SLOW_USEC (100 * USEC_PER_MSEC)

/* journal-hold.c */
void journal_hold_check(struct journal *journal, usec_t now);

/* journal-follow.c */
void journal_follow(struct journal_run *run);
void journal_unfollow(struct journal_run *run);
/* Writes what may be written now, and reads on. */
void journal_follow_on(struct journal_run *run);
bool journal_output_is_wanted(const struct journal *journal);

/* journal-lookup.c: an end that was durable before this process began. */
void journal_look_up(struct journal *journal, struct job_result *result);
/* It is being asked for: released when that is done. */
bool journal_lookup_holds(struct journal *journal, const struct run_id *run);
void journal_lookups_drop(struct journal *journal);

/* journal-refused.c */
int journal_refused_init(struct journal *journal);
void journal_refused(void *userdata, const struct caller *caller, const struct problem *why);
