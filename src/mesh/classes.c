/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Classes of jobs. What waits is sorted by which nodes may run it: by its target, if it has one, and by the
 * labels that it asks for. So a job that nobody can run holds up only those that ask for the same. Whether a
 * node has what a class asks for is worked out when the class begins and when the node speaks, and is a bit
 * afterwards. Classes without labels are always there, and need no bit. What was accepted before and comes
 * back, after a restart, gets along without one when there are none left. */

#include "mesh/internal.h"

/* Higher priority first, then order of arrival. */
static bool job_is_before(const struct heap_link *a, const struct heap_link *b) {
        return job_comes_first(
                CONTAINER_OF(a, struct mesh_job, queue_link), CONTAINER_OF(b, struct mesh_job, queue_link));
}

void class_add(struct mesh *mesh, struct mesh_job *job) {
        struct queue_class *class = job->class;

        if (job->held_back || (job->announce_at > 0 && !job->begins_untold))
                return; /* with the others, by keeper_resume() */
        if (!class->jobs.root) {
                if (class->target)
                        list_append(&mesh->pinned_classes, &class->link);
                else
                        list_append(
                                class->here_only ? &mesh->own_classes : &mesh->open_classes, &class->link);
        }
        heap_add(&class->jobs, &job->queue_link, job_is_before);
        class->n_queued++;
}

void class_remove(struct mesh_job *job) {
        struct queue_class *class = job->class;

        if (!heap_is_linked(&job->queue_link))
                return;
        heap_remove(&class->jobs, &job->queue_link, job_is_before);
        class->n_queued--;
        if (!class->jobs.root)
                list_remove(&class->link);
}

static int compare_labels(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The same text for the same target and the same labels in any order: all of them, each with its NUL. */
static int make_key(const struct job_spec *spec, char **ret, size_t *ret_size) {
        const char *labels[REQUIRES_MAX];
        const char *target = spec->target_node_id ? spec->target_node_id : "";
        size_t n = 0, size = strlen(target) + 1;
        char *key, *end;

        for (; spec->requires[n]; n++) {
                if (n == REQUIRES_MAX)
                        return -E2BIG;
                labels[n] = spec->requires[n];
                size += strlen(labels[n]) + 1;
        }
        qsort(labels, n, sizeof(labels[0]), compare_labels);
        key = malloc(size);
        if (!key)
                return -ENOMEM;
        end = stpcpy(key, target) + 1;
        for (size_t i = 0; i < n; i++)
                if (i == 0 || !streq(labels[i], labels[i - 1]))
                        end = stpcpy(end, labels[i]) + 1;
        *ret = key;
        *ret_size = (size_t) (end - key);
        return 0;
}

static void take_number(struct mesh *mesh, struct queue_class *class) {
        class->number = 0;
        while (class->number < QUEUE_CLASSES_MAX && label_bit(&mesh->class_numbers, class->number))
                class->number++;
        if (class->number < QUEUE_CLASSES_MAX)
                label_bit_set(&mesh->class_numbers, class->number, true);
}

static bool node_matches(const struct node_info *info, const struct queue_class *class) {
        return job_labels_match(info->labels, info->n_labels, class->spec->requires);
}

/* What this place says of itself, against all classes. */
void place_match_classes(struct mesh *mesh, struct place *place, const struct node_info *info) {
        struct queue_class *class;

        if (mesh_now(mesh) >= place->misfits_until)
                place->misfits = (struct label_bits){ 0 };
        MAP_FOREACH(&mesh->classes, class, struct queue_class, by_key)
                if (class->number < QUEUE_CLASSES_MAX)
                        label_bit_set(
                                &place->fits, class->number,
                                node_matches(info, class) && !label_bit(&place->misfits, class->number));
}

/* It refused such a job for its labels: what we know of them is old. */
void place_does_not_fit(struct mesh *mesh, struct place *place, const struct queue_class *class) {
        place->misfits_until = usec_add(mesh_now(mesh), MISFIT_USEC);
        if (!class->spec || class->number >= QUEUE_CLASSES_MAX)
                place->avoid_until = place->misfits_until;
        else {
                label_bit_set(&place->misfits, class->number, true);
                label_bit_set(&place->fits, class->number, false);
        }
        place_review(mesh, place);
}

bool place_fits(struct mesh *mesh, const struct place *place, const struct queue_class *class) {
        const struct peer *peer;

        if (!class->spec)
                return true;
        if (class->number < QUEUE_CLASSES_MAX)
                return label_bit(&place->fits, class->number);
        peer = peer_find(mesh, place->name->text);
        return peer && node_matches(&peer->public.info, class);
}

static bool class_fits_here(const struct mesh *mesh, const struct queue_class *class) {
        return !class->target &&
               job_labels_match(mesh->config.labels, mesh->config.n_labels, class->spec->requires);
}

/* Our own labels are others now. */
void classes_match_here(struct mesh *mesh) {
        struct queue_class *class;
        struct mesh_job *job;

        MAP_FOREACH(&mesh->classes, class, struct queue_class, by_key)
                class->fits_here = class_fits_here(mesh, class);
        mesh->n_waiting_here = 0;
        MAP_FOREACH(&mesh->jobs, job, struct mesh_job, by_id)
                if (job->state == JOB_STATE_QUEUED && job->class->fits_here)
                        mesh->n_waiting_here++;
}

static void match_places(struct mesh *mesh, struct queue_class *class) {
        struct place *place;

        if (class->number >= QUEUE_CLASSES_MAX)
                return;
        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                const struct peer *peer = peer_find(mesh, place->name->text);

                label_bit_set(&place->misfits, class->number, false);
                label_bit_set(&place->fits, class->number, peer && node_matches(&peer->public.info, class));
        }
}

