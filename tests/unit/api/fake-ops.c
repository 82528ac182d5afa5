/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-ops.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "util/list.h"
#include "util/random.h"
#include "wire/job-limits.h"

#define PIECE_SIZE 1000

enum call_kind {
        CALL_SUBMIT,
        CALL_JOB,
        CALL_CANCEL,
        CALL_LIST,
        CALL_OUTPUT,
        CALL_DRAIN,
};

struct ops_call {
        struct list_link link;
        struct ops *ops;
        enum call_kind kind;
        struct caller caller;
        void *userdata;
        sd_event_source *timer;
        bool timed_out;

        union {
                ops_submitted_t submitted;
                ops_job_t job;
                ops_list_t list;
                ops_output_t output;
                ops_done_t drain;
        } handler;

        struct uuid id;
        struct uuid *ids;
        size_t n_ids;
        bool repeated;
        struct problem problem;
        struct store_list list;
        enum ops_scope scope;
        int stream;
        uint64_t offset;
        bool follow, asked;
};

static int on_defer(sd_event_source *source, void *userdata);

struct ops *fake_ops_new(sd_event *event) {
        struct ops *ops = calloc(1, sizeof(*ops));
        assert(ops);

        ops->event = sd_event_ref(event);
        ops->status = NODE_IDLE;
        list_init(&ops->ready);
        list_init(&ops->waiting);
        assert(sd_event_add_defer(event, &ops->defer, on_defer, ops) >= 0);
        assert(sd_event_source_set_enabled(ops->defer, SD_EVENT_OFF) >= 0);
        return ops;
}

static void job_done(struct fake_job *job) {
        free(job->job.command);
        free(job->job.cwd);
        free(job->job.target_node_id);
        free(job->job.created_by_node);
        free(job->job.executor_node_id);
        for (char **env = job->job.env; env && *env; env++)
                free(*env);
        free(job->job.env);
        free(job->job.submitter);
        free(job->job.error_message);
        free(job->job.stdout_data);
        free(job->job.stderr_data);
        free(job->key);
}

struct ops *fake_ops_free(struct ops *ops) {
        if (!ops)
                return NULL;
        assert(fake_ops_calls(ops) == 0);
        for (size_t i = 0; i < ops->n_jobs; i++)
                job_done(&ops->jobs[i]);
        free(ops->jobs);
        sd_event_source_disable_unref(ops->defer);
        sd_event_unref(ops->event);
        free(ops);
        return NULL;
}

static unsigned list_length(const struct list *list) {
        unsigned n = 0;

        for (const struct list_link *link = list->root.next; link != &list->root; link = link->next)
                n++;
        return n;
}

unsigned fake_ops_calls(const struct ops *ops) {
        return list_length(&ops->ready) + list_length(&ops->waiting);
}

struct stored_job *fake_ops_job(struct ops *ops, size_t i) {
        assert(i < ops->n_jobs);
        return &ops->jobs[i].job;
}

static struct fake_job *find_job(struct ops *ops, const struct uuid *id) {
        for (size_t i = 0; i < ops->n_jobs; i++)
                if (uuid_equal(&ops->jobs[i].job.id, id))
                        return &ops->jobs[i];
        return NULL;
}

static char *copy(const char *data, size_t size) {
        char *text = data ? strndup(data, size) : NULL;

        assert(!data || text);
        return text;
}

struct stored_job *fake_ops_add(struct ops *ops, const char *command, uid_t submitter) {
        if ((ops->n_jobs & (ops->n_jobs + 1)) == 0 || !ops->jobs) {
                ops->jobs = reallocarray(ops->jobs, (ops->n_jobs + 1) * 2, sizeof(*ops->jobs));
                assert(ops->jobs);
        }

        struct fake_job *job = &ops->jobs[ops->n_jobs];
        *job = (struct fake_job){
                .job = {
                        .sequence = ops->n_jobs + 1,
                        .status = JOB_PENDING,
                        .command = copy(command, strlen(command)),
                        .created_by_node = copy(FAKE_NODE_ID, strlen(FAKE_NODE_ID)),
                        .timeout_usec = TIMEOUT_DEFAULT_SEC * USEC_PER_SEC,
                        .created_at = now_usec(CLOCK_REALTIME),
                        .submitter_uid = submitter,
                },
        };
        random_bytes(&job->job.id, sizeof(job->job.id));
        uuid_set_version(&job->job.id, 4);
        assert(asprintf(&job->job.submitter, "uid:%u", submitter) > 0);
        ops->n_jobs++;
        return &job->job;
}

