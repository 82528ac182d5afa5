/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which nodes may be given jobs of ours, and who gets which. Room is what a node said that it would begin at
 * once, less what we gave since. The job that comes first among all that some node has room for is given
 * first; where several nodes have room for it, two are drawn, and the one with the lower load gets it
 * (Mitzenmacher, "The Power of Two Choices", 2001).
 *
 * Nothing here walks all nodes for each job: those that may be given jobs now are in mesh.ready, those that
 * need a link first in mesh.distant. Who changes what that follows from calls place_review(). */

#include "mesh/internal.h"
#include "util/array.h"

int places_reserve(struct mesh *mesh) {
        return ARRAY_RESERVE(mesh->ready, map_size(&mesh->places) + 1, mesh->n_ready_allocated, 1);
}

static void set_ready(struct mesh *mesh, struct place *place, bool ready) {
        if (ready == place->ready)
                return;
        place->ready = ready;
        if (ready) {
                place->ready_index = mesh->n_ready;
                mesh->ready[mesh->n_ready++] = place;
        } else {
                struct place *last = mesh->ready[--mesh->n_ready];

                mesh->ready[place->ready_index] = last;
                last->ready_index = place->ready_index;
        }
}

static void set_distant(struct mesh *mesh, struct place *place, bool distant) {
        if (!distant)
                list_remove(&place->distant_link);
        else if (!list_is_linked(&place->distant_link))
                list_append(&mesh->distant, &place->distant_link);
}

void place_review(struct mesh *mesh, struct place *place) {
        if (place->avoid_until > 0) {
                if (mesh_now(mesh) >= place->avoid_until)
                        place->avoid_until = 0;
                else
                        mesh->rooms_due = MIN(mesh->rooms_due, place->avoid_until);
        }
        bool room = place->alive && place->room > 0 && place->avoid_until == 0;

        set_ready(mesh, place, room && place->compared);
        set_distant(mesh, place, room && !place->compared);
}

void place_forget(struct mesh *mesh, struct place *place) {
        set_ready(mesh, place, false);
        set_distant(mesh, place, false);
}

/* Some may have been avoided for long enough. */
void places_review(struct mesh *mesh) {
        struct place *place;

        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->avoid_until > 0)
                        place_review(mesh, place);
        jobs_schedule(mesh);
}

bool places_have_room(const struct mesh *mesh) {
        return mesh->n_ready > 0 || !list_is_empty(&mesh->distant);
}

bool places_have_room_for(struct mesh *mesh, const struct queue_class *class) {
        struct place *place;

        if (class->target || class->here_only)
                return false;
        if (!class->spec)
                return places_have_room(mesh);
        for (size_t i = 0; i < mesh->n_ready; i++)
                if (place_fits(mesh, mesh->ready[i], class))
                        return true;
        LIST_FOREACH(&mesh->distant, place, struct place, distant_link)
                if (place_fits(mesh, place, class))
                        return true;
        return false;
}

/* More of its slots are free, or as many and its processors are waited for less. */
static bool is_better(const struct place *a, const struct place *b) {
        uint64_t free_a = (uint64_t) a->room * MAX(b->slots, 1u);
        uint64_t free_b = (uint64_t) b->room * MAX(a->slots, 1u);

        if (free_a != free_b)
                return free_a > free_b;
        return a->pressure.known && b->pressure.known && a->pressure.cpu < b->pressure.cpu;
}

/* Each of those that fit has the same chance to be either of the two (Vitter's reservoir). */
static void draw_fitting(struct mesh *mesh, const struct queue_class *class, struct place *drawn[static 2]) {
        uint64_t n = 0;

        for (size_t i = 0; i < mesh->n_ready; i++) {
                if (!place_fits(mesh, mesh->ready[i], class))
                        continue;
                n++;
                if (mesh_random_below(mesh, n) == 0)
                        drawn[0] = mesh->ready[i];
                if (mesh_random_below(mesh, n) == 0)
                        drawn[1] = mesh->ready[i];
        }
}

static void draw_any(struct mesh *mesh, struct place *drawn[static 2]) {
        size_t n = mesh->n_ready, first;

        if (n == 0)
                return;
        first = n > 1 ? mesh_random_below(mesh, n) : 0;
        drawn[0] = drawn[1] = mesh->ready[first];
        if (n > 1)
                drawn[1] = mesh->ready[(first + 1 + mesh_random_below(mesh, n - 1)) % n];
}

/* Who gets the next job of this class; NULL: nobody can now. */
static struct place *draw(struct mesh *mesh, const struct queue_class *class) {
        struct place *drawn[2] = { NULL, NULL };

        if (class->target)
                return class->target->ready && place_fits(mesh, class->target, class) ? class->target : NULL;
        if (class->spec)
                draw_fitting(mesh, class, drawn);
        else
                draw_any(mesh, drawn);
        if (!drawn[0] || !drawn[1])
                return drawn[0];
        return is_better(drawn[1], drawn[0]) ? drawn[1] : drawn[0];
}

static struct mesh_job *
first_of(const struct mesh *mesh, const struct list *classes, struct mesh_job *best) {
        struct queue_class *class;

        LIST_FOREACH((struct list *) classes, class, struct queue_class, link) {
                struct mesh_job *job = HEAP_FIRST(&class->jobs, struct mesh_job, queue_link);

                if (class->passed != mesh->pass && (!best || job_comes_first(job, best)))
                        best = job;
        }
        return best;
}

/* What comes first of all that somebody has room for. A class for which nobody has any is passed over for
 * the rest of this pass: room does not grow in it. */
static struct mesh_job *next_elsewhere(struct mesh *mesh, struct place **ret_place) {
        struct mesh_job *job;

        while (mesh->n_ready > 0) {
                job = first_of(mesh, &mesh->open_classes, NULL);
                job = first_of(mesh, &mesh->pinned_classes, job);
                if (!job)
                        return NULL;
                *ret_place = draw(mesh, job->class);
                if (*ret_place)
                        return job;
                job->class->passed = mesh->pass;
        }
        return NULL;
}

static void give_jobs(struct mesh *mesh) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct mesh_job *job;
        struct place *place;

        mesh->pass++;
        job = next_elsewhere(mesh, &place);
        if (!job || record_batch_new(1, &batch) < 0)
                return;
        batch->urgent = true;
        while (job && job_assign(mesh, job, place, batch) >= 0) {
                place->room--;
                place_review(mesh, place);
                job = next_elsewhere(mesh, &place);
        }
        mesh_write(mesh, TAKE_PTR(batch));
}

static bool is_waited_for(struct mesh *mesh, struct place *place) {
        struct queue_class *class;

        LIST_FOREACH(&mesh->open_classes, class, struct queue_class, link)
                if (place_fits(mesh, place, class))
                        return true;
        LIST_FOREACH(&mesh->pinned_classes, class, struct queue_class, link)
                if (class->target == place)
                        return true;
        return false;
}

/* Nothing is given to who cannot be reached: a link comes first, to each that may have room. */
static void reach_out(struct mesh *mesh) {
        struct place *place;

        LIST_FOREACH(&mesh->distant, place, struct place, distant_link)
                if (!place->link_up && !place->link_wanted && is_waited_for(mesh, place))
                        place_want_link(mesh, place);
}

/* What is left when this node has taken its share. */
void places_schedule(struct mesh *mesh) {
        if (!mesh->working || mesh->store_failing || mesh->rival.elder)
                return;
        if (list_is_empty(&mesh->open_classes) && list_is_empty(&mesh->pinned_classes))
                return;
        give_jobs(mesh);
        reach_out(mesh);
}
