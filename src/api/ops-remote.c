/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A client's call about a job that another node has: finds that node, decides by the job's record who may,
 * and goes on there. All questions can be asked again: when a node goes away in the middle, whoever has the
 * job then is looked for, for as long as it is worth. */

#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"

struct remote {
        struct search *search;
        struct ask *ask;
        char node_id[NODE_ID_MAX + 1]; /* who has it; empty: not known */
        struct stored_job job;
        char pending_reason[LINK_REASON_MAX + 1]; /* the job's */
        bool known;                               /* job is */
        usec_t wait_until;                        /* 0: not at all */
        usec_t give_up_at;                        /* while nobody answers; 0: somebody does */
        int fetches;                              /* which output is on its way */
        struct link_position position;
};

static void look(struct ops_call *call);
static void go_on(struct ops_call *call);

struct remote *remote_free(struct remote *remote) {
        if (!remote)
                return NULL;
        search_cancel(remote->search);
        ask_cancel(remote->ask);
        stored_job_done(&remote->job);
        free(remote);
        return NULL;
}

/* Answers, with the problem of the call. It is gone then. */
static void answer_problem(struct ops_call *call) {
        if (call->type == CALL_OUTPUT)
                output_call_deliver(call, NULL, 0, /* ended= */ true);
        else if (call->type == CALL_SUBMIT)
                submit_call_found(call, NULL); /* nobody knows the key, as far as can be told */
        else
                job_call_answer(call, NULL);
}

static void fail(struct ops_call *call, int error) {
        problem_set_errno(&call->problem, error);
        answer_problem(call);
}

static int take_record(struct remote *remote, const struct link_answer *answer) {
        struct stored_job job;
        int r;

        r = record_to_job(&answer->record, &job);
        if (r < 0)
                return r;
        stored_job_done(&remote->job);
        remote->job = job;
        remote->known = true;
        if (answer->record.pending_reason) {
                (void) snprintf(
                        remote->pending_reason, sizeof(remote->pending_reason), "%s",
                        answer->record.pending_reason);
                remote->job.pending_reason = remote->pending_reason;
        }
        return 0;
}

static bool waits(const struct ops_call *call) {
        return call->type == CALL_OUTPUT ? call->output.follow : call->remote->wait_until > 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        look(userdata);
        return 0;
}

/* The node does not answer, or does not have it any more: whoever has it now is asked. */
static void try_again(struct ops_call *call) {
        struct remote *remote = call->remote;
        usec_t now = now_usec(CLOCK_BOOTTIME);

        if (remote->give_up_at == 0) {
                remote->give_up_at =
                        usec_add(now, waits(call) ? REMOTE_LONG_PATIENCE_USEC : REMOTE_PATIENCE_USEC);
                if (remote->wait_until > 0)
                        remote->give_up_at =
                                MIN(remote->give_up_at, MAX(remote->wait_until, now + REMOTE_PATIENCE_USEC));
        }
        if (now < remote->give_up_at && call_set_timer(call, REMOTE_RETRY_USEC, on_retry) >= 0)
                return;
        problem_set(
                &call->problem, PROBLEM_NODE_AWAY,
                "node %s, which has this job, does not answer; try again soon", remote->node_id);
        answer_problem(call);
}

/* What the other node said against it. */
static void take_problem(struct ops_call *call, const struct link_answer *answer) {
        enum problem_code code = answer_problem_code(answer);

        if (code == PROBLEM_NOT_FOUND ||
            (waits(call) && (code == PROBLEM_TOO_MANY_CALLS || code == PROBLEM_EXECUTOR_AWAY))) {
                try_again(call);
                return;
        }
        problem_set(&call->problem, code, "%s", answer->detail);
        answer_problem(call);
}

/* True: it is a right answer; else the call goes another way, or is gone. */
static bool check_answer(struct ops_call *call, int error, const struct link_answer *answer) {
        call->remote->ask = NULL;
        if (error < 0) {
                try_again(call);
                return false;
        }
        if (answer->problem) {
                take_problem(call, answer);
                return false;
        }
        call->remote->give_up_at = 0;
        return true;
}

static void ask(struct ops_call *call, const struct link_call *question, ask_handler_t handler) {
        struct remote *remote = call->remote;
        struct link_call full = *question;

        full.run.job = call->id;
        if (ask_begin(
                    call->ops, remote->node_id, &full, usec_add(question->wait_usec, ASK_USEC), handler,
                    call, &remote->ask) < 0)
                try_again(call);
}

