/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/hash.h"

static void hex_of(const uint8_t digest[static SHA256_SIZE], char text[static 2 * SHA256_SIZE + 1]) {
        for (unsigned i = 0; i < SHA256_SIZE; i++)
                (void) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static void test_sha256(void) {
        static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        char text[2 * SHA256_SIZE + 1];
        uint8_t digest[SHA256_SIZE];
        struct sha256 *hash;

        ASSERT_NULL(sha256_free(NULL));
        ASSERT_OK(sha256_new(&hash));
        ASSERT_OK(sha256_update(hash, "a", 1));
        ASSERT_OK(sha256_update(hash, "", 0));
        ASSERT_OK(sha256_update(hash, "bc", 2));
        sha256_finish(hash, digest);
        hex_of(digest, text);
        ASSERT_STREQ(text, abc);
        /* It begins anew. */
        sha256_finish(hash, digest);
        hex_of(digest, text);
        ASSERT_STREQ(text, empty);
        ASSERT_NULL(sha256_free(hash));
}

int main(void) {
        RUN(test_sha256);
        return 0;
}
