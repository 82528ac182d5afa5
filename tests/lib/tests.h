/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Assertions that print both sides. A test is a program: main() calls its cases with RUN(); exit status 0
 * passed, 77 skipped, anything else failed. Include as "lib/tests.h". */

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST_SKIPPED 77

#define _TEST_FAIL(...)                                                       \
        ({                                                                    \
                fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, __func__); \
                fprintf(stderr, __VA_ARGS__);                                 \
                fputc('\n', stderr);                                          \
                abort();                                                      \
        })

#define ASSERT_TRUE(expression)                                  \
        ({                                                       \
                if (!(expression))                               \
                        _TEST_FAIL("not true: %s", #expression); \
        })
#define ASSERT_FALSE(expression)                                  \
        ({                                                        \
                if (expression)                                   \
                        _TEST_FAIL("not false: %s", #expression); \
        })
#define _ASSERT_COMPARE(a, operator, b)                                              \
        ({                                                                           \
                intmax_t _a = (intmax_t) (a), _b = (intmax_t) (b);                   \
                if (!(_a operator _b))                                               \
                        _TEST_FAIL("%s %s %s: %jd, %jd", #a, #operator, #b, _a, _b); \
        })
#define ASSERT_EQ(a, b) _ASSERT_COMPARE(a, ==, b)
#define ASSERT_NE(a, b) _ASSERT_COMPARE(a, !=, b)
#define ASSERT_LT(a, b) _ASSERT_COMPARE(a, <, b)
#define ASSERT_LE(a, b) _ASSERT_COMPARE(a, <=, b)
#define ASSERT_GT(a, b) _ASSERT_COMPARE(a, >, b)
#define ASSERT_GE(a, b) _ASSERT_COMPARE(a, >=, b)

/* The value of an expression that is a negative errno on failure. */
#define ASSERT_OK(expression)                                                          \
        ({                                                                             \
                intmax_t _r = (intmax_t) (expression);                                 \
                if (_r < 0)                                                            \
                        _TEST_FAIL("%s failed: %s", #expression, strerror((int) -_r)); \
                _r;                                                                    \
        })
#define ASSERT_ERROR(expression, error)                                                 \
        ({                                                                              \
                intmax_t _r = (intmax_t) (expression);                                  \
                if (_r != -(error))                                                     \
                        _TEST_FAIL("%s is %jd, expected -%s", #expression, _r, #error); \
        })
#define ASSERT_STREQ(a, b)                                                                                 \
        ({                                                                                                 \
                const char *_a = (a), *_b = (b);                                                           \
                if (!_a || !_b || strcmp(_a, _b) != 0)                                                     \
                        _TEST_FAIL(                                                                        \
                                "%s, %s: \"%s\", \"%s\"", #a, #b, _a ? _a : "(null)", _b ? _b : "(null)"); \
        })
#define ASSERT_NULL(pointer) ASSERT_TRUE((pointer) == NULL)
#define ASSERT_NOT_NULL(pointer) ASSERT_TRUE((pointer) != NULL)

#define RUN(test)                               \
        ({                                      \
                fprintf(stderr, "%s\n", #test); \
                test();                         \
        })
