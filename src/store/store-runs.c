/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store-runs.h"

#include <stdint.h>

static size_t first_slot(const struct finished_runs *runs, const struct run_id *run) {
        uint64_t bits;

        /* Job ids are random already. */
        memcpy(&bits, run->job.bytes, sizeof(bits));
        return (size_t) bits & (runs->n_slots - 1);
}

static void add(struct finished_runs *runs, const struct run_id *run) {
        size_t slot = first_slot(runs, run);

        while (runs->slots[slot])
                slot = (slot + 1) & (runs->n_slots - 1);
        runs->slots[slot] = run;
}

static size_t count(struct list_link *first, struct list_link *end, enum record_type type) {
        size_t n = 0;

        for (struct list_link *link = first; link != end; link = link->next) {
                const struct record_batch *batch = CONTAINER_OF(link, struct record_batch, link);

                for (size_t i = 0; i < batch->n_records; i++)
                        n += batch->records[i].type == type;
        }
        return n;
}

void finished_runs_collect(struct finished_runs *runs, struct list_link *first, struct list_link *end) {
        size_t n_finished = count(first, end, RECORD_FINISHED), n_slots = 4;

        if (n_finished == 0 || count(first, end, RECORD_STARTED) == 0)
                return;

        while (n_slots < n_finished * 2)
                n_slots *= 2;
        runs->slots = calloc(n_slots, sizeof(*runs->slots));
        if (!runs->slots)
                return;
        runs->n_slots = n_slots;

        for (struct list_link *link = first; link != end; link = link->next) {
                const struct record_batch *batch = CONTAINER_OF(link, struct record_batch, link);

                for (size_t i = 0; i < batch->n_records; i++)
                        if (batch->records[i].type == RECORD_FINISHED)
                                add(runs, &batch->records[i].run);
        }
}

bool finished_runs_contain(const struct finished_runs *runs, const struct run_id *run) {
        if (runs->n_slots == 0)
                return false;

        for (size_t slot = first_slot(runs, run); runs->slots[slot]; slot = (slot + 1) & (runs->n_slots - 1))
                if (run_id_equal(runs->slots[slot], run))
                        return true;
        return false;
}

void finished_runs_done(struct finished_runs *runs) {
        free(runs->slots);
        *runs = (struct finished_runs){};
}
