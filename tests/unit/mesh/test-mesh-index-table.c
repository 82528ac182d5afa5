/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is kept of the mesh's recent jobs: order, bounds, and that nothing depends on who spoke first. */

#include <malloc.h>

#include "lib/tests.h"
#include "mesh/index-table.h"
#include "mesh/job-end.h"

#define BEGIN_USEC (UINT64_C(1764000000) * USEC_PER_SEC)

static uint64_t random_state = 1;

/* xorshift64*: the same numbers each time. */
static uint64_t below(uint64_t limit) {
        random_state ^= random_state >> 12;
        random_state ^= random_state << 25;
        random_state ^= random_state >> 27;
        return (random_state * UINT64_C(2685821657736338717) >> 8) % limit;
}

static struct uuid id_of(uint64_t number) {
        struct uuid id = { { 1 } };

        for (size_t i = 0; i < sizeof(number); i++)
                id.bytes[8 + i] = (uint8_t) (number >> 8 * i);
        return id;
}

static struct index_table *table_of(size_t max) {
        struct index_table *table;

        ASSERT_OK(index_table_new(max, UINT64_C(0x1234567890abcdef), &table));
        return table;
}

static struct index_name *name_of(struct index_table *table, const char *text) {
        struct index_name *name;

        ASSERT_OK(index_name_get(table, text, &name));
        return name;
}

static struct index_said said_of(struct index_name *owner, uint64_t number, enum job_status status) {
        usec_t created_at = BEGIN_USEC + number * 100;

        return (struct index_said){
                .job = id_of(number),
                .status = status,
                .exit_code = status == JOB_COMPLETED ? 0 : -1,
                .created_at = created_at,
                .started_at = status > JOB_PENDING ? created_at + 1 : 0,
                .finished_at = job_status_is_final(status) ? created_at + 2 : 0,
                .epoch = 1,
                .owner = owner,
        };
}

static void put(struct index_table *table, const struct index_said *said, int expected) {
        uint32_t entry;

        ASSERT_EQ(ASSERT_OK(index_table_put(table, said, &entry)), expected);
}

/* All pages, of so many each; returns how many jobs there are. They get older and older. */
static size_t walk(struct index_table *table, size_t limit, uint32_t mask, struct uuid *ids, size_t n_ids) {
        struct index_query query = { .limit = limit, .before = UINT64_MAX, .status_mask = mask };
        const struct index_entry *entries[1000];
        uint64_t last = UINT64_MAX, next;
        size_t total = 0;

        do {
                size_t n = index_table_list(table, &query, entries, &next);

                ASSERT_LE(n, limit);
                for (size_t i = 0; i < n; i++) {
                        ASSERT_TRUE(index_entry_position(entries[i]) < last);
                        last = index_entry_position(entries[i]);
                        ASSERT_TRUE(mask == 0 || (mask & 1u << entries[i]->status));
                        ASSERT_LT(total, n_ids);
                        ids[total++] = entries[i]->job;
                }
                query.before = next;
        } while (next != 0);
        return total;
}

static const struct job_end ends[] = {
        { JOB_COMPLETED, 1, "a" }, { JOB_COMPLETED, 1, "b" }, { JOB_COMPLETED, 2, "a" },
        { JOB_FAILED, 1, "a" },    { JOB_FAILED, 3, "b" },    { JOB_TIMEOUT, 1, "a" },
        { JOB_CANCELLED, 1, "a" }, { JOB_CANCELLED, 1, "c" }, { JOB_RUNNING, 5, "a" },
        { JOB_RUNNING, 1, "b" },   { JOB_PENDING, 1, "a" },   { JOB_PENDING, 6, "c" },
};

static int sign(int value) {
        return (value > 0) - (value < 0);
}

