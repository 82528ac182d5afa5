/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The few long options that a benchmark program takes, as a table; --help is made from it. */

#include <stddef.h>

struct bench_option {
        const char *name;
        const char *help;
        unsigned low, high; /* limits of a number */
        unsigned *number;   /* either this, */
        const char **text;  /* or this, */
        int *flag;          /* or this is set */
};

/* Sets what the command line names. 0; 1 when --help was printed; -EINVAL when it is wrong, which has been
 * said. */
int bench_options_parse(
        int argc, char *argv[], const char *summary, const struct bench_option *options, size_t n_options);
