/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An invitation as somebody has typed it: whatever is taken can be written again, and means the same. */

#include "lib/tests.h"
#include "trust/invitations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct invitations invitations;
        char written[TOKEN_TEXT_SIZE];
        uint8_t secret[TLS_SECRET_SIZE];
        struct token token, again;
        char *text = strndup((const char *) data, size);

        ASSERT_NOT_NULL(text);
        /* What comes over the network is a name. */
        ASSERT_FALSE(invitations_find(&invitations, text, 1, size * USEC_PER_SEC, secret));
        ASSERT_FALSE(invitations_use(&invitations, text, size * USEC_PER_SEC));
        int r = token_parse(text, &token);
        free(text);
        if (r < 0) {
                ASSERT_TRUE(r == -EBADMSG || r == -EPROTONOSUPPORT);
                return 0;
        }
        ASSERT_OK(token_parse(token_format(&token, written), &again));
        ASSERT_EQ(memcmp(&token, &again, sizeof(token)), 0);
        return 0;
}
