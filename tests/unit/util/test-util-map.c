/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fault.h"
#include "util/macros.h"
#include "util/map.h"
#include "util/random.h"
#include "util/uuid.h"

#define OBJECTS 20000

struct object {
        struct map_link link;
        struct uuid id;
        unsigned number;
};

static struct object *make_objects(struct map *map, unsigned count) {
        struct object *objects = calloc(count, sizeof(*objects));

        ASSERT_NOT_NULL(objects);
        for (unsigned i = 0; i < count; i++) {
                objects[i].number = i;
                random_bytes(&objects[i].id, sizeof(objects[i].id));
                ASSERT_OK(map_add(map, &objects[i].link, &objects[i].id, sizeof(objects[i].id)));
        }
        return objects;
}

static void test_find_and_remove(void) {
        struct map map = {};
        _cleanup_free_ struct object *objects = make_objects(&map, OBJECTS);
        struct object copy = objects[7];

        ASSERT_EQ(map_size(&map), OBJECTS);
        ASSERT_ERROR(map_add(&map, &copy.link, &copy.id, sizeof(copy.id)), EEXIST);
        ASSERT_NULL(map_find(&map, &UUID_NULL, sizeof(UUID_NULL)));
        for (unsigned i = 0; i < OBJECTS; i++)
                ASSERT_TRUE(
                        MAP_GET(&map, &objects[i].id, sizeof(objects[i].id), struct object, link) ==
                        &objects[i]);

        for (unsigned i = 0; i < OBJECTS; i += 2)
                map_remove(&map, &objects[i].link);
        ASSERT_EQ(map_size(&map), OBJECTS / 2);
        for (unsigned i = 0; i < OBJECTS; i++)
                ASSERT_EQ(map_find(&map, &objects[i].id, sizeof(objects[i].id)) != NULL, i % 2);
        map_remove(&map, &objects[0].link); /* once more does no harm */
        ASSERT_EQ(map_size(&map), OBJECTS / 2);

        for (unsigned i = 1; i < OBJECTS; i += 2)
                map_remove(&map, &objects[i].link);
        ASSERT_EQ(map_size(&map), 0);
        ASSERT_NULL(map.head);
        ASSERT_NULL(map_first(&map));
}

static void test_walk(void) {
        struct map map = {};
        struct object *objects = make_objects(&map, 100), *object, *inner;
        unsigned count = 0, pairs = 0;

        MAP_FOREACH(&map, object, struct object, link) {
                ASSERT_EQ(object->number, count++); /* in the order they came */
                MAP_FOREACH(&map, inner, struct object, link)
                        pairs += inner->number == object->number;
        }
        ASSERT_EQ(count, 100);
        ASSERT_EQ(pairs, 100);

        MAP_FOREACH(&map, object, struct object, link)
                map_remove(&map, &object->link);
        ASSERT_EQ(map_size(&map), 0);
        MAP_FOREACH(&map, object, struct object, link)
                _TEST_FAIL("an empty map has %u", object->number);
        free(objects);
}

/* Keys of each length up to several words: one that differs in its last byte only is another key. */
static void test_key_sizes(void) {
        enum { SIZE_MAX_TESTED = 70 };
        static uint8_t keys[SIZE_MAX_TESTED][SIZE_MAX_TESTED];
        static struct map_link links[SIZE_MAX_TESTED];
        struct map map = {};

        for (unsigned i = 0; i < SIZE_MAX_TESTED; i++)
                ASSERT_OK(map_add(&map, &links[i], keys[i], i));
        for (unsigned i = 0; i < SIZE_MAX_TESTED; i++) {
                uint8_t key[SIZE_MAX_TESTED] = {};
                ASSERT_TRUE(map_find(&map, key, i) == &links[i]);
                if (i > 0) {
                        key[i - 1] = 1;
                        ASSERT_NULL(map_find(&map, key, i));
                }
        }
        for (unsigned i = 0; i < SIZE_MAX_TESTED; i++)
                map_remove(&map, &links[i]);
}

static int add_and_remove(struct object *objects, unsigned count) {
        struct map map = {};
        int r = 0;

        for (unsigned i = 0; i < count && r >= 0; i++)
                r = map_add(&map, &objects[i].link, &objects[i].number, sizeof(objects[i].number));
        for (unsigned i = 0; i < count; i++) {
                bool added = map_find(&map, &objects[i].number, sizeof(objects[i].number));
                /* An object that did not fit is not half in it. */
                ASSERT_TRUE(added || map_size(&map) == 0 || r < 0);
                map_remove(&map, &objects[i].link);
        }
        ASSERT_EQ(map_size(&map), 0);
        return r;
}

static void test_out_of_memory(void) {
        enum { COUNT = 2000 };
        _cleanup_free_ struct object *objects = calloc(COUNT, sizeof(*objects));

        ASSERT_NOT_NULL(objects);
        for (unsigned i = 0; i < COUNT; i++)
                objects[i].number = i;
        /* The table, its first buckets, and each time that these double. */
        uint64_t failed = FAULT_LOOP(r = add_and_remove(objects, COUNT));
        ASSERT_GE(failed, 4);
}

int main(void) {
        RUN(test_find_and_remove);
        RUN(test_walk);
        RUN(test_key_sizes);
        RUN(test_out_of_memory);
        return 0;
}
