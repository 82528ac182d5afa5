/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which of many waiting jobs is next. */

#include <time.h>

#include "lib/mesh-world.h"
#include "paper.h"

static struct world world;

static struct world_node *begin(unsigned slots) {
        struct world_node *node;

        world_init(&world, 11);
        node = world_add(&world, "node-a", slots);
        world_start(node);
        world_run_for(&world, USEC_PER_SEC);
        return node;
}

static void
submit(struct world_node *node, const char *command, size_t n, struct world_wishes wishes,
       struct uuid *ret) {
        ASSERT_EQ(world_submit_wishes(node, command, n, &wishes, ret, ret), MESH_ACCEPTED);
}

static struct world_wishes priority(int32_t value) {
        return (struct world_wishes){ .rules.priority = value };
}

/* Which start it was, the first being 0. */
static size_t nth_start(const struct world_node *node, const struct uuid *id) {
        size_t found = SIZE_MAX;

        for (size_t i = 0; i < node->executor.n_starts; i++)
                if (uuid_equal(&node->executor.starts[i], id)) {
                        ASSERT_EQ(found, SIZE_MAX);
                        found = i;
                }
        return found;
}

static void test_priority_comes_first(void) {
        struct world_node *node = begin(1);
        struct uuid running, low[5], normal[5], high[5], between[5];

        submit(node, "1000", 1, priority(-1000), &running); /* it has the slot, and keeps it */
        submit(node, "1000", 5, priority(-5), low);
        submit(node, "1000", 5, priority(0), normal);
        submit(node, "1000", 5, priority(1000), high);
        world_run_for(&world, USEC_PER_SEC);
        submit(node, "1000", 5, priority(0), between);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, node->executor.n_starts == 21);
        ASSERT_EQ(nth_start(node, &running), 0u);
        for (size_t i = 0; i < 5; i++) {
                ASSERT_EQ(nth_start(node, &high[i]), 1 + i);
                ASSERT_EQ(nth_start(node, &normal[i]), 6 + i);
                ASSERT_EQ(nth_start(node, &between[i]), 11 + i);
                ASSERT_EQ(nth_start(node, &low[i]), 16 + i);
        }
        world_done(&world);
}

/* Also within one request, which finds a free slot. */
static void test_priorities_in_one_request(void) {
        struct world_node *node = begin(1);
        const struct job_request request = { .command = "1000", .command_size = 4 };
        struct job_spec *specs[3];

        for (size_t i = 0; i < 3; i++) {
                ASSERT_OK(job_spec_new(&request, &specs[i]));
                world_random(&world, &specs[i]->id, sizeof(specs[i]->id));
                specs[i]->rules.priority = (int32_t) i;
        }
        ASSERT_EQ(mesh_submit(node->mesh, specs, 3, NULL), MESH_ACCEPTED);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, node->executor.n_starts == 3);
        for (size_t i = 0; i < 3; i++) {
                ASSERT_EQ(nth_start(node, &specs[i]->id), 2 - i);
                job_spec_unref(specs[i]);
        }
        world_done(&world);
}

static void test_order_survives_restart(void) {
        struct world_node *node = begin(1);
        struct uuid running, low[2], high[2];

        submit(node, "5000", 1, priority(0), &running);
        submit(node, "100", 2, priority(-1), low);
        world_run_for(&world, USEC_PER_SEC);
        submit(node, "100", 2, priority(1), high);
        world_run_for(&world, USEC_PER_SEC);
        world_crash(node);
        world_start(node);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, node->executor.n_starts == 5);
        for (size_t i = 0; i < 2; i++) {
                ASSERT_EQ(nth_start(node, &high[i]), 1 + i);
                ASSERT_EQ(nth_start(node, &low[i]), 3 + i);
        }
        world_done(&world);
}

