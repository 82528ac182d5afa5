/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a keeper says of its copies, and what it takes over, at the moments at which it is easy to get wrong:
 * between two writes, and where it runs the job itself. */

#include "keeping.h"
#include "mesh/job-link.h"
#include "paper.h"
#include "wire/link-message.h"

#define GUEST_EPOCH UINT64_C(5)         /* of the owner whose run is here */
#define LATER_EPOCH (UINT64_C(1) << 32) /* of one that took its job over */

static void begin(size_t n_nodes, unsigned slots) {
        begin_nodes(n_nodes, slots);
        world_run_for(&world, 4 * USEC_PER_SEC);
}

static void submit(const char *command, const struct world_wishes *wishes, struct uuid *ret) {
        ASSERT_EQ(world_submit_wishes(node(0), command, 1, wishes, ret, ret), MESH_ACCEPTED);
        WORLD_UNTIL(&world, USEC_PER_SEC, answer_copies(node(0), ret) == 2);
}

/* It stops when it owns the job on its disk, and nothing that follows from that is there. */
static void restart_between(struct world_node *heir, const struct uuid *id) {
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, disk_find(heir, id) != NULL);
        ASSERT_EQ(disk_status(heir, id), JOB_PENDING);
        ASSERT_EQ(world_end(heir, id), JOB_UNKNOWN);
        world_crash(heir);
        ASSERT_EQ(disk_status(heir, id), JOB_PENDING);
        world_start(heir);
}

static void test_what_must_not_begin_does_not_after_a_restart(void) {
        struct uuid id;

        begin(2, 1);
        mesh_set_slots(node(0)->mesh, 0);
        mesh_set_slots(node(1)->mesh, 0);
        submit("10", &(const struct world_wishes){ .rules.loss_is_failure = true }, &id);
        lose(node(0));
        restart_between(node(1), &id);
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, world_end(node(1), &id) == JOB_FAILED);
        ASSERT_NOT_NULL(strstr(disk_find(node(1), &id)->error_message, "node lost: "));
        ASSERT_EQ(n_starts(), 0u);
        world_done(&world);
}

/* Its owner is the one that accepted it, and knows that it did not begin. */
static void test_what_waits_at_its_owner_begins_after_a_restart(void) {
        struct uuid id;

        begin(2, 1);
        mesh_set_slots(node(0)->mesh, 0);
        mesh_set_slots(node(1)->mesh, 0);
        submit("10", &(const struct world_wishes){ .rules.loss_is_failure = true }, &id);
        world_crash(node(0));
        world_start(node(0));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, world_end(node(0), &id) == JOB_COMPLETED);
        ASSERT_EQ(n_starts(), 1u);
        world_done(&world);
}

/* Who ran it, and its owner, are gone before the first one hears that it is to end. No slot is waited for to
 * say so. */
static void test_what_was_cancelled_does_not_begin_after_a_restart(void) {
        struct world_node *heir, *runs;
        struct uuid id;

        begin_apart(&heir, &runs);
        submit("forever", &(const struct world_wishes){}, &id);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, runs->executor.n_running == 1);
        world_run_for(&world, USEC_PER_SEC);
        lose(runs);
        ASSERT_EQ(mesh_cancel(node(0)->mesh, &id), MESH_CANCEL_STARTED);
        world_run_for(&world, 50 * USEC_PER_MSEC);
        lose(node(0));
        heir->config.slots = 0;
        restart_between(heir, &id);
        WORLD_UNTIL(&world, 2 * USEC_PER_MINUTE, world_end(heir, &id) == JOB_CANCELLED);
        ASSERT_EQ(n_starts(), 1u);
        world_done(&world);
}

/* Another owner tells that it ended, and does so again to who begins anew. */
static void test_what_ended_elsewhere_does_not_begin_after_a_restart(void) {
        struct mesh_index_item item = { .status = JOB_COMPLETED, .finished_at = 7, .epoch = 1 };
        struct world_node *heir, *other;

        begin(3, 1);
        heir = holder_of(node(0));
        other = third(heir);
        for (size_t i = 0; i < 3; i++)
                mesh_set_slots(node(i)->mesh, 0);
        world_run_for(&world, 6 * USEC_PER_SEC);
        submit("10", &(const struct world_wishes){}, &item.id);
        item.created_at = disk_find(node(0), &item.id)->spec->created_at;
        lose(node(0));
        ASSERT_OK(mesh_index_restore(other->mesh, &item, 1));
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_index_status(heir, &item.id) == JOB_COMPLETED);
        restart_between(heir, &item.id);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, world_index_status(heir, &item.id) == JOB_COMPLETED);
        world_run_for(&world, 2 * USEC_PER_MINUTE);
        ASSERT_EQ(world_index_status(heir, &item.id), JOB_COMPLETED);
        ASSERT_EQ(n_starts(), 0u);
        world_done(&world);
}

