/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The executor of a node: starts runs in the order in which they come, as many at once as it has slots, and
 * tells of their starts and ends over a connection that may be lost with all that is on its way. */

#include "lib/mesh-world.h"

#define TELL_USEC (USEC_PER_MSEC / 10)
#define KILL_USEC USEC_PER_MSEC

/* On its way to the daemon. result is NULL for a start. */
struct tell {
        struct list_link link;
        usec_t due;
        struct run_id run;
        usec_t started_at;
        struct job_result *result;
};

static struct world_run *find_run(const struct world_node *node, const struct run_id *id) {
        struct world_run *run;

        LIST_FOREACH((struct list *) &node->executor.runs, run, struct world_run, link)
                if (run_id_equal(&run->run, id))
                        return run;
        return NULL;
}

static void run_free(struct world_run *run) {
        list_remove(&run->link);
        job_spec_unref(run->spec);
        job_result_unref(run->result);
        free(run);
}

static void forget_tells(struct world_node *node) {
        struct tell *tell;

        LIST_FOREACH(&node->executor.tells, tell, struct tell, link) {
                list_remove(&tell->link);
                job_result_unref(tell->result);
                free(tell);
        }
}

static void forget_runs(struct world_node *node) {
        struct world_run *run;

        LIST_FOREACH(&node->executor.runs, run, struct world_run, link) {
                if (run->state == WORLD_RUN_RUNNING && node->world->run_ends)
                        node->world->run_ends(node, &run->run);
                run_free(run);
        }
        node->executor.n_running = 0;
}

void executor_init(struct world_node *node, unsigned slots) {
        list_init(&node->executor.runs);
        list_init(&node->executor.tells);
        node->executor.slots = slots;
        node->executor.speed = 100;
        world_random(node->world, &node->executor.instance, sizeof(node->executor.instance));
}

void executor_done(struct world_node *node) {
        forget_tells(node);
        forget_runs(node);
}

static void tell_daemon(struct world_node *node, const struct world_run *run) {
        struct tell *tell = calloc(1, sizeof(*tell));

        ASSERT_NOT_NULL(tell);
        tell->due = node->world->now + TELL_USEC;
        tell->run = run->run;
        tell->started_at = run->started_at;
        tell->result = run->state == WORLD_RUN_ENDED ? job_result_ref(run->result) : NULL;
        if (node->executor.connected) {
                list_append(&node->executor.tells, &tell->link);
                world_wake(node, tell->due);
        } else {
                job_result_unref(tell->result);
                free(tell);
        }
}

static bool job_is_running(const struct world_node *node, const struct uuid *id) {
        struct world_run *run;

        LIST_FOREACH((struct list *) &node->executor.runs, run, struct world_run, link)
                if (run->state == WORLD_RUN_RUNNING && uuid_equal(&run->run.job, id))
                        return true;
        return false;
}

static void start_run(struct world_node *node, struct world_run *run) {
        struct world_executor *executor = &node->executor;
        unsigned milliseconds;

        ASSERT_FALSE(job_is_running(node, &run->run.job));
        run->state = WORLD_RUN_RUNNING;
        run->started_at = world_realtime(node->world);
        run->ends_at =
                sscanf(run->spec->command, "%u", &milliseconds) == 1
                        ? usec_add(node->world->now, milliseconds * USEC_PER_MSEC * 100 / executor->speed)
                        : USEC_INFINITY;
        executor->n_running++;
        executor->n_running_max = MAX(executor->n_running_max, executor->n_running);
        world_wake(node, run->ends_at);
        if (node->world->run_begins)
                node->world->run_begins(node, &run->run);
        else {
                ASSERT_LT(executor->n_starts, WORLD_SEEN_MAX);
                executor->starts[executor->n_starts++] = run->run.job;
        }
        tell_daemon(node, run);
}

static void fill_slots(struct world_node *node) {
        struct world_run *run;

        LIST_FOREACH(&node->executor.runs, run, struct world_run, link)
                if (run->state == WORLD_RUN_WAITING && node->executor.n_running < node->executor.slots)
                        start_run(node, run);
}

static void end_run(struct world_node *node, struct world_run *run) {
        struct job_result *result;
        unsigned milliseconds;

        ASSERT_OK(job_result_new(&result));
        result->run = run->run;
        result->started_at = run->started_at;
        result->finished_at = world_realtime(node->world);
        result->duration_usec = run->started_at > 0 ? result->finished_at - run->started_at : 0;
        result->outcome = run->killed ? RUN_KILLED : RUN_EXITED;
        if (!run->killed)
                (void) sscanf(run->spec->command, "%u %d", &milliseconds, &result->exit_code);

        if (run->state == WORLD_RUN_RUNNING) {
                node->executor.n_running--;
                if (node->world->run_ends)
                        node->world->run_ends(node, &run->run);
        }
        run->state = WORLD_RUN_ENDED;
        run->ends_at = USEC_INFINITY;
        run->result = result;
        tell_daemon(node, run);
        fill_slots(node);
}

