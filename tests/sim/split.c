/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A split: two nodes unable to exchange messages for longer than the loss time, by whatever happened to them
 * or to the way between them. It is told from what really came: when the last word that reached the other
 * was sent, and whether anything was in the way since. A node that merely has nothing to say makes none. */

#include "sim.h"

static struct sim_pair *
pair_of(struct sim *sim, const struct world_node *node, const struct world_node *from) {
        return &sim->pairs[node->index * sim->n_nodes_max + from->index];
}

static usec_t absent_until(const struct sim *sim, const struct world_node *node) {
        return node->mesh && !node->is_paused ? sim->nodes[node->index].absent_usec : sim->world.now;
}

static void split(struct sim *sim, struct sim_pair *pair) {
        pair->split = sim->world.any_split = true;
        if (sim->result.n_split_pairs++ == 0)
                sim->result.n_split_meshes = 1;
}

static void check(struct sim *sim, struct world_node *node, struct world_node *from) {
        struct sim_pair *pair = pair_of(sim, node, from);

        /* Whose runs are gone with it can be in nobody's way. */
        if (node == from || node->gone || from->gone || pair->split || pair->heard_usec == 0 ||
            sim->world.now < usec_add(pair->heard_usec, SIM_LOSS_USEC))
                return;
        if (pair->missed_usec <= pair->heard_usec && absent_until(sim, node) <= pair->heard_usec &&
            absent_until(sim, from) <= pair->heard_usec)
                return;
        split(sim, pair);
        sim_say(sim, "split: %s hears nothing of %s", node->config.node_id, from->config.node_id);
}

/* A word of a new life counts when the other believes in it; at the latest when questions of the other had
 * the time to be heard and answered, and none was lost. */
static bool
counts(struct sim *sim, const struct world_node *node, const struct world_node *from, usec_t sent_usec) {
        const struct mesh_peer *peer = mesh_get_peer(node->mesh, from->config.node_id);
        const struct sim_pair *back = pair_of(sim, from, node);

        if (pair_of(sim, node, from)->heard_usec == 0 || (peer && peer->instance == from->config.instance))
                return true;
        if (MAX(pair_of(sim, node, from)->missed_usec, back->missed_usec) > back->met_usec)
                return false;
        return back->met_usec >= sim->nodes[from->index].started_usec &&
               back->came_usec >= usec_add(back->met_usec, SIM_HELLO_USEC) && sent_usec >= back->came_usec;
}

static void on_heard(struct world_node *node, struct world_node *from, usec_t sent_usec) {
        struct sim *sim = node->world->userdata;
        struct sim_pair *pair = pair_of(sim, node, from);

        check(sim, node, from);
        if (pair->met_usec < sim->nodes[node->index].started_usec)
                pair->met_usec = sim->world.now;
        pair->came_usec = sim->world.now;
        if (counts(sim, node, from, sent_usec))
                pair->heard_usec = MAX(pair->heard_usec, sent_usec);
}

static void on_missed(struct world_node *node, struct world_node *from) {
        struct sim *sim = node->world->userdata;

        pair_of(sim, node, from)->missed_usec = sim->world.now;
}

/* Who said goodbye is not waited for: it may be back, and have had no time to say so. */
void split_taken_over(struct sim *sim, struct world_node *by, const struct world_node *owner) {
        const struct sim_node *node = &sim->nodes[owner->index];
        struct sim_pair *pair = pair_of(sim, by, owner);

        if (!owner->mesh || pair->split || node->goodbye_usec == 0 ||
            sim->world.now >= usec_add(node->goodbye_usec, SIM_LOSS_USEC) ||
            sim->world.now >= usec_add(node->started_usec, SIM_HELLO_USEC))
                return;
        split(sim, pair);
        sim_say(sim, "split: %s takes over from %s, which is back", by->config.node_id,
                owner->config.node_id);
}

void split_goodbye(struct sim *sim, struct world_node *node) {
        sim->nodes[node->index].goodbye_usec = sim->world.now;
}

void split_absent(struct sim *sim, struct world_node *node) {
        sim->nodes[node->index].absent_usec = sim->world.now;
}

/* Nothing is told of it any more: what was between it and others is settled now. */
void split_gone(struct sim *sim, struct world_node *node) {
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                check(sim, sim->world.nodes[i], node);
                check(sim, node, sim->world.nodes[i]);
        }
}

void split_started(struct sim *sim, struct world_node *node) {
        sim->nodes[node->index].started_usec = sim->world.now;
}

bool split_happened(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes && sim->result.n_split_pairs == 0; i++)
                for (size_t j = 0; j < sim->world.n_nodes; j++)
                        check(sim, sim->world.nodes[i], sim->world.nodes[j]);
        return sim->result.n_split_pairs > 0;
}

bool split_was_between(struct sim *sim, const struct world_node *node, const struct world_node *from) {
        return pair_of(sim, node, from)->split;
}

void split_begin(struct sim *sim) {
        sim->pairs = calloc(sim->n_nodes_max * sim->n_nodes_max, sizeof(*sim->pairs));
        sim->nodes = calloc(sim->n_nodes_max, sizeof(*sim->nodes));
        ASSERT_NOT_NULL(sim->pairs);
        ASSERT_NOT_NULL(sim->nodes);
        sim->world.heard = on_heard;
        sim->world.missed = on_missed;
}

void split_done(struct sim *sim) {
        free(sim->pairs);
        free(sim->nodes);
}
