/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The order of age in an index-table.h: a treap. Only for the files of the table. */

#include "mesh/index-table.h"

#define INDEX_CHUNK 1024u /* entries that are allocated at once */

struct index_table {
        size_t max, n;
        uint64_t seed;
        usec_t horizon;
        uint32_t n_used;     /* entries that were ever used */
        uint32_t free, root; /* of the list of free ones; of the tree */
        uint32_t *buckets;   /* number of the first entry, plus one */
        uint64_t buckets_mask;
        struct index_entry **chunks;
        size_t n_chunks;
        struct map names;
};

static inline struct index_entry *index_entry_at(const struct index_table *table, uint32_t number) {
        return &table->chunks[number / INDEX_CHUNK][number % INDEX_CHUNK];
}

uint64_t index_mix(const struct uuid *job, uint64_t seed);

/* Times after the year 2100 are all the same. */
static inline uint64_t index_position(usec_t created_at, uint32_t offset) {
        return (MIN(created_at, (UINT64_C(1) << 52) - (UINT64_C(1) << 21)) << 12) + offset;
}

void index_tree_insert(struct index_table *table, uint32_t number);
void index_tree_remove(struct index_table *table, uint32_t number);
bool index_tree_has(const struct index_table *table, uint64_t position);
uint32_t index_tree_first(const struct index_table *table); /* INDEX_NONE: it is empty; so below */
uint32_t index_tree_below(const struct index_table *table, uint64_t position);
uint32_t index_tree_previous(const struct index_table *table, uint32_t number);
