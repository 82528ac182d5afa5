/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What must hold: at every moment, told by the disks and executors of the world, never by the minds; and at
 * the end. */

#include "sim.h"

/* As mesh/internal.h has them: the most that an executor is given beyond its slots. */
#define PREFETCH_MSEC 20u
#define PREFETCH_MAX 64u

/* Without what pads the struct. */
#define RUN_KEY_SIZE (offsetof(struct run_id, attempt) + sizeof(uint32_t))

static struct sim_job *find_or_add(struct sim *sim, const struct uuid *id) {
        struct sim_job *job = watch_find(sim, id);

        if (job)
                return job;
        if (sim->n_jobs == sim->n_jobs_allocated) {
                sim->n_jobs_allocated = MAX(sim->n_jobs_allocated * 2, (size_t) 256);
                sim->jobs = reallocarray(sim->jobs, sim->n_jobs_allocated, sizeof(struct sim_job *));
                ASSERT_NOT_NULL(sim->jobs);
        }
        job = calloc(1, sizeof(*job));
        ASSERT_NOT_NULL(job);
        job->id = *id;
        job->number = sim->n_jobs;
        ASSERT_OK(map_add(&sim->jobs_by_id, &job->by_id, &job->id, sizeof(job->id)));
        sim->jobs[sim->n_jobs++] = job;
        return job;
}

struct sim_job *watch_find(struct sim *sim, const struct uuid *id) {
        return MAP_GET(&sim->jobs_by_id, id, sizeof(*id), struct sim_job, by_id);
}

/* No attempt runs twice, wherever. */
static void note_run(struct sim *sim, struct world_node *node, const struct run_id *id) {
        struct sim_run *run = calloc(1, sizeof(*run));

        ASSERT_NOT_NULL(run);
        run->run = *id;
        run->node = node;
        ASSERT_OK(map_add(&sim->runs, &run->by_run, &run->run, RUN_KEY_SIZE));
}

/* An end that was told: after a split, and when the owner has burned down, where an earlier keeper may come
 * back that never heard of it. */
static bool may_forget(struct sim *sim, const struct sim_job *job) {
        return split_happened(sim) || job->end_burned || job->owner->gone;
}

static void on_run_begins(struct world_node *node, const struct run_id *run) {
        struct sim *sim = node->world->userdata;
        struct sim_job *job = watch_find(sim, &run->job);

        ASSERT_NOT_NULL(job);
        sim_say(sim, "%s starts job %zu, attempt %u of epoch %" PRIu64, node->config.node_id, job->number,
                run->attempt, run->epoch);
        note_run(sim, node, run);
        sim->result.n_runs++;
        job->n_starts++;
        /* A loss is no reason to begin again where that counts as failure. */
        ASSERT_TRUE(!job->rules.loss_is_failure || job->n_starts <= 1 + job->rules.retries);
        ASSERT_TRUE(job_labels_match(
                node->config.labels, node->config.n_labels, executor_find(node, &run->job)->spec->requires));
        if (job->n_running++ > 0) {
                sim_say(sim, "… beside another run of it");
                ASSERT_TRUE(split_happened(sim)); /* no job runs twice at the same time */
                sim->result.n_together++;
        }
        if (job->cancelled) {
                sim_say(sim, "… after its cancel was acknowledged");
                ASSERT_TRUE(may_forget(sim, job)); /* none starts after an acknowledged cancel */
                sim->result.n_after_cancel++;
        }
        /* Nothing runs twice for no reason. */
        ASSERT_TRUE(sim->mood != MOOD_CALM || job->n_starts <= 1 + job->rules.retries);
        ASSERT_LE(node->executor.n_running, node->executor.slots);
}

static void on_run_ends(struct world_node *node, const struct run_id *run) {
        struct sim *sim = node->world->userdata;
        struct sim_job *job = watch_find(sim, &run->job);

        sim_say(sim, "%s ends job %zu, attempt %u", node->config.node_id, job->number, run->attempt);
        job->n_running--;
}

/* No node hoards: neither its own jobs nor those of others. */
static void on_run_taken(struct world_node *node, const struct run_id *id) {
        struct sim *sim = node->world->userdata;
        unsigned slots = node->executor.slots, n_own = 0, n = 0;
        unsigned limit = slots + MIN(PREFETCH_MAX, slots * PREFETCH_MSEC / sim->shortest_msec);
        struct world_run *run;

        LIST_FOREACH(&node->executor.runs, run, struct world_run, link)
                if (run->state != WORLD_RUN_ENDED && !run->killed) {
                        const struct sim_job *job = watch_find(sim, &run->run.job);

                        n_own += job->owner == node && !job->moved;
                        n++;
                }
        /* What the disk says is assigned is sent after a restart, though it may have been taken back since.
         */
        if (node->disk.incarnation > 1)
                limit *= 2;
        ASSERT_LE(n_own, limit);
        ASSERT_LE(n, 2 * limit);
}

