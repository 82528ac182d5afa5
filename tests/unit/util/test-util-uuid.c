/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/macros.h"
#include "util/uuid.h"

static void test_text(void) {
        char text[UUID_TEXT_SIZE];
        struct uuid id;

        ASSERT_OK(uuid_from_text("550E8400-e29b-41d4-A716-446655440000", &id));
        ASSERT_EQ(id.bytes[0], 0x55);
        ASSERT_EQ(id.bytes[8], 0xa7);
        ASSERT_STREQ(uuid_to_text(&id, text), "550e8400-e29b-41d4-a716-446655440000");
        ASSERT_STREQ(uuid_to_text(&UUID_NULL, text), "00000000-0000-0000-0000-000000000000");
}

static void test_bad_text(void) {
        static const char *const texts[] = {
                "",
                "550e8400",
                "550e8400-e29b-41d4-a716-44665544000",
                "550e8400-e29b-41d4-a716-4466554400000",
                "550e8400e29b41d4a716446655440000",
                "550e8400-e29b-41d4-a716-44665544000g",
                "550e8400-e29b-41d4-a716_446655440000",
                "{50e8400-e29b-41d4-a716-446655440000",
                "550e840-0e29b-41d4-a716-446655440000",
                " 550e8400-e29b-41d4-a716-446655440000",
                "550e8400-e29b-41d4-a716-446655440000 ",
        };
        struct uuid id = UUID_NULL;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (uuid_from_text(texts[i], &id) != -EINVAL)
                        _TEST_FAIL("\"%s\"", texts[i]);
        ASSERT_TRUE(uuid_is_null(&id));
}

static void test_version(void) {
        char text[UUID_TEXT_SIZE];
        struct uuid id;

        memset(id.bytes, 0xff, sizeof(id.bytes));
        uuid_set_version(&id, 4);
        ASSERT_STREQ(uuid_to_text(&id, text), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        memset(id.bytes, 0, sizeof(id.bytes));
        uuid_set_version(&id, 8);
        ASSERT_STREQ(uuid_to_text(&id, text), "00000000-0000-8000-8000-000000000000");
        ASSERT_FALSE(uuid_equal(&id, &UUID_NULL));
        ASSERT_TRUE(uuid_equal(&id, &id));
}

int main(void) {
        RUN(test_text);
        RUN(test_bad_text);
        RUN(test_version);
        return 0;
}
