/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs of jobs that other nodes own. One is on our disk before its owner hears that we have it, and before
 * it starts; its end is on our disk before the owner hears of it, and is kept until the owner has it too.
 * After a restart, or while the link was away, a run that has not started waits for its owner to confirm it:
 * the owner may have given it to somebody else. */

#include <stdio.h>

#include "mesh/internal.h"
#include "mesh/job-link.h"

struct guest *guest_of_job(const struct mesh *mesh, const struct uuid *job) {
        return MAP_GET(&mesh->guests, job, sizeof(*job), struct guest, by_job);
}

struct guest *guest_of_run(struct mesh *mesh, const struct run_id *run) {
        struct guest *guest = guest_of_job(mesh, &run->job);

        return guest && run_id_equal(&guest->run, run) ? guest : NULL;
}

static bool takes_room(enum guest_state state) {
        return state == GUEST_ARRIVING || state == GUEST_WAITING || state == GUEST_SENT ||
               state == GUEST_RUNNING;
}

static void count_guest(struct mesh *mesh, enum guest_state state, int change) {
        if (takes_room(state))
                mesh->n_guests_in_hand += (size_t) change;
        if (state == GUEST_RUNNING)
                mesh->n_guests_running += (size_t) change;
}

void guest_enter(struct mesh *mesh, struct guest *guest, enum guest_state state) {
        count_guest(mesh, guest->state, -1);
        count_guest(mesh, state, +1);
        guest->state = state;
        list_remove(&guest->wait_link);
        if (state == GUEST_WAITING)
                list_append(&mesh->guests_waiting, &guest->wait_link);
}

static int guest_new(
        struct mesh *mesh, struct place *owner, struct job_spec *spec, const struct run_id *run,
        struct guest **ret) {
        struct guest *guest = calloc(1, sizeof(*guest));
        int r;

        if (!guest)
                return -ENOMEM;
        guest->owner = owner;
        guest->spec = job_spec_ref(spec);
        guest->run = *run;
        guest->owner_epoch = run->epoch;
        r = map_add(&mesh->guests, &guest->by_job, &guest->run.job, sizeof(guest->run.job));
        if (r < 0) {
                job_spec_unref(guest->spec);
                free(guest);
                return r;
        }
        mesh->n_guests++;
        count_guest(mesh, guest->state, +1);
        list_append(&owner->guests, &guest->place_link);
        *ret = guest;
        return 0;
}

static uint64_t output_size(const struct job_result *result) {
        return result ? result->stdout_output.size + result->stderr_output.size : 0;
}

static void guest_free(struct mesh *mesh, struct guest *guest) {
        struct place *owner = guest->owner;

        count_guest(mesh, guest->state, -1);
        mesh->n_guests--;
        mesh->guest_output -= output_size(guest->result);
        map_remove(&mesh->guests, &guest->by_job);
        list_remove(&guest->place_link);
        list_remove(&guest->wait_link);
        list_remove(&guest->retry_link);
        job_spec_unref(guest->spec);
        job_result_unref(guest->result);
        free(guest);
        place_check(mesh, owner);
}

void guests_free(struct mesh *mesh) {
        struct guest *guest;

        MAP_FOREACH(&mesh->guests, guest, struct guest, by_job)
                guest_free(mesh, guest);
}

struct record *guest_record(struct guest *guest, struct record_batch *batch, enum record_type type) {
        struct record *record = record_batch_add(batch, type);

        if (!record)
                return NULL;
        record->run = guest->run;
        record->spec = job_spec_ref(guest->spec);
        record->node = node_name_ref(guest->owner->name);
        record->executor = guest->executor;
        record->result = guest->result ? job_result_ref(guest->result) : NULL;
        return record;
}

int guest_write(struct mesh *mesh, struct guest *guest, enum record_type type, bool urgent) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;
        int r;

        r = record_batch_new(1, &batch);
        if (r < 0)
                return r;
        record = guest_record(guest, batch, type);
        if (!record)
                return -ENOMEM;
        record->at_usec = mesh->ops.now_realtime(mesh->userdata);
        batch->urgent = urgent;
        mesh_write(mesh, TAKE_PTR(batch));
        return 0;
}

