/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The calendar is computed here rather than by gmtime_r() and strftime(): several times a row of a job list,
 * and those two take a lock and read the locale. */

#include "util/time.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "util/macros.h"

#define DAYS_PER_ERA 146097  /* 400 years of the Gregorian calendar */
#define DAYS_TO_EPOCH 719468 /* from 0000-03-01 to 1970-01-01 */

/* 9999-12-31T23:59:59.999999Z: years of five digits are not in RFC 3339. */
#define TIME_TEXT_LAST (UINT64_C(253402300800) * USEC_PER_SEC - 1)

usec_t now_usec(clockid_t clock) {
        struct timespec now;

        if (clock_gettime(clock, &now) < 0)
                abort(); /* a clock that does not exist: a mistake of the caller */
        return (usec_t) now.tv_sec * USEC_PER_SEC + (usec_t) now.tv_nsec / 1000;
}

usec_t usec_add(usec_t a, usec_t b) {
        usec_t sum;

        return __builtin_add_overflow(a, b, &sum) ? USEC_INFINITY : sum;
}

usec_t usec_sub(usec_t a, usec_t b) {
        if (a == USEC_INFINITY)
                return USEC_INFINITY;
        return a > b ? a - b : 0;
}

struct span_unit {
        const char *name;
        usec_t usec;
};

static const struct span_unit span_units[] = {
        { "seconds", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "s", USEC_PER_SEC },
        { "minutes", USEC_PER_MINUTE },
        { "minute", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "m", USEC_PER_MINUTE },
        { "hours", USEC_PER_HOUR },
        { "hour", USEC_PER_HOUR },
        { "hr", USEC_PER_HOUR },
        { "h", USEC_PER_HOUR },
        { "days", USEC_PER_DAY },
        { "day", USEC_PER_DAY },
        { "d", USEC_PER_DAY },
        { "weeks", 7 * USEC_PER_DAY },
        { "week", 7 * USEC_PER_DAY },
        { "w", 7 * USEC_PER_DAY },
        { "months", 2629800 * USEC_PER_SEC },
        { "month", 2629800 * USEC_PER_SEC },
        { "M", 2629800 * USEC_PER_SEC },
        { "years", 31557600 * USEC_PER_SEC },
        { "year", 31557600 * USEC_PER_SEC },
        { "y", 31557600 * USEC_PER_SEC },
        { "msec", USEC_PER_MSEC },
        { "ms", USEC_PER_MSEC },
        { "usec", 1 },
        { "us", 1 },
        { "µs", 1 },
};

static bool is_digit(char character) {
        return character >= '0' && character <= '9';
}

static const char *skip_space(const char *text) {
        return text + strspn(text, " \t");
}

/* The unit at *text, which is moved behind it; seconds where there is none. 0: no such unit. */
static usec_t take_unit(const char **text) {
        size_t length = strcspn(*text, " \t0123456789.");
        if (length == 0)
                return **text == '.' ? 0 : USEC_PER_SEC;

        for (size_t i = 0; i < ELEMENTSOF(span_units); i++)
                if (strlen(span_units[i].name) == length &&
                    strncmp(*text, span_units[i].name, length) == 0) {
                        *text += length;
                        return span_units[i].usec;
                }
        return 0;
}

/* One part of a span, "1.5h" for example, added to *sum. */
static int take_part(const char **text, usec_t *sum, bool *overflow) {
        const char *position = *text, *fraction = NULL;
        uint64_t whole = 0;

        if (!is_digit(*position))
                return -EINVAL;
        for (; is_digit(*position); position++)
                *overflow = *overflow || __builtin_mul_overflow(whole, (uint64_t) 10, &whole) ||
                            __builtin_add_overflow(whole, (uint64_t) (*position - '0'), &whole);
        if (*position == '.') {
                fraction = ++position;
                if (!is_digit(*fraction))
                        return -EINVAL;
                position += strspn(position, "0123456789");
        }

        position = skip_space(position);
        usec_t unit = take_unit(&position), product;
        if (unit == 0)
                return -EINVAL;
        *overflow = *overflow || __builtin_mul_overflow(whole, unit, &product) ||
                    __builtin_add_overflow(*sum, product, sum);

        /* Digits below a microsecond count for nothing. */
        for (usec_t scale = unit / 10; fraction && is_digit(*fraction); fraction++, scale /= 10)
                *overflow =
                        *overflow || __builtin_add_overflow(*sum, scale * (usec_t) (*fraction - '0'), sum);

        *text = skip_space(position);
        return 0;
}

int parse_span(const char *text, usec_t *ret_usec) {
        usec_t sum = 0;
        bool overflow = false;

        text = skip_space(text);
        if (strncmp(text, "infinity", strlen("infinity")) == 0) {
                if (*skip_space(text + strlen("infinity")) != '\0')
                        return -EINVAL;
                *ret_usec = USEC_INFINITY;
                return 0;
        }

        do {
                int r = take_part(&text, &sum, &overflow);
                if (r < 0)
                        return r;
        } while (*text != '\0');
        if (overflow || sum == USEC_INFINITY)
                return -ERANGE;

        *ret_usec = sum;
        return 0;
}

