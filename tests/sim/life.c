/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One seed: what kind of mesh it is, what is asked of it, and how it ends. */

#include "sim.h"

#define SETTLE_USEC (30 * USEC_PER_MINUTE) /* the longest that all may take once nothing fails any more */
#define TELL_USEC (10 * USEC_PER_SEC)      /* until all have heard of an end */
#define RECENT_JOBS 40u                    /* those that came last are most likely to be there still */

static const char *const mood_text[] = {
        [MOOD_CALM] = "calm",
        [MOOD_SHORT] = "short faults",
        [MOOD_LONG] = "long faults",
};

/* Three of four have some rule of their own. */
static struct world_wishes draw_wishes(struct sim *sim) {
        static char *const even[] = { (char *) "parity=even", NULL };
        const struct world_node *target = sim_any_node(sim);
        struct world_wishes wishes = {};

        if (sim_below(sim, 2) == 0)
                wishes.rules.priority = (int32_t) sim_below(sim, SIM_PRIORITIES) - SIM_PRIORITIES / 2;
        wishes.rules.loss_is_failure = sim_below(sim, 3) == 0;
        if (sim_below(sim, 3) == 0)
                wishes.rules.retries = sim_below(sim, 4);
        /* The first node has this label, and slots. */
        if (sim_below(sim, 8) == 0)
                wishes.requires = even;
        else if (sim_below(sim, 12) == 0 && target->executor.slots > 0)
                wishes.target = target->config.node_id;
        return wishes;
}

static void submit(struct sim *sim) {
        struct world_node *node = sim_any_node(sim);
        char command[32];
        struct world_wishes wishes;
        struct sim_batch *batch;
        unsigned msec = sim->shortest_msec + sim_below(sim, sim->longest_msec - sim->shortest_msec + 1);
        int r;

        if (!node->mesh)
                return;
        batch = calloc(1, sizeof(*batch));
        ASSERT_NOT_NULL(batch);
        list_append(&sim->batches, &batch->link);
        batch->n = 1 + sim_below(sim, sim->batch_max);
        (void) snprintf(command, sizeof(command), "%u %u", msec, sim_below(sim, 4) == 0);
        wishes = draw_wishes(sim);
        r = world_submit_wishes(node, command, batch->n, &wishes, batch->ids, batch);
        ASSERT_GE(r, 0);
        if (r == MESH_ACCEPTED)
                sim_say(sim, "%s is given %zu jobs from %zu on: %s%s%s", node->config.node_id, batch->n,
                        watch_find(sim, &batch->ids[0])->number, command, wishes.target ? " at " : "",
                        wishes.target ? wishes.target : "");
}

/* Whoever owns it now. */
static void cancel_job(struct sim *sim, struct sim_job *job) {
        sim_say(sim, "cancel job %zu", job->number);
        job->cancel_asked = true;
        for (size_t i = 0; i < sim->world.n_nodes; i++)
                if (sim->world.nodes[i]->mesh &&
                    mesh_cancel(sim->world.nodes[i]->mesh, &job->id) == MESH_CANCEL_STARTED)
                        break;
}

/* One of the last n. */
static void cancel_one(struct sim *sim, size_t n) {
        struct sim_job *job;

        n = MIN(sim->n_jobs, n);
        if (n == 0)
                return;
        job = sim->jobs[sim->n_jobs - 1 - sim_below(sim, (uint32_t) n)];
        if (!job->ended)
                cancel_job(sim, job);
}

static void one_event(struct sim *sim) {
        switch (sim_below(sim, 24)) {
        case 0 ... 9:
                submit(sim);
                break;
        case 10:
                cancel_one(sim, SIZE_MAX);
                break;
        case 11 ... 12:
                cancel_one(sim, RECENT_JOBS);
                break;
        default:
                if (sim->mood != MOOD_CALM)
                        fault_random(sim);
                break;
        }
}

static void run_until(struct sim *sim, usec_t at) {
        while (faults_due(sim) <= at) {
                world_run_until_time(&sim->world, faults_due(sim));
                faults_end(sim, sim->world.now);
        }
        world_run_until_time(&sim->world, at);
}

static void draw_faults(struct sim *sim) {
        struct world *world = &sim->world;

        sim->mood = sim_below(sim, 10) == 0 ? MOOD_CALM : sim_below(sim, 9) < 5 ? MOOD_SHORT : MOOD_LONG;
        world->jitter_usec = sim_below(sim, 2) * sim_below(sim, 20) * USEC_PER_MSEC;
        if (sim->mood == MOOD_CALM)
                return;
        world->loss = sim_below(sim, 2) * sim_below(sim, 21);
        world->repeated = sim_below(sim, 2) * sim_below(sim, 21);
        world->late = sim_below(sim, 2) * sim_below(sim, 21);
        world->late_usec = (1 + sim_below(sim, 2000)) * USEC_PER_MSEC;
}