size_t executor_n_held(const struct world_node *node) {
        struct world_run *run;
        size_t n = 0;

        LIST_FOREACH((struct list *) &node->executor.runs, run, struct world_run, link)
                n += run->state != WORLD_RUN_ENDED;
        return n;
}

int executor_take(struct world_node *node, const struct run_id *id, const struct job_spec *spec) {
        struct world_run *run;

        if (!node->executor.connected)
                return -ENOTCONN;
        if (node->executor.loses_starts || find_run(node, id))
                return 0;

        run = calloc(1, sizeof(*run));
        ASSERT_NOT_NULL(run);
        run->run = *id;
        run->spec = job_spec_ref((struct job_spec *) spec);
        run->ends_at = USEC_INFINITY;
        list_append(&node->executor.runs, &run->link);
        node->executor.n_held_max = MAX(node->executor.n_held_max, executor_n_held(node));
        if (node->world->run_taken)
                node->world->run_taken(node, id);
        fill_slots(node);
        return 0;
}

void executor_kill(struct world_node *node, const struct run_id *id) {
        struct world_run *run = node->executor.connected ? find_run(node, id) : NULL;

        if (!run || run->state == WORLD_RUN_ENDED || run->killed)
                return;
        run->killed = true;
        run->ends_at = node->world->now + KILL_USEC;
        world_wake(node, run->ends_at);
        if (run->state == WORLD_RUN_WAITING)
                end_run(node, run);
}

void executor_withdraw(struct world_node *node, const struct run_id *id) {
        struct world_run *run = node->executor.connected ? find_run(node, id) : NULL;

        if (run && run->state == WORLD_RUN_WAITING)
                executor_kill(node, id);
}

void executor_release(struct world_node *node, const struct run_id *id) {
        struct world_run *run = node->executor.connected ? find_run(node, id) : NULL;

        if (!run)
                return;
        ASSERT_EQ(run->state, WORLD_RUN_ENDED);
        run_free(run);
}

usec_t executor_due(const struct world_node *node) {
        struct tell *tell = LIST_FIRST((struct list *) &node->executor.tells, struct tell, link);
        usec_t due = tell ? tell->due : USEC_INFINITY;
        struct world_run *run;

        LIST_FOREACH((struct list *) &node->executor.runs, run, struct world_run, link)
                due = MIN(due, run->ends_at);
        return due;
}

void executor_step(struct world_node *node) {
        struct tell *tell = LIST_FIRST(&node->executor.tells, struct tell, link);
        struct world_run *run;

        LIST_FOREACH(&node->executor.runs, run, struct world_run, link)
                if (run->ends_at <= node->world->now) {
                        end_run(node, run);
                        return;
                }
        if (!tell || tell->due > node->world->now)
                return;
        list_remove(&tell->link);
        if (tell->result)
                mesh_run_ended(node->mesh, tell->result);
        else
                mesh_run_started(node->mesh, &tell->run, tell->started_at);
        free(tell);
}

void executor_disconnect(struct world_node *node) {
        node->executor.connected = false;
        forget_tells(node);
        if (node->mesh)
                mesh_executor_lost(node->mesh);
}

void executor_connect(struct world_node *node) {
        _cleanup_free_ struct mesh_known_run *known = NULL;
        struct world_run *run;
        size_t n = 0;

        known = calloc(executor_n_runs(node) + 1, sizeof(*known));
        ASSERT_NOT_NULL(known);
        LIST_FOREACH(&node->executor.runs, run, struct world_run, link) {
                known[n++] = (struct mesh_known_run){
                        .run = run->run,
                        .started = run->started_at > 0,
                        .ended = run->state == WORLD_RUN_ENDED,
                        .started_at = run->started_at,
                };
        }
        node->executor.connected = true;
        node->executor.loses_starts = false;
        mesh_executor_synchronised(node->mesh, &node->executor.instance, known, n);
        LIST_FOREACH(&node->executor.runs, run, struct world_run, link)
                if (run->state == WORLD_RUN_ENDED)
                        tell_daemon(node, run);
        fill_slots(node); /* there may be more of them now */
}

void executor_crash(struct world_node *node) {
        executor_disconnect(node);
        forget_runs(node);
        world_random(node->world, &node->executor.instance, sizeof(node->executor.instance));
}

size_t executor_n_runs(const struct world_node *node) {
        struct world_run *run;
        size_t n = 0;

        LIST_FOREACH((struct list *) &node->executor.runs, run, struct world_run, link)
                n += run != NULL;
        return n;
}

const struct world_run *executor_find(const struct world_node *node, const struct uuid *job) {
        struct world_run *run, *last = NULL;

        LIST_FOREACH((struct list *) &node->executor.runs, run, struct world_run, link)
                if (uuid_equal(&run->run.job, job))
                        last = run;
        return last;
}
