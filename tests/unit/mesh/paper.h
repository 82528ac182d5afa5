/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A node that is nothing but its mind: what it hands out is kept on paper, and a test does with it what it
 * wants. For what the made-up world is too large, or has no word. */

#include "lib/tests.h"
#include "mesh/mesh.h"
#include "util/list.h"

struct paper {
        struct mesh *mesh;
        struct list batches; /* that it handed to the store */
        struct run_id run;   /* that it started last */
        bool running;
        size_t n_starts;
        usec_t now, timer_at;
        uint64_t random_state;
        enum job_status ended;     /* as it told last */
        struct mesh_message asked; /* what it sent last */
        size_t n_links_wanted, n_assigned;
        size_t n_kept, n_forgotten; /* times that it told an owner so */
};

void paper_begin(struct paper *paper, unsigned slots, unsigned queue_max);
void paper_end(struct paper *paper);
void paper_write(struct paper *paper);              /* all batches become durable */
void paper_pass(struct paper *paper, usec_t until); /* time, to then; the timer runs when it is due */
void paper_end_run(struct paper *paper, enum run_outcome outcome, int exit_code);
/* A peer that has proven to be there, and has room; linked when it is asked for that. */
void paper_add_peer(struct paper *paper, uint32_t number, unsigned slots);
void paper_link_peer(struct paper *paper, uint32_t number);
struct job_spec *paper_spec(uint32_t number);
