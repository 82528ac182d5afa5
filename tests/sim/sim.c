/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A mesh lives through a bad time: random submissions, cancels and drains, broken links, cut cables, paused
 * hosts, daemons and executors that are killed. Then everything is mended, time passes, and what must hold
 * is checked. The same seed gives the same history. */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "lib/mesh-world.h"

#define JOBS_MAX 600
#define RUNS_MAX 4000

struct sim_job {
        struct uuid id;
        struct world_node *owner;
        struct job_rules rules;
        bool acknowledged, cancel_asked, cancelled;
        unsigned n_running, n_starts;
};

struct sim_run {
        struct run_id run;
        struct world_node *node;
        bool lost; /* with its executor */
};

struct sim {
        struct world world;
        uint64_t seed;
        bool trace;
        size_t n_jobs, n_runs;
        struct sim_job jobs[JOBS_MAX];
        struct sim_run runs[RUNS_MAX];
        bool split; /* something lasted longer than the time after which a node is lost */
        unsigned n_twice, n_together, n_given_up, n_late;
};

static uint64_t running_seed;

static void on_abort(int signal) {
        char text[128];
        int n = snprintf(text, sizeof(text), "seed %llu failed\n", (unsigned long long) running_seed);

        (void) !write(STDERR_FILENO, text, (size_t) n);
        (void) raise(signal);
}

#define say(sim, ...)                                                                                  \
        do {                                                                                           \
                if ((sim)->trace) {                                                                    \
                        printf("%10.3f ",                                                              \
                               (double) ((sim)->world.now % (1000000 * USEC_PER_SEC)) / USEC_PER_SEC); \
                        printf(__VA_ARGS__);                                                           \
                        printf("\n");                                                                  \
                }                                                                                      \
        } while (false)

static uint32_t below(struct sim *sim, uint32_t limit) {
        uint32_t value;

        world_random(&sim->world, &value, sizeof(value));
        return value % limit;
}

static struct sim_job *find_job(struct sim *sim, const struct uuid *id) {
        for (size_t i = 0; i < sim->n_jobs; i++)
                if (uuid_equal(&sim->jobs[i].id, id))
                        return &sim->jobs[i];
        /* It starts while it is being submitted. */
        ASSERT_LT(sim->n_jobs, JOBS_MAX);
        sim->jobs[sim->n_jobs] = (struct sim_job){ .id = *id };
        return &sim->jobs[sim->n_jobs++];
}

static void on_run_begins(struct world_node *node, const struct run_id *run) {
        struct sim *sim = node->world->userdata;
        struct sim_job *job = find_job(sim, &run->job);

        say(sim, "%s starts job %zu, attempt %" PRIu64 ".%u %s", node->config.node_id,
            (size_t) (job - sim->jobs), run->epoch, run->attempt, uuid_to_text(&run->job, (char[40]){ 0 }));
        for (size_t i = 0; i < sim->n_runs; i++)
                ASSERT_FALSE(
                        run_id_equal(&sim->runs[i].run, run)); /* an attempt runs once, and on one node */
        ASSERT_LT(sim->n_runs, RUNS_MAX);
        sim->runs[sim->n_runs++] = (struct sim_run){ .run = *run, .node = node };
        job->n_starts++;
        if (job->n_running++ > 0) {
                sim->n_together++;
                ASSERT_TRUE(sim->split);
        }
        ASSERT_TRUE(!job->cancelled || sim->split);
        ASSERT_TRUE(job_labels_match(
                node->config.labels, node->config.n_labels, executor_find(node, &run->job)->spec->requires));
        if (job->owner && job->rules.loss_is_failure)
                ASSERT_LE(job->n_starts, 1 + job->rules.retries);
        ASSERT_LE(node->executor.n_running, node->executor.slots);
}

static void on_run_ends(struct world_node *node, const struct run_id *run) {
        struct sim *sim = node->world->userdata;

        find_job(sim, &run->job)->n_running--;
}

static struct world_node *any_node(struct sim *sim) {
        return sim->world.nodes[below(sim, (uint32_t) sim->world.n_nodes)];
}

/* Three of four have some rule of their own. */
static struct world_wishes draw_wishes(struct sim *sim) {
        static char *const even[] = { (char *) "parity=even", NULL };
        struct world_wishes wishes = {};

        if (below(sim, 2) == 0)
                wishes.rules.priority = (int32_t) below(sim, 5) - 2;
        if (below(sim, 3) == 0)
                wishes.rules.loss_is_failure = true;
        if (below(sim, 3) == 0)
                wishes.rules.retries = below(sim, 4);
        if (below(sim, 8) == 0)
                wishes.requires = even;
        return wishes;
}

