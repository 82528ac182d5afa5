/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The operations' common ground: who may, the calls under way, and what the node says of itself. */

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"

static int on_ready(sd_event_source *source, void *userdata);

static const char *const problem_texts[_PROBLEM_CODE_MAX] = {
        [PROBLEM_NONE] = "none",
        [PROBLEM_INVALID] = "invalid",
        [PROBLEM_FORBIDDEN] = "forbidden",
        [PROBLEM_NOT_FOUND] = "not_found",
        [PROBLEM_TARGET_UNKNOWN] = "target_unknown",
        [PROBLEM_KEY_REUSED] = "key_reused",
        [PROBLEM_QUEUE_FULL] = "queue_full",
        [PROBLEM_TOO_MANY_CALLS] = "too_many_calls",
        [PROBLEM_DRAINING] = "draining",
        [PROBLEM_STORAGE] = "storage",
        [PROBLEM_DUPLICATE_NODE] = "duplicate_node",
        [PROBLEM_EXECUTOR_AWAY] = "executor_away",
        [PROBLEM_NODE_AWAY] = "node_away",
        [PROBLEM_GONE] = "gone",
        [PROBLEM_LIMIT] = "limit_unavailable",
        [PROBLEM_CONFLICT] = "conflict",
        [PROBLEM_INVITER_AWAY] = "inviter_away",
        [PROBLEM_INVITATION_UNKNOWN] = "invitation_unknown",
        [PROBLEM_INTERNAL] = "internal",
};

const char *problem_code_to_text(enum problem_code code) {
        return (unsigned) code < _PROBLEM_CODE_MAX ? problem_texts[code] : "internal";
}

void problem_set(struct problem *problem, enum problem_code code, const char *format, ...) {
        va_list arguments;

        problem->code = code;
        va_start(arguments, format);
        (void) vsnprintf(problem->detail, sizeof(problem->detail), format, arguments);
        va_end(arguments);
}

void problem_set_errno(struct problem *problem, int error) {
        if (error == -EBUSY)
                problem_set(
                        problem, PROBLEM_TOO_MANY_CALLS, "too many requests are waiting for the database");
        else if (error == -ENOSPC)
                problem_set(
                        problem, PROBLEM_STORAGE,
                        "the disk is full; no new jobs are taken until there is room");
        else if (error == -ENOMEM)
                problem_set(problem, PROBLEM_INTERNAL, "out of memory");
        else
                problem_set(problem, PROBLEM_STORAGE, "the database cannot be used: %s", strerror(-error));
}

/* Members are looked up once, here: later the loop must not wait for a directory service. Who has the group
 * as his first one is known by it. */
static int find_members(struct ops *ops, const char *name) {
        const struct group *group = name ? getgrnam(name) : NULL;
        size_t n = 0;

        if (!group)
                return 0;
        ops->has_group = true;
        ops->group_gid = group->gr_gid;

        while (group->gr_mem[n])
                n++;
        ops->members = calloc(n + 1, sizeof(*ops->members));
        if (!ops->members)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const struct passwd *user = getpwnam(group->gr_mem[i]);

                if (user)
                        ops->members[ops->n_members++] = user->pw_uid;
        }
        return 0;
}

/* One that is not there runs no jobs. Where it is our own, nobody can tell its jobs from ourselves. */
static void find_job_user(struct ops *ops, const char *name) {
        const struct passwd *user = name ? getpwnam(name) : NULL;

        if (!user || user->pw_uid == ops->own_uid || user->pw_uid == 0)
                return;
        ops->has_job_uid = true;
        ops->job_uid = user->pw_uid;
}

