/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Why a job waits. */

#include "lib/mesh-world.h"

static struct world world;

static void begin(unsigned slots_a, unsigned slots_b) {
        world_init(&world, 7);
        world_add(&world, "node-a", slots_a);
        world_add(&world, "node-b", slots_b);
        world_start(world.nodes[0]);
        world_start(world.nodes[1]);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(world.nodes[0]) == 1);
        world_run_for(&world, 10 * USEC_PER_SEC);
}

static struct uuid submit(const char *command, const char *target) {
        const struct world_wishes wishes = { .target = target };
        struct uuid id;

        ASSERT_EQ(world_submit_wishes(world.nodes[0], command, 1, &wishes, &id, &id), MESH_ACCEPTED);
        return id;
}

static void check(const struct uuid *id, const char *expected) {
        const char *reason = mesh_job_pending_reason(world.nodes[0]->mesh, id);

        if (!reason || !expected)
                ASSERT_TRUE(reason == expected);
        else if (!streq(reason, expected))
                _TEST_FAIL("\"%s\", not \"%s\"", reason, expected);
}

static void test_slots(void) {
        struct uuid first, second;

        begin(1, 0);
        first = submit("2000", NULL);
        second = submit("1000", NULL);
        check(&second, "is being accepted");
        world_run_for(&world, USEC_PER_SEC);
        check(&first, NULL);
        check(&second, "waits for a free slot");
        mesh_set_slots(world.nodes[0]->mesh, 0);
        check(&second, "no node that may run it has slots");
        mesh_set_slots(world.nodes[0]->mesh, 1);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_end(world.nodes[0], &second) == JOB_COMPLETED);
        check(&second, NULL);
        world_done(&world);
}

static void test_this_node(void) {
        struct uuid id;

        begin(1, 1);
        (void) submit("60000", NULL);
        (void) submit("60000", NULL);
        world_run_for(&world, USEC_PER_SEC);
        id = submit("1", NULL);
        world_run_for(&world, USEC_PER_SEC);
        mesh_drain(world.nodes[0]->mesh, MESH_DRAIN_ASKED);
        check(&id, "this node is draining, and no other one has a free slot for it");
        mesh_resume(world.nodes[0]->mesh, MESH_DRAIN_ASKED);
        executor_disconnect(world.nodes[0]);
        check(&id, "the executor of this node is away, and no other node has a free slot for it");
        executor_connect(world.nodes[0]);
        mesh_store_health(world.nodes[0]->mesh, -ENOSPC, NULL);
        check(&id, "the database of this node cannot be written");
        mesh_store_health(world.nodes[0]->mesh, 0, NULL);
        check(&id, "waits for a free slot");
        world_done(&world);
}

static void test_target(void) {
        struct uuid first, id;

        begin(1, 1);
        first = submit("8000", "node-b");
        world_run_for(&world, USEC_PER_SEC);
        check(&first, NULL);
        id = submit("1", "node-b");
        world_run_for(&world, USEC_PER_SEC);
        check(&id, "waits for a free slot of its target node");
        mesh_drain(world.nodes[1]->mesh, MESH_DRAIN_ASKED);
        world_run_for(&world, USEC_PER_SEC);
        check(&id, "waits for its target node, which is draining");
        mesh_resume(world.nodes[1]->mesh, MESH_DRAIN_ASKED);
        mesh_set_slots(world.nodes[1]->mesh, 0);
        world_run_for(&world, 10 * USEC_PER_SEC);
        check(&id, "waits for its target node, which has no slots");
        world_crash(world.nodes[1]);
        world_run_for(&world, USEC_PER_MINUTE);
        check(&id, "waits for its target node, which is not here");
        world.nodes[1]->config.slots = 1;
        world_start(world.nodes[1]);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(world.nodes[0], &id) == JOB_COMPLETED);
        world_done(&world);
}

int main(void) {
        RUN(test_slots);
        RUN(test_this_node);
        RUN(test_target);
        return EXIT_SUCCESS;
}
