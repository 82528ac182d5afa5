/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fault.h"
#include "util/array.h"

static void test_growth(void) {
        _cleanup_free_ uint64_t *numbers = NULL;
        size_t n_allocated = 0, n_grown = 0;

        for (size_t i = 0; i < 1000; i++) {
                size_t before = n_allocated;

                ASSERT_OK(ARRAY_RESERVE(numbers, i + 1, n_allocated, 4));
                ASSERT_GT(n_allocated, i);
                n_grown += n_allocated != before;
                numbers[i] = i;
        }
        ASSERT_EQ(n_allocated, 1024);
        ASSERT_EQ(n_grown, 9);
        for (size_t i = 0; i < 1000; i++)
                ASSERT_EQ(numbers[i], i);

        /* More than twice as many, at once. */
        ASSERT_OK(ARRAY_RESERVE(numbers, 5000, n_allocated, 4));
        ASSERT_EQ(n_allocated, 5000);
        ASSERT_EQ(numbers[999], 999);
}

static void test_no_memory(void) {
        _cleanup_free_ char *text = NULL;
        size_t n_allocated = 0;

        ASSERT_OK(ARRAY_RESERVE(text, 1, n_allocated, 2));
        text[0] = 'a';
        fault_arm(0);
        ASSERT_ERROR(ARRAY_RESERVE(text, 3, n_allocated, 2), ENOMEM);
        ASSERT_TRUE(fault_disarm());
        ASSERT_EQ(n_allocated, 2);
        ASSERT_EQ(text[0], 'a');

        _cleanup_free_ uint64_t *numbers = NULL;
        size_t n_numbers = 0;

        ASSERT_ERROR(ARRAY_RESERVE(numbers, SIZE_MAX / 4, n_numbers, 2), ENOMEM);
        ASSERT_NULL(numbers);
        ASSERT_EQ(n_numbers, 0);
}

int main(void) {
        RUN(test_growth);
        RUN(test_no_memory);
        return 0;
}