static void submit(struct sim *sim) {
        struct world_node *node = any_node(sim);
        struct world_wishes wishes;
        size_t n = 1 + below(sim, 12), first = sim->n_jobs;
        struct uuid ids[16];
        char command[32];

        if (!node->mesh || sim->n_jobs + n > JOBS_MAX)
                return;
        snprintf(command, sizeof(command), "%u %u", 1 + below(sim, 4000), below(sim, 4) == 0);
        wishes = draw_wishes(sim);
        if (world_submit_wishes(node, command, n, &wishes, ids, &sim->jobs[first]) != MESH_ACCEPTED)
                return;
        say(sim, "%s is given %zu jobs from %zu on: %s", node->config.node_id, n, first, command);
        for (size_t i = 0; i < n; i++) {
                struct sim_job *job = find_job(sim, &ids[i]);

                job->owner = node;
                job->rules = wishes.rules;
        }
}

static void cancel(struct sim *sim) {
        struct sim_job *job;

        if (sim->n_jobs == 0)
                return;
        job = &sim->jobs[below(sim, (uint32_t) sim->n_jobs)];
        say(sim, "cancel job %zu", (size_t) (job - sim->jobs));
        job->cancel_asked = true;
        for (size_t i = 0; i < sim->world.n_nodes; i++)
                if (sim->world.nodes[i]->mesh &&
                    mesh_cancel(sim->world.nodes[i]->mesh, &job->id) == MESH_CANCEL_STARTED)
                        break;
}

static void toggle_daemon(struct sim *sim) {
        struct world_node *node = any_node(sim);

        if (node->mesh) {
                say(sim, "%s: the daemon is killed", node->config.node_id);
                world_crash(node);
        } else {
                say(sim, "%s: the daemon starts", node->config.node_id);
                node->paused = false;
                world_start(node);
        }
}

static void break_link(struct sim *sim) {
        struct world_node *a = any_node(sim), *b = any_node(sim);

        if (a == b)
                return;
        say(sim, "the link of %s and %s breaks", a->config.node_id, b->config.node_id);
        world_break_link(a, b);
}

static void toggle_cable(struct sim *sim) {
        struct world_node *node = any_node(sim);

        node->detached = !node->detached;
        sim->split = sim->world.any_split = true;
        say(sim, "%s: cable %s", node->config.node_id, node->detached ? "out" : "in");
}

static void toggle_pause(struct sim *sim) {
        struct world_node *node = any_node(sim);

        if (!node->mesh)
                return;
        node->paused = !node->paused;
        sim->split = sim->world.any_split = true;
        say(sim, "%s: %s", node->config.node_id, node->paused ? "paused" : "goes on");
}

static void replace_executor(struct sim *sim) {
        struct world_node *node = any_node(sim);

        if (!node->mesh || node->paused)
                return;
        say(sim, "%s: the executor is killed", node->config.node_id);
        for (size_t i = 0; i < sim->n_runs; i++) {
                const struct world_run *run =
                        sim->runs[i].node == node ? executor_find(node, &sim->runs[i].run.job) : NULL;

                if (run && run_id_equal(&run->run, &sim->runs[i].run))
                        sim->runs[i].lost = true;
        }
        executor_crash(node);
        executor_connect(node);
}

static void toggle_drain(struct sim *sim) {
        struct world_node *node = any_node(sim);

        if (!node->mesh)
                return;
        say(sim, "%s: drain or resume", node->config.node_id);
        if (world_state(node).status == NODE_DRAINING)
                mesh_resume(node->mesh, MESH_DRAIN_ASKED);
        else
                mesh_drain(node->mesh, MESH_DRAIN_ASKED);
}

static void toggle_disk(struct sim *sim) {
        struct world_node *node = any_node(sim);

        if (!node->mesh)
                return;
        say(sim, "%s: disk full or not", node->config.node_id);
        disk_set_mode(node, node->disk.mode == DISK_WORKS ? DISK_FAILS : DISK_WORKS);
}

static void one_event(struct sim *sim, bool splits) {
        switch (below(sim, 24)) {
        case 0 ... 8:
                submit(sim);
                break;
        case 9 ... 10:
                cancel(sim);
                break;
        case 11 ... 13:
                break_link(sim);
                break;
        case 14 ... 15:
                toggle_daemon(sim);
                break;
        case 16:
                replace_executor(sim);
                break;
        case 17:
                toggle_drain(sim);
                break;
        case 18:
                toggle_disk(sim);
                break;
        case 19:
                if (splits)
                        toggle_cable(sim);
                break;
        case 20:
                if (splits)
                        toggle_pause(sim);
                break;
        default:
                break;
        }
}

static void mend(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct world_node *node = sim->world.nodes[i];

                node->paused = node->detached = false;
                disk_set_mode(node, DISK_WORKS);
                if (!node->mesh)
                        world_start(node);
                mesh_resume(node->mesh, MESH_DRAIN_ASKED);
        }
        say(sim, "all is mended");
}

