/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Telling the watchers. One that is told may remove itself, and no other. */

#include "api/ops-internal.h"
#include "mesh/mesh.h"

void ops_watch(struct ops *ops, struct ops_watcher *watcher) {
        list_append(&ops->watchers, &watcher->link);
}

void ops_watcher_remove(struct ops_watcher *watcher) {
        list_remove(&watcher->link);
}

/* Calls one member of each watcher that has it. */
#define TELL(ops, member, ...)                                                                   \
        do {                                                                                     \
                struct ops_watcher *_watcher;                                                    \
                                                                                                 \
                LIST_FOREACH(&(ops)->watchers, _watcher, struct ops_watcher, link)               \
                        if (_watcher->member)                                                    \
                                _watcher->member(_watcher->userdata __VA_OPT__(, ) __VA_ARGS__); \
        } while (false)

void ops_tell_new(struct ops *ops, const struct job_spec *spec) {
        TELL(ops, job_new, spec);
}

void ops_tell_started(struct ops *ops, const struct uuid *id) {
        TELL(ops, job_started, id);
}

void ops_tell_finished(struct ops *ops, const struct uuid *id, enum job_status status) {
        TELL(ops, job_finished, id, status);
}

void ops_tell_moved(struct ops *ops, const struct uuid *id) {
        TELL(ops, job_moved, id);
}

void ops_tell_cancel(struct ops *ops, const struct uuid *id, const struct caller *caller) {
        TELL(ops, job_cancel, id, caller);
}

void ops_tell_refused(struct ops *ops, const struct caller *caller, const struct problem *why) {
        TELL(ops, submission_refused, caller, why);
}

void ops_status_changed(struct ops *ops) {
        TELL(ops, status_changed);
}

void ops_peer_changed(struct ops *ops, const struct mesh_peer *peer, bool gone) {
        TELL(ops, peer_changed, peer->info.node_id, gone);
}