/* That it could write the next one does not say that it has the one before. */
static void test_a_copy_that_was_not_written_is_refused(void) {
        struct world_node *slow, *next;
        struct uuid ids[2];

        begin(3, 0);
        slow = holder_of(node(0));
        next = third(slow);
        disk_set_mode(slow, DISK_HOLDS);
        for (size_t i = 0; i < 2; i++) {
                ASSERT_EQ(world_submit(node(0), "10", &ids[i]), MESH_ACCEPTED);
                world_run_for(&world, 20 * USEC_PER_MSEC);
        }
        disk_set_mode(slow, DISK_FAILS);
        disk_write_next(slow);
        disk_set_mode(slow, DISK_WORKS);
        WORLD_UNTIL(&world, 20 * USEC_PER_MSEC, n_unfinished_copies(slow) == 1);
        WORLD_UNTIL(&world, 200 * USEC_PER_MSEC, world_answer(node(0), &ids[0]) == 0);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(n_unfinished_copies(next), 2u);

        lose(node(0));
        mesh_set_slots(node(1)->mesh, 1);
        mesh_set_slots(node(2)->mesh, 1);
        node(1)->executor.slots = node(2)->executor.slots = 1;
        for (size_t i = 0; i < 2; i++)
                WORLD_UNTIL(
                        &world, 2 * USEC_PER_MINUTE,
                        world_end(node(1), &ids[i]) == JOB_COMPLETED ||
                                world_end(node(2), &ids[i]) == JOB_COMPLETED);
        world_done(&world);
}

/* On paper: this node, its peer number 1, and number 2 that owns what it keeps. */
static struct paper paper;

static void begin_on_paper(void) {
        paper_begin(&paper, /* slots= */ 1, /* queue_max= */ 10);
        for (uint32_t i = 1; i <= 2; i++) {
                paper_add_peer(&paper, i, 1);
                paper_link_peer(&paper, i);
        }
        paper_write(&paper);
}

static struct link_assignment assignment_of(struct job_spec *spec) {
        struct link_assignment assignment = {
                .run = { .job = spec->id, .epoch = GUEST_EPOCH, .attempt = 1 }
        };

        job_spec_to_link(spec, &assignment.job);
        assignment.job.created_by_node = "peer-1";
        return assignment;
}

/* epoch: of its owner; the last run was given then or before. */
static void tell_copy(struct job_spec *spec, uint64_t number, uint64_t epoch) {
        struct link_assignment assignment = assignment_of(spec);
        const struct link_message message = {
                .copy = {
                        .term = 1,
                        .number = number,
                        .has_run = true,
                        .run = { .job = spec->id, .epoch = MIN(GUEST_EPOCH, epoch), .attempt = 1 },
                        .epoch = epoch,
                        .job = &assignment,
                },
        };

        mesh_link_received(paper.mesh, "peer-2", &message);
}

/* The first peer's run of the job, which begins. */
static void begin_guest(struct job_spec *spec) {
        struct link_assignment assignment = assignment_of(spec);
        const struct link_message message = { .n_assignments = 1, .assignments = &assignment };

        mesh_link_received(paper.mesh, "peer-1", &message);
        paper_write(&paper);
        ASSERT_EQ(paper.n_starts, 1u);
        ASSERT_TRUE(run_id_equal(&paper.run, &assignment.run));
        mesh_run_started(paper.mesh, &paper.run, paper.now);
}

static size_t n_adopted(const struct job_spec *spec) {
        struct record_batch *batch;
        size_t n = 0;

        LIST_FOREACH(&paper.batches, batch, struct record_batch, link)
                for (size_t i = 0; i < batch->n_records; i++)
                        n += batch->records[i].type == RECORD_ADOPTED &&
                             uuid_equal(&batch->records[i].run.job, &spec->id);
        return n;
}

/* Time goes by in which nobody else says anything; how often the job was taken over. */
static size_t wait_for(usec_t usec, const struct job_spec *spec) {
        usec_t end = paper.now + usec;
        size_t n = 0;

        while (paper.now < end) {
                paper_pass(&paper, paper.now + 100 * USEC_PER_MSEC);
                n += n_adopted(spec);
                paper_write(&paper);
        }
        return n;
}

static void ask_to_forget(void) {
        mesh_link_received(paper.mesh, "peer-2", &(const struct link_message){ .forget_copies = 1 });
}