/* Submissions whose answer came. */
static void note_answers(struct sim *sim) {
        for (size_t i = 0; i < sim->n_jobs; i++) {
                struct sim_job *job = &sim->jobs[i];
                struct world_node *node = job->owner;

                if (!job->acknowledged && disk_find(node, &job->id))
                        job->acknowledged = true; /* or it will be, or the client does not know */
                for (size_t n = 0; n < sim->world.n_nodes && !job->cancelled; n++)
                        job->cancelled = world_end(sim->world.nodes[n], &job->id) == JOB_CANCELLED;
        }
}

static bool all_ended(struct sim *sim) {
        for (size_t i = 0; i < sim->n_jobs; i++) {
                bool known = false, ended = false;

                for (size_t n = 0; n < sim->world.n_nodes; n++) {
                        const struct disk_job *job = disk_find(sim->world.nodes[n], &sim->jobs[i].id);

                        if (job && !job->moved) {
                                known = true;
                                ended = job_status_is_final(job->status);
                                if (!ended)
                                        return false;
                        }
                }
                if (!known && sim->jobs[i].acknowledged)
                        return false;
        }
        return true;
}

static void show(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct world_node *node = sim->world.nodes[i];
                struct mesh_state state = world_state(node);

                say(sim,
                    "%s: %s %s, slots %u (%u), %u running, %u queued, %u peers, executor %d, %zu runs, %zu "
                    "guests, links %d%d%d%d%d%d%d",
                    node->config.node_id, node_status_to_text(state.status),
                    state.status_reason ? state.status_reason : "", state.slots, node->executor.slots,
                    state.running, state.queued, state.n_peers, state.executor_connected,
                    executor_n_runs(node), map_size(&node->disk.guests), node->links[0].up,
                    node->links[1].up, node->links[2].up, node->links[3].up, node->links[4].up,
                    node->links[5].up, node->links[6].up);
        }
        for (size_t i = 0; i < sim->n_jobs; i++) {
                bool known = false;

                for (size_t n = 0; n < sim->world.n_nodes; n++) {
                        const struct disk_job *job = disk_find(sim->world.nodes[n], &sim->jobs[i].id);

                        known = known || (job && !job->moved);
                        if (n + 1 == sim->world.n_nodes && !known && sim->jobs[i].acknowledged)
                                say(sim, "job %zu %s is lost", i,
                                    uuid_to_text(&sim->jobs[i].id, (char[40]){ 0 }));
                        if (job && !job_status_is_final(job->status) && !job->moved)
                                say(sim, "job %zu %s at %s: %s%s, attempt %u at %s", i,
                                    uuid_to_text(&sim->jobs[i].id, (char[40]){ 0 }),
                                    sim->world.nodes[n]->config.node_id, job_status_to_text(job->status),
                                    job->moved ? " moved" : "", job->run.attempt, job->executor_node);
                }
        }
}

static bool has_changed_owner(struct sim *sim, const struct uuid *id) {
        size_t n = 0;

        for (size_t i = 0; i < sim->world.n_nodes; i++)
                n += disk_find(sim->world.nodes[i], id) != NULL;
        return n > 1;
}

/* Every run that began and did not decide its job is kept with it, and its end, unless nobody knows that. */
static void check_attempts(struct sim *sim) {
        for (size_t i = 0; i < sim->n_runs; i++) {
                const struct run_id *run = &sim->runs[i].run;
                struct world_node *owner = find_job(sim, &run->job)->owner;
                const struct disk_job *job = disk_find(owner, &run->job);
                const struct disk_attempt *attempt;

                /* Each owner knows the attempts of its time. */
                if (!job || run_id_equal(&job->run, run) || has_changed_owner(sim, &run->job))
                        continue;
                attempt = disk_find_attempt(owner, run);
                ASSERT_NOT_NULL(attempt);
                ASSERT_STREQ(attempt->node, sim->runs[i].node->config.node_id);
                if (!attempt->result && !sim->runs[i].lost)
                        say(sim, "job %zu, attempt %" PRIu64 ".%u on %s: its end is not known",
                            (size_t) (find_job(sim, &run->job) - sim->jobs), run->epoch, run->attempt,
                            attempt->node);
                ASSERT_TRUE(attempt->result || sim->runs[i].lost);
                sim->n_given_up++;
                sim->n_late += attempt->result != NULL;
        }
}