static void
refuse(struct mesh *mesh, struct place *owner, const struct run_id *run, enum link_refusal_reason reason) {
        struct link_refusal refusal = { .run = *run, .reason = reason };
        const struct link_message message = { .n_refused = 1, .refused = &refusal };

        place_send_or_close(mesh, owner, &message);
}

/* Why nothing more is taken now; _LINK_REFUSAL_REASON_MAX: no reason. */
static enum link_refusal_reason reason_to_refuse(const struct mesh *mesh) {
        if (mesh->draining || mesh->rival.elder)
                return LINK_REFUSED_DRAINING;
        if (mesh->store_failing)
                return LINK_REFUSED_STORAGE;
        /* Owners that offer to the same node at once may give twice of what it has room for. */
        if (!mesh->executor_connected || mesh->n_guests >= GUESTS_MAX ||
            mesh->guest_output >= GUEST_OUTPUT_MAX ||
            mesh->n_in_hand + mesh->n_guests_in_hand >= 2 * hand_limit(mesh))
                return LINK_REFUSED_NO_SLOT;
        return _LINK_REFUSAL_REASON_MAX;
}

int run_id_compare(const struct run_id *a, const struct run_id *b) {
        if (a->epoch != b->epoch)
                return a->epoch < b->epoch ? -1 : 1;
        return a->attempt < b->attempt ? -1 : a->attempt > b->attempt;
}

/* What is here of it. One that is on its way to the disk is looked at again when it is there. */
static void end_run(struct mesh *mesh, struct guest *guest) {
        if (guest->state == GUEST_WAITING)
                guest_end_unstarted(mesh, guest);
        else if (guest->state == GUEST_SENT || guest->state == GUEST_RUNNING)
                mesh->ops.kill(mesh->userdata, &guest->run);
}

/* Another owner goes on with the job. The one before may not know that yet, and is not to take the end of
 * this run for that of the job. */
static void guest_displace(struct mesh *mesh, struct guest *guest) {
        guest->displaced = true;
        if (guest->state == GUEST_ARRIVING)
                guest->kill_wanted = true; /* it has not begun */
        else
                end_run(mesh, guest);
}

/* The job is here already: told again, or another attempt. True: nothing is to be done any more. */
static bool take_again(struct mesh *mesh, struct place *owner, const struct link_assignment *assignment) {
        struct guest *guest = guest_of_job(mesh, &assignment->run.job);
        int order;

        if (job_find(mesh, &assignment->run.job)) {
                refuse(mesh, owner, &assignment->run, LINK_REFUSED_STALE);
                return true;
        }
        if (!guest)
                return false;
        order = run_id_compare(&assignment->run, &guest->run);
        if (order == 0 && guest->owner == owner) {
                guest->confirmed = true;
                if (guest->state != GUEST_ARRIVING)
                        place_send_run(mesh, owner, &guest->run, WORD_TAKEN);
                return true;
        }
        if (order > 0 && guest->owner == owner)
                guest_kill(mesh, owner, &guest->run); /* it has given it up */
        else if (order > 0)
                guest_displace(mesh, guest);
        refuse(mesh, owner, &assignment->run, order > 0 ? LINK_REFUSED : LINK_REFUSED_STALE);
        return true;
}

static void
take(struct mesh *mesh, struct place *owner, const struct link_assignment *assignment,
     struct record_batch *batch) {
        _cleanup_(job_spec_unref_p) struct job_spec *spec = NULL;
        enum link_refusal_reason reason;
        struct guest *guest;

        if (take_again(mesh, owner, assignment))
                return;
        reason = reason_to_refuse(mesh);
        if (reason != _LINK_REFUSAL_REASON_MAX) {
                refuse(mesh, owner, &assignment->run, reason);
                return;
        }
        if (!uuid_equal(&assignment->job.id, &assignment->run.job) ||
            job_spec_from_link(&assignment->job, &spec) < 0) {
                refuse(mesh, owner, &assignment->run, LINK_REFUSED);
                return;
        }
        /* What the owner knows of our labels may be old. */
        if (!job_labels_match(mesh->config.labels, mesh->config.n_labels, spec->requires)) {
                refuse(mesh, owner, &assignment->run, LINK_REFUSED_LABELS);
                return;
        }
        if (guest_new(mesh, owner, spec, &assignment->run, &guest) < 0) {
                refuse(mesh, owner, &assignment->run, LINK_REFUSED);
                return;
        }
        guest->confirmed = true;
        guest->executor = mesh->executor;
        if (!guest_record(guest, batch, RECORD_GUEST_TAKEN)) {
                guest_free(mesh, guest);
                refuse(mesh, owner, &assignment->run, LINK_REFUSED_STORAGE);
        }
}