static void note_accepted(struct sim *sim, struct world_node *node, const struct job_spec *spec) {
        struct sim_job *job = find_or_add(sim, &spec->id);

        job->owner = node;
        sim_say(sim, "job %zu is %s", job->number, uuid_to_text(&job->id, (char[UUID_TEXT_SIZE]){ 0 }));
        job->order = ++sim->n_orders;
        job->life = node->disk.incarnation;
        job->pinned = spec->target_node_id != NULL;
        job->choosy = spec->requires[0] != NULL;
        job->rules = spec->rules;
}

/* Those of one priority that any node may run are assigned in the order in which their owner accepted them.
 */
static void note_assigned(struct sim *sim, struct world_node *node, const struct record *record) {
        struct sim_job *job = watch_find(sim, &record->run.job);
        struct sim_node *owner = &sim->nodes[node->index];
        uint64_t *last_order;

        if (record->run.attempt != 1 || job->moved || node != job->owner || job->assigned || job->pinned ||
            job->choosy || job->cancel_asked)
                return;
        if (owner->life != node->disk.incarnation)
                memset(owner->last_order, 0, sizeof(owner->last_order));
        owner->life = node->disk.incarnation;
        last_order = &owner->last_order[job->life == owner->life][job->rules.priority + SIM_PRIORITIES / 2];
        job->assigned = true;
        sim_say(sim, "%s assigns job %zu", node->config.node_id, job->number);
        ASSERT_GT(job->order, *last_order);
        *last_order = job->order;
}

static void on_stored(struct world_node *node, const struct record_batch *batch) {
        struct sim *sim = node->world->userdata;

        for (size_t i = 0; i < batch->n_records; i++) {
                const struct record *record = &batch->records[i];

                if (record->type == RECORD_ACCEPTED)
                        note_accepted(sim, node, record->spec);
                if (record->type == RECORD_HOLDER)
                        sim_say(sim, "%s: keeper is %s, term %" PRIu64, node->config.node_id,
                                record->node->text, record->term);
                if (record->type == RECORD_MOVED)
                        sim_say(sim, "%s gives job %zu up", node->config.node_id,
                                watch_find(sim, &record->run.job)->number);
                if (record->type == RECORD_ADOPTED || record->type == RECORD_FINISHED)
                        sim->changed_usec = sim->world.now;
                if (record->type == RECORD_ADOPTED)
                        split_taken_over(sim, node, world_find(&sim->world, record->owner->text));
                if (record->type == RECORD_ADOPTED) {
                        sim_say(sim, "%s adopts job %zu", node->config.node_id,
                                watch_find(sim, &record->run.job)->number);
                        watch_find(sim, &record->run.job)->moved = true;
                }
                if (record->type == RECORD_ACCEPTED || record->type == RECORD_ASSIGNED)
                        note_assigned(sim, node, record);
        }
}

static void on_accepted(struct world_node *node, void *tag, int error, unsigned copies) {
        struct sim *sim = node->world->userdata;
        struct sim_batch *batch = tag;

        for (size_t i = 0; i < batch->n && error >= 0; i++) {
                ASSERT_NOT_NULL(disk_find(node, &batch->ids[i])); /* acknowledged means durable */
                watch_find(sim, &batch->ids[i])->copies = copies;
        }
        sim_say(sim, "%s: %zu jobs from %zu on are %s", node->config.node_id, batch->n,
                watch_find(sim, &batch->ids[0])->number, error < 0 ? "refused" : "accepted");
}

static void on_finished(struct world_node *node, const struct job_spec *spec, enum job_status status) {
        struct sim *sim = node->world->userdata;
        struct sim_job *job = watch_find(sim, &spec->id);
        const struct disk_job *stored = disk_find(node, &spec->id);
        bool killed;

        sim_say(sim, "%s: job %zu is %s", node->config.node_id, job->number, job_status_to_text(status));
        /* Who ends a run knows why, and whether that ends its job. A cancel may be forgotten with a crash,
         * and what must not begin twice has to end. */
        killed = stored && stored->result && stored->result->outcome == RUN_KILLED;
        ASSERT_FALSE(status == JOB_FAILED && killed && !spec->rules.loss_is_failure && !job->cancel_asked);
        if (job->ended) {
                ASSERT_TRUE(job->status == status || may_forget(sim, job)); /* an end never changes */
                sim->result.n_changed += job->status != status;
        }
        job->ended = true;
        job->status = status;
        job->cancelled = job->cancelled || status == JOB_CANCELLED;
        ASSERT_FALSE(status == JOB_CANCELLED && job->n_running > 0 && !split_happened(sim));
}

