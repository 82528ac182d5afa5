/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>

#include "lib/tests.h"
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

int main(void) {
        RUN(test_distinct);
        RUN(test_sizes);
        return 0;
}
