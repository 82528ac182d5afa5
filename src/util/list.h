/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An intrusive doubly linked list with a head that knows both ends. A zeroed link is not in any list; a head
 * must be initialised. The owner of the objects is whoever embeds the links; the list owns nothing. */

#include <stdbool.h>

#include "util/macros.h"

struct list_link {
        struct list_link *prev, *next;
};

struct list {
        struct list_link root;
};

static inline void list_init(struct list *list) {
        list->root.prev = list->root.next = &list->root;
}

static inline bool list_is_empty(const struct list *list) {
        return list->root.next == &list->root;
}

static inline bool list_is_linked(const struct list_link *link) {
        return link->next != NULL;
}

static inline void list_insert_before(struct list_link *position, struct list_link *link) {
        assert(!list_is_linked(link));
        link->prev = position->prev;
        link->next = position;
        position->prev->next = link;
        position->prev = link;
}

static inline void list_append(struct list *list, struct list_link *link) {
        list_insert_before(&list->root, link);
}

static inline void list_prepend(struct list *list, struct list_link *link) {
        list_insert_before(list->root.next, link);
}

/* Harmless when the link is in no list. */
static inline void list_remove(struct list_link *link) {
        if (!list_is_linked(link))
                return;
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link->prev = link->next = NULL;
}

static inline struct list_link *list_first(struct list *list) {
        return list_is_empty(list) ? NULL : list->root.next;
}

/* Moves everything to a list that need not be initialised, and leaves the source empty. */
static inline void list_move(struct list *source, struct list *ret_target) {
        list_init(ret_target);
        if (list_is_empty(source))
                return;
        ret_target->root = source->root;
        ret_target->root.next->prev = ret_target->root.prev->next = &ret_target->root;
        list_init(source);
}

/* The object that embeds the first link, or NULL. */
#define LIST_FIRST(list, type, member)                              \
        ({                                                          \
                struct list_link *_first = list_first(list);        \
                _first ? CONTAINER_OF(_first, type, member) : NULL; \
        })

/* Walks the list; the current object may be removed or freed by the body. May be nested. */
#define LIST_FOREACH(list, variable, type, member) _LIST_FOREACH(__COUNTER__, list, variable, type, member)
#define _LIST_FOREACH(number, list, variable, type, member) \
        __LIST_FOREACH(CONCATENATE(_link, number), CONCATENATE(_next, number), list, variable, type, member)
#define __LIST_FOREACH(link, following, list, variable, type, member)                        \
        for (struct list_link *link = (list)->root.next, *following = link->next;            \
             link != &(list)->root && ((variable = CONTAINER_OF(link, type, member)), true); \
             link = following, following = link->next)
