/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Copies of other nodes' unfinished jobs, for which this node is the keeper: on the disk before it says so.
 * What has ended is history on the disk and nothing here; what its owner does not name again under a later
 * term is not its job any more. */

#include "mesh/copies.h"

#include <inttypes.h>
#include <stdio.h>
#include <syslog.h>

#include "mesh/job-link.h"
#include "util/message-ids.h"

struct copy *copy_find(const struct mesh *mesh, const struct uuid *job) {
        return MAP_GET(&mesh->copies, job, sizeof(*job), struct copy, by_job);
}

void copy_free(struct mesh *mesh, struct copy *copy) {
        map_remove(&mesh->copies, &copy->by_job);
        list_remove(&copy->link);
        node_name_unref(copy->executor);
        job_spec_unref(copy->spec);
        free(copy);
}

static int copies_get(struct place *owner, struct copies **ret) {
        struct copies *copies = owner->copies;

        if (!copies) {
                copies = calloc(1, sizeof(*copies));
                if (!copies)
                        return -ENOMEM;
                copies->claim_due = USEC_INFINITY;
                copies->owner = owner;
                list_init(&copies->list);
                list_init(&copies->answers);
                owner->copies = copies;
        }
        *ret = copies;
        return 0;
}

void copies_free(struct mesh *mesh, struct copies *copies) {
        struct place *owner = copies->owner;
        struct copy *copy;

        LIST_FOREACH(&copies->list, copy, struct copy, link)
                copy_free(mesh, copy);
        claim_answers_drop(copies);
        free(copies);
        owner->copies = NULL;
}

void copies_of_place_free(struct mesh *mesh, struct place *place) {
        if (place->copies)
                copies_free(mesh, place->copies);
}

static int copy_new(struct mesh *mesh, struct copies *copies, struct job_spec *spec, struct copy **ret) {
        struct copy *copy = calloc(1, sizeof(*copy));
        int r;

        if (!copy)
                return -ENOMEM;
        copy->spec = job_spec_ref(spec);
        copy->copies = copies;
        r = map_add(&mesh->copies, &copy->by_job, &copy->spec->id, sizeof(copy->spec->id));
        if (r < 0) {
                job_spec_unref(copy->spec);
                free(copy);
                return r;
        }
        list_append(&copies->list, &copy->link);
        *ret = copy;
        return 0;
}

struct record *
copy_record(struct copies *copies, struct record_batch *batch, enum record_type type, struct copy *copy) {
        struct record *record = record_batch_add(batch, type);

        if (!record)
                return NULL;
        record->owner = node_name_ref(copies->owner->name);
        record->term = copies->term;
        if (!copy)
                return record;
        record->spec = job_spec_ref(copy->spec);
        record->run = copy->run;
        record->epoch = copy->epoch;
        record->node = copy->executor ? node_name_ref(copy->executor) : NULL;
        record->cancel_requested = copy->cancel_requested;
        record->retries_used = copy->retries_used;
        return record;
}

static void say_kept(struct mesh *mesh, struct place *owner, uint64_t term, uint64_t number, bool refused) {
        const struct link_message message = {
                .kept = { .term = term, .number = number, .refused = refused },
        };

        place_send_or_close(mesh, owner, &message);
}

/* node_id: NULL: its owner, or nobody. */
static int set_executor(struct copy *copy, const char *node_id) {
        struct node_name *executor = NULL;
        int r;

        if (node_id) {
                r = node_name_new(node_id, &executor);
                if (r < 0)
                        return r;
        }
        node_name_unref(copy->executor);
        copy->executor = executor;
        return 0;
}

