/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Times are microseconds in a usec_t. CLOCK_REALTIME is for showing, CLOCK_BOOTTIME and CLOCK_MONOTONIC for
 * deciding. The text forms are those of systemd.time(7) (spans) and RFC 3339 (points in time, UTC). */

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef uint64_t usec_t;

#define USEC_INFINITY UINT64_MAX
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

#define TIME_TEXT_MAX sizeof("2026-01-01T00:00:00.000000Z")
#define SPAN_TEXT_MAX 64

usec_t now_usec(clockid_t clock);

/* a + b, a - b; stay at USEC_INFINITY and at 0 instead of wrapping. */
usec_t usec_add(usec_t a, usec_t b);
usec_t usec_sub(usec_t a, usec_t b);

/* "5s", "1min 30s", "2.5h", "infinity"; a bare number is seconds. -EINVAL: not a time span. -ERANGE: too
 * large. */
int parse_span(const char *text, usec_t *ret_usec);

/* "5s", "1min 30s", "250ms", "infinity": the shortest exact form down to microseconds. Returns buffer. */
char *format_span(char *buffer, size_t size, usec_t usec);

/* "2026-11-24T15:04:05.123Z" from CLOCK_REALTIME; digits of the fraction: 0, 3 or 6. What lies
 * beyond the year 9999 is shown as its last moment. Returns buffer. */
char *format_time(char *buffer, size_t size, usec_t realtime_usec, unsigned fraction_digits);

/* Reads what format_time() writes, any number of digits up to 6. -EINVAL if it is not that. */
int parse_time(const char *text, usec_t *ret_realtime_usec);
