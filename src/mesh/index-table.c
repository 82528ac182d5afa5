/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mesh/index-table.h"

#include "mesh/index-tree.h"
#include "mesh/job-end.h"

/* In the same microsecond thousands of jobs may be accepted. Each gets a place of its own among the 2^16
 * that belong to the next sixteen; where it is taken already, in twice as many, and so on. */
#define POSITION_BITS 16u
#define POSITION_TRIES 16u

struct index_table *index_table_free(struct index_table *table) {
        struct index_name *name;

        if (!table)
                return NULL;
        MAP_FOREACH(&table->names, name, struct index_name, by_id) {
                map_remove(&table->names, &name->by_id);
                free(name);
        }
        for (size_t i = 0; i < table->n_chunks; i++)
                free(table->chunks[i]);
        free(table->chunks);
        free(table->buckets);
        free(table);
        return NULL;
}

int index_table_new(size_t max, uint64_t seed, struct index_table **ret) {
        _cleanup_(index_table_free_p) struct index_table *table = NULL;
        size_t n_buckets = 16;

        /* One more than the limit, for the moment before the oldest goes. */
        if (max == 0 || max >= INDEX_NONE - INDEX_CHUNK)
                return -EINVAL;
        table = calloc(1, sizeof(*table));
        if (!table)
                return -ENOMEM;
        while (n_buckets < max)
                n_buckets *= 2;
        table->max = max;
        table->seed = seed;
        table->root = table->free = INDEX_NONE;
        table->buckets_mask = n_buckets - 1;
        /* Numbers are kept plus one, so that memory that was never touched is empty. */
        table->buckets = calloc(n_buckets, sizeof(*table->buckets));
        table->chunks = calloc(max / INDEX_CHUNK + 1, sizeof(*table->chunks));
        if (!table->buckets || !table->chunks)
                return -ENOMEM;
        *ret = TAKE_PTR(table);
        return 0;
}

size_t index_table_size(const struct index_table *table) {
        return table->n;
}

usec_t index_table_horizon(const struct index_table *table) {
        return table->horizon;
}

size_t index_table_memory(const struct index_table *table) {
        return sizeof(*table) + (table->buckets_mask + 1) * sizeof(*table->buckets) +
               table->n_chunks * INDEX_CHUNK * sizeof(struct index_entry) +
               map_size(&table->names) * (sizeof(struct index_name) + NODE_ID_MAX + 1);
}

struct index_name *index_name_find(struct index_table *table, const char *node_id) {
        return MAP_GET(&table->names, node_id, strlen(node_id), struct index_name, by_id);
}

int index_name_get(struct index_table *table, const char *node_id, struct index_name **ret) {
        struct index_name *name = index_name_find(table, node_id);
        size_t length = strlen(node_id);
        int r;

        if (!name) {
                name = calloc(1, sizeof(*name) + length + 1);
                if (!name)
                        return -ENOMEM;
                memcpy(name->text, node_id, length + 1);
                r = map_add(&table->names, &name->by_id, name->text, length);
                if (r < 0) {
                        free(name);
                        return r;
                }
        }
        name->n_references++;
        *ret = name;
        return 0;
}

void index_name_renew(struct index_name *owner, uint64_t generation) {
        if (generation == owner->generation)
                return;
        owner->generation = generation;
        owner->seen = 0;
        owner->complete = false;
        owner->round++;
}

struct index_name *index_name_put(struct index_table *table, struct index_name *name) {
        if (!name)
                return NULL;
        assert(name->n_references > 0);
        if (--name->n_references == 0) {
                map_remove(&table->names, &name->by_id);
                free(name);
        }
        return NULL;
}

/* splitmix64 (Steele, Lea and Flood, 2014), over both halves. */
uint64_t index_mix(const struct uuid *job, uint64_t seed) {
        uint64_t words[2], value = seed;

        memcpy(words, job->bytes, sizeof(words));
        for (size_t i = 0; i < 2; i++) {
                value += words[i] + UINT64_C(0x9e3779b97f4a7c15);
                value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
                value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
                value ^= value >> 31;
        }
        return value;
}

static uint32_t *bucket_of(struct index_table *table, const struct uuid *job) {
        return &table->buckets[index_mix(job, table->seed) & table->buckets_mask];
}

/* The first entry of the hash, for a walk along next. */
static uint32_t first_of(struct index_table *table, const struct uuid *job) {
        return *bucket_of(table, job) - 1; /* 0 is none, and becomes INDEX_NONE */
}

#define FOREACH_OF_HASH(table, id, number, entry)                                       \
        for (uint32_t number = first_of((table), (id));                                 \
             number != INDEX_NONE && ((entry = index_entry_at((table), number)), true); \
             number = entry->next)