/* What waited may have its answer now. */
static void wake(struct ops *ops) {
        struct ops_call *call;

        LIST_FOREACH(&ops->waiting, call, struct ops_call, link) {
                if (call->kind == CALL_OUTPUT && !call->asked)
                        continue;
                list_remove(&call->link);
                list_append(&ops->ready, &call->link);
        }
        assert(sd_event_source_set_enabled(ops->defer, SD_EVENT_ONESHOT) >= 0);
}

void fake_ops_write(struct ops *ops, size_t i, const char *data, size_t size) {
        struct stored_job *job = fake_ops_job(ops, i);

        job->status = JOB_RUNNING;
        job->attempt = 1;
        job->started_at = now_usec(CLOCK_REALTIME);
        job->stdout_data = realloc(job->stdout_data, job->stdout_size + size);
        assert(job->stdout_data);
        memcpy(job->stdout_data + job->stdout_size, data, size);
        job->stdout_size += size;
        job->stdout_kept = job->stdout_total = job->stdout_size;
        wake(ops);
}

void fake_ops_finish(struct ops *ops, size_t i, int exit_code) {
        struct stored_job *job = fake_ops_job(ops, i);

        job->status = exit_code == 0 ? JOB_COMPLETED : JOB_FAILED;
        job->has_exit_code = true;
        job->exit_code = exit_code;
        job->attempt = 1;
        free(job->executor_node_id);
        job->executor_node_id = copy(FAKE_NODE_ID, strlen(FAKE_NODE_ID));
        job->finished_at = now_usec(CLOCK_REALTIME);
        if (job->started_at == 0)
                job->started_at = job->finished_at;
        job->duration_usec = 1234 * USEC_PER_MSEC;
        if (exit_code != 0) {
                free(job->error_message);
                assert(asprintf(&job->error_message, "exit status %d", exit_code) > 0);
        }
        wake(ops);
}

static void call_free(struct ops_call *call) {
        list_remove(&call->link);
        sd_event_source_disable_unref(call->timer);
        free(call->ids);
        free(call);
}

void ops_call_cancel(struct ops_call *call) {
        if (!call)
                return;
        call->ops->n_cancelled++;
        call_free(call);
}

static struct ops_call *call_new(
        struct ops *ops, enum call_kind kind, const struct caller *caller, void *userdata,
        struct ops_call **ret) {
        struct ops_call *call = calloc(1, sizeof(*call));
        assert(call);

        *call = (struct ops_call){
                .ops = ops, .kind = kind, .caller = *caller, .userdata = userdata, .problem = ops->problem
        };
        list_append(&ops->ready, &call->link);
        ops->n_started++;
        assert(sd_event_source_set_enabled(ops->defer, SD_EVENT_ONESHOT) >= 0);
        *ret = call;
        return call;
}

const char *problem_code_to_text(enum problem_code code) {
        static const char *const texts[_PROBLEM_CODE_MAX] = {
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

        return texts[code];
}

unsigned ops_access(const struct ops *ops, const struct caller *caller, const char **ret_reason) {
        *ret_reason = NULL;
        if (caller->uid_known && (caller->uid == 0 || caller->uid == geteuid()))
                return ACCESS_READ_STATE | ACCESS_SUBMIT | ACCESS_READ_ALL | ACCESS_MANAGE;
        if (caller->uid_known) {
                *ret_reason = "only root, the node's own user and the group worker-mesh may do that";
                return ACCESS_READ_STATE;
        }
        *ret_reason = "it is not known which user asks";
        return ACCESS_NONE;
}

bool ops_may_read(const struct ops *ops, const struct caller *caller, const struct stored_job *job) {
        const char *reason;

        return (ops_access(ops, caller, &reason) & ACCESS_READ_ALL) != 0 ||
               (caller->uid_known && caller->uid == job->submitter_uid);
}

static void check_requests(struct ops_call *call, const struct job_request *requests, size_t n) {
        struct job_problem problem;

        for (size_t i = 0; i < n && call->problem.code == PROBLEM_NONE; i++)
                if (job_request_check(&requests[i], &problem) < 0) {
                        call->problem = (struct problem){ .code = PROBLEM_INVALID,
                                                          .field = problem.field,
                                                          .index = i,
                                                          .has_index = true };
                        (void) snprintf(
                                call->problem.detail, sizeof(call->problem.detail), "%s", problem.detail);
                }
}

static char **copy_env(const struct job_request *request) {
        char **env = calloc(request->n_env + 1, sizeof(*env));
        assert(env);

        for (size_t i = 0; i < request->n_env; i++)
                assert(asprintf(
                               &env[i], "%.*s=%.*s", (int) request->env[i].name_size, request->env[i].name,
                               (int) request->env[i].value_size, request->env[i].value) > 0);
        return env;
}

static int on_job_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        struct ops *ops = userdata;

        for (size_t i = 0; i < ops->n_jobs; i++)
                if (ops->jobs[i].job.status == JOB_PENDING) {
                        fake_ops_write(ops, i, "output\n", 7);
                        fake_ops_finish(ops, i, 0);
                }
        sd_event_source_unref(source);
        return 0;
}

