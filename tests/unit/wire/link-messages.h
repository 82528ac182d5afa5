/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A message of a link with one part of every kind, each field another value, for the tests of this room. */

#include "wire/link-codec.h"

struct full_message {
        struct link_message message;
        struct link_held held;
        struct link_assignment assignment;
        struct run_id taken, kill, withdrawn, retired;
        struct link_refusal refusal;
        struct link_started started;
        struct link_ended ended;
        struct link_read read;
        struct link_piece piece;
        uint64_t cancelled_reads[2];
        struct link_call call;
        struct link_answer answer;
        struct link_attempt attempts[2];
        uint64_t cancelled_calls[2];
        const char *index_nodes[2];
        struct link_index_entry index_entries[2];
        struct link_overruled overruled[2];
        struct link_assignment copied;
        struct link_ended copied_end;
        struct link_held claim_held[2];
        struct link_takeover takeovers[2];
};

struct run_id run_of(uint8_t number);
struct link_job job_of(uint8_t number); /* the smallest that is right */
void full_message_init(struct full_message *full);

void assert_run_equal(const struct run_id *a, const struct run_id *b);
void assert_text_equal(const char *a, const char *b); /* or both are not there */
void assert_jobs_equal(const struct link_job *a, const struct link_job *b);
void assert_ends_equal(const struct link_ended *a, const struct link_ended *b);
void assert_helds_equal(const struct link_held *a, size_t n_a, const struct link_held *b, size_t n_b);
void assert_messages_equal(const struct link_message *a, const struct link_message *b);

/* link-keeping.c: what is about copies and claims. */
void fill_keeping(struct full_message *full);
void assert_keeping_equal(const struct link_message *a, const struct link_message *b);

/* Encodes, checks the header, and decodes again. */
void round_trip(const struct link_message *message, struct link_message *ret);
