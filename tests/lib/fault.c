/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fault.h"

#define NEVER UINT64_MAX

static _Thread_local uint64_t left = NEVER;
static _Thread_local bool has_failed;

void fault_arm(uint64_t allocation) {
        left = allocation;
        has_failed = false;
}

bool fault_disarm(void) {
        left = NEVER;
        return has_failed;
}

static bool fails(void) {
        if (left == NEVER || left-- > 0)
                return false;
        left = NEVER;
        has_failed = true;
        errno = ENOMEM;
        return true;
}

/* Named by the linker: __wrap_f() is called for f(), __real_f() is the original. */
#define WRAP(result, name, parameters, arguments)                \
        result __real_##name parameters;                         \
        result __wrap_##name parameters;                         \
        result __wrap_##name parameters {                        \
                return fails() ? NULL : __real_##name arguments; \
        }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t count, size_t size), (count, size))
WRAP(void *, realloc, (void *pointer, size_t size), (pointer, size))
WRAP(void *, reallocarray, (void *pointer, size_t count, size_t size), (pointer, count, size))
WRAP(char *, strdup, (const char *text), (text))
WRAP(char *, strndup, (const char *text, size_t size), (text, size))
