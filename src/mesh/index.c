/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* This node's own jobs in the index, each change with a number, and what is asked of the index. How it
 * travels is index-links.c. */

#include "mesh/index-internal.h"
#include "util/array.h"

#define LOG_MIN 64u

int index_new(struct mesh *mesh) {
        size_t max = mesh->config.index_max > 0 ? mesh->config.index_max : MESH_INDEX_MAX_DEFAULT;
        struct index *index = calloc(1, sizeof(*index));
        uint64_t seed;
        int r;

        if (!index)
                return -ENOMEM;
        mesh->index = index;
        index->push_due = index->ask_due = USEC_INFINITY;
        mesh->ops.random(mesh->userdata, &seed, sizeof(seed));
        r = index_table_new(max, seed, &index->table);
        if (r >= 0)
                r = index_name_get(index->table, mesh->config.node_id, &index->self);
        return r;
}

void index_free(struct mesh *mesh) {
        struct index *index = mesh->index;

        if (!index)
                return;
        index_table_free(index->table);
        free(index->log);
        free(index);
        mesh->index = NULL;
}

/* Whether this is the last change of a job. */
bool index_change_is_current(const struct index *index, const struct index_change *change) {
        const struct index_entry *entry = index_table_at(index->table, change->entry);

        return entry->owner == index->self && entry->number == change->number;
}

/* Room for one more: what was superseded goes, and where that is little the log grows. */
static int log_make_room(struct index *index) {
        size_t n = 0;

        if (index->n_log < index->n_log_allocated)
                return 0;
        for (size_t i = 0; i < index->n_log; i++)
                if (index_change_is_current(index, &index->log[i]))
                        index->log[n++] = index->log[i];
        index->n_log = n;
        if (n < index->n_log_allocated / 2)
                return 0;
        return ARRAY_RESERVE(index->log, index->n_log_allocated + 1, index->n_log_allocated, LOG_MIN);
}

/* Gives the change its number. What cannot be noted for want of memory is missing from the list, and is not
 * worth more: the job itself is on the disk. */
int index_note(struct index *index, struct index_said *said) {
        uint32_t entry;
        int r;

        r = log_make_room(index);
        if (r < 0)
                return r;
        said->owner = index->self;
        said->number = index->head + 1;
        r = index_table_put(index->table, said, &entry);
        if (r <= 0)
                return r;
        index->head++;
        index->log[index->n_log++] = (struct index_change){ .number = index->head, .entry = entry };
        return 0;
}

/* The node that has it, or had it when it ended. A reference. */
static struct index_name *executor_of(struct mesh *mesh, const struct mesh_job *job) {
        struct index *index = mesh->index;
        struct index_name *name = NULL;

        if (job->place)
                (void) index_name_get(index->table, job->place->name->text, &name);
        else if (!uuid_is_null(&job->executor))
                (void) index_name_get(index->table, mesh->config.node_id, &name);
        return name;
}

static void note_job(struct mesh *mesh, const struct mesh_job *job, bool ended) {
        const struct job_result *result = ended ? job->result : NULL;
        struct index_said said = {
                .job = job->spec->id,
                .status = job->started_at > 0 ? JOB_RUNNING : JOB_PENDING,
                .exit_code = -1,
                .created_at = job->spec->created_at,
                .started_at = job->started_at,
                /* An end belongs to the run that brought it, which another owner may have begun. */
                .epoch = ended ? job->run.epoch : job->epoch,
                .executor = executor_of(mesh, job),
        };

        if (ended) {
                said.status = job->final_status;
                said.finished_at = result && result->finished_at > 0
                                           ? result->finished_at
                                           : mesh->ops.now_realtime(mesh->userdata);
        }
        if (result) {
                said.started_at = result->started_at > 0 ? result->started_at : job->started_at;
                said.exit_code = result->outcome == RUN_EXITED ? result->exit_code : -1;
        }
        (void) index_note(mesh->index, &said);
        index_name_put(mesh->index->table, said.executor);
        index_links_changed(mesh);
}

void index_own_changed(struct mesh *mesh, const struct mesh_job *job) {
        if (job->durable && job->announce_at == 0)
                note_job(mesh, job, /* ended= */ false);
}

void index_own_ended(struct mesh *mesh, const struct mesh_job *job) {
        note_job(mesh, job, /* ended= */ true);
}

/* Whether this node told an end of the job, and another owner told one that counts more. */
bool index_own_is_beaten(
        struct mesh *mesh, const struct uuid *job, enum job_status *ret_own, struct job_end *ret_best) {
        struct index *index = mesh->index;
        const struct index_entry *own = index_table_find(index->table, job, index->self);
        const struct index_entry *best;

        if (!own || own->kept || !own->rivals || !job_status_is_final((enum job_status) own->status))
                return false;
        *ret_own = (enum job_status) own->status;
        best = index_table_answer(index->table, job);
        if (!best || best->owner == index->self || best->status == *ret_own)
                return false;
        *ret_best = (struct job_end){
                .status = (enum job_status) best->status,
                .epoch = best->epoch,
                .owner_node_id = best->owner->text,
        };
        return true;
}

