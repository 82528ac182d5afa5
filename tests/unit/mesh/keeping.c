/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeping.h"

struct world world;

void begin_nodes(size_t n_nodes, unsigned slots) {
        static const char *const names[] = { "node-a", "node-b", "node-c", "node-d" };

        world_init(&world, 11);
        for (size_t i = 0; i < n_nodes; i++)
                world_add(&world, names[i], slots);
        for (size_t i = 0; i < n_nodes; i++)
                world_start(node(i));
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(node(0)) == n_nodes - 1);
        world_run_for(&world, 2 * USEC_PER_SEC);
}

unsigned answer_copies(struct world_node *asked, const void *tag) {
        for (size_t i = 0; i < asked->n_answers; i++)
                if (asked->answers[i].tag == tag)
                        return asked->answers[i].copies;
        return 0;
}

size_t n_copies_of(struct world_node *holder, const struct world_node *owner) {
        struct disk_copy *copy;
        size_t n = 0;

        MAP_FOREACH(&holder->disk.copies, copy, struct disk_copy, by_id)
                n += !copy->ended && (!owner || streq(copy->owner, owner->config.node_id));
        return n;
}

size_t n_unfinished_copies(struct world_node *holder) {
        return n_copies_of(holder, NULL);
}

struct world_node *keeper_of(const struct world_node *owner) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (n_copies_of(node(i), owner) > 0)
                        return node(i);
        return NULL;
}

struct world_node *holder_of(struct world_node *owner) {
        struct disk_holder *holder;

        ASSERT_EQ(map_size(&owner->disk.holders), 1u);
        MAP_FOREACH(&owner->disk.holders, holder, struct disk_holder, by_id)
                for (size_t i = 0; i < world.n_nodes; i++)
                        if (streq(holder->node, node(i)->config.node_id))
                                return node(i);
        return NULL;
}

struct world_node *first_of_three(void) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (holder_of(holder_of(node(i))) != node(i))
                        return node(i);
        _TEST_FAIL("each is the keeper of its keeper");
}

struct world_node *third(const struct world_node *second) {
        return second == node(1) ? node(2) : node(1);
}

size_t n_starts(void) {
        size_t n = 0;

        for (size_t i = 0; i < world.n_nodes; i++)
                n += node(i)->executor.n_starts;
        return n;
}

size_t count_ends(const struct uuid *ids, size_t n, enum job_status status) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < world.n_nodes; j++)
                        found += world_end(node(j), &ids[i]) == status;
        return found;
}

void lose(struct world_node *lost) {
        world_detach(lost);
        world_crash(lost);
        executor_crash(lost);
}

void lose_disk(struct world_node *loser) {
        uint64_t incarnation = loser->disk.incarnation;

        world_crash(loser);
        disk_done(&loser->disk);
        loser->disk = (struct world_disk){ .incarnation = incarnation };
        disk_init(&loser->disk);
        world_start(loser);
}

void set_slots(unsigned slots) {
        for (size_t i = 0; i < world.n_nodes; i++)
                if (node(i)->mesh)
                        mesh_set_slots(node(i)->mesh, slots);
}

void begin_apart(struct world_node **ret_keeper, struct world_node **ret_runs) {
        begin_nodes(3, 1);
        *ret_keeper = holder_of(node(0));
        *ret_runs = third(*ret_keeper);
        mesh_set_slots(node(0)->mesh, 0);
        mesh_set_slots((*ret_keeper)->mesh, 0);
        world_run_for(&world, 6 * USEC_PER_SEC);
}

void begin_with_guest(const char *command, const struct world_wishes *wishes, struct uuid *ret) {
        begin_nodes(2, 1);
        mesh_set_slots(node(0)->mesh, 0);
        ASSERT_EQ(world_submit_wishes(node(0), command, 1, wishes, ret, ret), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, node(1)->executor.n_running == 1);
        WORLD_UNTIL(&world, USEC_PER_SEC, answer_copies(node(0), ret) == 2);
}
