/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/hex.h"

char *hex_write(char *position, const uint8_t *data, size_t size) {
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < size; i++) {
                *position++ = digits[data[i] >> 4];
                *position++ = digits[data[i] & 15];
        }
        return position;
}

int hex_digit(char character) {
        if (character >= '0' && character <= '9')
                return character - '0';
        if (character >= 'a' && character <= 'f')
                return character - 'a' + 10;
        if (character >= 'A' && character <= 'F')
                return character - 'A' + 10;
        return -1;
}

bool hex_read(const char *text, size_t length, uint8_t *ret, size_t size) {
        if (length != size * 2)
                return false;
        for (size_t i = 0; i < size; i++) {
                int high = hex_digit(text[i * 2]), low = hex_digit(text[i * 2 + 1]);

                if (high < 0 || low < 0)
                        return false;
                ret[i] = (uint8_t) (high << 4 | low);
        }
        return true;
}
