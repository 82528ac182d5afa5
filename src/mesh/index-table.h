/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is known of the mesh's recent jobs: what each owner says of each job, in order of age. It is bounded;
 * the oldest go first, and do not come back. Where several owners speak of one job all of it is kept, and
 * the view chooses (job-end.h), so that it does not matter who spoke first.
 *
 * Entries are found by job through a hash, and by age through a treap (Seidel and Aragon, "Randomized Search
 * Trees", 1996), whose priorities follow from the ids of the jobs and a secret. They refer to each other by
 * number, and take about 100 bytes each with everything. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"
#include "util/map.h"
#include "util/time.h"
#include "wire/types.h"

#define INDEX_NONE UINT32_MAX /* no entry */

/* A node that entries name. */
struct index_name {
        struct map_link by_id;
        size_t n_references; /* entries that name it, and who else does */
        uint32_t mark;       /* 0, but while a part is put together */

        /* As an owner: which life of it numbers its entries, up to which number all is known, and whether
         * that was once everything. */
        uint64_t generation, seen;
        bool complete;
        uint8_t round; /* counts its lives */
        /* Of some job it may tell another end than what counts, and was not told so; how often it was told
         * once more, since a link went down; with which entry telling goes on. */
        bool disputed;
        uint8_t n_retold;
        uint32_t dispute_next;
        char text[];
};

struct index_entry {
        struct uuid job;
        usec_t created_at, started_at, finished_at; /* CLOCK_REALTIME; 0: not yet */
        uint64_t epoch;
        uint64_t number;             /* of its last change, by its owner */
        struct index_name *owner;    /* NULL: a free entry */
        struct index_name *executor; /* NULL: none */
        uint32_t offset;             /* see index_entry_position() */
        uint32_t left, right, parent;
        uint32_t next;     /* of the same hash, or the next free one */
        int16_t exit_code; /* -1: none */
        uint8_t round;     /* of its owner, when it was said */
        uint8_t status : 4;
        bool rivals : 1;    /* another owner spoke of the job, too */
        bool by_keeper : 1; /* the owner did not say so itself: the copy of the job, which is here, does */
        bool kept : 1;      /* its owner here only has the copy, and speaks for one that was lost */
};

/* What an owner says of a job. */
struct index_said {
        struct uuid job;
        enum job_status status;
        int exit_code; /* -1: none */
        usec_t created_at, started_at, finished_at;
        uint64_t epoch, number;
        struct index_name *owner, *executor; /* executor: NULL: none */
        bool by_keeper, kept;                /* as in an entry */
};

struct index_table;

/* seed: what nobody else can know, so that no choice of ids makes the tree deep. */
int index_table_new(size_t max, uint64_t seed, struct index_table **ret);
struct index_table *index_table_free(struct index_table *table); /* returns NULL; accepts NULL */
DEFINE_CLEANUP(struct index_table *, index_table_free)

size_t index_table_size(const struct index_table *table);
/* Jobs that were accepted then or before are not taken any more, unless they are there; 0: all are. */
usec_t index_table_horizon(const struct index_table *table);
/* Bytes, with the names. */
size_t index_table_memory(const struct index_table *table);

/* A reference, to be given back. */
int index_name_get(struct index_table *table, const char *node_id, struct index_name **ret);
struct index_name *index_name_find(struct index_table *table, const char *node_id); /* borrowed; or NULL */
struct index_name *index_name_put(struct index_table *table, struct index_name *name); /* returns NULL */

/* What an owner says is said by this life of it from now on. */
void index_name_renew(struct index_name *owner, uint64_t generation);

/* Takes note. 1: *ret_entry is where. 0: it is too old. -ENOMEM. */
int index_table_put(struct index_table *table, const struct index_said *said, uint32_t *ret_entry);
/* What this owner said; NULL: nothing. Valid, as what follows, until something is put or dropped. */
const struct index_entry *
index_table_find(struct index_table *table, const struct uuid *job, const struct index_name *owner);
/* What counts; NULL: nothing is known. */
const struct index_entry *index_table_answer(struct index_table *table, const struct uuid *job);
/* Its owners that tell another end than what counts are disputed from now on. */
void index_table_note_disputes(struct index_table *table, const struct uuid *job);
/* From entry number *number on: the next one of this owner with another end than what counts; NULL: none.
 * *number is then that of the entry after it. */
const struct index_entry *index_table_next_dispute(
        struct index_table *table, const struct index_name *owner, uint32_t *number,
        const struct index_entry **ret_answer);
#define INDEX_RECENT_CHANGES 1000u

/* Likewise, of the ends that this node knows from the copies alone, or from the last changes that the owner
 * told. */
const struct index_entry *
index_table_next_recent(struct index_table *table, const struct index_name *owner, uint32_t *number);
const struct index_entry *index_table_at(struct index_table *table, uint32_t entry);
/* Drops what was not said again of what the owner said in an earlier life and was not finished, or told its
 * keeper alone. */
void index_table_drop_unconfirmed(struct index_table *table, const struct index_name *owner);

/* A number of its own for each entry, that grows with created_at, but for jobs of the same few microseconds,
 * which are in some order. */
uint64_t index_entry_position(const struct index_entry *entry);

struct index_query {
        size_t limit;
        uint64_t before;      /* only those with a lower position; UINT64_MAX: from the newest */
        uint32_t status_mask; /* bits 1u << enum job_status; 0: all */
};

#define INDEX_SCAN_MAX 50000u /* entries that are looked at for one page; it may be shorter for that */

/* What counts of each job, newest first. Returns how many there are in entries; *ret_next: the before of the
 * next page, 0: this is the last one. */
size_t index_table_list(
        struct index_table *table, const struct index_query *query, const struct index_entry **entries,
        uint64_t *ret_next);
