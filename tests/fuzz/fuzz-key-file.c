/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bytes of a key file. */

#include "lib/tests.h"
#include "trust/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct mesh_keys_problem problem = {};
        struct mesh_keys keys, again;
        char text[MESH_KEYS_TEXT_MAX];

        int r = mesh_keys_parse((const char *) data, size, &keys, &problem);
        if (r < 0) {
                ASSERT_EQ(r, -EBADMSG);
                ASSERT_NOT_NULL(problem.text);
                ASSERT_EQ(keys.n_keys, 0);
                return 0;
        }
        ASSERT_TRUE(keys.n_keys >= 1 && keys.n_keys <= MESH_KEYS_MAX);
        mesh_keys_format(&keys, text);
        ASSERT_OK(mesh_keys_parse(text, strlen(text), &again, &problem));
        ASSERT_EQ(memcmp(&keys, &again, sizeof(keys)), 0);
        return 0;
}
