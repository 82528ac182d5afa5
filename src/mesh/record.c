/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "mesh/record.h"
#include "util/array.h"

static const char *const attempt_fate_text[_ATTEMPT_FATE_MAX] = {
        [ATTEMPT_NEVER_BEGAN] = "never_began",
        [ATTEMPT_LOST] = "lost",
        [ATTEMPT_EXECUTOR_LOST] = "executor_lost",
        [ATTEMPT_FAILED] = "failed",
        [ATTEMPT_LATE] = "given_up",
        [ATTEMPT_DRAINED] = "drained",
};

const char *attempt_fate_to_text(enum attempt_fate fate) {
        assert(fate < _ATTEMPT_FATE_MAX);
        return attempt_fate_text[fate];
}

int attempt_fate_from_text(const char *text) {
        for (int fate = 0; fate < _ATTEMPT_FATE_MAX; fate++)
                if (streq(text, attempt_fate_text[fate]))
                        return fate;
        return -EINVAL;
}

int node_name_new(const char *text, struct node_name **ret) {
        struct node_name *name = malloc(sizeof(*name) + strlen(text) + 1);

        if (!name)
                return -ENOMEM;
        name->n_references = 1;
        strcpy(name->text, text);
        *ret = name;
        return 0;
}

struct node_name *node_name_ref(struct node_name *name) {
        assert(name->n_references > 0);
        name->n_references++;
        return name;
}

struct node_name *node_name_unref(struct node_name *name) {
        if (name && --name->n_references == 0)
                free(name);
        return NULL;
}

int record_batch_new(size_t n_reserve, struct record_batch **ret) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;

        batch = calloc(1, sizeof(*batch));
        if (!batch)
                return -ENOMEM;

        n_reserve = MAX(n_reserve, 1u);
        batch->records = calloc(n_reserve, sizeof(*batch->records));
        if (!batch->records)
                return -ENOMEM;
        batch->n_allocated = n_reserve;

        *ret = TAKE_PTR(batch);
        return 0;
}

void record_batch_pop(struct record_batch *batch) {
        struct record *record = &batch->records[--batch->n_records];

        job_spec_unref(record->spec);
        job_result_unref(record->result);
        node_name_unref(record->node);
        node_name_unref(record->owner);
        free(record->peer);
}

struct record_batch *record_batch_free(struct record_batch *batch) {
        if (!batch)
                return NULL;

        while (batch->n_records > 0)
                record_batch_pop(batch);
        free(batch->records);
        free(batch);
        return NULL;
}

struct record *record_batch_add(struct record_batch *batch, enum record_type type) {
        struct record *record;

        if (ARRAY_RESERVE(batch->records, batch->n_records + 1, batch->n_allocated, 1) < 0)
                return NULL;
        record = &batch->records[batch->n_records++];
        *record = (struct record){ .type = type };
        return record;
}
