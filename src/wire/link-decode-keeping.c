/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-decode.h"

static bool copy_decode(const Link__Copy *in, struct link_copy *ret) {
        *ret = (struct link_copy){
                .term = in->term,
                .number = in->number,
                .complete = in->complete,
                .has_run = in->run != NULL,
                .epoch = in->epoch,
                .node_id = text_or_null(in->node_id),
                .cancel_requested = in->cancel_requested,
                .status = (enum job_status) in->status,
                .retries_used = in->retries_used,
                .gone = in->gone,
        };
        if (in->term == 0 || in->term > LINK_EPOCH_MAX || in->epoch > LINK_EPOCH_MAX ||
            in->retries_used > JOB_RETRIES_MAX || (ret->node_id && !node_id_is_valid(ret->node_id)))
                return false;
        if (in->status != JOB_UNKNOWN &&
            (in->status >= _JOB_STATUS_MAX || !job_status_is_final(ret->status)))
                return false;
        return !in->run || link_run_decode(in->run, &ret->run);
}

static bool claim_decode(const Link__Claim *in, struct link_claim *ret) {
        *ret = (struct link_claim){
                .owner = in->owner,
                .term = in->term,
                .owner_instance = in->owner_instance,
        };
        return in->term <= LINK_EPOCH_MAX && node_id_is_valid(in->owner);
}

static bool claim_answer_decode(const Link__ClaimAnswer *in, struct link_claim_answer *ret) {
        ret->owner = in->owner;
        ret->term = in->term;
        ret->objection = (enum link_objection) in->objection;
        ret->more = in->more;
        return (uint32_t) in->objection < _LINK_OBJECTION_MAX && node_id_is_valid(in->owner);
}

static bool takeover_decode(const Link__Takeover *in, struct link_takeover *ret) {
        *ret = (struct link_takeover){ .epoch = in->epoch };
        return in->epoch <= LINK_EPOCH_MAX && link_run_decode(in->run, &ret->run);
}

DEFINE_LIST_DECODE(link_held, Link__Held, struct link_held)
DEFINE_LIST_DECODE(link_assignment, Link__Assignment, struct link_assignment)
DEFINE_LIST_DECODE(link_ended, Link__Ended, struct link_ended)
DEFINE_LIST_DECODE(takeover, Link__Takeover, struct link_takeover)

/* The copy's job and end are parts of their own, so that they are like those of an assignment. */
static bool
copy_parts_decode(const Link__LinkMessage *in, struct unpack_memory *memory, struct link_copy *copy) {
        struct link_assignment *jobs = NULL;
        struct link_ended *ends = NULL;
        size_t n_jobs = 0, n_ends = 0;

        if (in->n_copied > 1 || in->n_copied_end > 1 ||
            !link_assignment_list_decode(memory, in->copied, in->n_copied, &jobs, &n_jobs) ||
            !link_ended_list_decode(memory, in->copied_end, in->n_copied_end, &ends, &n_ends))
                return false;
        if ((jobs && !(copy->has_run && uuid_equal(&jobs->run.job, &copy->run.job))) ||
            (ends && !(copy->has_run && uuid_equal(&ends->run.job, &copy->run.job))))
                return false;
        copy->job = jobs;
        copy->ended = ends;
        return true;
}

bool link_keeping_parts_decode(
        const Link__LinkMessage *in, struct unpack_memory *memory, struct link_message *message) {
        if (in->copy &&
            !(copy_decode(in->copy, &message->copy) && copy_parts_decode(in, memory, &message->copy)))
                return false;
        if (in->kept)
                message->kept = (struct link_kept){
                        .term = in->kept->term,
                        .number = in->kept->number,
                        .refused = in->kept->refused,
                };
        if (in->forget_copies > LINK_EPOCH_MAX || in->copies_forgotten > LINK_EPOCH_MAX)
                return false;
        message->forget_copies = in->forget_copies;
        message->copies_forgotten = in->copies_forgotten;
        if (in->claim && !claim_decode(in->claim, &message->claim))
                return false;
        if (in->claim_answer && !(claim_answer_decode(in->claim_answer, &message->claim_answer) &&
                                  link_held_list_decode(
                                          memory, in->claim_held, in->n_claim_held,
                                          &message->claim_answer.held, &message->claim_answer.n_held)))
                return false;
        return takeover_list_decode(
                memory, in->takeover, in->n_takeover, &message->takeovers, &message->n_takeovers);
}
