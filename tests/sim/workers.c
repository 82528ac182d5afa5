/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Seeds in processes of their own: one that fails takes only its process with it. */

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define WORKERS_MAX 64
#define LINE_MAX_SIZE 700
#define SEED_SEC 300       /* a seed that takes longer hangs, */
#define SEED_NODES_MAX 50u /* of at most so many nodes; what more of them say grows with their square */

static unsigned seed_sec(const struct sim_options *options) {
        unsigned times = options->n_nodes / SEED_NODES_MAX + 1;

        return SEED_SEC * times * times;
}

/* Takes every n_workers-th seed; tells each result through the pipe. */
struct worker {
        pid_t pid;
        int fd;
        uint64_t next; /* the seed whose result comes next */
};

static void live_once_or_twice(const struct sim_plan *plan, uint64_t seed, struct sim_result *ret) {
        static struct sim sim;
        struct sim_options options = plan->options;
        uint64_t hash;

        options.hashing = plan->twice;
        sim_live(&sim, seed, &options);
        *ret = sim.result;
        if (!plan->twice)
                return;
        hash = sim.result.hash;
        sim_live(&sim, seed, &options);
        ASSERT_TRUE(hash == sim.result.hash); /* the same seed, the same history */
}

static _Noreturn void work(const struct sim_plan *plan, uint64_t seed, int fd) {
        struct sim_result result;

        /* What a failure says is said again when it is replayed. */
        ASSERT_NOT_NULL(freopen("/dev/null", "w", stderr));
        for (; seed < plan->first + plan->n; seed += plan->n_workers) {
                (void) alarm(seed_sec(&plan->options));
                live_once_or_twice(plan, seed, &result);
                if (write(fd, &result, sizeof(result)) != sizeof(result))
                        _exit(1);
        }
        _exit(0);
}

static void start(const struct sim_plan *plan, struct worker *worker) {
        int fds[2];

        *worker = (struct worker){ .fd = -1, .next = worker->next };
        if (worker->next >= plan->first + plan->n)
                return;
        ASSERT_EQ(pipe(fds), 0);
        worker->pid = fork();
        ASSERT_GE(worker->pid, 0);
        if (worker->pid == 0) {
                (void) close(fds[0]);
                work(plan, worker->next, fds[1]);
        }
        (void) close(fds[1]);
        worker->fd = fds[0];
}

static void add_up(struct sim_result *total, const struct sim_result *result) {
        total->n_jobs += result->n_jobs;
        total->n_runs += result->n_runs;
        total->n_frames += result->n_frames;
        total->n_datagrams += result->n_datagrams;
        total->n_bytes += result->n_bytes;
        total->n_split_meshes += result->n_split_meshes;
        total->n_split_pairs += result->n_split_pairs;
        total->n_twice += result->n_twice;
        total->n_together += result->n_together;
        total->n_after_cancel += result->n_after_cancel;
        total->n_changed += result->n_changed;
        total->n_moved += result->n_moved;
        total->n_given_up += result->n_given_up;
        total->n_late += result->n_late;
        total->n_burned += result->n_burned;
        total->n_ends_burned += result->n_ends_burned;
        total->usec += result->usec;
}

/* True: there is more to come. */
static bool hear(const struct sim_plan *plan, struct worker *worker, struct sim_result *total) {
        struct sim_result result;

        if (read(worker->fd, &result, sizeof(result)) != sizeof(result))
                return false;
        ASSERT_TRUE(result.seed == worker->next);
        add_up(total, &result);
        worker->next += plan->n_workers;
        return true;
}

/* Its process has ended: it is through, or its seed failed. True: it failed. */
static bool bury(const struct sim_plan *plan, struct worker *worker) {
        int status;

        (void) close(worker->fd);
        worker->fd = -1;
        ASSERT_EQ(waitpid(worker->pid, &status, 0), worker->pid);
        return worker->next < plan->first + plan->n;
}

static int compare_seeds(const void *a, const void *b) {
        const uint64_t *left = a, *right = b;

        return *left < *right ? -1 : *left > *right;
}

static void stop_all(const struct sim_plan *plan, struct worker *workers) {
        for (unsigned i = 0; i < plan->n_workers; i++)
                if (workers[i].fd >= 0) {
                        (void) kill(workers[i].pid, SIGKILL);
                        (void) bury(plan, &workers[i]);
                }
}

size_t workers_run(const struct sim_plan *plan, struct sim_result *ret_total, uint64_t *ret_failed) {
        struct worker workers[WORKERS_MAX] = {};
        struct pollfd polls[WORKERS_MAX];
        size_t n_failed = 0;
        bool busy = true;

        ASSERT_LE(plan->n_workers, WORKERS_MAX);
        *ret_total = (struct sim_result){};
        (void) fflush(stdout);
        for (unsigned i = 0; i < plan->n_workers; i++) {
                workers[i].next = plan->first + i;
                start(plan, &workers[i]);
        }
        while (busy && n_failed < plan->n_failures_max) {
                busy = false;
                for (unsigned i = 0; i < plan->n_workers; i++) {
                        polls[i] = (struct pollfd){ .fd = workers[i].fd, .events = POLLIN };
                        busy = busy || workers[i].fd >= 0;
                }
                if (!busy || poll(polls, plan->n_workers, -1) < 0)
                        continue;
                for (unsigned i = 0; i < plan->n_workers && n_failed < plan->n_failures_max; i++) {
                        if (polls[i].revents == 0 || hear(plan, &workers[i], ret_total))
                                continue;
                        if (bury(plan, &workers[i])) {
                                ret_failed[n_failed++] = workers[i].next;
                                workers[i].next += plan->n_workers;
                                start(plan, &workers[i]);
                        }
                }
        }
        stop_all(plan, workers);
        qsort(ret_failed, n_failed, sizeof(*ret_failed), compare_seeds);
        return n_failed;
}

/* The last lines of a file, as a ring. */
static void print_tail(FILE *file, size_t n_lines) {
        char(*lines)[LINE_MAX_SIZE] = calloc(n_lines, LINE_MAX_SIZE);
        size_t n = 0;

        ASSERT_NOT_NULL(lines);
        while (fgets(lines[n % n_lines], LINE_MAX_SIZE, file))
                n++;
        for (size_t i = n > n_lines ? n - n_lines : 0; i < n; i++)
                (void) fputs(lines[i % n_lines], stdout);
        free(lines);
}

void workers_replay(uint64_t seed, const struct sim_options *options, size_t n_lines) {
        static struct sim sim;
        struct sim_options tracing = *options;
        FILE *file;
        pid_t pid;
        int fds[2];

        ASSERT_EQ(pipe(fds), 0);
        (void) fflush(stdout);
        pid = fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
                ASSERT_GE(dup2(fds[1], STDOUT_FILENO), 0);
                ASSERT_GE(dup2(fds[1], STDERR_FILENO), 0);
                (void) close(fds[0]);
                (void) close(fds[1]);
                (void) setvbuf(stdout, NULL, _IOLBF, 0);
                (void) alarm(seed_sec(options));
                tracing.tracing = true;
                sim_live(&sim, seed, &tracing);
                _exit(0);
        }
        (void) close(fds[1]);
        file = fdopen(fds[0], "r");
        ASSERT_NOT_NULL(file);
        print_tail(file, n_lines);
        (void) fclose(file);
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
}
