/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/uuid.h"

#include <errno.h>

#include "util/hex.h"

/* Where a dash stands in the text form: before these bytes. */
static bool dash_before(unsigned byte) {
        return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_set_version(struct uuid *id, unsigned version) {
        id->bytes[6] = (uint8_t) ((version & 0x0f) << 4 | (id->bytes[6] & 0x0f));
        id->bytes[8] = (uint8_t) (0x80 | (id->bytes[8] & 0x3f));
}

char *uuid_to_text(const struct uuid *id, char buffer[static UUID_TEXT_SIZE]) {
        static const char digits[] = "0123456789abcdef";
        char *position = buffer;

        for (unsigned i = 0; i < sizeof(id->bytes); i++) {
                if (dash_before(i))
                        *position++ = '-';
                *position++ = digits[id->bytes[i] >> 4];
                *position++ = digits[id->bytes[i] & 0x0f];
        }
        *position = '\0';
        return buffer;
}

int uuid_from_text(const char *text, struct uuid *ret) {
        struct uuid id;

        for (unsigned i = 0; i < sizeof(id.bytes); i++) {
                if (dash_before(i) && *text++ != '-')
                        return -EINVAL;

                int high = hex_digit(text[0]);
                int low = high < 0 ? -1 : hex_digit(text[1]);
                if (low < 0)
                        return -EINVAL;
                id.bytes[i] = (uint8_t) (high << 4 | low);
                text += 2;
        }
        if (*text != '\0')
                return -EINVAL;

        *ret = id;
        return 0;
}
