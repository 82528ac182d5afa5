/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When an owner is gone its keeper takes its jobs over. It says so to everybody and waits a moment: who
 * hears the owner, or has copies of a later term, objects; who has runs of these jobs tells which. Then each
 * job gets the next epoch: what runs goes on under the new owner, what ended ends, the rest waits here. It
 * is on the disk before anything follows from it.
 *
 * Two that take the same jobs over, since they cannot hear each other, and one that does so twice, give them
 * different epochs: the upper bits count, the lower ones are the occasion's own. */

#include <endian.h>
#include <stdio.h>
#include <syslog.h>

#include "mesh/copies.h"
#include "mesh/job-link.h"
#include "util/fnv.h"
#include "util/message-ids.h"

#define CLAIM_WAIT_USEC (2 * USEC_PER_SEC)
#define CLAIM_ASK_USEC (250 * USEC_PER_MSEC)
#define ORPHAN_USEC (10 * USEC_PER_MINUTE)
#define ORPHANS_CHECK_USEC (30 * USEC_PER_SEC)
#define EPOCH_OWN_BITS 32u
#define EPOCH_COUNT_MAX ((LINK_EPOCH_MAX >> EPOCH_OWN_BITS) - 1) /* nobody counts that far */
#define HELD_PER_ANSWER 1024u

uint64_t next_epoch(const struct mesh *mesh, uint64_t epoch, const struct place *owner, uint64_t occasion) {
        const uint64_t occasion_bytes = htole64(occasion);
        uint32_t hash = fnv32(FNV32_BEGIN, mesh->config.node_id, strlen(mesh->config.node_id) + 1);

        hash = fnv32(hash, owner->name->text, strlen(owner->name->text) + 1);
        hash = fnv32(hash, &occasion_bytes, sizeof(occasion_bytes));
        return MIN((epoch >> EPOCH_OWN_BITS) + 1, EPOCH_COUNT_MAX) << EPOCH_OWN_BITS | hash;
}

bool epoch_is_superseded(uint64_t epoch, uint64_t by) {
        return by >> EPOCH_OWN_BITS > epoch >> EPOCH_OWN_BITS;
}

/* Claiming. */

void claim_answers_drop(struct copies *copies) {
        struct claim_answer *answer;

        LIST_FOREACH(&copies->answers, answer, struct claim_answer, link) {
                list_remove(&answer->link);
                node_name_unref(answer->from);
                free(answer->held);
                free(answer);
        }
}

static void claim_stop(struct copies *copies, usec_t again_usec) {
        copies->claiming = copies->confirming = false;
        copies->claim_due = again_usec;
        claim_answers_drop(copies);
}

void claims_owner_gone(struct mesh *mesh, const char *node_id) {
        struct place *owner = place_find(mesh, node_id);

        if (!owner || !owner->copies)
                return;
        owner->copies->claim_due = mesh_now(mesh);
        mesh->claims_due = mesh_now(mesh);
}

void claims_owner_back(struct place *owner) {
        owner->silent_since = USEC_INFINITY;
        if (owner->copies)
                claim_stop(owner->copies, USEC_INFINITY);
}

void claims_start(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), due = usec_add(now, mesh->config.peer_timeout_usec);
        struct place *place;

        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (place->copies)
                        place->copies->claim_due = due;
        mesh->claims_due = MIN(due, usec_add(now, ORPHANS_CHECK_USEC));
}

static struct claim_answer *find_answer(struct copies *copies, const struct place *from) {
        struct claim_answer *answer;

        LIST_FOREACH(&copies->answers, answer, struct claim_answer, link)
                if (streq(answer->from->text, from->name->text))
                        return answer;
        return NULL;
}

static struct claim_answer *expect_answer(struct copies *copies, const struct place *from) {
        struct claim_answer *answer = find_answer(copies, from);

        if (answer)
                return answer;
        answer = calloc(1, sizeof(*answer));
        if (!answer)
                return NULL;
        answer->from = node_name_ref(from->name);
        list_append(&copies->answers, &answer->link);
        return answer;
}