/* What comes first is given first, wherever it runs. */
static void test_priority_elsewhere(void) {
        struct world_node *node = begin(0), *other = world_add(&world, "node-b", 1);
        struct uuid low[4], high[2], pinned;

        world_start(other);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, world_n_peers(node) == 1);
        submit(node, "1000", 4, priority(0), low);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, other->executor.n_starts == 1);
        submit(node, "1000", 2, priority(7), high);
        submit(node, "1000", 1,
               (struct world_wishes){ .rules.priority = 3, .target = other->config.node_id }, &pinned);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, other->executor.n_starts == 7);
        ASSERT_EQ(nth_start(other, &low[0]), 0u);
        ASSERT_EQ(nth_start(other, &high[0]), 1u);
        ASSERT_EQ(nth_start(other, &high[1]), 2u);
        ASSERT_EQ(nth_start(other, &pinned), 3u);
        ASSERT_EQ(nth_start(other, &low[3]), 6u);
        world_done(&world);
}

static char *const gpu[] = { (char *) "gpu=a100", NULL };

/* What nobody can run waits, and holds up nothing: others begin at once, with their acceptance. */
static void test_misfits_hold_up_nothing(void) {
        struct world_node *node = begin(2);
        struct uuid misfits[3], ids[4], id;

        submit(node, "1", 3, (struct world_wishes){ .requires = gpu, .rules.priority = 1000 }, misfits);
        world_run_for(&world, USEC_PER_SEC);
        disk_set_mode(node, DISK_HOLDS);
        submit(node, "1", 1, priority(0), &id);
        ASSERT_EQ(nth_start(node, &id), 0u); /* before it is durable */
        disk_set_mode(node, DISK_WORKS);
        submit(node, "100", 4, priority(-1), ids);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &ids[3]) == JOB_COMPLETED);
        ASSERT_EQ(world_state(node).queued, 3u);
        ASSERT_EQ(node->executor.n_starts, 5u);
        ASSERT_EQ(mesh_cancel(node->mesh, &misfits[1]), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &misfits[1]) == JOB_CANCELLED);
        world_done(&world);
}

static void test_own_labels(void) {
        struct world_node *node;
        struct uuid ids[3], both;
        static char *const any_gpu[] = { (char *) "gpu", (char *) "arch=x86_64", NULL };

        world_init(&world, 11);
        node = world_add(&world, "node-a", 1);
        node->config.labels[node->config.n_labels++] = (struct metadata_entry){ "arch", "x86_64" };
        node->config.labels[node->config.n_labels++] = (struct metadata_entry){ "gpu", "a100" };
        world_start(node);
        world_run_for(&world, USEC_PER_SEC);
        submit(node, "10", 3, (struct world_wishes){ .requires = gpu }, ids);
        submit(node, "10", 1, (struct world_wishes){ .requires = any_gpu }, &both);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &both) == JOB_COMPLETED);
        ASSERT_EQ(nth_start(node, &both), 3u);
        world_done(&world);
}

/* So many different sets of labels, and no more; the same ones in another order are no other set. */
static void test_sets_of_labels_are_limited(void) {
        struct world_node *node = begin(1);
        static char texts[300][16];
        static char *sets[300][3];
        struct uuid ids[300];
        size_t n = 0;

        for (size_t i = 0; i < 300; i++) {
                snprintf(texts[i], sizeof(texts[i]), "label-%zu", i);
                sets[i][0] = texts[i];
                sets[i][1] = (char *) "a";
        }
        while (n < 300) {
                const struct world_wishes wishes = { .requires = sets[n] };
                int r = world_submit_wishes(node, "1", 1, &wishes, &ids[n], &ids[n]);

                if (r == MESH_LABELS_FULL)
                        break;
                ASSERT_EQ(r, MESH_ACCEPTED);
                n++;
        }
        ASSERT_EQ(n, 256u);
        world_run_for(&world, USEC_PER_SEC);
        /* Refused is gone as if it had never been there, with all of its request. */
        ASSERT_EQ(world_state(node).queued, 256u);
        char *const turned[] = { (char *) "a", texts[0], texts[0], NULL };
        submit(node, "1", 1, (struct world_wishes){ .requires = turned }, &ids[290]);
        submit(node, "1", 1, (struct world_wishes){}, &ids[291]);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &ids[291]) == JOB_COMPLETED);
        /* They come back, all of them. */
        world_crash(node);
        world_start(node);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(world_state(node).queued, 257u);
        /* When the last of a set has ended there is room for another one. */
        ASSERT_EQ(mesh_cancel(node->mesh, &ids[5]), MESH_CANCEL_STARTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, world_end(node, &ids[5]) == JOB_CANCELLED);
        submit(node, "1", 1, (struct world_wishes){ .requires = sets[299] }, &ids[299]);
        world_run_for(&world, USEC_PER_SEC);
        world_done(&world);
}

