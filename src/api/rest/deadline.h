/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Points in time by which something must have happened. All in one list have the same span, so that the
 * order of arrival is the order in time, and none of it costs more than a list link. */

#include <stdbool.h>

#include "util/list.h"
#include "util/time.h"

struct deadline {
        struct list_link link;
        usec_t at_usec; /* CLOCK_MONOTONIC */
};

struct deadlines {
        usec_t span_usec;
        struct list list;
};

static inline void deadlines_init(struct deadlines *deadlines, usec_t span_usec) {
        deadlines->span_usec = span_usec;
        list_init(&deadlines->list);
}

/* Takes it out of the list that it was in. */
static inline void deadline_start(struct deadlines *deadlines, struct deadline *deadline, usec_t now_usec) {
        list_remove(&deadline->link);
        deadline->at_usec = now_usec + deadlines->span_usec;
        list_append(&deadlines->list, &deadline->link);
}

static inline void deadline_stop(struct deadline *deadline) {
        list_remove(&deadline->link);
}

/* USEC_INFINITY: none. */
static inline usec_t deadlines_next(struct deadlines *deadlines) {
        struct deadline *first = LIST_FIRST(&deadlines->list, struct deadline, link);

        return first ? first->at_usec : USEC_INFINITY;
}

/* Takes the first one out that is over; NULL: none is. */
static inline struct deadline *deadlines_pop(struct deadlines *deadlines, usec_t now_usec) {
        struct deadline *first = LIST_FIRST(&deadlines->list, struct deadline, link);

        if (!first || first->at_usec > now_usec)
                return NULL;
        list_remove(&first->link);
        return first;
}
