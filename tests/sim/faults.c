/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happens to hosts, disks and cables. Each fault has its end, and may meet others. */

#include "sim.h"

static const char *const kind_text[] = {
        [FAULT_PAUSE] = "paused",        [FAULT_CABLE] = "cable out",    [FAULT_DEAF] = "deaf to one",
        [FAULT_PARTITION] = "partition", [FAULT_DOWN] = "daemon killed", [FAULT_DISK_FULL] = "disk full",
        [FAULT_DISK_SLOW] = "disk slow", [FAULT_DRAIN] = "drained",      [FAULT_STOP] = "stopping",
        [FAULT_LAST] = "leaving",
};

uint32_t sim_below(struct sim *sim, uint32_t limit) {
        uint32_t value;

        world_random(&sim->world, &value, sizeof(value));
        return value % limit;
}

struct world_node *sim_any_node(struct sim *sim) {
        struct world_node *node;

        do
                node = sim->world.nodes[sim_below(sim, (uint32_t) sim->world.n_nodes)];
        while (node->gone);
        return node;
}

/* Short ones stay far below the loss time. */
static usec_t draw_duration(struct sim *sim, enum sim_fault_kind kind) {
        if (kind == FAULT_LAST)
                return USEC_PER_SEC;
        if (kind == FAULT_STOP)
                return sim_below(sim, 10000) * USEC_PER_MSEC;
        if (kind == FAULT_DRAIN || kind == FAULT_DISK_FULL || kind == FAULT_DISK_SLOW)
                return sim_below(sim, 30000) * USEC_PER_MSEC;
        if (sim->mood == MOOD_SHORT)
                return sim_below(sim, kind == FAULT_DOWN ? 1000 : 2500) * USEC_PER_MSEC;
        if (sim_below(sim, 2) == 0)
                return sim_below(sim, 4000) * USEC_PER_MSEC;
        return sim_below(sim, 60000) * USEC_PER_MSEC;
}

static bool is_active(const struct sim *sim, enum sim_fault_kind kind, const struct world_node *node) {
        for (size_t i = 0; i < sim->n_faults; i++)
                if (sim->faults[i].kind == kind && sim->faults[i].node == node)
                        return true;
        return false;
}

static unsigned side_of(const struct sim_fault *fault, const struct world_node *node) {
        return fault->side >> node->index % 64 & 1;
}

static bool is_blocked(const struct sim *sim, const struct world_node *node, const struct world_node *from) {
        for (size_t i = 0; i < sim->n_faults; i++) {
                const struct sim_fault *fault = &sim->faults[i];

                if (fault->kind == FAULT_DEAF && fault->node == node && fault->to == from)
                        return true;
                if (fault->kind == FAULT_PARTITION && side_of(fault, node) != side_of(fault, from))
                        return true;
        }
        return false;
}

/* What is in the way follows from all faults together. */
static void set_ways(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes; i++)
                for (size_t j = 0; j < sim->world.n_nodes; j++) {
                        struct world_node *node = sim->world.nodes[i], *from = sim->world.nodes[j];
                        bool blocked = is_blocked(sim, node, from);

                        if (i != j && blocked != world_is_deaf(node, from))
                                world_set_deaf(node, from, blocked);
                }
}

/* Half of them as somebody asks for it: with a limit or without, and over restarts. */
static void drain(struct sim *sim, struct world_node *node) {
        usec_t limit = sim_below(sim, 2) == 0 ? USEC_INFINITY : sim_below(sim, 10000) * USEC_PER_MSEC;

        if (sim_below(sim, 2) == 0)
                mesh_drain(node->mesh, MESH_DRAIN_ASKED);
        else
                ASSERT_OK(mesh_drain_asked(node->mesh, 0, limit));
}

/* Also of a node that was down when its drain should have ended, and remembers it. */
static void resume(struct sim *sim, struct world_node *node) {
        if (node->mesh && !is_active(sim, FAULT_DRAIN, node))
                ASSERT_OK(mesh_resume_asked(node->mesh, 0));
}