static void on_record(void *userdata, int error, const struct link_answer *answer) {
        struct ops_call *call = userdata;
        int r;

        if (!check_answer(call, error, answer))
                return;
        r = answer->has_record ? take_record(call->remote, answer) : -EBADMSG;
        if (r < 0) {
                fail(call, r);
                return;
        }
        if (call->type == CALL_CANCEL && !job_status_is_final(call->remote->job.status))
                job_call_answer(call, &call->remote->job);
        else
                go_on(call);
}

/* Outputs that did not come along with the record. */
struct kept {
        char **data;
        size_t *size;
        uint64_t size_wanted;
};

static struct kept kept_of(struct stored_job *job, int stream) {
        return stream == 1 ? (struct kept){ &job->stdout_data, &job->stdout_size, job->stdout_kept }
                           : (struct kept){ &job->stderr_data, &job->stderr_size, job->stderr_kept };
}

static void fetch(struct ops_call *call);

static void on_fetched(void *userdata, int error, const struct link_answer *answer) {
        struct ops_call *call = userdata;
        struct kept kept;
        size_t size;
        char *data;

        if (!check_answer(call, error, answer))
                return;
        kept = kept_of(&call->remote->job, call->remote->fetches);
        size = (size_t) MIN((uint64_t) answer->size, kept.size_wanted - *kept.size);
        if (size == 0) {
                problem_set(&call->problem, PROBLEM_GONE, "the output of this job is no longer kept");
                answer_problem(call);
                return;
        }
        data = realloc(*kept.data, kept.size_wanted);
        if (!data) {
                fail(call, -ENOMEM);
                return;
        }
        *kept.data = data;
        memcpy(data + *kept.size, answer->data, size);
        *kept.size += size;
        fetch(call);
}

static void fetch(struct ops_call *call) {
        struct remote *remote = call->remote;

        for (int stream = 1; stream <= 2; stream++) {
                struct kept kept = kept_of(&remote->job, stream);
                const struct link_call question = {
                        .kind = LINK_CALL_OUTPUT,
                        .stream = stream,
                        .position = { .offset = *kept.size, .kept = true },
                        .uid = (uid_t) -1,
                };

                if (*kept.size >= kept.size_wanted)
                        continue;
                remote->fetches = stream;
                ask(call, &question, on_fetched);
                return;
        }
        job_call_answer(call, &remote->job);
}

static void get_go_on(struct ops_call *call) {
        struct remote *remote = call->remote;
        usec_t now = now_usec(CLOCK_BOOTTIME);

        if (job_status_is_final(remote->job.status))
                fetch(call);
        else if (remote->wait_until > now) {
                const struct link_call question = {
                        .kind = LINK_CALL_GET,
                        .wait_usec = MIN(remote->wait_until - now, ASK_WAIT_USEC),
                        .with_output = true,
                        .uid = (uid_t) -1,
                };

                ask(call, &question, on_record);
        } else {
                call->job.timed_out = remote->wait_until > 0;
                job_call_answer(call, &remote->job);
        }
}

static void cancel_go_on(struct ops_call *call) {
        const struct link_call question = {
                .kind = LINK_CALL_CANCEL,
                .with_output = true,
                .uid = call->caller.uid_known ? call->caller.uid : (uid_t) -1,
        };

        if (job_status_is_final(call->remote->job.status))
                fetch(call);
        else if (!may_cancel(call, &call->remote->job))
                answer_problem(call);
        else
                ask(call, &question, on_record);
}

static void on_output(void *userdata, int error, const struct link_answer *answer) {
        struct ops_call *call = userdata;

        if (!check_answer(call, error, answer))
                return;
        call->remote->position = answer->next;
        if (answer->size == 0 && !answer->ended && call->output.follow)
                remote_output_next(call);
        else
                output_call_deliver(call, answer->data, answer->size, answer->ended);
}

void remote_output_next(struct ops_call *call) {
        const struct link_call question = {
                .kind = LINK_CALL_OUTPUT,
                .stream = call->output.stream,
                .position = call->remote->position,
                .follow = call->output.follow,
                .wait_usec = call->output.follow ? ASK_WAIT_USEC : 0,
                .uid = (uid_t) -1,
        };

        ask(call, &question, on_output);
}