static void check_settled(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct world_node *node = sim->world.nodes[i];

                ASSERT_EQ(executor_n_runs(node), 0u);
                ASSERT_EQ(map_size(&node->disk.guests), 0u);
                ASSERT_EQ(world_state(node).running, 0u);
                ASSERT_EQ(world_state(node).queued, 0u);
                ASSERT_EQ(world_n_peers(node), sim->world.n_nodes - 1);
                ASSERT_LE(node->executor.n_running_max, node->executor.slots);
        }
        world_check_indexes(&sim->world);
        for (size_t i = 0; i < sim->n_jobs; i++) {
                const struct disk_job *job = disk_find(sim->jobs[i].owner, &sim->jobs[i].id);

                /* What failed by itself was tried as often as it may. */
                if (job && job->status == JOB_FAILED && job->result && job->result->outcome == RUN_EXITED &&
                    !sim->jobs[i].cancel_asked)
                        ASSERT_EQ(job->retries_used, sim->jobs[i].rules.retries);
                ASSERT_EQ(sim->jobs[i].n_running, 0u);
                sim->n_twice += sim->jobs[i].n_starts > 1;
        }
}

static void live(struct sim *sim, uint64_t seed, bool trace) {
        bool splits;
        size_t n_nodes;

        *sim = (struct sim){ .seed = seed, .trace = trace };
        world_init(&sim->world, seed);
        sim->world.userdata = sim;
        sim->world.run_begins = on_run_begins;
        sim->world.run_ends = on_run_ends;
        n_nodes = 3 + below(sim, 5);
        splits = below(sim, 2) == 0;
        for (size_t i = 0; i < n_nodes; i++) {
                char name[16];

                snprintf(name, sizeof(name), "node-%zu", i);
                struct world_node *node = world_add(&sim->world, name, below(sim, 5));
                if (i % 2 == 0)
                        node->config.labels[node->config.n_labels++] =
                                (struct metadata_entry){ "parity", "even" };
        }
        for (size_t i = 0; i < n_nodes; i++)
                world_start(sim->world.nodes[i]);
        world_run_for(&sim->world, 3 * USEC_PER_SEC);

        for (unsigned i = 0; i < 150; i++) {
                usec_t pause = below(sim, 20) == 0 ? below(sim, 60000) : below(sim, 600);

                one_event(sim, splits);
                if (pause > 20000)
                        sim->split = sim->world.any_split =
                                true; /* who is down now may be down for so long */
                world_run_for(&sim->world, pause * USEC_PER_MSEC);
                note_answers(sim);
        }
        mend(sim);
        /* Somebody must be able to run what there is. */
        if (world_state(sim->world.nodes[0]).slots == 0) {
                sim->world.nodes[0]->executor.slots = 1;
                mesh_set_slots(sim->world.nodes[0]->mesh, 1);
        }
        usec_t deadline = usec_add(sim->world.now, 30 * USEC_PER_MINUTE);
        while (!all_ended(sim)) {
                if (sim->world.now + 10 * USEC_PER_SEC > deadline)
                        show(sim);
                ASSERT_TRUE(world_step(&sim->world, deadline));
                ASSERT_LT(sim->world.now, deadline);
        }
        note_answers(sim);
        sim->world.any_split = sim->split;
        world_run_for(&sim->world, USEC_PER_MINUTE);
        show(sim);
        check_settled(sim);
        check_attempts(sim);
        world_done(&sim->world);
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "seed", required_argument, NULL, 's' },
                { "seeds", required_argument, NULL, 'n' },
                { "trace", no_argument, NULL, 't' },
                {},
        };
        static struct sim sim;
        uint64_t first = 1, n = 100, n_jobs = 0, n_runs = 0, n_twice = 0, n_together = 0, n_given_up = 0,
                 n_late = 0;
        bool trace = false;
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (option) {
                case 's':
                        first = strtoull(optarg, NULL, 10);
                        n = 1;
                        break;
                case 'n':
                        n = strtoull(optarg, NULL, 10);
                        break;
                case 't':
                        trace = true;
                        break;
                default:
                        return 2;
                }
        (void) setvbuf(stdout, NULL, _IOLBF, 0); /* what was said last is what matters */
        (void) sigaction(
                SIGABRT, &(struct sigaction){ .sa_handler = on_abort, .sa_flags = SA_RESETHAND }, NULL);
        for (uint64_t seed = first; seed < first + n; seed++) {
                running_seed = seed;
                live(&sim, seed, trace);
                n_jobs += sim.n_jobs;
                n_runs += sim.n_runs;
                n_twice += sim.n_twice;
                n_together += sim.n_together;
                n_given_up += sim.n_given_up;
                n_late += sim.n_late;
        }
        printf("%llu seeds, %llu jobs, %llu runs, %llu jobs ran more than once, %llu runs beside another of "
               "the same job, %llu attempts given up, the end of %llu of them known\n",
               (unsigned long long) n, (unsigned long long) n_jobs, (unsigned long long) n_runs,
               (unsigned long long) n_twice, (unsigned long long) n_together,
               (unsigned long long) n_given_up, (unsigned long long) n_late);
        return 0;
}