char *format_span(char *buffer, size_t size, usec_t usec) {
        static const struct span_unit units[] = {
                { "d", USEC_PER_DAY }, { "h", USEC_PER_HOUR },  { "min", USEC_PER_MINUTE },
                { "s", USEC_PER_SEC }, { "ms", USEC_PER_MSEC }, { "us", 1 },
        };
        size_t used = 0;

        assert(size > 0);
        if (usec == USEC_INFINITY || usec == 0) {
                (void) snprintf(buffer, size, "%s", usec == 0 ? "0" : "infinity");
                return buffer;
        }

        buffer[0] = '\0';
        for (size_t i = 0; i < ELEMENTSOF(units) && used < size; i++) {
                if (usec < units[i].usec)
                        continue;
                used += (size_t) snprintf(
                        buffer + used, size - used, "%s%" PRIu64 "%s", used > 0 ? " " : "",
                        usec / units[i].usec, units[i].name);
                usec %= units[i].usec;
        }
        return buffer;
}

/* Writes count decimal digits and returns the place behind them. */
static char *put_digits(char *position, uint64_t value, unsigned count) {
        for (unsigned i = count; i > 0; i--, value /= 10)
                position[i - 1] = (char) ('0' + value % 10);
        return position + count;
}

/* Days since 1970-01-01 to a date. The year is taken to begin in March, so that the leap day is its last
 * one. */
static char *put_date(char *position, uint64_t days) {
        uint64_t shifted = days + DAYS_TO_EPOCH;
        uint64_t era = shifted / DAYS_PER_ERA, day_of_era = shifted % DAYS_PER_ERA;
        uint64_t year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        uint64_t month_from_march = (5 * day_of_year + 2) / 153;
        uint64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
        uint64_t year = era * 400 + year_of_era + (month <= 2);

        position = put_digits(position, year, 4);
        *position++ = '-';
        position = put_digits(position, month, 2);
        *position++ = '-';
        return put_digits(position, day, 2);
}

char *format_time(char *buffer, size_t size, usec_t realtime_usec, unsigned fraction_digits) {
        char text[TIME_TEXT_MAX], *position = text;

        assert(fraction_digits == 0 || fraction_digits == 3 || fraction_digits == 6);
        realtime_usec = MIN(realtime_usec, TIME_TEXT_LAST);

        uint64_t seconds = realtime_usec / USEC_PER_SEC, of_day = seconds % 86400;
        uint64_t fraction = realtime_usec % USEC_PER_SEC;

        position = put_date(position, seconds / 86400);
        *position++ = 'T';
        position = put_digits(position, of_day / 3600, 2);
        *position++ = ':';
        position = put_digits(position, of_day / 60 % 60, 2);
        *position++ = ':';
        position = put_digits(position, of_day % 60, 2);
        if (fraction_digits > 0) {
                *position++ = '.';
                position = put_digits(
                        position, fraction_digits == 3 ? fraction / 1000 : fraction, fraction_digits);
        }
        *position++ = 'Z';
        *position++ = '\0';

        size_t length = (size_t) (position - text);
        assert(size >= length);
        memcpy(buffer, text, length);
        return buffer;
}

/* A number of exactly count digits. -EINVAL where there are not as many. */
static int take_digits(const char **text, unsigned count, unsigned *ret) {
        unsigned value = 0;

        for (unsigned i = 0; i < count; i++, (*text)++) {
                if (!is_digit(**text))
                        return -EINVAL;
                value = value * 10 + (unsigned) (**text - '0');
        }
        *ret = value;
        return 0;
}

static bool is_leap_year(unsigned year) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in_month(unsigned year, unsigned month) {
        static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

        return days[month - 1] + (month == 2 && is_leap_year(year));
}

/* Days from 1970-01-01; the year is 1970 or later. */
static uint64_t days_from_date(unsigned year, unsigned month, unsigned day) {
        if (month <= 2)
                year--;
        uint64_t month_from_march = month > 2 ? month - 3 : month + 9;
        uint64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;

        return 365 * (uint64_t) year + year / 4 - year / 100 + year / 400 + day_of_year - DAYS_TO_EPOCH;
}

/* "YYYY-MM-DDThh:mm:ss": the fields in this order, each after its separator. */
static int take_date_and_time(const char **text, unsigned ret_fields[static 6]) {
        static const char separators[] = { '\0', '-', '-', 'T', ':', ':' };

        for (unsigned i = 0; i < ELEMENTSOF(separators); i++) {
                if (separators[i] != '\0' && *(*text)++ != separators[i])
                        return -EINVAL;
                int r = take_digits(text, i == 0 ? 4 : 2, &ret_fields[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int parse_time(const char *text, usec_t *ret_realtime_usec) {
        unsigned fields[6], fraction = 0;

        int r = take_date_and_time(&text, fields);
        if (r < 0)
                return r;
        unsigned year = fields[0], month = fields[1], day = fields[2];
        if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
                return -EINVAL;
        if (fields[3] > 23 || fields[4] > 59 || fields[5] > 59)
                return -EINVAL;

        if (*text == '.') {
                unsigned digits = (unsigned) strspn(++text, "0123456789");
                if (digits < 1 || digits > 6)
                        return -EINVAL;
                (void) take_digits(&text, digits, &fraction);
                for (; digits < 6; digits++)
                        fraction *= 10;
        }
        if (!streq(text, "Z"))
                return -EINVAL;

        uint64_t seconds =
                days_from_date(year, month, day) * 86400 + fields[3] * 3600 + fields[4] * 60 + fields[5];
        *ret_realtime_usec = seconds * USEC_PER_SEC + fraction;
        return 0;
}