/* An owner that was taken for lost is there, and more of the same term may be on its way from it. */
static void test_that_copies_are_forgotten_is_an_answer(void) {
        struct job_spec *spec = paper_spec(1), *more = paper_spec(2);

        begin_on_paper();
        tell_copy(spec, 1, LATER_EPOCH);
        paper_write(&paper);
        ASSERT_EQ(paper.n_kept, 1u);
        ASSERT_EQ(wait_for(3 * USEC_PER_MINUTE, spec), 1u);
        ASSERT_EQ(paper.n_forgotten, 0u);

        tell_copy(more, 2, LATER_EPOCH);
        paper_write(&paper);
        ASSERT_EQ(paper.n_kept, 2u);
        ask_to_forget();
        ASSERT_EQ(paper.n_forgotten, 0u); /* the disk first */
        paper_write(&paper);
        ASSERT_EQ(paper.n_forgotten, 1u);
        ask_to_forget();
        ASSERT_EQ(paper.n_forgotten, 2u); /* there is nothing */
        job_spec_unref(spec);
        job_spec_unref(more);
        paper_end(&paper);
}

static void test_a_run_of_an_earlier_owner_goes_on(void) {
        struct job_spec *spec = paper_spec(1);

        begin_on_paper();
        begin_guest(spec);
        tell_copy(spec, 1, LATER_EPOCH);
        ASSERT_EQ(wait_for(3 * USEC_PER_MINUTE, spec), 1u);
        ASSERT_EQ(paper.n_starts, 1u);
        ASSERT_TRUE(paper.running);
        paper_end_run(&paper, RUN_EXITED, 0);
        (void) wait_for(USEC_PER_SEC, spec);
        ASSERT_EQ(paper.ended, JOB_COMPLETED);
        ASSERT_EQ(paper.n_starts, 1u);
        job_spec_unref(spec);
        paper_end(&paper);
}

/* Whoever took the job over from the lost one will hear of its end. */
static void test_a_run_of_a_later_owner_is_left_alone(void) {
        struct job_spec *spec = paper_spec(1);

        begin_on_paper();
        begin_guest(spec);
        tell_copy(spec, 1, GUEST_EPOCH - 1);
        ASSERT_EQ(wait_for(3 * USEC_PER_MINUTE, spec), 0u);
        ASSERT_EQ(paper.n_starts, 1u);
        ASSERT_TRUE(paper.running);
        job_spec_unref(spec);
        paper_end(&paper);
}

/* What else its owner had does not wait for that. */
static void test_a_run_that_was_given_up_ends_first(void) {
        struct job_spec *spec = paper_spec(1), *other = paper_spec(2);
        struct run_id run = { .job = spec->id, .epoch = GUEST_EPOCH, .attempt = 1 };

        other->rules.loss_is_failure = true;
        begin_on_paper();
        begin_guest(spec);
        mesh_link_received(
                paper.mesh, "peer-1", &(const struct link_message){ .n_retired = 1, .retired = &run });
        tell_copy(spec, 1, LATER_EPOCH);
        tell_copy(other, 2, LATER_EPOCH);
        ASSERT_EQ(wait_for(3 * USEC_PER_MINUTE, spec), 0u);
        ASSERT_EQ(paper.ended, JOB_FAILED); /* the other one */
        ASSERT_EQ(paper.n_starts, 1u);

        paper_end_run(&paper, RUN_KILLED, 0);
        ASSERT_EQ(wait_for(5 * USEC_PER_SEC, spec), 1u);
        ASSERT_EQ(paper.n_starts, 2u);
        ASSERT_TRUE(uuid_equal(&paper.run.job, &spec->id));
        paper_end_run(&paper, RUN_EXITED, 0);
        (void) wait_for(USEC_PER_SEC, spec);
        ASSERT_EQ(paper.ended, JOB_COMPLETED);
        job_spec_unref(spec);
        job_spec_unref(other);
        paper_end(&paper);
}

/* It is back before it hears that its job is another node's, and has begun it. */
static void test_who_had_it_before_ends_it_first(void) {
        struct world_node *heir, *other;
        struct uuid id;

        begin(3, 0);
        heir = holder_of(node(0));
        other = third(heir);
        submit("forever", &(const struct world_wishes){}, &id);
        world.any_split = true;
        disk_set_mode(other, DISK_HOLDS); /* no second copy, so that nobody is told */
        world_detach(node(0));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, disk_find(heir, &id) != NULL);
        world_attach(node(0));
        node(0)->executor.slots = heir->executor.slots = 1;
        mesh_set_slots(node(0)->mesh, 1);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, node(0)->executor.n_running == 1);
        WORLD_UNTIL(
                &world, 10 * USEC_PER_SEC, world_peer(heir, "node-a") && !world_peer(heir, "node-a")->lost);
        mesh_set_slots(heir->mesh, 1);
        ASSERT_EQ(heir->executor.n_starts, 0u);
        disk_set_mode(other, DISK_WORKS);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, heir->executor.n_running == 1);
        ASSERT_EQ(node(0)->executor.n_running, 0u);
        world_done(&world);
}

