/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What this machine is called, and what a configuration says of it. */

#include <sys/utsname.h>

#include "lib/tests.h"
#include "node/labels.h"
#include "util/macros.h"

static const char *value_of(const struct metadata_entry *labels, size_t n, const char *key) {
        for (size_t i = 0; i < n; i++)
                if (streq(labels[i].key, key))
                        return labels[i].value;
        return NULL;
}

static void test_automatic(void) {
        struct metadata_entry labels[LABELS_MAX];
        struct utsname names;
        size_t n;

        ASSERT_OK(uname(&names));
        labels_fill(NULL, labels, &n);
        ASSERT_LE(n, LABELS_AUTOMATIC);
        ASSERT_STREQ(value_of(labels, n, "arch"), names.machine);
        if (label_value_is_valid(names.nodename, strlen(names.nodename)))
                ASSERT_STREQ(value_of(labels, n, "host"), names.nodename);
        ASSERT_GT(strlen(value_of(labels, n, "os")), 0);
}

static void test_configured(void) {
        char *configured[] = { (char *) "gpu=a100", (char *) "arch=riscv", (char *) "fast",
                               (char *) "odd==", NULL };
        struct metadata_entry labels[LABELS_MAX];
        size_t n;

        labels_fill(configured, labels, &n);
        ASSERT_STREQ(value_of(labels, n, "gpu"), "a100");
        ASSERT_STREQ(value_of(labels, n, "arch"), "riscv");
        ASSERT_STREQ(value_of(labels, n, "fast"), "");
        ASSERT_STREQ(value_of(labels, n, "odd"), "=");
        ASSERT_NOT_NULL(value_of(labels, n, "os"));
}

/* As many as a configuration may have, and none of the machine's is lost. */
static void test_all(void) {
        char texts[CONFIG_LABELS_MAX][16], *configured[CONFIG_LABELS_MAX + 1] = {};
        struct metadata_entry labels[LABELS_MAX];
        size_t n;

        for (size_t i = 0; i < CONFIG_LABELS_MAX; i++) {
                (void) snprintf(texts[i], sizeof(texts[i]), "label%zu=yes", i);
                configured[i] = texts[i];
        }
        labels_fill(configured, labels, &n);
        ASSERT_NOT_NULL(value_of(labels, n, "arch"));
        ASSERT_STREQ(value_of(labels, n, "label20"), "yes");
        ASSERT_LE(labels_size(labels, n), LABELS_SIZE_MAX);
}

static void test_os_release(void) {
        static const char *const cases[][2] = {
                { "ID=debian\n", "debian" },
                { "NAME=\"X\"\nVERSION_ID=12\nID=\"opensuse-leap\"\nID_LIKE=suse\n", "opensuse-leap" },
                { "ID='alpine'\r\n", "alpine" },
                { "ID=one\nID=two", "two" },
                { "", "linux" },
                { "ID=\n", "linux" },
                { "ID=\"\"\n", "linux" },
                { "ID=two words\n", "linux" },
                { "ID=\"\n", "linux" },
                { "ID=0123456789012345678901234567890\n", "0123456789012345678901234567890" },
                { "ID=01234567890123456789012345678901\n", "linux" },
                { "NAME=X", "linux" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char id[LABEL_OS_MAX + 1];

                os_release_id(cases[i][0], id);
                ASSERT_STREQ(id, cases[i][1]);
        }
}

int main(void) {
        RUN(test_automatic);
        RUN(test_configured);
        RUN(test_all);
        RUN(test_os_release);
        return 0;
}