static void go_on(struct ops_call *call) {
        switch (call->type) {
        case CALL_GET:
                get_go_on(call);
                break;
        case CALL_CANCEL:
                cancel_go_on(call);
                break;
        case CALL_OUTPUT:
                if (output_is_allowed(call, &call->remote->job))
                        remote_output_next(call);
                else
                        answer_problem(call);
                break;
        case CALL_SUBMIT:
                submit_call_found(call, &call->remote->job);
                break;
        case CALL_LIST:
        case CALL_DRAIN:
        case CALL_MEMBERSHIP:
                break;
        }
}

/* The owner was there and is not found any more: this node's copy tells of the end. */
static void tell_from_copy(struct ops_call *call) {
        call->copy_will_do = true;
        call->remote = remote_free(call->remote);
        if (call->type == CALL_OUTPUT)
                output_call_retry(call);
        else
                job_call_begin(call);
}

static void nobody_has_it(struct ops_call *call, size_t n_silent) {
        if (call->remote->known) {
                try_again(call);
                return;
        }
        if (call->copy_seen) {
                call_later(call, tell_from_copy);
                return;
        }
        if (n_silent == 0)
                problem_set(&call->problem, PROBLEM_NOT_FOUND, "there is no job with this id");
        else
                problem_set(
                        &call->problem, PROBLEM_NOT_FOUND,
                        "there is no job with this id here or on the nodes that answered; %zu could not be "
                        "asked",
                        n_silent);
        answer_problem(call);
}

static void
on_found(void *userdata, const char *node_id, const struct link_answer *answer, size_t n_silent) {
        struct ops_call *call = userdata;
        struct remote *remote = call->remote;

        remote->search = NULL;
        if (!node_id) {
                nobody_has_it(call, n_silent);
                return;
        }
        (void) snprintf(remote->node_id, sizeof(remote->node_id), "%s", node_id);
        if (take_record(remote, answer) < 0)
                fail(call, -ENOMEM);
        else
                go_on(call);
}

/* Who is likely to have it: whoever had it, for whom we run it, or who has told of it. */
static const char *likely_owner(const struct ops_call *call, char buffer[static NODE_ID_MAX + 1]) {
        if (call->remote->node_id[0] != '\0')
                return call->remote->node_id;
        if (mesh_guest_owner(call->ops->mesh, &call->id, buffer) ||
            mesh_index_find_owner(call->ops->mesh, &call->id, buffer))
                return buffer;
        return NULL;
}

static int search(struct ops_call *call) {
        const struct link_call question = {
                .kind = LINK_CALL_GET,
                .run.job = call->id,
                .with_output = call->type == CALL_GET || call->type == CALL_CANCEL,
                .uid = (uid_t) -1,
        };
        char node_id[NODE_ID_MAX + 1];

        return search_begin(
                call->ops, &question, likely_owner(call, node_id),
                call->type == CALL_SUBMIT ? SEARCH_KEY_USEC : SEARCH_USEC, on_found, call,
                &call->remote->search);
}

static void look(struct ops_call *call) {
        call->timer = sd_event_source_disable_unref(call->timer);
        if (search(call) < 0)
                fail(call, -ENOMEM);
}

bool remote_is_not_needed(struct ops_call *call, const struct stored_job *job) {
        char node_id[NODE_ID_MAX + 1] = "";
        const struct mesh_peer *owner;

        if (call->copy_will_do || !job_status_is_final(job->status))
                return true;
        /* Of two ends, since a split had two sides, all nodes tell the one that counts. */
        if (job->owner_node_id)
                (void) snprintf(node_id, sizeof(node_id), "%s", job->owner_node_id);
        else if (!mesh_index_find_owner(call->ops->mesh, &job->id, node_id))
                return true;
        if (streq(node_id, call->ops->config.node_id))
                return true;
        call->copy_seen = true;
        owner = mesh_get_peer(call->ops->mesh, node_id);
        return !owner || !owner->verified || owner->lost;
}

int remote_begin(struct ops_call *call) {
        struct remote *remote;
        int r;

        if (call->served || !call->ops->has_links || call->remote)
                return -ENOENT;
        remote = call->remote = calloc(1, sizeof(*remote));
        if (!remote)
                return -ENOMEM;
        if (call->type == CALL_OUTPUT)
                remote->position.offset = MIN(call->output.offset, (uint64_t) INT64_MAX);
        if (call->type == CALL_GET && call->job.wait_usec > 0)
                remote->wait_until =
                        usec_add(now_usec(CLOCK_BOOTTIME), MIN(call->job.wait_usec, OPS_WAIT_MAX_USEC));
        r = search(call);
        if (r < 0)
                call->remote = remote_free(remote);
        return r;
}
