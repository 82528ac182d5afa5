/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ends of attempts that had been given up. They change nothing, but are kept with their jobs, those that
 * have ended, too. Who had the attempt may forget it when the disk has its end. */

#include "mesh/internal.h"

static void retire(struct mesh *mesh, const struct node_name *node, const struct run_id *run) {
        struct place *place = place_find(mesh, node->text);

        if (place)
                place_send_run(mesh, place, run, WORD_RETIRE);
}

/* What cannot be written for want of memory is told again with the next link. */
void late_write(
        struct mesh *mesh, struct node_name *node, struct job_spec *spec, struct job_result *result) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;

        if (result->started_at == 0) {
                retire(mesh, node, &result->run);
                return;
        }
        if (record_batch_new(1, &batch) < 0 || !(record = record_batch_add(batch, RECORD_ATTEMPT)))
                return;
        record->fate = ATTEMPT_LATE;
        record->run = result->run;
        record->spec = spec ? job_spec_ref(spec) : NULL;
        record->node = node_name_ref(node);
        record->result = job_result_ref(result);
        record->started_at = result->started_at;
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        mesh->n_late++;
        mesh_write(mesh, TAKE_PTR(batch));
}

/* An end that no run of ours waits for. */
void late_ended(struct mesh *mesh, struct place *place, const struct link_ended *ended) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct mesh_job *job = job_find(mesh, &ended->run.job);
        bool over = !job || job_attempt_is_over(job, &ended->run);

        if (!over && (!job->lost || job->lost_result || !run_id_equal(&job->lost_run, &ended->run)))
                return;
        if (over && mesh->n_late >= LATE_MAX) {
                place->late_left_out = mesh->late_left_out = true;
                return;
        }
        if (job_result_from_end(ended, &result) < 0)
                return;
        if (over) {
                late_write(mesh, place->name, job ? job->spec : NULL, result);
                return;
        }
        /* The disk does not say yet that it is over: written when it does. */
        job->lost_result = TAKE_PTR(result);
        job->lost_is_late = true;
}

/* What was left out is told again over the next link. */
static void ask_again(struct mesh *mesh) {
        struct place *place;

        mesh->late_left_out = false;
        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                if (place->late_left_out && place->link_up)
                        mesh->ops.link_close(mesh->userdata, place->name->text);
                place->late_left_out = false;
        }
}

bool batch_is_late_end(const struct record_batch *batch) {
        return batch->n_records == 1 && batch->records[0].type == RECORD_ATTEMPT &&
               batch->records[0].fate == ATTEMPT_LATE;
}

/* One that no row can hold is of no job of ours. */
static bool is_worth_another_try(int error) {
        return error < 0 && error != -EINVAL && error != -EFBIG && error != -EEXIST;
}

void late_written(struct mesh *mesh, struct record_batch *batch, int error) {
        const struct record *record = &batch->records[0];

        if (is_worth_another_try(error)) {
                list_append(&mesh->late_unsaved, &batch->link);
                return;
        }
        assert(mesh->n_late > 0);
        mesh->n_late--;
        retire(mesh, record->node, &record->run);
        record_batch_free(batch);
        if (mesh->n_late == 0 && mesh->late_left_out)
                ask_again(mesh);
}

void late_retry_unsaved(struct mesh *mesh) {
        struct record_batch *batch;
        struct list unsaved;

        list_move(&mesh->late_unsaved, &unsaved);
        while ((batch = LIST_FIRST(&unsaved, struct record_batch, link))) {
                list_remove(&batch->link);
                mesh_write(mesh, batch);
        }
}

void late_free(struct mesh *mesh) {
        struct record_batch *batch;

        LIST_FOREACH(&mesh->late_unsaved, batch, struct record_batch, link) {
                list_remove(&batch->link);
                record_batch_free(batch);
        }
}
