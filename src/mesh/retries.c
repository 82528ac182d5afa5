/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that failed by themselves, and are tried again as often as they may: after a second, and after twice
 * as long each time, up to five minutes, a tenth more or less, so that what failed together does not come
 * back together. The next attempt does not begin before the disk has the count. How much of a wait has
 * passed is not on the disk: after a restart it begins anew. Jobs that were taken over may have to wait,
 * too. */

#include "mesh/internal.h"

#define RETRY_FIRST_USEC USEC_PER_SEC
#define RETRY_MAX_USEC (5 * USEC_PER_MINUTE)
#define RETRY_DOUBLINGS_MAX 9u                 /* beyond the longest wait */
#define RETRIES_STEP_USEC (20 * USEC_PER_MSEC) /* those that are due within it go together */

static bool is_due_before(const struct heap_link *a, const struct heap_link *b) {
        const struct mesh_job *x = CONTAINER_OF(a, struct mesh_job, delay_link);
        const struct mesh_job *y = CONTAINER_OF(b, struct mesh_job, delay_link);

        return x->retry_at != y->retry_at ? x->retry_at < y->retry_at : x->arrival < y->arrival;
}

bool job_may_be_retried(const struct mesh_job *job, const struct job_result *result) {
        bool failed = result->outcome == RUN_SIGNALLED || result->outcome == RUN_TIMED_OUT ||
                      result->outcome == RUN_NOT_STARTED ||
                      (result->outcome == RUN_EXITED && result->exit_code != 0);

        return failed && !job->cancel_requested && job->retries_used < job->spec->rules.retries;
}

static void set_due(struct mesh *mesh) {
        const struct mesh_job *first = HEAP_FIRST(&mesh->delayed, struct mesh_job, delay_link);

        mesh->delayed_due = first ? first->retry_at : USEC_INFINITY;
}

/* Both: it has entered DELAYED. */

void job_delay(struct mesh *mesh, struct mesh_job *job) {
        usec_t wait = RETRY_FIRST_USEC << MIN(job->retries_used - 1, RETRY_DOUBLINGS_MAX);

        wait = MIN(wait, RETRY_MAX_USEC);
        job_delay_for(mesh, job, wait - wait / 10 + mesh_random_below(mesh, wait / 5 + 1));
}

void job_delay_for(struct mesh *mesh, struct mesh_job *job, usec_t usec) {
        job->retry_at = usec_add(mesh_now(mesh), usec);
        heap_add(&mesh->delayed, &job->delay_link, is_due_before);
        set_due(mesh);
}

/* It leaves DELAYED. */
void job_undelay(struct mesh *mesh, struct mesh_job *job) {
        if (!heap_is_linked(&job->delay_link))
                return;
        heap_remove(&mesh->delayed, &job->delay_link, is_due_before);
        set_due(mesh);
}

/* Its wait is over, or the disk has what was on the way: when both are true it joins the queue. */
void job_try_again(struct mesh *mesh, struct mesh_job *job) {
        if (job->state != JOB_STATE_DELAYED || heap_is_linked(&job->delay_link) || job->lost)
                return;
        job->yielded_by = node_name_unref(job->yielded_by);
        job_enter(mesh, job, JOB_STATE_QUEUED);
        class_add(mesh, job);
}

void retries_begin(struct mesh *mesh) {
        usec_t until = usec_add(mesh_now(mesh), RETRIES_STEP_USEC);
        struct mesh_job *job;

        while ((job = HEAP_FIRST(&mesh->delayed, struct mesh_job, delay_link)) && job->retry_at <= until) {
                job_undelay(mesh, job);
                job_try_again(mesh, job);
        }
        set_due(mesh);
        jobs_schedule(mesh);
}