static void on_lost(struct world_node *node, const char *peer_id) {
        struct sim *sim = node->world->userdata;

        sim_say(sim, "%s: %s is lost", node->config.node_id, peer_id);
        /* Nobody is given up for less. */
        ASSERT_TRUE(world_find(node->world, peer_id)->gone || split_happened(sim));
}

const struct disk_job *watch_record(struct sim *sim, const struct sim_job *job) {
        const struct disk_job *record = NULL;

        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                const struct disk_job *found = disk_find(sim->world.nodes[i], &job->id);

                if (found && !found->moved && (!record || job_status_is_final(record->status)))
                        record = found;
        }
        return record;
}

/* One copy goes with its node, and what has ended and was told may be history with its last owner. */
static bool must_be_known(const struct sim_job *job) {
        if (job->copies == 0 || job->end_burned || job->n_burned >= job->copies ||
            (job->ended && (job->moved || job->owner->gone)))
                return false;
        return job->copies > 1 || !job->owner->gone;
}

/* Its owner is gone, and had told its keeper that it had ended. */
static bool has_ended_copy(struct sim *sim, const struct sim_job *job) {
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                const struct disk_copy *copy =
                        MAP_GET(&sim->world.nodes[i]->disk.copies, &job->id, sizeof(job->id),
                                struct disk_copy, by_id);

                if (copy && copy->ended)
                        return true;
        }
        return false;
}

/* What was never acknowledged, and is on no disk, does not exist. */
bool watch_all_ended(struct sim *sim) {
        for (size_t i = 0; i < sim->n_jobs; i++) {
                const struct disk_job *record = watch_record(sim, sim->jobs[i]);

                if (record ? !job_status_is_final(record->status) : watch_is_lost(sim, sim->jobs[i]))
                        return false;
        }
        return true;
}

/* Somebody would take over what has ended. */
static bool is_held_for(struct world_node *holder, const struct world_node *owner) {
        struct disk_copy *copy;

        MAP_FOREACH(&holder->disk.copies, copy, struct disk_copy, by_id)
                if (!copy->ended && streq(copy->owner, owner->config.node_id))
                        return true;
        return false;
}

bool watch_owes_nothing(struct sim *sim, struct world_node *node) {
        for (size_t i = 0; i < sim->world.n_nodes; i++)
                if (is_held_for(sim->world.nodes[i], node))
                        return false;
        for (size_t i = 0; i < sim->n_jobs; i++) {
                const struct disk_job *record = disk_find(node, &sim->jobs[i]->id);

                if (record && !record->moved && !job_status_is_final(record->status))
                        return false;
                if (sim->jobs[i]->owner == node && !sim->jobs[i]->ended)
                        return false;
        }
        return true;
}

bool watch_is_lost(struct sim *sim, const struct sim_job *job) {
        return must_be_known(job) && !watch_record(sim, job) && !has_ended_copy(sim, job);
}

/* All nodes tell the same, and what they tell is what was told before. */
static void check_job(struct sim *sim, const struct sim_job *job) {
        const struct disk_job *record = watch_record(sim, job), *other;

        ASSERT_EQ(job->n_running, 0);
        ASSERT_TRUE(record ? job_status_is_final(record->status) : !watch_is_lost(sim, job));
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                other = disk_find(sim->world.nodes[i], &job->id);
                ASSERT_TRUE(!other || other->moved || other->status == record->status);
        }
        /* What failed by itself was tried as often as it may. */
        if (record && record->status == JOB_FAILED && record->result &&
            record->result->outcome == RUN_EXITED && !job->cancel_asked && !job->moved)
                ASSERT_EQ(record->retries_used, job->rules.retries);
        if (record && job->ended)
                ASSERT_TRUE(job->status == record->status || may_forget(sim, job));
        sim->result.n_twice += job->n_starts > 1;
        sim->result.n_moved += job->moved;
}