int ops_new(const struct ops_config *config, sd_event *event, struct ops **ret) {
        _cleanup_(ops_free_p) struct ops *ops = NULL;
        int r;

        ops = calloc(1, sizeof(*ops));
        if (!ops)
                return -ENOMEM;

        ops->config = *config;
        ops->event = sd_event_ref(event);
        ops->own_uid = getuid();
        ops->started_at = now_usec(CLOCK_REALTIME);
        list_init(&ops->calls);
        list_init(&ops->ready);
        list_init(&ops->watchers);

        r = sha256_new(&ops->hash);
        if (r < 0)
                return r;
        r = find_members(ops, config->group);
        if (r < 0)
                return r;
        find_job_user(ops, config->job_user);

        r = sd_event_add_defer(event, &ops->ready_source, on_ready, ops);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(ops->ready_source, "operations-ready");
        r = sd_event_source_set_enabled(ops->ready_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(ops);
        return 0;
}

void ops_connect(struct ops *ops, struct mesh *mesh, struct store *store, struct executor_client *executor) {
        ops->mesh = mesh;
        ops->store = store;
        ops->executor = executor;
}

struct ops *ops_free(struct ops *ops) {
        struct neighbour *neighbour;
        struct ops_call *call;

        if (!ops)
                return NULL;
        /* What is served asks, too: neither takes a neighbour along. */
        MAP_FOREACH(&ops->neighbours, neighbour, struct neighbour, by_node)
                neighbour->busy++;
        MAP_FOREACH(&ops->neighbours, neighbour, struct neighbour, by_node)
                serve_end(neighbour);
        if (ops->calls.root.next)
                LIST_FOREACH(&ops->calls, call, struct ops_call, link)
                        call_free(call);
        MAP_FOREACH(&ops->neighbours, neighbour, struct neighbour, by_node) {
                neighbour->busy--;
                neighbour_check(ops, neighbour);
        }
        sha256_free(ops->hash);
        free(ops->members);
        sd_event_source_disable_unref(ops->ready_source);
        sd_event_unref(ops->event);
        free(ops);
        return NULL;
}

int call_new(
        struct ops *ops, enum call_type type, const struct caller *caller, void *userdata,
        struct ops_call **ret) {
        struct ops_call *call = calloc(1, sizeof(*call));
        const char *reason = NULL;

        if (!call)
                return -ENOMEM;
        call->ops = ops;
        call->type = type;
        call->userdata = userdata;
        call->caller = *caller;
        call->access = ops_access(ops, caller, &reason);
        call->caller.groups = NULL;
        call->caller.n_groups = 0;
        if (call->access == ACCESS_NONE)
                problem_set(&call->problem, PROBLEM_FORBIDDEN, "%s", reason);
        else if (ops->n_calls >= OPS_CALLS_MAX)
                problem_set(
                        &call->problem, PROBLEM_TOO_MANY_CALLS,
                        "%u requests are under way already; try again later", OPS_CALLS_MAX);
        list_append(&ops->calls, &call->link);
        ops->n_calls++;

        *ret = call;
        return 0;
}

int managing_call_new(
        struct ops *ops, enum call_type type, const struct caller *caller, ops_done_t handler,
        void *userdata, struct ops_call **ret) {
        const char *reason = NULL;
        int r = call_new(ops, type, caller, userdata, ret);

        if (r < 0)
                return r;
        (*ret)->done.handler = handler;
        if (!(ops_access(ops, caller, &reason) & ACCESS_MANAGE))
                problem_set(&(*ret)->problem, PROBLEM_FORBIDDEN, "%s", reason);
        return 0;
}

void managing_call_answer(struct ops_call *call) {
        const struct problem problem = call->problem;
        ops_done_t handler = call->done.handler;
        void *userdata = call->userdata;

        call_free(call);
        handler(userdata, &problem);
}

void call_serve(struct ops_call *call) {
        call->served = true;
        call->access = ACCESS_READ_STATE | ACCESS_SUBMIT | ACCESS_READ_ALL;
        if (call->problem.code == PROBLEM_FORBIDDEN)
                call->problem = (struct problem){};
}

struct ops_call *call_free(struct ops_call *call) {
        if (!call)
                return NULL;
        call_stop_waiting(call);
        if (call->query)
                store_query_cancel(call->query);
        sd_event_source_disable_unref(call->timer);
        remote_free(call->remote);
        if (call->type == CALL_SUBMIT)
                submit_call_done(call);
        if (call->type == CALL_OUTPUT)
                output_call_done(call);
        list_remove(&call->ready_link);
        list_remove(&call->link);
        call->ops->n_calls--;
        free(call);
        return NULL;
}

void ops_call_cancel(struct ops_call *call) {
        if (!call)
                return;
        if (call->type == CALL_SUBMIT && call->submit.held)
                call->dead = true; /* freed by ops_accepted() */
        else
                call_free(call);
}

void call_later(struct ops_call *call, void (*run)(struct ops_call *call)) {
        call->run = run;
        if (list_is_linked(&call->ready_link))
                return;
        list_append(&call->ops->ready, &call->ready_link);
        (void) sd_event_source_set_enabled(call->ops->ready_source, SD_EVENT_ONESHOT);
}

/* Only those that were ready when the turn began: what they set off waits for the next one. */
static int on_ready(sd_event_source *source, void *userdata) {
        struct ops *ops = userdata;
        struct ops_call *call;
        size_t n = 0;

        LIST_FOREACH(&ops->ready, call, struct ops_call, ready_link)
                n++;
        while (n-- > 0 && (call = LIST_FIRST(&ops->ready, struct ops_call, ready_link))) {
                list_remove(&call->ready_link);
                call->run(call);
        }
        if (!list_is_empty(&ops->ready))
                (void) sd_event_source_set_enabled(ops->ready_source, SD_EVENT_ONESHOT);
        return 0;
}

int call_wait_for_job(struct ops_call *call, const struct uuid *id) {
        struct ops *ops = call->ops;
        struct waiter *waiter = MAP_GET(&ops->waiters, id, sizeof(*id), struct waiter, by_id);
        int r;

        if (!waiter) {
                waiter = calloc(1, sizeof(*waiter));
                if (!waiter)
                        return -ENOMEM;
                waiter->id = *id;
                list_init(&waiter->calls);
                r = map_add(&ops->waiters, &waiter->by_id, &waiter->id, sizeof(waiter->id));
                if (r < 0) {
                        free(waiter);
                        return r;
                }
        }
        call->waiter = waiter;
        list_append(&waiter->calls, &call->wait_link);
        return 0;
}

void call_stop_waiting(struct ops_call *call) {
        struct waiter *waiter = call->waiter;

        list_remove(&call->wait_link);
        call->waiter = NULL;
        if (!waiter || !list_is_empty(&waiter->calls))
                return;
        map_remove(&call->ops->waiters, &waiter->by_id);
        free(waiter);
}

int call_set_timer(struct ops_call *call, usec_t after_usec, sd_event_time_handler_t handler) {
        int r;

        call->timer = sd_event_source_disable_unref(call->timer);
        r = sd_event_add_time_relative(
                call->ops->event, &call->timer, CLOCK_BOOTTIME, after_usec, USEC_PER_MSEC, handler, call);
        if (r >= 0)
                (void) sd_event_source_set_description(call->timer, "operation-timer");
        return r;
}

/* All who wait for this job ask the store once more. */
static void look_again(struct ops *ops, const struct uuid *id) {
        struct waiter *waiter = MAP_GET(&ops->waiters, id, sizeof(*id), struct waiter, by_id);
        struct list finished;
        struct ops_call *call;

        if (!waiter)
                return;
        /* Each leaves the waiter, and the last one frees it. */
        list_init(&finished);
        while ((call = LIST_FIRST(&waiter->calls, struct ops_call, wait_link))) {
                bool last = call->wait_link.next == &waiter->calls.root;

                call_stop_waiting(call);
                list_append(&finished, &call->wait_link);
                if (last)
                        break;
        }
        while ((call = LIST_FIRST(&finished, struct ops_call, wait_link))) {
                list_remove(&call->wait_link);
                if (call->type == CALL_OUTPUT)
                        call_later(call, output_call_retry);
                else
                        job_call_finished(call);
        }
}

void ops_job_finished(struct ops *ops, const struct uuid *id, enum job_status status) {
        ops_tell_finished(ops, id, status);
        look_again(ops, id);
}

/* The store has it no longer. */
void ops_job_moved(struct ops *ops, const struct uuid *id) {
        ops_tell_moved(ops, id);
        look_again(ops, id);
}

/* Who reads output looks again; all others go on waiting. */
void ops_run_started(struct ops *ops, const struct uuid *id) {
        struct waiter *waiter = MAP_GET(&ops->waiters, id, sizeof(*id), struct waiter, by_id);
        struct ops_call *call;

        ops_tell_started(ops, id);
        if (!waiter)
                return;
        LIST_FOREACH(&waiter->calls, call, struct ops_call, wait_link)
                if (call->type == CALL_OUTPUT)
                        call_later(call, output_call_retry);
}

void ops_executor_synchronised(struct ops *ops) {
        struct ops_call *call;

        LIST_FOREACH(&ops->calls, call, struct ops_call, link)
                if (call->type == CALL_OUTPUT && call->waiter)
                        call_later(call, output_call_retry);
}

static bool is_member(const struct ops *ops, const struct caller *caller) {
        if (!ops->has_group)
                return false;
        if (caller->gid == ops->group_gid)
                return true;
        for (size_t i = 0; i < caller->n_groups; i++)
                if (caller->groups[i] == ops->group_gid)
                        return true;
        for (size_t i = 0; i < ops->n_members; i++)
                if (ops->members[i] == caller->uid)
                        return true;
        return false;
}

unsigned ops_access(const struct ops *ops, const struct caller *caller, const char **ret_reason) {
        if (!caller->uid_known) {
                *ret_reason = "the user at the other end is not known, so nothing is allowed";
                return ACCESS_NONE;
        }
        if (ops->has_job_uid && caller->uid == ops->job_uid) {
                *ret_reason = "the user as whom jobs run may not use the node";
                return ACCESS_NONE;
        }
        if (caller->uid == 0 || caller->uid == ops->own_uid || is_member(ops, caller)) {
                *ret_reason = NULL;
                return ACCESS_READ_STATE | ACCESS_SUBMIT | ACCESS_READ_ALL | ACCESS_MANAGE;
        }
        *ret_reason = "only root, the user that runs the node, and members of group worker-mesh may do this";
        return ACCESS_READ_STATE | caller->granted;
}

bool ops_may_read(const struct ops *ops, const struct caller *caller, const struct stored_job *job) {
        const char *reason;

        if (ops_access(ops, caller, &reason) & ACCESS_READ_ALL)
                return true;
        return caller->uid_known && job->submitter_uid != (uid_t) -1 && caller->uid == job->submitter_uid;
}

void ops_get_status(struct ops *ops, struct ops_status *ret) {
        struct mesh_state state;

        mesh_get_state(ops->mesh, &state);
        *ret = (struct ops_status){
                .node_id = ops->config.node_id,
                .version = ops->config.version,
                .address = ops->config.address,
                .metadata = ops->config.metadata,
                .n_metadata = ops->config.n_metadata,
                .status = state.status,
                .status_reason = state.status_reason,
                .slots = state.slots,
                .running = state.running,
                .queued = state.queued,
                .peer_count = state.n_peers,
                .stranger_count = state.n_strangers,
                .mesh_id = ops->config.mesh_id && *ops->config.mesh_id != '\0' ? ops->config.mesh_id : NULL,
                .started_at = ops->started_at,
                .executor_connected = state.executor_connected,
                .labels = state.labels,
                .n_labels = state.n_labels,
                .pressure = state.pressure,
                .drain = state.drain,
        };
        ops_fill_limits(ops, ret);
}

static struct ops_peer peer_as_told(const struct mesh_peer *peer) {
        return (struct ops_peer){ .info = &peer->info,
                                  .last_heard_at = peer->last_heard_at,
                                  .trusted = peer->trusted,
                                  .verified = peer->verified };
}

bool ops_get_peer(struct ops *ops, const char *node_id, struct ops_peer *ret) {
        const struct mesh_peer *peer = mesh_get_listed(ops->mesh, node_id);

        if (!peer)
                return false;
        *ret = peer_as_told(peer);
        return true;
}

struct peer_list {
        const struct mesh_peer **peers;
        size_t n, allocated;
};

static void collect_peer(void *userdata, const struct mesh_peer *peer) {
        struct peer_list *list = userdata;

        if (list->n < list->allocated)
                list->peers[list->n++] = peer;
}

static int compare_peers(const void *a, const void *b) {
        const struct mesh_peer *x = *(const struct mesh_peer *const *) a;
        const struct mesh_peer *y = *(const struct mesh_peer *const *) b;

        return strcmp(x->info.node_id, y->info.node_id);
}

void ops_foreach_peer(
        struct ops *ops, void (*function)(void *userdata, const struct ops_peer *peer), void *userdata) {
        _cleanup_free_ const struct mesh_peer **peers = NULL;
        struct mesh_state state;
        struct peer_list list;

        mesh_get_state(ops->mesh, &state);
        size_t n = (size_t) state.n_peers + state.n_strangers;
        peers = calloc(n + 1, sizeof(*peers));
        if (!peers)
                return;
        list = (struct peer_list){ .peers = peers, .allocated = n };
        mesh_foreach_peer(ops->mesh, collect_peer, &list);
        qsort(peers, list.n, sizeof(*peers), compare_peers);

        for (size_t i = 0; i < list.n; i++) {
                const struct ops_peer peer = peer_as_told(peers[i]);

                function(userdata, &peer);
        }
}
