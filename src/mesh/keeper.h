/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The second disk: copies of our jobs at a keeper, copies of others' here, and how jobs change their owner.
 */

#include "mesh/own-jobs.h"

/* A submission that is not answered yet. */
struct answer {
        struct list_link link; /* in mesh.answers */
        void *tag;
        size_t n_uncopied; /* of its jobs */
        bool durable;      /* here */
        bool copied;       /* there will have been two, when none is uncopied */
};

enum keeper_state {
        KEEPER_NONE,
        KEEPER_SAVING, /* that this node may have copies from now on is on its way to the disk */
        KEEPER_CHOSEN,
};

/* Who has copies of our jobs. */
struct keeper {
        enum keeper_state state;
        struct place *place;
        uint64_t term;            /* of this keeper, or of the last one */
        uint64_t number, acked;   /* of copies sent, and of those that it has */
        uint64_t bytes;           /* of all that were ever sent, about */
        uint64_t complete_number; /* of the word that all was told; 0: not said */
        struct list unsent, sent; /* jobs; those sent in order of their numbers */
        usec_t moved_usec;        /* when something was sent after nothing was owed, or acknowledged */
};

/* A node that may have copies of ours, until it says that it has none. */
struct holder {
        struct map_link by_id;
        struct node_name *name;
        uint64_t term;
        bool answered; /* after our restart: what it took over is known */
};

/* Until a keeper that was too slow is asked again; twice as long each time that it is so again soon. */
#define KEEPER_AGAIN_USEC (2 * USEC_PER_SEC)
#define KEEPER_AGAIN_MAX_USEC (30 * USEC_PER_SEC)
/* Who had the job before gives it up when it hears of us: that is not said before a second disk has it,
 * unless none is found for so long. What waits does not begin before that, either. */
#define ANNOUNCE_USEC (15 * USEC_PER_SEC)

/* keeper.c: copies of ours. */
void keeper_choose(struct mesh *mesh);
bool keeper_may_be_found(struct mesh *mesh); /* or there is one */
bool keeper_needs(const struct mesh *mesh, const struct place *place);
bool keeper_needs_link(const struct mesh *mesh, const struct place *place); /* to say something */
void keeper_changed(struct mesh *mesh, struct mesh_job *job);
void keeper_forget(struct mesh *mesh, struct mesh_job *job);
void keeper_flush(struct mesh *mesh, const struct place *place);
void keeper_check(struct mesh *mesh);
void keeper_take(struct mesh *mesh, struct place *place, const struct link_message *message);
void keeper_written(struct mesh *mesh, const struct record *record, int error);
void keeper_link_up(struct mesh *mesh, struct place *place, uint64_t instance);
void keeper_heard(struct mesh *mesh, struct place *place);
void keeper_lost(struct mesh *mesh, const struct place *place);
void keeper_start(struct mesh *mesh);
void keeper_resume(struct mesh *mesh); /* what was held back after a restart may begin */
void keeper_holder_answered(struct mesh *mesh, const struct place *place);
bool keeper_is_idle(const struct mesh *mesh);
void keeper_free(struct mesh *mesh);
int answer_new(struct mesh *mesh, void *tag, struct answer **ret);
void answer_free(struct answer *answer);
void answer_expect(struct mesh *mesh, struct answer *answer, struct mesh_job *job);
void answer_check(struct mesh *mesh, struct answer *answer);

/* copies.c: copies of others'. */
void copies_of_place_free(struct mesh *mesh, struct place *place);
void copies_take(struct mesh *mesh, struct place *owner, const struct link_message *message);
void copies_written(struct mesh *mesh, const struct record *record, int error);

/* claims.c, takeover.c: jobs that change their owner. */
/* occasion: never the same for two takeovers from one owner. */
uint64_t next_epoch(const struct mesh *mesh, uint64_t epoch, const struct place *owner, uint64_t occasion);
/* The second is that of somebody who took the job over later, or from there. */
bool epoch_is_superseded(uint64_t epoch, uint64_t by);
void claims_start(struct mesh *mesh);
void claims_check(struct mesh *mesh);
void claims_owner_gone(struct mesh *mesh, const char *node_id);
void claims_owner_back(struct place *owner);
void claims_take(struct mesh *mesh, struct place *from, const struct link_message *message);
void takeover_tell(struct mesh *mesh, struct mesh_job *job);
void takeover_start(struct mesh *mesh);
/* A job that was taken over before a restart: whether it ends now, since it must not begin here. */
bool takeover_resume(struct mesh *mesh, struct mesh_job *job);
void takeover_announce(struct mesh *mesh, struct mesh_job *job);  /* now, if it was not */
void takeover_announced(struct mesh *mesh, struct mesh_job *job); /* or it goes: nobody waits for it */
void takeover_announce_due(struct mesh *mesh);
void takeover_written(struct mesh *mesh, struct mesh_job *job, const struct record *record, int error);
/* What another node says of a job of which it is the owner. */
void takeover_heard(
        struct mesh *mesh, const char *owner, const struct uuid *id, enum job_status status, uint64_t epoch);
void ends_merge(struct mesh *mesh, const struct uuid *id);
void merge_written(struct mesh *mesh, const struct record *record, int error);
void merges_drop(struct mesh *mesh, bool write); /* what the disk could not take: once more, or never */