/* It begins where nobody is left who could be told; who comes back then has the only other copy. */
static void test_an_owner_that_returns_keeps_the_second_copy(void) {
        struct uuid id;

        begin(2, 0);
        submit("forever", &(const struct world_wishes){}, &id);
        world.any_split = true;
        world_detach(node(0));
        node(1)->executor.slots = 1;
        mesh_set_slots(node(1)->mesh, 1);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, node(1)->executor.n_running == 1);
        world_run_for(&world, USEC_PER_MINUTE);
        ASSERT_EQ(node(1)->executor.n_running, 1u);
        disk_set_mode(node(0), DISK_FAILS);
        world_attach(node(0));
        WORLD_UNTIL(
                &world, 10 * USEC_PER_SEC,
                world_peer(node(1), "node-a") && !world_peer(node(1), "node-a")->lost);
        world_run_for(&world, 2 * USEC_PER_SEC);
        ASSERT_FALSE(disk_find(node(0), &id)->moved);
        disk_set_mode(node(0), DISK_WORKS);
        WORLD_UNTIL(&world, 30 * USEC_PER_SEC, disk_find(node(0), &id)->moved);
        ASSERT_EQ(n_unfinished_copies(node(0)), 1u);
        world_done(&world);
}

/* Its end reached the owner before, and was forgotten there, in the moment of the takeover. */
static void test_a_run_that_nobody_has_any_more_is_lost(void) {
        struct link_refusal refusal = { .run = { .epoch = 1, .attempt = 1 }, .reason = LINK_REFUSED_STALE };
        const struct link_message message = { .n_refused = 1, .refused = &refusal };
        struct world_node *heir, *runs;

        begin_apart(&heir, &runs);
        submit("forever", &(const struct world_wishes){}, &refusal.run.job);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, runs->executor.n_running == 1);
        lose(node(0));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, disk_find(heir, &refusal.run.job) != NULL);
        world_run_for(&world, USEC_PER_SEC);
        ASSERT_EQ(n_starts(), 1u);
        mesh_link_received(heir->mesh, runs->config.node_id, &message);
        WORLD_UNTIL(&world, 20 * USEC_PER_SEC, n_starts() == 2);
        world_done(&world);
}

/* Who ran it is lost before the takeover is told, and the disk takes neither; the owner before is back. */
static void test_a_lost_attempt_waits_for_the_disk_alone(void) {
        struct world_node *heir, *runs, *other;
        struct uuid id;

        begin(4, 1);
        heir = holder_of(node(0));
        runs = heir == node(1) ? node(2) : node(1);
        other = heir == node(3) ? node(2) : node(3);
        for (size_t i = 0; i < 4; i++)
                if (node(i) != runs)
                        mesh_set_slots(node(i)->mesh, 0);
        world_run_for(&world, 6 * USEC_PER_SEC);
        submit("forever", &(const struct world_wishes){}, &id);
        WORLD_UNTIL(&world, 10 * USEC_PER_SEC, runs->executor.n_running == 1);
        world.any_split = true;
        disk_set_mode(runs, DISK_HOLDS);
        disk_set_mode(other, DISK_HOLDS);
        world_detach(node(0));
        WORLD_UNTIL(&world, USEC_PER_MINUTE, disk_find(heir, &id) != NULL);
        disk_set_mode(heir, DISK_FAILS);
        lose(runs);
        world_attach(node(0));
        WORLD_UNTIL(&world, 14 * USEC_PER_SEC, world_peer(heir, runs->config.node_id)->lost);
        ASSERT_FALSE(world_peer(heir, "node-a")->lost);
        world_run_for(&world, 10 * USEC_PER_SEC);
        disk_set_mode(heir, DISK_WORKS);
        disk_set_mode(other, DISK_WORKS);
        mesh_set_slots(heir->mesh, 1);
        WORLD_UNTIL(&world, USEC_PER_MINUTE, heir->executor.n_running == 1);
        world_done(&world);
}

int main(void) {
        RUN(test_what_must_not_begin_does_not_after_a_restart);
        RUN(test_what_waits_at_its_owner_begins_after_a_restart);
        RUN(test_what_was_cancelled_does_not_begin_after_a_restart);
        RUN(test_what_ended_elsewhere_does_not_begin_after_a_restart);
        RUN(test_a_copy_that_was_not_written_is_refused);
        RUN(test_that_copies_are_forgotten_is_an_answer);
        RUN(test_a_run_of_an_earlier_owner_goes_on);
        RUN(test_a_run_of_a_later_owner_is_left_alone);
        RUN(test_a_run_that_was_given_up_ends_first);
        RUN(test_who_had_it_before_ends_it_first);
        RUN(test_an_owner_that_returns_keeps_the_second_copy);
        RUN(test_a_run_that_nobody_has_any_more_is_lost);
        RUN(test_a_lost_attempt_waits_for_the_disk_alone);
        return EXIT_SUCCESS;
}