void guests_take(struct mesh *mesh, struct place *owner, const struct link_message *message) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;

        if (message->n_assignments == 0)
                return;
        /* It gave what we offered, and may be offered more. */
        owner->offered = false;
        if (record_batch_new(message->n_assignments, &batch) < 0) {
                mesh->ops.link_close(mesh->userdata, owner->name->text);
                return;
        }
        batch->urgent = true;
        for (size_t i = 0; i < message->n_assignments; i++)
                take(mesh, owner, &message->assignments[i], batch);
        mesh_write(mesh, TAKE_PTR(batch));
}

/* Before it ran: killed or handed back. */
void guest_end_unstarted(struct mesh *mesh, struct guest *guest) {
        struct job_result *result;

        if (job_result_new(&result) < 0)
                return; /* asked again */
        result->run = guest->run;
        result->outcome = RUN_KILLED;
        result->finished_at = mesh->ops.now_realtime(mesh->userdata);
        guest_end(mesh, guest, result);
}

static void taken_written(struct mesh *mesh, struct guest *guest, int error) {
        if (guest->state != GUEST_ARRIVING)
                return;
        if (error < 0 && !guest->durable) {
                refuse(mesh, guest->owner, &guest->run, LINK_REFUSED_STORAGE);
                guest_free(mesh, guest);
                return;
        }
        if (error < 0)
                guest->executor =
                        UUID_NULL; /* what the disk says is not known: written again before it starts */
        else
                guest->durable = true;
        guest_enter(mesh, guest, GUEST_WAITING);
        if (guest->kill_wanted) {
                guest_end_unstarted(mesh, guest);
                return;
        }
        place_send_run(mesh, guest->owner, &guest->run, WORD_TAKEN);
}

static void save(struct mesh *mesh, struct guest *guest) {
        bool ends = guest->state == GUEST_ENDING;

        list_remove(&guest->retry_link); /* it may have waited to say something else */
        if (guest_write(mesh, guest, ends ? RECORD_GUEST_ENDED : RECORD_GUEST_GONE, /* urgent= */ ends) <
            0) {
                list_append(&mesh->guests_unsaved, &guest->retry_link);
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
        }
}

static void save_failed(struct mesh *mesh, struct guest *guest) {
        if (!list_is_linked(&guest->retry_link))
                list_append(&mesh->guests_unsaved, &guest->retry_link);
}

void guest_go(struct mesh *mesh, struct guest *guest) {
        guest_enter(mesh, guest, GUEST_GOING);
        save(mesh, guest);
}

void guest_stay(struct mesh *mesh, struct guest *guest) {
        guest->adopting = guest->leaving = false;
        if (guest->state == GUEST_ENDING)
                save_failed(mesh, guest);
}

static void gone_written(struct mesh *mesh, struct guest *guest, int error) {
        if (error >= 0)
                guest_free(mesh, guest);
        else if (guest->state == GUEST_GOING)
                save_failed(mesh, guest); /* else it was to become a job of our own, and stays */
}

static void ended_written(struct mesh *mesh, struct guest *guest, int error) {
        if (guest->state != GUEST_ENDING)
                return;
        if (error < 0) {
                save_failed(mesh, guest);
                return;
        }
        guest_enter(mesh, guest, GUEST_ENDED);
        if (guest->in_executor)
                mesh->ops.release(mesh->userdata, &guest->run);
        guest->in_executor = false;
        if (guest->retire_wanted)
                guest_go(mesh, guest);
        else
                guest_tell_end(mesh, guest);
}

