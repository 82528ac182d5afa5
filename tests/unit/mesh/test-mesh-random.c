/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A bad day of one node: clients, and a disk, an executor and a daemon that fail at random. Afterwards
 * everything is well for a while, and what was promised must have been kept. A failure names its seed, which
 * can be given as the argument. */

#include <signal.h>

#include "lib/mesh-world.h"
#include "util/parse.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC

#define SEEDS 300
#define STEPS 120
#define JOBS_MAX 1000

struct bad_day {
        struct world world;
        struct world_node *node;
        size_t n_jobs;
        struct {
                struct uuid id;
                uintptr_t tag;
                bool cancelled;
        } jobs[JOBS_MAX];
        uintptr_t last_tag;
};

static uint64_t random_below(struct bad_day *day, uint64_t limit) {
        uint64_t value;

        world_random(&day->world, &value, sizeof(value));
        return value % limit;
}

static void submit_some(struct bad_day *day) {
        static const char *const commands[] = { "0", "1", "5 1", "20", "200", "3000" };
        size_t n = 1 + random_below(day, 4);
        struct uuid ids[4];

        if (!day->node->mesh || day->n_jobs + n > JOBS_MAX)
                return;
        uintptr_t tag = ++day->last_tag;
        const char *command = commands[random_below(day, ELEMENTSOF(commands))];
        if (world_submit_batch(day->node, command, n, ids, (void *) tag) != MESH_ACCEPTED)
                return;
        for (size_t i = 0; i < n; i++) {
                day->jobs[day->n_jobs].id = ids[i];
                day->jobs[day->n_jobs++].tag = tag;
        }
}

static void cancel_one(struct bad_day *day) {
        if (!day->node->mesh || day->n_jobs == 0)
                return;
        size_t i = random_below(day, day->n_jobs);
        if (mesh_cancel(day->node->mesh, &day->jobs[i].id) == MESH_CANCEL_STARTED)
                day->jobs[i].cancelled = true;
}

static void change_daemon(struct bad_day *day) {
        if (!day->node->mesh)
                world_start(day->node);
        else if (random_below(day, 3) == 0)
                world_crash(day->node);
}

static void change_executor(struct bad_day *day) {
        struct world_node *node = day->node;

        if (!node->executor.connected) {
                if (node->mesh)
                        executor_connect(node);
        } else if (random_below(day, 2) == 0)
                node->executor.loses_starts = true;
        else if (random_below(day, 3) == 0)
                executor_crash(node);
        else
                executor_disconnect(node);
}

static void change_disk(struct bad_day *day) {
        static const enum disk_mode modes[] = { DISK_WORKS, DISK_WORKS, DISK_HOLDS, DISK_FAILS };

        disk_set_mode(day->node, modes[random_below(day, ELEMENTSOF(modes))]);
}

static void step(struct bad_day *day) {
        switch (random_below(day, 10)) {
        case 0:
                cancel_one(day);
                break;
        case 1:
                change_daemon(day);
                break;
        case 2:
                change_executor(day);
                break;
        case 3:
                change_disk(day);
                break;
        default:
                submit_some(day);
        }
        world_run_for(&day->world, random_below(day, random_below(day, 2) == 0 ? MSEC : 100 * MSEC));
}

static void get_well(struct bad_day *day) {
        struct world_node *node = day->node;

        disk_set_mode(node, DISK_WORKS);
        if (!node->mesh)
                world_start(node);
        if (node->executor.connected)
                executor_disconnect(node); /* whatever it lost is found out */
        executor_connect(node);
        WORLD_UNTIL(&day->world, 10000 * SEC, world_state(node).queued == 0 && mesh_is_idle(node->mesh));
        world_run_for(&day->world, 10 * SEC);
}

static void check_job(struct bad_day *day, size_t i) {
        struct world_node *node = day->node;
        const struct uuid *id = &day->jobs[i].id;
        struct disk_job *job = disk_find(node, id);
        int answer = world_answer(node, (void *) day->jobs[i].tag);
        size_t n_starts = 0;

        for (size_t k = 0; k < node->executor.n_starts; k++)
                n_starts += uuid_equal(&node->executor.starts[k], id);

        /* Acknowledged means durable; refused means gone. */
        ASSERT_TRUE(answer != 0 || job);
        ASSERT_TRUE(answer >= 0 || !job);
        if (!job)
                return;
        ASSERT_TRUE(job_status_is_final(job->status));
        /* Told at most once (world_end() sees to that), and nothing else than what is on the disk. */
        enum job_status told = world_end(node, id);
        ASSERT_TRUE(told == JOB_UNKNOWN || told == job->status);
        ASSERT_TRUE(job->status != JOB_CANCELLED || day->jobs[i].cancelled);
        ASSERT_TRUE(job->status != JOB_COMPLETED || n_starts > 0);
        ASSERT_LE(n_starts, job->run.attempt);
}

static void live(uint64_t seed) {
        static struct bad_day day;

        memset(&day, 0, sizeof(day));
        world_init(&day.world, seed);
        day.node = world_add(&day.world, "node-a", 1 + (unsigned) (seed % 4));
        world_start(day.node);
        for (size_t i = 0; i < STEPS; i++)
                step(&day);
        get_well(&day);
        for (size_t i = 0; i < day.n_jobs; i++)
                check_job(&day, i);
        ASSERT_EQ(executor_n_runs(day.node), 0);
        ASSERT_LE(day.node->executor.n_running_max, day.node->executor.slots);
        world_done(&day.world);
}

static uint64_t current_seed;

/* The assertion has been printed by then; the default action follows. */
static void on_abort(int number) {
        signal(number, SIG_DFL);
        dprintf(STDERR_FILENO, "with seed %" PRIu64 "\n", current_seed);
}

int main(int argc, char *argv[]) {
        uint64_t first = 0, last = SEEDS - 1;

        if (argc > 1) {
                ASSERT_OK(parse_u64(argv[1], &first));
                last = first;
        }
        signal(SIGABRT, on_abort);
        for (current_seed = first; current_seed <= last; current_seed++)
                live(current_seed);
        return EXIT_SUCCESS;
}
