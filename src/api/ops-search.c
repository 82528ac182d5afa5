/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who has a job: the node that is likely to is asked first, then all others at once, as many as may be. The
 * first that has it is the answer. */

#include <stdio.h>

#include "api/ops-remote.h"
#include "mesh/mesh.h"

struct leg {
        struct search *search;
        struct ask *ask; /* NULL: not asked yet, or answered */
        char node_id[NODE_ID_MAX + 1];
};

struct search {
        struct ops *ops;
        struct link_call call;
        struct leg *legs;
        size_t n_legs, n_begun, n_under_way, n_silent;
        bool hinted; /* the first leg goes alone */
        sd_event_source *timer;
        search_handler_t handler;
        void *userdata;
};

struct search *search_cancel(struct search *search) {
        if (!search)
                return NULL;
        for (size_t i = 0; i < search->n_legs; i++)
                ask_cancel(search->legs[i].ask);
        sd_event_source_disable_unref(search->timer);
        free(search->legs);
        free(search);
        return NULL;
}

static void finish(struct search *search, const char *found, const struct link_answer *answer) {
        search_handler_t handler = search->handler;
        size_t n_silent = search->n_silent;
        void *userdata = search->userdata;
        char node_id[NODE_ID_MAX + 1];

        if (found)
                (void) snprintf(node_id, sizeof(node_id), "%s", found);
        search_cancel(search);
        handler(userdata, found ? node_id : NULL, answer, n_silent);
}

static void on_answer(void *userdata, int error, const struct link_answer *answer);

/* False: nothing is under way, and nobody is left. */
static bool go_on(struct search *search) {
        while (search->n_begun < search->n_legs && search->n_under_way < SEARCH_FANOUT_MAX) {
                bool first = search->hinted && search->n_begun == 0;
                struct leg *leg = &search->legs[search->n_begun];

                if (search->hinted && search->n_begun == 1 && search->n_under_way > 0)
                        break;
                search->n_begun++;
                if (ask_begin(
                            search->ops, leg->node_id, &search->call, first ? SEARCH_HINT_USEC : SEARCH_USEC,
                            on_answer, leg, &leg->ask) < 0)
                        search->n_silent++;
                else
                        search->n_under_way++;
        }
        return search->n_under_way > 0;
}

static void on_answer(void *userdata, int error, const struct link_answer *answer) {
        struct leg *leg = userdata;
        struct search *search = leg->search;
        enum problem_code code = error < 0 ? PROBLEM_NODE_AWAY : answer_problem_code(answer);

        leg->ask = NULL;
        search->n_under_way--;
        if (code == PROBLEM_NONE && answer->has_record &&
            uuid_equal(&answer->record.job.id, &search->call.run.job)) {
                finish(search, leg->node_id, answer);
                return;
        }
        if (code != PROBLEM_NOT_FOUND)
                search->n_silent++;
        if (!go_on(search))
                finish(search, NULL, NULL);
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata) {
        struct search *search = userdata;

        search->n_silent += search->n_under_way + (search->n_legs - search->n_begun);
        finish(search, NULL, NULL);
        return 0;
}

struct candidates {
        struct search *search;
        const char *hint;
        size_t n_allocated;
};

static void add_leg(struct search *search, const char *node_id) {
        struct leg *leg = &search->legs[search->n_legs++];

        leg->search = search;
        (void) snprintf(leg->node_id, sizeof(leg->node_id), "%s", node_id);
}

/* One that does not answer even the mind is not asked, and may be the one that has it. */
static void add_candidate(void *userdata, const struct mesh_peer *peer) {
        struct candidates *candidates = userdata;
        struct search *search = candidates->search;

        if (!peer->verified || !peer->trusted || search->n_legs >= candidates->n_allocated ||
            (search->hinted && streq(peer->info.node_id, candidates->hint)))
                return;
        if (peer->lost)
                search->n_silent++;
        else
                add_leg(search, peer->info.node_id);
}

static int add_legs(struct search *search, const char *hint) {
        struct candidates candidates = { .search = search, .hint = hint };
        struct mesh_state state;

        mesh_get_state(search->ops->mesh, &state);
        candidates.n_allocated = (size_t) state.n_peers + 1;
        search->legs = calloc(candidates.n_allocated, sizeof(*search->legs));
        if (!search->legs)
                return -ENOMEM;
        search->hinted = hint && mesh_get_peer(search->ops->mesh, hint);
        if (search->hinted)
                add_leg(search, hint);
        mesh_foreach_peer(search->ops->mesh, add_candidate, &candidates);
        return 0;
}

int search_begin(
        struct ops *ops, const struct link_call *call, const char *hint, usec_t timeout_usec,
        search_handler_t handler, void *userdata, struct search **ret) {
        struct search *search = calloc(1, sizeof(*search));
        int r;

        if (!search)
                return -ENOMEM;
        *search = (struct search){ .ops = ops, .call = *call, .handler = handler, .userdata = userdata };
        r = add_legs(search, hint);
        if (r >= 0)
                /* Where nobody is left to ask, that is told from the loop, too. */
                r = sd_event_add_time_relative(
                        ops->event, &search->timer, CLOCK_BOOTTIME, go_on(search) ? timeout_usec : 0,
                        USEC_PER_MSEC, on_late, search);
        if (r < 0) {
                search_cancel(search);
                return r;
        }
        (void) sd_event_source_set_description(search->timer, "search-deadline");
        *ret = search;
        return 0;
}