/* The state of one job under the present term. */
static int take_state(
        struct mesh *mesh, struct copies *copies, const struct link_copy *state,
        struct record_batch *batch) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        struct copy *copy = copy_find(mesh, &state->run.job);
        int r;

        /* Of two that say that it is theirs the later one is believed. */
        if (copy && copy->copies != copies) {
                if (copy->epoch > state->epoch)
                        return 0;
                copy_free(mesh, copy);
                copy = NULL;
        }
        if (!copy) {
                if (!state->job)
                        return -ENOENT;
                if (map_size(&mesh->copies) >= COPIES_MAX)
                        return -ENOSPC;
                r = job_spec_from_link(&state->job->job, &spec);
                if (r < 0)
                        return r;
                r = copy_new(mesh, copies, spec, &copy);
                if (r < 0)
                        return r;
        }
        r = set_executor(copy, state->node_id);
        if (r < 0)
                return r;
        copy->run = state->run;
        copy->epoch = state->epoch;
        copy->term = copies->term;
        copy->cancel_requested = state->cancel_requested;
        copy->retries_used = state->retries_used;
        return copy_record(copies, batch, RECORD_COPY, copy) ? 0 : -ENOMEM;
}

/* It is over, and nobody takes it over; the end of a job that is known here is kept as history. */
static int take_end(
        struct mesh *mesh, struct copies *copies, const struct link_copy *state,
        struct record_batch *batch) {
        _cleanup_(job_result_unref_p) struct job_result *result = NULL;
        struct copy *copy = copy_find(mesh, &state->run.job);
        struct record *record;

        if (copy && copy->copies != copies && copy->epoch > state->epoch)
                return 0;
        if (!copy && state->job && !state->gone) {
                int r = take_state(mesh, copies, state, batch);

                if (r < 0)
                        return r;
                copy = copy_find(mesh, &state->run.job);
        }
        if (copy && set_executor(copy, state->node_id) < 0)
                return -ENOMEM;
        record = copy_record(
                copies, batch, copy && !state->gone ? RECORD_COPY_ENDED : RECORD_COPY_GONE, copy);
        if (!record)
                return -ENOMEM;
        record->run = state->run;
        record->status = state->status;
        record->number = copies->instance;
        if (state->ended && record->type == RECORD_COPY_ENDED) {
                struct link_ended bare = *state->ended;

                /* What came with it is kept of long outputs; their rest is where the owner is. */
                bare.stdout_output.truncated |= bare.stdout_output.size > bare.stdout_output.data_size;
                bare.stdout_output.size = bare.stdout_output.data_size;
                bare.stderr_output.truncated |= bare.stderr_output.size > bare.stderr_output.data_size;
                bare.stderr_output.size = bare.stderr_output.data_size;
                if (job_result_from_link(&bare, LINK_OUTPUT_INLINE_MAX, &result) >= 0)
                        record->result = TAKE_PTR(result);
        }
        if (copy)
                copy_free(mesh, copy);
        return 0;
}

/* All that there is was told under this term: the rest is of earlier ones. */
static int sweep(struct mesh *mesh, struct copies *copies, struct record_batch *batch) {
        struct record *record;
        struct copy *copy;

        LIST_FOREACH(&copies->list, copy, struct copy, link)
                if (copy->term < copies->term)
                        copy_free(mesh, copy);
        record = copy_record(copies, batch, RECORD_COPIES_SWEPT, NULL);
        if (!record)
                return -ENOMEM;
        record->number = copies->instance;
        return 0;
}

static int take_copy(
        struct mesh *mesh, struct copies *copies, const struct link_copy *state,
        struct record_batch *batch) {
        struct record *record;
        int r = 0;

        if (state->has_run && (state->gone || state->status != JOB_UNKNOWN))
                r = take_end(mesh, copies, state, batch);
        else if (state->has_run)
                r = take_state(mesh, copies, state, batch);
        if (r >= 0 && state->complete)
                r = sweep(mesh, copies, batch);
        if (r < 0)
                return r;
        record = copy_record(copies, batch, RECORD_COPIES_KEPT, NULL);
        if (!record)
                return -ENOMEM;
        record->number = state->number;
        return 0;
}

