/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <getopt.h>
#include <stdio.h>

#include "bench/options.h"
#include "util/macros.h"
#include "util/parse.h"

#define OPTIONS_MAX 16u

static void
help(const char *program, const char *summary, const struct bench_option *options, size_t n_options) {
        printf("%s [OPTIONS]\n\n%s\n\n", program, summary);
        for (size_t i = 0; i < n_options; i++)
                printf("  --%-12s %-7s %s\n", options[i].name,
                       options[i].flag   ? ""
                       : options[i].text ? "TEXT"
                                         : "NUMBER",
                       options[i].help);
        printf("  --%-12s %-7s %s\n", "help", "", "Print this.");
}

static int option_apply(const struct bench_option *option, const char *value) {
        if (option->flag) {
                *option->flag = 1;
                return 0;
        }
        if (option->text) {
                *option->text = value;
                return 0;
        }
        if (parse_unsigned(value, option->low, option->high, option->number) < 0) {
                fprintf(stderr, "--%s=%s: a number from %u to %u is needed.\n", option->name, value,
                        option->low, option->high);
                return -EINVAL;
        }
        return 0;
}

int bench_options_parse(
        int argc, char *argv[], const char *summary, const struct bench_option *options, size_t n_options) {
        struct option table[OPTIONS_MAX + 2] = {};
        int found;

        assert(n_options <= OPTIONS_MAX);
        for (size_t i = 0; i < n_options; i++)
                table[i] = (struct option){ options[i].name,
                                            options[i].flag ? no_argument : required_argument, NULL, 0 };
        table[n_options] = (struct option){ "help", no_argument, NULL, 'h' };

        for (;;) {
                int index = 0;

                found = getopt_long(argc, argv, "h", table, &index);
                if (found == 'h') {
                        help(argv[0], summary, options, n_options);
                        return 1;
                }
                if (found != 0)
                        break;
                int r = option_apply(&options[index], optarg);
                if (r < 0)
                        return r;
        }
        if (found == '?')
                return -EINVAL;
        if (optind < argc) {
                fprintf(stderr, "%s: takes no argument like \"%s\".\n", argv[0], argv[optind]);
                return -EINVAL;
        }
        return 0;
}