bool index_own_has_ended(const struct mesh *mesh, const struct uuid *job) {
        const struct index_entry *own = index_table_find(mesh->index->table, job, mesh->index->self);

        return own && !own->kept && job_status_is_final((enum job_status) own->status);
}

bool index_is_taken_over(struct mesh *mesh, const struct uuid *job, uint64_t epoch) {
        const struct index_entry *entry = index_table_answer(mesh->index->table, job);

        return entry && entry->owner != mesh->index->self && epoch_is_superseded(epoch, entry->epoch) &&
               peer_is_here(mesh, entry->owner->text);
}

void index_own_merged(struct mesh *mesh, const struct uuid *job, enum job_status status, uint64_t epoch) {
        struct index *index = mesh->index;
        const struct index_entry *own = index_table_find(index->table, job, index->self);
        struct index_said said;

        if (!own)
                return;
        said = (struct index_said){
                .job = own->job,
                .status = status,
                .exit_code = -1,
                .created_at = own->created_at,
                .started_at = own->started_at,
                .finished_at = own->finished_at,
                .epoch = epoch,
                .executor = own->executor,
        };
        (void) index_note(index, &said);
        index_links_changed(mesh);
}

uint64_t index_head(const struct mesh *mesh) {
        return mesh->index->head;
}

struct index_said index_said_of(const struct mesh_index_item *item) {
        return (struct index_said){
                .job = item->id,
                .status = item->status,
                .exit_code = item->has_exit_code ? item->exit_code : -1,
                .created_at = item->created_at,
                .started_at = item->started_at,
                .finished_at = item->finished_at,
                .epoch = item->epoch,
        };
}

static int restore_own(struct index *index, const struct mesh_index_item *item) {
        struct index_said said = index_said_of(item);
        int r = 0;

        if (index_table_find(index->table, &said.job, index->self))
                return 0;
        if (item->executor_node_id)
                r = index_name_get(index->table, item->executor_node_id, &said.executor);
        if (r >= 0)
                r = index_note(index, &said);
        index_name_put(index->table, said.executor);
        return r;
}

int mesh_index_restore(struct mesh *mesh, const struct mesh_index_item *items, size_t n) {
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++) {
                if (!job_status_is_final(items[i].status))
                        continue;
                r = items[i].owner_node_id ? index_restore_kept(mesh, &items[i])
                                           : restore_own(mesh->index, &items[i]);
        }
        index_links_changed(mesh);
        mesh_arm(mesh);
        return r;
}

void mesh_index_restored(struct mesh *mesh) {
        mesh->index->restored = true;
        index_links_changed(mesh);
        mesh_arm(mesh);
}

static struct mesh_index_item item_of(const struct index_entry *entry) {
        return (struct mesh_index_item){
                .id = entry->job,
                .owner_node_id = entry->owner->text,
                .executor_node_id = entry->executor ? entry->executor->text : NULL,
                .status = (enum job_status) entry->status,
                .has_exit_code = entry->exit_code >= 0,
                .exit_code = MAX(entry->exit_code, 0),
                .created_at = entry->created_at,
                .started_at = entry->started_at,
                .finished_at = entry->finished_at,
                .epoch = entry->epoch,
        };
}

/* Whoever told of it. */
bool index_knows_end(struct mesh *mesh, const struct uuid *job, struct mesh_index_item *ret) {
        const struct index_entry *entry = index_table_answer(mesh->index->table, job);

        if (!entry || !job_status_is_final((enum job_status) entry->status))
                return false;
        *ret = item_of(entry);
        return true;
}

int mesh_index_list(
        struct mesh *mesh, const struct index_query *query, struct mesh_index_item *items,
        uint64_t *ret_next) {
        _cleanup_free_ const struct index_entry **entries = calloc(MAX(query->limit, 1u), sizeof(*entries));
        size_t n;

        if (!entries)
                return -ENOMEM;
        n = index_table_list(mesh->index->table, query, entries, ret_next);
        for (size_t i = 0; i < n; i++)
                items[i] = item_of(entries[i]);
        return (int) n;
}

enum job_status mesh_index_status(struct mesh *mesh, const struct uuid *job) {
        const struct index_entry *entry = index_table_answer(mesh->index->table, job);

        return entry ? (enum job_status) entry->status : JOB_UNKNOWN;
}

bool mesh_index_find_owner(
        struct mesh *mesh, const struct uuid *job, char ret_node_id[static NODE_ID_MAX + 1]) {
        const struct index_entry *entry = index_table_answer(mesh->index->table, job);

        if (entry)
                memcpy(ret_node_id, entry->owner->text, strlen(entry->owner->text) + 1);
        return entry != NULL;
}