static void begin(struct sim *sim, struct sim_fault *fault) {
        struct world_node *node = fault->node;

        switch (fault->kind) {
        case FAULT_PAUSE:
                world_pause(node);
                break;
        case FAULT_CABLE:
                world_detach(node);
                break;
        case FAULT_DEAF:
        case FAULT_PARTITION:
                set_ways(sim);
                break;
        case FAULT_DOWN:
                world_crash(node);
                break;
        case FAULT_DISK_FULL:
                disk_set_mode(node, DISK_FAILS);
                break;
        case FAULT_DISK_SLOW:
                node->disk.slow_usec = (1 + sim_below(sim, 3000)) * USEC_PER_MSEC;
                break;
        case FAULT_DRAIN:
                drain(sim, node);
                break;
        case FAULT_STOP:
                mesh_drain(node->mesh, MESH_DRAIN_STOP);
                break;
        case FAULT_LAST:
                split_goodbye(sim, node);
                mesh_say_goodbye(node->mesh);
                break;
        }
}

static void follow(struct sim *sim, enum sim_fault_kind kind, struct world_node *node);

/* What has not ended is ended; the daemon goes when that has been written, and the executor with it. */
static void stop(struct sim *sim, struct world_node *node) {
        bool over = node->mesh && mesh_is_idle(node->mesh);

        if (!node->mesh)
                return;
        if (sim->mended) {
                mesh_resume(node->mesh, MESH_DRAIN_STOP);
                return;
        }
        if (!over)
                mesh_hand_back(node->mesh);
        follow(sim, over && !node->is_paused ? FAULT_LAST : FAULT_STOP, node);
}

static void leave(struct sim *sim, struct world_node *node) {
        if (!node->mesh)
                return;
        watch_lost(sim, node, /* host= */ false);
        executor_crash(node);
        follow(sim, FAULT_DOWN, node);
}

static void end(struct sim *sim, const struct sim_fault *fault) {
        struct world_node *node = fault->node;

        sim_say(sim, "%s: no longer %s", node ? node->config.node_id : "all", kind_text[fault->kind]);
        switch (fault->kind) {
        case FAULT_PAUSE:
                if (node->is_paused)
                        split_absent(sim, node);
                world_resume(node);
                break;
        case FAULT_CABLE:
                if (!node->gone)
                        world_attach(node);
                break;
        case FAULT_DEAF:
        case FAULT_PARTITION:
                set_ways(sim);
                break;
        case FAULT_DOWN:
                if (node->mesh || node->gone)
                        break;
                split_absent(sim, node);
                split_started(sim, node);
                world_start(node);
                resume(sim, node);
                break;
        case FAULT_DISK_FULL:
                disk_set_mode(node, DISK_WORKS);
                break;
        case FAULT_DISK_SLOW:
                node->disk.slow_usec = 0;
                break;
        case FAULT_DRAIN:
                resume(sim, node);
                break;
        case FAULT_STOP:
                stop(sim, node);
                break;
        case FAULT_LAST:
                leave(sim, node);
                break;
        }
}

usec_t faults_due(const struct sim *sim) {
        usec_t due = USEC_INFINITY;

        for (size_t i = 0; i < sim->n_faults; i++)
                due = MIN(due, sim->faults[i].ends_at);
        return due;
}

void faults_end(struct sim *sim, usec_t at) {
        for (size_t i = 0; i < sim->n_faults;) {
                struct sim_fault fault = sim->faults[i];

                if (fault.ends_at > at) {
                        i++;
                        continue;
                }
                sim->faults[i] = sim->faults[--sim->n_faults];
                end(sim, &fault);
        }
}