static uint32_t find(struct index_table *table, const struct uuid *job, const struct index_name *owner) {
        const struct index_entry *entry;

        FOREACH_OF_HASH(table, job, number, entry)
        if (entry->owner == owner && uuid_equal(&entry->job, job))
                return number;
        return INDEX_NONE;
}

const struct index_entry *
index_table_find(struct index_table *table, const struct uuid *job, const struct index_name *owner) {
        uint32_t number = find(table, job, owner);

        return number == INDEX_NONE ? NULL : index_entry_at(table, number);
}

const struct index_entry *index_table_at(struct index_table *table, uint32_t entry) {
        return index_entry_at(table, entry);
}

static struct job_end end_of(const struct index_entry *entry) {
        return (struct job_end){
                .status = (enum job_status) entry->status,
                .epoch = entry->epoch,
                .owner_node_id = entry->owner->text,
        };
}

/* Of two that say the same who owns the job comes before who only has its copy. */
static bool counts_more(const struct index_entry *a, const struct index_entry *b) {
        struct job_end x = end_of(a), y = end_of(b);

        if (a->kept != b->kept && a->status == b->status)
                return b->kept;
        return job_end_compare(&x, &y) > 0;
}

const struct index_entry *index_table_answer(struct index_table *table, const struct uuid *job) {
        const struct index_entry *entry, *best = NULL;

        FOREACH_OF_HASH(table, job, number, entry)
        if (uuid_equal(&entry->job, job) && (!best || counts_more(entry, best)))
                best = entry;
        return best;
}

/* Two ends of one job, of which this one does not count. */
static bool is_overruled(const struct index_entry *entry, const struct index_entry *answer) {
        return entry->status != answer->status && !entry->kept &&
               job_status_is_final((enum job_status) entry->status) &&
               job_status_is_final((enum job_status) answer->status);
}

void index_table_note_disputes(struct index_table *table, const struct uuid *job) {
        const struct index_entry *answer = index_table_answer(table, job), *entry;

        if (!answer || !answer->rivals)
                return;
        FOREACH_OF_HASH(table, job, number, entry)
        if (uuid_equal(&entry->job, job) && is_overruled(entry, answer)) {
                entry->owner->disputed = true;
                entry->owner->n_retold = 0;
        }
}

const struct index_entry *index_table_next_dispute(
        struct index_table *table, const struct index_name *owner, uint32_t *number,
        const struct index_entry **ret_answer) {
        const struct index_entry *entry;

        while (*number < table->n_used) {
                entry = index_entry_at(table, (*number)++);
                if (entry->owner != owner || !entry->rivals)
                        continue;
                *ret_answer = index_table_answer(table, &entry->job);
                if (is_overruled(entry, *ret_answer))
                        return entry;
        }
        return NULL;
}

const struct index_entry *
index_table_next_recent(struct index_table *table, const struct index_name *owner, uint32_t *number) {
        const struct index_entry *entry;

        while (*number < table->n_used) {
                entry = index_entry_at(table, (*number)++);
                if (entry->owner == owner && job_status_is_final((enum job_status) entry->status) &&
                    (entry->by_keeper || entry->number + INDEX_RECENT_CHANGES > owner->seen))
                        return entry;
        }
        return NULL;
}

static int make_entry(struct index_table *table, uint32_t *ret) {
        if (table->free != INDEX_NONE) {
                *ret = table->free;
                table->free = index_entry_at(table, *ret)->next;
                return 0;
        }
        if (table->n_used == table->n_chunks * INDEX_CHUNK) {
                struct index_entry *chunk = calloc(INDEX_CHUNK, sizeof(*chunk));

                if (!chunk)
                        return -ENOMEM;
                table->chunks[table->n_chunks++] = chunk;
        }
        *ret = table->n_used++;
        return 0;
}

static void leave_hash(struct index_table *table, uint32_t number) {
        struct index_entry *entry = index_entry_at(table, number), *other;
        uint32_t *bucket = bucket_of(table, &entry->job);

        if (*bucket - 1 == number) {
                *bucket = entry->next + 1;
                return;
        }
        FOREACH_OF_HASH(table, &entry->job, walker, other)
        if (other->next == number) {
                other->next = entry->next;
                return;
        }
}

static void drop(struct index_table *table, uint32_t number) {
        struct index_entry *entry = index_entry_at(table, number);

        index_tree_remove(table, number);
        leave_hash(table, number);
        entry->owner = index_name_put(table, entry->owner);
        entry->executor = index_name_put(table, entry->executor);
        entry->next = table->free;
        table->free = number;
        table->n--;
}