/* All has ended: who has a copy of anything would run it again once its owner is gone. */
static void check_copies(struct sim *sim, struct world_node *node) {
        struct disk_copy *copy;

        MAP_FOREACH(&node->disk.copies, copy, struct disk_copy, by_id) {
                if (copy->ended)
                        continue;
                sim_say(sim, "%s keeps a copy of job %zu for %s, term %" PRIu64, node->config.node_id,
                        watch_find(sim, &copy->spec->id)->number, copy->owner, copy->term);
                ASSERT_TRUE(copy->ended);
        }
}

static void check_node(struct sim *sim, struct world_node *node) {
        struct disk_guest *guest;
        unsigned n_peers = 0;

        ASSERT_EQ(executor_n_runs(node), 0u);
        MAP_FOREACH(&node->disk.guests, guest, struct disk_guest, by_id)
                ASSERT_TRUE(world_find(&sim->world, guest->owner)->gone); /* or it would have been fetched */
        ASSERT_EQ(world_state(node).running, 0u);
        ASSERT_EQ(world_state(node).queued, 0u);
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                const struct world_node *other = sim->world.nodes[i];
                const struct mesh_peer *peer;

                if (other == node || other->gone)
                        continue;
                peer = mesh_get_peer(node->mesh, other->config.node_id);
                ASSERT_TRUE(peer && peer->verified && !peer->lost);
                n_peers++;
        }
        ASSERT_EQ(world_state(node).n_peers, n_peers);
        ASSERT_LE(node->executor.n_running_max, node->executor.slots);
}

/* An executor goes with the runs that it has, a host also with the ends that it has not told their owners.
 */
void watch_lost(struct sim *sim, struct world_node *node, bool host) {
        struct sim_run *run;

        MAP_FOREACH(&sim->runs, run, struct sim_run, by_run) {
                const struct world_run *held = run->node == node ? executor_find(node, &run->run.job) : NULL;

                if ((held && run_id_equal(&held->run, &run->run)) || (host && run->node == node))
                        run->lost = true;
        }
}

/* Every run that began and did not decide its job is kept with it, and its end, unless nobody knows that. */
static void check_attempts(struct sim *sim) {
        struct sim_run *run;

        MAP_FOREACH(&sim->runs, run, struct sim_run, by_run) {
                struct sim_job *job = watch_find(sim, &run->run.job);
                const struct disk_job *record = disk_find(job->owner, &job->id);
                const struct disk_attempt *attempt;

                /* Each owner knows the attempts of its time. */
                if (!record || run_id_equal(&record->run, &run->run) || job->moved)
                        continue;
                attempt = disk_find_attempt(job->owner, &run->run);
                if (!attempt && run->node->gone)
                        continue; /* it burned down before it could say that this one had begun */
                if (!attempt)
                        sim_say(sim, "attempt %u of job %zu at %s is not kept", run->run.attempt,
                                job->number, run->node->config.node_id);
                ASSERT_NOT_NULL(attempt);
                ASSERT_STREQ(attempt->node, run->node->config.node_id);
                ASSERT_TRUE(attempt->result || run->lost);
                sim->result.n_given_up++;
                sim->result.n_late += attempt->result != NULL;
        }
}

void watch_settled(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes; i++)
                if (!sim->world.nodes[i]->gone) {
                        check_node(sim, sim->world.nodes[i]);
                        check_copies(sim, sim->world.nodes[i]);
                }
        for (size_t i = 0; i < sim->n_jobs; i++)
                check_job(sim, sim->jobs[i]);
        check_attempts(sim);
        world_check_indexes(&sim->world);
        fire_settled(sim);
        sim->result.n_jobs = sim->n_jobs;
}

void watch_begin(struct sim *sim) {
        sim->world.run_begins = on_run_begins;
        sim->world.run_ends = on_run_ends;
        sim->world.run_taken = on_run_taken;
        sim->world.stored = on_stored;
        sim->world.accepted = on_accepted;
        sim->world.finished = on_finished;
        sim->world.lost = on_lost;
}

void watch_done(struct sim *sim) {
        struct sim_batch *batch;
        struct sim_run *run;

        MAP_FOREACH(&sim->runs, run, struct sim_run, by_run) {
                map_remove(&sim->runs, &run->by_run);
                free(run);
        }
        for (size_t i = 0; i < sim->n_jobs; i++) {
                map_remove(&sim->jobs_by_id, &sim->jobs[i]->by_id);
                free(sim->jobs[i]);
        }
        free(sim->jobs);
        LIST_FOREACH(&sim->batches, batch, struct sim_batch, link)
                free(batch);
}