/* An owner begins each life with a higher term than it ever had, unless its disk is not what it was: then it
 * does not know of these jobs. */
static bool has_forgotten(const struct copies *copies, uint64_t term) {
        bool new_life = copies->instance != 0 && copies->instance != copies->owner->instance;

        return term < copies->term || (term == copies->term && new_life);
}

/* Nobody else will take them over as long as it is there. Nothing of them runs: it ends what it does not
 * know. */
static bool take_forgotten(struct mesh *mesh, struct copies *copies) {
        if (!takeover_begin(mesh, copies, /* owner_is_lost= */ false))
                return false;
        copies->term = 0;
        return true;
}

static void take(struct mesh *mesh, struct place *owner, const struct link_copy *state) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct copies *copies;

        if (mesh->store_failing || mesh->rival.elder || copies_get(owner, &copies) < 0 ||
            record_batch_new(2, &batch) < 0) {
                say_kept(mesh, owner, state->term, state->number, /* refused= */ true);
                return;
        }
        if (has_forgotten(copies, state->term) && !take_forgotten(mesh, copies)) {
                say_kept(mesh, owner, state->term, state->number, /* refused= */ true);
                return;
        }
        copies->instance = owner->instance;
        copies->from_disk = false;
        copies->partial = copies->partial || state->term > copies->term;
        copies->term = state->term;
        if (take_copy(mesh, copies, state, batch) < 0) {
                say_kept(mesh, owner, state->term, state->number, /* refused= */ true);
                return;
        }
        batch->urgent = true;
        mesh_write(mesh, TAKE_PTR(batch));
}

static void forget(struct mesh *mesh, struct place *owner, uint64_t term) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        const struct link_message none = { .copies_forgotten = term };
        struct record *record;
        struct copy *copy;

        if (!owner->copies) {
                (void) place_send(mesh, owner, &none);
                return;
        }
        if (owner->copies->term > term || record_batch_new(1, &batch) < 0 ||
            !(record = copy_record(owner->copies, batch, RECORD_COPIES_FORGOTTEN, NULL)))
                return;
        record->term = term;
        record->asked = true;
        LIST_FOREACH(&owner->copies->list, copy, struct copy, link)
                copy_free(mesh, copy);
        mesh_write(mesh, TAKE_PTR(batch));
}

void copies_take(struct mesh *mesh, struct place *owner, const struct link_message *message) {
        if (message->copy.term > 0)
                take(mesh, owner, &message->copy);
        if (message->forget_copies > 0)
                forget(mesh, owner, message->forget_copies);
}

static void say_taken_over(struct mesh *mesh, const struct record *record) {
        char text[192];

        (void) snprintf(
                text, sizeof(text),
                "node %s is gone; this node, its keeper, took over %" PRIu64 " unfinished job%s",
                record->owner->text, record->number, record->number == 1 ? "" : "s");
        mesh->ops.notice(mesh->userdata, LOG_WARNING, MESSAGE_JOBS_TAKEN_OVER, text);
}

/* Where the owner was lost they may have to speak against a keeper that it had before; where it is there,
 * and did not ask, it has begun anew, and there may be others by now. */
static bool are_of_no_use(const struct copies *copies, const struct record *record) {
        if (!list_is_empty(&copies->list))
                return false;
        return record->asked ? copies->term <= record->term
                             : copies->term == record->term && !record->taken_over;
}

static void claim_again(struct mesh *mesh, struct copies *copies) {
        copies->claim_due = usec_add(mesh_now(mesh), USEC_PER_SEC);
        mesh->claims_due = MIN(mesh->claims_due, copies->claim_due);
}

