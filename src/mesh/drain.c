/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Draining: nothing new begins, and what has not begun goes back. What somebody asked for may have a limit,
 * after which what runs is ended, to begin again elsewhere, and is remembered over restarts. */

#include <stdio.h>
#include <syslog.h>

#include "mesh/internal.h"
#include "util/message-ids.h"

#define NOTICE_MAX 256u

void mesh_drain(struct mesh *mesh, enum mesh_drain_reason reason) {
        bool was_draining = mesh->draining != 0;
        struct mesh_job *job;

        mesh->draining |= reason;
        if (was_draining)
                return;
        LIST_FOREACH(&mesh->in_hand, job, struct mesh_job, hand_link)
                if (job->state == JOB_STATE_SENT)
                        mesh->ops.withdraw(mesh->userdata, &job->run);
        guests_drain(mesh);
        if (mesh->working)
                heartbeat_send(mesh);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
}

void mesh_resume(struct mesh *mesh, enum mesh_drain_reason reason) {
        bool was_draining = mesh->draining != 0;

        mesh->draining &= ~(unsigned) reason;
        if (reason & MESH_DRAIN_ASKED)
                mesh->drain_due = USEC_INFINITY;
        if (!(mesh->draining & MESH_DRAIN_ASKED) || mesh->drain_due != USEC_INFINITY)
                mesh->hands_back = false;
        if (!was_draining || mesh->draining)
                return;
        if (mesh->working)
                heartbeat_send(mesh);
        mesh->ops.status_changed(mesh->userdata);
        jobs_schedule(mesh);
        mesh_arm(mesh);
}

/* "user 1000" */
static const char *who(uid_t uid, char buffer[static 32]) {
        if (uid == (uid_t) -1)
                return "somebody";
        (void) snprintf(buffer, 32, "user %u", (unsigned) uid);
        return buffer;
}

static int write_order(struct mesh *mesh) {
        _cleanup_(record_batch_free_p) struct record_batch *batch = NULL;
        struct record *record;
        int r;

        r = record_batch_new(1, &batch);
        if (r < 0)
                return r;
        record = record_batch_add(batch, mesh->drain.since > 0 ? RECORD_DRAIN : RECORD_RESUMED);
        if (!record)
                return -ENOMEM;
        record->at_usec = mesh->drain.since;
        record->until_usec = mesh->drain.until;
        record->uid = mesh->drain.uid;
        batch->urgent = true;
        mesh->drain.saved = mesh->drain_unsaved = false;
        mesh->n_drain_writes++;
        mesh_write(mesh, TAKE_PTR(batch));
        return 0;
}

void drain_written(struct mesh *mesh, const struct record *record, int error) {
        mesh->n_drain_writes--;
        if (mesh->n_drain_writes > 0)
                return; /* something else was asked for since */
        mesh->drain.saved = error >= 0 && mesh->drain.since > 0;
        mesh->drain_unsaved = error < 0;
        mesh->ops.drain_written(mesh->userdata, error);
}

void drain_retry(struct mesh *mesh) {
        if (mesh->drain_unsaved && write_order(mesh) < 0)
                mesh->retry_due = usec_add(mesh_now(mesh), SAVE_RETRY_USEC);
}

/* The time may have been over when this process began: then it is the executor that is asked what runs. */
void mesh_hand_back(struct mesh *mesh) {
        size_t n = mesh->n_running + mesh->n_guests_running;
        char text[NOTICE_MAX];
        struct mesh_job *job;

        mesh->hands_back = true;
        LIST_FOREACH(&mesh->in_hand, job, struct mesh_job, hand_link)
                if (job->state != JOB_STATE_ASSIGNING) {
                        job->handed_back = true;
                        mesh->ops.kill(mesh->userdata, &job->run);
                }
        guests_hand_back(mesh);
        if (n == 0)
                return;
        (void) snprintf(
                text, sizeof(text), "the time of the drain is over: %zu %s still, and %s to begin again", n,
                n == 1 ? "job runs" : "jobs run", n == 1 ? "is ended" : "are ended");
        mesh->ops.notice(mesh->userdata, LOG_WARNING, MESSAGE_DRAIN_TIME_OVER, text);
}

static void set_limit(struct mesh *mesh, usec_t limit_usec) {
        mesh->hands_back = false;
        mesh->drain_due = usec_add(mesh_now(mesh), limit_usec);
}

int mesh_drain_asked(struct mesh *mesh, uid_t uid, usec_t limit_usec) {
        usec_t now = mesh->ops.now_realtime(mesh->userdata);
        struct mesh_drain old = mesh->drain;
        char text[NOTICE_MAX], name[32], span[SPAN_TEXT_MAX];
        int r;

        mesh->drain = (struct mesh_drain){
                .since = old.since > 0 ? old.since : now,
                .until = usec_add(now, limit_usec),
                .uid = uid,
        };
        r = write_order(mesh);
        if (r < 0) {
                mesh->drain = old;
                return r;
        }
        set_limit(mesh, limit_usec);
        (void) snprintf(
                text, sizeof(text), "%s drains this node: nothing new begins, and what runs has %s%s",
                who(uid, name),
                limit_usec == USEC_INFINITY ? "all the time that it needs" : "to end within ",
                limit_usec == USEC_INFINITY ? "" : format_span(span, sizeof(span), limit_usec));
        mesh->ops.notice(mesh->userdata, LOG_NOTICE, MESSAGE_NODE_DRAINED, text);
        mesh_drain(mesh, MESH_DRAIN_ASKED);
        mesh->ops.status_changed(mesh->userdata);
        mesh_arm(mesh);
        return 0;
}

int mesh_resume_asked(struct mesh *mesh, uid_t uid) {
        struct mesh_drain old = mesh->drain;
        char text[NOTICE_MAX], name[32];
        int r;

        mesh->drain = (struct mesh_drain){};
        r = write_order(mesh);
        if (r < 0) {
                mesh->drain = old;
                return r;
        }
        if (old.since > 0) {
                (void) snprintf(
                        text, sizeof(text), "%s resumes this node, which was drained: it takes jobs again",
                        who(uid, name));
                mesh->ops.notice(mesh->userdata, LOG_NOTICE, MESSAGE_NODE_RESUMED, text);
        }
        mesh_resume(mesh, MESH_DRAIN_ASKED);
        return 0;
}

void mesh_restore_drain(struct mesh *mesh, const struct mesh_drain *drain) {
        usec_t now = mesh->ops.now_realtime(mesh->userdata);
        usec_t length = drain->until > drain->since ? drain->until - drain->since : 0;
        usec_t left = drain->until > now ? drain->until - now : 0;

        assert(!mesh->working);
        mesh->draining |= MESH_DRAIN_ASKED;
        mesh->drain = *drain;
        mesh->drain.saved = true;
        if (drain->until == USEC_INFINITY)
                return;
        /* A clock that was set back gives nobody more time. */
        set_limit(mesh, MIN(left, length));
        mesh->hands_back = left == 0;
}

void drain_start(struct mesh *mesh) {
        char text[NOTICE_MAX], name[32], since[TIME_TEXT_MAX];

        if (mesh->drain.since == 0)
                return;
        (void) snprintf(
                text, sizeof(text), "this node is still drained, as %s asked for, since %s",
                who(mesh->drain.uid, name), format_time(since, sizeof(since), mesh->drain.since, 0));
        mesh->ops.notice(mesh->userdata, LOG_NOTICE, MESSAGE_NODE_DRAINED, text);
}
