/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the index travels. Each node asks each owner for what comes after the last number that it has, and is
 * told in parts; with each part it asks for the next one, so that no more than one is on its way. Who has
 * everything is told what is new when that has gathered for a moment, as long as the link is up. Heartbeats
 * tell how far an owner has come: who is behind and has no link to it opens one, not all at once. */

#include "mesh/index-internal.h"

#define PUSH_LINGER_USEC (100 * USEC_PER_MSEC) /* the changes of one short job are one entry */
#define PUSH_INTERVAL_USEC USEC_PER_SEC        /* from one part to the next, unless there are */
#define PUSH_CHANGES 500u                      /* so many changes */
#define PUSH_PLACES 4u                         /* that are told in one turn of the loop */
#define ASK_JITTER_USEC (2 * USEC_PER_SEC)     /* before a link is opened */
#define RETOLD_MAX 2u                          /* it may have forgotten the job, and never settle it */
#define ASK_RETRY_USEC USEC_PER_SEC            /* after a link had no room */

/* The owner as the index knows it. What it told outlives the place. */
static struct index_name *owner_of(struct mesh *mesh, struct place *place) {
        if (!place->index.owner)
                (void) index_name_get(mesh->index->table, place->name->text, &place->index.owner);
        return place->index.owner;
}

void index_forget_place(struct mesh *mesh, struct place *place) {
        place->index.owner = index_name_put(mesh->index->table, place->index.owner);
}

static void arm(struct mesh *mesh) {
        mesh->index_due = MIN(mesh->index->push_due, mesh->index->ask_due);
}

void index_links_changed(struct mesh *mesh) {
        struct index *index = mesh->index;
        bool leaves = mesh->draining & MESH_DRAIN_STOP;
        usec_t now = mesh_now(mesh), due = usec_add(now, PUSH_LINGER_USEC);

        if (index->head - index->pushed_head >= PUSH_CHANGES)
                due = now;
        else if (!leaves)
                due = MAX(due, usec_add(index->pushed_at, PUSH_INTERVAL_USEC));
        index->push_due = MIN(index->push_due, due);
        arm(mesh);
}

static void ask_later(struct mesh *mesh, struct place *place, usec_t wait) {
        if (place->index.ask_due == 0)
                place->index.ask_due = usec_add(mesh_now(mesh), wait);
        mesh->index->ask_due = MIN(mesh->index->ask_due, place->index.ask_due);
        arm(mesh);
}

static void ask(struct mesh *mesh, struct place *place) {
        const struct index_name *owner = owner_of(mesh, place);
        struct link_message message = { .has_index_ask = true };

        if (!owner || place->index.asked)
                return;
        message.index_ask = (struct link_index_ask){
                .generation = owner->generation,
                .after = owner->seen,
                .room = LINK_INDEX_ENTRIES_MAX,
                .since = index_table_horizon(mesh->index->table),
        };
        place->index.asked = place_send(mesh, place, &message);
        if (!place->index.asked)
                ask_later(mesh, place, ASK_RETRY_USEC);
}

static bool is_behind(struct mesh *mesh, struct place *place) {
        const struct peer *peer = peer_find(mesh, place->name->text);
        const struct index_name *owner = owner_of(mesh, place);

        if (!peer || !owner || !peer_is_here(mesh, place->name->text))
                return false;
        if (peer->public.instance != owner->generation)
                return peer->public.info.index_head > 0 ||
                       (owner->generation != 0 && owner->n_references > 1);
        return peer->public.info.index_head > owner->seen || !owner->complete;
}

static bool needs_link(struct mesh *mesh, struct place *place) {
        return is_behind(mesh, place) || index_is_disputed(place);
}

void index_heard(struct mesh *mesh, struct place *place) {
        if (place->link_up)
                index_tell_disputes(mesh, place);
        else if (needs_link(mesh, place))
                ask_later(mesh, place, mesh_random_below(mesh, ASK_JITTER_USEC));
}

void index_link_down(struct place *place) {
        struct index_name *owner = place->index.owner;

        /* It may not have come. */
        if (owner && place->index.told_disputes && owner->n_retold < RETOLD_MAX) {
                owner->disputed = true;
                owner->n_retold++;
        }
        place->index = (struct place_index){ .owner = owner };
}

