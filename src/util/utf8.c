/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/utf8.h"

#include <stdint.h>
#include <string.h>

static bool is_continuation(unsigned char byte) {
        return (byte & 0xc0) == 0x80;
}

size_t utf8_sequence(const char *text, size_t size) {
        const unsigned char *bytes = (const unsigned char *) text;
        size_t length;
        uint32_t character, lowest;

        if (size == 0)
                return 0;
        if (bytes[0] < 0x80)
                return 1;
        if ((bytes[0] & 0xe0) == 0xc0) {
                length = 2;
                character = bytes[0] & 0x1fu;
                lowest = 0x80;
        } else if ((bytes[0] & 0xf0) == 0xe0) {
                length = 3;
                character = bytes[0] & 0x0fu;
                lowest = 0x800;
        } else if ((bytes[0] & 0xf8) == 0xf0) {
                length = 4;
                character = bytes[0] & 0x07u;
                lowest = 0x10000;
        } else
                return 0;

        if (size < length)
                return 0;
        for (size_t i = 1; i < length; i++) {
                if (!is_continuation(bytes[i]))
                        return 0;
                character = character << 6 | (bytes[i] & 0x3fu);
        }

        bool surrogate = character >= 0xd800 && character <= 0xdfff;
        return character < lowest || character > 0x10ffff || surrogate ? 0 : length;
}

bool utf8_is_valid(const char *text, size_t size) {
        size_t position = 0;

        while (position < size) {
                uint64_t word;

                /* Eight characters of ASCII at a time: most of what comes is nothing else. */
                if (size - position >= sizeof(word)) {
                        memcpy(&word, text + position, sizeof(word));
                        if ((word & UINT64_C(0x8080808080808080)) == 0) {
                                position += sizeof(word);
                                continue;
                        }
                }

                size_t length = utf8_sequence(text + position, size - position);
                if (length == 0)
                        return false;
                position += length;
        }
        return true;
}