/* Asks everybody who is there and has not answered. Whether all have. */
static bool ask(struct mesh *mesh, struct copies *copies) {
        const struct link_message message = {
                .claim = {
                        .owner = copies->owner->name->text,
                        .term = copies->term,
                        .owner_instance = copies->instance,
                },
        };
        struct claim_answer *answer;
        struct place *place;
        bool all = true;

        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                if (!place->alive || place == copies->owner)
                        continue;
                answer = expect_answer(copies, place);
                if (answer && answer->came)
                        continue;
                all = false;
                if (!place->link_up)
                        place_want_link(mesh, place);
                else {
                        if (answer)
                                answer->n_held = 0; /* it begins anew */
                        (void) place_send(mesh, place, &message);
                }
        }
        return all;
}

static bool may_claim(const struct mesh *mesh) {
        return !mesh->store_failing && !mesh->rival.elder && !mesh->stopping &&
               mesh_now(mesh) >= mesh->judge_after_usec;
}

/* What they said is as old as the claim: the owner may have come back since. Whether there is anybody to ask
 * again. */
static bool confirm(struct mesh *mesh, struct copies *copies) {
        bool asked = !list_is_empty(&copies->answers);

        copies->confirming = true;
        claim_answers_drop(copies);
        return asked && !ask(mesh, copies);
}

static void claim_step(struct mesh *mesh, struct copies *copies) {
        usec_t now = mesh_now(mesh);
        bool all;

        if (!may_claim(mesh)) {
                claim_stop(copies, usec_add(now, USEC_PER_SEC));
                return;
        }
        if (!copies->claiming) {
                copies->claiming = true;
                copies->claimed_usec = now;
        }
        all = ask(mesh, copies);
        copies->claim_due = usec_add(now, CLAIM_ASK_USEC);
        if (now < usec_add(copies->claimed_usec, CLAIM_WAIT_USEC))
                return;
        /* Who is there but cannot be asked is waited for as long as for a peer that says nothing. */
        if (!all && now < usec_add(copies->claimed_usec, mesh->config.peer_timeout_usec))
                return;
        if (copies->confirming || !confirm(mesh, copies))
                (void) takeover_begin(
                        mesh, copies,
                        /* owner_is_lost= */ true); /* what is left of it: the next step tries again */
}

/* Terms grow as long as the owner has its disk. It has another one since these copies were made, or may
 * have, and we were not there to hear of that. */
static bool are_of_another_disk(const struct place *owner, const struct link_claim *claim) {
        if (owner->copies->from_disk && owner->heard_instance == 0)
                return claim->owner_instance != owner->copies->instance;
        return claim->owner_instance != 0 && claim->owner_instance == owner->heard_instance &&
               owner->copies->instance != 0 && owner->copies->instance != owner->heard_instance;
}

static enum link_objection objection_to(struct mesh *mesh, const struct link_claim *claim) {
        const struct place *owner = place_find(mesh, claim->owner);

        if (streq(claim->owner, mesh->config.node_id) || peer_is_here(mesh, claim->owner))
                return LINK_OBJECTION_ALIVE;
        /* An earlier keeper may be the only one that has the rest. */
        if (owner && owner->copies && owner->copies->term > claim->term && !owner->copies->partial &&
            !are_of_another_disk(owner, claim))
                return LINK_OBJECTION_TERM;
        return LINK_OBJECTION_NONE;
}