void guest_written(struct mesh *mesh, const struct record *record, int error) {
        struct guest *guest = guest_of_run(mesh, &record->run);

        if (!guest)
                return;
        if (record->type == RECORD_GUEST_TAKEN)
                taken_written(mesh, guest, error);
        else if (record->type == RECORD_GUEST_ENDED)
                ended_written(mesh, guest, error);
        else if (record->type == RECORD_GUEST_GONE)
                gone_written(mesh, guest, error);
}

/* Takes the reference. */
void guest_end(struct mesh *mesh, struct guest *guest, struct job_result *result) {
        guest_enter(mesh, guest, GUEST_ENDING);
        guest->result = result;
        mesh->guest_output += output_size(result);
        if (!guest->adopting) /* else the end is written with the job that it becomes */
                save(mesh, guest);
}

void guests_retry_unsaved(struct mesh *mesh) {
        struct list unsaved;
        struct guest *guest;

        list_move(&mesh->guests_unsaved, &unsaved);
        while ((guest = LIST_FIRST(&unsaved, struct guest, retry_link))) {
                list_remove(&guest->retry_link);
                save(mesh, guest);
        }
}

struct guest *guest_of_owner(struct mesh *mesh, struct place *owner, const struct run_id *run) {
        struct guest *guest = guest_of_run(mesh, run);

        return guest && guest->owner == owner ? guest : NULL;
}

void guest_kill(struct mesh *mesh, struct place *owner, const struct run_id *run) {
        struct guest *guest = guest_of_owner(mesh, owner, run);

        if (!guest)
                return;
        guest->kill_wanted = true;
        end_run(mesh, guest);
        if (guest->state == GUEST_ENDED) {
                /* The owner does not know, or did not take it when it was told. */
                guest->told = false;
                guest_tell_end(mesh, guest);
        }
}

void guest_retire(struct mesh *mesh, struct place *owner, const struct run_id *run) {
        struct guest *guest = guest_of_owner(mesh, owner, run);

        if (!guest)
                return;
        /* The owner has given it up: it ends, and nobody waits for that. */
        guest->retire_wanted = true;
        if (guest->state == GUEST_ENDED)
                guest_go(mesh, guest);
        else
                guest_kill(mesh, owner, run);
}

/* Kept output, for the owner. */
/* After a takeover. What has ended is told again, to the new owner. */
void guest_change_owner(struct mesh *mesh, struct place *owner, const struct link_takeover *takeover) {
        struct guest *guest = guest_of_run(mesh, &takeover->run);
        struct place *old;

        if (!guest || guest->adopting || guest_is_retired(guest) ||
            (guest->owner != owner && guest->owner_epoch >= takeover->epoch)) {
                refuse(mesh, owner, &takeover->run, LINK_REFUSED_STALE);
                return;
        }
        old = guest->owner;
        guest->owner_epoch = takeover->epoch;
        guest->confirmed = true;
        guest->told = false;
        if (old != owner) {
                mesh->held_version++;
                guest->owner = owner;
                list_remove(&guest->place_link);
                list_append(&owner->guests, &guest->place_link);
                /* Where the disk cannot take it the new owner claims it again after our restart. */
                (void) guest_write(mesh, guest, RECORD_GUEST_TAKEN, /* urgent= */ true);
                if (guest->result)
                        (void) guest_write(mesh, guest, RECORD_GUEST_ENDED, /* urgent= */ true);
                place_check(mesh, old);
        }
        guest_tell_held(mesh, guest);
        if (guest->state == GUEST_ENDED)
                guest_tell_end(mesh, guest);
        guests_start(mesh);
}

int mesh_restore_guest(
        struct mesh *mesh, struct job_spec *spec, const struct run_id *run, const char *owner_node_id,
        const struct uuid *executor, struct job_result *result) {
        struct place *owner;
        struct guest *guest;
        int r;

        assert(!mesh->working);
        r = place_get(mesh, owner_node_id, &owner);
        if (r < 0)
                return r;
        r = guest_new(mesh, owner, spec, run, &guest);
        if (r < 0)
                return r;
        /* It may have begun, for all that is known before the executor is asked. */
        guest->executor = *executor;
        guest->durable = true;
        guest_enter(mesh, guest, result ? GUEST_ENDED : GUEST_SENT);
        guest->result = result ? job_result_ref(result) : NULL;
        mesh->guest_output += output_size(result);
        return 0;
}