static void
accept_jobs(struct ops_call *call, const struct job_request *requests, size_t n, const char *key) {
        struct ops *ops = call->ops;

        for (size_t i = 0; i < ops->n_jobs && key; i++)
                if (streq_ptr(ops->jobs[i].key, key)) {
                        call->ids[0] = ops->jobs[i].job.id;
                        call->repeated = true;
                        return;
                }
        for (size_t i = 0; i < n; i++) {
                char *command = copy(requests[i].command, requests[i].command_size);
                struct stored_job *job = fake_ops_add(ops, command, call->caller.uid);

                free(command);
                job->target_node_id = copy(requests[i].target_node_id, requests[i].target_node_id_size);
                job->cwd = copy(requests[i].cwd, requests[i].cwd_size);
                job->stdin_size = requests[i].stdin_size;
                job->env = copy_env(&requests[i]);
                if (requests[i].has_timeout)
                        job->timeout_usec = (usec_t) requests[i].timeout_seconds * USEC_PER_SEC;
                if (i == 0 && key)
                        ops->jobs[ops->n_jobs - 1].key = copy(key, strlen(key));
                call->ids[i] = job->id;
        }
        if (ops->finish_after_usec > 0) {
                sd_event_source *timer;

                assert(sd_event_add_time_relative(
                               ops->event, &timer, CLOCK_MONOTONIC, ops->finish_after_usec, 1, on_job_timer,
                               ops) >= 0);
        }
}

int ops_submit(
        struct ops *ops, const struct caller *caller, const struct job_request *requests, size_t n_requests,
        const char *idempotency_key, ops_submitted_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_SUBMIT, caller, userdata, ret);

        call->handler.submitted = handler;
        call->n_ids = n_requests;
        call->ids = calloc(n_requests, sizeof(*call->ids));
        assert(call->ids);
        check_requests(call, requests, n_requests);
        if (call->problem.code == PROBLEM_NONE)
                accept_jobs(call, requests, n_requests, idempotency_key);
        return 0;
}

static int on_wait_over(sd_event_source *source, uint64_t usec, void *userdata) {
        struct ops_call *call = userdata;

        call->timed_out = true;
        list_remove(&call->link);
        list_append(&call->ops->ready, &call->link);
        return sd_event_source_set_enabled(call->ops->defer, SD_EVENT_ONESHOT);
}

static bool must_wait(struct ops_call *call) {
        if (!call->timer || call->timed_out || call->problem.code != PROBLEM_NONE)
                return false;
        struct fake_job *job = find_job(call->ops, &call->id);
        return job && !job_status_is_final(job->job.status);
}

int ops_get_job(
        struct ops *ops, const struct caller *caller, const struct uuid *id, usec_t wait_usec,
        ops_job_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_JOB, caller, userdata, ret);

        call->handler.job = handler;
        call->id = *id;
        if (wait_usec == 0)
                return 0;
        assert(sd_event_add_time_relative(
                       ops->event, &call->timer, CLOCK_MONOTONIC, wait_usec, 1, on_wait_over, call) >= 0);
        return 0;
}

int ops_cancel_job(
        struct ops *ops, const struct caller *caller, const struct uuid *id, ops_job_t handler,
        void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_CANCEL, caller, userdata, ret);
        call->handler.job = handler;
        call->id = *id;
        return 0;
}

int ops_scope_from_text(const char *text, enum ops_scope *ret) {
        *ret = streq(text, "mesh") ? OPS_SCOPE_MESH : OPS_SCOPE_NODE;
        return streq(text, "mesh") || streq(text, "node") ? 0 : -EINVAL;
}