static void test_order_of_ends(void) {
        static const struct {
                struct job_end winner, loser;
        } cases[] = {
                { { JOB_CANCELLED, 9, "z" }, { JOB_RUNNING, 1, "a" } },
                { { JOB_COMPLETED, 9, "z" }, { JOB_FAILED, 1, "a" } },
                { { JOB_FAILED, 9, "z" }, { JOB_TIMEOUT, 1, "a" } },
                { { JOB_TIMEOUT, 9, "z" }, { JOB_CANCELLED, 1, "a" } },
                { { JOB_FAILED, 1, "z" }, { JOB_FAILED, 2, "a" } },
                { { JOB_FAILED, 1, "a" }, { JOB_FAILED, 1, "z" } },
                { { JOB_PENDING, 2, "a" }, { JOB_RUNNING, 1, "z" } },
                { { JOB_PENDING, 1, "z" }, { JOB_RUNNING, 1, "a" } },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ASSERT_GT(job_end_compare(&cases[i].winner, &cases[i].loser), 0);
                ASSERT_LT(job_end_compare(&cases[i].loser, &cases[i].winner), 0);
                ASSERT_EQ(job_end_compare(&cases[i].winner, &cases[i].winner), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(ends); i++)
                for (size_t j = 0; j < ELEMENTSOF(ends); j++) {
                        int ij = sign(job_end_compare(&ends[i], &ends[j]));

                        ASSERT_EQ(ij, -sign(job_end_compare(&ends[j], &ends[i])));
                        ASSERT_EQ(ij == 0, i == j);
                        for (size_t k = 0; k < ELEMENTSOF(ends); k++)
                                if (ij > 0 && job_end_compare(&ends[j], &ends[k]) > 0)
                                        ASSERT_GT(job_end_compare(&ends[i], &ends[k]), 0);
                }
}

/* What four owners say of one job, one after the other of each, in this order of arrival. */
static const struct {
        const char *owner;
        enum job_status status;
        uint64_t epoch;
} statements[] = {
        { "a", JOB_RUNNING, 1 },   { "a", JOB_FAILED, 1 },    { "b", JOB_RUNNING, 2 },
        { "b", JOB_COMPLETED, 2 }, { "c", JOB_COMPLETED, 3 }, { "d", JOB_PENDING, 9 },
};

static void hear(const size_t order[static ELEMENTSOF(statements)]) {
        _cleanup_(index_table_free_p) struct index_table *table = table_of(100);
        const struct index_entry *answer;
        struct uuid ids[4];
        char owner[2] = "";

        for (size_t i = 0; i < ELEMENTSOF(statements); i++) {
                struct index_said said =
                        said_of(name_of(table, statements[order[i]].owner), 7, statements[order[i]].status);

                said.epoch = statements[order[i]].epoch;
                put(table, &said, 1);
                /* Whatever was heard so far, exactly one of it counts. */
                ASSERT_EQ(walk(table, 10, 0, ids, ELEMENTSOF(ids)), 1);
        }
        answer = index_table_answer(table, &ids[0]);
        ASSERT_EQ(answer->status, JOB_COMPLETED);
        ASSERT_EQ(answer->epoch, 2);
        owner[0] = answer->owner->text[0];
        ASSERT_STREQ(owner, "b");
        ASSERT_EQ(index_table_size(table), 4u);
}

static size_t permute(size_t order[static ELEMENTSOF(statements)], size_t n) {
        size_t n_heard = 0;

        if (n == ELEMENTSOF(statements)) {
                size_t place[ELEMENTSOF(statements)];

                for (size_t i = 0; i < n; i++)
                        place[order[i]] = i;
                /* Each owner is heard in its own order. */
                if (place[0] > place[1] || place[2] > place[3])
                        return 0;
                hear(order);
                return 1;
        }
        for (size_t i = n; i < ELEMENTSOF(statements); i++) {
                size_t kept = order[n];

                order[n] = order[i];
                order[i] = kept;
                n_heard += permute(order, n + 1);
                order[i] = order[n];
                order[n] = kept;
        }
        return n_heard;
}

static void test_any_order_of_arrival(void) {
        size_t order[] = { 0, 1, 2, 3, 4, 5 };

        ASSERT_EQ(permute(order, 0), 720u / 4);
}

/* Against a plain list of what should be there. */
static void test_random(void) {
        enum { N = 400, LIMIT = 60 };
        _cleanup_(index_table_free_p) struct index_table *table = table_of(LIMIT);
        struct index_name *owner = name_of(table, "a");
        struct uuid ids[LIMIT];
        bool known[N] = {}, gone[N] = {};

        for (unsigned step = 0; step < 20000; step++) {
                /* Ages wander, so that there are always some that are too old. */
                uint64_t number = below(MIN((unsigned) N, 20 + step / 40));
                struct index_said said = said_of(owner, number, (enum job_status)(JOB_PENDING + below(6)));
                size_t n = 0, n_known = 0;
                uint32_t entry;
                int r = (int) ASSERT_OK(index_table_put(table, &said, &entry));

                if (gone[number])
                        ASSERT_EQ(r, 0);
                known[number] = r == 1;
                gone[number] = r == 0;
                for (size_t i = 0; i < N; i++)
                        n_known += known[i];
                for (size_t i = 0; i < N && n_known > LIMIT; i++)
                        if (known[i]) {
                                known[i] = false;
                                gone[i] = true;
                                n_known--;
                        }
                if (step % 50 != 0)
                        continue;
                ASSERT_EQ(index_table_size(table), n_known);
                ASSERT_EQ(walk(table, 7, 0, ids, LIMIT), n_known);
                for (size_t i = 0; i < N; i++) {
                        struct uuid id = id_of(i);

                        ASSERT_EQ(index_table_find(table, &id, owner) != NULL, known[i]);
                        n += known[i];
                }
                ASSERT_EQ(n, n_known);
        }
        index_name_put(table, owner);
}

/* A request of 10,000 jobs gives all of them the same time. */
static void test_the_same_time(void) {
        enum { N = 20000 };
        _cleanup_(index_table_free_p) struct index_table *table = table_of(N);
        struct index_name *owner = name_of(table, "a");
        _cleanup_free_ struct uuid *ids = calloc(N, sizeof(*ids));
        _cleanup_free_ bool *seen = calloc(N, sizeof(*seen));

        ASSERT_TRUE(ids && seen);
        for (uint64_t i = 0; i < N; i++) {
                struct index_said said = said_of(owner, i, JOB_PENDING);

                said.created_at = BEGIN_USEC;
                put(table, &said, 1);
        }
        ASSERT_EQ(walk(table, 1000, 0, ids, N), (size_t) N);
        for (size_t i = 0; i < N; i++) {
                uint64_t number = 0;

                for (size_t j = 0; j < 8; j++)
                        number |= (uint64_t) ids[i].bytes[8 + j] << 8 * j;
                ASSERT_TRUE(number < N && !seen[number]);
                seen[number] = true;
        }
        index_name_put(table, owner);
}

/* A page looks at so many entries; what it did not reach is on the next one. */
static void test_rare_status(void) {
        enum { N = INDEX_SCAN_MAX + 100 };
        _cleanup_(index_table_free_p) struct index_table *table = table_of(N);
        struct index_name *owner = name_of(table, "a");
        struct index_query query = { .limit = 10, .before = UINT64_MAX, .status_mask = 1u << JOB_TIMEOUT };
        const struct index_entry *entries[10];
        struct uuid ids[1];
        uint64_t next;

        for (uint64_t i = 0; i < N; i++) {
                struct index_said said = said_of(owner, i, i == 0 ? JOB_TIMEOUT : JOB_COMPLETED);

                put(table, &said, 1);
        }
        ASSERT_EQ(index_table_list(table, &query, entries, &next), 0u);
        ASSERT_TRUE(next != 0);
        ASSERT_EQ(walk(table, 10, query.status_mask, ids, 1), 1u);
        index_name_put(table, owner);
}

static void test_a_later_life(void) {
        _cleanup_(index_table_free_p) struct index_table *table = table_of(100);
        struct index_name *owner = name_of(table, "a"), *other = name_of(table, "b");
        static const enum job_status statuses[] = { JOB_PENDING, JOB_RUNNING, JOB_RUNNING, JOB_COMPLETED };
        struct index_said said;
        struct uuid ids[10], id = id_of(0);

        for (uint64_t i = 0; i < ELEMENTSOF(statuses); i++) {
                said = said_of(owner, i, statuses[i]);
                put(table, &said, 1);
        }
        said = said_of(other, 9, JOB_RUNNING);
        put(table, &said, 1);
        owner->round++;
        said = said_of(owner, 1, JOB_RUNNING);
        put(table, &said, 1);
        index_table_drop_unconfirmed(table, owner);
        /* It named 1 again; 3 had ended; 9 is another's. */
        ASSERT_EQ(walk(table, 10, 0, ids, ELEMENTSOF(ids)), 3u);
        ASSERT_NULL(index_table_answer(table, &id));
        index_name_put(table, owner);
        index_name_put(table, other);
        ASSERT_NOT_NULL(index_name_find(table, "a"));
}

/* A job whose time is told anew is moved, and names that nobody needs are forgotten. */
static void test_moves_and_names(void) {
        _cleanup_(index_table_free_p) struct index_table *table = table_of(1);
        struct index_name *owner = name_of(table, "a");
        struct index_said said = said_of(owner, 5, JOB_RUNNING);
        struct uuid ids[1];

        said.executor = name_of(table, "b");
        put(table, &said, 1);
        index_name_put(table, said.executor);
        ASSERT_NOT_NULL(index_name_find(table, "b"));
        said.created_at += 10;
        said.executor = NULL;
        put(table, &said, 1);
        ASSERT_NULL(index_name_find(table, "b"));
        ASSERT_EQ(walk(table, 1, 0, ids, 1), 1u);
        index_name_put(table, owner);
        said = said_of(name_of(table, "c"), 50, JOB_RUNNING);
        put(table, &said, 1);
        ASSERT_NULL(index_name_find(table, "a"));
        ASSERT_EQ(index_table_size(table), 1u);
        ASSERT_TRUE(index_table_horizon(table) > 0);
}

/* Figures, for people. */
static void test_size(void) {
        enum { N = 100000, OWNERS = 200 };
        struct mallinfo2 before = mallinfo2();
        _cleanup_(index_table_free_p) struct index_table *table = table_of(N);
        struct index_name *owners[OWNERS];
        const struct index_entry *entries[1000];
        struct index_query query = { .limit = 1000, .before = UINT64_MAX, .status_mask = 1u << JOB_TIMEOUT };
        uint64_t next;
        usec_t begun;

        for (size_t i = 0; i < OWNERS; i++) {
                char text[32];

                (void) snprintf(text, sizeof(text), "node-%016zx", i);
                owners[i] = name_of(table, text);
        }
        begun = now_usec(CLOCK_MONOTONIC);
        for (uint64_t i = 0; i < 2 * N; i++) {
                struct index_said said = said_of(owners[i % OWNERS], i, JOB_COMPLETED);

                said.executor = owners[below(OWNERS)];
                put(table, &said, 1);
        }
        usec_t filled = now_usec(CLOCK_MONOTONIC);
        ASSERT_EQ(index_table_list(table, &query, entries, &next), 0u);
        usec_t scanned = now_usec(CLOCK_MONOTONIC);
        struct mallinfo2 after = mallinfo2();
        size_t bytes = (size_t) (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd);

        printf("%d jobs of %d owners: %.1f MB of memory, %.0f bytes each; %.2f us to note one; %.2f ms to "
               "look "
               "through %u\n",
               N, OWNERS, (double) bytes / 1e6, (double) bytes / N, (double) (filled - begun) / (2 * N),
               (double) (scanned - filled) / 1000, INDEX_SCAN_MAX);
        ASSERT_EQ(index_table_size(table), (size_t) N);
        /* Without a sanitizer it is what was promised; with one it may be more. */
        ASSERT_LE(index_table_memory(table), N * UINT64_C(110));
        for (size_t i = 0; i < OWNERS; i++)
                index_name_put(table, owners[i]);
}

int main(void) {
        RUN(test_order_of_ends);
        RUN(test_any_order_of_arrival);
        RUN(test_random);
        RUN(test_the_same_time);
        RUN(test_rare_status);
        RUN(test_a_later_life);
        RUN(test_moves_and_names);
        RUN(test_size);
        return 0;
}
