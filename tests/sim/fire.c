/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a host that burns down takes with it. A job of which two copies were told outlives the loss of any
 * one host; with the second one it may go. */

#include "sim.h"

struct holders {
        unsigned n, n_ends;
};

static struct holders count_at(struct world_node *node, const struct uuid *id) {
        const struct disk_job *job = disk_find(node, id);
        const struct disk_copy *copy = MAP_GET(&node->disk.copies, id, sizeof(*id), struct disk_copy, by_id);
        const struct disk_guest *guest =
                MAP_GET(&node->disk.guests, id, sizeof(*id), struct disk_guest, by_id);
        bool owned = job && !job->moved;

        return (struct holders){
                .n = owned || copy || guest,
                .n_ends = (owned && job_status_is_final(job->status)) || (copy && copy->ended) ||
                          (guest && guest->result),
        };
}

static struct holders
count_elsewhere(struct sim *sim, const struct world_node *node, const struct uuid *id) {
        struct holders all = {};

        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct holders one;

                if (sim->world.nodes[i] == node || sim->world.nodes[i]->gone)
                        continue;
                one = count_at(sim->world.nodes[i], id);
                all.n += one.n;
                all.n_ends += one.n_ends;
        }
        return all;
}

static void take_job(struct sim *sim, struct world_node *node, struct sim_job *job) {
        struct holders here = count_at(node, &job->id), others;

        if (here.n == 0)
                return;
        others = count_elsewhere(sim, node, &job->id);
        /* An owner that was killed before it told an end has it on its disk alone after that, and tells it.
         * What others have of such a job is old, and they may have been told so. */
        if (here.n_ends > 0 && others.n_ends == 0) {
                job->end_burned = true;
                sim->result.n_ends_burned++;
        } else if (others.n == 0 && !job->ended) {
                sim_say(sim, "the last copy of job %zu burns", job->number);
                ASSERT_TRUE(job->copies < 2 || job->n_burned > 0);
                sim->result.n_burned++;
        }
        /* Of two it may be gone even where a third one has it: its owner had asked that one to forget it. */
        job->n_burned++;
}

void fire_takes(struct sim *sim, struct world_node *node) {
        for (size_t i = 0; i < sim->n_jobs; i++)
                take_job(sim, node, sim->jobs[i]);
}

/* Whether it knows what it was told since. */
static bool lives_since(const struct sim *sim, const struct world_node *node, usec_t usec) {
        return node->mesh && sim->nodes[node->index].started_usec < usec;
}

static void check_told(struct sim *sim, const struct world_node *node, const struct disk_copy *copy) {
        const struct world_node *owner = world_find(&sim->world, copy->owner);

        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct world_node *other = sim->world.nodes[i];

                if (!lives_since(sim, other, copy->written_usec) || split_was_between(sim, other, owner) ||
                    job_status_is_final(world_index_status(other, &copy->spec->id)))
                        continue;
                sim_say(sim, "%s does not know that job %zu ended, of which %s has the copy for %s",
                        other->config.node_id, watch_find(sim, &copy->spec->id)->number,
                        node->config.node_id, copy->owner);
                ASSERT_TRUE(job_status_is_final(world_index_status(other, &copy->spec->id)));
        }
}

/* What an owner said to its keeper alone before it burned down is known to all. Who was cut off from it may
 * have missed what it told all others, and hears that only where it asks. */
void fire_settled(struct sim *sim) {
        struct disk_copy *copy;

        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct world_node *node = sim->world.nodes[i];

                MAP_FOREACH(&node->disk.copies, copy, struct disk_copy, by_id)
                        if (copy->ended && lives_since(sim, node, copy->written_usec) &&
                            world_find(&sim->world, copy->owner)->gone)
                                check_told(sim, node, copy);
        }
}