int ops_list_jobs(
        struct ops *ops, const struct caller *caller, enum ops_scope scope, const struct store_list *list,
        ops_list_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_LIST, caller, userdata, ret);
        call->handler.list = handler;
        call->list = *list;
        call->scope = scope;
        return 0;
}

int ops_read_output(
        struct ops *ops, const struct caller *caller, const struct uuid *id, int stream, uint64_t offset,
        bool follow, ops_output_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_OUTPUT, caller, userdata, ret);

        call->handler.output = handler;
        call->id = *id;
        call->stream = stream;
        call->offset = offset;
        call->follow = follow;
        call->asked = true;
        return 0;
}

void ops_output_next(struct ops_call *call) {
        assert(!call->asked);
        call->asked = true;
        list_remove(&call->link);
        list_append(&call->ops->ready, &call->link);
        assert(sd_event_source_set_enabled(call->ops->defer, SD_EVENT_ONESHOT) >= 0);
}

static struct fake_job *job_or_problem(struct ops_call *call) {
        struct fake_job *job = find_job(call->ops, &call->id);

        if (!job && call->problem.code == PROBLEM_NONE) {
                call->problem.code = PROBLEM_NOT_FOUND;
                (void) snprintf(call->problem.detail, sizeof(call->problem.detail), "no such job");
        }
        return job;
}

static void answer_job(struct ops_call *call) {
        struct fake_job *job = job_or_problem(call);
        bool cancel = call->kind == CALL_CANCEL, pending = call->ops->cancel_pending;

        if (job && cancel && !job_status_is_final(job->job.status)) {
                job->job.cancel_requested = true;
                if (!pending)
                        job->job.status = JOB_CANCELLED;
        }
        struct ops_job answer = {
                .problem = call->problem,
                .job = job ? &job->job : NULL,
                .may_read = job && ops_may_read(call->ops, &call->caller, &job->job),
                .timed_out = call->timed_out,
                .accepted = cancel && pending,
        };
        ops_job_t handler = call->handler.job;
        void *userdata = call->userdata;
        call_free(call);
        handler(userdata, &answer);
}

static void answer_submit(struct ops_call *call) {
        struct ops_submitted answer = {
                .problem = call->problem,
                .ids = call->ids,
                .n_ids = call->n_ids,
                .copies = 2,
                .created_at = now_usec(CLOCK_REALTIME),
                .repeated = call->repeated,
        };

        list_remove(&call->link);
        call->handler.submitted(call->userdata, &answer);
        call_free(call);
}

/* The same jobs, as another node knows them. */
static void tell_items(struct ops_call *call, struct ops_list *answer) {
        struct mesh_index_item *items = calloc(call->list.limit, sizeof(*items));

        assert(items);
        for (size_t i = 0; i < answer->n_jobs; i++) {
                const struct stored_job *job = &answer->jobs[i];

                items[i] = (struct mesh_index_item){
                        .id = job->id,
                        .owner_node_id = FAKE_NODE_ID,
                        .executor_node_id = job_status_is_final(job->status) ? FAKE_NODE_ID : NULL,
                        .status = job->status,
                        .has_exit_code = job->has_exit_code,
                        .exit_code = job->exit_code,
                        .created_at = job->created_at,
                        .started_at = job->started_at,
                        .finished_at = job->finished_at,
                        .epoch = 1,
                };
        }
        answer->items = items;
        answer->n_items = answer->n_jobs;
        answer->n_jobs = 0;
}

static void answer_list(struct ops_call *call) {
        struct ops *ops = call->ops;
        struct stored_job *jobs = calloc(call->list.limit, sizeof(*jobs));
        struct ops_list answer = { .problem = call->problem, .jobs = jobs };

        assert(jobs);
        for (size_t i = ops->n_jobs; i > 0; i--) {
                struct stored_job *job = &ops->jobs[i - 1].job;

                if (job->sequence >= call->list.before ||
                    (call->list.status_mask != 0 && (call->list.status_mask & 1u << job->status) == 0))
                        continue;
                if (answer.n_jobs == call->list.limit) {
                        answer.more = true;
                        answer.next_before = jobs[answer.n_jobs - 1].sequence;
                        break;
                }
                jobs[answer.n_jobs] = *job;
                jobs[answer.n_jobs].stdout_size = MIN(job->stdout_size, (size_t) STORE_LIST_OUTPUT_MAX);
                answer.n_jobs++;
        }
        if (call->scope == OPS_SCOPE_MESH)
                tell_items(call, &answer);
        ops_list_t handler = call->handler.list;
        void *userdata = call->userdata;
        call_free(call);
        handler(userdata, &answer);
        free((void *) answer.items);
        free(jobs);
}

