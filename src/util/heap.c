/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/heap.h"

/* The later of two roots becomes the first child of the other. */
static struct heap_link *meld(struct heap_link *a, struct heap_link *b, heap_before_t before) {
        if (before(b, a)) {
                struct heap_link *c = a;

                a = b;
                b = c;
        }
        b->next = a->child;
        if (b->next)
                b->next->prev = b;
        b->prev = a;
        a->child = b;
        return a;
}

/* Melds the children of a link that goes: in pairs, and then the pairs. */
static struct heap_link *meld_all(struct heap_link *first, heap_before_t before) {
        struct heap_link *pairs = NULL, *root = NULL;

        while (first) {
                struct heap_link *a = first, *b = a->next;

                first = b ? b->next : NULL;
                if (b)
                        a = meld(a, b, before);
                a->next = pairs;
                pairs = a;
        }
        while (pairs) {
                struct heap_link *a = pairs;

                pairs = a->next;
                root = root ? meld(root, a, before) : a;
        }
        return root;
}

static void set_root(struct heap *heap, struct heap_link *root) {
        heap->root = root;
        if (root) {
                root->next = NULL;
                root->prev = root;
        }
}

void heap_add(struct heap *heap, struct heap_link *link, heap_before_t before) {
        assert(!heap_is_linked(link));
        link->child = link->next = NULL;
        set_root(heap, heap->root ? meld(heap->root, link, before) : link);
}

void heap_remove(struct heap *heap, struct heap_link *link, heap_before_t before) {
        struct heap_link *rest;

        if (!heap_is_linked(link))
                return;
        rest = meld_all(link->child, before);
        if (link == heap->root)
                set_root(heap, rest);
        else {
                if (link->prev->child == link)
                        link->prev->child = link->next;
                else
                        link->prev->next = link->next;
                if (link->next)
                        link->next->prev = link->prev;
                if (rest)
                        set_root(heap, meld(heap->root, rest, before));
        }
        *link = (struct heap_link){ 0 };
}
