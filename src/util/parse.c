/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/parse.h"

#include <errno.h>
#include <strings.h>

#include "util/macros.h"

/* Reads digits from *text on, and moves it behind them. */
static int take_u64(const char **text, uint64_t *ret) {
        const char *position = *text;
        uint64_t value = 0;
        bool overflow = false;

        if (*position < '0' || *position > '9')
                return -EINVAL;
        for (; *position >= '0' && *position <= '9'; position++) {
                unsigned digit = (unsigned) (*position - '0');
                overflow = overflow || __builtin_mul_overflow(value, (uint64_t) 10, &value) ||
                           __builtin_add_overflow(value, (uint64_t) digit, &value);
        }

        *text = position;
        *ret = value;
        return overflow ? -ERANGE : 0;
}

int parse_u64(const char *text, uint64_t *ret) {
        uint64_t value;

        int r = take_u64(&text, &value);
        if (r == -EINVAL || *text != '\0')
                return -EINVAL;
        if (r < 0)
                return r;

        *ret = value;
        return 0;
}

int parse_unsigned(const char *text, unsigned low, unsigned high, unsigned *ret) {
        uint64_t value;

        int r = parse_u64(text, &value);
        if (r < 0)
                return r;
        if (value < low || value > high)
                return -ERANGE;

        *ret = (unsigned) value;
        return 0;
}

int parse_boolean(const char *text, bool *ret) {
        static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
        static const char *const no[] = { "0", "no", "n", "false", "f", "off" };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                if (strcasecmp(text, yes[i]) == 0) {
                        *ret = true;
                        return 0;
                }
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                if (strcasecmp(text, no[i]) == 0) {
                        *ret = false;
                        return 0;
                }
        return -EINVAL;
}

/* "K" → 1024 and so on; nothing and "B" → 1; 0 for what is no unit. */
static uint64_t size_unit(const char *text) {
        static const char letters[] = "KMGTPE";

        if (streq(text, "") || streq(text, "B"))
                return 1;
        if (text[1] != '\0')
                return 0;
        const char *letter = strchr(letters, text[0]);
        return letter ? UINT64_C(1) << (10 * (letter - letters + 1)) : 0;
}

int parse_size(const char *text, uint64_t *ret) {
        enum { FRACTION_DIGITS_MAX = 9 };
        uint64_t whole, fraction = 0, divisor = 1;

        if (streq(text, "infinity")) {
                *ret = UINT64_MAX;
                return 0;
        }

        int r = take_u64(&text, &whole);
        if (r == -EINVAL)
                return r;
        if (*text == '.') {
                const char *digits = ++text;
                int q = take_u64(&text, &fraction);
                if (q < 0 || text - digits > FRACTION_DIGITS_MAX)
                        return -EINVAL;
                for (; digits < text; digits++)
                        divisor *= 10;
        }

        uint64_t unit = size_unit(text), bytes;
        if (unit == 0)
                return -EINVAL;
        if (r < 0 || __builtin_mul_overflow(whole, unit, &bytes))
                return -ERANGE;
        /* Below one unit, and so below 2^60; the product needs more than 64 bits. */
        uint64_t part = (uint64_t) ((unsigned __int128) fraction * unit / divisor);
        if (__builtin_add_overflow(bytes, part, &bytes) || bytes == UINT64_MAX)
                return -ERANGE;

        *ret = bytes;
        return 0;
}
