/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A store in a folder of its own, with a loop, and what its handlers were told. */

#include <sqlite3.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/folder.h"
#include "lib/tests.h"
#include "store/store.h"

#define NODE_ID "node-0123456789abcdef"
#define OWNER_ID "node-00000000000owner" /* of guests and copies */
#define OTHER_ID "node-00000000000other"
#define WAIT_MAX_USEC (60 * USEC_PER_SEC)

struct fixture {
        struct folder folder;
        char directory[160]; /* of the store; that of folder unless changed before fixture_open() */
        struct store_config config;
        sd_event *event;
        struct store *store;

        size_t n_written;
        int last_error;       /* of the last batch */
        size_t n_failed;      /* batches with an error */
        void *last_owner;     /* of the last batch */
        bool out_of_order;    /* owners are numbers that must grow by one */
        uintptr_t next_owner; /* expected */

        size_t n_health;
        int health;
        char reason[256];

        size_t n_unfinished;
        struct store_unfinished unfinished[256];
        size_t n_guests, n_guests_allocated;
        struct store_guest *guests;
        size_t n_copies, n_copies_allocated;
        struct store_copy *copies;
        size_t n_holders;
        struct {
                char node_id[NODE_ID_MAX + 1];
                uint64_t term;
        } holders[16];
        size_t n_sweeps;
        struct {
                char owner_node_id[NODE_ID_MAX + 1];
                uint64_t term, owner_instance;
        } sweeps[16];
        bool drained;
        struct store_drain drain;
        size_t n_answers;
        struct store_answer answer; /* the last one */
};

void fixture_init(struct fixture *fixture);
/* Opens the store; returns what store_open() returned. */
int fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
void fixture_done(struct fixture *fixture);
#define _cleanup_fixture_ _cleanup_(fixture_done)

/* Runs the loop until the condition holds; fails after a minute. */
#define WAIT_UNTIL(fixture, condition)                                                 \
        ({                                                                             \
                usec_t _deadline = now_usec(CLOCK_MONOTONIC) + WAIT_MAX_USEC;          \
                while (!(condition)) {                                                 \
                        if (now_usec(CLOCK_MONOTONIC) > _deadline)                     \
                                _TEST_FAIL("waited in vain for: %s", #condition);      \
                        ASSERT_OK(sd_event_run((fixture)->event, 10 * USEC_PER_MSEC)); \
                }                                                                      \
        })

/* Job number n has an id that says so. */
struct uuid job_id(uint64_t n);
struct job_spec *spec_make(uint64_t n);
/* With everything that a job can have. */
struct job_spec *spec_make_rich(uint64_t n);
/* All of the outputs is kept; stderr is empty. */
struct job_result *result_make(const struct run_id *run, int exit_code, const char *output, size_t size);

/* One batch of one record; takes the references. */
struct record_batch *batch_accept(struct job_spec *spec);
struct record_batch *batch_of(enum record_type type, struct job_spec *spec, uint32_t attempt);
struct record_batch *batch_finish(struct job_spec *spec, struct job_result *result);

/* About attempt 1 of a job of OWNER_ID; result: NULL unless it ended. Takes the references. */
struct record_batch *batch_guest(enum record_type type, struct job_spec *spec, struct job_result *result);

/* About attempt 1 of a job of OWNER_ID, under term 5, which OTHER_ID runs. Takes the references. */
struct record_batch *
batch_copy(enum record_type type, struct job_spec *spec, enum job_status status, struct job_result *result);

/* Hands a batch in and waits for its outcome. */
int write_and_wait(struct fixture *fixture, struct record_batch *batch);
/* Accepts and finishes job n. */
void write_finished_job(struct fixture *fixture, uint64_t n, int exit_code);

/* Asks and waits; the answer is in fixture->answer. */
void ask_list(struct fixture *fixture, size_t limit, uint64_t before, uint32_t status_mask);
void ask_job(struct fixture *fixture, uint64_t n, bool with_output);
void ask_output(struct fixture *fixture, uint64_t n, int stream, uint64_t offset, size_t size);
void take_answer(void *userdata, const struct store_answer *answer);

/* NULL: the last start did not find it. */
const struct store_guest *find_guest(const struct fixture *fixture, uint64_t n);

const struct store_copy *find_copy(const struct fixture *fixture, uint64_t n);

/* Runs SQL on the file by another connection. */
void sql(const struct fixture *fixture, const char *text);
int64_t sql_number(const struct fixture *fixture, const char *text);
/* The path of the database, also while the store is closed. */
const char *database_path(const struct fixture *fixture);
