/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Submission: checks, ids, the Idempotency-Key, and the answer when all is durable. */

#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"
#include "util/random.h"

/* A repeated request may come while the first one is still on its way to the disk. */
#define KEY_RETRY_USEC (5 * USEC_PER_MSEC)
#define KEY_TRIES_MAX 1000u

static void look_up_key(struct ops_call *call);

void submit_call_done(struct ops_call *call) {
        for (size_t i = 0; call->submit.specs && i < call->submit.n; i++)
                job_spec_unref(call->submit.specs[i]);
        if (call->submit.specs != &call->submit.one_spec)
                free(call->submit.specs);
        if (call->submit.ids != &call->submit.one_id)
                free(call->submit.ids);
}

static void answer(struct ops_call *call, bool repeated) {
        struct ops_submitted submitted = {
                .problem = call->problem,
                .ids = call->submit.ids,
                .n_ids = call->submit.n,
                .created_at = call->submit.created_at,
                .copies = call->submit.copies,
                .repeated = repeated,
        };
        ops_submitted_t handler = call->submit.handler;
        void *userdata = call->userdata;

        if (call->problem.code != PROBLEM_NONE)
                ops_tell_refused(call->ops, &call->caller, &call->problem);
        if (!call->dead)
                handler(userdata, &submitted);
        call_free(call);
}

static void answer_problem(struct ops_call *call) {
        answer(call, /* repeated= */ false);
}

void ops_accepted(struct ops *ops, void *tag, int error, unsigned copies) {
        struct ops_call *call = tag;

        call->submit.held = false;
        call->submit.copies = copies;
        if (error == -EEXIST && call->submit.keyed && !call->dead) {
                /* The first request ended in the moment between our look and our try, or its first job has
                 * left the history already, and others have not. */
                call->submit.taken = true;
                look_up_key(call);
                return;
        }
        if (error < 0)
                problem_set_errno(&call->problem, error);
        else
                for (size_t i = 0; i < call->submit.n; i++)
                        ops_tell_new(call->ops, call->submit.specs[i]);
        answer(call, /* repeated= */ false);
}

static void target_unknown(struct ops_call *call) {
        const char *target = call->submit.specs[0]->target_node_id;
        const struct mesh_peer *listed = target ? mesh_get_listed(call->ops->mesh, target) : NULL;

        if (call->submit.n == 1 && listed && !listed->trusted)
                problem_set(
                        &call->problem, PROBLEM_TARGET_UNKNOWN,
                        "target_node_id names a node that is heard and does not belong to this mesh; POST "
                        "/api/v1/mesh/invite lets it in");
        else
                problem_set(
                        &call->problem, PROBLEM_TARGET_UNKNOWN,
                        "target_node_id names neither this node, %s, nor a peer that is there; GET "
                        "/api/v1/peers lists those",
                        call->ops->config.node_id);
        call->problem.field = "target_node_id";
}

static void set_outcome_problem(struct ops_call *call, int outcome) {
        struct mesh_state state;

        mesh_get_state(call->ops->mesh, &state);
        switch ((enum mesh_submit_outcome) outcome) {
        case MESH_QUEUE_FULL:
                problem_set(
                        &call->problem, PROBLEM_QUEUE_FULL,
                        "the queue is full: %u jobs wait; try again when some have ended", state.queued);
                break;
        case MESH_TARGET_UNKNOWN:
                target_unknown(call);
                break;
        case MESH_DRAINING:
                problem_set(
                        &call->problem, PROBLEM_DRAINING, "the node is being drained and takes no new jobs");
                break;
        case MESH_STORE_FAILING:
                problem_set(
                        &call->problem, PROBLEM_STORAGE, "%s; no new jobs are taken until it works again",
                        state.status_reason ? state.status_reason : "the database cannot be written");
                break;
        case MESH_DUPLICATE:
                problem_set(
                        &call->problem, PROBLEM_DUPLICATE_NODE,
                        "another node with this node's id is running; this one takes no jobs");
                break;
        case MESH_LABELS_FULL:
                problem_set(
                        &call->problem, PROBLEM_QUEUE_FULL,
                        "the queue is full of jobs that ask for other labels, too many different sets of "
                        "them; "
                        "try again when some have ended");
                break;
        case MESH_ID_TAKEN:
        case MESH_ACCEPTED:
                problem_set(&call->problem, PROBLEM_INTERNAL, "a job with the same id is unfinished");
                break;
        }
}

