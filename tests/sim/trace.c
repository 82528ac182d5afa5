/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is said of a history: for people, and as a number that tells two of them apart. */

#include <stdarg.h>

#include "sim.h"
#include "util/fnv.h"

void sim_say(struct sim *sim, const char *format, ...) {
        char text[512], line[600];
        va_list arguments;

        if (!sim->options.tracing && !sim->options.hashing)
                return;
        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        (void) snprintf(
                line, sizeof(line), "%10.4f %s\n",
                (double) (sim->world.now - sim->began_usec) / USEC_PER_SEC, text);
        if (sim->options.hashing)
                sim->result.hash =
                        fnv64(sim->result.hash ? sim->result.hash : FNV64_BEGIN, line, strlen(line));
        if (sim->options.tracing)
                (void) fputs(line, stdout);
}

static void show_node(struct sim *sim, struct world_node *node) {
        struct mesh_state state;
        char links[64] = "";

        if (!node->mesh) {
                sim_say(sim, "%s: %s", node->config.node_id, node->gone ? "gone" : "down");
                return;
        }
        state = world_state(node);
        for (size_t i = 0; i < sim->world.n_nodes && i < sizeof(links) - 1; i++)
                links[i] = links_are_up(node, sim->world.nodes[i]) ? '1' : '0';
        sim_say(sim,
                "%s: %s %s, slots %u, %u running, %u queued, %u peers, executor %d with %zu runs, "
                "%zu guests, links %s",
                node->config.node_id, node_status_to_text(state.status),
                state.status_reason ? state.status_reason : "", state.slots, state.running, state.queued,
                state.n_peers, state.executor_connected, executor_n_runs(node), map_size(&node->disk.guests),
                links);
}

/* Nobody owns it: what is left of it, and where. */
static void show_lost(struct sim *sim, const struct sim_job *job) {
        sim_say(sim, "job %zu %s of %s is lost, in spite of %u copies", job->number,
                uuid_to_text(&job->id, (char[40]){ 0 }), job->owner->config.node_id, job->copies);
        for (size_t i = 0; i < sim->world.n_nodes; i++) {
                struct world_node *node = sim->world.nodes[i];
                const struct disk_job *record = disk_find(node, &job->id);
                const struct disk_copy *copy =
                        MAP_GET(&node->disk.copies, &job->id, sizeof(job->id), struct disk_copy, by_id);

                if (record)
                        sim_say(sim, "… %s has it: %s%s", node->config.node_id,
                                job_status_to_text(record->status), record->moved ? ", another's now" : "");
                if (copy)
                        sim_say(sim, "… %s has a copy for %s, term %" PRIu64 "%s", node->config.node_id,
                                copy->owner, copy->term, copy->ended ? ", ended" : "");
        }
}

void sim_show(struct sim *sim) {
        for (size_t i = 0; i < sim->world.n_nodes; i++)
                show_node(sim, sim->world.nodes[i]);
        for (size_t i = 0; i < sim->n_jobs; i++) {
                const struct sim_job *job = sim->jobs[i];
                const struct disk_job *record = watch_record(sim, job);

                if (watch_is_lost(sim, job))
                        show_lost(sim, job);
                if (record && !job_status_is_final(record->status))
                        sim_say(sim, "job %zu %s of %s: %s, attempt %u at %s%s%s", job->number,
                                uuid_to_text(&job->id, (char[40]){ 0 }), job->owner->config.node_id,
                                job_status_to_text(record->status), record->run.attempt,
                                record->in_executor
                                        ? record->executor_node[0] ? record->executor_node : "its owner"
                                        : "no node",
                                record->spec->target_node_id ? ", only at " : "",
                                record->spec->target_node_id ? record->spec->target_node_id : "");
        }
}
