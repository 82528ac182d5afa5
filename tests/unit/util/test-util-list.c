/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fault.h"
#include "util/list.h"
#include "util/strv.h"

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

static int append_three(void) {
        _cleanup_strv_free_ char **strv = NULL;

        for (unsigned i = 0; i < 3; i++) {
                int r = strv_append(&strv, "text");
                if (r < 0) {
                        ASSERT_EQ(strv_length(strv), i);
                        return r;
                }
        }
        return 0;
}

static void test_strv(void) {
        _cleanup_strv_free_ char **strv = NULL;
        size_t count = 0;

        ASSERT_EQ(strv_length(NULL), 0);
        ASSERT_NULL(strv_free(NULL));
        ASSERT_OK(strv_append(&strv, "a"));
        ASSERT_OK(strv_append(&strv, ""));
        ASSERT_EQ(strv_length(strv), 2);
        STRV_FOREACH(text, strv)
                ASSERT_STREQ(*text, strv[count++]);
        ASSERT_EQ(count, 2);
        uint64_t failed = FAULT_LOOP(r = append_three());
        ASSERT_EQ(failed, 6);
}

int main(void) {
        RUN(test_order);
        RUN(test_strv);
        return 0;
}