void class_init(struct queue_class *class, struct place *target, bool here_only) {
        *class = (struct queue_class){
                .target = target,
                .here_only = here_only,
                .fits_here = !target,
                .number = QUEUE_CLASSES_MAX,
        };
}

static int class_new(
        struct mesh *mesh, struct job_spec *spec, struct place *target, bool here_only, char *key,
        size_t key_size, struct queue_class **ret) {
        struct queue_class *class = malloc(sizeof(*class));
        int r;

        if (!class)
                return -ENOMEM;
        class_init(class, target, here_only);
        r = map_add(&mesh->classes, &class->by_key, key, key_size);
        if (r < 0) {
                free(class);
                return r;
        }
        class->key = key;
        class->spec = job_spec_ref(spec);
        class->fits_here = class_fits_here(mesh, class);
        take_number(mesh, class);
        match_places(mesh, class);
        *ret = class;
        return 0;
}

static int class_of_labels(
        struct mesh *mesh, struct job_spec *spec, struct place *target, bool here_only,
        struct queue_class **ret) {
        _cleanup_free_ char *key = NULL;
        size_t key_size;
        int r;

        r = make_key(spec, &key, &key_size);
        if (r < 0)
                return r;
        *ret = MAP_GET(&mesh->classes, key, key_size, struct queue_class, by_key);
        if (*ret)
                return 0;
        r = class_new(mesh, spec, target, here_only, key, key_size, ret);
        if (r >= 0)
                TAKE_PTR(key);
        return r;
}

bool class_is_admitted(const struct queue_class *class) {
        return !class->spec || class->number < QUEUE_CLASSES_MAX;
}

/* Joins the class for this job, whose target is known by now. */
int class_join(struct mesh *mesh, struct mesh_job *job) {
        /* It names a node, and that is no other one. */
        bool here_only = job->spec->target_node_id && !job->target;
        struct queue_class *class;
        int r;

        if (job->spec->requires[0]) {
                r = class_of_labels(mesh, job->spec, job->target, here_only, &class);
                if (r < 0)
                        return r;
        } else if (job->target)
                class = &job->target->pinned;
        else
                class = here_only ? &mesh->own_class : &mesh->open_class;
        class->n_jobs++;
        job->class = class;
        return 0;
}

void class_leave(struct mesh *mesh, struct mesh_job *job) {
        struct queue_class *class = job->class;

        if (!class)
                return;
        class_remove(job);
        job->class = NULL;
        if (--class->n_jobs > 0 || !class->spec)
                return;
        if (class->number < QUEUE_CLASSES_MAX)
                label_bit_set(&mesh->class_numbers, class->number, false);
        map_remove(&mesh->classes, &class->by_key);
        job_spec_unref(class->spec);
        free(class->key);
        free(class);
}
