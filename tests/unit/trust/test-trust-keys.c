/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/tests.h"
#include "trust/keys.h"

#define ID "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\n"
#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define KEY_TWO "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

static int parse(const char *text, struct mesh_keys *ret, struct mesh_keys_problem *ret_problem) {
        *ret_problem = (struct mesh_keys_problem){};
        return mesh_keys_parse(text, strlen(text), ret, ret_problem);
}

static void assert_bytes(const uint8_t *data, size_t size, const char *hex) {
        char text[2 * MESH_KEY_SIZE + 1];

        for (size_t i = 0; i < size; i++)
                sprintf(text + 2 * i, "%02x", data[i]);
        ASSERT_STREQ(text, hex);
}

/* Worked out with HMAC by hand in another language, from RFC 5869. */
static void test_derived(void) {
        _cleanup_mesh_keys_ struct mesh_keys keys;
        struct mesh_keys_problem problem;

        ASSERT_OK(parse(ID KEY, &keys, &problem));
        assert_bytes(keys.keys[0].id, MESH_KEY_ID_SIZE, "386060c1");
        assert_bytes(
                keys.keys[0].datagram, MESH_KEY_SIZE,
                "2c2c75248b4ab045bcecb783cb1623f2bf12ed3b6a9a4490bb5150d80f279628");
        assert_bytes(
                keys.keys[0].link, MESH_KEY_SIZE,
                "8da60fb3ba1b9007ed93a5e117aa4c405b61a13feef5ff572ad44000d7040a6b");
}

static void test_there_and_back(void) {
        _cleanup_mesh_keys_ struct mesh_keys made, read, other;
        char text[MESH_KEYS_TEXT_MAX], again[MESH_KEYS_TEXT_MAX];
        struct mesh_keys_problem problem;
        uint8_t secret[MESH_KEY_SIZE] = { 1 };

        ASSERT_OK(mesh_keys_make(&made));
        ASSERT_OK(mesh_keys_make(&other));
        ASSERT_EQ(made.n_keys, 1);
        ASSERT_NE(memcmp(made.mesh_id, other.mesh_id, MESH_ID_SIZE), 0);
        ASSERT_NE(memcmp(made.keys[0].secret, other.keys[0].secret, MESH_KEY_SIZE), 0);
        while (made.n_keys < MESH_KEYS_MAX) {
                secret[0]++;
                ASSERT_OK(mesh_keys_add(&made, secret));
        }
        ASSERT_ERROR(mesh_keys_add(&made, secret), EEXIST);
        secret[0]++;
        ASSERT_ERROR(mesh_keys_add(&made, secret), ENOSPC);

        ASSERT_OK(parse(mesh_keys_format(&made, text), &read, &problem));
        ASSERT_EQ(memcmp(&read, &made, sizeof(read)), 0);
        ASSERT_STREQ(mesh_keys_format(&read, again), text);
}

static void test_find(void) {
        _cleanup_mesh_keys_ struct mesh_keys keys;
        struct mesh_keys_problem problem;
        const uint8_t none[MESH_KEY_ID_SIZE] = { 0 };

        ASSERT_OK(parse(ID KEY KEY_TWO, &keys, &problem));
        ASSERT_EQ(keys.n_keys, 2);
        ASSERT_TRUE(mesh_keys_find(&keys, keys.keys[0].id) == &keys.keys[0]);
        ASSERT_TRUE(mesh_keys_find(&keys, keys.keys[1].id) == &keys.keys[1]);
        ASSERT_NULL(mesh_keys_find(&keys, none));
}

static void test_what_people_write(void) {
        static const char *const right[] = {
                ID KEY,
                "# a comment\n\n" ID "\n# another\n" KEY "\n",
                "A0A1A2A3A4A5A6A7A8A9AAABACADAEAF\r\n" KEY,
                "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf  \n"
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        };
        static const struct {
                const char *text;
                unsigned line;
                const char *problem;
        } wrong[] = {
                { "", 0, "there is no id of a mesh in it" },
                { "# nothing\n", 0, "there is no id of a mesh in it" },
                { ID, 0, "there is no key in it" },
                { KEY ID, 1, "the id of a mesh is 32 hexadecimal digits" },
                { "\nx" ID KEY, 2, "the id of a mesh is 32 hexadecimal digits" },
                { ID "0" KEY, 2, "a key is 64 hexadecimal digits" },
                { ID KEY ID, 3, "a key is 64 hexadecimal digits" },
                { ID "g" KEY, 2, "a key is 64 hexadecimal digits" },
                { ID " " KEY, 2, "a key is 64 hexadecimal digits" },
                { ID KEY "# twice\n" KEY, 4, "this key is there already" },
        };
        _cleanup_mesh_keys_ struct mesh_keys keys, first;
        struct mesh_keys_problem problem;

        ASSERT_OK(parse(right[0], &first, &problem));
        for (size_t i = 0; i < ELEMENTSOF(right); i++) {
                ASSERT_OK(parse(right[i], &keys, &problem));
                ASSERT_EQ(memcmp(&keys, &first, sizeof(keys)), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                ASSERT_ERROR(parse(wrong[i].text, &keys, &problem), EBADMSG);
                ASSERT_EQ(problem.line, wrong[i].line);
                ASSERT_STREQ(problem.text, wrong[i].problem);
                ASSERT_EQ(keys.n_keys, 0);
        }
}

static void test_limits(void) {
        _cleanup_mesh_keys_ struct mesh_keys keys;
        struct mesh_keys_problem problem;
        char text[MESH_KEYS_TEXT_MAX + 1];
        char *position = stpcpy(text, ID);

        for (unsigned i = 0; i < MESH_KEYS_MAX + 1; i++)
                position += sprintf(position, "%064x\n", i);
        ASSERT_ERROR(parse(text, &keys, &problem), EBADMSG);
        ASSERT_EQ(problem.line, MESH_KEYS_MAX + 2);
        ASSERT_STREQ(problem.text, "there may be 8 keys at most");

        memset(text, '#', sizeof(text));
        ASSERT_ERROR(mesh_keys_parse(text, MESH_KEYS_TEXT_MAX, &keys, &problem), EBADMSG);
        ASSERT_STREQ(problem.text, "it is too large for one");
}

int main(void) {
        RUN(test_derived);
        RUN(test_there_and_back);
        RUN(test_find);
        RUN(test_what_people_write);
        RUN(test_limits);
        return 0;
}