/* Nothing is left of what was said over the last one, whether or not it was missed. */
void index_link_up(struct mesh *mesh, struct place *place) {
        index_link_down(place);
        ask(mesh, place);
}

/* The first change after this number. */
static size_t find_change(const struct index *index, uint64_t after) {
        size_t low = 0, high = index->n_log;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (index->log[middle].number <= after)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* A part that is being put together. */
struct part {
        struct link_index_entry entries[LINK_INDEX_ENTRIES_MAX];
        struct index_name *names[LINK_INDEX_ENTRIES_MAX];
        const char *nodes[LINK_INDEX_ENTRIES_MAX];
        size_t n_entries, n_nodes;
};

static uint32_t part_node(struct part *part, struct index_name *name) {
        if (!name)
                return 0;
        if (name->mark == 0) {
                part->names[part->n_nodes] = name;
                part->nodes[part->n_nodes++] = name->text;
                name->mark = (uint32_t) part->n_nodes;
        }
        return name->mark;
}

static void part_add(struct part *part, const struct index_entry *entry) {
        part->entries[part->n_entries++] = (struct link_index_entry){
                .job = entry->job,
                .number = entry->number,
                .epoch = entry->epoch,
                .status = (enum job_status) entry->status,
                .executor = part_node(part, entry->executor),
                .has_exit_code = entry->exit_code >= 0,
                .exit_code = MAX(entry->exit_code, 0),
                .created_at = entry->created_at,
                .started_at = entry->started_at,
                .finished_at = entry->finished_at,
                .kept = entry->kept,
        };
}

/* Returns the number up to which the part tells everything. */
static uint64_t part_fill(struct part *part, const struct index *index, const struct place_index *asker) {
        for (size_t i = find_change(index, asker->after); i < index->n_log; i++) {
                const struct index_entry *entry = index_table_at(index->table, index->log[i].entry);

                if (!index_change_is_current(index, &index->log[i]) || entry->created_at <= asker->since)
                        continue;
                if (part->n_entries == asker->room)
                        return part->entries[part->n_entries - 1].number;
                part_add(part, entry);
        }
        return index->head;
}

/* What is being taken over is not told yet; but whose jobs these were may not begin them before it is. */
static bool is_complete(const struct mesh *mesh) {
        return mesh->index->restored && mesh->n_unannounced == 0;
}

/* Answers what was asked, where there is an answer; whether there was one. */
static bool tell(struct mesh *mesh, struct place *place) {
        struct place_index *asker = &place->index;
        const struct index *index = mesh->index;
        _cleanup_free_ struct part *part = NULL;
        struct link_message message = { .has_index_part = true };

        if (!asker->asks || !place->link_up)
                return false;
        if (asker->after == index->head && (asker->told_all || !is_complete(mesh)))
                return false;
        part = malloc(sizeof(*part));
        if (!part)
                return false;
        part->n_entries = part->n_nodes = 0;

        message.index_part.generation = mesh->config.instance;
        message.index_part.head = index->head;
        message.index_part.through = part_fill(part, index, asker);
        message.index_part.complete = is_complete(mesh) && message.index_part.through == index->head;
        message.index_entries = part->entries;
        message.n_index_entries = part->n_entries;
        message.index_nodes = part->nodes;
        message.n_index_nodes = part->n_nodes;
        for (size_t i = 0; i < part->n_nodes; i++)
                part->names[i]->mark = 0;
        /* What does not go out does so when the link has room. */
        if (!place_send(mesh, place, &message))
                return false;
        asker->asks = false;
        asker->told_all = message.index_part.complete;
        return true;
}

void index_link_writable(struct mesh *mesh, struct place *place) {
        (void) tell(mesh, place);
        ask(mesh, place);
}

static void take_ask(struct mesh *mesh, struct place *place, const struct link_index_ask *asked) {
        struct index *index = mesh->index;
        struct place_index *asker = &place->index;
        bool same = asked->generation == mesh->config.instance && asked->after <= index->head;

        asker->asks = true;
        asker->after = same ? asked->after : 0;
        asker->since = asked->since;
        asker->room = CLAMP(asked->room, 1u, LINK_INDEX_ENTRIES_MAX);
        if (!asker->told_all || !same)
                (void) tell(mesh, place);
        else if (asker->after < index->head)
                index_links_changed(mesh);
}

static void take_entry(
        struct mesh *mesh, struct index_name *owner, const struct link_message *message,
        const struct link_index_entry *entry) {
        struct index_table *table = mesh->index->table;
        struct index_said said = {
                .job = entry->job,
                .status = entry->status,
                .exit_code = entry->has_exit_code ? entry->exit_code : -1,
                .created_at = entry->created_at,
                .started_at = entry->started_at,
                .finished_at = entry->finished_at,
                .epoch = entry->epoch,
                .number = entry->number,
                .owner = owner,
                .kept = entry->kept,
        };
        const struct index_entry *told = index_table_find(table, &said.job, owner);
        uint32_t number;

        /* What an owner tells all comes later than what it told its keeper, and may be older. */
        if (told && told->by_keeper && told->round == owner->round && !job_status_is_final(said.status))
                return;
        if (entry->executor > 0)
                (void) index_name_get(table, message->index_nodes[entry->executor - 1], &said.executor);
        if (index_table_put(table, &said, &number) > 0)
                index_table_note_disputes(table, &said.job);
        index_name_put(table, said.executor);
        if (entry->kept)
                return;
        takeover_heard(mesh, owner->text, &said.job, said.status, said.epoch);
}

/* Only what was asked for, and of an owner only by itself. */
static void take_part(struct mesh *mesh, struct place *place, const struct link_message *message) {
        const struct link_index_part *part = &message->index_part;
        struct index_name *owner = owner_of(mesh, place);

        if (!owner || !place->index.asked)
                return;
        place->index.asked = false;
        index_name_renew(owner, part->generation);
        for (size_t i = 0; i < message->n_index_entries; i++)
                take_entry(mesh, owner, message, &message->index_entries[i]);
        owner->seen = MAX(owner->seen, part->through);
        /* What it does not know any more, and had not ended, is no job of its: it lost its disk, or the job
         * went to another owner. What it said to have ended has, whether or not it still remembers; what its
         * keeper alone was told has only if it does. */
        if (part->complete && !owner->complete)
                index_table_drop_unconfirmed(mesh->index->table, owner);
        owner->complete = owner->complete || part->complete;
        if (part->complete)
                keeper_holder_answered(mesh, place);
        ask(mesh, place);
}

void index_received(struct mesh *mesh, struct place *place, const struct link_message *message) {
        if (message->has_index_part)
                take_part(mesh, place, message);
        if (message->has_index_ask)
                take_ask(mesh, place, &message->index_ask);
        index_take_overruled(mesh, place, message);
}

/* Everybody once, a few in each turn of the loop. */
static void push(struct mesh *mesh) {
        struct index *index = mesh->index;
        struct place *place;
        unsigned n = 0;

        index->push_due = USEC_INFINITY;
        if (!index->pushing) {
                index->pushing = true;
                index->push_round++;
                index->pushed_at = mesh_now(mesh);
                index->pushed_head = index->head;
        }
        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                if (place->index.push_round == index->push_round)
                        continue;
                if (n == PUSH_PLACES) {
                        index->push_due = mesh_now(mesh);
                        return;
                }
                place->index.push_round = index->push_round;
                n += tell(mesh, place);
        }
        index->pushing = false;
        if (index->head > index->pushed_head)
                index_links_changed(mesh);
}

static void ask_those_due(struct mesh *mesh) {
        usec_t now = mesh_now(mesh), next = USEC_INFINITY;
        struct place *place;

        mesh->index->ask_due = USEC_INFINITY;
        MAP_FOREACH(&mesh->places, place, struct place, by_id) {
                if (place->index.ask_due > now) {
                        next = MIN(next, place->index.ask_due);
                        continue;
                }
                if (place->index.ask_due == 0)
                        continue;
                place->index.ask_due = 0;
                if (place->link_up)
                        ask(mesh, place);
                else if (needs_link(mesh, place))
                        place_want_link(mesh, place);
        }
        mesh->index->ask_due = MIN(mesh->index->ask_due, next);
}

void index_timer(struct mesh *mesh) {
        usec_t now = mesh_now(mesh);

        if (mesh->index->push_due <= now)
                push(mesh);
        if (mesh->index->ask_due <= now)
                ask_those_due(mesh);
        arm(mesh);
}