void copies_written(struct mesh *mesh, const struct record *record, int error) {
        struct place *owner = place_find(mesh, record->owner->text);

        if (error >= 0 && record->type == RECORD_COPIES_FORGOTTEN && record->number > 0)
                say_taken_over(mesh, record);
        if (error >= 0 && record->type == RECORD_COPY_ENDED)
                index_copy_ended(mesh, record);
        if (!owner)
                return;
        if (error >= 0 && record->type == RECORD_COPIES_SWEPT && owner->copies &&
            owner->copies->term == record->term)
                owner->copies->partial = false;
        /* Those that come after it would be told as if all before them were here. */
        if (record->type == RECORD_COPIES_KEPT)
                say_kept(mesh, owner, record->term, record->number, /* refused= */ error < 0);
        else if (error < 0 && record->type == RECORD_COPIES_FORGOTTEN && owner->copies && !owner->alive)
                claim_again(mesh, owner->copies); /* or a restart would bring them back */
        else if (error >= 0 && record->type == RECORD_COPIES_FORGOTTEN) {
                const struct link_message message = { .copies_forgotten = record->term };

                /* Only as an answer: copies of the same term may be on their way from an owner that does not
                 * know that it was believed to be lost. */
                if (record->asked)
                        (void) place_send(mesh, owner, &message);
                if (owner->copies && are_of_no_use(owner->copies, record)) {
                        copies_free(mesh, owner->copies);
                        place_check(mesh, owner);
                }
        }
}

int copy_restore(
        struct mesh *mesh, struct place *owner, struct job_spec *spec, const struct run_id *run,
        uint64_t epoch, uint32_t retries_used, bool cancel_requested) {
        struct copies *copies;
        struct copy *copy;
        int r;

        r = copies_get(owner, &copies);
        if (r >= 0)
                r = copy_new(mesh, copies, spec, &copy);
        if (r < 0)
                return r;
        copy->run = *run;
        copy->epoch = epoch;
        copy->term = copies->term;
        copy->cancel_requested = cancel_requested;
        copy->retries_used = retries_used;
        claim_again(mesh, copies);
        return 0;
}

bool copies_discard(struct mesh *mesh, struct copies *copies) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct copy *copy;

        if (record_batch_new(1, &batch) < 0 || !copy_record(copies, batch, RECORD_COPIES_FORGOTTEN, NULL))
                return false;
        index_speak_for(mesh, copies->owner->name->text);
        LIST_FOREACH(&copies->list, copy, struct copy, link)
                copy_free(mesh, copy);
        mesh_write(mesh, TAKE_PTR(batch));
        return true;
}

int mesh_restore_copy(
        struct mesh *mesh, struct job_spec *spec, const struct run_id *run, uint64_t epoch, uint64_t term,
        const char *owner_node_id, const char *executor_node_id, uint32_t retries_used,
        bool cancel_requested) {
        struct copies *copies;
        struct place *owner;
        struct copy *copy;
        int r;

        assert(!mesh->working);
        r = place_get(mesh, owner_node_id, &owner);
        if (r >= 0)
                r = copies_get(owner, &copies);
        if (r >= 0)
                r = copy_new(mesh, copies, spec, &copy);
        if (r < 0)
                return r;
        copy->run = *run;
        copy->epoch = epoch;
        copy->term = term;
        copy->cancel_requested = cancel_requested;
        copy->retries_used = retries_used;
        copies->term = MAX(copies->term, term);
        copies->partial = true;
        return executor_node_id ? node_name_new(executor_node_id, &copy->executor) : 0;
}

int mesh_restore_swept(
        struct mesh *mesh, const char *owner_node_id, uint64_t term, uint64_t owner_instance) {
        struct copies *copies;
        struct place *owner;
        int r;

        assert(!mesh->working);
        r = place_get(mesh, owner_node_id, &owner);
        if (r >= 0)
                r = copies_get(owner, &copies);
        if (r < 0)
                return r;
        /* The next term had begun; or the owner counted anew, without its disk. */
        if (!list_is_empty(&copies->list) && copies->term != term)
                return 0;
        copies->from_disk = true;
        copies->term = term;
        copies->instance = owner_instance;
        copies->partial = false;
        return 0;
}
