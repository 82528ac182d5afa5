/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/list.h"

struct object {
        unsigned number;
        struct list_link link;
};

static void test_order(void) {
        struct object objects[4] = { { 0 }, { 1 }, { 2 }, { 3 } }, *object;
        struct list list;
        unsigned expected = 0, pairs = 0;

        list_init(&list);
        ASSERT_TRUE(list_is_empty(&list));
        ASSERT_NULL(LIST_FIRST(&list, struct object, link));
        list_append(&list, &objects[2].link);
        list_append(&list, &objects[3].link);
        list_prepend(&list, &objects[0].link);
        list_insert_before(&objects[2].link, &objects[1].link);

        LIST_FOREACH(&list, object, struct object, link) {
                struct object *inner;
                ASSERT_EQ(object->number, expected++);
                LIST_FOREACH(&list, inner, struct object, link)
                        pairs++;
        }
        ASSERT_EQ(expected, 4);
        ASSERT_EQ(pairs, 16);

        LIST_FOREACH(&list, object, struct object, link)
                if (object->number != 2)
                        list_remove(&object->link);
        ASSERT_FALSE(list_is_linked(&objects[0].link));
        ASSERT_TRUE(LIST_FIRST(&list, struct object, link) == &objects[2]);
        list_remove(&objects[0].link); /* harmless */
        list_remove(&objects[2].link);
        ASSERT_TRUE(list_is_empty(&list));
}

int main(void) {
        RUN(test_order);
        return 0;
}