/* Jobs for about two thirds of what the slots can do, so that queues come and go. */
static void draw_jobs(struct sim *sim) {
        static const unsigned shortest[] = { 1, 20, 20, 100 };
        unsigned longest;

        sim->shortest_msec = shortest[sim_below(sim, 4)];
        sim->batch_max = MIN(12u + sim->n_slots / 4, (unsigned) SIM_BATCH_MAX);
        longest = sim->n_slots * 2 * 660 / (sim->batch_max / 2 * 10 / 24);
        sim->longest_msec = MAX(MIN(longest, 8000u), sim->shortest_msec);
}

/* Every other one has a label. */
struct world_node *sim_add_node(struct sim *sim, const char *name, unsigned slots) {
        struct world_node *node = world_add(&sim->world, name, slots);

        node->config.peers_max = WORLD_NODES_MAX;
        if (node->index % 2 == 0)
                node->config.labels[node->config.n_labels++] = (struct metadata_entry){ "parity", "even" };
        return node;
}

static void draw_mesh(struct sim *sim, uint64_t seed) {
        unsigned n = sim->options.n_nodes;
        char name[16];

        /* Mostly small ones; of the tenth that is larger, few are of the full size: those take long. */
        if (n == 0 && seed % 10 == 0)
                n = 8 + sim_below(sim, 43) * sim_below(sim, 43) / 42;
        else if (n == 0)
                n = 3 + sim_below(sim, 5);
        sim->n_nodes_max = n + SIM_SPARE_NODES;
        ASSERT_LE(sim->n_nodes_max, WORLD_NODES_MAX);
        for (unsigned i = 0; i < n; i++) {
                unsigned slots = i == 0 ? 1 + sim_below(sim, 4) : sim_below(sim, 5);

                (void) snprintf(name, sizeof(name), "node-%u", i);
                sim_add_node(sim, name, slots);
                sim->n_slots += slots;
        }
        split_begin(sim);
        watch_begin(sim);
        draw_faults(sim);
        draw_jobs(sim);
        sim_say(sim,
                "%s, %u nodes, %u slots, jobs of %u to %u ms, %u %% lost, %u %% repeated, %u %% late up to "
                "%u "
                "ms",
                mood_text[sim->mood], n, sim->n_slots, sim->shortest_msec, sim->longest_msec,
                sim->world.loss, sim->world.repeated, sim->world.late,
                (unsigned) (sim->world.late_usec / USEC_PER_MSEC));
        for (unsigned i = 0; i < n; i++) {
                split_started(sim, sim->world.nodes[i]);
                world_start(sim->world.nodes[i]);
        }
}

static void mend(struct sim *sim) {
        sim->mended = true;
        faults_end(sim, USEC_INFINITY);
        sim->world.loss = sim->world.repeated = sim->world.late = 0;
        sim_say(sim, "all is mended");
}

/* What only a node that is gone may run would wait for ever. */
static void cancel_unreachable(struct sim *sim) {
        for (size_t i = 0; i < sim->n_jobs; i++) {
                const struct disk_job *record = watch_record(sim, sim->jobs[i]);

                if (record && !job_status_is_final(record->status) && record->spec->target_node_id &&
                    world_find(&sim->world, record->spec->target_node_id)->gone)
                        cancel_job(sim, sim->jobs[i]);
        }
}

static void settle(struct sim *sim) {
        usec_t deadline = usec_add(sim->world.now, SETTLE_USEC), cancel_usec = 0;

        while (!watch_all_ended(sim)) {
                if (sim->world.now >= deadline)
                        sim_show(sim);
                ASSERT_LT(sim->world.now, deadline);
                if (sim->world.now >= cancel_usec) {
                        cancel_unreachable(sim);
                        cancel_usec = usec_add(sim->world.now, USEC_PER_MINUTE);
                }
                world_run_for(&sim->world, USEC_PER_SEC);
        }
        world_run_for(&sim->world, USEC_PER_MINUTE);
        /* A run whose owner is gone may have been adopted just now: the others are still to hear of it. */
        while (sim->world.now < usec_add(sim->changed_usec, TELL_USEC))
                world_run_for(&sim->world, USEC_PER_SEC);
        sim_show(sim);
        watch_settled(sim);
}

void sim_live(struct sim *sim, uint64_t seed, const struct sim_options *options) {
        usec_t end;

        *sim = (struct sim){ .options = *options, .result.seed = seed };
        world_init(&sim->world, seed);
        sim->world.userdata = sim;
        sim->world.idle_usec = USEC_PER_MINUTE;
        sim->began_usec = sim->world.now;
        list_init(&sim->batches);
        draw_mesh(sim, seed);
        end = usec_add(sim->world.now, (300 + sim_below(sim, 301)) * USEC_PER_SEC);
        run_until(sim, sim->world.now + 3 * USEC_PER_SEC);
        while (sim->world.now < end) {
                one_event(sim);
                (void) split_happened(sim);
                run_until(sim, sim->world.now + sim_below(sim, 2000) * USEC_PER_MSEC);
        }
        mend(sim);
        settle(sim);
        sim->result.n_frames = sim->world.n_frames;
        sim->result.n_datagrams = sim->world.n_datagrams;
        sim->result.n_bytes = sim->world.n_bytes;
        sim->result.usec = sim->world.now - sim->began_usec;
        watch_done(sim);
        split_done(sim);
        world_done(&sim->world);
}