/* A hundred thousand jobs of many priorities on a node that is nothing but its mind. */
#define MANY 100000u

static double cpu_seconds(void) {
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void test_many(void) {
        static struct job_spec *specs[MANY];
        struct paper paper;

        paper_begin(&paper, 1, MANY);
        for (uint32_t i = 0; i < MANY; i++) {
                specs[i] = paper_spec(i);
                specs[i]->rules.priority = (int32_t) (i * 7919 % 2001) - 1000;
        }
        double begun = cpu_seconds();
        for (size_t i = 0; i < MANY; i += 10000) {
                ASSERT_EQ(mesh_submit(paper.mesh, specs + i, 10000, NULL), MESH_ACCEPTED);
                paper_write(&paper);
        }
        double submitted = cpu_seconds();
        int32_t last_priority = INT32_MAX;
        uint32_t last = 0;
        for (uint32_t n = 0; n < MANY; n++) {
                uint32_t i;

                ASSERT_TRUE(paper.running);
                memcpy(&i, &paper.run.job, sizeof(i));
                /* The first one began while only those of its request were there. */
                if (n > 1) {
                        ASSERT_LE(specs[i]->rules.priority, last_priority);
                        ASSERT_TRUE(specs[i]->rules.priority < last_priority || i > last);
                }
                last_priority = specs[i]->rules.priority;
                last = i;
                if (n == 0)
                        last_priority = INT32_MAX;
                paper_end_run(&paper, RUN_EXITED, 0);
                paper_write(&paper);
        }
        ASSERT_FALSE(paper.running);
        double ended = cpu_seconds();
        printf("%u jobs of 2001 priorities: %.2f us to submit one, %.2f us from one to the next\n", MANY,
               (submitted - begun) * 1e6 / MANY, (ended - submitted) * 1e6 / MANY);
        /* Far above what it takes, far below what a walk over the queue for each job would. */
        ASSERT_LT((ended - begun) * 1e6 / MANY, 200);
        paper_end(&paper);
        for (size_t i = 0; i < MANY; i++)
                job_spec_unref(specs[i]);
}

#define NODES 200u
#define SHARED (NODES * 20)

/* What is given to each of many nodes costs no walk over all of them. */
static void test_many_nodes(void) {
        static struct job_spec *specs[SHARED];
        struct paper paper;

        paper_begin(&paper, 0, SHARED);
        for (uint32_t i = 0; i < NODES; i++)
                paper_add_peer(&paper, i, 20);
        paper_pass(&paper, paper.now + 3 * USEC_PER_SEC);
        for (uint32_t i = 0; i < SHARED; i++)
                specs[i] = paper_spec(i);
        double begun = cpu_seconds();
        ASSERT_EQ(mesh_submit(paper.mesh, specs, SHARED, NULL), MESH_ACCEPTED);
        paper_write(&paper);
        ASSERT_EQ(paper.n_links_wanted, NODES);
        for (uint32_t i = 0; i < NODES; i++)
                paper_link_peer(&paper, i);
        paper_write(&paper);
        double ended = cpu_seconds();
        ASSERT_EQ(paper.n_assigned, SHARED);
        printf("%u jobs to %u nodes: %.2f us each\n", SHARED, NODES, (ended - begun) * 1e6 / SHARED);
        ASSERT_LT((ended - begun) * 1e6 / SHARED, 200);
        paper_end(&paper);
        for (size_t i = 0; i < SHARED; i++)
                job_spec_unref(specs[i]);
}

int main(void) {
        RUN(test_priority_comes_first);
        RUN(test_priorities_in_one_request);
        RUN(test_order_survives_restart);
        RUN(test_priority_elsewhere);
        RUN(test_misfits_hold_up_nothing);
        RUN(test_own_labels);
        RUN(test_sets_of_labels_are_limited);
        RUN(test_many);
        RUN(test_many_nodes);
        return EXIT_SUCCESS;
}