/* What goes for want of room does not come back, nor does anything that is older. */
static void drop_oldest(struct index_table *table) {
        uint32_t oldest = index_tree_first(table);

        table->horizon = MAX(table->horizon, index_entry_at(table, oldest)->created_at);
        drop(table, oldest);
}

uint64_t index_entry_position(const struct index_entry *entry) {
        return index_position(entry->created_at, entry->offset);
}

static bool find_offset(struct index_table *table, const struct index_said *said, uint32_t *ret) {
        /* The same on all nodes, so that they list jobs of the same time in the same order. */
        uint64_t hash = index_mix(&said->job, 0);

        for (unsigned i = 0; i < POSITION_TRIES; i++) {
                *ret = (uint32_t) (hash & ((UINT64_C(1) << (POSITION_BITS + i)) - 1));
                if (!index_tree_has(table, index_position(said->created_at, *ret)))
                        return true;
                hash = hash >> 7 | hash << 57;
        }
        return false;
}

/* Others spoke of it, too: all of them know that. */
static void note_rivals(struct index_table *table, struct index_entry *entry) {
        struct index_entry *other;

        FOREACH_OF_HASH(table, &entry->job, number, other)
        if (other != entry && uuid_equal(&other->job, &entry->job))
                other->rivals = entry->rivals = true;
}

static int add(struct index_table *table, const struct index_said *said, uint32_t *ret) {
        uint32_t *bucket = bucket_of(table, &said->job), offset;
        struct index_entry *entry;
        int r;

        if (said->created_at <= table->horizon || !find_offset(table, said, &offset))
                return 0;
        if (table->n == table->max) {
                const struct index_entry *oldest = index_entry_at(table, index_tree_first(table));

                if (index_position(said->created_at, offset) < index_entry_position(oldest)) {
                        table->horizon = said->created_at;
                        return 0;
                }
                drop_oldest(table);
        }
        r = make_entry(table, ret);
        if (r < 0)
                return r;
        entry = index_entry_at(table, *ret);
        *entry = (struct index_entry){
                .job = said->job,
                .created_at = said->created_at,
                .offset = offset,
                .owner = said->owner,
                .next = *bucket - 1,
        };
        said->owner->n_references++;
        *bucket = *ret + 1;
        table->n++;
        note_rivals(table, entry);
        index_tree_insert(table, *ret);
        return 1;
}

int index_table_put(struct index_table *table, const struct index_said *said, uint32_t *ret_entry) {
        uint32_t number = find(table, &said->job, said->owner);
        struct index_entry *entry;
        int r;

        if (number != INDEX_NONE && index_entry_at(table, number)->created_at != said->created_at) {
                drop(table, number);
                number = INDEX_NONE;
        }
        if (number == INDEX_NONE) {
                r = add(table, said, &number);
                if (r <= 0)
                        return r;
        }
        entry = index_entry_at(table, number);
        entry->started_at = said->started_at;
        entry->finished_at = said->finished_at;
        entry->epoch = said->epoch;
        entry->number = said->number;
        entry->status = (uint8_t) said->status & 0xf;
        entry->exit_code = (int16_t) said->exit_code;
        entry->round = said->owner->round;
        entry->by_keeper = said->by_keeper;
        entry->kept = said->kept;
        if (said->executor)
                said->executor->n_references++;
        index_name_put(table, entry->executor);
        entry->executor = said->executor;
        *ret_entry = number;
        return 1;
}

void index_table_drop_unconfirmed(struct index_table *table, const struct index_name *owner) {
        for (uint32_t number = 0; number < table->n_used; number++) {
                const struct index_entry *entry = index_entry_at(table, number);

                if (entry->owner == owner && entry->round != owner->round &&
                    (entry->by_keeper || !job_status_is_final((enum job_status) entry->status)))
                        drop(table, number);
        }
}

static bool
is_listed(struct index_table *table, const struct index_query *query, const struct index_entry *entry) {
        if (query->status_mask != 0 && !(query->status_mask & 1u << entry->status))
                return false;
        return !entry->rivals || index_table_answer(table, &entry->job) == entry;
}

size_t index_table_list(
        struct index_table *table, const struct index_query *query, const struct index_entry **entries,
        uint64_t *ret_next) {
        uint32_t number = index_tree_below(table, query->before);
        const struct index_entry *entry = NULL;
        size_t n = 0;

        for (size_t i = 0; number != INDEX_NONE && n < query->limit && i < INDEX_SCAN_MAX; i++) {
                entry = index_entry_at(table, number);
                if (is_listed(table, query, entry))
                        entries[n++] = entry;
                number = index_tree_previous(table, number);
        }
        *ret_next = number != INDEX_NONE && entry ? index_entry_position(entry) : 0;
        return n;
}