static void
add_fault(struct sim *sim, enum sim_fault_kind kind, struct world_node *node, struct world_node *to) {
        struct sim_fault *fault;

        if (sim->n_faults == SIM_FAULTS_MAX)
                return;
        fault = &sim->faults[sim->n_faults++];
        *fault = (struct sim_fault){ .kind = kind, .node = node, .to = to };
        fault->ends_at = usec_add(sim->world.now, draw_duration(sim, kind));
        world_random(&sim->world, &fault->side, sizeof(fault->side));
        sim_say(sim, "%s: %s%s%s for %.1f s", node ? node->config.node_id : "all", kind_text[kind],
                to ? ", " : "", to ? to->config.node_id : "",
                (double) (fault->ends_at - sim->world.now) / USEC_PER_SEC);
        begin(sim, fault);
}

static void follow(struct sim *sim, enum sim_fault_kind kind, struct world_node *node) {
        if (node->mesh)
                add_fault(sim, kind, node, NULL);
}

static void add(struct sim *sim, enum sim_fault_kind kind) {
        struct world_node *node = kind == FAULT_PARTITION ? NULL : sim_any_node(sim);
        struct world_node *to = kind == FAULT_DEAF ? sim_any_node(sim) : NULL;

        /* Only what is there can be paused, killed or drained; a second time of the same changes nothing. */
        if (node && (!node->mesh || node == to || is_active(sim, kind, node)))
                return;
        add_fault(sim, kind, node, to);
}

static void break_link(struct sim *sim) {
        struct world_node *a = sim_any_node(sim), *b = sim_any_node(sim);

        if (a == b)
                return;
        sim_say(sim, "the link of %s and %s breaks", a->config.node_id, b->config.node_id);
        world_break_link(a, b);
}

static void replace_executor(struct sim *sim) {
        struct world_node *node = sim_any_node(sim);

        if (!node->mesh || node->is_paused)
                return;
        sim_say(sim, "%s: the executor is killed", node->config.node_id);
        watch_lost(sim, node, /* host= */ false);
        executor_crash(node);
        executor_connect(node);
}

/* A host burns down. Another one takes its place, unless enough are left to do the work; the first one
 * stays. Without a second copy only such go as nobody needs any more. */
static void destroy(struct sim *sim) {
        struct world_node *node = sim_any_node(sim), *heir;
        char name[32];

        if (node->index == 0 || sim->n_destroyed >= SIM_SPARE_NODES ||
            (!sim->options.loss && !watch_owes_nothing(sim, node)))
                return;
        sim->n_destroyed++;
        sim_say(sim, "%s: burns down", node->config.node_id);
        watch_lost(sim, node, /* host= */ true);
        split_gone(sim, node);
        fire_takes(sim, node);
        world_destroy(node);
        set_ways(sim);
        if (sim_below(sim, 2) == 0 && (sim->n_slots_gone + node->executor.slots) * 2 <= sim->n_slots) {
                sim->n_slots_gone += node->executor.slots;
                return;
        }
        (void) snprintf(name, sizeof(name), "heir-%u", sim->n_destroyed);
        heir = sim_add_node(sim, name, node->executor.slots);
        sim_say(sim, "%s: takes its place", name);
        split_started(sim, heir);
        world_start(heir);
}

void fault_random(struct sim *sim) {
        switch (sim_below(sim, 32)) {
        case 0 ... 8:
                break_link(sim);
                break;
        case 9 ... 13:
                add(sim, FAULT_DOWN);
                break;
        case 14 ... 15:
                replace_executor(sim);
                break;
        case 16 ... 17:
                add(sim, FAULT_DRAIN);
                break;
        case 18:
                add(sim, FAULT_DISK_FULL);
                break;
        case 19 ... 20:
                add(sim, FAULT_DISK_SLOW);
                break;
        case 21 ... 22:
                add(sim, FAULT_CABLE);
                break;
        case 23 ... 24:
                add(sim, FAULT_DEAF);
                break;
        case 25:
                add(sim, FAULT_PARTITION);
                break;
        case 26 ... 28:
                add(sim, FAULT_PAUSE);
                break;
        case 29 ... 30:
                add(sim, FAULT_STOP);
                break;
        default:
                destroy(sim);
                break;
        }
}
