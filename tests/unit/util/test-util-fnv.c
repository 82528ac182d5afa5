/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/fnv.h"
#include "util/macros.h"

/* From RFC 9923: of each text without its NUL, and with it. */
static const struct {
        const char *text;
        uint32_t hash32, hash32_with_nul;
        uint64_t hash64, hash64_with_nul;
} vectors[] = {
        { "", 0x811c9dc5, 0x050c5d1f, 0xcbf29ce484222325, 0xaf63bd4c8601b7df },
        { "a", 0xe40c292c, 0x2b24d044, 0xaf63dc4c8601ec8c, 0x089be207b544f1e4 },
        { "foobar", 0xbf9cf968, 0x0c1c9eb8, 0x85944171f73967e8, 0x34531ca7168b8f38 },
};

static void test_published_vectors(void) {
        for (size_t i = 0; i < ELEMENTSOF(vectors); i++) {
                const char *text = vectors[i].text;

                ASSERT_EQ(fnv32(FNV32_BEGIN, text, strlen(text)), vectors[i].hash32);
                ASSERT_EQ(fnv32(FNV32_BEGIN, text, strlen(text) + 1), vectors[i].hash32_with_nul);
                ASSERT_EQ(fnv64(FNV64_BEGIN, text, strlen(text)), vectors[i].hash64);
                ASSERT_EQ(fnv64(FNV64_BEGIN, text, strlen(text) + 1), vectors[i].hash64_with_nul);
        }
}

static void test_data_in_pieces(void) {
        ASSERT_EQ(fnv32(fnv32(FNV32_BEGIN, "foo", 3), "bar", 3), fnv32(FNV32_BEGIN, "foobar", 6));
        ASSERT_EQ(fnv64(fnv64(FNV64_BEGIN, "foo", 3), "bar", 3), fnv64(FNV64_BEGIN, "foobar", 6));
}

int main(void) {
        RUN(test_published_vectors);
        RUN(test_data_in_pieces);
        return 0;
}
