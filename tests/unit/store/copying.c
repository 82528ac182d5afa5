/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copying.h"

void copying_begin(struct fixture *f) {
        fixture_init(f);
        ASSERT_OK(fixture_open(f));
        ASSERT_EQ(f->n_copies + f->n_holders + f->n_sweeps, 0);
}

void reopen(struct fixture *f) {
        fixture_close(f);
        ASSERT_OK(fixture_open(f));
}

int write_copy(struct fixture *f, struct job_spec *spec) {
        return write_and_wait(f, batch_copy(RECORD_COPY, job_spec_ref(spec), JOB_UNKNOWN, NULL));
}

int end_copy(struct fixture *f, struct job_spec *spec, enum job_status status, struct job_result *result) {
        return write_and_wait(f, batch_copy(RECORD_COPY_ENDED, job_spec_ref(spec), status, result));
}

void keep(struct fixture *f, uint64_t n) {
        struct job_spec *spec = spec_make(n);

        ASSERT_OK(write_copy(f, spec));
        job_spec_unref(spec);
}

void keep_ended(struct fixture *f, uint64_t n) {
        struct job_spec *spec = spec_make(n);
        struct run_id run = { .job = spec->id, .epoch = 1, .attempt = 1 };

        ASSERT_OK(write_copy(f, spec));
        ASSERT_OK(end_copy(f, spec, JOB_COMPLETED, result_make(&run, 0, "some output", 11)));
        job_spec_unref(spec);
}

/* Of the owner's copies; spec NULL: of none. */
void say(struct fixture *f, enum record_type type, uint64_t n, const char *owner, uint64_t term) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, type);
        record->run.job = job_id(n);
        record->term = term;
        ASSERT_OK(node_name_new(owner, &record->owner));
        ASSERT_OK(write_and_wait(f, batch));
}

void hold(struct fixture *f, enum record_type type, const char *node, uint64_t term) {
        struct record_batch *batch;
        struct record *record;

        ASSERT_OK(record_batch_new(1, &batch));
        record = record_batch_add(batch, type);
        record->term = term;
        ASSERT_OK(node_name_new(node, &record->node));
        ASSERT_OK(write_and_wait(f, batch));
}
