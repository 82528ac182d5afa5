/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mesh/index-tree.h"

static struct index_entry *at(const struct index_table *table, uint32_t number) {
        return index_entry_at(table, number);
}

/* Where the tree says that this one is: the root, or a side of its parent. */
static uint32_t *place_of(struct index_table *table, uint32_t number) {
        uint32_t parent = at(table, number)->parent;

        if (parent == INDEX_NONE)
                return &table->root;
        return at(table, parent)->left == number ? &at(table, parent)->left : &at(table, parent)->right;
}

static uint64_t priority(const struct index_table *table, uint32_t number) {
        return index_mix(&at(table, number)->job, ~table->seed);
}

/* Above its parent, which becomes its child. */
static void rotate_up(struct index_table *table, uint32_t number) {
        struct index_entry *entry = at(table, number);
        uint32_t parent = entry->parent, child;
        struct index_entry *old = at(table, parent);

        *place_of(table, parent) = number;
        entry->parent = old->parent;
        if (old->left == number) {
                child = old->left = entry->right;
                entry->right = parent;
        } else {
                child = old->right = entry->left;
                entry->left = parent;
        }
        if (child != INDEX_NONE)
                at(table, child)->parent = parent;
        old->parent = number;
}

void index_tree_insert(struct index_table *table, uint32_t number) {
        struct index_entry *entry = at(table, number);
        uint64_t position = index_entry_position(entry), own = priority(table, number);
        uint32_t parent = INDEX_NONE, *place = &table->root;

        while (*place != INDEX_NONE) {
                parent = *place;
                place = position < index_entry_position(at(table, parent)) ? &at(table, parent)->left
                                                                           : &at(table, parent)->right;
        }
        *place = number;
        entry->parent = parent;
        entry->left = entry->right = INDEX_NONE;
        while (entry->parent != INDEX_NONE && own > priority(table, entry->parent))
                rotate_up(table, number);
}

void index_tree_remove(struct index_table *table, uint32_t number) {
        struct index_entry *entry = at(table, number);

        while (entry->left != INDEX_NONE && entry->right != INDEX_NONE)
                rotate_up(
                        table, priority(table, entry->left) > priority(table, entry->right) ? entry->left
                                                                                            : entry->right);
        uint32_t child = entry->left != INDEX_NONE ? entry->left : entry->right;
        *place_of(table, number) = child;
        if (child != INDEX_NONE)
                at(table, child)->parent = entry->parent;
}

bool index_tree_has(const struct index_table *table, uint64_t position) {
        uint32_t number = table->root;

        while (number != INDEX_NONE && index_entry_position(at(table, number)) != position)
                number = position < index_entry_position(at(table, number)) ? at(table, number)->left
                                                                            : at(table, number)->right;
        return number != INDEX_NONE;
}

uint32_t index_tree_first(const struct index_table *table) {
        uint32_t number = table->root;

        while (number != INDEX_NONE && at(table, number)->left != INDEX_NONE)
                number = at(table, number)->left;
        return number;
}

uint32_t index_tree_below(const struct index_table *table, uint64_t position) {
        uint32_t number = table->root, found = INDEX_NONE;

        while (number != INDEX_NONE)
                if (index_entry_position(at(table, number)) < position) {
                        found = number;
                        number = at(table, number)->right;
                } else
                        number = at(table, number)->left;
        return found;
}

uint32_t index_tree_previous(const struct index_table *table, uint32_t number) {
        uint32_t next = at(table, number)->left;

        if (next != INDEX_NONE) {
                while (at(table, next)->right != INDEX_NONE)
                        next = at(table, next)->right;
                return next;
        }
        next = at(table, number)->parent;
        while (next != INDEX_NONE && at(table, next)->left == number) {
                number = next;
                next = at(table, number)->parent;
        }
        return next;
}