static int on_key_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        struct ops_call *call = userdata;

        look_up_key(call);
        return 0;
}

static void submit_now(struct ops_call *call) {
        int r;

        if (store_backlog(call->ops->store) > STORE_BACKLOG_MAX) {
                problem_set(
                        &call->problem, PROBLEM_QUEUE_FULL,
                        "the disk does not keep up: too much waits to be written; try again later");
                call_later(call, answer_problem);
                return;
        }

        r = mesh_submit(call->ops->mesh, call->submit.specs, call->submit.n, call);
        if (r == MESH_ACCEPTED) {
                call->submit.held = true;
                return;
        }
        if (r == MESH_ID_TAKEN && call->submit.keyed && call->submit.tries++ < KEY_TRIES_MAX &&
            call_set_timer(call, KEY_RETRY_USEC, on_key_retry) >= 0)
                return;
        if (r == MESH_ID_TAKEN && call->submit.keyed && !call->submit.taken) {
                call->submit.taken = true;
                look_up_key(call);
                return;
        }

        if (r < 0)
                problem_set_errno(&call->problem, r);
        else
                set_outcome_problem(call, r);
        call_later(call, answer_problem);
}

/* What has ended, or is another node's, is on one disk at least. */
static unsigned copies_now(const struct ops_call *call) {
        unsigned copies = 2;

        for (size_t i = 0; i < call->submit.n && copies > 1; i++)
                copies = MAX(mesh_job_copies(call->ops->mesh, &call->submit.ids[i]), 1u);
        return copies;
}

void submit_call_found(struct ops_call *call, const struct stored_job *job) {
        call->problem = (struct problem){};
        if (!job) {
                submit_now(call);
                return;
        }
        if (!job->has_digest || memcmp(job->digest, call->submit.specs[0]->digest, SHA256_SIZE) != 0) {
                problem_set(
                        &call->problem, PROBLEM_KEY_REUSED,
                        "this Idempotency-Key came with another request before; use a new key for a new "
                        "request");
                answer(call, /* repeated= */ false);
                return;
        }
        call->submit.created_at = job->created_at;
        call->submit.copies = copies_now(call);
        answer(call, /* repeated= */ true);
}

static void on_key_found(void *userdata, const struct store_answer *found) {
        struct ops_call *call = userdata;
        const struct stored_job *job = found->n_jobs > 0 ? &found->jobs[0] : NULL;

        call->query = NULL;
        if (found->error < 0) {
                problem_set_errno(&call->problem, found->error);
                answer(call, /* repeated= */ false);
                return;
        }
        /* Perhaps it came to another node first: all jobs of a request have one owner. */
        if (!job && !call->submit.asked) {
                call->submit.asked = true;
                call->id = call->submit.ids[0];
                if (remote_begin(call) >= 0)
                        return;
        }
        submit_call_found(call, job);
}

static void look_up_key(struct ops_call *call) {
        int r;

        /* All jobs of a request are accepted together and carry the same digest: one of them says it all. */
        r = store_get_jobs(
                call->ops->store, call->submit.ids, call->submit.taken ? call->submit.n : 1,
                /* with_output= */ false, on_key_found, call, &call->query);
        if (r < 0) {
                problem_set_errno(&call->problem, r);
                call_later(call, answer_problem);
        }
}

/* The same key of the same user gives the same ids, on every node: a derived UUID (version 8). */
static int
derive_id(struct ops *ops, const struct caller *caller, const char *key, size_t index, struct uuid *ret) {
        uint8_t digest[SHA256_SIZE];
        char text[128];
        int r, n;

        n = snprintf(
                text, sizeof(text), "worker-mesh job uid %u index %zu key ", (unsigned) caller->uid, index);
        r = sha256_update(ops->hash, text, (size_t) n);
        if (r < 0)
                return r;
        r = sha256_update(ops->hash, key, strlen(key));
        if (r < 0)
                return r;
        sha256_finish(ops->hash, digest);
        memcpy(ret->bytes, digest, sizeof(ret->bytes));
        uuid_set_version(ret, 8);
        return 0;
}

/* Over all jobs of the request: each of them carries it, so that whichever is found tells whether the
 * request is the same one. */
