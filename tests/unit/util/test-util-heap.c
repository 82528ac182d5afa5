/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/heap.h"

#define OBJECTS 2000

struct object {
        struct heap_link link;
        uint64_t key;
        bool there;
};

static struct object objects[OBJECTS];

static bool comes_before(const struct heap_link *a, const struct heap_link *b) {
        return CONTAINER_OF(a, struct object, link)->key < CONTAINER_OF(b, struct object, link)->key;
}

static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
        random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (random_state >> 33) % limit;
}

/* The first, as a walk over all of them finds it. */
static struct object *first_by_walk(void) {
        struct object *first = NULL;

        for (size_t i = 0; i < OBJECTS; i++)
                if (objects[i].there && (!first || objects[i].key < first->key))
                        first = &objects[i];
        return first;
}

static void put(struct heap *heap, struct object *object, uint64_t key) {
        object->key = key;
        object->there = true;
        heap_add(heap, &object->link, comes_before);
        ASSERT_TRUE(heap_is_linked(&object->link));
}

static void take(struct heap *heap, struct object *object) {
        object->there = false;
        heap_remove(heap, &object->link, comes_before);
        ASSERT_FALSE(heap_is_linked(&object->link));
}

static void test_random(void) {
        struct heap heap = { 0 };

        for (unsigned round = 0; round < 20; round++) {
                unsigned bias = 30 + (unsigned) random_below(40);

                for (unsigned i = 0; i < 3000; i++) {
                        struct object *object = &objects[random_below(OBJECTS)];

                        if (object->there)
                                take(&heap, object);
                        else if (random_below(100) < bias)
                                put(&heap, object,
                                    random_below(1000) * OBJECTS + (size_t) (object - objects));
                        else if (heap.root)
                                take(&heap, HEAP_FIRST(&heap, struct object, link));
                        if (i % 50 == 0)
                                ASSERT_TRUE(HEAP_FIRST(&heap, struct object, link) == first_by_walk());
                }
        }
        while (heap.root) {
                ASSERT_TRUE(HEAP_FIRST(&heap, struct object, link) == first_by_walk());
                take(&heap, HEAP_FIRST(&heap, struct object, link));
        }
        ASSERT_NULL(first_by_walk());
}

static void test_order(void) {
        struct heap heap = { 0 };
        struct object none = { 0 };

        ASSERT_NULL(HEAP_FIRST(&heap, struct object, link));
        heap_remove(&heap, &none.link, comes_before); /* harmless */
        /* Rising, falling and mixed. */
        for (unsigned order = 0; order < 3; order++) {
                for (uint64_t i = 0; i < OBJECTS; i++)
                        put(&heap, &objects[i],
                            order == 0   ? i
                            : order == 1 ? OBJECTS - i
                                         : (i * 7919) % OBJECTS);
                uint64_t last = 0;
                for (size_t i = 0; i < OBJECTS; i++) {
                        struct object *first = HEAP_FIRST(&heap, struct object, link);

                        ASSERT_TRUE(i == 0 || first->key > last);
                        last = first->key;
                        take(&heap, first);
                }
                ASSERT_NULL(heap.root);
        }
}

int main(void) {
        RUN(test_order);
        RUN(test_random);
        return EXIT_SUCCESS;
}
