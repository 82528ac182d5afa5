/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>

#include "lib/tests.h"
#include "util/hash.h"
#include "util/random.h"
#include "util/uuid.h"

#define IDS 20000

static int compare_ids(const void *a, const void *b) {
        return memcmp(a, b, sizeof(struct uuid));
}

static void *draw_ids(void *ids) {
        for (unsigned i = 0; i < IDS; i++)
                random_bytes(&((struct uuid *) ids)[i], sizeof(struct uuid));
        return NULL;
}

/* Two threads at once: no id comes twice. */
static void test_distinct(void) {
        static struct uuid ids[2 * IDS];
        pthread_t thread;

        ASSERT_EQ(pthread_create(&thread, NULL, draw_ids, ids), 0);
        (void) draw_ids(ids + IDS);
        ASSERT_EQ(pthread_join(thread, NULL), 0);
        qsort(ids, 2 * IDS, sizeof(ids[0]), compare_ids);
        for (unsigned i = 1; i < 2 * IDS; i++)
                ASSERT_FALSE(uuid_equal(&ids[i - 1], &ids[i]));
}

/* Sizes around the pool's: every byte is written, none beyond. Of 64 draws each bit is set and clear once.
 */
static void test_sizes(void) {
        static const size_t sizes[] = { 1, 7, 16, 511, 512, 513, 1024, 5000 };

        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                static uint8_t buffer[5001], ones[5001], zeros[5001];

                memset(ones, 0, sizeof(ones));
                memset(zeros, 0, sizeof(zeros));
                buffer[sizes[i]] = 0xa5;
                for (unsigned draw = 0; draw < 64; draw++) {
                        random_bytes(buffer, sizes[i]);
                        for (size_t k = 0; k < sizes[i]; k++) {
                                ones[k] |= buffer[k];
                                zeros[k] |= (uint8_t) ~buffer[k];
                        }
                }
                ASSERT_EQ(buffer[sizes[i]], 0xa5);
                for (size_t k = 0; k < sizes[i]; k++)
                        ASSERT_TRUE(ones[k] == 0xff && zeros[k] == 0xff);
        }
}

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
        RUN(test_distinct);
        RUN(test_sizes);
        RUN(test_sha256);
        return 0;
}