static int
digest_all(struct ops *ops, const struct job_request *requests, size_t n, uint8_t ret[static SHA256_SIZE]) {
        _cleanup_(sha256_free_p) struct sha256 *all = NULL;
        uint8_t one[SHA256_SIZE];
        int r;

        r = sha256_new(&all);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = job_request_digest(&requests[i], ops->hash, one);
                if (r >= 0)
                        r = sha256_update(all, one, sizeof(one));
        }
        if (r < 0)
                return r;
        sha256_finish(all, ret);
        return 0;
}

static int
make_spec(struct ops_call *call, const struct job_request *request, size_t index, const char *key) {
        struct ops *ops = call->ops;
        struct job_spec *spec;
        int r;

        r = job_spec_new(request, &spec);
        if (r < 0)
                return r;
        call->submit.specs[index] = spec;

        spec->created_at = call->submit.created_at;
        spec->submitter_uid = call->caller.uid;
        (void) snprintf(spec->submitter, sizeof(spec->submitter), "uid:%u", (unsigned) call->caller.uid);
        (void) snprintf(spec->created_by_node, sizeof(spec->created_by_node), "%s", ops->config.node_id);
        if (key) {
                r = derive_id(ops, &call->caller, key, index, &spec->id);
                if (r < 0)
                        return r;
        } else {
                random_bytes(&spec->id, sizeof(spec->id));
                uuid_set_version(&spec->id, 4);
        }
        call->submit.ids[index] = spec->id;
        return 0;
}

static int make_specs(struct ops_call *call, const struct job_request *requests, size_t n, const char *key) {
        uint8_t digest[SHA256_SIZE];
        int r;

        call->submit.created_at = now_usec(CLOCK_REALTIME);
        call->submit.n = n;
        call->submit.keyed = key;
        call->submit.specs = n == 1 ? &call->submit.one_spec : calloc(n, sizeof(*call->submit.specs));
        call->submit.ids = n == 1 ? &call->submit.one_id : calloc(n, sizeof(*call->submit.ids));
        if (!call->submit.specs || !call->submit.ids)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                r = make_spec(call, &requests[i], i, key);
                if (r < 0)
                        return r;
        }
        if (!key)
                return 0;

        r = digest_all(call->ops, requests, n, digest);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                call->submit.specs[i]->has_digest = true;
                memcpy(call->submit.specs[i]->digest, digest, sizeof(digest));
        }
        return r;
}

/* Everything that can be said without the mind. */
static void check(struct ops_call *call, const struct job_request *requests, size_t n, const char *key) {
        struct problem *problem = &call->problem;
        struct job_problem found;

        if (problem->code != PROBLEM_NONE)
                return;
        if (!(call->access & ACCESS_SUBMIT)) {
                const char *reason;

                (void) ops_access(call->ops, &call->caller, &reason);
                problem_set(problem, PROBLEM_FORBIDDEN, "%s", reason);
                return;
        }
        if (n == 0 || n > JOBS_PER_REQUEST_MAX) {
                problem_set(
                        problem, PROBLEM_INVALID, "the request has %zu jobs; 1 to %u are allowed", n,
                        JOBS_PER_REQUEST_MAX);
                return;
        }
        if (key && !ops_key_is_valid(key)) {
                problem_set(
                        problem, PROBLEM_INVALID,
                        "Idempotency-Key must be 1 to %u printable ASCII characters", IDEMPOTENCY_KEY_MAX);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (job_request_check(&requests[i], &found) < 0) {
                        problem_set(problem, PROBLEM_INVALID, "%s", found.detail);
                        problem->field = found.field;
                } else if (limits_are_allowed(call->ops, &requests[i], problem))
                        continue;
                problem->index = i;
                problem->has_index = n > 1;
                return;
        }
}

int ops_submit(
        struct ops *ops, const struct caller *caller, const struct job_request *requests, size_t n_requests,
        const char *idempotency_key, ops_submitted_t handler, void *userdata, struct ops_call **ret) {
        struct ops_call *call;
        int r;

        r = call_new(ops, CALL_SUBMIT, caller, userdata, &call);
        if (r < 0)
                return r;
        call->submit.handler = handler;

        check(call, requests, n_requests, idempotency_key);
        if (call->problem.code == PROBLEM_NONE) {
                r = make_specs(call, requests, n_requests, idempotency_key);
                if (r < 0)
                        problem_set_errno(&call->problem, r);
        }

        if (call->problem.code != PROBLEM_NONE)
                call_later(call, answer_problem);
        else if (idempotency_key)
                look_up_key(call);
        else
                submit_now(call);

        *ret = call;
        return 0;
}
