/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How well work is spread: mixed jobs, all given to one node of several that are of different speed, against
 * a scheduler that knows how long each job takes and how fast each node is, and needs no time to say so.
 * That one takes the longest job first, and gives it to the slot where it ends first (LPT; Graham 1969, for
 * machines of different speed Gonzalez, Ibarra, Sahni 1977). What is between that and the sum of all work
 * over the sum of all speed, which nobody can beat, is printed, too. */

#include <math.h>

#include "sim.h"

#define SHORTEST_MSEC 100u
#define LONGEST_MSEC 2000u
#define IDEAL_SEC 60u
#define SLOTS_MAX 2048
#define OVERHEAD_MAX 1.05

struct balance {
        struct world world;
        size_t n_jobs, n_slots, n_ended;
        unsigned *msec;                 /* of each job */
        unsigned slot_speed[SLOTS_MAX]; /* percent */
        double slot_busy[SLOTS_MAX];
        size_t n_frames, n_datagrams, n_bytes;
};

static uint32_t below(struct balance *balance, uint32_t limit) {
        uint32_t value;

        world_random(&balance->world, &value, sizeof(value));
        return value % limit;
}

static void on_run(struct world_node *node, const struct run_id *run) {
        ASSERT_LE(node->executor.n_running, node->executor.slots);
}

static void on_accepted(struct world_node *node, void *tag, int error, unsigned copies) {
        ASSERT_OK(error);
}

static void on_finished(struct world_node *node, const struct job_spec *spec, enum job_status status) {
        struct balance *balance = node->world->userdata;

        ASSERT_EQ(status, JOB_COMPLETED);
        balance->n_ended++;
}

/* As many of each factor between the shortest and the longest. */
static unsigned draw_msec(struct balance *balance) {
        double part = below(balance, 1000000) / 1e6;

        return (unsigned) (SHORTEST_MSEC * pow((double) LONGEST_MSEC / SHORTEST_MSEC, part));
}

static void begin(struct balance *balance, unsigned n_nodes, uint64_t seed) {
        static const unsigned speeds[] = { 75, 100, 100, 150 };
        double speed = 0, work = 0, wanted;
        char name[16];

        *balance = (struct balance){};
        world_init(&balance->world, seed);
        balance->world.userdata = balance;
        balance->world.run_begins = on_run;
        balance->world.accepted = on_accepted;
        balance->world.finished = on_finished;
        for (unsigned i = 0; i < n_nodes; i++) {
                unsigned slots = 2u << below(balance, 3);
                struct world_node *node;

                (void) snprintf(name, sizeof(name), "node-%u", i);
                node = world_add(&balance->world, name, slots);
                node->executor.speed = speeds[below(balance, 4)];
                node->config.peers_max = WORLD_NODES_MAX;
                node->config.queue_max = UINT32_MAX;
                node->config.index_max = 1000; /* or many nodes would need much memory here */
                node->disk.slow_usec = 1;      /* all that has gathered is one commit */
                for (unsigned j = 0; j < slots; j++) {
                        ASSERT_LT(balance->n_slots, SLOTS_MAX);
                        balance->slot_speed[balance->n_slots++] = node->executor.speed;
                        speed += node->executor.speed / 100.;
                }
        }
        wanted = speed * IDEAL_SEC * 1000;
        balance->msec = calloc((size_t) (wanted / SHORTEST_MSEC) + 1, sizeof(*balance->msec));
        ASSERT_NOT_NULL(balance->msec);
        for (; work < wanted; work += balance->msec[balance->n_jobs++])
                balance->msec[balance->n_jobs] = draw_msec(balance);
}

static double run(struct balance *balance) {
        struct world *world = &balance->world;
        char command[16];
        struct uuid id;
        usec_t begun;

        for (size_t i = 0; i < world->n_nodes; i++)
                world_start(world->nodes[i]);
        world_run_for(world, 10 * USEC_PER_SEC);
        balance->n_frames = world->n_frames;
        balance->n_datagrams = world->n_datagrams;
        balance->n_bytes = world->n_bytes;
        begun = world->now;
        for (size_t i = 0; i < balance->n_jobs; i++) {
                (void) snprintf(command, sizeof(command), "%u", balance->msec[i]);
                ASSERT_EQ(world_submit(world->nodes[0], command, &id), MESH_ACCEPTED);
        }
        WORLD_UNTIL(world, 10 * IDEAL_SEC * USEC_PER_SEC, balance->n_ended == balance->n_jobs);
        balance->n_frames = world->n_frames - balance->n_frames;
        balance->n_datagrams = world->n_datagrams - balance->n_datagrams;
        balance->n_bytes = world->n_bytes - balance->n_bytes;
        return (double) (world->now - begun) / USEC_PER_SEC;
}

static int compare_msec(const void *a, const void *b) {
        const unsigned *left = a, *right = b;

        return *left > *right ? -1 : *left < *right;
}

static double omniscient(struct balance *balance, double *ret_bound) {
        double longest = 0, work = 0, speed = 0;

        qsort(balance->msec, balance->n_jobs, sizeof(*balance->msec), compare_msec);
        for (size_t i = 0; i < balance->n_jobs; i++) {
                double best_end = INFINITY;
                size_t best = 0;

                for (size_t j = 0; j < balance->n_slots; j++) {
                        double end = balance->slot_busy[j] + balance->msec[i] * .1 / balance->slot_speed[j];

                        if (end < best_end) {
                                best_end = end;
                                best = j;
                        }
                }
                balance->slot_busy[best] = best_end;
                longest = MAX(longest, best_end);
                work += balance->msec[i] / 1000.;
        }
        for (size_t i = 0; i < balance->n_slots; i++)
                speed += balance->slot_speed[i] / 100.;
        *ret_bound = work / speed;
        return longest;
}

int balance_main(unsigned n_nodes) {
        static const unsigned sizes[] = { 4, 20, 200 };
        static struct balance balance;
        int result = 0;

        for (size_t i = 0; i < 3; i++) {
                double took, best, bound, n;

                if (n_nodes > 0 && n_nodes != sizes[i])
                        continue;
                begin(&balance, sizes[i], i + 1);
                took = run(&balance);
                best = omniscient(&balance, &bound);
                n = (double) balance.n_jobs;
                printf("%u nodes, %zu slots, %zu jobs of %u to %u ms: %.2f s; omniscient: %.2f s (no less "
                       "than "
                       "%.2f), %+.1f %%; a job: %.2f frames, %.2f datagrams, %.0f bytes\n",
                       sizes[i], balance.n_slots, balance.n_jobs, SHORTEST_MSEC, LONGEST_MSEC, took, best,
                       bound, (took / best - 1) * 100, (double) balance.n_frames / n,
                       (double) balance.n_datagrams / n, (double) balance.n_bytes / n);
                (void) fflush(stdout);
                result |= took > best * OVERHEAD_MAX;
                free(balance.msec);
                world_done(&balance.world);
        }
        return result;
}
