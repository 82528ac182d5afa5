/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/link-encode.h"

static void add_copy(struct link_encoder *encoder, const struct link_copy *copy) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT, job = LINK__LINK_MESSAGE__INIT,
                          end = LINK__LINK_MESSAGE__INIT;
        Link__Copy part = LINK__COPY__INIT;
        Link__RunId run = link_run_encoding(&copy->run);

        part.term = copy->term;
        part.number = copy->number;
        part.complete = copy->complete;
        if (copy->has_run)
                part.run = &run;
        part.epoch = copy->epoch;
        part.node_id = unconst(copy->node_id);
        part.cancel_requested = copy->cancel_requested;
        part.status = copy->status;
        part.retries_used = copy->retries_used;
        part.gone = copy->gone;
        out.copy = &part;
        link_encoder_add(encoder, &out);
        if (copy->job)
                link_add_assignment(encoder, copy->job, &job, &job.n_copied, &job.copied);
        if (copy->ended)
                link_add_ended(encoder, copy->ended, &end, &end.n_copied_end, &end.copied_end);
}

static void add_kept(struct link_encoder *encoder, const struct link_kept *kept) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Kept part = LINK__KEPT__INIT;

        part.term = kept->term;
        part.number = kept->number;
        part.refused = kept->refused;
        out.kept = &part;
        link_encoder_add(encoder, &out);
}

static void add_claim(struct link_encoder *encoder, const struct link_claim *claim) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Claim part = LINK__CLAIM__INIT;

        part.owner = unconst(claim->owner);
        part.term = claim->term;
        part.owner_instance = claim->owner_instance;
        out.claim = &part;
        link_encoder_add(encoder, &out);
}

static void add_claim_answer(struct link_encoder *encoder, const struct link_claim_answer *answer) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT, held = LINK__LINK_MESSAGE__INIT;
        Link__ClaimAnswer part = LINK__CLAIM_ANSWER__INIT;

        part.owner = unconst(answer->owner);
        part.term = answer->term;
        part.objection = (Link__Objection) answer->objection;
        part.more = answer->more;
        out.claim_answer = &part;
        link_encoder_add(encoder, &out);
        for (size_t i = 0; i < answer->n_held; i++)
                link_add_held(encoder, &answer->held[i], &held, &held.n_claim_held, &held.claim_held);
}

static void add_takeover(struct link_encoder *encoder, const struct link_takeover *takeover) {
        Link__LinkMessage out = LINK__LINK_MESSAGE__INIT;
        Link__Takeover part = LINK__TAKEOVER__INIT, *parts = &part;
        Link__RunId run = link_run_encoding(&takeover->run);

        part.epoch = takeover->epoch;
        part.run = &run;
        out.n_takeover = 1;
        out.takeover = &parts;
        link_encoder_add(encoder, &out);
}

void link_add_keeping_parts(struct link_encoder *encoder, const struct link_message *message) {
        if (message->copy.term > 0)
                add_copy(encoder, &message->copy);
        if (message->kept.term > 0)
                add_kept(encoder, &message->kept);
        if (message->claim.owner)
                add_claim(encoder, &message->claim);
        if (message->claim_answer.owner)
                add_claim_answer(encoder, &message->claim_answer);
        for (size_t i = 0; i < message->n_takeovers; i++)
                add_takeover(encoder, &message->takeovers[i]);
}