static void answer_output(struct ops_call *call) {
        struct fake_job *job = job_or_problem(call);
        struct ops_output piece = { .problem = call->problem };
        const char *data = NULL;
        size_t size = 0;

        if (job && !ops_may_read(call->ops, &call->caller, &job->job)) {
                piece.problem.code = PROBLEM_FORBIDDEN;
                (void) snprintf(piece.problem.detail, sizeof(piece.problem.detail), "not your job");
        }
        if (job && call->stream == 1) {
                data = job->job.stdout_data;
                size = job->job.stdout_size;
        }
        size_t offset = (size_t) MIN(call->offset, (uint64_t) size);
        bool more_to_come = call->follow && job && !job_status_is_final(job->job.status);
        piece.data = data ? data + offset : "";
        piece.size = MIN(size - offset, (size_t) PIECE_SIZE);
        piece.ended = offset + piece.size == size && !more_to_come;
        list_remove(&call->link);
        if (piece.size == 0 && !piece.ended && piece.problem.code == PROBLEM_NONE) {
                list_append(&call->ops->waiting, &call->link);
                return;
        }

        ops_output_t handler = call->handler.output;
        void *userdata = call->userdata;
        if (piece.ended || piece.problem.code != PROBLEM_NONE)
                call_free(call);
        else {
                call->offset += piece.size;
                call->asked = false;
                list_append(&call->ops->waiting, &call->link);
        }
        handler(userdata, &piece);
}

int ops_set_drain(
        struct ops *ops, const struct caller *caller, const struct ops_drain_request *request,
        ops_done_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_DRAIN, caller, userdata, ret);

        call->handler.drain = handler;
        if (call->problem.code != PROBLEM_NONE)
                return 0;
        ops->status = request ? NODE_DRAINING : NODE_IDLE;
        ops->drain = request ? *request : (struct ops_drain_request){};
        ops->told_drain = (struct mesh_drain){
                .since = UINT64_C(1767225600) * USEC_PER_SEC,
                .until = request && request->has_timeout ? UINT64_C(1767225660) * USEC_PER_SEC
                                                         : USEC_INFINITY,
                .uid = caller->uid,
                .saved = true,
        };
        return 0;
}

int ops_join(
        struct ops *ops, const struct caller *caller, const char *token, const char *peer,
        ops_done_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call = call_new(ops, CALL_DRAIN, caller, userdata, ret);

        call->handler.drain = handler;
        snprintf(ops->token, sizeof(ops->token), "%s", token);
        snprintf(ops->inviter, sizeof(ops->inviter), "%s", peer ? peer : "(none)");
        if (call->problem.code == PROBLEM_NONE && *token == '\0') {
                call->problem.code = PROBLEM_INVITATION_UNKNOWN;
                strcpy(call->problem.detail, "nobody knows it");
        }
        return 0;
}

int ops_leave(
        struct ops *ops, const struct caller *caller, ops_done_t handler, void *userdata,
        struct ops_call **ret) {
        return ops_join(ops, caller, "(leaves)", NULL, handler, userdata, ret);
}

static void answer_drain(struct ops_call *call) {
        struct problem problem = call->problem;
        ops_done_t handler = call->handler.drain;
        void *userdata = call->userdata;

        call_free(call);
        handler(userdata, &problem);
}

/* Those that are ready now; what becomes ready meanwhile has its turn later. */
static int on_defer(sd_event_source *source, void *userdata) {
        struct ops *ops = userdata;
        struct ops_call *call;
        unsigned n = list_length(&ops->ready);

        while (n-- > 0 && (call = LIST_FIRST(&ops->ready, struct ops_call, link))) {
                if (must_wait(call)) {
                        list_remove(&call->link);
                        list_append(&ops->waiting, &call->link);
                        continue;
                }
                switch (call->kind) {
                case CALL_SUBMIT:
                        answer_submit(call);
                        break;
                case CALL_JOB:
                case CALL_CANCEL:
                        answer_job(call);
                        break;
                case CALL_LIST:
                        answer_list(call);
                        break;
                case CALL_OUTPUT:
                        answer_output(call);
                        break;
                case CALL_DRAIN:
                        answer_drain(call);
                        break;
                }
        }
        return list_is_empty(&ops->ready) ? 0 : sd_event_source_set_enabled(ops->defer, SD_EVENT_ONESHOT);
}
