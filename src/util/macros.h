/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The few macros that every file may rely on: ownership in the declaration, and arithmetic without
 * surprises. */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((__cleanup__(function)))
#define _printf_(format, first) __attribute__((__format__(printf, format, first)))
#define _unused_ __attribute__((__unused__))
#define _const_ __attribute__((__const__))
#define _pure_ __attribute__((__pure__))
#define _noreturn_ _Noreturn
#define _warn_unused_ __attribute__((__warn_unused_result__))

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *) ((char *) (pointer) -offsetof(type, member)))

#define _CONCATENATE(a, b) a##b
#define CONCATENATE(a, b) _CONCATENATE(a, b)

/* The number makes the names of the locals unique, so that these macros nest. */
#define MAX(a, b) _MAX(__COUNTER__, a, b)
#define _MAX(number, a, b)                                                                   \
        ({                                                                                   \
                typeof(a) CONCATENATE(_a, number) = (a);                                     \
                typeof(b) CONCATENATE(_b, number) = (b);                                     \
                CONCATENATE(_a, number) > CONCATENATE(_b, number) ? CONCATENATE(_a, number)  \
                                                                  : CONCATENATE(_b, number); \
        })
#define MIN(a, b) _MIN(__COUNTER__, a, b)
#define _MIN(number, a, b)                                                                   \
        ({                                                                                   \
                typeof(a) CONCATENATE(_a, number) = (a);                                     \
                typeof(b) CONCATENATE(_b, number) = (b);                                     \
                CONCATENATE(_a, number) < CONCATENATE(_b, number) ? CONCATENATE(_a, number)  \
                                                                  : CONCATENATE(_b, number); \
        })
#define CLAMP(value, low, high) MIN(MAX((value), (low)), (high))

/* Hands an owned value over: the variable is left empty, so that its cleanup does nothing. */
#define TAKE_PTR(pointer)                           \
        ({                                          \
                typeof(pointer) _taken = (pointer); \
                (pointer) = NULL;                   \
                _taken;                             \
        })
#define TAKE_FD(fd)                \
        ({                         \
                int _taken = (fd); \
                (fd) = -EBADF;     \
                _taken;            \
        })

/* Defines function_p(&pointer), for _cleanup_(): calls function unless the pointer is NULL. */
#define DEFINE_CLEANUP(type, function)                 \
        static inline void function##_p(type *value) { \
                if (*value)                            \
                        function(*value);              \
        }

static inline void free_p(void *pointer) {
        free(*(void **) pointer);
}

/* Closes without touching errno; returns an invalid descriptor, to be assigned back. Accepts a negative fd.
 */
static inline int close_fd(int fd) {
        if (fd >= 0) {
                int saved = errno;
                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

static inline void close_p(int *fd) {
        *fd = close_fd(*fd);
}

#define _cleanup_free_ _cleanup_(free_p)
#define _cleanup_close_ _cleanup_(close_p)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* As streq(); NULL equals only NULL. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}
