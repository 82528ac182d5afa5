/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>

#include "lib/tests.h"
#include "trust/invitations.h"

#define NODE "node-0123456789abcdef"
#define NOW USEC_PER_HOUR

static const uint8_t mesh_id[MESH_ID_SIZE] = { 0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xaf };

static struct token make_token(void) {
        struct token token;

        ASSERT_OK(token_make(mesh_id, NODE, &token));
        return token;
}

static void test_there_and_back(void) {
        char text[TOKEN_TEXT_SIZE], other[TOKEN_TEXT_SIZE];
        struct token token = make_token(), read, again = make_token();

        ASSERT_NE(memcmp(token.secret, again.secret, TOKEN_SECRET_SIZE), 0);
        ASSERT_EQ(strlen(token_format(&token, text)), TOKEN_TEXT_SIZE - 1);
        ASSERT_EQ(strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"), TOKEN_TEXT_SIZE - 1);
        ASSERT_OK(token_parse(text, &read));
        ASSERT_EQ(memcmp(&token, &read, sizeof(token)), 0);

        /* As people write it. */
        for (size_t i = 0; i <= strlen(text); i++)
                other[i] = (char) (text[i] == '0' ? 'O' : text[i] == '1' && i > 2 ? 'l' : toupper(text[i]));
        ASSERT_OK(token_parse(other, &read));
        ASSERT_EQ(memcmp(&token, &read, sizeof(token)), 0);

        ASSERT_ERROR(token_make(mesh_id, "worker-1", &read), EINVAL);
        ASSERT_ERROR(token_make(mesh_id, "node-0123456789abcdeg", &read), EINVAL);
}

/* Any one letter, two that changed places, one missing or one more. */
static void test_mistyped(void) {
        char text[TOKEN_TEXT_SIZE + 2];
        struct token token = make_token(), read;

        token_format(&token, text);
        size_t length = strlen(text);
        for (size_t i = 0; i < length; i++) {
                char right = text[i];

                text[i] = right == '7' ? '8' : '7';
                int r = token_parse(text, &read);
                ASSERT_EQ(r, i == 2 ? -EPROTONOSUPPORT : -EBADMSG); /* "wm7" */
                text[i] = right;
        }
        for (size_t i = 3; i + 1 < length; i++) {
                char one = text[i], two = text[i + 1];

                text[i] = two;
                text[i + 1] = one;
                ASSERT_EQ(token_parse(text, &read), one == two ? 0 : -EBADMSG);
                text[i] = one;
                text[i + 1] = two;
        }
        text[length] = '0';
        text[length + 1] = '\0';
        ASSERT_ERROR(token_parse(text, &read), EBADMSG);
        text[length - 1] = '\0';
        ASSERT_ERROR(token_parse(text, &read), EBADMSG);
        ASSERT_ERROR(token_parse("wm2whateverthatwillbe", &read), EPROTONOSUPPORT);
        ASSERT_ERROR(token_parse("", &read), EBADMSG);
        ASSERT_ERROR(token_parse("wm", &read), EBADMSG);
}

/* Good once, and for its time. */
static void test_used_and_expired(void) {
        static struct invitations invitations;
        struct token first = make_token(), second = make_token();
        struct token_key first_key, second_key;
        uint8_t secret[TLS_SECRET_SIZE];

        ASSERT_OK(token_derive(&first, &first_key));
        ASSERT_OK(token_derive(&second, &second_key));
        ASSERT_TRUE(invitation_is_name(first_key.name));
        ASSERT_FALSE(streq(first_key.name, second_key.name));
        ASSERT_OK(invitations_add(&invitations, &first, NOW, USEC_PER_MINUTE));
        ASSERT_OK(invitations_add(&invitations, &second, NOW, 2 * USEC_PER_MINUTE));

        ASSERT_TRUE(invitations_find(&invitations, first_key.name, 1, NOW, secret));
        ASSERT_EQ(memcmp(secret, first_key.secret, sizeof(secret)), 0);
        ASSERT_TRUE(invitations_use(&invitations, first_key.name, NOW));
        ASSERT_FALSE(invitations_use(&invitations, first_key.name, NOW));
        ASSERT_FALSE(invitations_find(&invitations, first_key.name, 1, NOW, secret));

        ASSERT_TRUE(invitations_find(&invitations, second_key.name, 1, NOW + USEC_PER_MINUTE, secret));
        ASSERT_FALSE(invitations_find(&invitations, second_key.name, 1, NOW + 2 * USEC_PER_MINUTE, secret));
        ASSERT_EQ(invitations.counters.made, 2);
        ASSERT_EQ(invitations.counters.used, 1);
        ASSERT_EQ(invitations.counters.expired, 1);
        ASSERT_EQ(invitations.counters.unknown, 2);
        invitations_erase(&invitations);
}

static void test_so_many(void) {
        static struct invitations invitations;

        for (unsigned i = 0; i < INVITATIONS_MAX; i++) {
                struct token token = make_token();
                ASSERT_OK(invitations_add(&invitations, &token, NOW, USEC_PER_MINUTE));
        }
        struct token token = make_token();
        ASSERT_ERROR(invitations_add(&invitations, &token, NOW, USEC_PER_MINUTE), ENOSPC);
        ASSERT_OK(invitations_add(&invitations, &token, NOW + USEC_PER_MINUTE, USEC_PER_MINUTE));
        invitations_erase(&invitations);
}

/* Who guesses is not listened to for the rest of the minute; others are. */
static void test_guesses(void) {
        static struct invitations invitations;
        struct token token = make_token(), wrong;
        struct token_key key, wrong_key;
        uint8_t secret[TLS_SECRET_SIZE];
        usec_t now = NOW;

        ASSERT_OK(token_derive(&token, &key));
        ASSERT_OK(invitations_add(&invitations, &token, now, USEC_PER_HOUR));
        for (unsigned i = 0; i < INVITATION_GUESSES_MAX; i++) {
                ASSERT_TRUE(invitations_find(&invitations, key.name, 1, now, secret));
                wrong = make_token();
                ASSERT_OK(token_derive(&wrong, &wrong_key));
                ASSERT_FALSE(invitations_find(&invitations, wrong_key.name, 1, now, secret));
        }
        ASSERT_FALSE(invitations_find(&invitations, key.name, 1, now, secret));
        ASSERT_TRUE(invitations_find(&invitations, key.name, 2, now, secret));
        ASSERT_EQ(invitations.counters.slowed, 1);
        ASSERT_TRUE(invitations_find(&invitations, key.name, 1, now + USEC_PER_MINUTE, secret));

        /* More addresses than are remembered. */
        for (unsigned i = 0; i < 10 * INVITATION_SOURCES_MAX; i++)
                ASSERT_FALSE(invitations_find(&invitations, wrong_key.name, 100 + i, ++now, secret));
        ASSERT_TRUE(invitations_find(&invitations, key.name, 2, now, secret));
        invitations_erase(&invitations);
}

int main(void) {
        RUN(test_there_and_back);
        RUN(test_mistyped);
        RUN(test_used_and_expired);
        RUN(test_so_many);
        RUN(test_guesses);
        return 0;
}
