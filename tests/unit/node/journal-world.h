/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A journal of jobs over a made-up mind, store and executor: what these are asked, and what they answer.
 * They are taken before those of the libraries. */

#include "lib/fake-journal.h"
#include "lib/folder.h"
#include "lib/tests.h"
#include "node/journal-internal.h"

#define WORLD_READS_MAX 256u

struct executor_read {
        bool used, cancelled;
        struct run_id run;
        int stream;
        uint64_t offset;
        executor_output_t handler;
        void *userdata;
};

struct world {
        struct folder folder;
        struct fake_journal socket;
        sd_event *event;
        struct journal *journal;

        struct executor_read reads[WORLD_READS_MAX];
        int read_result; /* of the next wishes */
        bool unknown;    /* to the mind, every run */
        unsigned n_released;
        struct run_id noted_run;
        uint64_t noted[2];
        unsigned n_noted;
        store_answer_t lookup;
        void *lookup_userdata;
};
extern struct world world;

void world_begin(void);
void world_end(void);
/* One turn of the loop, or until the deadline; then all that the journal was sent is taken in. */
void world_turn(usec_t wait_usec);

/* Runs and jobs; a number makes the id. */
struct run_id world_run(unsigned number);
struct job_spec *world_spec(unsigned number); /* a new reference */
void world_started(unsigned number, usec_t started_at);
/* output may be NULL. */
void world_finished(unsigned number, enum job_status status, const char *output);
struct executor_read *world_find_read(unsigned number, int stream);
/* Answers the wish to read, which must be there. */
void world_answer(unsigned number, int stream, uint64_t offset, const char *data, bool ended);

/* What the journal has: the next message must be this one, of this job; its priority. */
int world_expect(unsigned number, const char *message);
void world_expect_nothing(void);
