/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Time and its distribution, and how a program hands its figures to the driver: one "name value" a line. */

#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

#define NSEC_PER_SEC UINT64_C(1000000000)

uint64_t monotonic_nsec(void);

/* A fixed number of durations; one allocation, freed with free(). */
struct samples {
        size_t n, n_allocated;
        uint64_t nsec[];
};

int samples_new(size_t n_allocated, struct samples **ret);
void samples_add(struct samples *samples, uint64_t nsec);

/* Sorts the samples and prints p50_usec, p95_usec, p99_usec. */
void samples_print(struct samples *samples);

void figure_print(const char *name, double value);
/* Prints rate, per second. */
void rate_print(size_t n, uint64_t elapsed_nsec);