static void answer_claim(struct mesh *mesh, struct place *from, const struct link_claim *claim) {
        struct place *owner = place_find(mesh, claim->owner);
        struct link_held held[HELD_PER_ANSWER];
        struct link_message message = {
                .claim_answer = {
                        .owner = claim->owner,
                        .term = claim->term,
                        .objection = objection_to(mesh, claim),
                        .held = held,
                        .more = true,
                },
        };
        struct guest *guest;

        /* What both have goes to the earlier keeper, which has all of it; then it is seen what is left. */
        if (owner && owner->copies && owner->copies->term > claim->term &&
            owner->copies->deferred_to != claim->term &&
            message.claim_answer.objection == LINK_OBJECTION_NONE) {
                owner->copies->deferred_to = claim->term;
                claim_stop(owner->copies, usec_add(mesh_now(mesh), mesh->config.peer_timeout_usec));
        }
        if (owner && message.claim_answer.objection == LINK_OBJECTION_NONE)
                LIST_FOREACH(&owner->guests, guest, struct guest, place_link) {
                        if (guest_is_retired(guest))
                                continue;
                        held[message.claim_answer.n_held++] = guest_held(guest);
                        if (message.claim_answer.n_held == HELD_PER_ANSWER) {
                                if (!place_send(mesh, from, &message))
                                        return; /* asked again */
                                message.claim_answer.n_held = 0;
                        }
                }
        message.claim_answer.more = false;
        (void) place_send(mesh, from, &message);
}

static void take_claim_answer(struct mesh *mesh, struct place *from, const struct link_claim_answer *said) {
        struct place *owner = place_find(mesh, said->owner);
        struct copies *copies = owner ? owner->copies : NULL;
        struct claim_answer *answer;
        struct link_held *held;

        if (!copies || !copies->claiming || copies->term != said->term)
                return;
        if (said->objection == LINK_OBJECTION_ALIVE) {
                claim_stop(copies, usec_add(mesh_now(mesh), mesh->config.heartbeat_interval_usec));
                return;
        }
        if (said->objection == LINK_OBJECTION_TERM) {
                claim_stop(
                        copies, copies_discard(mesh, copies) ? USEC_INFINITY
                                                             : usec_add(mesh_now(mesh), USEC_PER_SEC));
                return;
        }
        answer = find_answer(copies, from);
        if (!answer || answer->came)
                return;
        if (said->n_held > GUESTS_MAX - answer->n_held)
                return; /* nobody has so many */
        if (said->n_held > 0) {
                held = reallocarray(answer->held, answer->n_held + said->n_held, sizeof(*held));
                if (!held)
                        return; /* asked again */
                memcpy(held + answer->n_held, said->held, said->n_held * sizeof(*held));
                answer->held = held;
                answer->n_held += said->n_held;
        }
        answer->came = !said->more;
}

void claims_take(struct mesh *mesh, struct place *from, const struct link_message *message) {
        if (message->claim.owner)
                answer_claim(mesh, from, &message->claim);
        if (message->claim_answer.owner)
                take_claim_answer(mesh, from, &message->claim_answer);
        for (size_t i = 0; i < message->n_takeovers; i++)
                guest_change_owner(mesh, from, &message->takeovers[i]);
}

/* Runs whose owner has been away for so long that somebody else has to answer for them. */
static void adopt_orphans(struct mesh *mesh) {
        struct place *place;

        if (!may_claim(mesh))
                return;
        MAP_FOREACH(&mesh->places, place, struct place, by_id)
                if (!place->alive && !list_is_empty(&place->guests) &&
                    mesh_now(mesh) >= usec_add(place->silent_since, ORPHAN_USEC))
                        takeover_orphans(mesh, place);
}

void claims_check(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), next = usec_add(now, ORPHANS_CHECK_USEC);
        struct place *place;

        if (now >= mesh->held_back_until)
                keeper_resume(mesh);
        next = MIN(next, mesh->held_back_until);
        takeover_announce_due(mesh);
        next = MIN(next, mesh->announce_due);
        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                if (!place->copies)
                        continue;
                place->busy++;
                if (place->copies->claim_due <= now)
                        claim_step(mesh, place->copies);
                if (place->copies && list_is_empty(&place->copies->list) && !place->alive &&
                    now >= usec_add(place->silent_since, ORPHAN_USEC) && copies_discard(mesh, place->copies))
                        copies_free(mesh, place->copies);
                if (place->copies)
                        next = MIN(next, place->copies->claim_due);
                place->busy--;
                place_check(mesh, place);
        }
        adopt_orphans(mesh);
        mesh->claims_due = MAX(next, usec_add(now, USEC_PER_MSEC));
}
