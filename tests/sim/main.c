/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sim --seeds 2000            those from 1 on; --first N begins elsewhere
 * sim --seed N --trace        one, with all that happens in it
 * sim --until-failure --seeds N  succeeds when one of them fails: is a broken rule noticed?
 * sim --twice --seeds N       the same seed gives the same history
 * sim --balance             how well work is spread
 * sim --nodes N, --loss, --jobs N  of that size; nodes lost with what they own; in so many processes */

#include <getopt.h>
#include <signal.h>

#include "sim.h"

#define FAILURES_MAX 5
#define TRACE_LINES 200

static unsigned long long ull(uint64_t value) {
        return (unsigned long long) value;
}

static void print_total(const struct sim_plan *plan, const struct sim_result *total) {
        printf("%llu seeds, %llu virtual hours, %llu jobs, %llu runs, %llu datagrams, %llu frames\n",
               ull(plan->n), ull(total->usec / USEC_PER_HOUR), ull(total->n_jobs), ull(total->n_runs),
               ull(total->n_datagrams), ull(total->n_frames));
        printf("%llu meshes were split, %llu times one node from another; %llu jobs ran more than once, "
               "%llu runs beside another of the same job, %llu after a cancel, %llu ends changed\n",
               ull(total->n_split_meshes), ull(total->n_split_pairs), ull(total->n_twice),
               ull(total->n_together), ull(total->n_after_cancel), ull(total->n_changed));
        printf("%llu jobs changed their owner; %llu attempts were given up, and the end of %llu of them is "
               "known\n",
               ull(total->n_moved), ull(total->n_given_up), ull(total->n_late));
        printf("%llu jobs burned with two hosts, one after the other, and %llu ends with the only disk that "
               "had "
               "them\n",
               ull(total->n_burned), ull(total->n_ends_burned));
}

static int run(const struct sim_plan *plan, bool until_failure) {
        uint64_t failed[FAILURES_MAX];
        struct sim_result total;
        size_t n_failed = workers_run(plan, &total, failed);

        if (until_failure) {
                if (n_failed == 0) {
                        printf("not noticed in %llu seeds\n", ull(plan->n));
                        return 1;
                }
                printf("noticed after %llu seeds:\n", ull(failed[0] - plan->first + 1));
                workers_replay(failed[0], &plan->options, 1);
                return 0;
        }
        for (size_t i = 0; i < n_failed; i++) {
                printf("seed %llu failed; the end of its history:\n", ull(failed[i]));
                workers_replay(failed[i], &plan->options, TRACE_LINES);
                printf("all of it: sim --seed %llu --trace%s\n\n", ull(failed[i]),
                       plan->options.loss ? " --loss" : "");
        }
        if (n_failed == 0)
                print_total(plan, &total);
        else
                printf("%zu seeds failed%s\n", n_failed, n_failed == FAILURES_MAX ? ", and maybe more" : "");
        return n_failed > 0;
}

static int trace(const struct sim_plan *plan) {
        static struct sim sim;
        struct sim_options options = plan->options;

        options.tracing = options.hashing = true;
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        sim_live(&sim, plan->first, &options);
        printf("history %016llx\n", ull(sim.result.hash));
        return 0;
}

static uint64_t parse(const char *text) {
        char *end;
        uint64_t value = strtoull(text, &end, 10);

        if (*end || value == 0) {
                fprintf(stderr, "not a number: %s\n", text);
                exit(2);
        }
        return value;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "seed", required_argument, NULL, 's' },
                { "seeds", required_argument, NULL, 'n' },
                { "first", required_argument, NULL, 'f' },
                { "jobs", required_argument, NULL, 'j' },
                { "nodes", required_argument, NULL, 'N' },
                { "loss", no_argument, NULL, 'l' },
                { "trace", no_argument, NULL, 't' },
                { "twice", no_argument, NULL, '2' },
                { "until-failure", no_argument, NULL, 'u' },
                { "balance", no_argument, NULL, 'b' },
                {},
        };
        struct sim_plan plan = { .first = 1, .n = 100, .n_workers = 1, .n_failures_max = FAILURES_MAX };
        bool tracing = false, until_failure = false, balance = false;
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (option) {
                case 's':
                        plan.first = parse(optarg);
                        plan.n = 1;
                        break;
                case 'n':
                        plan.n = parse(optarg);
                        break;
                case 'f':
                        plan.first = parse(optarg);
                        break;
                case 'j':
                        plan.n_workers = (unsigned) parse(optarg);
                        break;
                case 'N':
                        plan.options.n_nodes = (unsigned) parse(optarg);
                        break;
                case 'l':
                        plan.options.loss = true;
                        break;
                case 't':
                        tracing = true;
                        break;
                case '2':
                        plan.twice = true;
                        break;
                case 'u':
                        until_failure = true;
                        plan.n_failures_max = 1;
                        break;
                case 'b':
                        balance = true;
                        break;
                default:
                        return 2;
                }
        if (balance)
                return balance_main(plan.options.n_nodes);
        return tracing ? trace(&plan) : run(&plan, until_failure);
}
