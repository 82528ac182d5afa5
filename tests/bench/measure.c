/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <time.h>

#include "bench/measure.h"

uint64_t monotonic_nsec(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * NSEC_PER_SEC + (uint64_t) now.tv_nsec;
}

int samples_new(size_t n_allocated, struct samples **ret) {
        struct samples *samples = malloc(sizeof(*samples) + n_allocated * sizeof(samples->nsec[0]));

        if (!samples)
                return -ENOMEM;
        samples->n = 0;
        samples->n_allocated = n_allocated;
        *ret = samples;
        return 0;
}

void samples_add(struct samples *samples, uint64_t nsec) {
        assert(samples->n < samples->n_allocated);
        samples->nsec[samples->n++] = nsec;
}

static int compare_nsec(const void *a, const void *b) {
        uint64_t left = *(const uint64_t *) a, right = *(const uint64_t *) b;

        return (left > right) - (left < right);
}

void samples_print(struct samples *samples) {
        static const struct {
                const char *name;
                size_t percent;
        } percentiles[] = { { "p50_usec", 50 }, { "p95_usec", 95 }, { "p99_usec", 99 } };

        if (samples->n == 0)
                return;
        qsort(samples->nsec, samples->n, sizeof(samples->nsec[0]), compare_nsec);
        for (size_t i = 0; i < ELEMENTSOF(percentiles); i++)
                figure_print(
                        percentiles[i].name,
                        (double) samples->nsec[(samples->n - 1) * percentiles[i].percent / 100] / 1000);
}

void figure_print(const char *name, double value) {
        printf("%s %.3f\n", name, value);
}

void rate_print(size_t n, uint64_t elapsed_nsec) {
        figure_print("rate", (double) n * (double) NSEC_PER_SEC / (double) MAX(elapsed_nsec, UINT64_C(1)));
}
