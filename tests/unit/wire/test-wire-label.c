/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "util/macros.h"
#include "wire/label.h"

static void test_labels(void) {
        static const char *const right[] = {
                "a", "a=", "arch=x86_64", "example.org/gpu_0-x=A100!#$%&()*+-./:;", "a==", "a=b=c"
        };
        static const char *const wrong[] = { "",           "=",     "=x",      "a b",    "a=b c",
                                             "a,b",        "a=b,c", "a=\"b\"", "a='b'",  "\xc3\xa4",
                                             "a=\xc3\xa4", "a=\n",  "a\t",     "a=\x7f", "a+b" };

        for (size_t i = 0; i < ELEMENTSOF(right); i++)
                if (!label_is_valid(right[i], strlen(right[i])))
                        _TEST_FAIL("refused: %s", right[i]);
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                if (label_is_valid(wrong[i], strlen(wrong[i])))
                        _TEST_FAIL("accepted: %s", wrong[i]);
        ASSERT_FALSE(label_is_valid("a\0b", 3));
        ASSERT_FALSE(label_is_valid("a=\0", 3));
}

static void test_sizes(void) {
        char text[LABEL_TEXT_MAX + 2];

        memset(text, 'x', sizeof(text));
        ASSERT_TRUE(label_is_valid(text, LABEL_KEY_MAX));
        ASSERT_FALSE(label_is_valid(text, LABEL_KEY_MAX + 1));
        text[LABEL_KEY_MAX] = '=';
        ASSERT_TRUE(label_is_valid(text, LABEL_TEXT_MAX));
        ASSERT_FALSE(label_is_valid(text, LABEL_TEXT_MAX + 1));
}

static int set(struct metadata_entry *labels, size_t *n, const char *key, const char *value) {
        return label_set(labels, n, key, strlen(key), value, strlen(value));
}

static void test_set(void) {
        struct metadata_entry labels[LABELS_MAX];
        size_t n = 0;
        char key[8];

        ASSERT_OK(set(labels, &n, "arch", "x86_64"));
        ASSERT_OK(set(labels, &n, "os", "debian"));
        ASSERT_OK(set(labels, &n, "arch", "arm"));
        ASSERT_EQ(n, 2);
        ASSERT_STREQ(labels[0].value, "arm");
        ASSERT_EQ(
                labels_size(labels, n), strlen("arch"
                                               "arm"
                                               "os"
                                               "debian"));
        ASSERT_ERROR(set(labels, &n, "", "x"), EINVAL);
        ASSERT_ERROR(set(labels, &n, "a", "x y"), EINVAL);

        while (n < LABELS_MAX) {
                (void) snprintf(key, sizeof(key), "k%zu", n);
                ASSERT_OK(set(labels, &n, key, ""));
        }
        ASSERT_ERROR(set(labels, &n, "more", ""), ENOBUFS);
        ASSERT_OK(set(labels, &n, "k5", "changed"));
        ASSERT_EQ(n, LABELS_MAX);
}

int main(void) {
        RUN(test_labels);
        RUN(test_sizes);
        RUN(test_set);
        return 0;
}
